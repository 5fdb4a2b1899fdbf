//! The commands of `tenterhook-lab`, one file each.

pub mod faults;
pub mod fill;
pub mod load;
pub mod overload;
pub mod reads;

pub use tenterhook_harness::command_line::print;
