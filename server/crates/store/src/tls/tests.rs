use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::Conn;
use crate::address::Address;
use crate::connection::Limits;

#[test]
fn a_star_stands_for_one_label() {
    assert!(covers("db.example.test", "DB.example.test"));
    assert!(covers("*.example.test", "db.example.test"));
    for (pattern, host) in [
        ("*.example.test", "a.b.example.test"),
        ("*.example.test", "example.test"),
        ("db.example.test", "db2.example.test"),
        ("d*.example.test", "db.example.test"),
    ] {
        assert!(!covers(pattern, host), "{pattern} {host}");
    }
}

#[test]
fn every_mode_has_a_name() {
    for (name, mode) in Mode::NAMES {
        assert_eq!(mode.name(), name);
    }
}

/// SCRAM binds to the hash that the certificate is signed with (RFC 5929, section 4.1).
#[test]
fn the_end_point_is_the_hash_of_the_certificate() {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["db.example.test".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    assert_eq!(
        end_point(certificate.der()),
        Some(Sha256::digest(certificate.der()).to_vec())
    );
    assert_eq!(end_point(&CertificateDer::from(vec![1, 2, 3])), None);
}

/// A named pipe without a writer, like a file on a file system that does not answer: reading it never ends.
fn unreadable(path: &std::path::Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status();
    assert!(made.expect("the test needs mkfifo").success());
}

/// The server's first byte of TLS, and nothing more.
async fn offering_tls() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tenterhook_harness::realtime::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = [0; 8];
            stream.read_exact(&mut asked).await.unwrap();
            stream.write_all(b"S").await.unwrap();
            tenterhook_harness::realtime::spawn(async move {
                let _ = stream.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    address
}

const LATE: &str = "the files of `sslrootcert`, `sslcert` and `sslkey` could not be read within 2s";

#[test]
fn a_file_that_cannot_be_read_in_time_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    unreadable(&roots);
    let url = format!(
        "host=127.0.0.1 sslmode=verify-full sslrootcert={}",
        roots.display()
    );
    let error = Address::parse(&url).err().unwrap().to_string();
    assert!(error.contains(LATE), "{error}");
}

/// On one thread, which a blocking read would stop.
#[tokio::test]
async fn a_file_that_cannot_be_read_in_time_delays_no_other_task() {
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["db.example.test".to_owned()]).unwrap();
    std::fs::write(&roots, params.self_signed(&key).unwrap().pem()).unwrap();
    let server = offering_tls().await;
    let url = format!(
        "host=127.0.0.1 port={} sslmode=verify-ca sslrootcert={}",
        server.port(),
        roots.display()
    );
    let address = Address::parse(&url).unwrap();
    std::fs::remove_file(&roots).unwrap();
    unreadable(&roots);
    // More than there are threads.
    let mut connecting = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let address = address.clone();
        connecting.spawn(async move {
            let conn = Conn::open(&address, Limits::default(), Arc::default()).await;
            conn.err().unwrap().to_string()
        });
    }
    while let Some(error) = connecting.join_next().await {
        let error = error.unwrap();
        assert!(error.contains(LATE), "{error}");
    }
}
