//! Which addresses a webhook may have.

use tenterhook_harness::client::NewWebhook;
use tenterhook_harness::world::World;

use crate::scene::Scene;

/// W10: the platform's own hosts are refused in every spelling, also if their address is allowed.
#[tokio::test(flavor = "multi_thread")]
async fn the_platforms_own_hosts_are_refused() {
    let hosts = ["localhost", "api.example.com", "127.0.0.7"];
    let builder = World::builder()
        .allowed_targets(&["127.0.0.0/8", "::1/128"])
        .platform_hosts(&hosts);
    let world = builder.start().await;
    let user = world.company(1).user(7);
    for url in [
        "http://localhost/",
        "http://LocalHost./hook",
        "https://API.example.com:8443/",
        "http://127.7/",
    ] {
        let refusal = user.create_webhook(NewWebhook::to(url)).await.unwrap_err();
        assert_eq!(refusal.code(), "FORBIDDEN_ADDRESS", "{url}: {refusal}");
    }
    user.create_webhook(NewWebhook::to("http://127.0.0.1/"))
        .await
        .unwrap();
    world.verify().await;
}

/// W10: addresses outside the CIDRs that the operator allows are refused.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_allowed_networks_are_allowed() {
    let world = World::builder()
        .allowed_targets(&["127.0.0.1/32", "10.1.0.0/16"])
        .start()
        .await;
    let user = world.company(1).user(7);
    for (url, allowed) in [
        ("http://127.0.0.1/", true),
        ("http://[::ffff:127.0.0.1]/", true),
        ("http://10.1.255.255/", true),
        ("http://127.0.0.2/", false),
        ("http://10.2.0.0/", false),
        ("http://[::1]/", false),
    ] {
        assert_eq!(
            user.create_webhook(NewWebhook::to(url)).await.is_ok(),
            allowed,
            "{url}"
        );
    }
    world.verify().await;
}

/// W10: the address is checked again when the connection is opened. Forbidden literals and names are not contacted.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_was_forbidden_later_is_never_contacted() {
    let mut world = World::builder()
        .allowed_targets(&["127.0.0.0/8", "::1/128"])
        .start()
        .await;
    let receiver = world.receiver(200).await;
    let user = world.company(1).user(7);
    let by_name = receiver.url().replace("127.0.0.1", "localhost");
    let mut webhooks = Vec::new();
    for url in [receiver.url(), by_name] {
        webhooks.push(user.create_webhook(NewWebhook::to(&url)).await.unwrap().webhook);
    }
    world.stop(0).await;
    world.allow_targets(&[]);
    world.launch().await;
    world.company(1).publish().await.unwrap();
    world.advance("PT1H").await;

    let user = world.company(1).user(7);
    for webhook in webhooks {
        let delivery = user.last_delivery(&webhook.id).await.unwrap();
        assert_eq!((delivery.status.as_str(), delivery.attempts.len()), ("FAILED", 4));
        for attempt in &delivery.attempts {
            assert_eq!(
                attempt.error_class.as_deref(),
                Some("BLOCKED_ADDRESS"),
                "{attempt:?}"
            );
        }
    }
    assert!(receiver.journal().is_empty());
    world.verify().await;
}

/// W10: a webhook whose host name resolves to an allowed address gets requests.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_an_allowed_address_is_called() {
    let world = World::builder()
        .allowed_targets(&["127.0.0.0/8", "::1/128"])
        .start()
        .await;
    let receiver = world.receiver(200).await;
    let url = receiver.url().replace("127.0.0.1", "localhost");
    let scene = Scene::leading_to(world, &url).await;
    scene.deliver().await;
    let host = receiver.journal().all()[0]
        .header("host")
        .map(str::to_owned)
        .unwrap();
    assert!(host.starts_with("localhost:"), "{host}");
    scene.world.verify().await;
}
