//! What a publication stores, for which webhooks, and how often.

use serde_json::json;
use tenterhook_harness::client::{NewEvent, NewWebhook, Refusal};
use tenterhook_harness::world::World;

use crate::scene::Scene;

/// E2: every webhook of the company that exists and matches action and object, in the words of its version, gets the
/// event.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_goes_to_every_webhook_that_matches() {
    let world = World::start().await;
    let receiver = world.receiver(200).await;
    let new = |path: &str| NewWebhook::to(&format!("{}/{path}", receiver.url()));
    let user = world.company(1).user(7);
    for webhook in [
        new("any").on("ANY", "*"),
        new("deals").on("ANY", "deal"),
        new("changes").on("CHANGE", "*"),
        new("changed-deals").on("CHANGE", "deal"),
        new("deleted-deals").on("DELETE", "deal"),
        new("leads").on("ANY", "lead"),
        new("updated-deals-v1").on("CHANGE", "deal").v1(),
        new("any-v1").v1(),
    ] {
        user.create_webhook(webhook).await.unwrap();
    }
    world
        .company(2)
        .user(7)
        .create_webhook(new("company-2"))
        .await
        .unwrap();
    let platform = world.platform();
    let to = async |event: NewEvent| {
        let before = receiver.journal().len();
        let published = platform
            .publish_one(event)
            .await
            .unwrap_or_else(|refusal| panic!("{refusal}"));
        world.settle().await;
        let arrivals = receiver.journal().all();
        let mut paths: Vec<_> = arrivals[before..]
            .iter()
            .map(|a| a.path.replace("/hook/", ""))
            .collect();
        paths.sort();
        assert_eq!(paths.len(), published.delivery_count as usize);
        paths
    };
    assert_eq!(
        to(NewEvent::new(1, "CHANGE", "deal", "1")).await,
        [
            "any",
            "any-v1",
            "changed-deals",
            "changes",
            "deals",
            "updated-deals-v1"
        ]
    );
    assert_eq!(
        to(NewEvent::new(1, "DELETE", "deal", "1")).await,
        ["any", "any-v1", "deals", "deleted-deals"]
    );
    assert_eq!(
        to(NewEvent::new(1, "CREATE", "lead", "1")).await,
        ["any", "leads"],
        "v1 knows no lead"
    );
    assert_eq!(
        to(NewEvent::new(1, "CHANGE", "activityType", "1")).await,
        ["any-v1"],
        "v2 knows no activityType"
    );
    assert_eq!(to(NewEvent::new(2, "CHANGE", "deal", "1")).await, ["company-2"]);
    world.verify().await;
}

/// E2: if the event lists the users who may see the object, only their webhooks get it.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_goes_only_to_users_who_may_see_the_object() {
    let world = World::start().await;
    let receiver = world.receiver(200).await;
    let company = world.company(1);
    let crm = company.app("crm").install(7).await.unwrap();
    for caller in [&company.user(7), &company.user(8), &company.admin(9), &crm] {
        caller
            .create_webhook(NewWebhook::to(&receiver.url()))
            .await
            .unwrap();
    }
    for (permitted, count) in [
        (json!(["7"]), 2),
        (json!(["8", "9"]), 2),
        (json!([]), 0),
        (json!(null), 4),
    ] {
        let event = company.deal_changed().with("permittedUserIds", permitted.clone());
        assert_eq!(
            world.platform().publish_one(event).await.unwrap().delivery_count,
            count,
            "{permitted}"
        );
    }
    world.settle().await;
    assert_eq!(receiver.journal().len(), 8);
    world.verify().await;
}

/// E3: the recipients of an event are determined at its publication. A later webhook does not get it.
#[tokio::test(flavor = "multi_thread")]
async fn a_later_webhook_gets_no_earlier_event() {
    let (scene, receiver) = Scene::new(500).await;
    scene.deliver().await;
    let later = scene
        .user
        .create_webhook(NewWebhook::to(&receiver.url()))
        .await
        .unwrap()
        .webhook;
    scene.world.advance("PT1H").await;
    assert_eq!(scene.user.deliveries(&later.id).await.unwrap(), []);
    scene.world.verify().await;
}

