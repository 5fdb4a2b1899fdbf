//! Reads the files that a connection string names, without delaying other tasks.
//!
//! Guarantees: a file that cannot be read in time, for example on a network file system whose server does not respond,
//! delays its caller for a limited time and no other task. It is read on a separate thread, which stays until the file
//! system answers. There are at most [`MOST_READERS`] such threads. They do not belong to the runtime, which would wait for
//! them when it stops.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::{Semaphore, oneshot};

use super::SYSTEM;
use tenterhook_clock as clock;

/// Permission bits that a key file must not have: none for group and others.
const OTHERS: u32 = 0o077;
/// The same for a file of root: the group may read it.
const OTHERS_OF_ROOTS: u32 = 0o037;
/// The time limit for reading.
pub(super) const WITHIN: Duration = Duration::from_secs(2);
/// The maximum number of threads that read at the same time.
const MOST_READERS: usize = 4;

/// The threads that read. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Readers(Arc<Semaphore>);

impl Default for Readers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST_READERS)))
    }
}

impl Readers {
    /// Reads on a thread, and waits for it for `limit`, at most [`WITHIN`].
    pub async fn read<T: 'static + Send>(
        &self,
        limit: Duration,
        reading: impl 'static + Send + FnOnce() -> T,
    ) -> Result<T, String> {
        let limit = limit.min(WITHIN);
        let read = async {
            let place = self.0.clone().acquire_owned().await;
            let (tell, told) = oneshot::channel();
            on_a_thread(move || {
                // If the caller no longer waits, the result is dropped.
                drop(tell.send(reading()));
                drop(place);
            })?;
            told.await.map_err(|_| failed("the thread has ended"))
        };
        clock::within(limit, read).await.map_err(|_| late(limit))?
    }
}

/// Like [`Readers::read`], but blocks; for use at start.
pub(super) fn read_blocking<T: 'static + Send>(
    reading: impl 'static + Send + FnOnce() -> T,
) -> Result<T, String> {
    let (tell, told) = mpsc::channel();
    on_a_thread(move || drop(tell.send(reading())))?;
    told.recv_timeout(WITHIN).map_err(|_| late(WITHIN))
}

fn on_a_thread(work: impl 'static + Send + FnOnce()) -> Result<(), String> {
    let thread = thread::Builder::new().name("tls-files".to_owned());
    thread.spawn(work).map(drop).map_err(failed)
}

fn failed(why: impl std::fmt::Display) -> String {
    format!("the files of `sslrootcert`, `sslcert` and `sslkey` cannot be read: {why}")
}

fn late(limit: Duration) -> String {
    format!(
        "the files of `sslrootcert`, `sslcert` and `sslkey` could not be read within {limit:?}: does their file system respond?"
    )
}

fn read(parameter: &str, path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("`{parameter}`: cannot read {}: {error}", path.display()))
}

pub(super) fn certificates(parameter: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(parameter, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(format!(
            "`{parameter}`: {} has no certificate (PEM)",
            path.display()
        )),
        Err(error) => Err(format!("`{parameter}`: {}: {error}", path.display())),
    }
}

/// As in `libpq`: a key that others can read is refused; the group may read one of root's.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let about =
        fs::metadata(path).map_err(|error| format!("`sslkey`: cannot read {}: {error}", path.display()))?;
    let open = match about.uid() {
        0 => OTHERS_OF_ROOTS,
        _ => OTHERS,
    };
    if about.mode() & open != 0 {
        return Err(format!(
            "`sslkey`: {} can be read by others: `chmod 600` it (640 if root owns it)",
            path.display()
        ));
    }
    let pem = read("sslkey", path)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        format!(
            "`sslkey`: {} has no unencrypted private key (PEM)",
            path.display()
        )
    })
}

pub(super) fn trusted(named: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    if named != SYSTEM {
        return certificates("sslrootcert", Path::new(named));
    }
    let found = rustls_native_certs::load_native_certs().certs;
    if found.is_empty() {
        return Err(
            "`sslrootcert=system`: this machine has no list of trusted authorities: install ca-certificates, or name a \
             file"
                .to_owned(),
        );
    }
    Ok(found)
}
