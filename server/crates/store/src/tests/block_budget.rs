//! The blocks that statements read in a large database: only due rows of the queue, and only requested rows of the
//! history.
//!
//! Blocks are counted, not time. Each statement runs often enough that the database has chosen between a plan for its values
//! and a plan for any values, with and without statistics: neither plan may read rows that are not due.

mod fixture;
mod queue;
mod reads;
