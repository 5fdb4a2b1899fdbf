//! TLS to the database. Parameters have the same meaning as in `libpq`.
//!
//! Differences: nothing is read from the user's home directory; a file that is named must exist; lists of revoked
//! certificates are refused instead of ignored.

mod files;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{self, CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::time::ASN1Time;

use self::files::{Readers, certificates, private_key, trusted};

/// `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Plain text only.
    Disable,
    /// Plain text; TLS if the server refuses plain text.
    Allow,
    /// TLS; plain text if the server has no TLS.
    #[default]
    Prefer,
    /// TLS, without checking who the server is.
    Require,
    /// TLS, with a certificate from a known authority.
    VerifyCa,
    /// TLS, with a certificate from a known authority and for this host.
    VerifyFull,
}

impl Mode {
    /// All modes with their names.
    pub const NAMES: [(&'static str, Self); 6] = [
        ("disable", Self::Disable),
        ("allow", Self::Allow),
        ("prefer", Self::Prefer),
        ("require", Self::Require),
        ("verify-ca", Self::VerifyCa),
        ("verify-full", Self::VerifyFull),
    ];

    /// The name in a connection string.
    pub fn name(self) -> &'static str {
        let named = Self::NAMES.iter().find(|(_, mode)| *mode == self);
        named.map_or("", |(name, _)| name)
    }
}

/// The value of `sslrootcert` for the authorities that the machine trusts.
const SYSTEM: &str = "system";

/// The parameters that begin with `ssl`.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// `sslmode`.
    pub mode: Mode,
    /// `sslrootcert`: a file, or `system`.
    pub roots: Option<String>,
    /// `sslcert`.
    pub certificate: Option<PathBuf>,
    /// `sslkey`.
    pub key: Option<PathBuf>,
    /// `ssl_min_protocol_version=TLSv1.3`.
    pub only_newest: bool,
    /// `sslnegotiation=direct`.
    pub direct: bool,
    readers: Readers,
}

impl Tls {
    /// The mode in force, given the requested one.
    pub(super) fn mode_of(&self, asked: Option<Mode>) -> Result<Mode, String> {
        let of_system = self.roots.as_deref() == Some(SYSTEM);
        let mode = match asked {
            None if of_system => Mode::VerifyFull,
            asked => asked.unwrap_or_default(),
        };
        if of_system && mode != Mode::VerifyFull {
            return Err(format!(
                "`sslrootcert=system` trusts any public authority, so the host's name must be checked: use \
                 sslmode=verify-full instead of {}",
                mode.name()
            ));
        }
        if self.roots.is_none() && matches!(mode, Mode::VerifyCa | Mode::VerifyFull) {
            return Err(format!(
                "`sslmode={}` needs `sslrootcert`: a file with the certificates (PEM) of the authorities to trust, or \
                 `system` for those that this machine trusts",
                mode.name()
            ));
        }
        if self.certificate.is_some() != self.key.is_some() {
            return Err("`sslcert` and `sslkey` belong together: set both or none".to_owned());
        }
        if self.direct && matches!(mode, Mode::Disable | Mode::Allow | Mode::Prefer) {
            return Err("`sslnegotiation=direct` needs sslmode=require or stronger".to_owned());
        }
        Ok(mode)
    }

    /// Checks that the files can be used. Blocks for at most [`files::WITHIN`].
    pub(super) fn check(&self) -> Result<(), String> {
        if self.mode == Mode::Disable {
            return Ok(());
        }
        if !self.names_files() {
            return self.read().map(drop);
        }
        let tls = self.clone();
        files::read_blocking(move || tls.read().map(drop))?
    }

    fn names_files(&self) -> bool {
        self.roots.is_some() || self.certificate.is_some() || self.key.is_some()
    }

    /// What is checked in the server's certificate, for people.
    pub fn checked(&self) -> &'static str {
        match (self.mode, &self.roots) {
            (Mode::VerifyFull, _) => "certificate and host name verified",
            (_, Some(_)) => "certificate verified, not the host name",
            (_, None) => "certificate not verified",
        }
    }

    /// Reads the files again, because certificates are replaced while a server runs. Takes at most half of `connect_within`,
    /// so that the error says what took too long.
    pub(super) async fn client(&self, connect_within: Duration) -> Result<ClientConfig, String> {
        if !self.names_files() {
            return self.read();
        }
        let tls = self.clone();
        self.readers.read(connect_within / 2, move || tls.read()).await?
    }

    fn read(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(crypto::ring::default_provider());
        let verifier = Verifier::new(self, &provider)?;
        let versions: &[&rustls::SupportedProtocolVersion] = match self.only_newest {
            true => &[&rustls::version::TLS13],
            false => rustls::DEFAULT_VERSIONS,
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => builder
                .with_client_auth_cert(certificates("sslcert", certificate)?, private_key(key)?)
                .map_err(|error| format!("`sslcert` and `sslkey` cannot be used together: {error}"))?,
            _ => builder.with_no_client_auth(),
        };
        if self.direct {
            config.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        Ok(config)
    }
}

