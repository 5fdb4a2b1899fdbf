//! TLS: what is trusted, and what a failed handshake is called.

use AttemptErrorClass::{Reset, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::receiver::Receiver;
use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// An authority of the test's own.
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

    /// Sends an attempt to the receiver under its right name.
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
    assert!(
        timings.dns_us.is_some() && timings.connect_us.is_some(),
        "{timings:?}"
    );
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
    assert_tls_failure(&sent, "The receiver broke off the TLS handshake");
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
        let settings = TransportSettings {
            targets: Arc::new(targets(&[])),
            resolver: Arc::new(SystemResolver),
            extra_ca_pem: Some(pem.into()),
            user_agent: String::new(),
        };
        Transport::new(Clock::system(), settings).err()
    };
    assert!(matches!(new(""), Some(TransportError::NoExtraCa)));
    let pem = |text: &str| format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
    assert!(matches!(new(&pem("?")), Some(TransportError::ExtraCa(_))));
    assert!(matches!(new(&pem("AAAA")), Some(TransportError::Client(_))));
}
