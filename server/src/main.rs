//! The `tenterhook` command; everything it does is in [`tenterhook::cli`].

use std::process::ExitCode;

/// glibc's allocator keeps what a flood of large publications took for good, and takes a fifth of a delivery's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tenterhook::cli::main()
}
