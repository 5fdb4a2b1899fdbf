//! What statements touch in a crowded database: of the queue what is due, of the history what is asked for.
//!
//! Blocks are counted and no time. Each is asked often enough that the database has chosen between the plan of these values
//! and one for any values, with and without statistics: neither may read its way through what is not due.

mod crowd;
mod queue;
mod reads;
