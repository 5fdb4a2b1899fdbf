use super::*;

const DELIVERY: &str = "id status reason createdAt nextAttemptAt finishedAt replayOf { id } webhook { id } event { id eventId }
    attempts { number startedAt endedAt durationMs timings { firstByteMs } httpStatus errorClass errorMessage
               requestHeaders { name value } requestBody responseHeaders { name value } responseBody responseTruncated
               delivery { id } }";

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_can_be_followed_from_publication_to_its_attempt() {
    let world = World::new().await;
    let (ann, receiver) = (world.user(1, 7), receiver(200).await);
    let webhook = world
        .webhook(
            &ann,
            json!({ "subscriptionUrl": receiver.uri(), "httpAuthUser": "ann", "httpAuthPassword": "secret" }),
        )
        .await;
    let event = world.publish(1, json!({})).await;
    world.settle().await;
    let query = format!(
        "query Q($webhook: ID!, $event: ID!) {{ webhook(id: $webhook) {{ deliveries {{ totalCount nodes {{ {DELIVERY} }} }} }}
          event(id: $event) {{ action object objectId acceptedAt occurredAt deliveries {{ totalCount nodes {{ id }} }} }} }}"
    );
    let read = world
        .ask(&ann, &query, json!({ "webhook": webhook, "event": event }))
        .await;
    let deliveries = &read["webhook"]["deliveries"];
    assert_eq!(deliveries["totalCount"], 1);
    let delivery = &deliveries["nodes"][0];
    assert_eq!(
        (&delivery["status"], &delivery["reason"]),
        (&json!("SUCCEEDED"), &Json::Null)
    );
    assert_eq!(delivery["finishedAt"], "2026-11-23T10:00:00.000Z");
    assert_eq!(
        (&delivery["webhook"]["id"], &delivery["event"]["id"]),
        (&json!(webhook), &json!(event))
    );
    assert_eq!(
        read["event"]["deliveries"],
        json!({ "totalCount": 1, "nodes": [{ "id": delivery["id"] }] })
    );

    let attempt = &delivery["attempts"][0];
    assert_eq!(
        (&attempt["number"], &attempt["httpStatus"], &attempt["errorClass"]),
        (&json!(1), &json!(200), &Json::Null)
    );
    assert_eq!(attempt["responseBody"], "seen");
    let sent = &receiver.received_requests().await.unwrap()[0];
    assert_eq!(attempt["requestBody"].as_str().unwrap().as_bytes(), sent.body);
    for header in attempt["requestHeaders"].as_array().unwrap() {
        let (name, value) = (
            header["name"].as_str().unwrap(),
            header["value"].as_str().unwrap(),
        );
        let was = sent
            .headers
            .get(name)
            .unwrap_or_else(|| panic!("{name} was not sent"))
            .to_str()
            .unwrap();
        match name {
            "authorization" => assert_eq!(value, "Basic [redacted]"),
            "webhook-signature" => assert_eq!(value, "v1,[redacted]"),
            _ => assert_eq!(value, was, "{name}"),
        }
    }
    let carried = delivery["event"]["eventId"].as_str().unwrap();
    assert_eq!(sent.headers["webhook-id"], carried);
    let by_carried = "query Q($id: ID!) { event(id: $id) { id } }";
    for token in [&ann, &world.operator()] {
        assert_eq!(
            world.ask(token, by_carried, json!({ "id": carried })).await["event"]["id"],
            json!(event)
        );
    }
    assert!(
        world
            .ask(&world.user(2, 7), by_carried, json!({ "id": carried }))
            .await["event"]
            .is_null()
    );
    let health = world
        .ask(&ann, "query Q($id: ID!) { webhook(id: $id) { health { lastSuccessAt lastAttemptAt lastHttpStatus } } }", json!({ "id": webhook }))
        .await;
    assert_eq!(
        health["webhook"]["health"],
        json!({ "lastSuccessAt": "2026-11-23T10:00:00.000Z", "lastAttemptAt": "2026-11-23T10:00:00.000Z", "lastHttpStatus": 200 })
    );
}

