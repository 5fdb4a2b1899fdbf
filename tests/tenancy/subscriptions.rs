//! Subscriptions: which subscribers get which events.

use serde_json::json;
use tenterhook_harness::world::AppSees;

use super::access_matrix::{SUBSCRIPTIONS, answer_to};
use super::assertions::{Expected, judge};
use super::callers::{Kind, OWNER, STRANGERS, everybody, find};
use super::fixture::{self, Fixture};
use super::{FAR, ask, called, mutation, none, schema};

/// Number of published events. Every second one is visible to everyone in the company. Ten failures ban the failing
/// webhook.
const EVENTS: usize = 24;
/// More than a subscription can get in this test.
const MOST_EVENTS: usize = 500;

/// Each subscription as every caller, while the user's webhooks change. Callers who cannot see them get nothing about
/// them, and get the events of their own webhooks.
#[tokio::test(flavor = "multi_thread")]
async fn every_subscription_sends_callers_only_their_own_events() {
    walk_subscriptions(AppSees::Application).await;
}

/// The same where apps also see the general webhooks of their user.
#[tokio::test(flavor = "multi_thread")]
async fn under_own_general_every_subscription_sends_callers_only_their_own_events() {
    walk_subscriptions(AppSees::OwnGeneral).await;
}

async fn walk_subscriptions(sees: AppSees) {
    let (schema, fixture) = (schema(), Fixture::where_apps_see(sees).await);
    let everybody = everybody(&fixture.world, sees);
    let mut followers = Vec::new();
    for who in &everybody {
        let Ok(mut live) = who.client.live().await else {
            assert_eq!(who.kind, Kind::Nobody, "{} may connect", who.name);
            continue;
        };
        assert_ne!(who.kind, Kind::Nobody, "{} may not connect", who.name);
        let mut followed = Vec::new();
        for row in SUBSCRIPTIONS {
            let (field, arguments, ..) = row;
            let kind = &schema.field("Subscription", field).expect("checked by name").kind;
            let call = fixture.fill(&called(field, arguments));
            let document = format!("subscription {{ {call} {{ {} }} }}", schema.everything(kind, FAR));
            let id = live
                .subscribe(&document, json!({}))
                .await
                .expect("the socket is open");
            followed.push((row, id));
        }
        followers.push((who, live, followed));
    }
    for event in [fixture::secret(), fixture::open()].iter().cycle().take(EVENTS) {
        let platform = fixture.world.platform();
        platform
            .publish_one(event.clone())
            .await
            .expect("the platform may publish");
        let elsewhere = fixture.world.company(fixture::ELSEWHERE).publish().await;
        elsewhere.expect("the platform may publish");
        fixture.world.settle().await;
    }
    let owner = &find(&everybody, OWNER).client;
    let change = mutation(&schema, "updateWebhook", "id: <general>, eventAction: CHANGE");
    ask(owner, &fixture.fill(&change)).await;
    let mut found = Vec::new();
    for (who, live, followed) in &mut followers {
        if STRANGERS.contains(&who.name) {
            let (_, id) = followed
                .iter()
                .find(|(row, _)| row.0 == "attemptRecorded")
                .expect("a row");
            // Each has at least this number of own events. The last ones come after all earlier events.
            for _ in 0..EVENTS / 2 {
                let event = live.event(id).await;
                let event = event.unwrap_or_else(|error| panic!("{}: {error}", who.name));
                let answer = json!({"data": event});
                found.extend(judge(&answer, &Expected::Own, &fixture.marks, &who.sees()).err());
            }
        }
        for ((field, arguments, gate, shows, _), id) in followed {
            let expected = answer_to(who, *gate, *shows);
            let mut told = Vec::new();
            let answer = loop {
                let events = live
                    .rest(id)
                    .await
                    .unwrap_or_else(|error| panic!("{}: {error}", who.name));
                told.extend(events.into_iter().map(|mut event| event["payload"].take()));
                let answer = match (&expected, &told[..]) {
                    (Expected::Refused(_), [errors]) => json!({"errors": errors}),
                    _ => json!({"data": told}),
                };
                let lacks = judge(&answer, &expected, &fixture.marks, &who.sees()).is_err();
                if !lacks || !matches!(expected, Expected::Shown(_)) || told.len() > MOST_EVENTS {
                    break answer;
                }
                // The event will come, because the server reads the feed continuously.
                let event = live.next(id).await;
                let mut event =
                    event.unwrap_or_else(|error| panic!("{}: {field}({arguments}): {error}", who.name));
                told.push(event["payload"].take());
            };
            let fault = judge(&answer, &expected, &fixture.marks, &who.sees()).err();
            found.extend(fault.map(|fault| format!("{}: {field}({arguments})\n    {fault}", who.name)));
        }
    }
    none(&found);
    fixture.world.verify().await;
}
