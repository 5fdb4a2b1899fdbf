//! Each fault that a receiver can have, met by a first try, and how the policy judges it (D1, D2, D3, D5, D10).

use super::scene::{MILLISECOND, Scene};
use crate::client::NewWebhook;
use crate::scenario::{Need, Play, Scenario, refused, same};
use crate::wire::{Authority, Certificate, Fault};
use crate::world::World;

/// The result of a first try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// A success with this status.
    Success(u16),
    /// A failure with this status.
    Status(u16),
    /// A failure with this error class, at once.
    Error(&'static str),
    /// No response within ten seconds.
    TimeOut,
}

pub(super) fn scenarios() -> Vec<Scenario> {
    let over_http1 = Fault::all().iter().copied().filter(|fault| !fault.needs_http2());
    let mut all: Vec<Scenario> = over_http1.map(met).collect();
    all.extend([
        certificate("expired", Certificate::Expired),
        certificate("not-yet-valid", Certificate::NotYetValid),
        certificate("self-signed", Certificate::SelfSigned),
        certificate("of-another-host", Certificate::WrongHost),
        certificate("of-an-unknown-authority", Certificate::Untrusted),
        trusted(),
        names(),
    ]);
    all
}

/// The expected result of each fault. If clients may interpret a fault in several ways, it counts as what the policy
/// says: a failure.
fn end(fault: Fault) -> End {
    match fault {
        Fault::Silence
        | Fault::HangBeforeHeaders
        | Fault::HangInHeaders
        | Fault::DripHeaders
        | Fault::EndlessEarlyHints => End::TimeOut,
        Fault::ResetAtOnce
        | Fault::ResetAfterRequest
        | Fault::CloseWithoutAnswer
        | Fault::HalfClose
        | Fault::ResetInHeaders
        | Fault::Http2Goaway
        | Fault::Http2ResetStream => End::Error("RESET"),
        Fault::Garbage | Fault::MalformedStatusLine | Fault::OversizedHeaders => End::Error("PROTOCOL"),
        Fault::SlowAccept
        | Fault::FoldedHeader
        | Fault::BlankBeforeColon
        | Fault::LineWithoutColon
        | Fault::HangInBody
        | Fault::ResetInBody
        | Fault::EndlessBody
        | Fault::ShortBody
        | Fault::LongBody
        | Fault::ChunkedGarbage
        | Fault::GzipBomb
        | Fault::EarlyHints
        | Fault::EarlyHintsStorm => End::Success(200),
        Fault::SwitchingProtocols => End::Status(101),
        Fault::Redirect301 => End::Status(301),
        Fault::Redirect302 => End::Status(302),
        Fault::Redirect303 => End::Status(303),
        Fault::Redirect307 | Fault::RedirectToMetadata | Fault::RedirectToPrivate => End::Status(307),
        Fault::Redirect308 => End::Status(308),
        Fault::Http2WithoutSettings => End::TimeOut,
    }
}

fn met(fault: Fault) -> Scenario {
    let rules: &'static [&'static str] = match end(fault) {
        End::Success(_) | End::TimeOut => &["D1", "D2", "D5"],
        End::Status(300..=399) => &["D1", "D3", "D5"],
        End::Status(_) | End::Error(_) => &["D1", "D5", "D10"],
    };
    let outcome = match end(fault) {
        End::Success(_) => "a success, since the status decides".to_owned(),
        End::Status(status) => format!("a failure with status {status}"),
        End::Error(class) => format!("a failure of class {class}"),
        End::TimeOut => "a time-out after exactly ten seconds".to_owned(),
    };
    let sentence = format!("A receiver that {} is {outcome}.", lower(&fault.help()));
    let scenario = Scenario::new(format!("fault-{}", fault.name()), sentence, rules, move |world| {
        Box::pin(async move {
            let (scene, receiver) = Scene::on_wire(world, fault).await?;
            scene.deliver().await?;
            expect(&scene, end(fault)).await?;
            let requests = usize::from(!matches!(fault, Fault::Silence | Fault::ResetAtOnce));
            same(
                "requests of the first attempt",
                receiver.journal().len(),
                requests,
            )
        })
    });
    let scenario = scenario.needing(Need::Wire);
    match end(fault) {
        // Only the log can distinguish a response that is not HTTP from a broken connection (D10).
        End::Error("PROTOCOL") => scenario.needing(Need::AttemptLog),
        _ => scenario,
    }
}

