//! At most forty webhooks per user, and forty per app and user, also under concurrency.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use tenterhook_harness::client::{NewWebhook, Refusal, WebhookList};
use tenterhook_harness::world::World;

const URL: &str = "http://127.0.0.1:9/hook";

/// W3: two hundred simultaneous creations on two servers leave exactly forty webhooks. Each refusal has the limit.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_simultaneous_creations_leave_exactly_forty() {
    let world = World::builder().servers(2).start().await;
    let create = async |n: usize| {
        let user = world.company(1).at(n % 2).user(7);
        user.create_webhook(NewWebhook::to(URL)).await.map(drop)
    };
    let results = join_all((0..200).map(create)).await;

    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 40);
    for refusal in results.into_iter().filter_map(Result::err) {
        let error = refusal
            .user_error()
            .unwrap_or_else(|| panic!("{refusal}"))
            .clone();
        assert_eq!(
            (error.code.as_str(), error.kind.as_str()),
            ("LIMIT_REACHED", "LimitReachedError")
        );
        assert_eq!((error.limit, error.scope.as_deref()), (Some(40), Some("GENERAL")));
        assert_eq!(error.used, Some(40));
    }
    assert_eq!(
        world
            .company(1)
            .user(7)
            .webhooks(WebhookList::default())
            .await
            .unwrap()
            .len(),
        40
    );
    world.verify().await;
}

/// W3: general webhooks count per user, application webhooks per app and user. The caller can read limit and use.
#[tokio::test(flavor = "multi_thread")]
async fn each_user_and_each_app_of_a_user_has_forty() {
    let world = World::start().await;
    let company = world.company(1);
    let crm = company.app("crm").install(7).await.unwrap();
    let erp = company.app("erp").install(7).await.unwrap();
    let crm_of_another = company.app("crm").install(8).await.unwrap();
    let user = company.user(7);
    for n in 0..40 {
        for caller in [&user, &crm] {
            caller
                .create_webhook(NewWebhook::to(URL))
                .await
                .unwrap_or_else(|refusal| panic!("{n}: {refusal}"));
        }
    }
    let full = user.quota("GENERAL", None).await.unwrap();
    assert_eq!((full.limit, full.used, full.remaining), (40, 40, 0));
    assert_eq!(crm.quota("APPLICATION", None).await.unwrap().remaining, 0);
    assert_eq!(erp.quota("APPLICATION", None).await.unwrap().remaining, 40);
    for (caller, scope) in [(&user, "GENERAL"), (&crm, "APPLICATION")] {
        let refusal = caller.create_webhook(NewWebhook::to(URL)).await.unwrap_err();
        assert_eq!(refusal.code(), "LIMIT_REACHED");
        assert_eq!(
            refusal.user_error().and_then(|error| error.scope.as_deref()),
            Some(scope)
        );
    }
    for caller in [&erp, &crm_of_another, &company.user(8), &world.company(2).user(7)] {
        caller.create_webhook(NewWebhook::to(URL)).await.unwrap();
    }
    world.verify().await;
}

/// W3: a banned webhook counts, a removed one does not.
#[tokio::test(flavor = "multi_thread")]
async fn banned_webhooks_count_and_removed_ones_do_not() {
    let world = World::start().await;
    let receiver = world.receiver(500).await;
    let user = world.company(1).user(7);
    let banned = user
        .create_webhook(NewWebhook::to(&receiver.url()))
        .await
        .unwrap()
        .webhook;
    for _ in 0..10 {
        world.company(1).publish().await.unwrap();
    }
    world.settle().await;
    assert_eq!(user.health(&banned.id).await.unwrap().state, "BANNED");
    for _ in 1..40 {
        user.create_webhook(NewWebhook::to(URL)).await.unwrap();
    }
    assert_eq!(
        user.create_webhook(NewWebhook::to(URL)).await.unwrap_err().code(),
        "LIMIT_REACHED"
    );

    user.delete_webhook(&banned.id).await.unwrap();
    user.create_webhook(NewWebhook::to(URL)).await.unwrap();
    assert_eq!(user.quota("GENERAL", None).await.unwrap().used, 40);
    world.verify().await;
}

/// W3, W7: a webhook that an admin creates for another user counts for that user, also with concurrent creations.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_takes_the_place_of_the_user_it_is_for() {
    let world = World::start().await;
    let company = world.company(1);
    let admin = company.admin(9);
    world.platform().upsert_user(1, 8, "REGULAR").await.unwrap();
    let create = async |n: usize| -> Result<(), Refusal> {
        let caller = if n.is_multiple_of(2) {
            admin.clone()
        } else {
            company.user(8)
        };
        caller
            .create_webhook(NewWebhook::to(URL).for_user(8))
            .await
            .map(drop)
    };
    let results = join_all((0..60).map(create)).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 40);

    let mut users = BTreeMap::new();
    for webhook in admin.webhooks(WebhookList::default()).await.unwrap() {
        *users.entry(webhook.user_id).or_insert(0) += 1;
    }
    assert_eq!(users, BTreeMap::from([("8".to_owned(), 40)]));
    assert_eq!(admin.quota("GENERAL", Some(8)).await.unwrap().remaining, 0);
    assert_eq!(admin.quota("GENERAL", None).await.unwrap().remaining, 40);
    world.verify().await;
}
