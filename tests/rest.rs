//! The REST routes, by tables of requests and responses: `rest/table.txt`, and `rest/own_general.txt` where apps see more (W4).
//!
//! The tables were written from the description of the routes, not from what the server returns. Rows run in their order. A row
//! is a request and, after `---`, its response: status, headers that it must have, and the whole JSON. A name after the status
//! keeps the webhook in the response for later rows. In requests `<…>` stands for tokens, the receiver's URL and numbers. In
//! responses it stands for a kind of value, or for a kept webhook. `!!!` says what happens between two rows.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};
use tenterhook_harness::client::raw::Exchange;
use tenterhook_harness::client::{Client, NewWebhook};
use tenterhook_harness::receiver::Receiver;
use tenterhook_harness::token::Claims;
use tenterhook_harness::world::{AppSees, World};

const TABLE: &str = include_str!("rest/table.txt");
/// Fewest rows of the table.
const FEWEST: usize = 40;
/// The table for servers where an app also sees the general webhooks of its user.
const OWN_GENERAL: &str = include_str!("rest/own_general.txt");
/// Fewest rows of that table.
const FEWEST_OF_OWN_GENERAL: usize = 25;
const APP: &str = "crm";
/// The header that every response has.
const GRAPHQL: &str = "</graphql>; rel=\"service\"";

/// A part of the table.
enum Part<'t> {
    Row(Row<'t>),
    Direction(&'t str),
}

struct Row<'t> {
    name: &'t str,
    method: &'t str,
    path: &'t str,
    headers: Vec<(&'t str, &'t str)>,
    body: Option<&'t str>,
    status: u16,
    /// The name under which the webhook in the response is kept.
    keep: Option<&'t str>,
    has: Vec<(&'t str, &'t str)>,
    answer: Value,
}

