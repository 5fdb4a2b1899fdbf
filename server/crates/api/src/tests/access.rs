use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_judged_by_key_issuer_audience_and_end() {
    let world = World::new().await;
    let viewer = "{ viewer { userId companyId role scopes app { appId } } }";
    let ann = world.ask(&world.user(1, 7), viewer, json!({})).await;
    assert_eq!(
        ann["viewer"],
        json!({ "userId": "7", "companyId": "1", "role": "REGULAR", "scopes": ["webhooks:read", "webhooks:write"], "app": null })
    );
    assert_eq!(
        world.ask(&world.operator(), viewer, json!({})).await["viewer"]["scopes"],
        json!(["operator"])
    );
    let now = world.clock.now().as_second();
    let user = json!({ "company_id": 1, "sub": "7" });
    assert!(world.answer(&world.token(user.clone()), viewer, json!({})).await["errors"].is_null());
    for change in [
        json!({ "exp": now }),
        json!({ "exp": null }),
        json!({ "nbf": now + 1 }),
        json!({ "iss": "somebody" }),
        json!({ "aud": "somebody" }),
        json!({ "sub": null }),
        json!({ "company_id": "0" }),
        json!({ "role": "king" }),
        json!({ "app_id": "a b" }),
    ] {
        let mut claims = user.clone();
        claims
            .as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        assert_eq!(
            world.refusal(&world.token(claims), viewer, json!({})).await,
            "UNAUTHENTICATED",
            "{change}"
        );
    }
    for other in ["", "x", "a.b.c"] {
        assert_eq!(
            world.refusal(&Token(other.to_owned()), viewer, json!({})).await,
            "UNAUTHENTICATED"
        );
    }
    let good = world.user(1, 7).0;
    let cut = Token(good[..good.len() - 3].to_owned());
    assert_eq!(world.refusal(&cut, viewer, json!({})).await, "UNAUTHENTICATED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_the_scope_is_forbidden() {
    let world = World::new().await;
    let of = |scope: &str| world.token(json!({ "company_id": "1", "sub": "7", "scope": scope }));
    let (reads, writes) = (of("webhooks:read"), of("webhooks:write"));
    let input = json!({ "input": { "subscriptionUrl": "http://127.0.0.1:9/", "eventAction": "ANY", "eventObject": "*" } });
    let create = "mutation M($input: CreateWebhookInput!) { createWebhook(input: $input) { webhook { id } userErrors { code } } }";
    assert_eq!(world.refusal(&reads, create, input.clone()).await, "FORBIDDEN");
    assert_eq!(
        world
            .refusal(&writes, "{ webhooks { totalCount } }", json!({}))
            .await,
        "FORBIDDEN"
    );
    assert_eq!(
        world
            .refusal(&world.platform(), "{ webhooks { totalCount } }", json!({}))
            .await,
        "FORBIDDEN"
    );
    assert_eq!(
        world.refusal(&world.operator(), create, input.clone()).await,
        "FORBIDDEN"
    );
    assert_eq!(
        world.refusal(&reads, "{ apps { totalCount } }", json!({})).await,
        "FORBIDDEN"
    );
    let app = world.token(json!({ "company_id": "1", "sub": "7", "app_id": "crm" }));
    assert_eq!(
        world
            .refusal(&app, "{ webhooks { totalCount } }", json!({}))
            .await,
        "FORBIDDEN"
    );
    world.ask(&writes, create, input).await;
    for platforms in [
        "registerApp",
        "removeApp",
        "installApp",
        "uninstallApp",
        "upsertUsers",
        "removeUser",
        "publishEvents",
    ] {
        let kind = format!("{}{}Input", platforms[..1].to_uppercase(), &platforms[1..]);
        let query = format!(
            "mutation M($input: {kind}!) {{ {platforms}(input: $input) {{ userErrors {{ code }} }} }}"
        );
        let input = json!({ "input": {
            "appId": "a", "name": "a", "companyId": "1", "userId": "7", "users": [], "events": []
        } });
        let fields: &[&str] = match platforms {
            "registerApp" => &["appId", "name"],
            "removeApp" => &["appId"],
            "upsertUsers" => &["users"],
            "publishEvents" => &["events"],
            "removeUser" => &["companyId", "userId"],
            _ => &["appId", "companyId", "userId"],
        };
        let picked: serde_json::Map<_, _> = fields
            .iter()
            .map(|field| ((*field).to_owned(), input["input"][*field].clone()))
            .collect();
        for token in [&reads, &world.operator()] {
            assert_eq!(
                world.refusal(token, &query, json!({ "input": picked })).await,
                "FORBIDDEN",
                "{platforms}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn w4_to_w7_callers_see_and_manage_only_permitted_webhooks() {
    let world = World::new().await;
    world.install("crm", 1, 7).await;
    world.install("erp", 1, 7).await;
    let (ann, bob, boss) = (world.user(1, 7), world.user(1, 8), world.admin(1, 9));
    let (crm, erp, stranger) = (
        world.through("crm", 1, 7),
        world.through("erp", 1, 7),
        world.user(2, 7),
    );
    let anns = world.webhook(&ann, json!({})).await;
    let bobs = world.webhook(&bob, json!({})).await;
    let crms = world.webhook(&crm, json!({})).await;
    let given = world.webhook(&boss, json!({ "userId": "7" })).await;

    let list = "{ webhooks(orderBy: CREATED_ASC) { nodes { id } totalCount } }";
    for (token, sees) in [
        (&ann, vec![&anns, &given]),
        (&bob, vec![&bobs]),
        (&boss, vec![&anns, &bobs, &given]),
        (&crm, vec![&anns, &crms, &given]),
        (&erp, vec![&anns, &given]),
        (&stranger, vec![]),
        (&world.operator(), vec![&anns, &bobs, &crms, &given]),
    ] {
        let listed = world.ask(token, list, json!({})).await;
        let mut ids: Vec<&str> = listed["webhooks"]["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n["id"].as_str().unwrap())
            .collect();
        let mut expected: Vec<&str> = sees.iter().map(|id| id.as_str()).collect();
        ids.sort_unstable();
        expected.sort_unstable();
        assert_eq!(ids, expected);
        assert_eq!(listed["webhooks"]["totalCount"], sees.len());
        for id in [&anns, &bobs, &crms, &given] {
            let found = world
                .ask(
                    token,
                    "query Q($id: ID!) { webhook(id: $id) { id } node(id: $id) { id } }",
                    json!({ "id": id }),
                )
                .await;
            assert_eq!(found["webhook"].is_null(), !sees.contains(&id));
            assert_eq!(found["node"], found["webhook"]);
        }
    }
    for (token, id, error) in [
        (&bob, &anns, "NOT_FOUND input.id"),
        (&boss, &crms, "NOT_FOUND input.id"),
        (&ann, &crms, "NOT_FOUND input.id"),
        (&erp, &crms, "NOT_FOUND input.id"),
        (&crm, &anns, "FORBIDDEN input.id"),
        (&stranger, &anns, "NOT_FOUND input.id"),
    ] {
        assert_eq!(
            world.errors(token, "deleteWebhook", json!({ "id": id })).await,
            [error]
        );
    }
    for id in ["", "x", "1", &anns[1..]] {
        assert_eq!(
            world.errors(&ann, "deleteWebhook", json!({ "id": id })).await,
            ["NOT_FOUND input.id"]
        );
    }
    let reason = "webhook { removeReason }";
    let by_admin = world
        .done(&boss, "deleteWebhook", json!({ "id": anns }), reason)
        .await;
    assert_eq!(by_admin["webhook"]["removeReason"], "DELETED_BY_ADMIN");
    let by_app = world
        .done(&crm, "deleteWebhook", json!({ "id": crms }), reason)
        .await;
    assert_eq!(by_app["webhook"]["removeReason"], "DELETED_BY_APP");

    let for_bob = json!({ "subscriptionUrl": "http://127.0.0.1:9/", "eventAction": "ANY", "eventObject": "*", "userId": "8" });
    assert_eq!(
        world.errors(&ann, "createWebhook", for_bob.clone()).await,
        ["FORBIDDEN input.userId"]
    );
    assert_eq!(
        world.errors(&crm, "createWebhook", for_bob.clone()).await,
        ["FORBIDDEN input.userId"]
    );
    let mut for_nobody = for_bob;
    for_nobody["userId"] = json!("999");
    assert_eq!(
        world.errors(&boss, "createWebhook", for_nobody).await,
        ["NOT_FOUND input.userId"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn w2_an_app_that_is_not_installed_can_do_nothing() {
    let world = World::new().await;
    let crm = world.through("crm", 1, 7);
    let input = json!({ "subscriptionUrl": "http://127.0.0.1:9/", "eventAction": "ANY", "eventObject": "*" });
    assert_eq!(
        world.errors(&crm, "createWebhook", input).await,
        ["APP_NOT_INSTALLED input"]
    );
    assert_eq!(
        world.errors(&crm, "deleteWebhook", json!({ "id": "x" })).await,
        ["APP_NOT_INSTALLED input"]
    );
    let listed = world
        .ask(
            &crm,
            "{ webhooks { totalCount } webhookQuota(type: APPLICATION) { used remaining } }",
            json!({}),
        )
        .await;
    assert_eq!(
        listed,
        json!({ "webhooks": { "totalCount": 0 }, "webhookQuota": { "used": 0, "remaining": 40 } })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_admins_may_read_the_quota_of_another_user() {
    let world = World::new().await;
    let quota =
        "query Q($type: WebhookType!, $user: ID) { webhookQuota(type: $type, userId: $user) { used } }";
    world.webhook(&world.user(1, 7), json!({})).await;
    let of = |kind: &str, user: Option<&str>| json!({ "type": kind, "user": user });
    let asked = world
        .ask(&world.admin(1, 9), quota, of("GENERAL", Some("7")))
        .await;
    assert_eq!(asked["webhookQuota"]["used"], 1);
    assert_eq!(
        world
            .refusal(&world.user(1, 8), quota, of("GENERAL", Some("7")))
            .await,
        "FORBIDDEN"
    );
    assert_eq!(
        world
            .refusal(&world.user(1, 7), quota, of("APPLICATION", None))
            .await,
        "FORBIDDEN"
    );
    assert_eq!(
        world.refusal(&world.operator(), quota, of("GENERAL", None)).await,
        "BAD_USER_INPUT"
    );
}
