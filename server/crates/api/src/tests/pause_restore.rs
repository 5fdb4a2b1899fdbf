use super::*;

const STATE: &str = "webhook { updatedAt removedAt health { state banCounter bannedUntil failingSince nextTransition { to } } }";

#[tokio::test(flavor = "multi_thread")]
async fn w13_deliveries_published_or_due_in_a_pause_are_lost() {
    let world = World::new().await;
    let (ann, failing) = (world.user(1, 7), receiver(500).await);
    let id = world
        .webhook(&ann, json!({ "subscriptionUrl": failing.uri() }))
        .await;
    let input = json!({ "id": id });
    world.publish(1, json!({})).await;
    world.settle().await;
    let paused = world.done(&ann, "pauseWebhook", input.clone(), STATE).await;
    assert_eq!(
        paused["webhook"]["health"],
        json!({ "state": "PAUSED", "banCounter": 1, "bannedUntil": null, "failingSince": null, "nextTransition": null })
    );
    assert_eq!(
        world.errors(&ann, "pauseWebhook", input.clone()).await,
        ["INVALID_STATE input.id"]
    );
    world.publish(1, json!({})).await;
    world.advance(SignedDuration::from_secs(3)).await;
    assert_eq!(world.fates(&ann, &id).await, ["LOST PAUSED", "LOST PAUSED"]);
    world.advance(SignedDuration::from_hours(100)).await;

    let resumed = world.done(&ann, "resumeWebhook", input.clone(), STATE).await;
    assert_eq!(
        (
            &resumed["webhook"]["health"]["state"],
            &resumed["webhook"]["health"]["banCounter"]
        ),
        (&json!("ACTIVE"), &json!(1))
    );
    assert_eq!(
        world.errors(&ann, "resumeWebhook", input).await,
        ["INVALID_STATE input.id"]
    );
    world.publish(1, json!({})).await;
    world.settle().await;
    assert_eq!(world.fates(&ann, &id).await[0], "PENDING -");
    assert_eq!(failing.received_requests().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn w13_a_retry_due_after_the_resumption_is_sent() {
    let world = World::new().await;
    let (ann, failing) = (world.user(1, 7), receiver(500).await);
    let id = world
        .webhook(&ann, json!({ "subscriptionUrl": failing.uri() }))
        .await;
    world.publish(1, json!({})).await;
    world.settle().await;
    world.done(&ann, "pauseWebhook", json!({ "id": id }), "").await;
    world.advance(SignedDuration::from_secs(2)).await;
    world.done(&ann, "resumeWebhook", json!({ "id": id }), "").await;
    world.advance(SignedDuration::from_secs(1)).await;
    assert_eq!(failing.received_requests().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn w13_a_ban_continues_during_a_pause() {
    let world = World::new().await;
    let (ann, failing) = (world.user(1, 7), receiver(500).await);
    let id = world
        .webhook(&ann, json!({ "subscriptionUrl": failing.uri() }))
        .await;
    let input = json!({ "id": id });
    for _ in 0..10 {
        world.publish(1, json!({})).await;
    }
    world.settle().await;
    let paused = world.done(&ann, "pauseWebhook", input.clone(), STATE).await;
    let health = &paused["webhook"]["health"];
    assert_eq!(
        (&health["state"], &health["bannedUntil"], &health["banCounter"]),
        (&json!("PAUSED"), &json!("2026-11-23T10:30:00.000Z"), &json!(10))
    );
    let resumed = world.done(&ann, "resumeWebhook", input.clone(), STATE).await;
    assert_eq!(resumed["webhook"]["health"]["state"], "BANNED");
    world.done(&ann, "pauseWebhook", input.clone(), "").await;
    world.advance(SignedDuration::from_mins(30)).await;
    let resumed = world.done(&ann, "resumeWebhook", input, STATE).await;
    let health = &resumed["webhook"]["health"];
    assert_eq!(
        (&health["state"], &health["bannedUntil"], &health["banCounter"]),
        (&json!("ACTIVE"), &Json::Null, &json!(0))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn w4_pause_resume_restore_and_rotate_need_the_right_to_change() {
    for (sees, code) in APP_SEES.into_iter().zip(["NOT_FOUND", "FORBIDDEN"]) {
        states_follow_the_right_to_change(sees, code).await;
    }
}

/// `code`: the refusal of an app that names its user's general webhook.
async fn states_follow_the_right_to_change(sees: AppSees, code: &str) {
    let world = World::where_apps_see(sees).await;
    let by_app = format!("{code} input.id");
    world.install("crm", 1, 7).await;
    let (ann, bob, admin) = (world.user(1, 7), world.user(1, 8), world.admin(1, 9));
    let crm = world.through("crm", 1, 7);
    let id = world.webhook(&ann, json!({})).await;
    let apps = world.webhook(&crm, json!({})).await;
    for name in [
        "pauseWebhook",
        "resumeWebhook",
        "restoreWebhook",
        "rotateWebhookSecret",
    ] {
        for (token, id, expected) in [
            (&bob, &id, "NOT_FOUND input.id"),
            (&crm, &id, by_app.as_str()),
            (&ann, &apps, "NOT_FOUND input.id"),
            (&admin, &apps, "NOT_FOUND input.id"),
            (&world.through("erp", 1, 7), &apps, "APP_NOT_INSTALLED input"),
        ] {
            assert_eq!(
                world.errors(token, name, json!({ "id": id })).await,
                [expected],
                "{name} {sees:?}"
            );
        }
        let kind = format!("{}{}", name[..1].to_uppercase(), &name[1..]);
        let query = format!(
            "mutation M($input: {kind}Input!) {{ {name}(input: $input) {{ userErrors {{ code }} }} }}"
        );
        for token in [world.operator(), world.platform()] {
            let input = json!({ "input": { "id": id } });
            assert_eq!(world.refusal(&token, &query, input).await, "FORBIDDEN", "{name}");
        }
    }
    world.done(&admin, "pauseWebhook", json!({ "id": id }), "").await;
    world.done(&crm, "pauseWebhook", json!({ "id": apps }), "").await;
    world.done(&ann, "deleteWebhook", json!({ "id": id }), "").await;
    for name in [
        "pauseWebhook",
        "resumeWebhook",
        "restoreWebhook",
        "rotateWebhookSecret",
    ] {
        assert_eq!(
            world.errors(&ann, name, json!({ "id": id })).await,
            ["INVALID_STATE input.id"],
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn w12_a_webhook_removed_for_failing_is_restored_in_30_days() {
    let mut settings = Settings::development();
    settings.policy.webhook_limit = 2;
    let world = World::with(settings).await;
    let (ann, failing) = (world.user(1, 7), receiver(500).await);
    let failing_one = json!({ "subscriptionUrl": failing.uri(), "eventObject": "deal" });
    let (id, late) = (
        world.webhook(&ann, failing_one.clone()).await,
        world.webhook(&ann, failing_one).await,
    );
    let input = json!({ "id": id });
    assert_eq!(
        world.errors(&ann, "restoreWebhook", input.clone()).await,
        ["INVALID_STATE input.id"]
    );
    for _ in 0..3 {
        world.publish(1, json!({})).await;
    }
    world.settle().await;
    world.advance(SignedDuration::from_hours(72)).await;
    let others = [
        world.webhook(&ann, json!({ "eventObject": "person" })).await,
        world.webhook(&ann, json!({ "eventObject": "person" })).await,
    ];
    let fields = "webhook { id } userErrors { ... on LimitReachedError { limit used scope } }";
    let refused = world.mutate(&ann, "restoreWebhook", input.clone(), fields).await;
    assert_eq!(
        refused["userErrors"][0],
        json!({
            "__typename": "LimitReachedError", "limit": 2, "used": 2, "scope": "GENERAL", "code": "LIMIT_REACHED",
            "message": "A user can have at most 2 general webhooks.", "path": ["input"]
        })
    );
    for other in &others {
        world
            .done(&ann, "deleteWebhook", json!({ "id": other }), "")
            .await;
    }
    let restored = world.done(&ann, "restoreWebhook", input.clone(), STATE).await;
    assert_eq!(
        restored["webhook"],
        json!({
            "updatedAt": "2026-11-26T10:00:00.000Z", "removedAt": null,
            "health": { "state": "ACTIVE", "banCounter": 0, "bannedUntil": null, "failingSince": null, "nextTransition": null }
        })
    );
    assert_eq!(
        world.errors(&ann, "restoreWebhook", input).await,
        ["INVALID_STATE input.id"]
    );
    world.publish(1, json!({})).await;
    world.settle().await;
    assert_eq!(world.fates(&ann, &id).await[0], "PENDING -");

    world.advance(SignedDuration::from_hours(30 * 24)).await;
    assert_eq!(
        world
            .errors(&world.user(1, 7), "restoreWebhook", json!({ "id": late }))
            .await,
        ["NOT_FOUND input.id"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn e7_a_rotation_signs_with_both_secrets_for_a_day() {
    let world = World::new().await;
    let (ann, receiver) = (world.user(1, 7), receiver(200).await);
    let input = json!({ "subscriptionUrl": receiver.uri(), "eventAction": "ANY", "eventObject": "*" });
    let created = world
        .done(&ann, "createWebhook", input, "webhook { id } signingSecret")
        .await;
    let id = json!({ "id": created["webhook"]["id"] });
    let rotated = world
        .done(
            &ann,
            "rotateWebhookSecret",
            id.clone(),
            "webhook { id } signingSecret previousExpiresAt",
        )
        .await;
    assert_eq!(rotated["previousExpiresAt"], "2026-11-24T10:00:00.000Z");
    let (old, new) = (
        created["signingSecret"].as_str().unwrap(),
        rotated["signingSecret"].as_str().unwrap(),
    );
    assert_ne!(old, new);
    let last = SignedDuration::from_hours(24) - SignedDuration::from_millis(1);
    for (wait, both) in [
        (SignedDuration::ZERO, true),
        (last, true),
        (SignedDuration::from_millis(1), false),
    ] {
        world.advance(wait).await;
        world.publish(1, json!({})).await;
        world.settle().await;
        let requests = receiver.received_requests().await.unwrap();
        let request = requests.last().unwrap();
        let text = |name: &str| request.headers[name].to_str().unwrap().to_owned();
        let timestamp = text("webhook-timestamp").parse().unwrap();
        let signed = |secrets: &[&str]| {
            let secrets: Vec<_> = secrets
                .iter()
                .map(|secret| tenterhook_policy::signing::SigningSecret::parse(secret).unwrap())
                .collect();
            tenterhook_policy::signing::sign(&secrets, &text("webhook-id"), timestamp, &request.body)
        };
        let expected = if both { signed(&[new, old]) } else { signed(&[new]) };
        assert_eq!(text("webhook-signature"), expected, "after {wait}");
    }
    let again = world.done(&ann, "rotateWebhookSecret", id, "signingSecret").await;
    assert_ne!(again["signingSecret"], *new);
}
