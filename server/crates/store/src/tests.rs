//! The statements with a real database.

mod block_budget;
mod queue;
