use super::*;

const NOTICES: &str = "query Q($filter: NoticeFilter, $first: Int, $after: String) {
    notices(filter: $filter, first: $first, after: $after) {
        totalCount nodes { id kind at message data webhook { id } } pageInfo { hasNextPage endCursor }
    }
}";

fn kinds(answer: &Json) -> Vec<&str> {
    let nodes = answer["notices"]["nodes"].as_array().unwrap();
    nodes.iter().map(|node| node["kind"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn r4_each_transition_has_one_notice_newest_first() {
    let world = World::new().await;
    let (ann, failing) = (world.user(1, 7), receiver(500).await);
    let id = world
        .webhook(&ann, json!({ "subscriptionUrl": failing.uri() }))
        .await;
    for _ in 0..10 {
        world.publish(1, json!({})).await;
    }
    world.settle().await;
    world.advance(SignedDuration::from_hours(72)).await;
    let all = world.ask(&ann, NOTICES, json!({})).await;
    assert_eq!(
        kinds(&all),
        [
            "REMOVED",
            "FAILING_71H",
            "FAILING_48H",
            "FAILING_24H",
            "BAN_ENDED",
            "BANNED"
        ]
    );
    assert_eq!(all["notices"]["totalCount"], 6);
    let nodes = all["notices"]["nodes"].as_array().unwrap();
    assert_eq!(
        (&nodes[5]["at"], &nodes[5]["data"], &nodes[5]["webhook"]["id"]),
        (
            &json!("2026-11-23T10:00:00.000Z"),
            &json!({ "failedFirstTries": 10, "bannedUntil": "2026-11-23T10:30:00.000Z" }),
            &json!(id)
        )
    );
    assert_eq!(
        (&nodes[0]["at"], &nodes[0]["data"]),
        (
            &json!("2026-11-26T10:00:00.000Z"),
            &json!({ "failingSince": "2026-11-23T10:00:00.000Z" })
        )
    );
    for (filter, expected) in [
        (
            json!({ "kind": ["BANNED", "REMOVED"] }),
            vec!["REMOVED", "BANNED"],
        ),
        (json!({ "kind": [] }), vec![]),
        (
            json!({ "since": "2026-11-26T09:00:00.000Z" }),
            vec!["REMOVED", "FAILING_71H"],
        ),
        (
            json!({ "webhookId": id, "kind": ["BAN_ENDED"] }),
            vec!["BAN_ENDED"],
        ),
        (json!({ "webhookId": "nothing" }), vec![]),
    ] {
        let found = world.ask(&ann, NOTICES, json!({ "filter": filter })).await;
        assert_eq!(kinds(&found), expected, "{filter}");
    }
    let first = world.ask(&ann, NOTICES, json!({ "first": 4 })).await;
    assert_eq!(first["notices"]["pageInfo"]["hasNextPage"], true);
    let after = json!({ "first": 4, "after": first["notices"]["pageInfo"]["endCursor"] });
    let rest = world.ask(&ann, NOTICES, after).await;
    assert_eq!(kinds(&rest), ["BAN_ENDED", "BANNED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn r4_every_recovery_has_a_notice() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    let receiver = MockServer::start().await;
    let answers = |status: u16, times: u64| {
        Mock::given(any())
            .respond_with(ResponseTemplate::new(status))
            .up_to_n_times(times)
            .mount(&receiver)
    };
    answers(500, 1).await;
    answers(200, 1).await;
    answers(500, 4).await;
    answers(200, 1).await;
    world
        .webhook(&ann, json!({ "subscriptionUrl": receiver.uri() }))
        .await;
    for hours in [1, 24] {
        world.publish(1, json!({})).await;
        world.settle().await;
        world.advance(SignedDuration::from_hours(hours)).await;
    }
    world.publish(1, json!({})).await;
    world.settle().await;
    let all = world.ask(&ann, NOTICES, json!({})).await;
    assert_eq!(kinds(&all), ["RECOVERED", "FAILING_24H", "RECOVERED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn r4_w4_callers_see_the_notices_of_webhooks_that_they_see() {
    for (sees, by_app) in APP_SEES.into_iter().zip([1, 2]) {
        notices_are_seen_with_their_webhooks(sees, by_app).await;
    }
}

/// `by_app`: the number of notices that the app sees. One of them is about its own webhook.
async fn notices_are_seen_with_their_webhooks(sees: AppSees, by_app: usize) {
    let world = World::where_apps_see(sees).await;
    for user in [7, 9] {
        world.install("crm", 1, user).await;
    }
    let (ann, crm, failing) = (world.user(1, 7), world.through("crm", 1, 7), receiver(500).await);
    let hook = json!({ "subscriptionUrl": failing.uri() });
    world.webhook(&ann, hook.clone()).await;
    world.webhook(&crm, hook).await;
    for _ in 0..10 {
        world.publish(1, json!({})).await;
    }
    world.settle().await;
    for (token, expected) in [
        (&ann, 1),
        (&crm, by_app),
        (&world.admin(1, 9), 1),
        (&world.through_as("admin", "crm", 1, 9), 0),
        (&world.user(1, 8), 0),
        (&world.admin(2, 9), 0),
        (&world.through("erp", 1, 7), 0),
        (&world.operator(), 2),
    ] {
        let seen = world.ask(token, NOTICES, json!({})).await;
        assert_eq!(
            (kinds(&seen).len(), &seen["notices"]["totalCount"]),
            (expected, &json!(expected)),
            "{sees:?}"
        );
    }
    assert_eq!(
        world.refusal(&world.platform(), NOTICES, json!({})).await,
        "FORBIDDEN"
    );
    let seen = world.ask(&ann, NOTICES, json!({})).await;
    let node = "query Q($id: ID!) { node(id: $id) { id ... on Notice { kind } } }";
    let id = json!({ "id": seen["notices"]["nodes"][0]["id"] });
    assert_eq!(world.ask(&ann, node, id.clone()).await["node"]["kind"], "BANNED");
    assert!(world.ask(&world.user(1, 8), node, id).await["node"].is_null());
}
