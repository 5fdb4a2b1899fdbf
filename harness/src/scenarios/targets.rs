//! Which URLs a webhook may have: complete, public http(s) URLs of limited length (W10).

use serde_json::json;

use super::callers::{DEAD, silent};
use crate::client::{NewWebhook, Refusal};
use crate::scenario::{Need, Scenario, refused, same};

/// Addresses that are not public, by kind, in all spellings. Loopback is not in the list: it is allowed, because
/// receivers of tests listen there.
const PRIVATE: &[(&str, &str, &[&str])] = &[
    (
        "private",
        "private IPv4 addresses",
        &[
            "http://10.0.0.1/",
            "http://172.16.0.1/",
            "http://172.31.255.255/",
            "https://192.168.1.1:8443/hook",
        ],
    ),
    (
        "metadata",
        "link-local and metadata addresses",
        &[
            "http://169.254.169.254/latest/meta-data/",
            "http://169.254.0.1/",
            "http://[fe80::1]/",
        ],
    ),
    (
        "shared",
        "carrier-NAT and benchmark addresses",
        &[
            "http://100.64.0.1/",
            "http://100.127.255.255/",
            "http://198.18.0.1/",
        ],
    ),
    (
        "documentation",
        "documentation addresses",
        &[
            "http://192.0.2.1/",
            "http://198.51.100.1/",
            "http://203.0.113.1/",
            "http://[2001:db8::1]/",
        ],
    ),
    (
        "multicast",
        "multicast, reserved and broadcast addresses",
        &[
            "http://224.0.0.1/",
            "http://240.0.0.1/",
            "http://255.255.255.255/",
            "http://[ff02::1]/",
        ],
    ),
    (
        "unspecified",
        "the unspecified address",
        &["http://0.0.0.0/", "http://0/", "http://[::]/"],
    ),
    (
        "unique-local",
        "unique-local IPv6 addresses",
        &["http://[fc00::1]/", "http://[fd12:3456::1]/"],
    ),
    (
        "oddly-written",
        "private addresses in decimal, octal, hexadecimal, short or with a trailing dot",
        &[
            "http://167772161/",
            "http://0x0a000001/",
            "http://0xa.1/",
            "http://012.0.0.1/",
            "http://10.1/",
            "http://10.0.0.1./",
        ],
    ),
    (
        "embedded",
        "private IPv4 addresses inside IPv6 ones",
        &[
            "http://[::ffff:10.0.0.1]/",
            "http://[::ffff:a9fe:a9fe]/",
            "http://[64:ff9b::a00:1]/",
            "http://[2002:a00:1::]/",
        ],
    ),
];

