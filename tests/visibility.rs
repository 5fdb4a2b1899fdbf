//! Who can see which webhook.

use serde_json::json;
use tenterhook_harness::client::{Client, NewWebhook, WebhookList};
use tenterhook_harness::token::Claims;
use tenterhook_harness::world::World;

const URL: &str = "http://127.0.0.1:9/hook";

/// The ids of the webhooks that `cast` creates.
struct Webhooks {
    user_7: String,
    user_8: String,
    crm_for_7: String,
    erp_for_7: String,
    crm_for_9: String,
    other_company: String,
}

/// Users 7 and 8 and admin 9 of company 1, two apps for user 7 and one of them for the admin, and user 7 of company 2.
async fn cast(world: &World) -> Webhooks {
    let company = world.company(1);
    let crm = company
        .app("crm")
        .install(7)
        .await
        .unwrap_or_else(|refusal| panic!("{refusal}"));
    let erp = company
        .app("erp")
        .install(7)
        .await
        .unwrap_or_else(|refusal| panic!("{refusal}"));
    company
        .app("crm")
        .install(9)
        .await
        .unwrap_or_else(|refusal| panic!("{refusal}"));
    Webhooks {
        user_7: create(&company.user(7)).await,
        user_8: create(&company.user(8)).await,
        crm_for_7: create(&crm).await,
        erp_for_7: create(&erp).await,
        crm_for_9: create(&company.app("crm").acting_for_admin(9)).await,
        other_company: create(&world.company(2).user(7)).await,
    }
}

async fn create(caller: &Client) -> String {
    let created = caller
        .create_webhook(NewWebhook::to(URL))
        .await
        .unwrap_or_else(|refusal| panic!("{refusal}"));
    created.webhook.id
}

/// Checks that a caller sees exactly these webhooks, in every query that shows webhooks.
async fn sees(who: &str, caller: &Client, all: &Webhooks, expected: &[&String]) {
    let everything = [
        &all.user_7,
        &all.user_8,
        &all.crm_for_7,
        &all.erp_for_7,
        &all.crm_for_9,
        &all.other_company,
    ];
    let listed = caller
        .webhooks(WebhookList::default())
        .await
        .unwrap_or_else(|refusal| panic!("{who}: {refusal}"));
    let mut listed: Vec<_> = listed.into_iter().map(|webhook| webhook.id).collect();
    let mut expected: Vec<_> = expected.iter().map(|id| (*id).clone()).collect();
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected, "{who} lists");
    for id in everything {
        let seen = caller
            .webhook(id)
            .await
            .unwrap_or_else(|refusal| panic!("{who}: {refusal}"));
        assert_eq!(seen.is_some(), expected.contains(id), "{who} looks at {id}");
        let node = "query($id: ID!) { node(id: $id) { id __typename } }";
        let node = caller
            .query(node, json!({"id": id}))
            .await
            .unwrap_or_else(|refusal| panic!("{who}: {refusal}"));
        assert_eq!(
            !node["node"].is_null(),
            expected.contains(id),
            "{who} asks for node {id}"
        );
    }
}

/// W2, W4, W5: each kind of token sees its own webhooks and no others. What it cannot see does not exist for it.
#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_token_sees_exactly_its_webhooks() {
    let world = World::start().await;
    let all = cast(&world).await;
    let company = world.company(1);
    sees("user 7", &company.user(7), &all, &[&all.user_7]).await;
    sees("user 8", &company.user(8), &all, &[&all.user_8]).await;
    sees("admin 9", &company.admin(9), &all, &[&all.user_7, &all.user_8]).await;
    sees(
        "crm for user 7",
        &company.app("crm").acting_for(7),
        &all,
        &[&all.user_7, &all.crm_for_7],
    )
    .await;
    sees(
        "erp for user 7",
        &company.app("erp").acting_for(7),
        &all,
        &[&all.user_7, &all.erp_for_7],
    )
    .await;
    sees(
        "crm for user 8, not installed",
        &company.app("crm").acting_for(8),
        &all,
        &[],
    )
    .await;
    let crm_for_admin = company.app("crm").acting_for_admin(9);
    sees(
        "crm for admin 9",
        &crm_for_admin,
        &all,
        &[&all.user_7, &all.user_8, &all.crm_for_9],
    )
    .await;
    let erp_for_admin = company.app("erp").acting_for_admin(9);
    sees("erp for admin 9, not installed", &erp_for_admin, &all, &[]).await;
    sees(
        "user 7 of company 2",
        &world.company(2).user(7),
        &all,
        &[&all.other_company],
    )
    .await;
    sees("admin of company 3", &world.company(3).admin(1), &all, &[]).await;
    let everything = [
        &all.user_7,
        &all.user_8,
        &all.crm_for_7,
        &all.erp_for_7,
        &all.crm_for_9,
        &all.other_company,
    ];
    sees("the operator", &world.operator(), &all, &everything).await;
    world.verify().await;
}

