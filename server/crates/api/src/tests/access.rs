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
    assert_eq!(world.refusal(&reads, CREATE, input.clone()).await, "FORBIDDEN");
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
        world.refusal(&world.operator(), CREATE, input.clone()).await,
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
    world.ask(&writes, CREATE, input).await;
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

const CREATE: &str = "mutation M($input: CreateWebhookInput!) { createWebhook(input: $input) { webhook { id type } userErrors { code } } }";
const UPDATE: &str = "mutation M($input: UpdateWebhookInput!) { updateWebhook(input: $input) { webhook { name } userErrors { code } } }";
const DELETE: &str = "mutation M($input: DeleteWebhookInput!) { deleteWebhook(input: $input) { webhook { removeReason } userErrors { code } } }";

#[tokio::test(flavor = "multi_thread")]
async fn w2_an_app_needs_admin_and_no_other_scope() {
    let world = World::new().await;
    world.install("crm", 1, 7).await;
    let of = |scope: &str| {
        world
            .token(json!({ "company_id": "1", "sub": "7", "role": "admin", "app_id": "crm", "scope": scope }))
    };
    let new = json!({ "input": {
        "subscriptionUrl": "http://127.0.0.1:9/", "eventAction": "ANY", "eventObject": "*"
    } });
    let read = "query Q($id: ID!) { webhook(id: $id) { id } webhooks { totalCount } webhookQuota(type: APPLICATION) { used } }";

    let admin = of("admin");
    let created = world.ask(&admin, CREATE, new.clone()).await["createWebhook"].take();
    assert_eq!(created["webhook"]["type"], "APPLICATION", "{created}");
    let id = created["webhook"]["id"].clone();
    let seen = world.ask(&admin, read, json!({ "id": id })).await;
    assert_eq!(
        seen,
        json!({ "webhook": { "id": id }, "webhooks": { "totalCount": 1 }, "webhookQuota": { "used": 1 } })
    );
    let renamed = json!({ "input": { "id": id, "name": "renamed" } });
    let changed = world.ask(&admin, UPDATE, renamed.clone()).await;
    assert_eq!(changed["updateWebhook"]["webhook"]["name"], "renamed");

    let named = json!({ "input": { "id": id } });
    for others in [
        "webhooks:read webhooks:write platform operator",
        "webhooks:read webhooks:write",
        "operator",
        "platform",
        "Admin admins",
        "",
    ] {
        let token = of(others);
        for (query, variables) in [
            (CREATE, new.clone()),
            (UPDATE, renamed.clone()),
            (DELETE, named.clone()),
            (
                "query Q($id: ID!) { webhook(id: $id) { id } }",
                json!({ "id": id }),
            ),
            ("query Q($id: ID!) { node(id: $id) { id } }", json!({ "id": id })),
            ("{ webhooks { totalCount } }", json!({})),
            ("{ webhookQuota(type: APPLICATION) { used } }", json!({})),
            ("{ deliveries { totalCount } }", json!({})),
            ("{ notices { totalCount } }", json!({})),
            ("{ apps { totalCount } }", json!({})),
        ] {
            let code = world.refusal(&token, query, variables).await;
            assert_eq!(code, "FORBIDDEN", "{others:?}: {query}");
        }
    }
    let deleted = world.ask(&admin, DELETE, named).await;
    assert_eq!(
        deleted["deleteWebhook"]["webhook"]["removeReason"],
        "DELETED_BY_APP"
    );
}

/// The callers of the test below, with a webhook of each user, one of an app, and one that an admin made for a user.
struct Company {
    world: World,
    ann: Token,
    bob: Token,
    boss: Token,
    crm: Token,
    erp: Token,
    /// The app for the admin, who has no webhook.
    crm_for_boss: Token,
    stranger: Token,
    anns: String,
    bobs: String,
    crms: String,
    given: String,
}

impl Company {
    async fn where_apps_see(sees: AppSees) -> Self {
        let world = World::where_apps_see(sees).await;
        for (app, user) in [("crm", 7), ("erp", 7), ("crm", 9)] {
            world.install(app, 1, user).await;
        }
        let (ann, bob, boss) = (world.user(1, 7), world.user(1, 8), world.admin(1, 9));
        let crm = world.through("crm", 1, 7);
        Self {
            anns: world.webhook(&ann, json!({})).await,
            bobs: world.webhook(&bob, json!({})).await,
            crms: world.webhook(&crm, json!({})).await,
            given: world.webhook(&boss, json!({ "userId": "7" })).await,
            erp: world.through("erp", 1, 7),
            crm_for_boss: world.through_as("admin", "crm", 1, 9),
            stranger: world.user(2, 7),
            ann,
            bob,
            boss,
            crm,
            world,
        }
    }