/// E1: within 24 hours a company publishes once with the same key. Repetitions return the first event.
#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_publishes_once_in_24_hours() {
    let (scene, receiver) = Scene::new(200).await;
    let platform = scene.world.platform();
    let event = scene
        .world
        .company(1)
        .deal_changed()
        .with("idempotencyKey", "change-8");
    let first = platform.publish_one(event.clone()).await.unwrap();
    assert_eq!((first.delivery_count, first.duplicate), (1, false));
    scene.world.advance("PT23H59M59.999S").await;
    let again = platform.publish_one(event.clone()).await.unwrap();
    assert_eq!((again.duplicate, &again.event), (true, &first.event));

    let elsewhere = NewEvent {
        company_id: "2".to_owned(),
        ..event.clone()
    };
    assert!(
        !platform.publish_one(elsewhere).await.unwrap().duplicate,
        "another company's key is another"
    );
    scene.world.advance("PT0.001S").await;
    let anew = platform.publish_one(event).await.unwrap();
    assert!(!anew.duplicate && anew.event != first.event);
    scene.world.settle().await;
    assert_eq!(receiver.journal().len(), 2);
    scene.world.verify().await;
}

/// E1: simultaneous publications with the same key, in one call and in several, still publish once.
#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_publications_under_one_key_make_one_event() {
    let world = World::builder().servers(2).start().await;
    let receiver = world.receiver(200).await;
    let scene = Scene::leading_to(world, &receiver.url()).await;
    let event = scene
        .world
        .company(1)
        .deal_changed()
        .with("idempotencyKey", "once");
    let publish = async |n: usize| {
        let claims = tenterhook_harness::token::Claims::of_scope("platform");
        scene
            .world
            .caller(n % 2, &claims)
            .publish(&[event.clone(), event.clone()])
            .await
    };
    let results = futures_util::future::join_all((0..20).map(publish)).await;
    let mut published = Vec::new();
    for result in results {
        published.extend(result.unwrap().events);
    }
    assert_eq!(published.iter().filter(|event| !event.duplicate).count(), 1);
    assert!(published.iter().all(|event| event.event == published[0].event));
    scene.world.settle().await;
    assert_eq!(receiver.journal().len(), 1);
    scene.world.verify().await;
}

/// E1: a key that was used with other content is a conflict for that event only.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_other_content_is_a_conflict_for_that_event_alone() {
    let (scene, receiver) = Scene::new(200).await;
    let platform = scene.world.platform();
    let event = |title: &str| {
        let data = json!({"id": 8, "title": title});
        NewEvent::new(1, "CHANGE", "deal", "8").with("data", data)
    };
    platform
        .publish_one(event("first").with("idempotencyKey", "k"))
        .await
        .unwrap();
    let batch = [
        event("a"),
        event("second").with("idempotencyKey", "k"),
        event("b"),
    ];
    let publication = platform.publish(&batch).await.unwrap();
    assert_eq!(
        publication
            .events
            .iter()
            .map(|event| event.index)
            .collect::<Vec<_>>(),
        [0, 2]
    );
    let [conflict] = &publication.user_errors[..] else {
        panic!("{:?}", publication.user_errors)
    };
    assert_eq!(
        (conflict.code.as_str(), conflict.path.get(..3)),
        (
            "IDEMPOTENCY_CONFLICT",
            Some(&["input".to_owned(), "events".to_owned(), "1".to_owned()][..]),
        )
    );
    scene.world.settle().await;
    assert_eq!(receiver.journal().len(), 3);
    scene.world.verify().await;
}

/// One invalid event refuses the whole call, and nothing is stored.
#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_event_refuses_the_whole_call() {
    let (scene, receiver) = Scene::new(200).await;
    let good = || NewEvent::new(1, "CHANGE", "deal", "8");
    for (bad, field) in [
        (NewEvent::new(1, "CHANGE", "unicorn", "8"), "object"),
        (NewEvent::new(1, "CHANGE", "*", "8"), "object"),
        (NewEvent::new(1, "ANY", "deal", "8"), "action"),
        (NewEvent::new(1, "CHANGE", "deal", "no spaces"), "objectId"),
        (NewEvent::new(0, "CHANGE", "deal", "8"), "companyId"),
        (good().with("userId", "-1"), "userId"),
        (good().with("data", "x".repeat(300 * 1024)), "data"),
    ] {
        let refusal = scene
            .world
            .platform()
            .publish(&[good(), bad.clone(), good()])
            .await
            .unwrap_err();
        let Refusal::User(errors) = &refusal else {
            panic!("{bad:?}: {refusal}")
        };
        assert_eq!(errors[0].path, ["input", "events", "1", field], "{refusal}");
    }
    scene.world.advance("PT1H").await;
    assert!(receiver.journal().is_empty());
    assert_eq!(scene.world.tally().await.accepted, 0);
    scene.world.verify().await;
}
