use super::*;

const FIGURES: &str = "from to succeeded failed lost cancelled attempts p50Ms p99Ms";

async fn stats(world: &World, token: &Token, webhook: &str, arguments: &str) -> Vec<Json> {
    let query = format!("query Q($id: ID!) {{ webhook(id: $id) {{ stats({arguments}) {{ {FIGURES} }} }} }}");
    let read = world.ask(token, &query, json!({ "id": webhook })).await;
    read["webhook"]["stats"].as_array().unwrap().clone()
}

/// `from succeeded failed lost cancelled attempts`, with `from` as minutes and seconds.
fn line(stats: &Json) -> String {
    let figures =
        ["succeeded", "failed", "lost", "cancelled", "attempts"].map(|name| stats[name].to_string());
    format!(
        "{} {}",
        &stats["from"].as_str().unwrap()[14..19],
        figures.join(" ")
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn r5_deliveries_and_attempts_count_in_the_bucket_of_their_end() {
    let world = World::new().await;
    let (ann, good, bad) = (world.user(1, 7), receiver(204).await, receiver(500).await);
    let healthy = world
        .webhook(&ann, json!({ "subscriptionUrl": good.uri() }))
        .await;
    let failing = world.webhook(&ann, json!({ "subscriptionUrl": bad.uri() })).await;
    // Published at 10:00:00; the failing webhook's retries are at 10:00:03, 10:00:33 and 10:03:03.
    world.publish(1, json!({})).await;
    world.settle().await;
    world
        .done(&ann, "testWebhook", json!({ "id": healthy }), "")
        .await;
    world.advance(SignedDuration::from_mins(4)).await;
    world
        .done(&ann, "pauseWebhook", json!({ "id": healthy }), "")
        .await;
    world.publish(1, json!({})).await;
    world.settle().await;
    // Before the retry that is due three seconds after the first try.
    world
        .done(&ann, "deleteWebhook", json!({ "id": failing }), "")
        .await;
    // The cancellation is recorded just after the response.
    world.settle().await;

    let asked = "since: \"2026-11-23T10:00:00Z\", until: \"2026-11-23T10:05:30Z\", bucket: \"PT2M\"";
    let good: Vec<Json> = stats(&world, &ann, &healthy, asked).await;
    assert_eq!(
        good.iter().map(line).collect::<Vec<_>>(),
        ["00:00 1 0 0 0 1", "02:00 0 0 0 0 0", "04:00 0 0 1 0 0"]
    );
    assert_eq!(good[0]["to"], good[1]["from"]);
    assert_eq!(good[2]["to"], "2026-11-23T10:05:30.000Z");
    assert!(good[0]["p50Ms"].is_number() && good[0]["p50Ms"] == good[0]["p99Ms"]);
    assert!(good[1]["p50Ms"].is_null() && good[2]["p99Ms"].is_null());
    let bad = stats(&world, &ann, &failing, asked).await;
    assert_eq!(
        bad.iter().map(line).collect::<Vec<_>>(),
        ["00:00 0 0 0 0 3", "02:00 0 1 0 0 1", "04:00 0 0 0 1 1"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_boundary_belongs_to_the_later_bucket() {
    let world = World::new().await;
    let (ann, good) = (world.user(1, 7), receiver(204).await);
    let id = world
        .webhook(&ann, json!({ "subscriptionUrl": good.uri() }))
        .await;
    world.publish(1, json!({})).await;
    world.settle().await;
    world.done(&ann, "pauseWebhook", json!({ "id": id }), "").await;
    world.advance(SignedDuration::from_mins(1)).await;
    world.publish(1, json!({})).await;
    let two = "since: \"2026-11-23T10:00:00Z\", until: \"2026-11-23T10:02:00Z\", bucket: \"PT1M\"";
    let read = stats(&world, &ann, &id, two).await;
    assert_eq!(
        read.iter().map(line).collect::<Vec<_>>(),
        ["00:00 1 0 0 0 1", "01:00 0 0 1 0 0"]
    );
    // At 10:01:00 the time until now does not include that instant yet.
    let read = stats(
        &world,
        &ann,
        &id,
        "since: \"2026-11-23T10:00:00Z\", bucket: \"PT1H\"",
    )
    .await;
    assert_eq!(read.iter().map(line).collect::<Vec<_>>(), ["00:00 1 0 0 0 1"]);
    assert_eq!(read[0]["to"], "2026-11-23T10:01:00.000Z");
    let read = stats(&world, &ann, &id, "since: \"2026-11-23T09:00:00Z\"").await;
    assert_eq!(read.len(), 13, "an hour and a minute in five minutes");
    for nothing in ["2026-11-23T10:01:00Z", "2030-01-01T00:00:00Z"] {
        assert_eq!(
            stats(&world, &ann, &id, &format!("since: \"{nothing}\"")).await,
            [Json::Null; 0]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn charts_are_bounded_and_need_the_right_to_read() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    let id = world.webhook(&ann, json!({})).await;
    let query = "query Q($id: ID!, $until: DateTime, $bucket: Duration) {
        webhook(id: $id) { stats(since: \"2026-11-23T00:00:00Z\", until: $until, bucket: $bucket) { lost } } }";
    let variables = |until: &str, bucket: &str| json!({ "id": id, "until": until, "bucket": bucket });
    let day = world
        .ask(&ann, query, variables("2026-11-24T00:00:00Z", "PT5M"))
        .await;
    assert_eq!(day["webhook"]["stats"].as_array().unwrap().len(), 288);
    for (until, bucket) in [
        ("2026-11-24T00:00:00.001Z", "PT5M"),
        ("2026-11-24T00:00:00Z", "PT4M59S"),
        ("2026-11-23T00:00:10Z", "PT0.999S"),
        ("2026-11-23T00:00:10Z", "PT0S"),
        ("2026-11-23T00:00:10Z", "-PT1H"),
        ("2026-11-23T00:00:10Z", "P1M"),
        ("2026-11-23T00:00:10Z", "5m"),
    ] {
        assert!(
            ["BAD_USER_INPUT", "GRAPHQL_VALIDATION_FAILED"].contains(
                &world
                    .refusal(&ann, query, variables(until, bucket))
                    .await
                    .as_str()
            ),
            "{until} {bucket}"
        );
    }
    let writes = world.token(json!({
        "company_id": "1", "sub": "7", "role": "regular", "scope": "webhooks:write"
    }));
    let query = "mutation M($id: ID!) { pauseWebhook(input: {id: $id}) {
        webhook { stats(since: \"2026-11-23T00:00:00Z\") { lost } } userErrors { code } } }";
    assert_eq!(
        world.refusal(&writes, query, json!({ "id": id })).await,
        "FORBIDDEN"
    );
}