/// Waits for the end of a first try, and checks that it is `end`.
async fn expect(scene: &Scene<'_>, end: End) -> Play {
    let start = scene.world.now();
    match end {
        End::TimeOut => {
            scene.world.advance("PT9.999S").await;
            same(
                "attempts before ten seconds are over",
                scene.last_delivery().await?.attempts,
                Vec::new(),
            )?;
            scene.world.advance(MILLISECOND).await;
        }
        // The body may take the rest of the ten seconds.
        End::Success(_) => scene.world.advance("PT10S").await,
        End::Status(_) | End::Error(_) => {}
    }
    let delivery = scene.last_delivery().await?;
    let attempt = delivery.attempts.first();
    let seen = attempt.map(|attempt| (attempt.http_status, attempt.error_class.as_deref()));
    let (expected, failures) = match end {
        End::Success(status) => ((Some(status), None), 0),
        End::Status(status) => ((Some(status), Some("STATUS")), 1),
        End::Error(class) => ((None, Some(class)), 1),
        End::TimeOut => ((None, Some("TIMEOUT")), 1),
    };
    same("status and class of the first attempt", seen, Some(expected))?;
    if end == End::TimeOut {
        let ended = attempt.map(|attempt| attempt.ended_at.duration_since(start).as_millis());
        same("milliseconds until its end", ended, Some(10_000))?;
    }
    scene.expect_health("after it", "ACTIVE", failures).await
}

/// A scenario with a certificate that the server must not accept.
fn certificate(name: &str, kind: Certificate) -> Scenario {
    let scenario = Scenario::new(
        format!("a-certificate-{name}"),
        format!(
            "A receiver with a certificate {} is a failure of class TLS, and gets no request.",
            name.replace('-', " ")
        ),
        &["D1", "D10"],
        move |world| {
            Box::pin(async move {
                let tls = kind.tls(&Authority::new()?)?;
                let receiver = world.wire_over(tls, 200).await;
                let scene = Scene::leading_to(world, &receiver.url()).await?;
                scene.deliver().await?;
                expect(&scene, End::Error("TLS")).await?;
                same("requests", receiver.journal().len(), 0)
            })
        },
    );
    scenario.needing(Need::Tls)
}

/// A scenario with certificates of an authority that the servers trust, wrong ones included, and with HTTP/2 faults.
fn trusted() -> Scenario {
    Scenario::new(
        "trusted-authority",
        "The server accepts only valid certificates of an authority that it trusts; each fault of HTTP/2 is a failure.",
        &["D1", "D2", "D10"],
        |world| {
            Box::pin(async move {
                for (kind, end) in [
                    (Certificate::Valid, End::Success(200)),
                    (Certificate::Expired, End::Error("TLS")),
                    (Certificate::NotYetValid, End::Error("TLS")),
                    (Certificate::WrongHost, End::Error("TLS")),
                    (Certificate::Untrusted, End::Error("TLS")),
                ] {
                    let receiver = world.wire_over(kind.tls(world.authority())?, 200).await;
                    let scene = Scene::leading_to(world, &receiver.url()).await?;
                    scene.deliver().await?;
                    expect(&scene, end).await?;
                    scene.user.delete_webhook(&scene.webhook.id).await?;
                }
                for fault in Fault::all().iter().copied().filter(|fault| fault.needs_http2()) {
                    broken_http2(world, fault).await?;
                }
                Ok(())
            })
        },
    )
    .in_world(|builder| builder.trusting())
}

async fn broken_http2(world: &World, fault: Fault) -> Play {
    let tls = Certificate::Valid.tls(world.authority())?;
    let receiver = world.wire_over(tls, fault).await;
    let scene = Scene::leading_to(world, &receiver.url()).await?;
    scene.deliver().await?;
    expect(&scene, end(fault)).await?;
    scene.user.delete_webhook(&scene.webhook.id).await?;
    Ok(())
}

/// A scenario with host names instead of addresses.
fn names() -> Scenario {
    Scenario::new(
        "names-are-resolved-and-vetted",
        "A name that resolves to a private address is refused, one that does not resolve fails as DNS, and of two addresses \
         the one that responds is used.",
        &["W10", "D1", "D10"],
        |world| {
            Box::pin(async move {
                let receiver = world.receiver(200).await;
                let url = receiver.url().replace("127.0.0.1", "localhost");
                let user = world.company(1).owner(super::scene::USER).await?;
                let created = user.create_webhook(NewWebhook::to(&url)).await;
                refused("a name that leads to this machine", created, "FORBIDDEN_ADDRESS")?;

                // `localhost` has an IPv4 and an IPv6 address, and the receiver listens on only one of them.
                world.stop(0).await;
                world.allow_targets(&["127.0.0.0/8", "::1/128"]);
                world.launch().await;
                let scene = Scene::leading_to(world, &url).await?;
                scene.deliver().await?;
                expect(&scene, End::Success(200)).await?;

                let scene = Scene::leading_to(world, "http://nowhere.invalid/hook").await?;
                scene.deliver().await?;
                expect(&scene, End::Error("DNS")).await
            })
        },
    )
    .in_world(|builder| builder.allowed_targets(&[]))
}

fn lower(sentence: &str) -> String {
    let mut words = sentence.to_owned();
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    words
}
