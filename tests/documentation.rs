//! `docs/graphql.md` is correct: this test runs its operations as written, in order.
//!
//! A code block marked `graphql CALLER` is an operation; a `json` block after it has its variables. In variables,
//! `<Operation.path>` stands for a value from the response to an earlier operation. An HTML comment says what happens
//! between two operations.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tenterhook_harness::client::Client;
use tenterhook_harness::client::live::LiveClient;
use tenterhook_harness::receiver::Receiver;
use tenterhook_harness::token::Claims;
use tenterhook_harness::world::World;

const PAGE: &str = include_str!("../docs/graphql.md");
/// The URL of the page's webhook. The test replaces it by that of a receiver.
const RECEIVER: &str = "https://hooks.example.com/deals";
/// The page has at least this number of operations.
const FEWEST: usize = 20;

/// The parts of the page, without prose.
enum Part {
    Operation {
        caller: String,
        document: String,
        variables: String,
    },
    Direction(String),
}

fn parts() -> Vec<Part> {
    let mut parts = Vec::new();
    let mut lines = PAGE.lines();
    while let Some(line) = lines.next() {
        if let Some(direction) = line.strip_prefix("<!-- ") {
            parts.push(Part::Direction(direction.trim_end_matches(" -->").to_owned()));
        }
        let Some(marks) = line.strip_prefix("```") else {
            continue;
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let block = block.join("\n");
        match marks.split_once(' ').unwrap_or((marks, "")) {
            ("graphql", caller) => parts.push(Part::Operation {
                caller: caller.to_owned(),
                document: block,
                variables: "{}".to_owned(),
            }),
            ("json", "") => match parts.last_mut() {
                Some(Part::Operation { variables, .. }) => *variables = block,
                _ => panic!("variables without an operation: {block}"),
            },
            _ => panic!("a block of another kind: {marks}"),
        }
    }
    parts
}

/// The kind (`query`, `mutation` or `subscription`) and the name of an operation.
fn head(document: &str) -> (&str, &str) {
    let (kind, rest) = document.split_once(' ').expect("an operation has a name");
    let name = rest.split(['(', ' ']).next().unwrap_or_default();
    (kind, name)
}

/// Whether a list in the response is empty.
fn has_empty_page(data: &Value) -> bool {
    let is_list = |name: &str| ["nodes", "stats", "deliveries"].contains(&name);
    match data {
        Value::Object(fields) => fields
            .iter()
            .any(|(name, value)| (is_list(name) && *value == json!([])) || has_empty_page(value)),
        Value::Array(entries) => entries.iter().any(has_empty_page),
        _ => false,
    }
}

struct Stage {
    world: World,
    receiver: Receiver,
    answers: BTreeMap<String, Value>,
    /// Subscriptions without an event so far: name, connection, and the id of the operation.
    listening: Vec<(String, LiveClient, String)>,
}

impl Stage {
    fn caller(&self, caller: &str) -> Client {
        match caller {
            "user" => self.world.caller(0, &Claims::user(1, 1, "regular")),
            "platform" => self.world.platform(),
            _ => panic!("whose token? {caller:?}"),
        }
    }

    async fn run(&mut self, caller: &str, document: &str, variables: &str) {
        let (kind, name) = head(document);
        let variables = variables.replace(RECEIVER, &self.receiver.url());
        let mut variables: Value =
            serde_json::from_str(&variables).unwrap_or_else(|error| panic!("{name}'s variables: {error}"));
        self.fill(name, &mut variables);
        if kind == "subscription" {
            let mut live = self.caller(caller).live().await.expect("a socket");
            let subscription = live.subscribe(document, variables).await.expect("it is open");
            self.listening.push((name.to_owned(), live, subscription));
            return;
        }
        let data = self
            .caller(caller)
            .query(document, variables)
            .await
            .unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        for (field, answered) in data.as_object().into_iter().flatten() {
            assert!(!answered.is_null(), "{name}: {field} is null");
            let errors = answered.get("userErrors");
            assert!(
                errors.is_none_or(|errors| *errors == json!([])),
                "{name}: {answered:#}"
            );
        }
        assert!(
            document.starts_with("query") || document.contains("userErrors"),
            "{name} does not ask for user errors"
        );
        assert!(!has_empty_page(&data), "{name} shows nothing: {data:#}");
        self.answers.insert(name.to_owned(), data);
        self.world.settle().await;
    }

    /// Replaces the named places by values from earlier responses.
    fn fill(&self, name: &str, value: &mut Value) {
        match value {
            Value::Array(entries) => entries.iter_mut().for_each(|entry| self.fill(name, entry)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.fill(name, field)),
            Value::String(text) => {
                if let Some(place) = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')) {
                    let (operation, path) = place.split_once('.').expect("an operation and a path");
                    let answer = self.answers.get(operation);
                    let found =
                        answer.and_then(|answer| answer.pointer(&format!("/{}", path.replace('.', "/"))));
                    *value = found
                        .unwrap_or_else(|| panic!("{name}: nothing was answered at {place}: {answer:#?}"))
                        .clone();
                }
            }
            _ => {}
        }
    }

    async fn direct(&mut self, direction: &str) {
        match direction {
            "Three days of failures" => {
                self.receiver.answer_with(500);
                // A failure at the same moment as a success opens no window.
                self.world.advance("PT1M").await;
                self.world.company(1).publish().await.expect("the platform may");
                self.world.settle().await;
                self.world.advance("PT72H").await;
            }
            "Ten failures" => {
                for _ in 0..10 {
                    self.world.company(1).publish().await.expect("the platform may");
                    self.world.settle().await;
                }
                for (name, mut live, subscription) in std::mem::take(&mut self.listening) {
                    let told = live.event(&subscription).await;
                    let told = told.unwrap_or_else(|error| panic!("{name}: {error:#}"));
                    self.answers.insert(name, told);
                }
            }
            _ => panic!("what happens here? {direction:?}"),
        }
    }
}

/// Every operation of the page gets a response without errors and with data, from the first webhook to the removal of
/// the last user.
#[tokio::test(flavor = "multi_thread")]
async fn every_operation_of_the_page_works() {
    // The month of the dates on the page.
    let beginning = "2026-11-23T10:00:00Z".parse().expect("a moment");
    let world = World::builder().beginning(beginning).start().await;
    let receiver = world.receiver(200).await;
    let mut stage = Stage {
        world,
        receiver,
        answers: BTreeMap::new(),
        listening: Vec::new(),
    };
    for part in parts() {
        match part {
            Part::Direction(direction) => stage.direct(&direction).await,
            Part::Operation {
                caller,
                document,
                variables,
            } => stage.run(&caller, &document, &variables).await,
        }
    }
    assert!(
        stage.answers.len() >= FEWEST,
        "only {} operations ran",
        stage.answers.len()
    );
    for subscription in ["WebhookChanged", "AttemptRecorded", "NoticePosted"] {
        assert!(stage.answers.contains_key(subscription), "{subscription}");
    }
}
