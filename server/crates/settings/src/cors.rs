//! Checks the settings for browsers: origins that a browser can send, and names of headers.

use url::{Host, Url};

/// Means everything, in both lists.
pub const ALL: &str = "*";
/// The maximum of bytes in a label and in a whole name of the DNS.
const LONGEST_LABEL: usize = 63;
const LONGEST_NAME: usize = 253;

/// Checks origins: each is a scheme, a host and perhaps a port, exactly as a browser sends it. With another spelling it
/// would never match, and there would be no error.
///
/// # Errors
///
/// Completes the sentence "the value …": the reason, and the correct spelling of the origin if it is known.
pub(super) fn origins(origins: &[String]) -> Result<(), String> {
    let fault = |origin: &String| match origin.as_str() {
        ALL => None,
        text => why_never_sent(text).map(|why| format!("has {:?}: {why}", without_credentials(text))),
    };
    origins.iter().find_map(fault).map_or(Ok(()), Err)
}

/// An entry without credentials, for messages: somebody may have put a password into it.
fn without_credentials(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((before, host)) => {
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            format!("{scheme}://…@{host}")
        }
        None => text.to_owned(),
    }
}

fn why_never_sent(text: &str) -> Option<String> {
    if text == "null" {
        let why =
            "a page without an origin, such as a file, cannot be distinguished from others; only * allows it";
        return Some(why.to_owned());
    }
    let shape = || Some("an origin is like https://app.example.com or http://localhost:3000".to_owned());
    let Ok(url) = Url::parse(text) else { return shape() };
    if !matches!(url.scheme(), "http" | "https") {
        return shape();
    }
    match url.host() {
        None => return shape(),
        Some(Host::Domain(name)) if name.contains('*') => {
            let why = "patterns are not supported, because a browser sends the whole host: list every host, or use * for all";
            return Some(why.to_owned());
        }
        Some(Host::Domain(name)) if !is_name(name) => {
            return Some(format!("{name:?} is not a host that a browser can call"));
        }
        Some(_) => {}
    }
    let sent = url.origin().ascii_serialization();
    (sent != text).then(|| {
        format!(
            "a browser would send {sent:?}: an origin has no path, its host is in lower case and ASCII, and the usual \
             port is left out"
        )
    })
}

/// A name that can be looked up, perhaps followed by the root's dot.
fn is_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= LONGEST_NAME && name.split('.').all(is_label)
}

/// Checks the names of headers.
///
/// # Errors
///
/// Completes the sentence "the value …".
pub(super) fn headers(names: &[String]) -> Result<(), String> {
    match names.iter().find(|name| *name != ALL && !is_header(name)) {
        Some(name) => Err(format!(
            "has {name:?}: list names such as x-tenant-id, without patterns, or use * for all"
        )),
        None => Ok(()),
    }
}

/// A token of RFC 9110, without the star: patterns are not supported.
fn is_header(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(origin: &str) -> String {
        origins(&[origin.to_owned()]).unwrap_err()
    }

    #[test]
    fn origins_are_accepted_as_browsers_send_them() {
        let long = format!("https://{}.example", "a".repeat(63));
        for good in [
            "*",
            "https://app.example.com",
            "https://app.example.com:8443",
            "http://localhost:3000",
            "http://127.0.0.1:3000",
            "http://[::1]:3000",
            "https://xn--mller-kva.example",
            "https://under_score.example",
            "https://example.com.",
            &long,
        ] {
            assert_eq!(origins(&[good.to_owned()]), Ok(()), "{good}");
        }
    }

    #[test]
    fn an_origin_that_can_never_match_is_refused_with_a_reason() {
        for pattern in [
            "https://*.example.com",
            "https://*",
            "https://app-*.example.com",
            "https://*:3000",
        ] {
            assert!(
                refusal(pattern).contains("patterns are not supported"),
                "{}",
                refusal(pattern)
            );
        }
        for (origin, sent) in [
            ("https://example.com/", "https://example.com"),
            ("https://a.example/b", "https://a.example"),
            ("https://a.example?b", "https://a.example"),
            ("https://EXAMPLE.com", "https://example.com"),
            ("HTTPS://example.com", "https://example.com"),
            ("https://example.com:443", "https://example.com"),
            ("http://example.com:80", "http://example.com"),
            ("https://müller.example", "https://xn--mller-kva.example"),
            ("http://127.1:3000", "http://127.0.0.1:3000"),
            ("http://[0::1]", "http://[::1]"),
        ] {
            let told = format!("has {origin:?}: a browser would send {sent:?}");
            assert!(refusal(origin).starts_with(&told), "{}", refusal(origin));
        }
        for origin in [
            "",
            "example.com",
            "ftp://a",
            "localhost:3000",
            "https://",
            "file:///a",
            "**",
        ] {
            assert!(
                refusal(origin).contains("an origin is like"),
                "{}",
                refusal(origin)
            );
        }
        let why = refusal("https://user:s3cret@example.com");
        assert!(
            why.starts_with("has \"https://…@example.com\": a browser would send \"https://example.com\""),
            "{why}"
        );
        assert!(refusal("null").contains("without an origin"));
        for host in [
            "https://a..example",
            "https://.example",
            "https://a!b.example",
            "https://a;b.example",
        ] {
            assert!(refusal(host).contains("not a host"), "{}", refusal(host));
        }
        let long = format!("https://{}.example", "a".repeat(64));
        assert!(refusal(&long).contains("not a host"));
    }

    #[test]
    fn the_error_names_the_invalid_entry() {
        let list = ["https://a.example", "https://b.example/", "https://c.example"].map(str::to_owned);
        assert!(
            origins(&list)
                .unwrap_err()
                .starts_with("has \"https://b.example/\"")
        );
    }

    #[test]
    fn headers_are_tokens() {
        let check = |name: &str| headers(&["x-a".to_owned(), name.to_owned()]);
        for good in ["*", "x-tenant-id", "X-Tenant-ID", "a", "x_y.z"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", "x tenant", "x:y", "x\u{e4}", "x\ny", "x/y", "x-*"] {
            assert!(check(bad).unwrap_err().contains(&format!("{bad:?}")), "{bad}");
        }
    }
}
