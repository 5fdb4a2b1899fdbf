//! Who may create, change and delete which webhook.

use serde_json::json;
use tenterhook_harness::client::{Client, NewWebhook, Refusal, UserError};
use tenterhook_harness::token::Claims;
use tenterhook_harness::world::World;

const URL: &str = "http://127.0.0.1:9/hook";

async fn create(caller: &Client) -> String {
    let created = caller
        .create_webhook(NewWebhook::to(URL))
        .await
        .unwrap_or_else(|refusal| panic!("{refusal}"));
    created.webhook.id
}

/// The code of the user error; empty for another kind of refusal.
fn user_code<T: std::fmt::Debug>(result: Result<T, Refusal>) -> String {
    match result {
        Err(Refusal::User(errors)) => errors
            .into_iter()
            .next()
            .map(|UserError { code, .. }| code)
            .unwrap_or_default(),
        other => panic!("expected a user error, not {other:?}"),
    }
}

/// W2: an app may act only with the `admin` scope and only while it is installed.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_needs_the_admin_scope_and_its_installation() {
    let world = World::start().await;
    let crm = world.company(1).app("crm");
    let installed = crm.install(7).await.unwrap();
    let id = create(&installed).await;

    let claims = Claims::user(1, 7, "regular")
        .through_app("crm")
        .with_scope("webhooks:read webhooks:write");
    let without_admin = world.caller(0, &claims);
    assert_eq!(
        without_admin
            .create_webhook(NewWebhook::to(URL))
            .await
            .unwrap_err()
            .code(),
        "FORBIDDEN"
    );
    assert_eq!(
        without_admin.delete_webhook(&id).await.unwrap_err().code(),
        "FORBIDDEN"
    );
    assert_eq!(without_admin.webhook(&id).await.unwrap_err().code(), "FORBIDDEN");

    let elsewhere = crm.acting_for(8);
    assert_eq!(
        user_code(elsewhere.create_webhook(NewWebhook::to(URL)).await),
        "APP_NOT_INSTALLED"
    );
    assert_eq!(
        user_code(elsewhere.delete_webhook(&id).await),
        "APP_NOT_INSTALLED"
    );
    world.verify().await;
}

/// W6: only its own app deletes an application webhook.
#[tokio::test(flavor = "multi_thread")]
async fn an_application_webhook_is_deleted_only_by_its_own_app() {
    let world = World::start().await;
    let company = world.company(1);
    let crm = company.app("crm").install(7).await.unwrap();
    let erp = company.app("erp").install(7).await.unwrap();
    let crm_for_admin = company
        .app("crm")
        .install(9)
        .await
        .map(|_| company.app("crm").acting_for_admin(9))
        .unwrap();
    let id = create(&crm).await;
    for (who, caller) in [
        ("another app", &erp),
        ("the app's user", &company.user(7)),
        ("the company's admin", &company.admin(9)),
        ("the same app for the admin", &crm_for_admin),
        ("another company's admin", &world.company(2).admin(9)),
    ] {
        assert_eq!(
            user_code(caller.delete_webhook(&id).await),
            "NOT_FOUND",
            "{who} deletes"
        );
        let change = caller.update_webhook(&id, json!({"name": "mine"})).await;
        assert_eq!(user_code(change), "NOT_FOUND", "{who} changes");
    }
    let removed = crm.delete_webhook(&id).await.unwrap();
    assert_eq!(removed.remove_reason.as_deref(), Some("DELETED_BY_APP"));
    assert_eq!(removed.removed_at, Some(world.now()));
    world.verify().await;
}

/// W4: through an app general webhooks are read-only.
#[tokio::test(flavor = "multi_thread")]
async fn through_an_app_general_webhooks_are_read_only() {
    let world = World::start().await;
    let crm = world.company(1).app("crm").install(7).await.unwrap();
    let id = create(&world.company(1).user(7)).await;
    assert_eq!(user_code(crm.delete_webhook(&id).await), "FORBIDDEN");
    assert_eq!(
        user_code(crm.update_webhook(&id, json!({"name": "mine"})).await),
        "FORBIDDEN"
    );
    assert!(crm.webhook(&id).await.unwrap().unwrap().removed_at.is_none());
    world.verify().await;
}

