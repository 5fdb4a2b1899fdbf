//! Where a webhook may point (W10): which URLs are taken, and which addresses are ever connected to.
//!
//! Promises that an address which is not public is refused in every spelling: [`TargetPolicy::vet_url`] refuses
//! literals, since a resolver never sees them, and [`TargetPolicy::vet_address`] is asked at connection for
//! every address a name resolves to, so that a name which changes its mind is refused too. Does not resolve
//! anything, and does not promise that a host exists.

mod address;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::{Host, Url};

use super::limits::URL_CHARS;

/// Why an address may not be called: the name of the special-purpose range it lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the address is not public ({0})")]
pub struct Blocked(pub &'static str);

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
    /// The platform's own API, which would call itself in a circle.
    #[error("the platform's own hosts cannot be called")]
    PlatformHost,
    /// A name for this machine: `localhost` and everything below it.
    #[error("a name of the local machine is not publicly reachable")]
    LocalName,
    /// An address that is not public.
    #[error(transparent)]
    Blocked(#[from] Blocked),
}

impl UrlRefusal {
    /// Whether it is about where the URL leads (`FORBIDDEN_ADDRESS`) rather than how it is written.
    pub fn is_about_the_address(&self) -> bool {
        matches!(self, Self::PlatformHost | Self::LocalName | Self::Blocked(_))
    }
}

/// Which targets an operator lets webhooks have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetPolicy {
    allowed: Vec<IpNet>,
    platform_hosts: Vec<String>,
}

impl TargetPolicy {
    /// `allowed` wins over every refusal of an address, for exactly its addresses. `platform_hosts` are exact
    /// host names or literals, in any spelling; one that is no host is an error of the settings.
    pub fn new(allowed: Vec<IpNet>, platform_hosts: &[String]) -> Result<Self, url::ParseError> {
        let platform_hosts: Result<_, _> = platform_hosts
            .iter()
            .map(|host| Host::parse(host.trim()).map(|host| one_spelling(&host)))
            .collect();
        Ok(Self {
            allowed,
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
            platform_hosts: Vec::new(),
        }
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
        Ok(url)
    }

    /// Checks an address that is about to be connected to.
    pub fn vet_address(&self, address: IpAddr) -> Result<(), Blocked> {
        let address = address.to_canonical();
        if self.allowed.iter().any(|net| net.contains(&address)) {
            return Ok(());
        }
        address::special_range(address).map_or(Ok(()), |range| Err(Blocked(range)))
    }

    fn vet_host(&self, host: &Host) -> Result<(), UrlRefusal> {
        let name = one_spelling(host);
        if self.platform_hosts.contains(&name) {
            return Err(UrlRefusal::PlatformHost);
        }
        match host {
            Host::Ipv4(address) => Ok(self.vet_address(IpAddr::V4(*address))?),
            Host::Ipv6(address) => Ok(self.vet_address(IpAddr::V6(*address))?),
            Host::Domain(_) if is_local(&name) && !self.allows_loopback() => Err(UrlRefusal::LocalName),
            Host::Domain(_) => Ok(()),
        }
    }

    fn allows_loopback(&self) -> bool {
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        loopback.iter().any(|address| self.vet_address(*address).is_ok())
    }
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

fn is_local(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}
