//! What subscribers get, from any server, and what they do not get.

use std::time::Duration;

use serde_json::{Value, json};
use tenterhook_harness::client::live::LiveClient;
use tenterhook_harness::client::{Client, NewWebhook};
use tenterhook_harness::realtime;
use tenterhook_harness::world::{AppSees, World};

const CHANGED: &str = "subscription($id: ID) { webhookChanged(id: $id) { id health { state banCounter } } }";
const RECORDED: &str = "subscription($id: ID) { attemptRecorded(webhookId: $id) { \
    number httpStatus requestBody delivery { id status webhook { id } } } }";
const POSTED: &str = "subscription { noticePosted { kind webhook { id } } }";

async fn banned(live: &mut LiveClient, subscription: &str) -> Value {
    loop {
        let event = live
            .event(subscription)
            .await
            .expect("the subscription stays open");
        if event["webhookChanged"]["health"]["state"] == "BANNED" {
            return event["webhookChanged"].clone();
        }
    }
}

/// A subscriber on one server gets within a second what another server records.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_on_one_server_sees_what_another_records() {
    let world = World::builder().servers(2).start().await;
    let receiver = world.receiver(200).await;
    let user = world.company(1).at(1).user(7);
    let webhook = user
        .create_webhook(NewWebhook::to(&receiver.url()))
        .await
        .unwrap()
        .webhook;
    let mut live = user.live().await.unwrap();
    let all = live.subscribe(RECORDED, json!({})).await.unwrap();
    let named = live.subscribe(RECORDED, json!({"id": webhook.id})).await.unwrap();

    world.company(1).at(0).publish().await.unwrap();
    world.settle().await;
    let seen = realtime::within(Duration::from_secs(10), live.event(&all)).await;
    let attempt = seen.expect("the event arrives in time").unwrap()["attemptRecorded"].clone();
    assert_eq!(
        (
            &attempt["number"],
            &attempt["httpStatus"],
            &attempt["delivery"]["status"]
        ),
        (&json!(1), &json!(200), &json!("SUCCEEDED")),
        "{attempt}"
    );
    assert_eq!(attempt["delivery"]["webhook"]["id"], webhook.id);
    assert!(attempt["requestBody"].as_str().unwrap().contains("\"deal\""));
    let same = live.event(&named).await.unwrap()["attemptRecorded"].clone();
    assert_eq!(same, attempt);

    // Half an hour later: no event comes twice, and new ones arrive.
    world.advance("PT30M").await;
    world.company(1).at(0).publish().await.unwrap();
    world.settle().await;
    let next = live.event(&all).await.unwrap()["attemptRecorded"].clone();
    assert_ne!(next["delivery"]["id"], attempt["delivery"]["id"]);
    live.event(&named).await.unwrap();
    assert_eq!(live.rest(&all).await.unwrap(), Vec::<Value>::new());
    world.verify().await;
}

/// R4, B2, B7: both servers send a ban and its end to subscribers, as a change and as a notice, however far time moves
/// at once.
#[tokio::test(flavor = "multi_thread")]
async fn both_servers_send_a_ban_and_its_end_to_subscribers() {
    let world = World::builder().servers(2).start().await;
    let receiver = world.receiver(500).await;
    let user = world.company(1).user(7);
    let create = user.create_webhook(NewWebhook::to(&receiver.url()));
    let webhook = create.await.unwrap().webhook;
    let mut followers = Vec::new();
    for server in 0..2 {
        let mut live = world.company(1).at(server).user(7).live().await.unwrap();
        let changes = live.subscribe(CHANGED, json!({"id": webhook.id})).await.unwrap();
        let notices = live.subscribe(POSTED, json!({})).await.unwrap();
        followers.push((live, changes, notices));
    }
    for _ in 0..10 {
        world.company(1).publish().await.unwrap();
        world.settle().await;
    }
    for (live, changes, notices) in &mut followers {
        let changed = banned(live, changes).await;
        assert_eq!(
            (&changed["id"], &changed["health"]["banCounter"]),
            (&json!(webhook.id), &json!(10))
        );
        let notice = live.event(notices).await.unwrap()["noticePosted"].clone();
        assert_eq!(notice, json!({"kind": "BANNED", "webhook": {"id": webhook.id}}));
    }
    world.advance("PT72H").await;
    for (live, _, notices) in &mut followers {
        for kind in [
            "BAN_ENDED",
            "FAILING_24H",
            "FAILING_48H",
            "FAILING_71H",
            "REMOVED",
        ] {
            let notice = live.event(notices).await.unwrap()["noticePosted"].clone();
            assert_eq!(notice["kind"], kind);
        }
        assert_eq!(live.rest(notices).await.unwrap(), Vec::<Value>::new());
    }
    world.verify().await;
}

/// The webhooks of the next events of a subscription to attempts, as many as there are `expected` names; then nothing more.
async fn recorded<'n>(
    live: &mut LiveClient,
    subscription: &str,
    names: &[(&'n str, String)],
    expected: &[&str],
) -> Vec<&'n str> {
    let mut seen = Vec::new();
    for _ in expected {
        let event = live.event(subscription).await.expect("the server responds");
        let id = &event["attemptRecorded"]["delivery"]["webhook"]["id"];
        let name = names.iter().find(|(_, known)| id == known);
        seen.push(name.expect("a webhook of this test").0);
    }
    assert_eq!(
        live.rest(subscription).await.expect("the server responds"),
        Vec::<Value>::new()
    );
    seen.sort_unstable();
    seen
}