/// W7: a regular user manages their own general webhooks, an admin all of the company.
#[tokio::test(flavor = "multi_thread")]
async fn a_regular_user_manages_their_own_and_an_admin_all_general_webhooks() {
    let world = World::start().await;
    let company = world.company(1);
    let (own, other) = (create(&company.user(7)).await, create(&company.user(8)).await);
    assert_eq!(
        user_code(company.user(7).delete_webhook(&other).await),
        "NOT_FOUND"
    );
    assert_eq!(
        user_code(company.user(7).update_webhook(&other, json!({"name": "x"})).await),
        "NOT_FOUND"
    );

    let renamed = company
        .user(7)
        .update_webhook(&own, json!({"name": "mine"}))
        .await
        .unwrap();
    assert_eq!(renamed.name.as_deref(), Some("mine"));
    let removed = company.user(7).delete_webhook(&own).await.unwrap();
    assert_eq!(removed.remove_reason.as_deref(), Some("DELETED_BY_USER"));

    let renamed = company
        .admin(9)
        .update_webhook(&other, json!({"name": "theirs"}))
        .await
        .unwrap();
    assert_eq!(renamed.name.as_deref(), Some("theirs"));
    let removed = company.admin(9).delete_webhook(&other).await.unwrap();
    assert_eq!(removed.remove_reason.as_deref(), Some("DELETED_BY_ADMIN"));
    world.verify().await;
}

/// W7: an admin may create a webhook for another user. That user owns it; its creator is only recorded.
#[tokio::test(flavor = "multi_thread")]
async fn an_admin_may_create_for_another_user_and_a_regular_user_may_not() {
    let world = World::start().await;
    let company = world.company(1);
    world.platform().upsert_user(1, 8, "REGULAR").await.unwrap();
    let made = company
        .admin(9)
        .create_webhook(NewWebhook::to(URL).for_user(8))
        .await
        .unwrap()
        .webhook;
    assert_eq!(
        (made.user_id.as_str(), made.owner_id.as_str(), made.kind.as_str()),
        ("8", "9", "GENERAL")
    );
    assert!(company.user(8).webhook(&made.id).await.unwrap().is_some());
    assert_eq!(company.user(7).webhook(&made.id).await.unwrap(), None);

    let for_another = company
        .user(7)
        .create_webhook(NewWebhook::to(URL).for_user(8))
        .await;
    assert_eq!(user_code(for_another), "FORBIDDEN");
    company
        .user(7)
        .create_webhook(NewWebhook::to(URL).for_user(7))
        .await
        .unwrap();
    let unknown = company
        .admin(9)
        .create_webhook(NewWebhook::to(URL).for_user(404))
        .await;
    assert_eq!(user_code(unknown), "NOT_FOUND");

    company.user(8).delete_webhook(&made.id).await.unwrap();
    world.verify().await;
}

/// W7: an application webhook always belongs to the token's own user, also if that is an admin.
#[tokio::test(flavor = "multi_thread")]
async fn an_application_webhook_is_for_the_tokens_own_user() {
    let world = World::start().await;
    let crm = world.company(1).app("crm");
    crm.install(8).await.unwrap();
    crm.install(9).await.unwrap();
    let admin = crm.acting_for_admin(9);
    assert_eq!(
        user_code(admin.create_webhook(NewWebhook::to(URL).for_user(8)).await),
        "FORBIDDEN"
    );
    let own = admin.create_webhook(NewWebhook::to(URL)).await.unwrap().webhook;
    assert_eq!((own.user_id.as_str(), own.kind.as_str()), ("9", "APPLICATION"));
    world.verify().await;
}

/// W9: version 2 is the default; a pair outside the version's catalogue is refused.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_catalogue_lists_can_be_subscribed_to() {
    let world = World::start().await;
    let user = world.company(1).user(7);
    let new = || NewWebhook::to(URL);
    let default = user
        .create_webhook(new().on("CHANGE", "deal"))
        .await
        .unwrap()
        .webhook;
    assert_eq!(
        (default.version.as_str(), default.event_object.as_str()),
        ("V2", "deal")
    );
    for good in [
        new().on("ANY", "*"),
        new().on("DELETE", "lead"),
        new().on("ANY", "stage").v1(),
        new().on("MERGE", "person").v1(),
        new().on("CREATE", "activityType").v1(),
    ] {
        user.create_webhook(good.clone())
            .await
            .unwrap_or_else(|refusal| panic!("{good:?}: {refusal}"));
    }
    for bad in [
        new().on("CHANGE", "activityType"),
        new().on("CHANGE", "lead").v1(),
        new().on("MERGE", "person"),
        new().on("CHANGE", "Deal"),
        new().on("CHANGE", "unicorn"),
    ] {
        assert_eq!(
            user_code(user.create_webhook(bad.clone()).await),
            "NOT_IN_CATALOG",
            "{bad:?}"
        );
    }
    world.verify().await;
}
