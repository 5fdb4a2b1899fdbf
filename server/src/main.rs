//! The `tenterhook` command, implemented in [`tenterhook::cli`].

use std::process::ExitCode;

/// glibc's allocator never returns the memory of a flood of large publications, and takes a fifth of the time of a
/// delivery.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tenterhook::cli::main()
}
