//! Hostile spellings, and what an operator allows. [`table`] has the hostile URLs of the harness's table.

mod table;

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

fn policy(allowed: &[&str], hosts: &[&str]) -> TargetPolicy {
    TargetPolicy::new(TargetConfig {
        allowed: allowed.iter().map(|net| net.parse().unwrap()).collect(),
        own_hosts: hosts.iter().map(ToString::to_string).collect(),
        ..TargetConfig::default()
    })
    .unwrap()
}

fn strict() -> TargetPolicy {
    policy(&[], &["api.platform.example"])
}

/// Why a URL is refused, in one word; `ok` if it is accepted.
fn refusal(policy: &TargetPolicy, url: &str) -> &'static str {
    match policy.vet_url(url) {
        Ok(_) => "ok",
        Err(UrlRefusal::TooLong) => "long",
        Err(UrlRefusal::NotAUrl(_)) => "no url",
        Err(UrlRefusal::Scheme) => "scheme",
        Err(UrlRefusal::Credentials) => "credentials",
        Err(UrlRefusal::NoName) => "no name",
        Err(UrlRefusal::Unsendable) => "unsendable",
        Err(UrlRefusal::Port(_)) => "port",
        Err(UrlRefusal::OwnHost) => "platform",
        Err(UrlRefusal::LocalName) => "local",
        Err(UrlRefusal::Blocked(Blocked(range))) => range,
    }
}

#[test]
fn w10_public_urls_are_accepted() {
    for url in [
        "https://receiver.example/hook",
        "http://receiver.example",
        "HTTPS://Receiver.Example:8443/a?b=c#d",
        "https://8.8.8.8/",
        "https://[2606:4700:4700::1111]/",
        "https://bücher.example/",
        "https://platform.example/",
        "https://sub.api.platform.example/",
        "https://api.platform.example.evil.example/",
        "https://localhost.example/",
        "https://notlocalhost.example/",
        "https://receiver.example/?next=http://user:pw@127.0.0.1/",
        "https://receiver.example/@127.0.0.1",
    ] {
        assert_eq!(refusal(&strict(), url), "ok", "{url}");
    }
}

