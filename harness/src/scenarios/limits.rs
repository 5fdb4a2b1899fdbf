//! At most forty webhooks per user, and forty per app and user, also under concurrency (W3).

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::callers::silent;
use crate::client::{Client, NewWebhook, Refusal, WebhookList};
use crate::scenario::{Play, Scenario, Types, holds, refused, same};
use crate::webhook_type::WebhookType;

/// W3's limit.
const LIMIT: u32 = 40;

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all: Vec<Scenario> = WebhookType::ALL
        .iter()
        .flat_map(|kind| [39, 40, 41].map(|wanted| around(*kind, wanted)))
        .collect();
    all.extend(WebhookType::ALL.map(under_concurrency));
    all.extend([
        Scenario::new(
            "each-user-and-each-app-has-its-own-limit",
            "The limit of one user does not affect other users or apps; the limit of an app does not affect other apps or \
             users.",
            &["W3"],
            |world| {
                Box::pin(async move {
                    let company = world.company(1);
                    let (user, crm) = (company.user(7), company.app("crm").install(7).await?);
                    let erp = company.app("erp").install(7).await?;
                    let crm_for_8 = company.app("crm").install(8).await?;
                    for caller in [&user, &crm] {
                        fill(caller, LIMIT).await?;
                        refused("one more", caller.create_webhook(silent()).await, "LIMIT_REACHED")?;
                    }
                    for (caller, kind) in [
                        (&company.user(8), "GENERAL"),
                        (&world.company(2).user(7), "GENERAL"),
                        (&erp, "APPLICATION"),
                        (&crm_for_8, "APPLICATION"),
                    ] {
                        expect_quota(caller, kind, 0).await?;
                        caller.create_webhook(silent()).await?;
                    }
                    Ok(())
                })
            },
        ),
        Scenario::new(
            "a-banned-webhook-takes-a-place",
            "A banned webhook counts against the limit like any other.",
            &["W3"],
            |world| {
                Box::pin(async move {
                    let receiver = world.receiver(500).await;
                    let user = world.company(1).user(7);
                    let banned = user.create_webhook(NewWebhook::to(&receiver.url())).await?.webhook;
                    world.company(1).publish_many(10).await?;
                    world.settle().await;
                    same("its state", user.health(&banned.id).await?.state.as_str(), "BANNED")?;
                    expect_quota(&user, "GENERAL", 1).await?;
                    fill(&user, LIMIT - 1).await?;
                    refused("the 41st", user.create_webhook(silent()).await, "LIMIT_REACHED")
                })
            },
        )
        .also_in_real_time(),
        Scenario::new(
            "a-removed-webhook-frees-its-place",
            "A webhook that was deleted no longer counts: another takes its place.",
            &["W3"],
            |world| {
                Box::pin(async move {
                    let user = world.company(1).user(7);
                    let first = user.create_webhook(silent()).await?.webhook;
                    fill(&user, LIMIT - 1).await?;
                    refused("the 41st", user.create_webhook(silent()).await, "LIMIT_REACHED")?;
                    user.delete_webhook(&first.id).await?;
                    expect_quota(&user, "GENERAL", LIMIT - 1).await?;
                    user.create_webhook(silent()).await?;
                    expect_quota(&user, "GENERAL", LIMIT).await
                })
            },
        ),
        Scenario::new(
            "the-refusal-says-limit-and-use",
            "The refusal at the limit contains the limit, the number in use and the type of webhook.",
            &["W3"],
            |world| {
                Box::pin(async move {
                    let crm = world.company(1).app("crm").install(7).await?;
                    fill(&crm, LIMIT).await?;
                    let refusal = crm.create_webhook(silent()).await.err();
                    let error = refusal.as_ref().and_then(Refusal::user_error);
                    let said = error.map(|error| (error.kind.as_str(), error.limit, error.used, error.scope.as_deref()));
                    let expected = ("LimitReachedError", Some(LIMIT), Some(LIMIT), Some("APPLICATION"));
                    same("the error's type, limit, used and scope", said, Some(expected))
                })
            },
        )
        .not_through_rest("REST's refusal does not say the webhook type"),
        Scenario::new(
            "an-admins-webhook-for-a-user-takes-that-users-place",
            "A webhook that an admin creates for another user counts for that user, also when both create at once.",
            &["W3", "W7"],
            |world| {
                Box::pin(async move {
                    let company = world.company(1);
                    world.platform().upsert_user(company.id(), 8, "REGULAR").await?;
                    let (admin, user) = (company.admin(9), company.user(8));
                    let create = async |n: usize| {
                        let caller = if n.is_multiple_of(2) { &admin } else { &user };
                        caller.create_webhook(silent().for_user(8)).await.map(drop)
                    };
                    judge_creations(join_all((0..60).map(create)).await)?;
                    let mut by_user = BTreeMap::new();
                    for webhook in admin.webhooks(WebhookList::default()).await? {
                        *by_user.entry(webhook.user_id).or_insert(0) += 1;
                    }
                    same("webhooks by user", by_user, BTreeMap::from([("8".to_owned(), LIMIT)]))?;
                    same("the user's use", admin.quota("GENERAL", Some(8)).await?.used, LIMIT)?;
                    expect_quota(&admin, "GENERAL", 0).await
                })
            },
        ),
    ]);
    all
}

