//! The log shows each attempt as it happened, for the promised time (D10).

use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::scene::{AROUND, Scene};
use crate::reply::{Reply, Script};
use crate::scenario::{Failure, Need, Play, Scenario, holds, same};
use crate::wire::{Fault, WireReceiver};
use crate::world::World;

/// D10's retention.
const RETENTION: SignedDuration = SignedDuration::from_hours(30 * 24);
const ATTEMPTS: &str = "query($id: ID!) { webhook(id: $id) { deliveries(first: 1) { nodes { attempts { \
    number startedAt endedAt durationMs timings { firstByteMs } httpStatus errorClass errorMessage \
    requestHeaders { name value } requestBody responseHeaders { name value } responseBody responseTruncated } } } } }";

/// All attempts of the latest delivery, with all fields.
async fn attempts(scene: &Scene<'_>) -> Result<Vec<Value>, Failure> {
    let data = scene
        .user
        .query(ATTEMPTS, json!({"id": scene.webhook.id}))
        .await?;
    let attempts = data
        .pointer("/webhook/deliveries/nodes/0/attempts")
        .and_then(Value::as_array);
    Ok(attempts.cloned().unwrap_or_default())
}

fn header<'a>(headers: &'a Value, name: &str) -> Option<&'a str> {
    let mut headers = headers.as_array()?.iter();
    headers.find(|header| header["name"] == name)?["value"].as_str()
}

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = vec![
        Scenario::new(
            "each-attempt-is-logged-as-it-was",
            "Number, start, request body, status and response are logged as they were sent and received.",
            &["D10"],
            |world| {
                Box::pin(async move {
                    let reply =
                        |status: u16| Reply::status(status).header("x-receiver", "seven").body("thanks");
                    let (scene, receiver) =
                        Scene::new(world, Script::by_attempt([reply(502)], reply(200))).await?;
                    scene.deliver().await?;
                    world.advance("PT3S").await;
                    let (logged, arrivals) = (attempts(&scene).await?, receiver.journal().all());
                    same(
                        "attempts logged and arrived",
                        (logged.len(), arrivals.len()),
                        (2, 2),
                    )?;
                    for (attempt, arrival) in logged.iter().zip(&arrivals) {
                        let seen = ["number", "startedAt", "requestBody"].map(|key| attempt[key].clone());
                        let body = String::from_utf8_lossy(&arrival.body);
                        let expected = [
                            json!(arrival.attempt()),
                            json!(format!("{:.3}", arrival.at)),
                            json!(body),
                        ];
                        same("number, startedAt and requestBody", seen, expected)?;
                        for name in [
                            "webhook-id",
                            "webhook-timestamp",
                            "tenterhook-webhook",
                            "tenterhook-attempt",
                            "content-type",
                        ] {
                            same(
                                name,
                                header(&attempt["requestHeaders"], name),
                                arrival.header(name),
                            )?;
                        }
                        same(
                            "x-receiver",
                            header(&attempt["responseHeaders"], "x-receiver"),
                            Some("seven"),
                        )?;
                        same(
                            "responseBody and responseTruncated",
                            [
                                attempt["responseBody"].clone(),
                                attempt["responseTruncated"].clone(),
                            ],
                            [json!("thanks"), json!(false)],
                        )?;
                        let times = [&attempt["durationMs"], &attempt["timings"]["firstByteMs"]];
                        let times = times.map(Value::as_f64);
                        holds(
                            "durationMs and firstByteMs",
                            "the first byte no later than the end",
                            matches!(times, [Some(whole), Some(first)] if whole >= first),
                            &times,
                        )?;
                    }
                    let ends: Vec<_> = logged
                        .iter()
                        .map(|attempt| (attempt["httpStatus"].clone(), attempt["errorClass"].clone()))
                        .collect();
                    same(
                        "status and error class",
                        ends,
                        vec![(json!(502), json!("STATUS")), (json!(200), Value::Null)],
                    )
                })
            },
        ),
        Scenario::new(
            "secrets-are-redacted-in-the-log",
            "Neither the signature nor the basic credentials can be read back from the log of attempts.",
            &["D10", "W11"],
            |world| {
                Box::pin(async move {
                    let (scene, receiver) = Scene::new(world, 200).await?;
                    let credentials = json!({"httpAuthUser": "user", "httpAuthPassword": "päss"});
                    scene.user.update_webhook(&scene.webhook.id, credentials).await?;
                    scene.deliver().await?;
                    let logged = attempts(&scene).await?;
                    let headers = logged
                        .first()
                        .map(|attempt| attempt["requestHeaders"].clone())
                        .unwrap_or_default();
                    let arrivals = receiver.journal().wait_for(1).await;
                    for (name, prefix) in [("webhook-signature", "v1,"), ("authorization", "Basic ")] {
                        let sent = arrivals[0].header(name).unwrap_or_default();
                        let secret = sent.trim_start_matches(prefix);
                        let shown = header(&headers, name).unwrap_or_default();
                        let hidden = !secret.is_empty() && !shown.contains(secret);
                        holds(
                            format!("{name} in the log"),
                            "sent, and redacted in the log",
                            hidden,
                            &shown,
                        )?;
                    }
                    Ok(())
                })
            },
        ),
        Scenario::new(
            "of-a-success-one-kib-is-kept",
            "For a success the log keeps 1 KiB of the body and says that it is cut; cut text stays valid text.",
            &["D10"],
            |world| {
                Box::pin(async move {
                    let (scene, _receiver) =
                        Scene::new(world, Reply::status(200).body("ä".repeat(1000))).await?;
                    expect_excerpt(&scene, &"ä".repeat(512)).await
                })
            },
        ),
        Scenario::new(
            "of-an-endless-body-one-kib-is-kept",
            "For a success whose body never ends the log keeps 1 KiB and says that it is cut.",
            &["D10", "D2"],
            |world| {
                Box::pin(async move {
                    let (scene, _receiver) = Scene::on_wire(world, Fault::EndlessBody).await?;
                    scene.deliver().await?;
                    let delivery = scene.last_delivery().await?;
                    let first = delivery.attempts.first();
                    let kept =
                        first.map(|a| (a.response_body.as_ref().map(String::len), a.response_truncated));
                    same(
                        "bytes kept, and whether they are cut",
                        kept,
                        Some((Some(1024), true)),
                    )
                })
            },
        )
        .needing(Need::Wire),
        Scenario::new(
            "of-a-failure-16-kib-are-kept",
            "For a failure the log keeps 16 KiB of the body, however long it is.",
            &["D10", "D2"],
            |world| {
                Box::pin(async move {
                    let (scene, _receiver) =
                        Scene::new(world, Reply::status(500).body(vec![b'x'; 1 << 20])).await?;
                    expect_excerpt(&scene, &"x".repeat(16 * 1024)).await
                })
            },
        ),
        Scenario::new(
            "a-compressed-body-is-bounded-after-decoding",
            "96 bytes of gzip that expand to 64 KiB are cut at 16 KiB of expanded text.",
            &["D2", "D10"],
            |world| {
                Box::pin(async move {
                    let reply = Reply::status(500).header("content-encoding", "gzip").body(bomb());
                    let (scene, _receiver) = Scene::new(world, reply).await?;
                    expect_excerpt(&scene, &"x".repeat(16 * 1024)).await
                })
            },
        ),
    ];
    all.extend([
        fault("a-reset", Fault::ResetAfterRequest, None, "RESET"),
        fault("a-reset-before-the-request", Fault::ResetAtOnce, None, "RESET"),
        fault(
            "a-close-without-an-answer",
            Fault::CloseWithoutAnswer,
            None,
            "RESET",
        ),
        fault("a-time-out", Fault::HangBeforeHeaders, None, "TIMEOUT"),
        fault("garbage", Fault::Garbage, None, "PROTOCOL"),
        fault(
            "switching-protocols",
            Fault::SwitchingProtocols,
            Some(101),
            "STATUS",
        ),
        failure("a-refused-connection", None, "CONNECT", |world| {
            Box::pin(async move { world.refusing() })
        }),
        failure("a-self-signed-certificate", None, "TLS", |world| {
            Box::pin(world.wire_tls(200))
        })
        .needing(Need::Tls),
    ]);
    all.extend(AROUND.map(|(word, offset)| retention(word, offset)));
    all.into_iter()
        .map(|scenario| scenario.needing(Need::AttemptLog))
        .collect()
}