#[test]
fn w10_other_urls_are_refused_in_every_spelling() {
    for (url, expected) in [
        ("", "no url"),
        ("receiver.example/hook", "no url"),
        ("//receiver.example/hook", "no url"),
        ("/hook", "no url"),
        ("http://", "no url"),
        ("http:///", "no url"),
        ("https://exa mple.com/", "no url"),
        ("https://exa%00mple.com/", "no url"),
        ("https://receiver.example:65536/", "no url"),
        ("http://256.256.256.256/", "no url"),
        ("http://1.2.3.4.5/", "no url"),
        ("http://[::1/", "no url"),
        ("http://[fe80::1%25eth0]/", "no url"),
        ("ftp://receiver.example/", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("gopher://127.0.0.1:6379/_INFO", "scheme"),
        ("javascript:alert(1)", "scheme"),
        ("ws://receiver.example/", "scheme"),
        ("data:text/plain,hello", "scheme"),
        ("https://user@receiver.example/", "credentials"),
        ("https://user:secret@receiver.example/", "credentials"),
        ("https://:secret@receiver.example/", "credentials"),
        ("https://receiver.example:x@127.0.0.1/", "credentials"),
        ("https://127.0.0.1\\@receiver.example/", "loopback"),
        ("https://api.platform.example/v1/deals", "platform"),
        ("https://API.Platform.EXAMPLE/", "platform"),
        ("https://api.platform.example./", "platform"),
        ("https://api.platform.example:8443/", "platform"),
        ("https://%61pi.platform.example/", "platform"),
        ("https://api。platform。example/", "platform"),
        ("https://\u{ff41}pi.platform.example/", "platform"),
        ("https://api.plat\u{ad}form.example/", "platform"),
        ("http://localhost/", "local"),
        ("http://LOCALHOST:8080/", "local"),
        ("http://localhost./", "local"),
        ("http://a.localhost/", "local"),
        ("http://a.b.localhost./", "local"),
        ("http://loc%61lhost/", "local"),
        ("http://\u{24db}ocalhost/", "local"),
        ("http://127.0.0.1/", "loopback"),
        ("http://127.0.0.1./", "loopback"),
        ("http://127.1/", "loopback"),
        ("http://127.0.1/", "loopback"),
        ("http://2130706433/", "loopback"),
        ("http://0x7f000001/", "loopback"),
        ("http://0x7F.1/", "loopback"),
        ("http://0x7f.0x0.0x0.0x1/", "loopback"),
        ("http://017700000001/", "loopback"),
        ("http://0177.0.0.01/", "loopback"),
        ("http://0177.0.0.0x1:80/", "loopback"),
        ("http://127.0.0.1%2e/", "loopback"),
        ("http://%31%32%37.0.0.1/", "loopback"),
        ("http://①②⑦.⓪.⓪.①/", "loopback"),
        ("http://１２７.０.０.１/", "loopback"),
        ("http://127。0。0。1/", "loopback"),
        ("http:127.0.0.1", "loopback"),
        ("http:\\\\127.0.0.1\\", "loopback"),
        (" http://127.0.0.1/ ", "loopback"),
        ("ht\ntp://127.0.\t0.1/", "loopback"),
        ("http://[::1]/", "loopback"),
        ("http://[0:0:0:0:0:0:0:1]:80/", "loopback"),
        ("http://[::ffff:127.0.0.1]/", "loopback"),
        ("http://[::ffff:7f00:1]/", "loopback"),
        ("http://[0:0:0:0:0:FFFF:7F00:0001]/", "loopback"),
        ("http://[::127.0.0.1]/", "IPv4-compatible"),
        ("http://[::ffff:0:127.0.0.1]/", "IPv4-translated"),
        ("http://[64:ff9b::127.0.0.1]/", "NAT64"),
        ("http://[64:ff9b::7f00:1]/", "NAT64"),
        ("http://[64:ff9b:1::a00:1]/", "NAT64"),
        ("http://[2002:7f00:1::]/", "6to4"),
        ("http://[2001:0:7f00:1::]/", "Teredo"),
        ("http://0/", "this network"),
        ("http://0.0.0.0/", "this network"),
        ("http://[::]/", "unspecified"),
        ("http://[::ffff:0.0.0.0]/", "this network"),
        ("http://10.0.0.1/", "private"),
        ("http://012.0.0.1/", "private"),
        ("http://172.31.255.255/", "private"),
        ("http://192.168.1.1/", "private"),
        ("http://[::ffff:192.168.1.1]/", "private"),
        ("http://169.254.169.254/latest/meta-data/", "link-local"),
        ("http://2852039166/latest/meta-data/", "link-local"),
        ("http://[::ffff:a9fe:a9fe]/", "link-local"),
        ("http://[fd00:ec2::254]/", "unique local"),
        ("http://168.63.129.16/machine", "cloud metadata"),
        ("http://100.100.100.200/", "carrier NAT"),
        ("http://192.0.0.192/", "protocol assignments"),
        ("http://[fe80::1]/", "link-local"),
        ("http://[fec0::1]/", "site-local"),
        ("http://[ff02::1]/", "multicast"),
        ("http://224.0.0.1/", "multicast"),
        ("http://255.255.255.255/", "reserved"),
        ("http://0xffffffff/", "reserved"),
    ] {
        assert_eq!(refusal(&strict(), url), expected, "{url:?}");
    }
}

/// A name that resolvers do not query is refused at creation; one that they query is accepted.
#[test]
fn w10_a_host_name_that_cannot_be_looked_up_is_refused() {
    let label = "a".repeat(63);
    let most = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    for (host, expected) in [
        ("-lead.example.com", "no name"),
        ("a.-lead.example.com", "no name"),
        ("-.example.com", "no name"),
        ("a.example.-com", "no name"),
        ("a..example.com", "no name"),
        (".example.com", "no name"),
        ("*.example.com", "no name"),
        ("a!b.example.com", "no name"),
        ("a+b.example.com", "no name"),
        ("a=b.example.com", "no name"),
        (&format!("{label}a.example.com"), "no name"),
        (&format!("{most}a"), "no name"),
        ("trail-.example.com", "ok"),
        ("a--b.example.com", "ok"),
        ("_a.b_c.example.com", "ok"),
        ("1a.example.com", "ok"),
        ("xn--bcher-kva.example.com", "ok"),
        (&format!("{label}.example.com"), "ok"),
        (&most, "ok"),
    ] {
        assert_eq!(refusal(&strict(), &format!("http://{host}/")), expected, "{host}");
        assert_eq!(
            refusal(&strict(), &format!("http://{host}./")),
            expected,
            "{host}."
        );
    }
}

#[test]
fn w10_an_allowed_cidr_wins_for_exactly_its_addresses() {
    let development = policy(&["127.0.0.0/30", "fd00:1::/64"], &[]);
    for url in [
        "http://127.0.0.1:9000/",
        "http://0x7f.3/",
        "http://[::ffff:127.0.0.2]/",
        "http://[fd00:1::5]/",
    ] {
        assert_eq!(refusal(&development, url), "ok", "{url}");
    }
    for (url, expected) in [
        ("http://127.0.0.4/", "loopback"),
        ("http://[::1]/", "loopback"),
        ("http://[64:ff9b::127.0.0.1]/", "NAT64"),
        ("http://[fd00:1:0:1::]/", "unique local"),
        ("http://10.0.0.1/", "private"),
    ] {
        assert_eq!(refusal(&development, url), expected, "{url}");
    }
}

#[test]
fn w10_local_names_are_allowed_if_loopback_is() {
    for (allowed, expected) in [
        (&["127.0.0.1/32"][..], "ok"),
        (&["::1/128"], "ok"),
        (&["127.0.0.0/8", "::1/128"], "ok"),
        (&["10.0.0.0/8"], "local"),
        (&["127.0.0.2/32"], "local"),
    ] {
        assert_eq!(
            refusal(&policy(allowed, &[]), "http://a.localhost:9000/"),
            expected,
            "{allowed:?}"
        );
    }
}

#[test]
fn r4_an_operators_url_may_have_any_address_but_must_be_valid() {
    let policy = TargetPolicy::anywhere();
    for url in [
        "https://platform.example/notices",
        "http://127.0.0.1:9000/",
        "http://[::1]/",
        "http://localhost/",
        "http://169.254.1.1/",
    ] {
        assert_eq!(policy.vet_url(url).map(String::from).as_deref(), Ok(url));
    }
    for address in ["10.0.0.1", "::", "fe80::1", "255.255.255.255"] {
        assert_eq!(policy.vet_address(address.parse().unwrap()), Ok(()));
    }
    for url in [
        "ftp://platform.example/",
        "https://user@platform.example/",
        "notices",
    ] {
        assert!(policy.vet_url(url).is_err(), "{url}");
    }
}

#[test]
fn w10_internal_names_are_allowed_if_a_network_is() {
    let names = [
        "http://redis:6379/",
        "http://hooks.svc.cluster.local/",
        "http://a.internal/",
    ];
    for name in names {
        assert_eq!(refusal(&strict(), name), "local", "{name}");
        assert_eq!(refusal(&policy(&["10.0.0.0/8"], &[]), name), "ok", "{name}");
    }
    let metadata = "http://metadata.google.internal/";
    assert_eq!(refusal(&policy(&["10.0.0.0/8"], &[]), metadata), "local");
    assert_eq!(refusal(&policy(&["169.254.169.254/32"], &[]), metadata), "ok");
}

#[test]
fn w10_an_embedded_address_must_be_allowed_too() {
    let translated = policy(&["64:ff9b::/96", "2002::/16", "2001::/32", "::/96"], &[]);
    for (address, expected) in [
        ("64:ff9b::8.8.8.8", None),
        ("64:ff9b::10.0.0.1", Some("private")),
        ("64:ff9b::a9fe:a9fe", Some("link-local")),
        ("2002:808:808::1", None),
        ("2002:a00:1::1", Some("private")),
        // Teredo writes a client with every bit inverted.
        ("2001:0:808:808::f7f7:f7f7", None),
        ("2001:0:808:808::80ff:fffe", Some("loopback")),
        ("2001:0:a00:1::f7f7:f7f7", Some("private")),
        ("::8.8.8.8", None),
        ("::192.168.0.1", Some("private")),
    ] {
        let verdict = translated.vet_address(address.parse().unwrap());
        assert_eq!(verdict.err().map(|Blocked(range)| range), expected, "{address}");
    }
    let local_too = policy(&["64:ff9b::/96", "10.0.0.0/8"], &[]);
    assert_eq!(refusal(&local_too, "http://[64:ff9b::10.0.0.1]/"), "ok");
}

#[test]
fn w10_denied_ranges_override_allowed_ones() {
    let policy = TargetPolicy::new(TargetConfig {
        allowed: vec!["0.0.0.0/0".parse().unwrap(), "64:ff9b::/96".parse().unwrap()],
        denied: vec!["93.184.215.0/24".parse().unwrap(), "10.0.0.0/8".parse().unwrap()],
        ..TargetConfig::default()
    })
    .unwrap();
    for url in [
        "http://93.184.215.0/",
        "http://93.184.215.255/",
        "http://[::ffff:93.184.215.14]/",
        "http://[64:ff9b::93.184.215.14]/",
        "http://10.0.0.1/",
    ] {
        assert_eq!(refusal(&policy, url), DENIED, "{url}");
    }
    for url in [
        "http://93.184.214.255/",
        "http://93.184.216.0/",
        "http://192.168.0.1/",
    ] {
        assert_eq!(refusal(&policy, url), "ok", "{url}");
    }
}

#[test]
fn w10_only_the_chosen_ports_are_called() {
    let policy = TargetPolicy::new(TargetConfig {
        ports: vec![80..=80, 443..=443, 8000..=8999],
        ..TargetConfig::default()
    })
    .unwrap();
    for (port, expected) in [
        ("", "ok"),
        (":443", "ok"),
        (":80", "ok"),
        (":81", "port"),
        (":79", "port"),
        (":442", "port"),
        (":444", "port"),
        (":7999", "port"),
        (":8000", "ok"),
        (":8999", "ok"),
        (":9000", "port"),
        (":0", "port"),
        (":65535", "port"),
    ] {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://receiver.example{port}/");
            assert_eq!(refusal(&policy, &url), expected, "{url}");
        }
    }
    assert_eq!(refusal(&strict(), "https://receiver.example:1/"), "ok");
    assert_eq!(refusal(&strict(), "https://receiver.example:0/"), "port");
}