fn parts(table: &'static str) -> Vec<Part<'static>> {
    let mut parts = Vec::new();
    for block in table.split("\n=== ").skip(1) {
        let (block, directions) = match block.split_once("\n!!! ") {
            Some((block, directions)) => (block, directions),
            None => (block, ""),
        };
        parts.push(Part::Row(row(block)));
        let directions = directions.split("\n!!! ").map(str::trim);
        parts.extend(directions.filter(|text| !text.is_empty()).map(Part::Direction));
    }
    parts
}

fn row(block: &'static str) -> Row<'static> {
    let (name, rest) = block.split_once('\n').expect("a name");
    let (request, answer) = rest
        .split_once("\n--- ")
        .unwrap_or_else(|| panic!("{name}: no response"));
    let (head, body) = split(request);
    let (first, headers) = head.split_once('\n').unwrap_or((head, ""));
    let (method, path) = first.split_once(' ').expect("a method and a path");
    let (head, answer) = split(answer);
    let (first, has) = head.split_once('\n').unwrap_or((head, ""));
    let (status, keep) = match first.split_once(' ') {
        Some((status, keep)) => (status, Some(keep)),
        None => (first, None),
    };
    Row {
        name,
        method,
        path,
        headers: pairs(headers),
        body,
        status: status.parse().expect("a status"),
        keep,
        has: pairs(has),
        answer: answer.map_or(Value::Null, |answer| {
            serde_json::from_str(answer).unwrap_or_else(|error| panic!("{name}: {error}"))
        }),
    }
}

/// The text before the first empty line, and the text after it.
fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once("\n\n") {
        Some((head, body)) => (head, Some(body.trim()).filter(|body| !body.is_empty())),
        None => (text.trim_end(), None),
    }
}

fn pairs(lines: &'static str) -> Vec<(&'static str, &'static str)> {
    let pair = |line: &'static str| line.split_once(": ").expect("a name and a value");
    lines.lines().map(pair).collect()
}

struct Stage {
    world: World,
    receiver: Receiver,
    caller: Client,
    kept: BTreeMap<&'static str, Value>,
}

impl Stage {
    async fn new(world: World) -> Self {
        for user in [2, 9, 10] {
            let installed = world.company(1).app(APP).install(user).await;
            installed.expect("the platform may");
        }
        let receiver = world.receiver(200).await;
        let caller = world.anonymous(0);
        Self {
            world,
            receiver,
            caller,
            kept: BTreeMap::new(),
        }
    }

    fn token(&self, claims: &Claims) -> String {
        self.world.token_key().sign(claims, self.world.now())
    }

    /// The text with its placeholders replaced.
    fn fill(&self, text: &str) -> String {
        let regular = |user| Claims::user(1, user, "regular");
        let names = [
            ("user", regular(7)),
            ("another user", regular(8)),
            ("user, reading only", regular(7).with_scope("webhooks:read")),
            ("user, writing only", regular(7).with_scope("webhooks:write")),
            ("user at the limit", regular(11)),
            ("admin", Claims::user(1, 2, "admin")),
            ("foreigner", Claims::user(2, 7, "admin")),
            ("user with a broken receiver", Claims::user(3, 7, "regular")),
            ("app's user", regular(9)),
            ("app", regular(9).through_app(APP)),
            ("app for another user", regular(10).through_app(APP)),
            ("app for an admin", Claims::user(1, 2, "admin").through_app(APP)),
            (
                "app, without admin",
                regular(9)
                    .through_app(APP)
                    .with_scope("webhooks:read webhooks:write"),
            ),
            ("app, not installed", regular(12).through_app(APP)),
            ("platform", Claims::of_scope("platform")),
            ("operator", Claims::of_scope("operator")),
        ];
        let mut filled = text.to_owned();
        for (name, claims) in names {
            let place = format!("<{name}>");
            if filled.contains(&place) {
                filled = filled.replace(&place, &self.token(&claims));
            }
        }
        for (name, webhook) in &self.kept {
            filled = filled.replace(&format!("<number {name}>"), &webhook["id"].to_string());
        }
        filled
            .replace("<receiver>", &self.receiver.url())
            .replace("<256 letters>", &"n".repeat(256))
    }

    async fn send(&self, row: &Row<'_>) -> Exchange {
        let headers: Vec<(String, String)> = row
            .headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), self.fill(value)))
            .collect();
        let (path, body) = (self.fill(row.path), row.body.map(|body| self.fill(body)));
        let sent = self.caller.exchange(row.method, &path, &headers, body);
        sent.await
            .unwrap_or_else(|error| panic!("{}: {error:#}", row.name))
    }

    async fn play(&mut self, row: Row<'static>) {
        let exchange = self.send(&row).await;
        let name = row.name;
        assert_eq!(exchange.status, row.status, "{name}: {}", exchange.text);
        let header = |name: &str| {
            let value = exchange.headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        assert_eq!(
            header("content-type"),
            "application/json; charset=utf-8",
            "{name}"
        );
        assert_eq!(header("link"), GRAPHQL, "{name}");
        assert_eq!(header("cache-control"), "no-store", "{name}");
        for (of, value) in row.has {
            assert_eq!(header(of), value, "{name}: {of}");
        }
        let answer: Value = serde_json::from_str(&exchange.text)
            .unwrap_or_else(|error| panic!("{name}: {error}: {}", exchange.text));
        if let Err(fault) = self.fits(&row.answer, &answer) {
            panic!("{name}: {fault}\n{answer:#}");
        }
        if let Some(keep) = row.keep {
            let webhook = answer["data"].clone();
            let secret = answer["additional_data"]["signing_secret"].as_str();
            self.caller
                .note_secret(&webhook["id"].to_string(), secret.expect("a secret"))
                .expect("it can sign");
            self.kept.insert(keep, webhook);
        }
    }

    /// Whether a response is the expected one; otherwise where it differs.
    fn fits(&self, expected: &Value, answer: &Value) -> Result<(), String> {
        let within = |place: String| move |fault: String| format!("{place}.{fault}");
        match (expected, answer) {
            (Value::Object(fields), Value::Object(answered)) => {
                let names: BTreeSet<&String> = fields.keys().collect();
                let found: BTreeSet<&String> = answered.keys().collect();
                if names != found {
                    return Err(format!(": {found:?} are not {names:?}"));
                }
                fields.iter().try_for_each(|(name, field)| {
                    self.fits(field, &answered[name]).map_err(within(name.clone()))
                })
            }
            (Value::Array(entries), Value::Array(answered)) if entries.len() == answered.len() => {
                let mut pairs = entries.iter().zip(answered).enumerate();
                pairs.try_for_each(|(at, (entry, value))| {
                    self.fits(entry, value).map_err(within(at.to_string()))
                })
            }
            (Value::String(text), _) if text.starts_with('<') => match self.stands_for(text, answer) {
                true => Ok(()),
                false => Err(format!(": {answer} is not {text}")),
            },
            _ if expected == answer => Ok(()),
            _ => Err(format!(": {answer} is not {expected}")),
        }
    }

    /// Whether a placeholder stands for this value.
    fn stands_for(&self, place: &str, value: &Value) -> bool {
        let text = value.as_str().unwrap_or_default();
        match place {
            "<time>" => text.len() == 24 && text.ends_with('Z') && text.parse::<Timestamp>().is_ok(),
            "<number>" => value.as_u64().is_some_and(|number| number > 0),
            "<secret>" => text.starts_with("whsec_"),
            "<text>" => !text.is_empty(),
            "<receiver>" => text == self.receiver.url(),
            _ => {
                let name = place
                    .strip_prefix("<webhook ")
                    .and_then(|name| name.strip_suffix('>'));
                let kept = name.and_then(|name| self.kept.get(name));
                value == kept.unwrap_or_else(|| panic!("{place} stands for nothing"))
            }
        }
    }

    async fn direct(&self, direction: &str) {
        match direction {
            "the user at the limit creates 40 webhooks" => {
                let bearer = self.fill("Bearer <user at the limit>");
                let headers = [
                    ("authorization".to_owned(), bearer),
                    ("content-type".to_owned(), "application/json".to_owned()),
                ];
                let body = json!({
                    "subscription_url": self.receiver.url(), "event_action": "*", "event_object": "*", "name": "one of 40",
                });
                for number in 1..=40 {
                    let sent = self
                        .caller
                        .exchange("POST", "/v1/webhooks", &headers, Some(body.to_string()));
                    let created = sent.await.expect("it answers");
                    assert_eq!(created.status, 201, "{number}: {}", created.text);
                }
            }
            "a second passes" => self.world.advance("PT1S").await,
            "ten events fail" => {
                self.receiver.answer_with(500);
                for _ in 0..10 {
                    self.world.company(3).publish().await.expect("the platform may");
                    self.world.settle().await;
                }
            }
            _ => panic!("what happens here? {direction:?}"),
        }
    }
}

