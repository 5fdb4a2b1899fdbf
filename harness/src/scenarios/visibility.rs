//! Who can see which webhook, by id and in lists (W2, W4, W5).

use serde_json::json;

use super::callers::{ALL_BUT_ADMIN, Callers, silent};
use crate::client::{Client, WebhookList};
use crate::scenario::{Need, Scenario, Types, refused, same};
use crate::token::Claims;
use crate::webhook_type::WebhookType;
use crate::world::World;

/// A caller, and the webhooks of each type that it can see.
struct View {
    who: &'static str,
    caller: fn(&World) -> Client,
    general: &'static [&'static str],
    /// The general webhooks that it sees where an app also sees those of its user.
    own_general: &'static [&'static str],
    application: &'static [&'static str],
}

const VIEWS: &[View] = &[
    View {
        who: "a user",
        caller: |world| world.company(1).user(7),
        general: &["user 7's"],
        own_general: &["user 7's"],
        application: &[],
    },
    View {
        who: "another user",
        caller: |world| world.company(1).user(8),
        general: &["user 8's"],
        own_general: &["user 8's"],
        application: &[],
    },
    View {
        who: "an admin",
        caller: |world| world.company(1).admin(9),
        general: &["user 7's", "user 8's", "the admin's"],
        own_general: &["user 7's", "user 8's", "the admin's"],
        application: &[],
    },
    View {
        who: "an app",
        caller: |world| world.company(1).app("crm").acting_for(7),
        general: &[],
        own_general: &["user 7's"],
        application: &["crm's for user 7"],
    },
    View {
        who: "another app",
        caller: |world| world.company(1).app("erp").acting_for(7),
        general: &[],
        own_general: &["user 7's"],
        application: &["erp's for user 7"],
    },
    View {
        who: "an app for an admin",
        caller: |world| world.company(1).app("crm").acting_for_admin(9),
        general: &[],
        own_general: &["the admin's"],
        application: &["crm's for the admin"],
    },
    View {
        who: "an app that is not installed",
        caller: |world| world.company(1).app("erp").acting_for_admin(9),
        general: &[],
        own_general: &[],
        application: &[],
    },
    View {
        who: "a user of another company",
        caller: |world| world.company(2).user(7),
        general: &["company 2's"],
        own_general: &["company 2's"],
        application: &[],
    },
    View {
        who: "an admin of another company",
        caller: |world| world.company(3).admin(9),
        general: &[],
        own_general: &[],
        application: &[],
    },
    View {
        who: "the operator",
        caller: World::operator,
        general: &["user 7's", "user 8's", "the admin's", "company 2's"],
        own_general: &["user 7's", "user 8's", "the admin's", "company 2's"],
        application: &["crm's for user 7", "erp's for user 7", "crm's for the admin"],
    },
];

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all: Vec<Scenario> = VIEWS
        .iter()
        .flat_map(|view| WebhookType::ALL.map(|kind| sees(view, kind)))
        .collect();
    all.extend(VIEWS.iter().map(sees_under_own_general));
    all.extend([
        Scenario::new(
            "the-platform-reads-no-webhooks",
            "The platform's token cannot read webhooks, neither one nor a list.",
            &["W5"],
            |world| {
                Box::pin(async move {
                    let callers = Callers::new(world).await?;
                    let platform = world.platform();
                    let id = &callers.webhook("user 7's")?.id;
                    refused("a webhook by its id", platform.webhook(id).await, "FORBIDDEN")?;
                    let list = platform.webhooks(WebhookList::default()).await;
                    refused("a list of webhooks", list, "FORBIDDEN")
                })
            },
        ),
        Scenario::new(
            "nobody-without-a-token-sees-webhooks",
            "Without a token, or with a forged one, nothing can be read.",
            &["W4"],
            |world| {
                Box::pin(async move {
                    let nobody = world.anonymous(0);
                    let forger = nobody.with_token(Some("eyJhbGciOiJub25lIn0.e30.".to_owned()));
                    for (who, caller) in [("nobody", nobody), ("a forger", forger)] {
                        let list = caller.webhooks(WebhookList::default()).await;
                        refused(format!("a list for {who}"), list, "UNAUTHENTICATED")?;
                    }
                    Ok(())
                })
            },
        ),
        Scenario::new(
            "a-reader-may-not-write-nor-a-writer-read",
            "The scopes of a token say what it may do: webhooks:read reads, webhooks:write changes.",
            &["W4", "W7"],
            |world| {
                Box::pin(async move {
                    let user = Claims::user(world.company(1).id(), 7, "regular");
                    let reader = world.caller(0, &user.clone().with_scope("webhooks:read"));
                    let writer = world.caller(0, &user.with_scope("webhooks:write"));
                    let webhook = writer.create_webhook(silent()).await?.webhook;
                    same("what the reader sees", reader.webhook(&webhook.id).await?.is_some(), true)?;
                    refused("a creation by the reader", reader.create_webhook(silent()).await, "FORBIDDEN")?;
                    refused(
                        "a deletion by the reader",
                        reader.delete_webhook(&webhook.id).await,
                        "FORBIDDEN",
                    )?;
                    let list = writer.webhooks(WebhookList::default()).await;
                    refused("a list for the writer", list, "FORBIDDEN")
                })
            },
        ),
        Scenario::new(
            "an-app-without-the-admin-scope-sees-nothing",
            "Through an app, all scopes without admin are not enough to read.",
            &["W2"],
            |world| {
                Box::pin(async move {
                    let callers = Callers::new(world).await?;
                    let company = world.company(1);
                    let claims = Claims::user(company.id(), 7, "regular")
                        .through_app(company.app("crm").id())
                        .with_scope(ALL_BUT_ADMIN);
                    let caller = world.caller(0, &claims);
                    for name in ["user 7's", "crm's for user 7"] {
                        let answer = caller.webhook(&callers.webhook(name)?.id).await;
                        refused(format!("{name} webhook"), answer, "FORBIDDEN")?;
                    }
                    let list = caller.webhooks(WebhookList::default()).await;
                    refused("a list of webhooks", list, "FORBIDDEN")
                })
            },
        ),
        Scenario::new(
            "an-owner-who-is-not-the-user-sees-nothing",
            "A webhook belongs to its user. An admin who created it has no rights to it after losing the role.",
            &["W4", "W7"],
            |world| {
                Box::pin(async move {
                    let company = world.company(1);
                    world.platform().upsert_user(company.id(), 8, "REGULAR").await?;
                    let made = company.admin(9).create_webhook(silent().for_user(8)).await?.webhook;
                    same(
                        "ownerId and userId",
                        (made.owner_id.as_str(), made.user_id.as_str()),
                        ("9", "8"),
                    )?;
                    let demoted = company.user(9);
                    same("what the former admin sees", demoted.webhook(&made.id).await?, None)?;
                    let user = company.user(8).webhook(&made.id).await?;
                    same("what its user sees", user.map(|webhook| webhook.id), Some(made.id))
                })
            },
        ),
        Scenario::new(
            "node-hides-what-webhook-hides",
            "The query `node` shows no webhook that the query `webhook` does not show.",
            &["W4", "W5"],
            |world| {
                Box::pin(async move {
                    let callers = Callers::new(world).await?;
                    let document = "query($id: ID!) { node(id: $id) { id } }";
                    for (name, shown) in [("user 7's", true), ("user 8's", false), ("crm's for user 7", false)]
                    {
                        let id = &callers.webhook(name)?.id;
                        let data = world.company(1).user(7).query(document, json!({"id": id})).await?;
                        same(format!("whether node shows {name}"), !data["node"].is_null(), shown)?;
                    }
                    Ok(())
                })
            },
        )
        .not_through_rest("REST has no query `node`")
        .needing(Need::Reading),
    ]);
    all
}

