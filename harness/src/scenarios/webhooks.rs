//! Properties of a webhook: its type, its subscription, and how long it stays readable (W1, W9, W12).

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::callers::silent;
use super::scene::AROUND;
use crate::client::{Client, NewWebhook, WebhookList};
use crate::scenario::{Need, Play, Scenario, Types, holds, refused, same};
use crate::webhook_type::WebhookType;

/// How long a removed webhook stays readable (W12).
const READABLE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The objects that exist in each version (W9).
const V2_OBJECTS: [&str; 16] = [
    "activity",
    "board",
    "deal",
    "deal_installment",
    "deal_product",
    "lead",
    "note",
    "organization",
    "person",
    "phase",
    "pipeline",
    "product",
    "project",
    "stage",
    "task",
    "user",
];
const V1_OBJECTS: [&str; 10] = [
    "activity",
    "activityType",
    "deal",
    "note",
    "organization",
    "person",
    "pipeline",
    "product",
    "stage",
    "user",
];

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = vec![
        Scenario::new(
            "the-type-follows-from-the-token",
            "A user's own token creates a general webhook; a token through an app creates an application webhook that names \
             the app.",
            &["W1"],
            |world| {
                Box::pin(async move {
                    let company = world.company(1);
                    let crm = company.app("crm");
                    for (caller, kind, app) in [
                        (company.user(7), "GENERAL", None),
                        (company.admin(9), "GENERAL", None),
                        (crm.install(7).await?, "APPLICATION", Some(crm.id())),
                    ] {
                        let webhook = caller.create_webhook(silent()).await?.webhook;
                        same(
                            "type and app",
                            (webhook.kind.as_str(), webhook.app.as_ref().map(|app| app.app_id.as_str())),
                            (kind, app),
                        )?;
                    }
                    Ok(())
                })
            },
        )
        .also_in_real_time(),
        Scenario::new(
            "the-type-is-no-input",
            "A creation with a type as input is refused, and nothing is created.",
            &["W1"],
            |world| {
                Box::pin(async move {
                    let company = world.company(1);
                    let crm = company.app("crm").install(7).await?;
                    for (caller, kind) in [(&company.user(7), "APPLICATION"), (&crm, "GENERAL")] {
                        let mut input = json!(silent());
                        input["type"] = json!(kind);
                        let answer = caller.mutate("createWebhook", input, "webhook { id }").await;
                        let code = answer.as_ref().err().map(|refusal| refusal.code().to_owned());
                        holds(
                            "an input with a type",
                            "refused as bad input",
                            code.as_deref()
                                .is_some_and(|code| ["BAD_USER_INPUT", "GRAPHQL_VALIDATION_FAILED"].contains(&code)),
                            &answer,
                        )?;
                        let list = caller.webhooks(WebhookList::default()).await?;
                        same("webhooks afterwards", list, Vec::new())?;
                    }
                    Ok(())
                })
            },
        )
        .not_through_rest("REST ignores unknown keys"),
        Scenario::new(
            "version-2-is-the-default",
            "The default version is 2.",
            &["W9"],
            |world| {
                Box::pin(async move {
                    let user = world.company(1).user(7);
                    let by_default = user.create_webhook(silent()).await?.webhook.version;
                    let asked_for = user.create_webhook(silent().v1()).await?.webhook.version;
                    same("versions", (by_default.as_str(), asked_for.as_str()), ("V2", "V1"))
                })
            },
        ),
        Scenario::new(
            "the-catalogue-of-version-2",
            "Every action and object of version 2 can be subscribed to.",
            &["W9"],
            |world| {
                Box::pin(async move {
                    let pairs = pairs(&["ANY", "CREATE", "CHANGE", "DELETE"], &V2_OBJECTS);
                    accepted(&world.company(1).user(7), pairs, silent()).await
                })
            },
        ),
        Scenario::new(
            "the-catalogue-of-version-1",
            "Every action and object of version 1 can be subscribed to, merges too.",
            &["W9"],
            |world| {
                Box::pin(async move {
                    let pairs = pairs(&["ANY", "CREATE", "CHANGE", "MERGE", "DELETE"], &V1_OBJECTS);
                    accepted(&world.company(1).user(7), pairs, silent().v1()).await
                })
            },
        ),
        Scenario::new(
            "what-is-not-in-the-catalogue-is-refused",
            "Objects of the other version, merges in version 2, unknown and misspelt objects are refused.",
            &["W9"],
            |world| {
                Box::pin(async move {
                    let user = world.company(1).user(7);
                    for (new, action, object) in [
                        (silent(), "CHANGE", "activityType"),
                        (silent().v1(), "CHANGE", "lead"),
                        (silent().v1(), "CHANGE", "project"),
                        (silent().v1(), "ANY", "deal_product"),
                        (silent(), "MERGE", "person"),
                        (silent(), "MERGE", "*"),
                        (silent(), "CHANGE", "Deal"),
                        (silent().v1(), "ANY", "unicorn"),
                        (silent(), "ANY", "deal "),
                    ] {
                        let created = user.create_webhook(new.on(action, object)).await;
                        refused(format!("{action} {object:?}"), created, "NOT_IN_CATALOG")?;
                    }
                    Ok(())
                })
            },
        ),
        Scenario::new(
            "a-change-stays-within-the-catalogue",
            "A webhook cannot be changed to a pair outside its own version's catalogue.",
            &["W9"],
            |world| {
                Box::pin(async move {
                    let user = world.company(1).user(7);
                    let id = user.create_webhook(silent().v1()).await?.webhook.id;
                    let changed = user.update_webhook(&id, json!({"eventObject": "lead"})).await;
                    refused("a change to lead in version 1", changed, "NOT_IN_CATALOG")?;
                    let changed = user.update_webhook(&id, json!({"eventObject": "activityType"})).await?;
                    same("the object", changed.event_object.as_str(), "activityType")
                })
            },
        )
        .not_through_rest("REST changes no webhook"),
        Scenario::new(
            "lists-leave-out-what-was-removed",
            "Lists have a removed webhook only on request; it can be read by its id.",
            &["W12"],
            |world| {
                Box::pin(async move {
                    let user = world.company(1).user(7);
                    let id = user.create_webhook(silent()).await?.webhook.id;
                    user.delete_webhook(&id).await?;
                    same("the list", user.webhooks(WebhookList::default()).await?, Vec::new())?;
                    let list = WebhookList {
                        kind: None,
                        filter: Some(json!({"includeRemoved": true})),
                    };
                    let with_removed: Vec<_> = user.webhooks(list).await?;
                    let ids: Vec<_> = with_removed.iter().map(|webhook| webhook.id.as_str()).collect();
                    same("the list with removed ones", ids, vec![id.as_str()])?;
                    let removed = user.webhook(&id).await?;
                    same(
                        "removedAt and removeReason by its id",
                        removed.map(|webhook| (webhook.removed_at, webhook.remove_reason)),
                        Some((Some(world.now()), Some("DELETED_BY_USER".to_owned()))),
                    )
                })
            },
        ),
        Scenario::new(
            "deleting-cancels-what-is-pending",
            "A webhook that is deleted between two attempts gets no further request.",
            &["W12", "D7"],
            |world| {
                Box::pin(async move {
                    let receiver = world.receiver(500).await;
                    let user = world.company(1).owner(7).await?;
                    let id = user.create_webhook(NewWebhook::to(&receiver.url())).await?.webhook.id;
                    world.company(1).publish().await?;
                    world.advance("PT2.999S").await;
                    user.delete_webhook(&id).await?;
                    world.advance("P1D").await;
                    same("requests", receiver.journal().len(), 1)?;
                    let delivery = user.last_delivery(&id).await?;
                    same(
                        "status and reason of the delivery",
                        (delivery.status.as_str(), delivery.reason.as_deref()),
                        ("CANCELLED", Some("WEBHOOK_REMOVED")),
                    )
                })
            },
        )
        .of(Types::Both),
        Scenario::new(
            "a-removed-webhook-cannot-be-changed",
            "A removed webhook cannot be changed or deleted.",
            &["W12"],
            |world| {
                Box::pin(async move {
                    let user = world.company(1).user(7);
                    let id = user.create_webhook(silent()).await?.webhook.id;
                    user.delete_webhook(&id).await?;
                    for (what, answer) in [
                        ("a change", user.update_webhook(&id, json!({"name": "late"})).await),
                        ("a second deletion", user.delete_webhook(&id).await),
                    ] {
                        refused(what, answer, "INVALID_STATE")?;
                    }
                    Ok(())
                })
            },
        ),
        Scenario::new(
            "the-catalogue-can-be-read",
            "The API returns the objects of both versions, those that it checks and no others.",
            &["W9"],
            |world| {
                Box::pin(async move {
                    let document = "query($version: PayloadVersion) { eventCatalog(version: $version) { objects } }";
                    for (version, objects) in [("V1", V1_OBJECTS.to_vec()), ("V2", V2_OBJECTS.to_vec())] {
                        let variables = json!({"version": version});
                        let data = world.company(1).user(7).query(document, variables).await?;
                        let read = &data["eventCatalog"]["objects"];
                        let read: BTreeSet<&str> = read.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                        same(format!("objects of {version}"), read, objects.into_iter().collect())?;
                    }
                    Ok(())
                })
            },
        )
        .not_through_rest("REST does not return the catalogue")
        .needing(Need::Reading),
    ];
    for kind in WebhookType::ALL {
        all.extend(AROUND.map(|(word, offset)| readable(kind, word, offset)));
    }
    all
}

