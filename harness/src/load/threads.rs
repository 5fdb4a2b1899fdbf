//! Threads of a load's own, each with a name, so that what callers and receivers take is known apart from the rest.

use std::future::Future;
use std::io;
use std::process::Command;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// A runtime of one thread; it ends, with all that runs on it, when dropped.
pub struct OwnThread(Option<Runtime>);

impl OwnThread {
    /// Starts one with this name, of 15 characters at the most: the kernel keeps no more.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had.
    pub fn start(name: &'static str) -> io::Result<Self> {
        Self::with(name, || ())
    }

    /// Starts one that gets the processors when nothing else on this machine wants them, as if it were on another.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_behind_all(name: &'static str) -> io::Result<Self> {
        Self::with(name, stand_back)
    }

    fn with(name: &'static str, at_start: fn()) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(name)
            .on_thread_start(at_start)
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Runs something there.
    pub fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.handle().spawn(work)
    }

    /// To run something there from elsewhere.
    pub fn handle(&self) -> &Handle {
        self.0.as_ref().expect("only dropping takes it").handle()
    }
}

impl Drop for OwnThread {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // The other ways to end it wait, which no task may do.
            runtime.shutdown_background();
        }
    }
}

/// Gives the thread what nobody else wants. One that keeps its place only takes more of the machine: no error.
fn stand_back() {
    // With a low priority alone it would keep a processor for its slice when somebody else wakes up.
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let idle = Command::new("chrt")
        .args(["--idle", "--pid", "0", &thread])
        .output();
    if !idle.is_ok_and(|idle| idle.status.success()) {
        // On Linux the number is the thread's own.
        rustix::process::nice(19).ok();
    }
}
