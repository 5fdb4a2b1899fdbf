//! What the shape of a host name says before anybody is asked about it (W10).
//!
//! Promises that a name which cannot be looked up, or which by its kind leads nowhere public, is known as such. Does not
//! promise that any other name is public: that its addresses say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Characters of a whole name, without the root's dot (RFC 1035).
pub(super) const NAME_CHARS: usize = 253;
/// Characters of one label of it.
pub(super) const LABEL_CHARS: usize = 63;

const LOOPBACK: &[IpAddr] = &[IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
const METADATA: &[IpAddr] = &[IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254))];

/// Names that belong to a machine: every name below one too. In order: the first that fits decides.
const OF_MACHINES: &[(&str, &[IpAddr])] = &[
    ("localhost", LOOPBACK),
    ("localhost.localdomain", LOOPBACK),
    ("metadata.google.internal", METADATA),
    ("metadata.goog", METADATA),
    ("metadata.tencentyun.com", METADATA),
];

/// Top-level names that the public DNS does not have and networks use for themselves: RFC 6762 with its appendix G,
/// RFC 8375, ICANN's `internal`, and those of other name systems (RFC 7686, RFC 9476).
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
    /// Wherever the public DNS says.
    Anywhere,
    /// Into a network that gives the name its meaning.
    Network,
    /// To one of these addresses.
    At(&'static [IpAddr]),
}

/// Whether such a name can be looked up: labels of letters, digits, hyphens and underscores, none of which begins with a
/// hyphen. Resolvers, ours among them, ask for no other. A hyphen at the end of a label is no host name either
/// (RFC 952), but resolvers ask for it. Expects a name in ASCII and without the root's dot.
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

/// Where a name can lead, by its end. Expects it in lower case and without the root's dot. One without any dot is a
/// network's: nothing is published at the top of the public DNS.
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
