//! Which targets may be called (W10): which URLs are accepted, and which addresses a connection may go to.
//!
//! Guarantees: an address that is not public is refused in every spelling. [`TargetPolicy::vet_url`] refuses literals,
//! because a resolver never sees them. [`TargetPolicy::vet_address`] checks every address that a name resolves to at the
//! time of connection, so that a name whose addresses change later is refused too. Names that mean something only inside a
//! network are refused unless a network is allowed, so that nobody learns where they lead. Nothing is resolved here, and
//! it is not checked whether the host exists.

mod address;
mod name;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::ops::RangeInclusive;

use hyper::Uri;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::{Host, Url};

use self::name::Locality;

/// Characters of a URL, as given and as normalised.
pub const URL_CHARS: usize = 2048;

/// Why an address may not be called: the name of its special-purpose range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the address is not public ({0})")]
pub struct Blocked(pub &'static str);

/// The name of the ranges in [`TargetConfig::denied`].
pub const DENIED: &str = "denied by the operator";

/// Why a URL is refused. The sentences are for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlRefusal {
    /// Longer than [`URL_CHARS`], as given or after normalisation.
    #[error("a URL must have at most {URL_CHARS} characters")]
    TooLong,
    /// Not a URL at all; carries the parser's message.
    #[error("not a full URL: {0}")]
    NotAUrl(url::ParseError),
    /// A scheme other than `http` and `https`.
    #[error("only http and https URLs can be called")]
    Scheme,
    /// Credentials belong in a header, and are stored apart from the URL (W11).
    #[error("the URL must not contain credentials")]
    Credentials,
    /// A host that cannot be looked up: a label is empty or too long, has other characters, or begins with a hyphen.
    #[error(
        "the host name is not valid: each part between dots must have 1 to 63 letters, digits, hyphens or underscores and \
         must not begin with a hyphen; the whole name must have at most 253 characters"
    )]
    NoName,
    /// A URL that the HTTP client cannot read, or reads differently: it has its own parser.
    #[error("this URL does not make a valid request")]
    Unsendable,
    /// Port 0, or a port that is not in [`TargetConfig::ports`].
    #[error("port {0} cannot be called")]
    Port(u16),
    /// A host of [`TargetConfig::own_hosts`].
    #[error("the caller's own hosts cannot be called")]
    OwnHost,
    /// A name for this machine, or for something inside its network.
    #[error("a name of the local machine or network is not publicly reachable")]
    LocalName,
    /// An address that is not public.
    #[error(transparent)]
    Blocked(#[from] Blocked),
}

impl UrlRefusal {
    /// Whether the reason is where the URL leads (`FORBIDDEN_ADDRESS`) rather than how it is written.
    pub fn is_about_the_address(&self) -> bool {
        matches!(
            self,
            Self::Port(_) | Self::OwnHost | Self::LocalName | Self::Blocked(_)
        )
    }
}

/// What decides about targets. Without any entry: every public address, at every port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetConfig {
    /// Exempts exactly its addresses from the refusal of addresses that are not public.
    pub allowed: Vec<IpNet>,
    /// Addresses that are never called, whatever is allowed.
    pub denied: Vec<IpNet>,
    /// The only ports that may be called; all if empty.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Hosts that strangers must not make the caller call, because they are its own: exact host names or literals, in any
    /// spelling.
    pub own_hosts: Vec<String>,
}

/// Decides which targets may be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetPolicy(TargetConfig);

impl TargetPolicy {
    /// A policy by `config`.
    ///
    /// # Errors
    ///
    /// If one of the caller's own hosts is not a host.
    pub fn new(config: TargetConfig) -> Result<Self, url::ParseError> {
        let own_hosts: Result<_, _> = config
            .own_hosts
            .iter()
            .map(|host| Host::parse(host.trim()).map(|host| one_spelling(&host)))
            .collect();
        Ok(Self(TargetConfig {
            own_hosts: own_hosts?,
            ..config
        }))
    }

