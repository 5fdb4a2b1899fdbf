//! What an app sees that belongs to webhooks: their number, deliveries, events and notices (W4).

use serde_json::{Value, json};

use super::callers::Callers;
use crate::client::NewWebhook;
use crate::scenario::{Need, Play, Scenario, refused, same};
use crate::world::World;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "an-app-cannot-count-general-webhooks",
            "Through an app the limit of general webhooks cannot be read, because it tells their number.",
            &["W4", "W3"],
            |world| {
                Box::pin(async move {
                    Callers::new(world).await?;
                    let crm = world.company(1).app("crm");
                    for caller in [crm.acting_for(7), crm.acting_for_admin(9)] {
                        same("its own webhooks", caller.quota("APPLICATION", None).await?.used, 1)?;
                        refused("general webhooks", caller.quota("GENERAL", None).await, "FORBIDDEN")?;
                    }
                    Ok(())
                })
            },
        ),
        Scenario::new(
            "an-app-counts-its-users-general-webhooks-under-own-general",
            "Where apps also see their user's general webhooks, they can count these, and those of nobody else.",
            &["W4", "W3"],
            |world| {
                Box::pin(async move {
                    Callers::new(world).await?;
                    let crm = world.company(1).app("crm");
                    for caller in [crm.acting_for(7), crm.acting_for_admin(9)] {
                        same("its user's", caller.quota("GENERAL", None).await?.used, 1)?;
                        refused("user 8's", caller.quota("GENERAL", Some(8)).await, "FORBIDDEN")?;
                    }
                    Ok(())
                })
            },
        )
        .under_own_general(),
        Scenario::new(
            "what-an-app-sees-of-deliveries-and-notices",
            "An app sees deliveries to its own webhooks and notices about them, and none of its user's general webhooks.",
            &["W4", "R4"],
            |world| Box::pin(async move { a_ban_is_seen(world, &["application"]).await }),
        )
        .needing(Need::Reading)
        .needing(Need::Notices),
        Scenario::new(
            "what-an-app-sees-of-deliveries-and-notices-under-own-general",
            "Where apps also see their user's general webhooks, they see their deliveries and notices too.",
            &["W4", "R4"],
            |world| Box::pin(async move { a_ban_is_seen(world, &["general", "application"]).await }),
        )
        .under_own_general()
        .needing(Need::Reading)
        .needing(Need::Notices),
    ]
}

/// Bans a general and an application webhook of user 7, and compares what each caller sees of that in every list. The app
/// sees the webhooks `by_app`.
async fn a_ban_is_seen(world: &World, by_app: &[&'static str]) -> Play {
    let company = world.company(1);
    let crm = company.app("crm");
    crm.install(9).await?;
    let (user, app) = (company.user(7), crm.install(7).await?);
    let receiver = world.receiver(500).await;
    let mut names = Vec::new();
    for (name, caller) in [("general", &user), ("application", &app)] {
        let created = caller.create_webhook(NewWebhook::to(&receiver.url())).await?;
        names.push((created.webhook.id, name));
    }
    let mut event = company.publish().await?.event.event_id;
    for _ in 1..10 {
        world.settle().await;
        event = company.publish().await?.event.event_id;
    }
    world.settle().await;
    let list = "{ totalCount nodes { webhook { id } } }";
    let document = format!(
        "query($event: ID!) {{ deliveries(first: 100) {list} event(id: $event) {{ deliveries {list} }} notices {list} }}"
    );
    for (who, caller, expected) in [
        ("the user", user, &["general"][..]),
        ("the app", app, by_app),
        ("the app for the admin", crm.acting_for_admin(9), &[]),
    ] {
        let data = caller.query(&document, json!({"event": event})).await?;
        for (what, list, of_each) in [
            ("deliveries", &data["deliveries"], 10),
            ("deliveries of an event", &data["event"]["deliveries"], 1),
            ("notices", &data["notices"], 1),
        ] {
            let is_of = |node: &&Value, id: &str| node["webhook"]["id"] == id;
            let nodes = list["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
            let mut seen = names.clone();
            seen.retain(|(id, _)| nodes.iter().filter(|node| is_of(node, id)).count() == of_each);
            let seen: Vec<&str> = seen.into_iter().map(|(_, name)| name).collect();
            same(format!("{what} that {who} sees"), seen, expected.to_vec())?;
            let count = of_each * expected.len();
            same(
                format!("totalCount and number of {what} for {who}"),
                (list["totalCount"].clone(), nodes.len()),
                (json!(count), count),
            )?;
        }
    }
    Ok(())
}