async fn fill(caller: &Client, count: u32) -> Play {
    for _ in 0..count {
        caller.create_webhook(silent()).await?;
    }
    Ok(())
}

async fn expect_quota(caller: &Client, kind: &str, used: u32) -> Play {
    let quota = caller.quota(kind, None).await?;
    same(
        format!("limit, used and remaining of {kind}"),
        (quota.limit, quota.used, quota.remaining),
        (LIMIT, used, LIMIT - used),
    )
}

/// Checks that exactly forty creations succeeded, and that all others failed with the limit's code.
fn judge_creations(results: Vec<Result<(), Refusal>>) -> Play {
    let made = results.iter().filter(|result| result.is_ok()).count();
    for result in results.into_iter().filter(Result::is_err) {
        refused("a creation beyond the limit", result, "LIMIT_REACHED")?;
    }
    same("creations that were done", made, LIMIT as usize)
}

/// A scenario in which `wanted` webhooks are requested and at most forty are created.
fn around(kind: WebhookType, wanted: u32) -> Scenario {
    let word = kind.name();
    let scenario = Scenario::new(
        format!("limit-{wanted}-{word}-webhooks"),
        match wanted {
            0..LIMIT => format!("{wanted} {word} webhooks leave one place, and the quota says so before."),
            LIMIT => format!("The fortieth of the {word} webhooks is created and takes the last place."),
            _ => format!("The 41st of the {word} webhooks is refused, and the forty stay."),
        },
        &["W3"],
        move |world| {
            Box::pin(async move {
                let caller = world.company(1).owner(7).await?;
                expect_quota(&caller, kind.word(), 0).await?;
                fill(&caller, wanted.min(LIMIT)).await?;
                if wanted > LIMIT {
                    refused("the 41st", caller.create_webhook(silent()).await, "LIMIT_REACHED")?;
                }
                expect_quota(&caller, kind.word(), wanted.min(LIMIT)).await?;
                let list = WebhookList {
                    kind: Some(kind.word()),
                    ..WebhookList::default()
                };
                let listed = caller.webhooks(list).await?.len();
                same("webhooks in the list", listed, wanted.min(LIMIT) as usize)
            })
        },
    )
    .of(Types::Only(kind));
    if wanted > LIMIT && kind == WebhookType::General {
        scenario.also_in_real_time()
    } else {
        scenario
    }
}

/// A scenario with sixty concurrent creations.
fn under_concurrency(kind: WebhookType) -> Scenario {
    let word = kind.name();
    Scenario::new(
        match kind {
            WebhookType::General => "limit-under-concurrency".to_owned(),
            WebhookType::Application => format!("limit-under-concurrency-{word}"),
        },
        format!("Sixty simultaneous creations of {word} webhooks leave exactly forty."),
        &["W3"],
        move |world| {
            Box::pin(async move {
                let caller = world.company(1).owner(7).await?;
                let create = async |_: usize| caller.create_webhook(silent()).await.map(drop);
                judge_creations(join_all((0..60).map(create)).await)?;
                let listed = caller.webhooks(WebhookList::default()).await?;
                holds(
                    "webhooks in the list",
                    "forty",
                    listed.len() == LIMIT as usize,
                    &listed.len(),
                )
            })
        },
    )
    .of(Types::Only(kind))
    .also_in_real_time()
}
