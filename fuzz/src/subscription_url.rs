//! The checks of subscription URLs (W10), with arbitrary text.
//!
//! Properties: Nothing panics. An accepted URL is accepted again in the form in which it is stored, and that form stays
//! the same. Every program that reads it finds the same host, which is public if it is an address. A refused text is
//! refused with any surrounding white space.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::LazyLock;

use axum::http::Uri;
use tenterhook_outbound_http::target::{TargetConfig, TargetPolicy};
use url::{Host, Url};

const PLATFORM: &str = "api.platform.example";

static POLICY: LazyLock<TargetPolicy> = LazyLock::new(|| {
    let config = TargetConfig {
        own_hosts: vec![PLATFORM.to_owned()],
        ..TargetConfig::default()
    };
    TargetPolicy::new(config).expect("the platform's host is a name")
});

/// Checks the text.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let padded = POLICY.vet_url(&format!(" {text}\n"));
    match POLICY.vet_url(text) {
        Err(_) => assert!(padded.is_err(), "taken with white space around it"),
        Ok(url) => {
            let again = POLICY
                .vet_url(url.as_str())
                .expect("what was taken is taken again");
            assert_eq!(again, url, "the stored form changes");
            leads_nowhere_forbidden(&url);
        }
    }
}

/// The accepted URL has no forbidden target, in any way in which a program may read it.
fn leads_nowhere_forbidden(url: &Url) {
    assert!(matches!(url.scheme(), "http" | "https"));
    assert!(url.username().is_empty() && url.password().is_none());
    let port = url.port_or_known_default().expect("both schemes have a port");
    assert_ne!(port, 0);
    let text = url.host_str().expect("there is a host");
    assert!(text.is_ascii() && !text.bytes().any(|byte| byte.is_ascii_uppercase() || byte <= b' '));
    // How the HTTP client reads it.
    let uri: Uri = url.as_str().parse().expect("the client can read it");
    assert_eq!(uri.host(), Some(text), "the client sees another host");
    assert_eq!(uri.port_u16().unwrap_or(port), port);
    assert!(
        uri.authority()
            .is_some_and(|authority| !authority.as_str().contains('@'))
    );
    match url.host().expect("there is a host") {
        Host::Ipv4(address) => public(address.into()),
        Host::Ipv6(address) => public(address.into()),
        Host::Domain(name) => {
            let plain = name.trim_end_matches('.');
            assert_ne!(plain, PLATFORM);
            assert!(plain.contains('.') && !plain.ends_with(".localhost"));
            assert!(plain.len() <= 253 && plain.split('.').all(|label| (1..=63).contains(&label.len())));
            // The client and the resolver use a text that looks like an address as one, without a lookup.
            assert!(plain.parse::<IpAddr>().is_err(), "a name that is an address");
            assert!(
                !plain.rsplit('.').next().is_some_and(numeric),
                "a name that a resolver may take for an address"
            );
        }
    }
    if let Ok(found) = literal(text, port) {
        found.into_iter().for_each(|found| public(found.ip()));
    }
}

/// The host as an address, as the standard library reads it without a lookup.
fn literal(host: &str, port: u16) -> Result<Vec<SocketAddr>, ()> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address: IpAddr = bare.parse().map_err(|_| ())?;
    (address, port)
        .to_socket_addrs()
        .map(Iterator::collect)
        .map_err(|_| ())
}

/// Whether `inet_aton` would read the label as the last part of an address.
fn numeric(label: &str) -> bool {
    let hex = label.strip_prefix("0x");
    hex.map_or_else(
        || label.bytes().all(|byte| byte.is_ascii_digit()),
        |hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()),
    )
}

/// An independent check that the address is public: not of this machine, its network or a special purpose.
fn public(address: IpAddr) {
    POLICY
        .vet_address(address)
        .expect("the address was taken as a URL");
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            assert!(!(a == 0 || a == 10 || a == 127 || a >= 224), "{v4}");
            assert!(!(a == 100 && b & 0xc0 == 64 || a == 169 && b == 254), "{v4}");
            assert!(!(a == 172 && b & 0xf0 == 16 || a == 192 && b == 168), "{v4}");
            assert!(!v4.is_documentation() && !v4.is_broadcast(), "{v4}");
        }
        IpAddr::V6(v6) => {
            let segments = v6.segments();
            match v6.to_ipv4_mapped() {
                Some(v4) => public(v4.into()),
                None => assert!(segments[0] & 0xe000 == 0x2000 && segments[0] != 0x2002, "{v6}"),
            }
            assert!(
                segments[..2] != [0x2001, 0] && segments[..2] != [0x2001, 0xdb8],
                "{v6}"
            );
        }
    }
}