/// Delivers one event, and checks that the logged response body is `text`, truncated.
async fn expect_excerpt(scene: &Scene<'_>, text: &str) -> Play {
    scene.deliver().await?;
    let attempts = attempts(scene).await?;
    let first = attempts.first().cloned().unwrap_or_default();
    let (body, cut) = (&first["responseBody"], &first["responseTruncated"]);
    let kept = body.as_str() == Some(text) && *cut == json!(true);
    let seen = (body.as_str().map(str::len), cut);
    holds(
        "the logged body's bytes, and whether it is cut",
        &format!("{} bytes, cut", text.len()),
        kept,
        &seen,
    )
}

/// 64 KiB of the letter x as gzip: 96 bytes, most of them zero.
fn bomb() -> Vec<u8> {
    let head = *b"\x1f\x8b\x08\0\0\0\0\0\x02\x03\xed\xc1\x01\x01\0\0\0\x80\x90\xdb\xcd\xef\x08\x0a";
    let checksum_and_length = *b"\x6a\x9a\x58\xb4\x2c\0\0\x01\0";
    [&head[..], &[0; 63], &checksum_and_length].concat()
}

/// A scenario for the error class that the log gives to a fault of the receiver.
fn fault(word: &str, fault: Fault, status: Option<u16>, class: &'static str) -> Scenario {
    failure(word, status, class, move |world| Box::pin(world.wire(fault)))
}