    /// What a caller finds in lists and by id.
    async fn assert_sees(&self, token: &Token, expected: &[&String]) {
        let list = "{ webhooks(orderBy: CREATED_ASC) { nodes { id } totalCount } }";
        let listed = self.world.ask(token, list, json!({})).await;
        let nodes = listed["webhooks"]["nodes"].as_array().unwrap();
        let mut ids: Vec<&str> = nodes.iter().map(|node| node["id"].as_str().unwrap()).collect();
        let mut all: Vec<&str> = expected.iter().map(|id| id.as_str()).collect();
        ids.sort_unstable();
        all.sort_unstable();
        assert_eq!(ids, all);
        assert_eq!(listed["webhooks"]["totalCount"], expected.len());
        let by_id = "query Q($id: ID!) { webhook(id: $id) { id } node(id: $id) { id } }";
        for id in [&self.anns, &self.bobs, &self.crms, &self.given] {
            let found = self.world.ask(token, by_id, json!({ "id": id })).await;
            assert_eq!(found["webhook"].is_null(), !expected.contains(&id));
            assert_eq!(found["node"], found["webhook"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn w4_w5_callers_see_only_permitted_webhooks() {
    for sees in APP_SEES {
        let company = Company::where_apps_see(sees).await;
        let (anns, bobs, crms, given) = (&company.anns, &company.bobs, &company.crms, &company.given);
        let (by_crm, by_erp) = match sees {
            AppSees::Application => (vec![crms], vec![]),
            AppSees::OwnGeneral => (vec![anns, crms, given], vec![anns, given]),
        };
        for (token, expected) in [
            (&company.ann, &[anns, given][..]),
            (&company.bob, &[bobs]),
            (&company.boss, &[anns, bobs, given]),
            (&company.crm, &by_crm),
            (&company.erp, &by_erp),
            (&company.crm_for_boss, &[]),
            (&company.stranger, &[]),
            (&company.world.operator(), &[anns, bobs, crms, given]),
        ] {
            company.assert_sees(token, expected).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn w4_to_w7_callers_delete_only_permitted_webhooks() {
    for (sees, by_app) in APP_SEES.into_iter().zip(["NOT_FOUND", "FORBIDDEN"]) {
        let company = Company::where_apps_see(sees).await;
        let world = &company.world;
        for (token, id, code) in [
            (&company.bob, &company.anns, "NOT_FOUND"),
            (&company.boss, &company.crms, "NOT_FOUND"),
            (&company.ann, &company.crms, "NOT_FOUND"),
            (&company.erp, &company.crms, "NOT_FOUND"),
            (&company.crm, &company.anns, by_app),
            (&company.crm, &company.bobs, "NOT_FOUND"),
            (&company.crm_for_boss, &company.anns, "NOT_FOUND"),
            (&company.crm_for_boss, &company.crms, "NOT_FOUND"),
            (&company.stranger, &company.anns, "NOT_FOUND"),
        ] {
            let told = world.errors(token, "deleteWebhook", json!({ "id": id })).await;
            assert_eq!(told, [format!("{code} input.id")], "{sees:?}");
        }
        for id in ["", "x", "999999", &company.anns[1..]] {
            assert_eq!(
                world
                    .errors(&company.ann, "deleteWebhook", json!({ "id": id }))
                    .await,
                ["NOT_FOUND input.id"]
            );
        }
        for (token, id, reason) in [
            (&company.boss, &company.anns, "DELETED_BY_ADMIN"),
            (&company.crm, &company.crms, "DELETED_BY_APP"),
        ] {
            let input = json!({ "id": id });
            let deleted = world
                .done(token, "deleteWebhook", input, "webhook { removeReason }")
                .await;
            assert_eq!(deleted["webhook"]["removeReason"], reason);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn w7_only_an_admin_creates_for_another_user() {
    let company = Company::where_apps_see(AppSees::Application).await;
    for (token, user, told) in [
        (&company.ann, "8", "FORBIDDEN input.userId"),
        (&company.crm, "8", "FORBIDDEN input.userId"),
        (&company.crm_for_boss, "8", "FORBIDDEN input.userId"),
        (&company.boss, "999", "NOT_FOUND input.userId"),
    ] {
        let input = json!({
            "subscriptionUrl": "http://127.0.0.1:9/", "eventAction": "ANY", "eventObject": "*", "userId": user
        });
        assert_eq!(company.world.errors(token, "createWebhook", input).await, [told]);
    }
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
async fn w3_w4_callers_count_only_webhooks_that_they_see() {
    for sees in APP_SEES {
        quotas_where_apps_see(sees).await;
    }
}

async fn quotas_where_apps_see(sees: AppSees) {
    let world = World::where_apps_see(sees).await;
    for user in [7, 9] {
        world.install("crm", 1, user).await;
    }
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
    let (crm, crm_for_boss) = (world.through("crm", 1, 7), world.through_as("admin", "crm", 1, 9));
    // Through an app only of its own user, only while it is installed, and only where the app sees them.
    for (token, user, used) in [
        (&crm, None, Some(1)),
        (&crm, Some("7"), Some(1)),
        (&crm, Some("9"), None),
        (&crm_for_boss, None, Some(0)),
        (&crm_for_boss, Some("7"), None),
        (&world.through("erp", 1, 7), None, None),
    ] {
        let answer = world.answer(token, quota, of("GENERAL", user)).await;
        match used.filter(|_| sees == AppSees::OwnGeneral) {
            Some(used) => assert_eq!(answer["data"]["webhookQuota"]["used"], used, "{answer}"),
            None => assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "{answer}"),
        }
    }
}
