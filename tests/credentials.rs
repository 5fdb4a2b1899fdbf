//! Every request carries the webhook's HTTP basic credentials, and the API returns them to nobody.

use serde_json::json;
use tenterhook_harness::client::NewWebhook;
use tenterhook_harness::world::World;

/// `user:päss` as UTF-8, which RFC 7617 recommends. Encoded by hand.
const USER_PAESS: &str = "Basic dXNlcjpww6Rzcw==";

/// W11, D10: every attempt carries them, and neither the API nor the log of attempts returns the password.
#[tokio::test(flavor = "multi_thread")]
async fn basic_credentials_go_with_every_request_and_the_password_never_returns() {
    let world = World::start().await;
    let receiver = world.receiver(500).await;
    let user = world.company(1).user(7);
    let new = NewWebhook::to(&receiver.url()).basic_auth("user", "päss");
    let webhook = user.create_webhook(new).await.unwrap().webhook;
    assert_eq!(
        (webhook.http_auth_user.as_deref(), webhook.has_http_auth_password),
        (Some("user"), true)
    );
    world.company(1).publish().await.unwrap();
    world.advance("PT1H").await;

    let sent: Vec<_> = receiver
        .journal()
        .all()
        .iter()
        .map(|a| a.header("authorization").map(str::to_owned))
        .collect();
    assert_eq!(sent, vec![Some(USER_PAESS.to_owned()); 4]);
    let delivery = user.last_delivery(&webhook.id).await.unwrap();
    for attempt in &delivery.attempts {
        let logged = attempt
            .request_headers
            .iter()
            .find(|header| header.name == "authorization")
            .unwrap();
        assert!(
            !logged.value.contains(&USER_PAESS[6..]),
            "the log shows {}",
            logged.value
        );
    }
    world.verify().await;
}

/// O5, RFC 7617: an empty user name is a user name, and the password follows the colon.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_name_may_be_empty() {
    /// `:päss`, encoded by hand.
    const PAESS: &str = "Basic OnDDpHNz";
    let world = World::start().await;
    let receiver = world.receiver(500).await;
    let user = world.company(1).user(7);
    let new = NewWebhook::to(&receiver.url()).basic_auth("", "päss");
    let webhook = user.create_webhook(new).await.unwrap().webhook;
    assert_eq!(
        (webhook.http_auth_user.as_deref(), webhook.has_http_auth_password),
        (Some(""), true)
    );
    world.company(1).publish().await.unwrap();
    world.settle().await;
    // An empty user name stays when the password is removed, and can replace another one.
    user.update_webhook(&webhook.id, json!({"httpAuthPassword": null}))
        .await
        .unwrap();
    world.advance("PT3S").await;
    let named = json!({"httpAuthUser": "user", "httpAuthPassword": "päss"});
    user.update_webhook(&webhook.id, named).await.unwrap();
    let emptied = user
        .update_webhook(&webhook.id, json!({"httpAuthUser": ""}))
        .await
        .unwrap();
    assert_eq!(
        (emptied.http_auth_user.as_deref(), emptied.has_http_auth_password),
        (Some(""), true)
    );
    world.advance("PT30S").await;

    let sent: Vec<_> = receiver
        .journal()
        .all()
        .iter()
        .map(|a| a.header("authorization").map(str::to_owned))
        .collect();
    assert_eq!(
        sent,
        [PAESS, "Basic Og==", PAESS].map(|value| Some(value.to_owned()))
    );
    world.verify().await;
}

/// W11: null removes, an absent field changes nothing. A retry uses the values at its start (D9).
#[tokio::test(flavor = "multi_thread")]
async fn credentials_can_be_changed_and_cleared() {
    let world = World::start().await;
    let receiver = world.receiver(500).await;
    let user = world.company(1).user(7);
    let new = NewWebhook::to(&receiver.url()).basic_auth("user", "old");
    let id = user.create_webhook(new).await.unwrap().webhook.id;
    world.company(1).publish().await.unwrap();
    world.settle().await;

    user.update_webhook(&id, json!({"httpAuthPassword": "päss"}))
        .await
        .unwrap();
    world.advance("PT3S").await;
    let renamed = user
        .update_webhook(&id, json!({"name": "still with credentials"}))
        .await
        .unwrap();
    assert!(renamed.has_http_auth_password);
    world.advance("PT30S").await;
    let cleared = user
        .update_webhook(&id, json!({"httpAuthUser": null, "httpAuthPassword": null}))
        .await
        .unwrap();
    assert_eq!(
        (cleared.http_auth_user, cleared.has_http_auth_password),
        (None, false)
    );
    world.advance("PT150S").await;

    let sent: Vec<_> = receiver
        .journal()
        .all()
        .iter()
        .map(|a| a.header("authorization").map(str::to_owned))
        .collect();
    assert_eq!(
        sent[1..],
        [Some(USER_PAESS.to_owned()), Some(USER_PAESS.to_owned()), None]
    );
    world.verify().await;
}