/// A scenario about the webhooks of one type that one caller can see.
fn sees(view: &'static View, kind: WebhookType) -> Scenario {
    let (expected, rules): (_, &[&str]) = match kind {
        WebhookType::General => (view.general, &["W4"]),
        WebhookType::Application => (view.application, &["W4", "W5"]),
    };
    let type_in_words = kind.name();
    let who = view.who;
    let what = match expected {
        [] => "none".to_owned(),
        some => some.join(", "),
    };
    let scenario = Scenario::new(
        format!("what-{}-sees-of-{type_in_words}-webhooks", who.replace(' ', "-")),
        format!("Of all {type_in_words} webhooks, {who} sees, by id and in lists: {what}."),
        rules,
        move |world| {
            Box::pin(async move {
                let callers = Callers::new(world).await?;
                let caller = (view.caller)(world);
                let by_id = callers.seen_by_id(&caller, kind.word()).await?;
                same(
                    format!("{type_in_words} webhooks by id"),
                    by_id,
                    expected.to_vec(),
                )?;
                for filtered in [true, false] {
                    let listed = callers.listed(&caller, kind.word(), filtered).await?;
                    let how = if filtered {
                        "filtered by it"
                    } else {
                        "of both types"
                    };
                    same(
                        format!("{type_in_words} webhooks in a list {how}"),
                        listed,
                        expected.to_vec(),
                    )?;
                }
                Ok(())
            })
        },
    )
    .of(Types::Only(kind));
    if who == "an app" {
        scenario.also_in_real_time()
    } else {
        scenario
    }
}

/// The same for the webhooks of both types, where an app also sees the general webhooks of its user.
fn sees_under_own_general(view: &'static View) -> Scenario {
    let View {
        who,
        own_general,
        application,
        ..
    } = *view;
    let what = match [own_general, application].concat().join(", ") {
        nothing if nothing.is_empty() => "none".to_owned(),
        some => some,
    };
    Scenario::new(
        format!("what-{}-sees-under-own-general", who.replace(' ', "-")),
        format!("Where apps also see their user's general webhooks, {who} sees, by id and in lists: {what}."),
        &["W4", "W5"],
        move |world| {
            Box::pin(async move {
                let callers = Callers::new(world).await?;
                let caller = (view.caller)(world);
                for (kind, expected) in WebhookType::ALL.into_iter().zip([own_general, application]) {
                    let by_id = callers.seen_by_id(&caller, kind.word()).await?;
                    same(
                        format!("{} webhooks by id", kind.name()),
                        by_id,
                        expected.to_vec(),
                    )?;
                    for filtered in [true, false] {
                        let listed = callers.listed(&caller, kind.word(), filtered).await?;
                        same(
                            format!("{} webhooks in a list, filtered by type: {filtered}", kind.name()),
                            listed,
                            expected.to_vec(),
                        )?;
                    }
                }
                Ok(())
            })
        },
    )
    .under_own_general()
}
