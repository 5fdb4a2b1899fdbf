//! TLS: what is trusted, and the outcome of a failed handshake.

use ErrorClass::{Reset, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rstest::rstest;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::sync::Mutex;
use tokio::io::AsyncReadExt;

use super::receiver::Receiver;
use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// The test's own authority.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        // The tests may build a server before any transport has installed the provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, format!("Authority {}", rand::random::<u64>()));
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// The settings of a server with a certificate for `name`.
    pub(super) fn server(&self, name: &str) -> ServerConfig {
        self.server_with(CertificateParams::new([name.to_owned()]).unwrap())
    }

    fn server_with(&self, params: CertificateParams) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private(&key))
            .unwrap()
    }

    /// A transport that trusts this authority.
    pub(super) fn transport(&self, clock: &Clock) -> Transport {
        let names = Names::known(&[("receiver.test", &["127.0.0.1"])]);
        transport_with(clock, names, &["127.0.0.0/8"], Some(self.0.pem()))
    }

    /// Sends an attempt to the receiver, under the name in its certificate.
    pub(super) async fn send(&self, receiver: &Receiver) -> Sent {
        let clock = Clock::system();
        self.transport(&clock)
            .send(request(&clock, &https(receiver)))
            .await
    }
}

pub(super) fn https(receiver: &Receiver) -> String {
    format!("https://receiver.test:{}/", receiver.address.port())
}

fn private(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(key.serialize_der().into())
}

async fn answering(tls: ServerConfig) -> Receiver {
    Receiver::start_tls(
        tls,
        |mut connection| async move { connection.answer_all(OK).await },
    )
    .await
}

#[track_caller]
fn assert_tls_failure(sent: &Sent, message: &str) {
    assert_failed(sent, Tls);
    assert_eq!(sent.outcome.error_message.as_deref(), Some(message));
}

#[tokio::test]
async fn an_extra_authority_is_trusted() {
    let authority = Authority::new();
    let mut receiver = answering(authority.server("receiver.test")).await;
    let sent = authority.send(&receiver).await;
    assert_succeeded(&sent);
    let timings = sent.outcome.timings;
    assert!(timings.dns.is_some() && timings.connect.is_some(), "{timings:?}");
    assert_eq!(receiver.counts(), (1, 1));
}

#[tokio::test]
async fn another_authority_is_not_trusted() {
    let receiver = answering(Authority::new().server("receiver.test")).await;
    let sent = Authority::new().send(&receiver).await;
    assert_tls_failure(
        &sent,
        "The receiver's certificate is self-signed or from an unknown issuer",
    );
}

#[tokio::test]
async fn a_self_signed_certificate_is_not_trusted() {
    let authority = Authority::new();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["receiver.test".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let tls = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private(&key))
        .unwrap();
    let mut receiver = answering(tls).await;
    let sent = authority.send(&receiver).await;
    assert_tls_failure(
        &sent,
        "The receiver's certificate is self-signed or from an unknown issuer",
    );
    assert_eq!(receiver.counts(), (1, 0));
}

#[tokio::test]
async fn a_certificate_for_another_host_is_not_accepted() {
    let authority = Authority::new();
    let sent = authority
        .send(&answering(authority.server("other.test")).await)
        .await;
    assert_tls_failure(&sent, "The receiver's certificate is for another host name");
}