/// Creates a webhook and returns its id.
async fn created(caller: &Client, url: &str) -> String {
    let created = caller.create_webhook(NewWebhook::to(url)).await;
    created.expect("the server responds").webhook.id
}

/// Subscriptions of these callers to all webhooks and to each of these.
async fn following(callers: &[Client], webhooks: &[(&str, String)]) -> Vec<(LiveClient, Vec<String>)> {
    let mut following = Vec::new();
    for caller in callers {
        let mut live = caller.live().await.expect("the server responds");
        let mut subscriptions = Vec::new();
        let ids = webhooks.iter().map(|(_, id)| json!({"id": id}));
        for which in ids.chain([json!({})]) {
            subscriptions.push(
                live.subscribe(RECORDED, which.clone())
                    .await
                    .expect("the server responds"),
            );
            subscriptions.push(live.subscribe(CHANGED, which).await.expect("the server responds"));
        }
        following.push((live, subscriptions));
    }
    following
}

/// W4–W6, W8: a caller who cannot see a webhook gets none of its events, and neither does an app that was uninstalled.
async fn only_what_the_caller_sees_is_sent(sees: AppSees) {
    let world = World::builder().servers(2).app_sees(sees).start().await;
    let receiver = world.receiver(200).await;
    let company = world.company(1);
    let crm = company.app("crm");
    crm.install(9).await.expect("the server responds");
    let through = crm.install(7).await.expect("the server responds");
    let mut names = vec![
        ("general", created(&company.user(7), &receiver.url()).await),
        ("application", created(&through, &receiver.url()).await),
    ];
    let seen_by_app = |own: &'static str| match sees {
        AppSees::Application => vec![own],
        AppSees::OwnGeneral => vec![own, "general"],
    };

    let remote = company.at(1).app("crm");
    let mut by_app = remote.acting_for(7).live().await.expect("the server responds");
    let of_app = by_app
        .subscribe(RECORDED, json!({}))
        .await
        .expect("the server responds");
    let named = json!({"id": names[0].1});
    let of_general = by_app
        .subscribe(RECORDED, named)
        .await
        .expect("the server responds");
    let mut by_user = company.at(1).user(7).live().await.expect("the server responds");
    let of_user = by_user
        .subscribe(RECORDED, json!({}))
        .await
        .expect("the server responds");
    let strangers = [
        company.at(1).user(8),
        world.company(2).at(1).admin(7),
        remote.acting_for_admin(9),
    ];
    let mut strangers = following(&strangers, &names).await;
    company.publish().await.expect("the server responds");
    world.settle().await;
    let expected = ["general"];
    assert_eq!(
        recorded(&mut by_user, &of_user, &names, &expected).await,
        expected
    );
    let expected = seen_by_app("application");
    assert_eq!(recorded(&mut by_app, &of_app, &names, &expected).await, expected);
    let expected = &expected[1..];
    assert_eq!(
        recorded(&mut by_app, &of_general, &names, expected).await,
        expected
    );

    crm.uninstall(7).await.expect("the server responds");
    company.publish().await.expect("the server responds");
    world.settle().await;
    by_user.event(&of_user).await.expect("the server responds");
    assert_eq!(
        by_app.rest(&of_app).await.expect("the server responds"),
        Vec::<Value>::new()
    );
    // After it is installed again, it gets new events, and none from the time between.
    names.push((
        "another",
        created(
            &crm.install(7).await.expect("the server responds"),
            &receiver.url(),
        )
        .await,
    ));
    company.publish().await.expect("the server responds");
    world.settle().await;
    let expected = seen_by_app("another");
    assert_eq!(recorded(&mut by_app, &of_app, &names, &expected).await, expected);
    let expected = &expected[1..];
    assert_eq!(
        recorded(&mut by_app, &of_general, &names, expected).await,
        expected
    );
    for (live, subscriptions) in &mut strangers {
        for subscription in subscriptions {
            assert_eq!(
                live.rest(subscription).await.expect("the server responds"),
                Vec::<Value>::new()
            );
        }
    }
    world.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn w4_an_app_gets_live_events_of_its_own_webhooks_only() {
    only_what_the_caller_sees_is_sent(AppSees::Application).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn w4_under_own_general_an_app_also_gets_events_of_general_webhooks() {
    only_what_the_caller_sees_is_sent(AppSees::OwnGeneral).await;
}

/// A server that stops tells its subscribers, and does not wait for them.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_closes_its_subscriptions() {
    let mut world = World::builder().servers(2).start().await;
    let mut live = world.company(1).at(1).user(7).live().await.unwrap();
    live.subscribe(CHANGED, json!({})).await.unwrap();
    let (closed, ()) = tokio::join!(live.closed(), world.stop(1));
    assert_eq!(closed.unwrap().0, 1001);
    world.verify().await;
}

/// While time passes, subscribers cause hardly any statements and do not delay it.
#[tokio::test(flavor = "multi_thread")]
async fn seventy_two_idle_hours_with_subscribers_cost_under_200_statements() {
    let world = World::builder().metered().start().await;
    let user = world.company(1).user(7);
    let receiver = world.receiver(200).await;
    user.create_webhook(NewWebhook::to(&receiver.url()))
        .await
        .unwrap();
    let mut live = user.live().await.unwrap();
    for document in [CHANGED, RECORDED, POSTED] {
        live.subscribe(document, json!({})).await.unwrap();
    }
    world.settle().await;
    let before = world.statements();
    world.advance("PT72H").await;
    let cost = world.statements() - before;
    assert!(cost < 200, "72 idle hours cost {cost} statements");
    world.verify().await;
}
