//! The REST routes: every caller sees and changes only what is theirs, as through GraphQL.

use std::collections::BTreeSet;

use serde_json::Value;
use tenterhook_harness::client::Client;
use tenterhook_harness::world::AppSees;

use super::access_matrix::{REST, Rest, status_of};
use super::assertions::Group::{Application, General};
use super::assertions::leaks_nothing;
use super::callers::{OPERATOR, everybody, find};
use super::fixture::{ELSEWHERE, Fixture, NEIGHBOUR, USER};
use super::none;

/// The description of the routes.
const DESCRIPTION: &str = include_str!("../../docs/openapi.json");

/// Sends a request. Returns status and text.
async fn send(client: &Client, method: &str, path: &str, body: &str) -> (u16, String) {
    let method = method.parse().expect("a method");
    let body = Some(body.to_owned()).filter(|body| !body.is_empty());
    let sent = client.send_raw(method, path, body).await;
    sent.unwrap_or_else(|error| panic!("{path}: {error:#}"))
}

/// A path with its placeholders replaced: the values have quotes for GraphQL.
fn unquoted(filled: &str) -> String {
    filled.replace('"', "")
}

/// A body with the number of a user.
fn of_user(body: &str, user: u64) -> String {
    body.replace("<user>", &user.to_string())
}

/// Every path and method of the description has a verdict, and every verdict is about one of them.
#[test]
fn every_route_has_a_verdict() {
    let description: Value = serde_json::from_str(DESCRIPTION).expect("it is JSON");
    let paths = description["paths"].as_object().expect("it has paths");
    let described = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().expect("methods").keys();
        methods.map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    let judged = REST.iter().map(|(method, path, ..)| {
        let path = path.split('?').next().unwrap_or_default();
        let path = match path.rsplit_once('/') {
            Some((list, id)) if id.starts_with('<') => format!("{list}/{{id}}"),
            _ => path.to_owned(),
        };
        format!("{method} {path}")
    });
    assert_eq!(
        judged.collect::<BTreeSet<_>>(),
        described.collect::<BTreeSet<_>>()
    );
    assert!(REST.iter().all(|(.., rule)| !rule.is_empty()));
}

/// Each request as every caller. Those without the right are refused without effect and learn nothing: what they may not see
/// gives the same response as what does not exist.
#[tokio::test(flavor = "multi_thread")]
async fn callers_use_only_routes_that_they_may_use() {
    for sees in [AppSees::Application, AppSees::OwnGeneral] {
        routes_where_apps_see(sees).await;
    }
}

async fn routes_where_apps_see(sees: AppSees) {
    let fixture = Fixture::where_apps_see(sees).await;
    let everybody = everybody(&fixture.world, sees);
    let operator = &find(&everybody, OPERATOR).client;
    let list = async || send(operator, "GET", "/v1/webhooks", "").await;
    let before = list().await;
    let mut found = Vec::new();
    for (method, route, body, may, _, rule) in REST {
        let (own, twin) = (
            unquoted(&fixture.fill(route)),
            unquoted(&fixture.fill_with_twins(route)),
        );
        for who in &everybody {
            let expected = status_of(who, *may, method);
            if matches!(may, Rest::Acts(_)) && expected < 300 {
                continue;
            }
            // The other company also has a user with this number, for whom its admin may create: name one who is only here.
            let only_here = who.admin && who.company == ELSEWHERE;
            let body = of_user(body, if only_here { NEIGHBOUR } else { USER });
            let (status, text) = send(&who.client, method, &own, &body).await;
            let mut fault = leaks_nothing(&text, &fixture.marks, &who.sees()).err();
            if status != expected {
                fault.get_or_insert(format!("{status} is not {expected}: {text}"));
            }
            if status == 200 {
                let shown = [General, Application]
                    .into_iter()
                    .filter(|group| who.sees().contains(group));
                for group in shown.filter(|group| *group == Application || !own.contains("type=")) {
                    let mut marks = fixture.marks.iter().filter(|mark| mark.of == [group]);
                    if !marks.any(|mark| text.contains(&mark.text)) {
                        fault.get_or_insert(format!("nothing of {group:?}: {text}"));
                    }
                }
            }
            if status == 404 && (status, text) != send(&who.client, method, &twin, &body).await {
                fault.get_or_insert("a webhook that does not exist gives another response".to_owned());
            }
            found.extend(fault.map(|fault| format!("{} ({rule}): {method} {own}\n    {fault}", who.name)));
        }
    }
    none(&found);
    assert_eq!(list().await, before, "refused requests change nothing");

    for (method, route, body, may, by, _) in REST.iter().filter(|(.., by, _)| !by.is_empty()) {
        let who = find(&everybody, by);
        let route = unquoted(&fixture.fill(route));
        let (status, text) = send(&who.client, method, &route, &of_user(body, USER)).await;
        assert_eq!(
            status,
            status_of(who, *may, method),
            "{by}: {method} {route}: {text}"
        );
    }
    fixture.world.settle().await;
    fixture.world.verify().await;
}
