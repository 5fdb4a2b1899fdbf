use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn w8_uninstalling_removes_the_apps_webhooks_and_only_those() {
    let world = World::new().await;
    world.install("crm", 1, 7).await;
    world.install("crm", 1, 8).await;
    let (ann, crm, bobs) = (
        world.user(1, 7),
        world.through("crm", 1, 7),
        world.through("crm", 1, 8),
    );
    world.webhook(&ann, json!({})).await;
    let gone = world.webhook(&crm, json!({})).await;
    world.webhook(&crm, json!({})).await;
    world.webhook(&bobs, json!({})).await;
    let platform = world.platform();
    let installation = json!({ "appId": "crm", "companyId": "1", "userId": "7" });
    for count in [2, 0] {
        let payload = world
            .done(
                &platform,
                "uninstallApp",
                installation.clone(),
                "app { appId } removedWebhookCount",
            )
            .await;
        assert_eq!(
            (&payload["app"]["appId"], &payload["removedWebhookCount"]),
            (&json!("crm"), &json!(count))
        );
    }
    let read = "query Q($id: ID!) { webhook(id: $id) { removeReason } }";
    assert!(world.ask(&crm, read, json!({ "id": gone })).await["webhook"].is_null());
    let operators = world.ask(&world.operator(), read, json!({ "id": gone })).await;
    assert_eq!(operators["webhook"]["removeReason"], "APP_UNINSTALLED");
    let live = "{ webhooks { totalCount } }";
    assert_eq!(
        world.ask(&world.operator(), live, json!({})).await["webhooks"]["totalCount"],
        2
    );
    world.done(&platform, "installApp", installation, "").await;
    assert_eq!(
        world.ask(&crm, read, json!({ "id": gone })).await["webhook"]["removeReason"],
        "APP_UNINSTALLED"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn w8_removing_an_app_works_in_batches_and_is_final() {
    let mut settings = Settings::development();
    settings.policy.webhook_limit = 600;
    let world = World::with(settings).await;
    let platform = world.platform();
    for user in 1..=3 {
        world.install("crm", 1, user).await;
        let crm = world.through("crm", 1, user);
        let create = |_| world.webhook(&crm, json!({}));
        futures_util::future::join_all((0..if user == 2 { 510 } else { 5 }).map(create)).await;
    }
    let removed = world
        .done(
            &platform,
            "removeApp",
            json!({ "appId": "crm" }),
            "app { removedAt } removedWebhookCount",
        )
        .await;
    assert_eq!(
        (
            &removed["removedWebhookCount"],
            removed["app"]["removedAt"].is_null()
        ),
        (&json!(520), false)
    );
    let again = world
        .done(
            &platform,
            "removeApp",
            json!({ "appId": "crm" }),
            "removedWebhookCount",
        )
        .await;
    assert_eq!(again["removedWebhookCount"], 0);
    let input = json!({ "subscriptionUrl": "http://127.0.0.1:9/", "eventAction": "ANY", "eventObject": "*" });
    assert_eq!(
        world
            .errors(&world.through("crm", 1, 1), "createWebhook", input)
            .await,
        ["APP_NOT_INSTALLED input"]
    );
    let installation = json!({ "appId": "crm", "companyId": "1", "userId": "1" });
    assert_eq!(
        world.errors(&platform, "installApp", installation.clone()).await,
        ["NOT_FOUND input.appId"]
    );
    assert_eq!(
        world
            .errors(&platform, "removeApp", json!({ "appId": "erp" }))
            .await,
        ["NOT_FOUND input.appId"]
    );
    let back = world
        .done(
            &platform,
            "registerApp",
            json!({ "appId": "crm", "name": "CRM" }),
            "app { name removedAt }",
        )
        .await;
    assert_eq!(back["app"], json!({ "name": "CRM", "removedAt": null }));
    world.done(&platform, "installApp", installation, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_users_tokens_are_refused_and_webhooks_removed() {
    let world = World::new().await;
    world.install("crm", 1, 7).await;
    let (ann, crm, platform) = (world.user(1, 7), world.through("crm", 1, 7), world.platform());
    let general = world.webhook(&ann, json!({})).await;
    world.webhook(&crm, json!({})).await;
    let user = json!({ "companyId": "1", "userId": "7" });
    assert_eq!(
        world
            .done(&platform, "removeUser", user.clone(), "removedWebhookCount")
            .await["removedWebhookCount"],
        2
    );
    assert_eq!(
        world
            .done(&platform, "removeUser", user, "removedWebhookCount")
            .await["removedWebhookCount"],
        0
    );
    for token in [&ann, &crm] {
        assert_eq!(
            world.refusal(token, "{ viewer { userId } }", json!({})).await,
            "UNAUTHENTICATED"
        );
    }
    let read = "query Q($id: ID!) { webhook(id: $id) { removeReason } }";
    let operators = world.ask(&world.operator(), read, json!({ "id": general })).await;
    assert_eq!(operators["webhook"]["removeReason"], "USER_REMOVED");
    let for_ann = json!({ "subscriptionUrl": "http://127.0.0.1:9/", "eventAction": "ANY", "eventObject": "*", "userId": "7" });
    assert_eq!(
        world.errors(&world.admin(1, 9), "createWebhook", for_ann).await,
        ["NOT_FOUND input.userId"]
    );
    let users = json!({ "users": [
        { "companyId": "1", "userId": "7", "role": "REGULAR" }, { "companyId": "1", "userId": "7", "role": "ADMIN" }
    ] });
    assert_eq!(
        world.done(&platform, "upsertUsers", users, "count").await["count"],
        1
    );
    world.ask(&ann, "{ viewer { userId } }", json!({})).await;
    let strangers = json!({ "companyId": "1", "userId": "1234" });
    world
        .done(&platform, "removeUser", strangers, "removedWebhookCount")
        .await;
    assert_eq!(
        world
            .refusal(&world.user(1, 1234), "{ viewer { userId } }", json!({}))
            .await,
        "UNAUTHENTICATED"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_are_listed_for_the_platform() {
    let world = World::new().await;
    let platform = world.platform();
    for app in ["a", "b", "c"] {
        world
            .done(&platform, "registerApp", json!({ "appId": app, "name": app }), "")
            .await;
        world.advance(SignedDuration::from_secs(1)).await;
    }
    assert_eq!(
        world
            .errors(&platform, "registerApp", json!({ "appId": "a", "name": "x" }))
            .await,
        ["ALREADY_EXISTS input.appId"]
    );
    assert_eq!(
        world
            .errors(&platform, "registerApp", json!({ "appId": "a b", "name": "" }))
            .await,
        ["INVALID input.appId", "INVALID input.name"]
    );
    let first = world
        .ask(
            &platform,
            "{ apps(first: 2) { totalCount nodes { id appId } pageInfo { endCursor } } }",
            json!({}),
        )
        .await;
    let nodes = first["apps"]["nodes"].as_array().unwrap();
    assert_eq!(
        (
            &nodes[0]["appId"],
            &nodes[1]["appId"],
            &first["apps"]["totalCount"]
        ),
        (&json!("c"), &json!("b"), &json!(3))
    );
    let after = json!({ "after": first["apps"]["pageInfo"]["endCursor"] });
    let rest = world
        .ask(
            &platform,
            "query Q($after: String) { apps(after: $after) { nodes { appId } } }",
            after,
        )
        .await;
    assert_eq!(rest["apps"]["nodes"], json!([{ "appId": "a" }]));
    let node = "query Q($id: ID!) { node(id: $id) { ... on App { name } } }";
    let id = json!({ "id": nodes[0]["id"] });
    assert_eq!(world.ask(&platform, node, id.clone()).await["node"]["name"], "c");
    assert!(world.ask(&world.user(1, 7), node, id).await["node"].is_null());
}
