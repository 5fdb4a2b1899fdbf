use super::*;

const ALL: &str = "webhook {
    id number type name version subscriptionUrl eventAction eventObject companyId ownerId userId app { appId }
    httpAuthUser hasHttpAuthPassword createdAt updatedAt removedAt removeReason
    health { state banCounter banThreshold bannedUntil failingSince removalDueAt lastSuccessAt lastAttemptAt
             lastHttpStatus lastErrorClass lostCount nextTransition { at to because } }
}";

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_created_read_changed_and_deleted() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    let created = world
        .done(
            &ann,
            "createWebhook",
            json!({
                "subscriptionUrl": "http://127.0.0.1:9/hook", "eventAction": "CHANGE", "eventObject": "deal",
                "name": "Deals", "httpAuthUser": "ann", "httpAuthPassword": "secret"
            }),
            &format!("signingSecret {ALL}"),
        )
        .await;
    let webhook = &created["webhook"];
    assert!(created["signingSecret"].as_str().unwrap().starts_with("whsec_"));
    assert_eq!(webhook["type"], "GENERAL");
    assert_eq!(webhook["version"], "V2");
    assert_eq!(webhook["createdAt"], "2026-11-23T10:00:00.000Z");
    assert_eq!(
        (&webhook["companyId"], &webhook["userId"], &webhook["ownerId"]),
        (&json!("1"), &json!("7"), &json!("7"))
    );
    assert_eq!(
        (&webhook["httpAuthUser"], &webhook["hasHttpAuthPassword"]),
        (&json!("ann"), &json!(true))
    );
    assert_eq!(webhook["health"]["state"], "ACTIVE");
    assert_eq!(webhook["health"]["nextTransition"], Json::Null);

    let read = world
        .ask(
            &ann,
            &format!("query Q($id: ID!) {{ webhook(id: $id) {} }}", &ALL[8..]),
            json!({ "id": webhook["id"] }),
        )
        .await;
    assert_eq!(&read["webhook"], webhook);

    world.advance(SignedDuration::from_secs(1)).await;
    let change = json!({ "id": webhook["id"], "name": null, "eventObject": "*", "httpAuthPassword": null });
    let updated = world.done(&ann, "updateWebhook", change, ALL).await;
    let updated = &updated["webhook"];
    assert_eq!(
        (&updated["name"], &updated["eventObject"], &updated["eventAction"]),
        (&Json::Null, &json!("*"), &json!("CHANGE"))
    );
    assert_eq!(
        (&updated["httpAuthUser"], &updated["hasHttpAuthPassword"]),
        (&json!("ann"), &json!(false))
    );
    assert_eq!(updated["updatedAt"], "2026-11-23T10:00:01.000Z");

    let deleted = world
        .done(
            &ann,
            "deleteWebhook",
            json!({ "id": webhook["id"] }),
            &format!("deletedWebhookId {ALL}"),
        )
        .await;
    assert_eq!(deleted["deletedWebhookId"], webhook["id"]);
    assert_eq!(deleted["webhook"]["removeReason"], "DELETED_BY_USER");
    assert_eq!(deleted["webhook"]["removedAt"], "2026-11-23T10:00:01.000Z");
    assert_eq!(deleted["webhook"]["health"]["state"], "REMOVED");
    for name in ["deleteWebhook", "updateWebhook"] {
        assert_eq!(
            world.errors(&ann, name, json!({ "id": webhook["id"] })).await,
            ["INVALID_STATE input.id"]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_faults_of_a_webhook_are_reported_at_once() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    let found = world
        .errors(
            &ann,
            "createWebhook",
            json!({
                "subscriptionUrl": "ftp://example.com", "eventAction": "MERGE", "eventObject": "deal",
                "name": "x".repeat(256), "httpAuthPassword": "secret"
            }),
        )
        .await;
    assert_eq!(
        found,
        [
            "INVALID_URL input.subscriptionUrl",
            "NOT_IN_CATALOG input.eventAction",
            "TOO_LONG input.name",
            "INVALID input.httpAuthPassword"
        ]
    );
    let webhook = |url: &str| json!({ "subscriptionUrl": url, "eventAction": "ANY", "eventObject": "lead", "version": "V1" });
    assert_eq!(
        world
            .errors(&ann, "createWebhook", webhook("http://10.0.0.1/"))
            .await,
        [
            "FORBIDDEN_ADDRESS input.subscriptionUrl",
            "NOT_IN_CATALOG input.eventObject"
        ]
    );
    let id = world.webhook(&ann, json!({})).await;
    let cleared = json!({ "id": id, "subscriptionUrl": null, "eventAction": null, "eventObject": null });
    assert_eq!(
        world.errors(&ann, "updateWebhook", cleared).await,
        [
            "INVALID input.subscriptionUrl",
            "INVALID input.eventAction",
            "INVALID input.eventObject"
        ]
    );
    assert_eq!(
        world
            .errors(&ann, "updateWebhook", json!({ "id": id, "eventAction": "MERGE" }))
            .await,
        ["NOT_IN_CATALOG input.eventAction"]
    );
    assert_eq!(
        world
            .errors(
                &ann,
                "updateWebhook",
                json!({ "id": id, "httpAuthPassword": "x" })
            )
            .await,
        ["INVALID input.httpAuthPassword"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn w3_many_creations_at_once_leave_exactly_the_limit() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    world.ask(&ann, "{ viewer { userId } }", json!({})).await;
    let create = |_| async {
        let input =
            json!({ "subscriptionUrl": "http://127.0.0.1:9/", "eventAction": "ANY", "eventObject": "*" });
        let fields = "webhook { id } userErrors { ... on LimitReachedError { limit used scope } }";
        world.mutate(&ann, "createWebhook", input, fields).await
    };
    let payloads = futures_util::future::join_all((0..60).map(create)).await;
    let refused: Vec<&Json> = payloads
        .iter()
        .filter(|payload| payload["webhook"].is_null())
        .collect();
    assert_eq!(refused.len(), 20);
    for payload in refused {
        let error = &payload["userErrors"][0];
        assert_eq!(
            (&error["code"], &error["limit"], &error["used"], &error["scope"]),
            (&json!("LIMIT_REACHED"), &json!(40), &json!(40), &json!("GENERAL"))
        );
    }
    let quota = world
        .ask(
            &ann,
            "{ webhookQuota(type: GENERAL) { type limit used remaining } }",
            json!({}),
        )
        .await;
    assert_eq!(
        quota["webhookQuota"],
        json!({ "type": "GENERAL", "limit": 40, "used": 40, "remaining": 0 })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_the_end_of_a_window_removes_the_webhook_from_the_quota() {
    let mut settings = Settings::development();
    settings.policy.webhook_limit = 1;
    let world = World::with(settings).await;
    let (ann, failing) = (world.user(1, 7), receiver(500).await);
    let id = world
        .webhook(&ann, json!({ "subscriptionUrl": failing.uri() }))
        .await;
    world.publish(1, json!({})).await;
    world.settle().await;
    let health = "query Q($id: ID!) { webhook(id: $id) { removedAt removeReason health {
        state banCounter failingSince removalDueAt lastHttpStatus lastErrorClass nextTransition { at to } } } }";
    let read = world.ask(&ann, health, json!({ "id": id })).await["webhook"].take();
    assert_eq!(
        read["health"],
        json!({
            "state": "ACTIVE", "banCounter": 1, "failingSince": "2026-11-23T10:00:00.000Z",
            "removalDueAt": "2026-11-26T10:00:00.000Z", "lastHttpStatus": 500, "lastErrorClass": "STATUS",
            "nextTransition": { "at": "2026-11-26T10:00:00.000Z", "to": "REMOVED" }
        })
    );
    let input = json!({ "subscriptionUrl": failing.uri(), "eventAction": "ANY", "eventObject": "*" });
    assert_eq!(
        world.errors(&ann, "createWebhook", input.clone()).await,
        ["LIMIT_REACHED input"]
    );
    world.advance(SignedDuration::from_hours(72)).await;
    let read = world.ask(&ann, health, json!({ "id": id })).await["webhook"].take();
    assert_eq!(
        (&read["removedAt"], &read["removeReason"]),
        (
            &json!("2026-11-26T10:00:00.000Z"),
            &json!("NO_SUCCESSFUL_DELIVERY")
        )
    );
    assert_eq!(
        (&read["health"]["state"], &read["health"]["nextTransition"]),
        (&json!("REMOVED"), &Json::Null)
    );
    world.done(&ann, "createWebhook", input, "").await;
    let listed = world
        .ask(
            &ann,
            "{ all: webhooks(filter: {includeRemoved: true}) { totalCount } live: webhooks { totalCount }
                                    removed: webhooks(filter: {state: [REMOVED]}) { nodes { id } } }",
            json!({}),
        )
        .await;
    assert_eq!(
        (&listed["all"]["totalCount"], &listed["live"]["totalCount"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(listed["removed"]["nodes"], json!([{ "id": id }]));
}

/// If removed webhooks are kept for less time than keys, a key outlives its webhook.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_outlives_its_webhook_creates_no_other_webhook() {
    let mut settings = Settings::development();
    settings.policy.removed_retention = std::time::Duration::from_secs(3600);
    let world = World::with(settings).await;
    let ann = world.user(1, 7);
    let input = json!({
        "subscriptionUrl": "http://127.0.0.1:9/hook", "eventAction": "ANY", "eventObject": "*",
        "idempotencyKey": "k"
    });
    let created = world
        .done(&ann, "createWebhook", input.clone(), "webhook { id }")
        .await;
    let id = &created["webhook"]["id"];
    world.done(&ann, "deleteWebhook", json!({ "id": id }), "").await;
    world.advance(SignedDuration::from_hours(2)).await;
    assert_eq!(
        world.errors(&ann, "createWebhook", input.clone()).await,
        ["NOT_FOUND input.idempotencyKey"]
    );
    world.advance(SignedDuration::from_hours(22)).await;
    let other = world.done(&ann, "createWebhook", input, "webhook { id }").await;
    assert_ne!(&other["webhook"]["id"], id);
}
