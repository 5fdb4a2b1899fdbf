//! Data arrives exactly as it was published: every digit of a number, and also keys that a JSON library uses
//! internally.

use super::scene::{Scene, USER};
use crate::attacks::INNER_KEYS;
use crate::client::NewWebhook;
use crate::scenario::{Need, Play, Scenario, holds, same};
use crate::world::World;

/// Numbers that a float would round or print differently.
const DIGITS: [&str; 8] = [
    "12345678901.123456789",
    "18446744073709551616",
    "-9223372036854775809",
    "1e-400",
    "1200.50",
    "-0",
    "0.10000000000000000000000000001",
    "100000000000000000000000000000000000001",
];

pub(super) fn scenarios() -> Vec<Scenario> {
    let all = vec![
        Scenario::new(
            "digits-arrive-as-published",
            "Numbers beyond a float arrive with all their digits, in both versions and in `previous`.",
            &["E4", "E5"],
            |world| {
                Box::pin(async move {
                    for number in DIGITS {
                        let data = format!(r#"{{"n":{number},"list":[{number}]}}"#);
                        arrives(world, number, &data).await?;
                    }
                    Ok(())
                })
            },
        ),
        Scenario::new(
            "keys-of-a-json-library-mean-nothing",
            "A key that a JSON library uses itself arrives like any other, with its value.",
            &["E4", "E5"],
            |world| {
                Box::pin(async move {
                    for key in INNER_KEYS {
                        for value in [
                            r#""[1, 2]""#,
                            r#""not JSON""#,
                            r#""""#,
                            r#""12.50""#,
                            "7",
                            "null",
                            "[]",
                        ] {
                            let object = format!(r#"{{"{key}":{value}}}"#);
                            let nested = format!(r#"{{"{key}":{object}}}"#);
                            let data = format!(
                                r#"{{"x":{object},"list":[{object}],"nested":{nested},"{key}":{value}}}"#
                            );
                            arrives(world, &object, &data).await?;
                        }
                    }
                    Ok(())
                })
            },
        ),
    ];
    all.into_iter()
        .map(|scenario| scenario.needing(Need::Verbatim))
        .collect()
}

/// Publishes a change with this `data`, and checks that receivers of both versions get it unchanged.
async fn arrives(world: &World, what: &str, data: &str) -> Play {
    let (scene, receiver) = Scene::new(world, 200).await?;
    let v1 = NewWebhook::to(&receiver.url()).v1();
    let v1 = world
        .company(1)
        .owner(USER)
        .await?
        .create_webhook(v1)
        .await?
        .webhook;
    let previous = data.replace("\"list\"", "\"was\"");
    let event = crate::client::NewEvent::new(world.company(1).id(), "CHANGE", "deal", "8");
    let fields = [("data", data), ("previous", previous.as_str())];
    world.platform().publish_text(event, &fields).await?;
    world.settle().await;
    let arrivals = receiver.journal().all();
    same(format!("requests about {what}"), arrivals.len(), 2)?;
    for arrival in &arrivals {
        let body = String::from_utf8_lossy(&arrival.body);
        let (field, was) = match arrival.webhook() == v1.number {
            // Version 1 repeats the whole previous state.
            true => ("current", previous.clone()),
            false => ("data", "\"was\":[".to_owned()),
        };
        holds(
            format!("a request about {what}"),
            &format!("`{field}` is {data}, and `previous` has {was}"),
            body.contains(&format!("\"{field}\":{data}")) && body.contains(&was),
            &body,
        )?;
    }
    for webhook in [&scene.webhook.id, &v1.id] {
        scene.user.delete_webhook(webhook).await?;
    }
    Ok(())
}
