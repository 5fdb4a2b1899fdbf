//! The special-purpose address ranges of IANA's registries that a stranger's URL must not reach (W10).
//!
//! When in doubt, an address is refused: in IPv6 only 2000::/3 is public, without its ranges that stand for another address
//! (6to4, Teredo) or for no host. Ranges that a tunnel or translator would turn into an IPv4 address are refused completely.
//! Where an operator allows such a range, [`carried`] returns the IPv4 addresses. A translator with a prefix of the
//! network's own looks like any public address: the operator must deny that prefix.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Base address, prefix length, name.
type Range<A> = (A, u32, &'static str);

const V4: &[Range<Ipv4Addr>] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8, "this network"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "carrier NAT"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    // A public address at which every Azure machine reaches the metadata of its platform.
    (Ipv4Addr::new(168, 63, 129, 16), 32, "cloud metadata"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "protocol assignments"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "documentation"),
    (Ipv4Addr::new(192, 31, 196, 0), 24, "AS112"),
    (Ipv4Addr::new(192, 52, 193, 0), 24, "multicast tunnel"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "6to4 relay"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(192, 175, 48, 0), 24, "AS112"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "benchmarking"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
];

/// In order: the first range that contains the address gives the name.
const V6: &[Range<Ipv6Addr>] = &[
    (Ipv6Addr::UNSPECIFIED, 128, "unspecified"),
    (Ipv6Addr::LOCALHOST, 128, "loopback"),
    (v6(0, 0), 96, "IPv4-compatible"),
    (Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96, "IPv4-translated"),
    (v6(0x64, 0xff9b), 32, "NAT64"),
    (v6(0x100, 0), 64, "discard-only"),
    (Ipv6Addr::new(0x100, 0, 0, 1, 0, 0, 0, 0), 64, "dummy prefix"),
    (v6(0x2001, 0), 32, "Teredo"),
    (v6(0x2001, 0), 23, "protocol assignments"),
    (v6(0x2001, 0xdb8), 32, "documentation"),
    (v6(0x2002, 0), 16, "6to4"),
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48, "AS112"),
    (v6(0x3fff, 0), 20, "documentation"),
    (v6(0x5f00, 0), 16, "segment routing"),
    (v6(0xfc00, 0), 7, "unique local"),
    (v6(0xfe80, 0), 10, "link-local"),
    (v6(0xfec0, 0), 10, "site-local"),
    (v6(0xff00, 0), 8, "multicast"),
];

const GLOBAL_UNICAST: Range<Ipv6Addr> = (v6(0x2000, 0), 3, "global unicast");

const fn v6(first: u16, second: u16) -> Ipv6Addr {
    Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0)
}

/// The special range that contains `address`, or `None` for a public address. IPv4-mapped addresses must be in their
/// canonical IPv4 form.
pub(super) fn special_range(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => named(
            V4.iter()
                .find(|(base, length, _)| within(bits4(v4), bits4(*base), *length)),
        ),
        IpAddr::V6(v6) => {
            let holds = |(base, length, _): &&Range<Ipv6Addr>| within(v6.to_bits(), base.to_bits(), *length);
            let special = named(V6.iter().find(holds));
            let unassigned = || (!holds(&&GLOBAL_UNICAST)).then_some("not global unicast");
            special.or_else(unassigned)
        }
    }
}

/// The IPv4 addresses that a tunnel or translator would make of `address`; empty if there are none. Addresses in the
/// local-use prefix of NAT64 (64:ff9b:1::/48) are not unwrapped: each network chooses the position of the IPv4 address in
/// them.
pub(super) fn carried(address: IpAddr) -> Vec<Ipv4Addr> {
    let IpAddr::V6(v6) = address else {
        return Vec::new();
    };
    let at = |first: usize| {
        let [a, b] = [v6.segments()[first], v6.segments()[first + 1]];
        Ipv4Addr::from_bits(u32::from(a) << 16 | u32::from(b))
    };
    match v6.segments() {
        // `::` and `::1` stand only for themselves.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Vec::new(),
        // IPv4-compatible, IPv4-translated, NAT64.
        [0, 0, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0xffff, 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => vec![at(6)],
        [0x2002, ..] => vec![at(1)],
        // Teredo: the address of the server, and the client's with every bit inverted.
        [0x2001, 0, ..] => vec![at(2), Ipv4Addr::from_bits(!at(6).to_bits())],
        // ISATAP, under any prefix.
        [.., 0 | 0x200, 0x5efe, _, _] => vec![at(6)],
        _ => Vec::new(),
    }
}

fn named<A>(range: Option<&Range<A>>) -> Option<&'static str> {
    range.map(|(_, _, name)| *name)
}

/// An IPv4 address in the upper end of 128 bits, so that prefixes of both families are compared the same way.
fn bits4(address: Ipv4Addr) -> u128 {
    u128::from(address.to_bits()) << 96
}

fn within(address: u128, base: u128, length: u32) -> bool {
    (address ^ base).leading_zeros() >= length
}