/// Checks the server's certificate as far as the mode requires.
#[derive(Debug)]
struct Verifier {
    /// None: any certificate is accepted.
    trust: Option<Trust>,
    /// Whether the certificate must be for this host.
    name: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
struct Trust {
    anchors: RootCertStore,
    /// The same certificates as given: the file may contain the server's own certificate instead of an authority.
    certificates: Vec<CertificateDer<'static>>,
}

impl Verifier {
    fn new(tls: &Tls, provider: &CryptoProvider) -> Result<Self, String> {
        let trust = match &tls.roots {
            None => None,
            Some(named) => {
                let certificates = trusted(named)?;
                let mut anchors = RootCertStore::empty();
                let (_, unusable) = anchors.add_parsable_certificates(certificates.iter().cloned());
                if anchors.is_empty() {
                    return Err(format!(
                        "`sslrootcert`: none of the {unusable} certificates of {named} can be used as an authority"
                    ));
                }
                Some(Trust {
                    anchors,
                    certificates,
                })
            }
        };
        Ok(Self {
            trust,
            name: tls.mode == Mode::VerifyFull,
            algorithms: provider.signature_verification_algorithms,
        })
    }

    fn chain(
        &self,
        trust: &Trust,
        certificate: &CertificateDer<'_>,
        parsed: &ParsedCertificate<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        if trust.certificates.iter().any(|trusted| trusted == certificate) {
            return in_force(certificate, now);
        }
        verify_server_cert_signed_by_trust_anchor(
            parsed,
            &trust.anchors,
            intermediates,
            now,
            self.algorithms.all,
        )
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(trust) = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        let parsed = ParsedCertificate::try_from(certificate)?;
        self.chain(trust, certificate, &parsed, intermediates, now)?;
        if self.name {
            match verify_server_name(&parsed, name) {
                Err(_) if common_name_fits(certificate, name) => {}
                checked => checked?,
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.trust.is_none() {
            // Any certificate is accepted, so checking its signature would prove nothing.
            return Ok(HandshakeSignatureValid::assertion());
        }
        crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.trust.is_none() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn parsed<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(certificate)
        .ok()
        .map(|(_, certificate)| certificate)
}

fn in_force(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let valid = parsed(certificate)
        .zip(ASN1Time::from_timestamp(now).ok())
        .is_some_and(|(certificate, now)| certificate.validity().is_valid_at(now));
    match valid {
        true => Ok(()),
        false => Err(CertificateError::Expired.into()),
    }
}

/// Whether the certificate has no alternative names and its common name matches the host: `libpq` accepts that, current TLS
/// libraries do not.
fn common_name_fits(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    let (Some(certificate), ServerName::DnsName(host)) = (parsed(certificate), name) else {
        return false;
    };
    let has_names = match certificate.subject_alternative_name() {
        Ok(None) => false,
        Ok(Some(names)) => names
            .value
            .general_names
            .iter()
            .any(|name| matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_))),
        Err(_) => true,
    };
    let mut names = certificate.subject().iter_common_name();
    let common = names.next().and_then(|name| name.as_str().ok());
    !has_names && names.next().is_none() && common.is_some_and(|common| covers(common, host.as_ref()))
}

/// A star matches one label, the first.
fn covers(pattern: &str, host: &str) -> bool {
    let rest = |name: &str| name.split_once('.').map(|(_, rest)| rest.to_owned());
    match pattern.strip_prefix("*.") {
        Some(domain) => rest(host).is_some_and(|rest| rest.eq_ignore_ascii_case(domain)),
        None => pattern.eq_ignore_ascii_case(host),
    }
}

/// The data that SCRAM binds the password's proof to (RFC 5929, `tls-server-end-point`): the hash of the certificate, by the
/// algorithm of its signature, or SHA-256 for older algorithms. None if the algorithm has no hash of its own: then nothing
/// is bound.
pub(super) fn end_point(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let algorithm = parsed(certificate)?.signature_algorithm.algorithm.to_id_string();
    Some(match algorithm.as_str() {
        // RSA with MD5, SHA-1, SHA-256; ECDSA with SHA-1, SHA-256
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2" => Sha256::digest(certificate).to_vec(),
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Sha384::digest(certificate).to_vec(),
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Sha512::digest(certificate).to_vec(),
        _ => return None,
    })
}

/// Why a handshake failed, and what to do about it.
pub(super) fn explained(error: &std::io::Error, tls: &Tls, host: &str) -> String {
    let roots = tls.roots.as_deref().unwrap_or_default();
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => format!(
            "the certificate of {host} is not signed by an authority of `sslrootcert` ({roots}): it may be another server, \
             or the file lacks the authority that signs the certificates of this one"
        ),
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => format!(
            "the server's certificate is not for {host} ({}): use the host name in the certificate, or sslmode=verify-ca if \
             any server with a certificate of this authority is acceptable",
            error
        ),
        Some(Error::InvalidCertificate(error)) => {
            format!("the certificate of {host} cannot be accepted: {error}")
        }
        _ => format!("the TLS handshake with {host} failed: {error}"),
    }
}

#[cfg(test)]
mod tests;