#[test]
fn a_name_has_at_most_253_characters_and_a_label_63() {
    let name = |last: usize| {
        let labels = ["a", "b", "c"].map(|letter| letter.repeat(63)).join(".");
        format!("https://{labels}.{}/", "d".repeat(last))
    };
    assert_eq!(refusal(&strict(), &name(61)), "ok");
    assert_eq!(
        refusal(&strict(), &name(61).replace("d/", "d./")),
        "ok",
        "the root's dot is free"
    );
    assert_eq!(refusal(&strict(), &name(62)), "no name");
    let label = |length: usize| format!("https://{}.example/", "a".repeat(length));
    assert_eq!(refusal(&strict(), &label(63)), "ok");
    assert_eq!(refusal(&strict(), &label(64)), "no name");
}

#[test]
fn w10_platform_addresses_are_refused_despite_an_allowed_cidr() {
    let policy = policy(
        &["0.0.0.0/0"],
        &[" API.Example. ", "0x0a.0.0.1", "[2606:4700::1]"],
    );
    for url in [
        "https://api.example/",
        "https://10.0.0.1/",
        "https://[::ffff:10.0.0.1]/",
        "https://[2606:4700:0::1]/",
    ] {
        assert_eq!(refusal(&policy, url), "platform", "{url}");
    }
    let config = TargetConfig {
        own_hosts: vec!["https://api.example/".to_owned()],
        ..TargetConfig::default()
    };
    assert!(TargetPolicy::new(config).is_err());
}