/// An operator has no company, so the id in payloads tells it no lane. It finds the deliveries anyway, and so does the
/// company's own caller, by either id.
#[tokio::test(flavor = "multi_thread")]
async fn an_events_deliveries_are_found_by_the_id_in_its_payloads() {
    let world = World::new().await;
    let (ann, receiver) = (world.user(1, 7), receiver(200).await);
    world
        .webhook(&ann, json!({ "subscriptionUrl": receiver.uri() }))
        .await;
    let event = world.publish(1, json!({})).await;
    let other = world.publish(1, json!({})).await;
    world.settle().await;
    let requests = receiver.received_requests().await.unwrap();
    let carried = requests
        .iter()
        .map(|request| request.headers["webhook-id"].to_str().unwrap());
    let carried: Vec<&str> = carried.collect();
    assert_eq!(carried.len(), 2);
    let query = "query Q($id: ID!) { deliveries(filter: { eventId: $id }) { totalCount nodes { event { id eventId } } } }";
    for (token, count) in [(&ann, 1), (&world.operator(), 1), (&world.user(2, 7), 0)] {
        for id in [event.as_str(), &other, carried[0], carried[1]] {
            let found = world.ask(token, query, json!({ "id": id })).await;
            assert_eq!(found["deliveries"]["totalCount"], count, "{id}");
            for node in found["deliveries"]["nodes"].as_array().unwrap() {
                assert!(
                    node["event"]["id"] == id || node["event"]["eventId"] == id,
                    "{node}"
                );
            }
        }
    }
    let unknown = json!({ "id": "019ab0b4-6d80-7abc-8def-0123456789ab" });
    let found = world.ask(&world.operator(), query, unknown).await;
    assert_eq!(found["deliveries"]["totalCount"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn e2_w4_callers_see_events_of_objects_that_they_may_see() {
    for sees in APP_SEES {
        let world = World::where_apps_see(sees).await;
        for user in [7, 9] {
            world.install("crm", 1, user).await;
        }
        let event = world.publish(1, json!({ "permittedUserIds": ["7"] })).await;
        let query = "query Q($id: ID!) { event(id: $id) { id } node(id: $id) { id } }";
        for (token, seen) in [
            (world.user(1, 7), true),
            (world.user(1, 8), false),
            (world.admin(1, 9), true),
            (world.admin(2, 7), false),
            (world.through("crm", 1, 7), true),
            (world.through("erp", 1, 7), false),
            (world.through_as("admin", "crm", 1, 9), false),
            (world.operator(), true),
            (world.platform(), true),
        ] {
            let read = world.ask(&token, query, json!({ "id": event })).await;
            assert_eq!((read["event"].is_null(), read["node"].is_null()), (!seen, !seen));
        }
    }
}

/// W4: an event was delivered to webhooks of both types. An app sees only the deliveries to the webhooks that it sees.
#[tokio::test(flavor = "multi_thread")]
async fn w4_an_app_sees_deliveries_of_the_webhooks_that_it_sees() {
    for (sees, by_app) in APP_SEES.into_iter().zip([1, 2]) {
        let world = World::where_apps_see(sees).await;
        for user in [7, 9] {
            world.install("crm", 1, user).await;
        }
        let receiver = receiver(200).await;
        let (ann, crm) = (world.user(1, 7), world.through("crm", 1, 7));
        for token in [&ann, &crm] {
            world
                .webhook(token, json!({ "subscriptionUrl": receiver.uri() }))
                .await;
        }
        let event = world.publish(1, json!({})).await;
        world.settle().await;
        let list = "totalCount nodes { id attempts { requestBody } }";
        let query = format!(
            "query Q($id: ID!) {{ event(id: $id) {{ deliveries {{ {list} }} }} deliveries {{ {list} }} }}"
        );
        let mut all = Vec::new();
        for (token, expected) in [
            (&world.operator(), 2),
            (&ann, 1),
            (&crm, by_app),
            (&world.through_as("admin", "crm", 1, 9), 0),
        ] {
            let read = world.ask(token, &query, json!({ "id": event })).await;
            for deliveries in [&read["event"]["deliveries"], &read["deliveries"]] {
                let nodes = deliveries["nodes"].as_array().unwrap();
                assert_eq!(
                    (nodes.len(), &deliveries["totalCount"]),
                    (expected, &json!(expected)),
                    "{sees:?}"
                );
                assert!(
                    nodes
                        .iter()
                        .all(|node| node["attempts"].as_array().unwrap().len() == 1)
                );
            }
            let nodes = read["deliveries"]["nodes"].as_array().unwrap();
            all.extend(nodes.iter().map(|node| node["id"].clone()));
        }
        let nodes = "query Q($ids: [ID!]!) { nodes(ids: $ids) { id } }";
        // The first two ids are the operator's, who sees both deliveries.
        let read = world.ask(&crm, nodes, json!({ "ids": all[..2] })).await;
        let shown = read["nodes"].as_array().unwrap();
        assert_eq!(
            shown.iter().filter(|node| !node.is_null()).count(),
            by_app,
            "{sees:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e1_a_key_publishes_once_and_a_conflict_stops_no_other_event() {
    let world = World::new().await;
    world.webhook(&world.user(1, 7), json!({})).await;
    let event = |key: &str, object: &str| json!({ "companyId": "1", "action": "CREATE", "object": "deal", "objectId": object, "userId": "1", "idempotencyKey": key });
    let fields = "events { index duplicate deliveryCount event { eventId } }";
    let platform = world.platform();
    let first = world
        .done(
            &platform,
            "publishEvents",
            json!({ "events": [event("k", "1")] }),
            fields,
        )
        .await;
    assert_eq!(
        (
            &first["events"][0]["duplicate"],
            &first["events"][0]["deliveryCount"]
        ),
        (&json!(false), &json!(1))
    );
    let events = json!({ "events": [event("k", "2"), event("k", "1"), event("l", "3")] });
    let second = world.mutate(&platform, "publishEvents", events, fields).await;
    assert_eq!(
        line(&second["userErrors"][0]),
        "IDEMPOTENCY_CONFLICT input.events.0.idempotencyKey"
    );
    let published = second["events"].as_array().unwrap();
    assert_eq!(
        (&published[0]["index"], &published[0]["duplicate"]),
        (&json!(1), &json!(true))
    );
    assert_eq!(
        published[0]["event"]["eventId"],
        first["events"][0]["event"]["eventId"]
    );
    assert_eq!(
        (&published[1]["index"], &published[1]["duplicate"]),
        (&json!(2), &json!(false))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_invalid_event_refuses_the_whole_call() {
    let world = World::new().await;
    let good =
        json!({ "companyId": "1", "action": "CREATE", "object": "deal", "objectId": "1", "userId": "1" });
    let mut wrong = good.clone();
    wrong["object"] = json!("dragon");
    let payload = world
        .mutate(
            &world.platform(),
            "publishEvents",
            json!({ "events": [good, wrong] }),
            "events { index }",
        )
        .await;
    assert_eq!(
        line(&payload["userErrors"][0]),
        "NOT_IN_CATALOG input.events.1.object"
    );
    assert_eq!(payload["events"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_shows_the_catalogue_of_the_policy() {
    let world = World::new().await;
    let query =
        "{ v2: eventCatalog { version actions objects } v1: eventCatalog(version: V1) { actions objects } }";
    let catalog = world.ask(&world.user(1, 7), query, json!({})).await;
    assert_eq!(catalog["v2"]["actions"], json!(["CREATE", "CHANGE", "DELETE"]));
    assert_eq!(
        catalog["v1"]["actions"],
        json!(["CREATE", "CHANGE", "MERGE", "DELETE"])
    );
    assert!(
        catalog["v2"]["objects"]
            .as_array()
            .unwrap()
            .contains(&json!("lead"))
    );
    assert!(
        catalog["v1"]["objects"]
            .as_array()
            .unwrap()
            .contains(&json!("activityType"))
    );
}
