//! The verdict on every hostile URL of the harness's table, and on every address of its hostile names.

use std::net::IpAddr;

use tenterhook_harness::dns_server::Answer;
use tenterhook_harness::hostile::{Hostile, names, urls};

use super::*;

/// The code and reason that createWebhook would return before it looks a name up.
fn verdict(url: &str) -> (&'static str, &'static str) {
    let refused = match strict().vet_url(url) {
        Ok(_) => return ("TAKEN", "-"),
        Err(refused) => refused,
    };
    let reason = match refused {
        UrlRefusal::TooLong => "too long",
        UrlRefusal::NotAUrl(_) => "not a URL",
        UrlRefusal::Scheme => "scheme",
        UrlRefusal::Credentials => "credentials",
        UrlRefusal::NoName => "no name",
        UrlRefusal::Unsendable => "unsendable",
        UrlRefusal::Port(_) => "port",
        UrlRefusal::OwnHost => "platform host",
        UrlRefusal::LocalName => "local name",
        UrlRefusal::Blocked(Blocked(range)) => range,
    };
    if refused.is_about_the_address() {
        ("FORBIDDEN_ADDRESS", reason)
    } else {
        ("INVALID_URL", reason)
    }
}

/// The addresses of a name as a resolver finds them: at first, or (`then`) later.
fn addresses(name: &str, then: bool) -> Vec<IpAddr> {
    let said = names().into_iter().find(|said| said.name == name);
    match said.map(|said| if then { said.then } else { said.first }) {
        Some(Answer::Addresses(addresses)) => addresses,
        Some(Answer::Alias(target)) if !target.contains("cycle") => addresses(&target, then),
        _ => Vec::new(),
    }
}

/// The addresses of a URL's host. The URL itself must be accepted.
fn resolved(url: &str, then: bool) -> Vec<IpAddr> {
    let url = strict().vet_url(url).unwrap();
    addresses(url.host_str().unwrap().trim_end_matches('.'), then)
}

/// Why a URL's host is refused because of its addresses, if it is.
fn refused(url: &str, then: bool) -> Option<&'static str> {
    let mut verdicts = resolved(url, then)
        .into_iter()
        .map(|address| strict().vet_address(address));
    verdicts.find_map(|verdict| verdict.err().map(|Blocked(range)| range))
}

#[test]
fn w10_every_hostile_url_has_its_verdict() {
    let mut wrong = Vec::new();
    for Hostile { code, reason, url } in urls(&[8080]) {
        let right = match (code.as_str(), reason.split_once("resolves to ")) {
            ("FORBIDDEN_ADDRESS", Some(("", range))) => refused(&url, false) == Some(range),
            ("BLOCKED_ADDRESS", Some(("then ", range))) => {
                refused(&url, false).is_none() && refused(&url, true) == Some(range)
            }
            ("DNS", None) => resolved(&url, false).is_empty() && resolved(&url, true).is_empty(),
            _ => verdict(&url) == (code.as_str(), reason.as_str()),
        };
        if !right {
            wrong.push(format!(
                "{url:?} is {:?}, not {code} {reason}",
                strict().vet_url(&url)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
