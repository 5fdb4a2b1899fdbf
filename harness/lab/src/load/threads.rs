//! Named threads of a load, so that the CPU of callers and receivers is known separately.

use std::future::Future;
use std::io;
use std::process::Command;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// A runtime with one thread. It ends with all its tasks when dropped.
pub struct OwnThread(Option<Runtime>);

impl OwnThread {
    /// Starts a thread with this name of at most 15 characters, because the kernel keeps no more.
    ///
    /// # Errors
    ///
    /// If no thread can be started.
    pub fn start(name: &'static str) -> io::Result<Self> {
        Self::with(name, || ())
    }

    /// Starts a thread that runs only while nothing else needs the CPU, as if it were on another machine.
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

    /// Runs a task on the thread.
    pub fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.handle().spawn(work)
    }

    /// A handle to run tasks on the thread from elsewhere.
    pub fn handle(&self) -> &Handle {
        self.0.as_ref().expect("only dropping takes it").handle()
    }
}

impl Drop for OwnThread {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // The other ways to end a runtime block, which is not allowed in a task.
            runtime.shutdown_background();
        }
    }
}

/// Lowers the thread's priority as far as possible. If that fails, the thread only takes more CPU, so it is not an
/// error.
fn stand_back() {
    // With a low priority alone it would keep a CPU for its time slice when another thread wakes up.
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let idle = Command::new("chrt")
        .args(["--idle", "--pid", "0", &thread])
        .output();
    if !idle.is_ok_and(|idle| idle.status.success()) {
        // On Linux this changes only the current thread.
        rustix::process::nice(19).ok();
    }
}