/// W1 to W3, W6, W7, W9 to W11: each request of the table gets its response.
#[tokio::test(flavor = "multi_thread")]
async fn each_request_of_the_table_gets_its_answer() {
    let world = World::builder().rest_query_token().start().await;
    play_table(world, TABLE, FEWEST).await;
}

/// W4, W6, W7: where an app also sees the general webhooks of its user, it lists them, and may not delete them.
#[tokio::test(flavor = "multi_thread")]
async fn each_request_gets_its_answer_where_apps_see_general_webhooks() {
    let world = World::builder().app_sees(AppSees::OwnGeneral).start().await;
    play_table(world, OWN_GENERAL, FEWEST_OF_OWN_GENERAL).await;
}

/// Plays a table that has at least this many rows.
async fn play_table(world: World, table: &'static str, fewest: usize) {
    let mut stage = Stage::new(world).await;
    let mut rows = 0;
    for part in parts(table) {
        match part {
            Part::Row(row) => {
                stage.play(row).await;
                rows += 1;
            }
            Part::Direction(direction) => stage.direct(direction).await,
        }
    }
    assert!(rows >= fewest, "only {rows} rows");
    stage.world.verify().await;
}

/// W11: a token in a query string is refused unless the operator allows it, even if a header has the same one.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_a_query_string_is_refused_by_default() {
    let stage = Stage::new(World::start().await).await;
    let ask = async |query: &str, headers: &[(String, String)]| {
        let path = stage.fill(&format!("/v1/webhooks{query}"));
        let asked = stage.caller.exchange("GET", &path, headers, None).await;
        asked.expect("it answers").status
    };
    let header = [("x-api-token".to_owned(), stage.fill("<user>"))];
    assert_eq!(ask("?api_token=<user>", &[]).await, 401);
    assert_eq!(ask("?api_token=<user>", &header).await, 401);
    assert_eq!(ask("?other=<user>", &header).await, 200);
}

/// Callers who have more webhooks than fit into a response read the rest with `start`, and see each webhook once.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_is_read_in_pages() {
    /// Users with 40 webhooks each.
    const USERS: u64 = 13;
    let stage = Stage::new(World::start().await).await;
    for user in 100..100 + USERS {
        let caller = stage.world.company(1).user(user);
        for _ in 0..40 {
            let new = NewWebhook::to(&stage.receiver.url());
            caller.create_webhook(new).await.expect("the user may");
        }
    }
    let headers = [("authorization".to_owned(), stage.fill("Bearer <admin>"))];
    let read = async |query: &str| {
        let path = format!("/v1/webhooks{query}");
        let read = stage.caller.exchange("GET", &path, &headers, None).await;
        let read: Value = serde_json::from_str(&read.expect("it answers").text).expect("JSON");
        let numbers: Vec<u64> = read["data"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|webhook| webhook["id"].as_u64().expect("a number"))
            .collect();
        (numbers, read["additional_data"]["pagination"].clone())
    };
    let (mut all, page) = read("").await;
    assert_eq!(all.len(), 500);
    assert_eq!(
        page,
        json!({"start": 0, "limit": 500, "more_items_in_collection": true, "next_start": 500})
    );
    let (rest, page) = read("?start=500").await;
    assert_eq!(
        page,
        json!({"start": 500, "limit": 500, "more_items_in_collection": false, "next_start": null})
    );
    all.extend(rest);
    assert_eq!(all.len() as u64, USERS * 40);
    let (last, _) = read(&format!("?start={}&limit=1", all.len() - 1)).await;
    assert_eq!(last, all[all.len() - 1..]);
    let once: BTreeSet<u64> = all.iter().copied().collect();
    assert_eq!(once.len(), all.len(), "each once");
}
