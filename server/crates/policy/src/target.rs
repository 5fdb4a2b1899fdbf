//! Where a webhook may point (W10): which URLs are taken, and which addresses are ever connected to.
//!
//! Promises that an address which is not public is refused in every spelling: [`TargetPolicy::vet_url`] refuses
//! literals, since a resolver never sees them, and [`TargetPolicy::vet_address`] is asked at connection for
//! every address a name resolves to, so that a name which changes its mind is refused too. Names that mean
//! something only inside a network are refused as well where no such network is allowed: what they lead to is
//! nobody's business. Does not resolve anything, and does not promise that a host exists.

mod address;
mod name;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use hyper::Uri;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::{Host, Url};

use self::name::Locality;
use super::limits::URL_CHARS;
use tenterhook_settings::{PortRange, Settings};

/// Why an address may not be called: the name of the special-purpose range it lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the address is not public ({0})")]
pub struct Blocked(pub &'static str);

/// The range of what an operator has denied.
pub const DENIED: &str = "denied by the operator";

/// Why a subscription URL is refused. The sentences are for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlRefusal {
    /// Longer than [`URL_CHARS`], as given or once normalised.
    #[error("a URL must have at most {URL_CHARS} characters")]
    TooLong,
    /// Not a URL at all; carries the parser's words.
    #[error("not a full URL: {0}")]
    NotAUrl(url::ParseError),
    /// A scheme other than `http` and `https`.
    #[error("only http and https URLs can be called")]
    Scheme,
    /// Credentials belong in the fields that are stored encrypted (W11).
    #[error("credentials must not stand in the URL: give them as httpAuthUser and httpAuthPassword")]
    Credentials,
    /// A host that cannot be looked up: an empty or too long label, one with other characters, or a hyphen before it.
    #[error(
        "the host name cannot be looked up: between its dots it must have 1 to 63 letters, digits, hyphens or \
         underscores, not beginning with a hyphen, and 253 characters in all"
    )]
    NoName,
    /// A URL that the HTTP client, which has a parser of its own, cannot read, or reads as another.
    #[error("no request can be made of this URL")]
    Unsendable,
    /// Port 0, or one that the operator has not chosen.
    #[error("port {0} cannot be called")]
    Port(u16),
    /// The platform's own API, which would call itself in a circle.
    #[error("the platform's own hosts cannot be called")]
    PlatformHost,
    /// A name for this machine or for something inside its network.
    #[error("a name of the local machine or network is not publicly reachable")]
    LocalName,
    /// An address that is not public.
    #[error(transparent)]
    Blocked(#[from] Blocked),
}

impl UrlRefusal {
    /// Whether it is about where the URL leads (`FORBIDDEN_ADDRESS`) rather than how it is written.
    pub fn is_about_the_address(&self) -> bool {
        matches!(
            self,
            Self::Port(_) | Self::PlatformHost | Self::LocalName | Self::Blocked(_)
        )
    }
}

/// Which targets an operator lets webhooks have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetPolicy {
    allowed: Vec<IpNet>,
    denied: Vec<IpNet>,
    ports: Vec<PortRange>,
    platform_hosts: Vec<String>,
}

impl TargetPolicy {
    /// `allowed` frees exactly its addresses from the refusal of what is not public. `platform_hosts` are exact
    /// host names or literals, in any spelling; one that is no host is an error of the settings.
    pub fn new(allowed: Vec<IpNet>, platform_hosts: &[String]) -> Result<Self, url::ParseError> {
        let platform_hosts: Result<_, _> = platform_hosts
            .iter()
            .map(|host| Host::parse(host.trim()).map(|host| one_spelling(&host)))
            .collect();
        Ok(Self {
            allowed,
            denied: Vec::new(),
            ports: Vec::new(),
            platform_hosts: platform_hosts?,
        })
    }

    /// Any address and any host: for what an operator has chosen, not a tenant.
    ///
    /// The platform's own endpoint for notices is its own host, and often on a network of its own; W10 keeps tenants from
    /// both, and whoever writes the settings could call them anyway.
    pub fn anywhere() -> Self {
        Self {
            allowed: vec![Ipv4Net::default().into(), Ipv6Net::default().into()],
            denied: Vec::new(),
            ports: Vec::new(),
            platform_hosts: Vec::new(),
        }
    }

    /// The targets of a server with these settings.
    pub fn of(settings: &Settings) -> Result<Self, url::ParseError> {
        Ok(Self {
            denied: settings.denied_targets.clone(),
            ports: settings.target_ports.clone(),
            ..Self::new(settings.allowed_targets.clone(), &settings.platform_hosts)?
        })
    }

    /// Checks a subscription URL as far as that goes without resolving its host. The URL answered is the
    /// normalised one: only it was checked, so only it may be stored and called.
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

    /// Checks an address that is about to be connected to.
    ///
    /// What the operator denies stays denied, whatever else is allowed. An address that carries an IPv4 one, which a
    /// translator or tunnel would turn it into, may be called only where that one may too: who allows
    /// `64:ff9b::/96`, because the network's DNS answers with it, has not allowed `64:ff9b::10.0.0.1`.
    pub fn vet_address(&self, address: IpAddr) -> Result<(), Blocked> {
        let address = address.to_canonical();
        let lies_in = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&address));
        if lies_in(&self.denied) {
            return Err(Blocked(DENIED));
        }
        if !lies_in(&self.allowed)
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
        if self.platform_hosts.contains(&name) {
            return Err(UrlRefusal::PlatformHost);
        }
        match host {
            Host::Ipv4(address) => Ok(self.vet_address(IpAddr::V4(*address))?),
            Host::Ipv6(address) => Ok(self.vet_address(IpAddr::V6(*address))?),
            Host::Domain(_) if !name::can_be(&name) => Err(UrlRefusal::NoName),
            Host::Domain(_) if self.knows(name::locality(&name)) => Ok(()),
            Host::Domain(_) => Err(UrlRefusal::LocalName),
        }
    }

    /// Whether a name can lead to something that may be called: a local one only where its network is allowed, and
    /// then each of its addresses is looked at still.
    fn knows(&self, locality: Locality) -> bool {
        match locality {
            Locality::Anywhere => true,
            Locality::Network => !self.allowed.is_empty(),
            Locality::At(addresses) => addresses.iter().any(|address| self.vet_address(*address).is_ok()),
        }
    }

    fn vet_port(&self, url: &Url) -> Result<(), UrlRefusal> {
        let port = url.port_or_known_default().unwrap_or(0);
        let chosen = self.ports.is_empty() || self.ports.iter().any(|range| range.contains(port));
        if port != 0 && chosen {
            Ok(())
        } else {
            Err(UrlRefusal::Port(port))
        }
    }
}

/// Whether the HTTP client goes where we looked.
fn is_read_alike(url: &Url) -> bool {
    let read: Result<Uri, _> = url.as_str().parse();
    read.is_ok_and(|uri| uri.host() == url.host_str() && uri.port_u16() == url.port())
}

/// A host in the one spelling that comparisons use: the parser has lower-cased it and made it ASCII; an IPv6
/// spelling of an IPv4 address and the root's trailing dot are left.
fn one_spelling(host: &Host) -> String {
    match host {
        Host::Domain(name) => name.strip_suffix('.').unwrap_or(name).to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_canonical().to_string(),
    }
}