    /// Any address and any host, for a target that the operator has chosen, not a stranger (R4).
    ///
    /// Such a target is often on a private network, or a host of the operator's own. W10 keeps strangers away from both;
    /// the operator could call them anyway.
    pub fn anywhere() -> Self {
        Self(TargetConfig {
            allowed: vec![Ipv4Net::default().into(), Ipv6Net::default().into()],
            ..TargetConfig::default()
        })
    }

    /// Checks a URL without resolving its host. Returns the normalised URL: only that one was checked, so only
    /// that one may be stored and called.
    pub fn vet_url(&self, text: &str) -> Result<Url, UrlRefusal> {
        if text.chars().count() > URL_CHARS {
            return Err(UrlRefusal::TooLong);
        }
        let url = Url::parse(text).map_err(UrlRefusal::NotAUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(UrlRefusal::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlRefusal::Credentials);
        }
        if url.as_str().len() > URL_CHARS {
            return Err(UrlRefusal::TooLong);
        }
        let host = url
            .host()
            .ok_or(UrlRefusal::NotAUrl(url::ParseError::EmptyHost))?;
        self.vet_host(&host.to_owned())?;
        self.vet_port(&url)?;
        if is_read_alike(&url) {
            Ok(url)
        } else {
            Err(UrlRefusal::Unsendable)
        }
    }

    /// Checks an address before a connection to it.
    ///
    /// An address that the operator denies stays denied, whatever else is allowed. If a translator or tunnel would turn the
    /// address into an IPv4 address, that one must be allowed too: an operator who allows `64:ff9b::/96`, because the
    /// network's DNS returns such addresses, has not allowed `64:ff9b::10.0.0.1`.
    pub fn vet_address(&self, address: IpAddr) -> Result<(), Blocked> {
        let address = address.to_canonical();
        let lies_in = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&address));
        if lies_in(&self.0.denied) {
            return Err(Blocked(DENIED));
        }
        if !lies_in(&self.0.allowed)
            && let Some(range) = address::special_range(address)
        {
            return Err(Blocked(range));
        }
        address::carried(address)
            .into_iter()
            .try_for_each(|carried| self.vet_address(carried.into()))
    }

    fn vet_host(&self, host: &Host) -> Result<(), UrlRefusal> {
        let name = one_spelling(host);
        if self.0.own_hosts.contains(&name) {
            return Err(UrlRefusal::OwnHost);
        }
        match host {
            Host::Ipv4(address) => Ok(self.vet_address(IpAddr::V4(*address))?),
            Host::Ipv6(address) => Ok(self.vet_address(IpAddr::V6(*address))?),
            Host::Domain(_) if !name::can_be(&name) => Err(UrlRefusal::NoName),
            Host::Domain(_) if self.knows(name::locality(&name)) => Ok(()),
            Host::Domain(_) => Err(UrlRefusal::LocalName),
        }
    }

    /// Whether a name can lead to an address that may be called. A local name can only where its network is allowed, and
    /// each of its addresses is still checked at connection.
    fn knows(&self, locality: Locality) -> bool {
        match locality {
            Locality::Anywhere => true,
            Locality::Network => !self.0.allowed.is_empty(),
            Locality::At(addresses) => addresses.iter().any(|address| self.vet_address(*address).is_ok()),
        }
    }

    fn vet_port(&self, url: &Url) -> Result<(), UrlRefusal> {
        let port = url.port_or_known_default().unwrap_or(0);
        let chosen = self.0.ports.is_empty() || self.0.ports.iter().any(|range| range.contains(&port));
        if port != 0 && chosen {
            Ok(())
        } else {
            Err(UrlRefusal::Port(port))
        }
    }
}

/// Whether the HTTP client reads the same host and port as this module.
fn is_read_alike(url: &Url) -> bool {
    let read: Result<Uri, _> = url.as_str().parse();
    read.is_ok_and(|uri| uri.host() == url.host_str() && uri.port_u16() == url.port())
}

/// A host in the spelling that comparisons use. The parser has already made it lower-case ASCII; this replaces an IPv6
/// spelling of an IPv4 address and removes the trailing dot of the root.
fn one_spelling(host: &Host) -> String {
    match host {
        Host::Domain(name) => name.strip_suffix('.').unwrap_or(name).to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_canonical().to_string(),
    }
}