#[tokio::test]
async fn an_expired_certificate_is_not_accepted() {
    let authority = Authority::new();
    let mut params = CertificateParams::new(["receiver.test".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let sent = authority
        .send(&answering(authority.server_with(params)).await)
        .await;
    assert_tls_failure(&sent, "The receiver's certificate has expired");
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_yet_is_not_accepted() {
    let authority = Authority::new();
    let mut params = CertificateParams::new(["receiver.test".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2999, 1, 1);
    params.not_after = rcgen::date_time_ymd(3000, 1, 1);
    let sent = authority
        .send(&answering(authority.server_with(params)).await)
        .await;
    assert_tls_failure(&sent, "The receiver's certificate is not valid yet");
}

/// A certificate from a trusted authority does not make its owner an authority.
#[tokio::test]
async fn the_certificate_of_a_receiver_cannot_sign_others() {
    let authority = Authority::new();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["evil.test".to_owned()]).unwrap();
    let theirs = params.signed_by(&key, &authority.0).unwrap();
    let issuer = rcgen::Issuer::from_params(&params, &key);
    let forged_key = KeyPair::generate().unwrap();
    let forged = CertificateParams::new(["receiver.test".to_owned()])
        .unwrap()
        .signed_by(&forged_key, &issuer)
        .unwrap();
    let tls = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![forged.der().clone(), theirs.der().clone()],
            private(&forged_key),
        )
        .unwrap();
    let mut receiver = answering(tls).await;
    assert_failed(&authority.send(&receiver).await, Tls);
    assert_eq!(receiver.counts(), (1, 0));
}

/// A certificate for an address is valid for that address and no other.
#[rstest]
#[case::its_own("127.0.0.1", None)]
#[case::another("127.0.0.2", Some("The receiver's certificate is for another host name"))]
#[case::a_name("receiver.test", Some("The receiver's certificate is for another host name"))]
#[tokio::test]
async fn an_address_is_called_with_a_certificate_for_it(#[case] san: &str, #[case] refused: Option<&str>) {
    let authority = Authority::new();
    let receiver = answering(authority.server(san)).await;
    let clock = Clock::system();
    let url = format!("https://127.0.0.1:{}/", receiver.address.port());
    let sent = authority.transport(&clock).send(request(&clock, &url)).await;
    match refused {
        None => assert_succeeded(&sent),
        Some(message) => assert_tls_failure(&sent, message),
    }
}

/// A receiver that chooses this TLS version whatever it was offered, and the offer that it received.
async fn choosing(version: u16) -> (Receiver, Arc<Mutex<Vec<u8>>>) {
    let offered: Arc<Mutex<Vec<u8>>> = Arc::default();
    let seen = offered.clone();
    let receiver = Receiver::start(move |mut connection| {
        let seen = seen.clone();
        async move {
            let mut hello = vec![0; 16 * 1024];
            let length = connection.io.read(&mut hello).await.unwrap();
            hello.truncate(length);
            *seen.lock().unwrap() = hello;
            let [major, minor] = version.to_be_bytes();
            // A record with a ServerHello: version, random, no session, ECDHE-RSA-AES128-SHA, no compression.
            let mut answer = vec![22, major, minor, 0, 42, 2, 0, 0, 38, major, minor];
            answer.extend([7; 32]);
            answer.extend([0, 0xc0, 0x13, 0]);
            connection.write(answer).await;
            let _ = connection.io.read(&mut [0; 1024]).await;
        }
    })
    .await;
    (receiver, offered)
}

#[rstest]
#[case::ssl_3(0x0300)]
#[case::tls_1_0(0x0301)]
#[case::tls_1_1(0x0302)]
#[tokio::test]
async fn tls_before_1_2_is_neither_offered_nor_accepted(#[case] version: u16) {
    let (receiver, offered) = choosing(version).await;
    let sent = Authority::new().send(&receiver).await;
    assert_tls_failure(
        &sent,
        "The receiver and this server have no TLS version or cipher in common",
    );
    // The extension `supported_versions`: four bytes of versions, which are 1.3 and 1.2.
    let only = [0, 43, 0, 5, 4, 3, 4, 3, 3];
    let offered = offered.lock().unwrap();
    assert!(
        offered.windows(only.len()).any(|window| window == only),
        "{offered:02x?}"
    );
}

#[rstest]
#[case::tls_1_2(&rustls::version::TLS12)]
#[case::tls_1_3(&rustls::version::TLS13)]
#[tokio::test]
async fn tls_1_2_and_later_is_accepted(#[case] version: &'static rustls::SupportedProtocolVersion) {
    let authority = Authority::new();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["receiver.test".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority.0).unwrap();
    let tls = ServerConfig::builder_with_protocol_versions(&[version])
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private(&key))
        .unwrap();
    assert_succeeded(&authority.send(&answering(tls).await).await);
}

#[tokio::test]
async fn a_receiver_that_wants_a_client_certificate_refuses_the_handshake() {
    let authority = Authority::new();
    let mut roots = RootCertStore::empty();
    roots.add(authority.0.der().clone()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["receiver.test".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority.0).unwrap();
    let tls = ServerConfig::builder()
        .with_client_cert_verifier(WebPkiClientVerifier::builder(roots.into()).build().unwrap())
        .with_single_cert(vec![certificate.der().clone()], private(&key))
        .unwrap();
    let sent = authority.send(&answering(tls).await).await;
    assert_tls_failure(&sent, "The receiver refused the TLS handshake");
}

#[tokio::test]
async fn a_receiver_that_speaks_plain_http_on_an_https_port_fails_the_handshake() {
    let receiver = Receiver::start(|mut connection| async move {
        connection.write("HTTP/1.1 400 Bad Request\r\n\r\n").await;
        connection.request().await;
    })
    .await;
    let sent = Authority::new().send(&receiver).await;
    assert_tls_failure(&sent, "The receiver does not speak TLS on this port");
}

#[tokio::test]
async fn a_receiver_that_hangs_up_in_the_handshake_fails_it() {
    let receiver = Receiver::start(|connection| async move { drop(connection) }).await;
    let sent = Authority::new().send(&receiver).await;
    assert_tls_failure(&sent, "The receiver aborted the TLS handshake");
}

#[tokio::test]
async fn a_receiver_that_hangs_up_after_the_handshake_resets() {
    let authority = Authority::new();
    let receiver = Receiver::start_tls(authority.server("receiver.test"), |mut connection| async move {
        connection.request().await;
    })
    .await;
    assert_failed(&authority.send(&receiver).await, Reset);
}

#[test]
fn extra_authorities_must_be_certificates() {
    let new = |pem: &str| {
        let config = TransportConfig {
            targets: Arc::new(targets(&[])),
            resolver: Names::known(&[]),
            extra_ca_pem: Some(pem.into()),
            user_agent: String::new(),
            patience: Patience::OF_TESTS,
        };
        match Transport::new(Clock::system(), config).err() {
            Some(TransportError::Authority(error)) => error,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(new(""), BadAuthority::Empty));
    let pem = |text: &str| format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
    assert!(matches!(new(&pem("?")), BadAuthority::NotPem(_)));
    assert!(matches!(new(&pem("AAAA")), BadAuthority::NoCertificate(_)));
}