/// W5: the platform reads no webhooks.
#[tokio::test(flavor = "multi_thread")]
async fn the_platform_reads_no_webhooks() {
    let world = World::start().await;
    let all = cast(&world).await;
    let platform = world.platform();
    assert_eq!(
        platform
            .webhooks(WebhookList::default())
            .await
            .unwrap_err()
            .code(),
        "FORBIDDEN"
    );
    assert_eq!(
        platform.webhook(&all.user_7).await.unwrap_err().code(),
        "FORBIDDEN"
    );
    world.verify().await;
}

/// W1, W4: the type follows from the creator, is readable, and filters lists. It cannot be set.
#[tokio::test(flavor = "multi_thread")]
async fn the_type_follows_from_who_creates_and_filters_lists() {
    let world = World::start().await;
    let all = cast(&world).await;
    let crm = world.company(1).app("crm").acting_for(7);
    for (kind, id, app) in [
        ("GENERAL", &all.user_7, None),
        ("APPLICATION", &all.crm_for_7, Some("crm")),
    ] {
        let list = WebhookList {
            kind: Some(kind),
            ..WebhookList::default()
        };
        let [webhook] = &crm.webhooks(list).await.unwrap()[..] else {
            panic!("one {kind} webhook")
        };
        assert_eq!((&webhook.id, webhook.kind.as_str()), (id, kind));
        assert_eq!(webhook.app.as_ref().map(|app| app.app_id.as_str()), app);
        assert_eq!((webhook.user_id.as_str(), webhook.owner_id.as_str()), ("7", "7"));
    }
    let input = json!({"subscriptionUrl": URL, "eventAction": "ANY", "eventObject": "*", "type": "GENERAL"});
    let refusal = crm
        .mutate("createWebhook", input, "webhook { id }")
        .await
        .unwrap_err();
    assert!(
        ["BAD_USER_INPUT", "GRAPHQL_VALIDATION_FAILED"].contains(&refusal.code()),
        "{refusal}"
    );
    world.verify().await;
}

/// W2, W8, W12: an app sees nothing of a user who has not installed it. After it is installed again, it sees the
/// webhooks that were removed.
#[tokio::test(flavor = "multi_thread")]
async fn an_uninstalled_app_sees_nothing_until_it_is_reinstalled() {
    let world = World::start().await;
    let all = cast(&world).await;
    let crm = world.company(1).app("crm");
    assert_eq!(crm.uninstall(7).await.unwrap(), 1);
    sees("crm for user 7, uninstalled", &crm.acting_for(7), &all, &[]).await;

    let again = crm.install(7).await.unwrap();
    let removed = again
        .webhook(&all.crm_for_7)
        .await
        .unwrap()
        .expect("seen again once reinstalled (W12)");
    assert_eq!(removed.remove_reason.as_deref(), Some("APP_UNINSTALLED"));
    world.verify().await;
}

/// A token is needed. It must be complete and not expired, and its scopes limit what it may do.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_or_its_scope_there_is_nothing() {
    let world = World::start().await;
    let all = cast(&world).await;
    let nobody = world.anonymous(0);
    for (who, caller) in [
        ("nobody", nobody.clone()),
        (
            "a forger",
            nobody.with_token(Some("eyJhbGciOiJub25lIn0.e30.".to_owned())),
        ),
    ] {
        let refusal = caller.webhooks(WebhookList::default()).await.unwrap_err();
        assert_eq!(refusal.code(), "UNAUTHENTICATED", "{who}");
    }
    let reader = world.caller(0, &Claims::user(1, 7, "regular").with_scope("webhooks:read"));
    assert_eq!(reader.webhooks(WebhookList::default()).await.unwrap().len(), 1);
    assert_eq!(
        reader
            .create_webhook(NewWebhook::to(URL))
            .await
            .unwrap_err()
            .code(),
        "FORBIDDEN"
    );
    assert_eq!(
        reader.delete_webhook(&all.user_7).await.unwrap_err().code(),
        "FORBIDDEN"
    );
    let writer = world.caller(0, &Claims::user(1, 7, "regular").with_scope("webhooks:write"));
    assert_eq!(
        writer.webhooks(WebhookList::default()).await.unwrap_err().code(),
        "FORBIDDEN"
    );
    assert_eq!(
        world.company(1).user(7).publish(&[]).await.unwrap_err().code(),
        "FORBIDDEN"
    );

    world.platform().remove_user(1, 8).await.unwrap();
    let refusal = world
        .company(1)
        .user(8)
        .webhooks(WebhookList::default())
        .await
        .unwrap_err();
    assert_eq!(refusal.code(), "UNAUTHENTICATED", "a removed user's token");
    world.verify().await;
}
