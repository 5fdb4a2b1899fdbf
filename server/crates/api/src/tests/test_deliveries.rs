use super::*;

const ATTEMPT: &str = "attempt {
    number startedAt httpStatus errorClass requestBody requestHeaders { name value } responseBody
    delivery { id status reason webhook { id } event { eventId action object objectId } attempts { number httpStatus } }
}";

#[tokio::test(flavor = "multi_thread")]
async fn d12_a_test_delivery_is_sent_at_once_and_leaves_no_trace() {
    let world = World::new().await;
    for (status, ending) in [(200, "SUCCEEDED"), (500, "FAILED")] {
        let (ann, receiver) = (world.user(1, 7), receiver(status).await);
        let input = json!({ "subscriptionUrl": receiver.uri(), "eventObject": "person" });
        let id = world.webhook(&ann, input).await;
        for _ in 0..11 {
            let payload = world
                .done(&ann, "testWebhook", json!({ "id": id }), ATTEMPT)
                .await;
            let attempt = &payload["attempt"];
            assert_eq!(
                (&attempt["number"], &attempt["httpStatus"]),
                (&json!(1), &json!(status))
            );
            assert_eq!(attempt["delivery"]["status"], ending);
            assert_eq!(attempt["delivery"]["webhook"]["id"], json!(id));
            assert_eq!(
                attempt["delivery"]["attempts"],
                json!([{ "number": 1, "httpStatus": status }])
            );
            let requests = receiver.received_requests().await.unwrap();
            let request = requests.last().unwrap();
            assert_eq!(attempt["requestBody"].as_str().unwrap().as_bytes(), request.body);
            let event = &attempt["delivery"]["event"];
            assert_eq!(event["eventId"], request.headers["webhook-id"].to_str().unwrap());
            assert_eq!(
                (&event["action"], &event["object"]),
                (&json!("CHANGE"), &json!("person"))
            );
            let node = "query Q($id: ID!) { node(id: $id) { id } }";
            let gone = json!({ "id": attempt["delivery"]["id"] });
            assert!(world.ask(&ann, node, gone).await["node"].is_null());
        }
        world.settle().await;
        let read = "query Q($id: ID!) { webhook(id: $id) {
            deliveries { totalCount } health { state banCounter failingSince lastAttemptAt } } }";
        assert_eq!(
            world.ask(&ann, read, json!({ "id": id })).await["webhook"],
            json!({
                "deliveries": { "totalCount": 0 },
                "health": { "state": "ACTIVE", "banCounter": 0, "failingSince": null, "lastAttemptAt": null }
            })
        );
    }
    let tally = world.engine.gauges().read().await.unwrap().all;
    assert_eq!((tally.accepted, tally.open), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn d12_the_ids_of_a_test_delivery_find_nothing() {
    let world = World::new().await;
    let (ann, receiver) = (world.user(1, 7), receiver(200).await);
    let id = world
        .webhook(&ann, json!({ "subscriptionUrl": receiver.uri() }))
        .await;
    let fields = "attempt { delivery { id event { id eventId } replayOf { id } } }";
    let payload = world.done(&ann, "testWebhook", json!({ "id": id }), fields).await;
    let delivery = &payload["attempt"]["delivery"];
    assert_eq!(delivery["replayOf"], Json::Null);
    let event = &delivery["event"];
    for caller in [&ann, &world.operator()] {
        let query = "query Q($ids: [ID!]!, $delivery: ID!, $event: ID!, $carried: ID!) {
            nodes(ids: $ids) { id }  delivery: node(id: $delivery) { id }  event: node(id: $event) { id }
            byId: event(id: $event) { id }  byCarried: event(id: $carried) { id }
            deliveries(filter: { eventId: $event }) { totalCount } }";
        let variables = json!({
            "ids": [delivery["id"], event["id"], id],
            "delivery": delivery["id"], "event": event["id"], "carried": event["eventId"]
        });
        assert_eq!(
            world.ask(caller, query, variables).await,
            json!({
                "nodes": [null, null, { "id": id }], "delivery": null, "event": null,
                "byId": null, "byCarried": null, "deliveries": { "totalCount": 0 }
            })
        );
    }
    let again = json!({ "deliveryIds": [delivery["id"]] });
    assert_eq!(
        world.errors(&ann, "replayDeliveries", again).await,
        ["NOT_FOUND input.deliveryIds.0"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn d12_a_test_delivery_waits_for_its_time_out_in_simulated_time() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    let receiver = MockServer::start().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200).set_delay(std::time::Duration::from_secs(3600)))
        .mount(&receiver)
        .await;
    let id = world
        .webhook(&ann, json!({ "subscriptionUrl": receiver.uri() }))
        .await;
    let clock = world.clock.simulation().unwrap();
    clock.stall_target(&receiver.address().to_string());
    let input = json!({ "id": id });
    let test = world.done(&ann, "testWebhook", input, ATTEMPT);
    let time = async {
        // The request has arrived once the receiver lists it.
        while receiver.received_requests().await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        world.advance(SignedDuration::from_secs(10)).await;
    };
    let (payload, ()) = tokio::join!(test, time);
    assert_eq!(payload["attempt"]["errorClass"], "TIMEOUT");
}

#[tokio::test(flavor = "multi_thread")]
async fn d12_a_paused_webhook_is_tested_and_a_removed_one_is_not() {
    let world = World::new().await;
    let (ann, receiver) = (world.user(1, 7), receiver(200).await);
    let id = world
        .webhook(&ann, json!({ "subscriptionUrl": receiver.uri() }))
        .await;
    let input = json!({ "id": id });
    world.done(&ann, "pauseWebhook", input.clone(), "").await;
    let payload = world.done(&ann, "testWebhook", input.clone(), ATTEMPT).await;
    assert_eq!(payload["attempt"]["httpStatus"], 200);
    assert_eq!(
        world
            .errors(&world.user(1, 8), "testWebhook", input.clone())
            .await,
        ["NOT_FOUND input.id"]
    );
    world.done(&ann, "deleteWebhook", input.clone(), "").await;
    assert_eq!(
        world.errors(&ann, "testWebhook", input).await,
        ["INVALID_STATE input.id"]
    );
}
