//! What the form of a host name says before it is looked up (W10).
//!
//! Finds names that cannot be looked up, and names that never lead to a public address. Any other name may still have
//! addresses that are not public: those are checked at connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Characters of a whole name, without the root's dot (RFC 1035).
pub(super) const NAME_CHARS: usize = 253;
/// Characters of one label of a name.
pub(super) const LABEL_CHARS: usize = 63;

const LOOPBACK: &[IpAddr] = &[IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
const METADATA: &[IpAddr] = &[IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254))];

/// Names of one machine, including every name below them. In order: the first that matches decides.
const OF_MACHINES: &[(&str, &[IpAddr])] = &[
    ("localhost", LOOPBACK),
    ("localhost.localdomain", LOOPBACK),
    ("metadata.google.internal", METADATA),
    ("metadata.goog", METADATA),
    ("metadata.tencentyun.com", METADATA),
];

/// Top-level names that the public DNS does not have and that networks use internally: RFC 6762 with its appendix G, RFC
/// 8375, ICANN's `internal`, and the names of other name systems (RFC 7686, RFC 9476).
const OF_NETWORKS: &[&str] = &[
    "local",
    "localdomain",
    "internal",
    "intranet",
    "private",
    "corp",
    "home",
    "home.arpa",
    "lan",
    "onion",
    "alt",
];

/// Where a name can lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Locality {
    /// Anywhere: the public DNS decides.
    Anywhere,
    /// Into the network that defines the name.
    Network,
    /// To one of these addresses.
    At(&'static [IpAddr]),
}

/// Whether a name can be looked up: labels of letters, digits, hyphens and underscores that do not begin with a hyphen.
/// Resolvers, ours included, query no other names. A label with a hyphen at its end is not a valid host name either (RFC
/// 952), but resolvers query it. The name must be ASCII and without the root's dot.
pub(super) fn can_be(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_CHARS).contains(&label.len())
            && !label.starts_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    name.len() <= NAME_CHARS && name.split('.').all(is_label)
}

/// Where a name can lead, by its last labels. The name must be lower case and without the root's dot. A name without any dot
/// belongs to a network: no hosts are published at the top of the public DNS.
pub(super) fn locality(name: &str) -> Locality {
    let below = |end: &str| {
        name.strip_suffix(end)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let machine = OF_MACHINES.iter().find(|(end, _)| below(end));
    match machine {
        Some((_, addresses)) => Locality::At(addresses),
        None if !name.contains('.') || OF_NETWORKS.iter().any(|end| below(end)) => Locality::Network,
        None => Locality::Anywhere,
    }
}
