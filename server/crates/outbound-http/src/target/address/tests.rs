//! Every range, at its first and last address.

use proptest::prelude::*;

use super::*;

#[test]
fn w10_ranges_are_refused_exactly_to_their_edges() {
    for (inside, first, last, outside) in [
        ("this network", "0.0.0.0", "0.255.255.255", &["1.0.0.0"][..]),
        (
            "private",
            "10.0.0.0",
            "10.255.255.255",
            &["9.255.255.255", "11.0.0.0"],
        ),
        (
            "carrier NAT",
            "100.64.0.0",
            "100.127.255.255",
            &["100.63.255.255", "100.128.0.0"],
        ),
        (
            "loopback",
            "127.0.0.0",
            "127.255.255.255",
            &["126.255.255.255", "128.0.0.0"],
        ),
        (
            "cloud metadata",
            "168.63.129.16",
            "168.63.129.16",
            &["168.63.129.15", "168.63.129.17"],
        ),
        (
            "link-local",
            "169.254.0.0",
            "169.254.255.255",
            &["169.253.255.255", "169.255.0.0"],
        ),
        (
            "private",
            "172.16.0.0",
            "172.31.255.255",
            &["172.15.255.255", "172.32.0.0"],
        ),
        (
            "protocol assignments",
            "192.0.0.0",
            "192.0.0.255",
            &["191.255.255.255", "192.0.1.0"],
        ),
        (
            "documentation",
            "192.0.2.0",
            "192.0.2.255",
            &["192.0.1.255", "192.0.3.0"],
        ),
        (
            "AS112",
            "192.31.196.0",
            "192.31.196.255",
            &["192.31.195.255", "192.31.197.0"],
        ),
        (
            "multicast tunnel",
            "192.52.193.0",
            "192.52.193.255",
            &["192.52.192.255", "192.52.194.0"],
        ),
        (
            "AS112",
            "192.175.48.0",
            "192.175.48.255",
            &["192.175.47.255", "192.175.49.0"],
        ),
        (
            "6to4 relay",
            "192.88.99.0",
            "192.88.99.255",
            &["192.88.98.255", "192.88.100.0"],
        ),
        (
            "private",
            "192.168.0.0",
            "192.168.255.255",
            &["192.167.255.255", "192.169.0.0"],
        ),
        (
            "benchmarking",
            "198.18.0.0",
            "198.19.255.255",
            &["198.17.255.255", "198.20.0.0"],
        ),
        (
            "documentation",
            "198.51.100.0",
            "198.51.100.255",
            &["198.51.99.255", "198.51.101.0"],
        ),
        (
            "documentation",
            "203.0.113.0",
            "203.0.113.255",
            &["203.0.112.255", "203.0.114.0"],
        ),
        ("multicast", "224.0.0.0", "239.255.255.255", &["223.255.255.255"]),
        ("reserved", "240.0.0.0", "255.255.255.255", &[]),
        ("unspecified", "::", "::", &[]),
        ("loopback", "::1", "::1", &[]),
        ("IPv4-compatible", "::2", "::ffff:ffff", &[]),
        ("IPv4-translated", "::ffff:0:0:0", "::ffff:0:ffff:ffff", &[]),
        ("NAT64", "64:ff9b::", "64:ff9b::ffff:ffff", &[]),
        ("NAT64", "64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", &[]),
        ("discard-only", "100::", "100::ffff:ffff:ffff:ffff", &[]),
        (
            "dummy prefix",
            "100:0:0:1::",
            "100:0:0:1:ffff:ffff:ffff:ffff",
            &[],
        ),
        ("not global unicast", "100:0:0:2::", "1fff:ffff::", &[]),
        (
            "AS112",
            "2620:4f:8000::",
            "2620:4f:8000:ffff:ffff:ffff:ffff:ffff",
            &["2620:4f:7fff::", "2620:4f:8001::"],
        ),
        ("segment routing", "5f00::", "5f00:ffff::", &[]),
        (
            "Teredo",
            "2001::",
            "2001:0:ffff:ffff:ffff:ffff:ffff:ffff",
            &["2000:ffff::"],
        ),
        (
            "protocol assignments",
            "2001:1::",
            "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
            &["2001:200::"],
        ),
        (
            "documentation",
            "2001:db8::",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
            &["2001:db7::", "2001:db9::"],
        ),
        (
            "6to4",
            "2002::",
            "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            &["2001:ffff::", "2003::"],
        ),
        (
            "documentation",
            "3fff::",
            "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
            &["3ffe::", "3fff:1000::"],
        ),
        (
            "not global unicast",
            "4000::",
            "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            &[],
        ),
        (
            "unique local",
            "fc00::",
            "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            &[],
        ),
        (
            "not global unicast",
            "fe00::",
            "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            &[],
        ),
        (
            "link-local",
            "fe80::",
            "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            &[],
        ),
        (
            "site-local",
            "fec0::",
            "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            &[],
        ),
        (
            "multicast",
            "ff00::",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            &[],
        ),
    ] {
        for address in [first, last] {
            assert_eq!(special_range(address.parse().unwrap()), Some(inside), "{address}");
        }
        for address in outside {
            assert_eq!(special_range(address.parse().unwrap()), None, "{address}");
        }
    }
}

#[test]
fn w10_embedded_ipv4_addresses_are_found() {
    for (address, expected) in [
        ("::", &[][..]),
        ("::1", &[]),
        ("::2", &["0.0.0.2"]),
        ("::7f00:1", &["127.0.0.1"]),
        ("::ffff:0:7f00:1", &["127.0.0.1"]),
        ("64:ff9b::7f00:1", &["127.0.0.1"]),
        ("64:ff9b:0:0:0:1:7f00:1", &[]),
        ("64:ff9b:1::7f00:1", &[]),
        ("2002:7f00:1:2:3:4:5:6", &["127.0.0.1"]),
        ("2001:0:7f00:1:0:0:f5ff:fffe", &["127.0.0.1", "10.0.0.1"]),
        ("2606:4700::5efe:7f00:1", &["127.0.0.1"]),
        ("2606:4700::200:5efe:7f00:1", &["127.0.0.1"]),
        ("2606:4700::100:5efe:7f00:1", &[]),
        ("2606:4700::7f00:1", &[]),
        ("127.0.0.1", &[]),
    ] {
        let expected: Vec<Ipv4Addr> = expected.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(carried(address.parse().unwrap()), expected, "{address}");
    }
}

proptest! {
    #[test]
    fn w10_special_ranges_of_the_standard_library_are_refused(bits: u32) {
        let address = Ipv4Addr::from_bits(bits);
        let special = address.is_private()
            || address.is_loopback()
            || address.is_link_local()
            || address.is_multicast()
            || address.is_broadcast()
            || address.is_documentation()
            || address.is_unspecified();
        prop_assert!(!special || special_range(IpAddr::V4(address)).is_some());
    }
}
