//! What an uninstallation removes: the app's webhooks, at once. No attempt starts for them afterwards (W2, W8).

use futures_util::future::{join, join_all};
use serde_json::json;

use super::callers::silent;
use crate::client::{Client, NewWebhook, Webhook, WebhookList};
use crate::receiver::Receiver;
use crate::scenario::{Failure, Play, Scenario, Types, refused, same};
use crate::wire::{Behaviour, ReleaseSignal};
use crate::world::World;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "an-app-that-is-not-installed-cannot-create",
            "An app can create webhooks only while the user has it installed.",
            &["W2"],
            |world| {
                Box::pin(async move {
                    let crm = world.company(1).app("crm");
                    crm.install(8).await?;
                    let never = crm.acting_for(7).create_webhook(silent()).await;
                    refused("before the installation", never, "APP_NOT_INSTALLED")?;
                    let caller = crm.install(7).await?;
                    caller.create_webhook(silent()).await?;
                    crm.uninstall(7).await?;
                    let afterwards = caller.create_webhook(silent()).await;
                    refused("after the uninstallation", afterwards, "APP_NOT_INSTALLED")
                })
            },
        ),
        Scenario::new(
            "uninstalling-removes-the-apps-webhooks-at-once",
            "When the call returns, all webhooks of the app for that user are removed; the response says how many they \
             were.",
            &["W8"],
            |world| {
                Box::pin(async move {
                    let crm = world.company(1).app("crm");
                    let caller = crm.install(7).await?;
                    let mut ids = Vec::new();
                    for _ in 0..3 {
                        ids.push(caller.create_webhook(silent()).await?.webhook.id);
                    }
                    same("webhooks that went", crm.uninstall(7).await?, 3)?;
                    for id in ids {
                        expect_removed(world, &id, "APP_UNINSTALLED").await?;
                    }
                    same(
                        "what the app lists",
                        caller.webhooks(WebhookList::default()).await?,
                        Vec::new(),
                    )
                })
            },
        ),
        Scenario::new(
            "uninstalling-leaves-everything-else",
            "Webhooks of the app for other users, of other apps, and general webhooks stay.",
            &["W8"],
            |world| {
                Box::pin(async move {
                    let company = world.company(1);
                    let (_, receiver) = app_webhook(world, 200).await?;
                    let others = [
                        company.app("crm").install(8).await?,
                        company.app("erp").install(7).await?,
                        company.user(7),
                    ];
                    for other in &others {
                        other.create_webhook(NewWebhook::to(&receiver.url())).await?;
                    }
                    same("webhooks that went", company.app("crm").uninstall(7).await?, 1)?;
                    same(
                        "deliveries of the next event",
                        company.publish().await?.delivery_count,
                        3,
                    )?;
                    world.settle().await;
                    same("requests", receiver.journal().len(), 3)
                })
            },
        )
        .also_in_real_time(),
        Scenario::new(
            "uninstalling-cancels-what-is-pending",
            "A delivery that waits for a retry is cancelled, and the retry is never sent.",
            &["W8", "D7"],
            |world| {
                Box::pin(async move {
                    let (webhook, receiver) = app_webhook(world, 500).await?;
                    world.company(1).publish().await?;
                    world.settle().await;
                    world.company(1).app("crm").uninstall(7).await?;
                    world.settle().await;
                    let delivery = world.operator().last_delivery(&webhook.id).await?;
                    same(
                        "status, reason and end of the delivery",
                        (
                            delivery.status.as_str(),
                            delivery.reason.as_deref(),
                            delivery.finished_at,
                        ),
                        ("CANCELLED", Some("WEBHOOK_REMOVED"), Some(world.now())),
                    )?;
                    world.advance("P1D").await;
                    same("requests a day later", receiver.journal().len(), 1)
                })
            },
        ),
        Scenario::new(
            "after-uninstalling-no-event-is-owed",
            "An event published after the uninstallation makes no delivery for the app's webhook.",
            &["W8", "E2"],
            |world| {
                Box::pin(async move {
                    let (_, receiver) = app_webhook(world, 200).await?;
                    same(
                        "deliveries before",
                        world.company(1).publish().await?.delivery_count,
                        1,
                    )?;
                    world.settle().await;
                    world.company(1).app("crm").uninstall(7).await?;
                    same(
                        "deliveries after",
                        world.company(1).publish().await?.delivery_count,
                        0,
                    )?;
                    world.advance("PT1H").await;
                    same("requests", receiver.journal().len(), 1)
                })
            },
        ),
        Scenario::new(
            "an-attempt-on-the-wire-may-end-after-uninstalling",
            "An attempt in flight at the uninstallation may end; it is not retried, and its delivery ends once.",
            &["W8", "D7"],
            |world| {
                Box::pin(async move {
                    let signal = ReleaseSignal::default();
                    let receiver = world
                        .wire(Behaviour::ReplyOnRelease(signal.clone(), 500.into()))
                        .await;
                    let crm = world.company(1).app("crm");
                    let new = NewWebhook::to(&receiver.url());
                    let webhook = crm.install(7).await?.create_webhook(new).await?.webhook;
                    world.company(1).publish().await?;
                    receiver.journal().wait_for(1).await;
                    same("webhooks that went", crm.uninstall(7).await?, 1)?;
                    signal.release();
                    world.advance("PT1H").await;
                    same("requests", receiver.journal().len(), 1)?;
                    let delivery = world.operator().last_delivery(&webhook.id).await?;
                    same("the delivery", delivery.status.as_str(), "CANCELLED")
                })
            },
        ),
        Scenario::new(
            "an-app-removed-from-the-marketplace-takes-all-its-webhooks",
            "All webhooks of the app are removed, for all users and companies; pending deliveries are cancelled; other apps stay.",
            &["W8"],
            |world| {
                Box::pin(async move {
                    let receiver = world.receiver(500).await;
                    let mut gone = Vec::new();
                    for (company, user) in [(1, 7), (1, 8), (2, 7)] {
                        let crm = world.company(company).app("crm").install(user).await?;
                        gone.push(
                            crm.create_webhook(NewWebhook::to(&receiver.url()))
                                .await?
                                .webhook
                                .id,
                        );
                    }
                    let erp = world.company(1).app("erp").install(7).await?;
                    let stays = erp
                        .create_webhook(silent().on("CREATE", "user"))
                        .await?
                        .webhook
                        .id;
                    for company in [1, 2] {
                        world.company(company).publish().await?;
                    }
                    world.settle().await;
                    let crm = world.company(1).app("crm");
                    same(
                        "webhooks that went",
                        world.platform().remove_app(crm.id()).await?,
                        3,
                    )?;
                    world.settle().await;
                    for id in gone {
                        expect_removed(world, &id, "APP_REMOVED").await?;
                        let delivery = world.operator().last_delivery(&id).await?;
                        same("its delivery", delivery.status.as_str(), "CANCELLED")?;
                    }
                    let other = erp.webhook(&stays).await?;
                    same(
                        "another app's webhook",
                        other.and_then(|webhook| webhook.removed_at),
                        None,
                    )?;
                    world.advance("P1D").await;
                    same("requests a day later", receiver.journal().len(), 3)
                })
            },
        ),
        Scenario::new(
            "an-app-removed-from-the-marketplace-creates-nothing",
            "After an app is removed from the marketplace, its token cannot create a webhook.",
            &["W8", "W2"],
            |world| {
                Box::pin(async move {
                    let crm = world.company(1).app("crm");
                    let caller = crm.install(7).await?;
                    world.platform().remove_app(crm.id()).await?;
                    refused(
                        "a creation",
                        caller.create_webhook(silent()).await,
                        "APP_NOT_INSTALLED",
                    )
                })
            },
        ),
        Scenario::new(
            "creations-racing-an-uninstallation-leave-no-orphan",
            "In any order of the calls, each webhook that was created is removed, and each other creation is refused.",
            &["W8"],
            |world| {
                Box::pin(async move {
                    for round in 0..5 {
                        race(world, round).await?;
                    }
                    Ok(())
                })
            },
        ),
        Scenario::new(
            "two-uninstallations-at-once-remove-once",
            "Two simultaneous uninstallations together remove each webhook once.",
            &["W8", "D7"],
            |world| {
                Box::pin(async move {
                    let crm = world.company(1).app("crm");
                    let caller = crm.install(7).await?;
                    for _ in 0..5 {
                        caller.create_webhook(silent()).await?;
                    }
                    let (one, other) = join(crm.uninstall(7), crm.uninstall(7)).await;
                    let removed = [one, other].into_iter().filter_map(Result::ok).sum::<u64>();
                    same("webhooks that went", removed, 5)
                })
            },
        ),
        Scenario::new(
            "uninstalling-a-millisecond-before-a-retry",
            "A retry that would be due a millisecond after the uninstallation is never sent.",
            &["W8"],
            |world| {
                Box::pin(async move {
                    let (webhook, receiver) = app_webhook(world, 500).await?;
                    world.company(1).publish().await?;
                    world.advance("PT2.999S").await;
                    same("requests before the retry is due", receiver.journal().len(), 1)?;
                    world.company(1).app("crm").uninstall(7).await?;
                    world.advance("PT1H").await;
                    same("requests an hour later", receiver.journal().len(), 1)?;
                    let delivery = world.operator().last_delivery(&webhook.id).await?;
                    same("the delivery", delivery.status.as_str(), "CANCELLED")
                })
            },
        ),
        Scenario::new(
            "a-reinstalled-app-sees-what-was-removed",
            "An uninstalled app sees nothing; after it is installed again it can read the removed webhook, and none is restored.",
            &["W12", "W8"],
            |world| {
                Box::pin(async move {
                    let (webhook, _receiver) = app_webhook(world, 200).await?;
                    let crm = world.company(1).app("crm");
                    crm.uninstall(7).await?;
                    let hidden = crm.acting_for(7).webhook(&webhook.id).await?;
                    same("what the app sees meanwhile", hidden, None)?;
                    let again = crm.install(7).await?;
                    let seen = again.webhook(&webhook.id).await?;
                    same(
                        "why it went, once reinstalled",
                        seen.and_then(|webhook| webhook.remove_reason).as_deref(),
                        Some("APP_UNINSTALLED"),
                    )?;
                    same("places used", again.quota("APPLICATION", None).await?.used, 0)?;
                    same("deliveries", world.company(1).publish().await?.delivery_count, 0)
                })
            },
        ),
        Scenario::new(
            "a-removed-user-takes-their-webhooks-along",
            "Removing a user removes their general and application webhooks; those of others stay.",
            &["W8", "W3"],
            |world| {
                Box::pin(async move {
                    let company = world.company(1);
                    let crm = company.app("crm").install(7).await?;
                    let general = company.user(7).create_webhook(silent()).await?.webhook.id;
                    let application = crm.create_webhook(silent()).await?.webhook.id;
                    let other = company.user(8).create_webhook(silent()).await?.webhook.id;
                    same(
                        "webhooks that went",
                        world.platform().remove_user(company.id(), 7).await?,
                        2,
                    )?;
                    for id in [general, application] {
                        expect_removed(world, &id, "USER_REMOVED").await?;
                    }
                    let published = company.publish().await?;
                    same("deliveries of the next event", published.delivery_count, 1)?;
                    let stays = company.user(8).webhook(&other).await?;
                    same(
                        "another user's",
                        stays.and_then(|webhook| webhook.removed_at),
                        None,
                    )?;
                    let list = company.user(7).webhooks(WebhookList::default()).await;
                    refused("the removed user's token", list, "UNAUTHENTICATED")
                })
            },
        )
        .of(Types::Once),
    ]
}

