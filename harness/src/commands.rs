//! The commands of `tenterhook-harness`, one file each.

pub mod coverage;
pub mod explain;
pub mod explore;
pub mod list;
pub mod moved;
pub mod receive;
pub mod run;

pub use tenterhook_harness::command_line::print;
