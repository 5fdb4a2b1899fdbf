use super::*;

fn ids(connection: &Json) -> Vec<String> {
    connection["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["id"].as_str().unwrap().to_owned())
        .collect()
}

/// Walks a connection `field(ARGS)` page by page, from either end, and returns the ids in the list's order.
async fn walk(
    world: &World,
    token: &Token,
    field: &str,
    args: &str,
    size: usize,
    from_end: bool,
) -> Vec<String> {
    let (count, bound, cursor, more) = if from_end {
        ("last", "before", "startCursor", "hasPreviousPage")
    } else {
        ("first", "after", "endCursor", "hasNextPage")
    };
    let query = format!(
        "query Q($cursor: String) {{ {field}({count}: {size}, {bound}: $cursor {args}) {{
            nodes {{ id }} edges {{ cursor node {{ id }} }} pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }}"
    );
    let (mut all, mut at) = (Vec::new(), Json::Null);
    loop {
        let page = world.ask(token, &query, json!({ "cursor": at })).await[field].take();
        let found = ids(&page);
        let edges: Vec<&str> = page["edges"]
            .as_array()
            .unwrap()
            .iter()
            .map(|edge| edge["node"]["id"].as_str().unwrap())
            .collect();
        assert_eq!(edges, found);
        assert!(found.len() <= size);
        all = if from_end {
            [found, all].concat()
        } else {
            [all, found].concat()
        };
        if page["pageInfo"][more] == json!(false) {
            return all;
        }
        at = page["pageInfo"][cursor].clone();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_paged_alike_in_every_order_and_direction() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    let mut created = Vec::new();
    for name in [
        json!("b"),
        json!(null),
        json!("a"),
        json!("b"),
        json!(null),
        json!("C"),
    ] {
        created.push(world.webhook(&ann, json!({ "name": name })).await);
        world.advance(SignedDuration::from_millis(1)).await;
    }
    let newest: Vec<String> = created.iter().rev().cloned().collect();
    let all = world
        .ask(
            &ann,
            "{ webhooks(orderBy: NAME_ASC) { totalCount nodes { id name } } }",
            json!({}),
        )
        .await;
    let by_name = ids(&all["webhooks"]);
    let names: Vec<Option<&str>> = all["webhooks"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["name"].as_str())
        .collect();
    assert_eq!(names[4..], [None, None]);
    assert!(names[..4].is_sorted());
    assert_eq!(all["webhooks"]["totalCount"], 6);
    for size in [1, 2, 4, 6, 7] {
        for from_end in [false, true] {
            assert_eq!(walk(&world, &ann, "webhooks", "", size, from_end).await, newest);
            assert_eq!(
                walk(&world, &ann, "webhooks", "orderBy: CREATED_ASC", size, from_end).await,
                created
            );
            assert_eq!(
                walk(&world, &ann, "webhooks", "orderBy: NAME_ASC", size, from_end).await,
                by_name
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_makes_no_sense_is_refused() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    world.webhook(&ann, json!({})).await;
    let page = world
        .ask(&ann, "{ webhooks { pageInfo { endCursor } } }", json!({}))
        .await;
    let cursor = page["webhooks"]["pageInfo"]["endCursor"].as_str().unwrap();
    for args in [
        "first: 0".to_owned(),
        "first: 101".to_owned(),
        "last: -1".to_owned(),
        "first: 1, last: 1".to_owned(),
        "after: \"x\"".to_owned(),
        format!("orderBy: NAME_ASC, after: \"{cursor}\""),
        "filter: {userId: \"x\"}".to_owned(),
    ] {
        let query = format!("{{ webhooks({args}) {{ totalCount }} }}");
        assert_eq!(
            world.refusal(&ann, &query, json!({})).await,
            "BAD_USER_INPUT",
            "{args}"
        );
    }
    let query = format!("{{ deliveries(after: \"{cursor}\") {{ totalCount }} }}");
    assert_eq!(world.refusal(&ann, &query, json!({})).await, "BAD_USER_INPUT");
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_filtered() {
    // Where an app's list has webhooks of both types.
    let world = World::where_apps_see(AppSees::OwnGeneral).await;
    world.install("crm", 1, 7).await;
    let (ann, crm) = (world.user(1, 7), world.through("crm", 1, 7));
    let deals = world
        .webhook(&ann, json!({ "eventAction": "CREATE", "eventObject": "deal", "subscriptionUrl": "http://127.0.0.1:9/Deals" }))
        .await;
    let crms = world.webhook(&crm, json!({})).await;
    for (args, expected) in [
        ("type: GENERAL", vec![&deals]),
        ("type: APPLICATION", vec![&crms]),
        ("filter: {state: [ACTIVE, BANNED]}", vec![&crms, &deals]),
        ("filter: {state: [BANNED, PAUSED, REMOVED]}", vec![]),
        ("filter: {state: []}", vec![]),
        ("filter: {eventAction: CREATE}", vec![&deals]),
        ("filter: {eventAction: ANY, eventObject: \"*\"}", vec![&crms]),
        ("filter: {userId: \"7\", companyId: \"1\"}", vec![&crms, &deals]),
        ("filter: {userId: \"8\"}", vec![]),
        ("filter: {companyId: \"2\"}", vec![]),
        ("filter: {appId: \"crm\"}", vec![&crms]),
        ("filter: {urlContains: \"dEALS\"}", vec![&deals]),
        ("filter: {urlContains: \"%\"}", vec![]),
    ] {
        let listed = world
            .ask(
                &crm,
                &format!("{{ webhooks({args}) {{ totalCount nodes {{ id }} }} }}"),
                json!({}),
            )
            .await;
        let (mut found, mut expected): (Vec<_>, Vec<_>) =
            (ids(&listed["webhooks"]), expected.into_iter().cloned().collect());
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{args}");
        assert_eq!(listed["webhooks"]["totalCount"], found.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_of_every_kind_are_in_one_list() {
    let world = World::new().await;
    let (ann, boss) = (world.user(1, 7), world.admin(1, 9));
    let (good, bad) = (receiver(204).await, receiver(500).await);
    let healthy = world
        .webhook(&ann, json!({ "subscriptionUrl": good.uri() }))
        .await;
    let failing = world.webhook(&ann, json!({ "subscriptionUrl": bad.uri() })).await;
    for _ in 0..12 {
        world.publish(1, json!({})).await;
        world.advance(SignedDuration::from_millis(10)).await;
    }
    world.settle().await;
    let query = "query Q($id: ID!) { webhook(id: $id) { health { state lostCount }
        pending: deliveries(status: [PENDING]) { totalCount } lost: deliveries(status: [LOST]) { totalCount nodes { reason } }
        none: deliveries(status: []) { totalCount nodes { id } }
        ended: deliveries(status: [SUCCEEDED, FAILED]) { totalCount } all: deliveries { totalCount } } }";
    let read = world.ask(&ann, query, json!({ "id": failing })).await["webhook"].take();
    assert_eq!(read["health"]["state"], "BANNED");
    assert_eq!(read["lost"]["totalCount"], read["health"]["lostCount"]);
    assert!(
        read["lost"]["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .all(|node| node["reason"] == "BANNED")
    );
    assert_eq!(
        (&read["none"]["totalCount"], &read["all"]["totalCount"]),
        (&json!(0), &json!(12))
    );
    let read = world.ask(&ann, query, json!({ "id": healthy })).await["webhook"].take();
    assert_eq!(
        (&read["ended"]["totalCount"], &read["pending"]["totalCount"]),
        (&json!(12), &json!(0))
    );

    let listed = world
        .ask(
            &boss,
            "{ deliveries(first: 100) { totalCount nodes { id createdAt } } }",
            json!({}),
        )
        .await;
    let all = ids(&listed["deliveries"]);
    assert_eq!((all.len(), &listed["deliveries"]["totalCount"]), (24, &json!(24)));
    let made: Vec<&str> = listed["deliveries"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["createdAt"].as_str().unwrap())
        .collect();
    assert!(made.is_sorted_by(|a, b| a >= b));
    for token in [&ann, &boss, &world.operator()] {
        for from_end in [false, true] {
            assert_eq!(walk(&world, token, "deliveries", "", 7, from_end).await, all);
        }
    }
    assert!(
        ids(&world
            .ask(&world.user(2, 7), "{ deliveries { nodes { id } } }", json!({}))
            .await["deliveries"])
        .is_empty()
    );
    let nodes = world
        .ask(
            &ann,
            "query Q($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }",
            json!({ "ids": [all[3], "x", healthy, all[0]] }),
        )
        .await;
    assert_eq!(
        nodes["nodes"],
        json!([{ "__typename": "Delivery", "id": all[3] }, null, { "__typename": "Webhook", "id": healthy }, { "__typename": "Delivery", "id": all[0] }])
    );
    let filter = |filter: Json| json!({ "filter": filter });
    let filtered = "query Q($filter: DeliveryFilter) { deliveries(filter: $filter) { totalCount nodes { event { id } } } }";
    let of = world
        .ask(
            &ann,
            filtered,
            filter(json!({ "webhookId": healthy, "since": made[1], "until": made[0] })),
        )
        .await;
    assert_eq!(of["deliveries"]["totalCount"], 0);
    let of = world
        .ask(
            &ann,
            filtered,
            filter(json!({ "webhookId": healthy, "since": made[2] })),
        )
        .await;
    assert_eq!(of["deliveries"]["totalCount"], 2);
    let event = &of["deliveries"]["nodes"][0]["event"]["id"];
    let of = world
        .ask(&ann, filtered, filter(json!({ "eventId": event })))
        .await;
    assert_eq!(of["deliveries"]["totalCount"], 2);
    let none = world
        .ask(&ann, filtered, filter(json!({ "webhookId": event })))
        .await;
    assert_eq!(none["deliveries"]["totalCount"], 0);
}
