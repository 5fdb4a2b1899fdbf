//! What is removed with an app. No attempt starts for it afterwards.

use futures_util::future::{join, join_all};
use tenterhook_harness::client::{NewWebhook, WebhookList};
use tenterhook_harness::reply::Answer;
use tenterhook_harness::wire::{Conduct, Cue};
use tenterhook_harness::world::World;

/// W8: uninstalling removes the app's webhooks of that user, and no others. Pending deliveries are cancelled, and no
/// attempt starts for them.
#[tokio::test(flavor = "multi_thread")]
async fn uninstalling_removes_the_apps_webhooks_of_that_user() {
    let world = World::start().await;
    let company = world.company(1);
    let receiver = world.receiver(500).await;
    let elsewhere = world.receiver(200).await;
    let crm = company.app("crm").install(7).await.unwrap();
    let gone = crm
        .create_webhook(NewWebhook::to(&receiver.url()))
        .await
        .unwrap()
        .webhook;
    let others = [
        company.app("crm").install(8).await.unwrap(),
        company.app("erp").install(7).await.unwrap(),
        company.user(7),
    ];
    for other in &others {
        other
            .create_webhook(NewWebhook::to(&elsewhere.url()))
            .await
            .unwrap();
    }
    assert_eq!(company.publish().await.unwrap().delivery_count, 4);
    world.settle().await;
    assert_eq!(receiver.journal().len(), 1, "a retry is pending");

    assert_eq!(company.app("crm").uninstall(7).await.unwrap(), 1);
    assert_eq!(company.publish().await.unwrap().delivery_count, 3);
    world.advance("P1D").await;

    assert_eq!(
        receiver.journal().len(),
        1,
        "nothing started after the call had answered"
    );
    let operator = world.operator();
    let webhook = operator.webhook(&gone.id).await.unwrap().unwrap();
    assert_eq!(webhook.remove_reason.as_deref(), Some("APP_UNINSTALLED"));
    let delivery = operator.last_delivery(&gone.id).await.unwrap();
    assert_eq!(
        (delivery.status.as_str(), delivery.reason.as_deref()),
        ("CANCELLED", Some("WEBHOOK_REMOVED"))
    );
    assert_eq!((delivery.attempts.len(), elsewhere.journal().len()), (1, 6));
    world.verify().await;
}

/// W8: removing an app from the marketplace removes all its webhooks, of all users and companies.
#[tokio::test(flavor = "multi_thread")]
async fn removing_an_app_removes_its_webhooks_of_all_users() {
    let world = World::builder().servers(2).start().await;
    let receiver = world.receiver(500).await;
    for (company, user) in [(1, 7), (1, 8), (2, 7)] {
        let crm = world.company(company).app("crm").install(user).await.unwrap();
        crm.create_webhook(NewWebhook::to(&receiver.url())).await.unwrap();
    }
    let erp = world.company(1).app("erp").install(7).await.unwrap();
    let kept = erp
        .create_webhook(NewWebhook::to(&receiver.url()).on("CREATE", "user"))
        .await
        .unwrap()
        .webhook;
    for company in [1, 2] {
        for server in [0, 1] {
            world.company(company).at(server).publish().await.unwrap();
        }
    }
    world.settle().await;
    let sent = receiver.journal().len();
    assert_eq!(sent, 6);

    assert_eq!(world.platform().remove_app("crm").await.unwrap(), 3);
    world.advance("P1D").await;

    assert_eq!(receiver.journal().len(), sent);
    let live = world.operator().webhooks(WebhookList::default()).await.unwrap();
    assert_eq!(
        live.into_iter().map(|webhook| webhook.id).collect::<Vec<_>>(),
        [kept.id]
    );
    assert_eq!(world.company(1).publish().await.unwrap().delivery_count, 0);
    let crm = world.company(1).app("crm").acting_for(7);
    let refusal = crm
        .create_webhook(NewWebhook::to(&receiver.url()))
        .await
        .unwrap_err();
    assert_eq!(refusal.code(), "APP_NOT_INSTALLED");
    let tally = world.tally().await;
    assert_eq!((tally.cancelled, tally.open), (6, 0));
    world.verify().await;
}

/// W8, D7: an attempt in flight when the app is uninstalled may end; its delivery ends once.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_on_the_wire_may_end_after_the_uninstallation() {
    let world = World::start().await;
    let cue = Cue::default();
    let receiver = world.wire(Conduct::ReplyOnCue(cue.clone(), 500.into())).await;
    let crm = world.company(1).app("crm").install(7).await.unwrap();
    let webhook = crm
        .create_webhook(NewWebhook::to(&receiver.url()))
        .await
        .unwrap()
        .webhook;
    world.company(1).publish().await.unwrap();
    receiver.journal().wait_for(1).await;
    assert_eq!(world.company(1).app("crm").uninstall(7).await.unwrap(), 1);
    cue.give();
    world.advance("PT1H").await;

    assert_eq!(receiver.journal().len(), 1, "no retry");
    let delivery = world.operator().last_delivery(&webhook.id).await.unwrap();
    assert_eq!(delivery.status, "CANCELLED");
    world.verify().await;
}

/// W8: creation and uninstallation exclude each other. In either order no orphan is left.
#[tokio::test(flavor = "multi_thread")]
async fn creations_racing_an_uninstallation_leave_no_orphan() {
    let world = World::builder().servers(2).start().await;
    let receiver = world.receiver(Answer::Reply(200.into())).await;
    let crm = world.company(1).app("crm");
    for round in 0..5 {
        crm.install(7).await.unwrap();
        let create = async |n: usize| {
            let crm = world.company(1).at(n % 2).app("crm").acting_for(7);
            crm.create_webhook(NewWebhook::to(&receiver.url())).await
        };
        let (results, removed) = join(join_all((0..20).map(create)), crm.uninstall(7)).await;

        let made = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(
            removed.unwrap(),
            made as u64,
            "round {round}: all that were made went"
        );
        for refusal in results.into_iter().filter_map(Result::err) {
            assert_eq!(refusal.code(), "APP_NOT_INSTALLED", "round {round}");
        }
        assert_eq!(
            world.company(1).publish().await.unwrap().delivery_count,
            0,
            "round {round}"
        );
    }
    world.settle().await;
    assert!(receiver.journal().is_empty());
    world.verify().await;
}

/// Removing a user removes all their webhooks, general and application ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_removed_user_takes_their_webhooks_along() {
    let world = World::start().await;
    let company = world.company(1);
    let receiver = world.receiver(200).await;
    let crm = company.app("crm").install(7).await.unwrap();
    let new = || NewWebhook::to(&receiver.url());
    let general = company.user(7).create_webhook(new()).await.unwrap().webhook;
    crm.create_webhook(new()).await.unwrap();
    company.user(8).create_webhook(new()).await.unwrap();

    assert_eq!(world.platform().remove_user(1, 7).await.unwrap(), 2);
    assert_eq!(company.publish().await.unwrap().delivery_count, 1);
    let removed = world.operator().webhook(&general.id).await.unwrap().unwrap();
    assert_eq!(removed.remove_reason.as_deref(), Some("USER_REMOVED"));
    world.verify().await;
}