#[test]
fn a_url_has_at_most_2048_characters_as_given_and_as_normalised() {
    let of = |length: usize, filler: &str| {
        format!(
            "https://receiver.example/{}",
            filler.repeat(length - "https://receiver.example/".len())
        )
    };
    assert_eq!(refusal(&strict(), &of(2048, "a")), "ok");
    assert_eq!(refusal(&strict(), &of(2049, "a")), "long");
    assert_eq!(
        refusal(&strict(), &of(1000, "ä")),
        "long",
        "ä becomes six characters"
    );
}

#[test]
fn the_returned_url_is_the_one_that_was_vetted() {
    let url = strict()
        .vet_url(" HTTPS://Receiver.EXAMPLE:443/a/../b?c#d ")
        .unwrap();
    assert_eq!(url.as_str(), "https://receiver.example/b?c#d");
}

#[test]
fn a_refusal_is_about_the_address_or_about_the_spelling() {
    let refused = |url| strict().vet_url(url).unwrap_err().is_about_the_address();
    assert!(
        refused("http://10.0.0.1/")
            && refused("http://localhost/")
            && refused("http://api.platform.example/")
    );
    assert!(refused("http://8.8.8.8:0/") && !refused("http://a..b/"));
    assert!(!refused("ftp://receiver.example/") && !refused("x") && !refused("http://u@receiver.example/"));
}

proptest! {
    /// All spellings of an IPv4 address that a browser accepts get the same verdict.
    #[test]
    fn w10_no_spelling_of_an_address_escapes_its_verdict(bits: u32) {
        let address = Ipv4Addr::from_bits(bits);
        let [a, b, c, d] = address.octets();
        let expected = strict().vet_address(IpAddr::V4(address)).is_ok();
        for spelling in [
            format!("{address}"),
            format!("{address}."),
            format!("{bits}"),
            format!("{bits:#x}"),
            format!("0{bits:o}"),
            format!("{a}.{}", bits & 0x00ff_ffff),
            format!("{a:#x}.0{b:o}.{c}.{d:#X}"),
            format!("[::ffff:{address}]"),
            format!("[{}]", address.to_ipv6_mapped()),
        ] {
            let verdict = strict().vet_url(&format!("http://{spelling}/"));
            prop_assert_eq!(verdict.is_ok(), expected, "{}", spelling);
        }
    }

    #[test]
    fn w10_a_vetted_url_passes_again_unchanged(text in "(http|https|ftp)://[a-z0-9.:@\\[\\]%\\\\/-]{0,40}") {
        if let Ok(url) = strict().vet_url(&text) {
            prop_assert_eq!(strict().vet_url(url.as_str()), Ok(url));
        }
    }

    #[test]
    fn no_text_causes_a_panic(text: String) {
        let _ = strict().vet_url(&text);
        let _ = strict().vet_url(&format!("http://{text}"));
    }
}
