//! TLS for requests: which versions are spoken, and which authorities are trusted.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};

/// Why the extra authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadAuthority {
    /// They are not PEM.
    #[error("the extra CA file is not PEM")]
    NotPem(#[source] pem::Error),
    /// They contain no certificate.
    #[error("the extra CA file has no certificate in it")]
    Empty,
    /// One of them is PEM, but not a valid certificate.
    #[error("the extra CA file has something in it that is not a certificate")]
    NoCertificate(#[source] rustls::Error),
}

/// TLS 1.2 or later, HTTP/2 if the other side supports it, and only these authorities.
pub(crate) fn client(extra_ca_pem: Option<&[u8]>) -> Result<ClientConfig, BadAuthority> {
    // An error means that another part of the process has already installed one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut roots = RootCertStore::empty();
    for authority in authorities(extra_ca_pem)? {
        roots.add(authority).map_err(BadAuthority::NoCertificate)?;
    }
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The built-in authorities and the extra ones. The machine's own store is not used, because it may be empty or missing.
///
/// # Errors
///
/// If the extra ones are not PEM, or contain no certificate.
pub fn authorities(extra_pem: Option<&[u8]>) -> Result<Vec<CertificateDer<'static>>, BadAuthority> {
    let mut all = webpki_root_certs::TLS_SERVER_ROOT_CERTS.to_vec();
    if let Some(pem) = extra_pem {
        let extra = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(BadAuthority::NotPem)?;
        if extra.is_empty() {
            return Err(BadAuthority::Empty);
        }
        all.extend(extra);
    }
    Ok(all)
}
