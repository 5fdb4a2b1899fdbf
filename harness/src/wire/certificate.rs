//! Certificates made at run time, good ones and each kind of bad one, and the authority that signs them.
//!
//! All are for this machine (`localhost`, 127.0.0.1) unless their kind says otherwise. Good ones are valid from 2000 to
//! 2100: in simulated worlds and by the machine's clock, which TLS uses.

use std::net::Ipv4Addr;
use std::sync::Arc;

use clap::ValueEnum;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::TlsAcceptor;

/// A certificate authority that no server trusts by default.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// The certificate that a receiver presents in the TLS handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Certificate {
    /// Signed by the authority, for this machine.
    Valid,
    /// Signed by the authority, expired in 2001.
    Expired,
    /// Signed by the authority, valid from 2099.
    NotYetValid,
    /// Signed by itself.
    SelfSigned,
    /// Signed by the authority, for another host.
    WrongHost,
    /// Signed by another authority.
    Untrusted,
}

/// TLS settings of a receiver, with one certificate. A connection offers HTTP/2 only if its fault needs it.
#[derive(Clone)]
pub struct Tls {
    http1: TlsAcceptor,
    http2: TlsAcceptor,
}

impl Authority {
    /// A new authority with a new key.
    ///
    /// # Errors
    ///
    /// If this machine cannot make keys.
    pub fn new() -> anyhow::Result<Self> {
        let mut params = years(CertificateParams::default(), 2000, 2100);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = "An authority that exists only for a test";
        params.distinguished_name.push(DnType::CommonName, name);
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    /// The authority's certificate, for servers that have to trust it.
    pub fn pem(&self) -> String {
        self.0.pem()
    }
}

impl Certificate {
    /// TLS with a new certificate of this kind. Kinds that are signed by the authority use `authority`.
    ///
    /// # Errors
    ///
    /// If this machine cannot make keys.
    pub fn tls(self, authority: &Authority) -> anyhow::Result<Tls> {
        let host = match self {
            Self::WrongHost => vec!["elsewhere.example".to_owned()],
            _ => vec!["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string()],
        };
        let (first, last) = match self {
            Self::Expired => (2000, 2001),
            Self::NotYetValid => (2099, 2100),
            _ => (2000, 2100),
        };
        let params = years(CertificateParams::new(host)?, first, last);
        let key = KeyPair::generate()?;
        let made = match self {
            Self::SelfSigned => params.self_signed(&key)?,
            Self::Untrusted => params.signed_by(&key, &Authority::new()?.0)?,
            _ => params.signed_by(&key, &authority.0)?,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![made.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let http1 = TlsAcceptor::from(Arc::new(config.clone()));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let http2 = TlsAcceptor::from(Arc::new(config));
        Ok(Tls { http1, http2 })
    }
}

impl Tls {
    pub(super) fn acceptor(&self, http2: bool) -> &TlsAcceptor {
        if http2 { &self.http2 } else { &self.http1 }
    }
}

/// Sets the validity from the beginning of one year to the beginning of another.
fn years(mut params: CertificateParams, first: i32, last: i32) -> CertificateParams {
    params.not_before = date_time_ymd(first, 1, 1);
    params.not_after = date_time_ymd(last, 1, 1);
    params
}