/// Every pair of an action and an object, `*` included.
fn pairs(actions: &[&'static str], objects: &[&'static str]) -> Vec<(&'static str, &'static str)> {
    let with_any = || objects.iter().copied().chain(["*"]);
    actions
        .iter()
        .flat_map(|action| with_any().map(|object| (*action, object)))
        .collect()
}

/// Checks that a webhook can be created for each of these pairs.
async fn accepted(user: &Client, pairs: Vec<(&'static str, &'static str)>, new: NewWebhook) -> Play {
    for (action, object) in pairs {
        let made = user.create_webhook(new.clone().on(action, object)).await?.webhook;
        same(
            "action and object",
            (made.event_action.as_str(), made.event_object.as_str()),
            (action, object),
        )?;
        // Deletes the webhook, because there are more pairs than W3 allows webhooks.
        user.delete_webhook(&made.id).await?;
    }
    Ok(())
}

/// A scenario that reads a removed webhook 30 days later, plus `offset`.
fn readable(kind: WebhookType, word: &str, offset: SignedDuration) -> Scenario {
    let still = offset < SignedDuration::ZERO;
    let type_in_words = kind.name();
    Scenario::new(
        format!("removed-{type_in_words}-webhook-{word}-30-days"),
        format!(
            "A removed {type_in_words} webhook is {} {} thirty days after its removal.",
            if still { "readable" } else { "gone" },
            word.replace('-', " ")
        ),
        &["W12", "T2"],
        move |world| {
            Box::pin(async move {
                let caller = world.company(1).owner(7).await?;
                let id = caller.create_webhook(silent()).await?.webhook.id;
                caller.delete_webhook(&id).await?;
                world.advance(READABLE + offset).await;
                same(
                    "whether it can be read",
                    caller.webhook(&id).await?.is_some(),
                    still,
                )
            })
        },
    )
    .of(Types::Only(kind))
}
