//! The commands of `tenterhook-harness`, one file each.

pub mod explain;
pub mod explore;
pub mod faults;
pub mod fill;
pub mod list;
pub mod load;
pub mod overload;
pub mod reads;
pub mod receive;
pub mod run;
pub mod target;

use std::io::{ErrorKind, Write, stdout};

/// Prints to standard output without buffering, also if that is a file. A reader that closes the pipe is no error.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