/// The server's own machine, in all spellings.
const LOOPBACK: &[&str] = &[
    "http://localhost/",
    "http://localhost./",
    "http://127.0.0.1/",
    "http://127.0.0.1./",
    "http://127.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.1/",
    "http://017700000001/",
    "http://[::1]/",
    "http://[::ffff:7f00:1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[2002:7f00:1::]/",
];

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all: Vec<Scenario> = PRIVATE.iter().map(private).collect();
    all.extend([
        Scenario::new(
            "only-http-and-https-urls",
            "Other schemes and incomplete URLs are refused with the name of the field.",
            &["W10"],
            |world| {
                Box::pin(async move {
                    let user = world.company(1).user(7);
                    for url in [
                        "",
                        "deals",
                        "//127.0.0.1/hook",
                        "http://",
                        "ftp://127.0.0.1/",
                        "file:///etc/passwd",
                        "javascript:alert(1)",
                        "gopher://127.0.0.1:6379/",
                    ] {
                        let created = user.create_webhook(NewWebhook::to(url)).await;
                        let path = created.as_ref().err().and_then(Refusal::path);
                        refused(format!("{url:?}"), created, "INVALID_URL")?;
                        same(
                            format!("the path of {url:?}"),
                            path.as_deref(),
                            Some("input.subscriptionUrl"),
                        )?;
                    }
                    Ok(())
                })
            },
        )
        .also_in_real_time(),
        Scenario::new(
            "no-credentials-in-the-url",
            "A user name or password in the URL is refused: basic credentials have fields of their own.",
            &["W10", "W11"],
            |world| {
                Box::pin(async move {
                    let user = world.company(1).user(7);
                    for url in [
                        "http://user:password@127.0.0.1/",
                        "http://user@127.0.0.1/",
                        "https://:secret@127.0.0.1/",
                    ] {
                        refused(url, user.create_webhook(NewWebhook::to(url)).await, "INVALID_URL")?;
                    }
                    Ok(())
                })
            },
        ),
        Scenario::new(
            "a-change-is-vetted-as-a-creation",
            "A URL that could not be created cannot be changed to either, and the old one stays.",
            &["W10"],
            |world| {
                Box::pin(async move {
                    let user = world.company(1).user(7);
                    let id = user.create_webhook(silent()).await?.webhook.id;
                    for (url, code) in [
                        ("http://167772161/", "FORBIDDEN_ADDRESS"),
                        ("ftp://127.0.0.1/", "INVALID_URL"),
                    ] {
                        let changed = user.update_webhook(&id, json!({"subscriptionUrl": url})).await;
                        refused(format!("a change to {url}"), changed, code)?;
                    }
                    let url = user.webhook(&id).await?.map(|webhook| webhook.subscription_url);
                    same("the URL afterwards", url.as_deref(), Some(DEAD))
                })
            },
        )
        .not_through_rest("REST changes no webhook")
        .needing(Need::Vetting),
        Scenario::new(
            "an-allowed-network-is-allowed-in-every-spelling",
            "A network that the operator allows is called, however its address is written.",
            &["W10"],
            |world| {
                Box::pin(async move {
                    let receiver = world.receiver(200).await;
                    let user = world.company(1).user(7);
                    for host in [
                        "127.0.0.1",
                        "127.1",
                        "2130706433",
                        "0x7f000001",
                        "[::ffff:127.0.0.1]",
                    ] {
                        let url = receiver.url().replace("127.0.0.1", host);
                        user.create_webhook(NewWebhook::to(&url)).await?;
                    }
                    world.company(1).publish().await?;
                    world.settle().await;
                    same("requests", receiver.journal().len(), 5)
                })
            },
        )
        .needing(Need::Vetting),
        Scenario::new(
            "loopback-addresses-are-refused",
            "Unless the operator allows it, no webhook leads to the server's own machine, however it is written.",
            &["W10"],
            |world| {
                Box::pin(async move {
                    let user = world.company(1).user(7);
                    for url in LOOPBACK {
                        let created = user.create_webhook(NewWebhook::to(url)).await;
                        refused(*url, created, "FORBIDDEN_ADDRESS")?;
                    }
                    user.create_webhook(NewWebhook::to("http://93.184.215.14/")).await?;
                    Ok(())
                })
            },
        )
        .needing(Need::Vetting)
        .in_world(|builder| builder.allowed_targets(&[])),
    ]);
    all.extend([2047, 2048, 2049].map(url_length));
    all.extend([254, 255, 256].map(name_length));
    all
}

/// A scenario for one kind of address that is not public.
fn private((word, what, urls): &'static (&str, &str, &[&str])) -> Scenario {
    Scenario::new(
        format!("{word}-addresses-are-refused"),
        format!("Webhooks cannot lead to {what}."),
        &["W10"],
        move |world| {
            Box::pin(async move {
                let user = world.company(1).user(7);
                for url in *urls {
                    refused(
                        *url,
                        user.create_webhook(NewWebhook::to(url)).await,
                        "FORBIDDEN_ADDRESS",
                    )?;
                }
                Ok(())
            })
        },
    )
    .needing(Need::Vetting)
}

/// A scenario with a URL of `length` characters, where 2048 are allowed.
fn url_length(length: usize) -> Scenario {
    Scenario::new(
        format!("a-url-of-{length}-characters"),
        format!("A URL of {length} characters is {}.", taken(length <= 2048)),
        &["W10"],
        move |world| {
            Box::pin(async move {
                let url = format!("{DEAD}{}", "x".repeat(length - DEAD.len()));
                let created = world
                    .company(1)
                    .user(7)
                    .create_webhook(NewWebhook::to(&url))
                    .await;
                if length <= 2048 {
                    same(
                        "the URL's length",
                        created?.webhook.subscription_url.len(),
                        length,
                    )
                } else {
                    refused("the URL", created, "TOO_LONG")
                }
            })
        },
    )
}

/// A scenario with a name of `length` characters, some of them not ASCII, where 255 are allowed.
fn name_length(length: usize) -> Scenario {
    Scenario::new(
        format!("a-name-of-{length}-characters"),
        format!("A name of {length} characters is {}.", taken(length <= 255)),
        &["W9"],
        move |world| {
            Box::pin(async move {
                let name = "ä".repeat(length);
                let new = NewWebhook {
                    name: Some(name.clone()),
                    ..silent()
                };
                let created = world.company(1).user(7).create_webhook(new).await;
                if length <= 255 {
                    same("the name", created?.webhook.name, Some(name))
                } else {
                    refused("the name", created, "TOO_LONG")
                }
            })
        },
    )
}

fn taken(is_taken: bool) -> &'static str {
    if is_taken { "taken" } else { "refused" }
}