/// A scenario for the error class that the log gives to a failure.
fn failure(
    word: &str,
    status: Option<u16>,
    class: &'static str,
    receiver: impl for<'w> Fn(&'w World) -> LocalBoxFuture<'w, WireReceiver> + Send + Sync + 'static,
) -> Scenario {
    let receiver = Arc::new(receiver);
    Scenario::new(
        format!("the-log-names-{word}"),
        format!(
            "{} is logged as {class}, with a message for people.",
            word.replace('-', " ")
        ),
        &["D10"],
        move |world| {
            let receiver = Arc::clone(&receiver);
            Box::pin(async move {
                let receiver = receiver(&*world).await;
                let scene = Scene::leading_to(world, &receiver.url()).await?;
                scene.deliver().await?;
                world.advance("PT10S").await;
                let delivery = scene.last_delivery().await?;
                let first = delivery.attempts.first();
                same(
                    "status, error class, and whether there is a message",
                    first.map(|a| (a.http_status, a.error_class.as_deref(), a.error_message.is_some())),
                    Some((status, Some(class), true)),
                )
            })
        },
    )
    .needing(Need::Wire)
}

/// A scenario that reads the log 30 days later, plus `offset`.
fn retention(word: &str, offset: SignedDuration) -> Scenario {
    let kept = offset < SignedDuration::ZERO;
    Scenario::new(
        format!("the-log-{word}-30-days"),
        format!(
            "A delivery is {} {} thirty days after its attempt.",
            if kept { "still there" } else { "deleted" },
            word.replace('-', " ")
        ),
        &["D10", "T2"],
        move |world| {
            Box::pin(async move {
                let (scene, _receiver) = Scene::new(world, 200).await?;
                scene.deliver().await?;
                world.advance(RETENTION + offset).await;
                same("deliveries", scene.deliveries().await?.len(), usize::from(kept))
            })
        },
    )
}