/// Creates a webhook of the app `crm` for user 7 of company 1. Its receiver always responds with `status`.
async fn app_webhook(world: &World, status: u16) -> Result<(Webhook, Receiver), Failure> {
    let receiver = world.receiver(status).await;
    let crm = world.company(1).app("crm").install(7).await?;
    let webhook = crm.create_webhook(NewWebhook::to(&receiver.url())).await?.webhook;
    Ok((webhook, receiver))
}

/// Checks that the operator sees the webhook as removed now, for this reason.
async fn expect_removed(world: &World, id: &str, reason: &str) -> Play {
    let webhook = world.operator().webhook(id).await?;
    same(
        "removedAt and removeReason",
        webhook.map(|webhook| (webhook.removed_at, webhook.remove_reason)),
        Some((Some(world.now()), Some(reason.to_owned()))),
    )
}

/// Runs twenty creations concurrently with one uninstallation.
async fn race(world: &World, round: usize) -> Play {
    let company = world.company(1);
    let crm = company.app("crm");
    let caller: Client = crm.install(7).await?;
    let create = async |_: usize| caller.create_webhook(silent()).await.map(drop);
    let (results, removed) = join(join_all((0..20).map(create)), crm.uninstall(7)).await;
    let made = results.iter().filter(|result| result.is_ok()).count() as u64;
    for result in results.into_iter().filter(Result::is_err) {
        refused(
            format!("a creation too late in round {round}"),
            result,
            "APP_NOT_INSTALLED",
        )?;
    }
    same(format!("webhooks that went in round {round}"), removed?, made)?;
    let list = WebhookList {
        kind: None,
        filter: Some(json!({"companyId": company.id().to_string()})),
    };
    let left = world.operator().webhooks(list).await?;
    same(format!("orphans after round {round}"), left, Vec::new())
}
