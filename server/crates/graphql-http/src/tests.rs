//! A small app behind the whole server: what a client sees.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_graphql::dataloader::Loader;
use async_graphql::parser::types::{OperationDefinition, OperationType};
use async_graphql::{Context, Object, Request, Schema, Subscription, ValidationMode};
use axum::body::to_bytes;
use axum::http::{HeaderMap, StatusCode};
use futures_util::stream::{self, Stream};
use jiff::Timestamp;
use serde_json::{Value as Json, json};
use tower::ServiceExt;

use super::*;
use crate::connection_limits::{ConnectionCaps, ConnectionGroup, ConnectionLimits};
use crate::dataloader::RequestLoader;
use crate::error::Result;
use crate::extension::{RequestGuard, SchemaLimits};
use crate::persisted::Documents;
use crate::rate_limits::RateLimit;
use crate::schema_rules::SchemaRules;

struct Query;

#[Object]
impl Query {
    async fn caller(&self, ctx: &Context<'_>) -> String {
        ctx.data_unchecked::<String>().clone()
    }

    async fn doubled(&self, numbers: Vec<u32>) -> Vec<Doubled> {
        numbers.into_iter().map(Doubled).collect()
    }

    async fn broken(&self) -> Result<bool> {
        Err(RequestError::internal("a secret"))
    }

    async fn panics(&self, index: Option<usize>) -> bool {
        [true][index.unwrap_or(1)]
    }
}

/// A number that is read through the loader.
struct Doubled(u32);

#[Object]
impl Doubled {
    async fn value(&self, ctx: &Context<'_>) -> u32 {
        let loader = ctx.data_unchecked::<Arc<RequestLoader<Doubler>>>();
        loader.one(self.0).await.unwrap_or_default().unwrap_or_default()
    }
}

struct Mutation;

#[Object]
impl Mutation {
    async fn import(&self, lines: Vec<String>) -> usize {
        lines.len()
    }
}

struct Ticks;

#[Subscription]
impl Ticks {
    async fn ticks(&self, ctx: &Context<'_>, to: i32) -> Result<impl Stream<Item = i32> + use<>> {
        if to < 0 {
            ctx.data_unchecked::<SubscriptionStart>().refuse();
            return Err(RequestError::bad_input("`to` must not be negative."));
        }
        Ok(stream::iter(0..to))
    }
}

/// Doubles numbers, and counts its reads.
struct Doubler(Arc<AtomicUsize>);

impl Loader<u32> for Doubler {
    type Value = u32;
    type Error = Infallible;

    async fn load(&self, keys: &[u32]) -> std::result::Result<HashMap<u32, u32>, Infallible> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(keys.iter().map(|key| (*key, key * 2)).collect())
    }
}

type AppSchema = Schema<Query, Mutation, Ticks>;

struct App {
    clock: Clock,
    documents: Documents,
    connections: Arc<ConnectionLimits>,
    reads: Arc<AtomicUsize>,
    shed: AtomicUsize,
}

impl GraphqlApp for App {
    type Session = String;
    type Holder = String;
    type Loader = Doubler;
    type Schema = AppSchema;

    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn documents(&self) -> &Documents {
        &self.documents
    }

    fn connections(&self) -> &Arc<ConnectionLimits> {
        &self.connections
    }

    async fn authenticate(&self, authorization: Option<&str>) -> Result<String> {
        authorization
            .map(str::to_owned)
            .ok_or_else(|| RequestError::new(ErrorCode::Unauthenticated, "Who are you?"))
    }

    fn expires_at(&self, _: &String) -> Timestamp {
        Timestamp::MAX
    }

    fn loader(self: &Arc<Self>) -> Doubler {
        Doubler(self.reads.clone())
    }

    fn request_data(self: &Arc<Self>, session: String, request: Request) -> Request {
        request.data(session)
    }

    fn classify(&self, operation: &OperationDefinition) -> RateClass {
        if operation.ty == OperationType::Mutation {
            RateClass::Bulk
        } else {
            RateClass::Ordinary
        }
    }

    fn rate_limits(&self, session: &String, class: RateClass) -> Vec<RateLimit<String>> {
        match class {
            RateClass::Ordinary if session == "often" => vec![RateLimit {
                holder: session.clone(),
                rate: 0.001,
            }],
            _ => Vec::new(),
        }
    }

    fn body_limits(&self, session: &String) -> BodyLimits {
        BodyLimits {
            is_bulk: session == "importer",
            ..BodyLimits::default()
        }
    }

    fn note_shed(&self) {
        self.shed.fetch_add(1, Ordering::Relaxed);
    }

    fn connection_group(&self, session: &String) -> Option<ConnectionGroup> {
        Some(ConnectionGroup {
            kind: "caller",
            id: session.clone(),
        })
    }
}

struct Rules;

impl SchemaRules for Rules {}

fn schema(validation: ValidationMode) -> AppSchema {
    let limits = SchemaLimits { depth: 5, cost: 100 };
    Schema::build(Query, Mutation, Ticks)
        .validation_mode(validation)
        .limit_depth(20)
        .limit_complexity(limits.cost)
        .extension(RequestGuard::new(Rules, limits))
        .finish()
}

struct Server {
    app: Arc<App>,
    routes: Router,
}

/// A response's status, headers and text.
struct Got {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Got {
    fn json(&self) -> Json {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn code(&self) -> String {
        let code = &self.json()["errors"][0]["extensions"]["code"];
        code.as_str().unwrap_or_default().to_owned()
    }
}

impl Server {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let app = Arc::new(App {
            clock: Clock::system(),
            documents: Documents::automatic(),
            connections: ConnectionLimits::new(ConnectionCaps {
                of_group: 1,
                ..ConnectionCaps::default()
            }),
            reads: Arc::default(),
            shed: AtomicUsize::new(0),
        });
        let schemas = Schemas {
            strict: schema(ValidationMode::Strict),
            fast: schema(ValidationMode::Fast),
        };
        let routes = layers(router(app.clone(), schemas, &config), app.clock.clone());
        Self { app, routes }
    }

    async fn send(&self, request: axum::http::Request<Body>) -> Got {
        let response = self.routes.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = to_bytes(body, usize::MAX).await.unwrap();
        Got {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(text.to_vec()).unwrap(),
        }
    }

    async fn post_as(&self, caller: &str, query: &str, variables: Json) -> Got {
        let body = json!({ "query": query, "variables": variables }).to_string();
        self.send(post_request(caller, "application/json", body)).await
    }

    async fn post(&self, query: &str) -> Got {
        self.post_as("ann", query, json!({})).await
    }
}

fn post_request(caller: &str, accept: &str, body: String) -> axum::http::Request<Body> {
    axum::http::Request::post("/graphql")
        .header("authorization", caller)
        .header("accept", accept)
        .header("content-type", "application/json")
        .body(Body::from(body))
        .unwrap()
}

#[tokio::test]
async fn a_query_is_executed_with_its_session_and_its_cost_is_reported() {
    let got = Server::new().post("{ caller }").await;
    assert_eq!(got.status, StatusCode::OK);
    assert_eq!(got.json()["data"], json!({ "caller": "ann" }));
    assert_eq!(
        got.json()["extensions"]["cost"],
        json!({ "total": 1, "limit": 100 })
    );
    assert_eq!(got.headers["x-request-id"].len(), 32);
    assert_eq!(got.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn nothing_is_executed_without_a_session() {
    let request = axum::http::Request::post("/graphql")
        .header("content-type", "application/json")
        .body(Body::from(r#"{"query":"{ caller }"}"#))
        .unwrap();
    let got = Server::new().send(request).await;
    assert_eq!(got.status, StatusCode::UNAUTHORIZED);
    assert_eq!(got.code(), "UNAUTHENTICATED");
    assert_eq!(got.headers["www-authenticate"], "Bearer");
}

#[tokio::test]
async fn a_body_in_another_encoding_is_refused_by_every_transport() {
    let server = Server::new();
    for accept in ["application/json", "text/event-stream"] {
        for (name, value) in [
            ("content-encoding", "gzip"),
            ("content-type", "application/json; charset = latin1"),
        ] {
            let mut request = post_request("ann", accept, r#"{"query":"{ caller }"}"#.to_owned());
            request.headers_mut().insert(name, value.parse().unwrap());
            let got = server.send(request).await;
            assert_eq!(
                got.status,
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "{accept}, {value}"
            );
            assert_eq!(got.code(), "BAD_USER_INPUT", "{accept}, {value}");
        }
    }
}

#[tokio::test]
async fn a_mutation_is_refused_over_get() {
    let server = Server::new();
    let get = |query: &str| {
        axum::http::Request::get(format!("/graphql?query={query}"))
            .header("authorization", "ann")
            .body(Body::empty())
            .unwrap()
    };
    let got = server.send(get("%7Bcaller%7D")).await;
    assert_eq!(got.json()["data"], json!({ "caller": "ann" }));
    let got = server.send(get("mutation%7Bimport(lines:%5B%5D)%7D")).await;
    assert_eq!(got.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(got.headers["allow"], "POST");
}

#[tokio::test]
async fn a_document_that_is_too_deep_or_too_costly_is_refused() {
    let server = Server::new();
    let deep = format!("{}{}", "{ a".repeat(60), "}".repeat(60));
    assert_eq!(server.post(&deep).await.code(), "QUERY_TOO_DEEP");
    let costly = format!("{{ {} }}", "caller ".repeat(101));
    assert_eq!(server.post(&costly).await.code(), "QUERY_TOO_COMPLEX");
    // One entry for each type of the schema, so introspection costs more than it looks.
    let types = "{ __schema { types { name kind description fields { name description } } } }";
    assert_eq!(server.post(types).await.code(), "QUERY_TOO_COMPLEX");
}

#[tokio::test]
async fn a_body_over_its_limit_is_refused() {
    let server = Server::new();
    let body = json!({ "query": "{ caller }", "more": "a".repeat(limits::BODY_LIMIT) });
    let got = server
        .send(post_request("ann", "application/json", body.to_string()))
        .await;
    assert_eq!(got.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(got.code(), "PAYLOAD_TOO_LARGE");
    let many = json!({ "query": "{ caller }", "more": vec![1; limits::MAX_JSON_VALUES + 1] });
    let got = server
        .send(post_request("ann", "application/json", many.to_string()))
        .await;
    assert_eq!(got.code(), "QUERY_TOO_COMPLEX");
}

#[tokio::test]
async fn an_internal_error_has_an_id_and_no_cause() {
    let got = Server::new().post("{ broken }").await;
    assert_eq!(got.code(), "INTERNAL");
    assert!(!got.text.contains("secret"), "{}", got.text);
    let id = &got.json()["errors"][0]["extensions"]["requestId"];
    assert_eq!(got.headers["x-request-id"], id.as_str().unwrap());
}

#[tokio::test]
async fn a_panic_is_an_error_like_any_other() {
    let got = Server::new().post("{ panics }").await;
    assert_eq!(got.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(got.code(), "INTERNAL");
}

#[tokio::test]
async fn a_rate_limit_has_retry_after() {
    let server = Server::new();
    let got = server.post_as("often", "{ caller }", json!({})).await;
    assert_eq!(got.json()["extensions"]["rateLimit"]["limit"], 1);
    let got = server.post_as("often", "{ caller }", json!({})).await;
    assert_eq!(got.status, StatusCode::TOO_MANY_REQUESTS);
    let seconds: u32 = got.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((900..=1_000).contains(&seconds), "{seconds}");
    assert_eq!(server.post("{ caller }").await.status, StatusCode::OK);
}

#[tokio::test]
async fn bulk_operations_over_the_limit_are_shed_and_others_are_not() {
    let server = Server::with(Config {
        shedding: SheddingConfig {
            calls: 0,
            refusal: "Later.",
            ..SheddingConfig::default()
        },
        ..Config::default()
    });
    let import = "mutation M($lines: [String!]!) { import(lines: $lines) }";
    let got = server
        .post_as("importer", import, json!({ "lines": ["a"] }))
        .await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(got.json()["errors"][0]["message"], "Later.");
    assert_eq!(server.app.shed.load(Ordering::Relaxed), 1);
    assert_eq!(server.post("{ caller }").await.status, StatusCode::OK);
    let server = Server::new();
    let got = server
        .post_as("importer", import, json!({ "lines": ["a"] }))
        .await;
    assert_eq!(got.json()["data"], json!({ "import": 1 }));
}

#[tokio::test]
async fn all_elements_of_a_list_are_read_at_once() {
    let server = Server::new();
    let query = "query Q($n: [Int!]!) { doubled(numbers: $n) { value } }";
    let got = server
        .post_as("ann", query, json!({ "n": (0..50).collect::<Vec<_>>() }))
        .await;
    assert_eq!(got.json()["data"]["doubled"][49], json!({ "value": 98 }));
    assert_eq!(server.app.reads.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_subscription_streams_events_and_an_invalid_one_is_refused() {
    let server = Server::new();
    let stream = |to: i32| {
        let body = json!({ "query": format!("subscription {{ ticks(to: {to}) }}") });
        post_request("ann", "text/event-stream", body.to_string())
    };
    let got = server.send(stream(2)).await;
    assert_eq!(got.headers["content-type"], "text/event-stream; charset=utf-8");
    let events: Vec<&str> = got.text.split("\n\n").filter(|event| !event.is_empty()).collect();
    assert_eq!(events.len(), 3, "{}", got.text);
    assert!(events[1].contains(r#"{"ticks":1}"#), "{}", events[1]);
    assert_eq!(events[2], "event: complete\ndata:");
    let got = server.send(stream(-1)).await;
    assert!(got.text.contains("BAD_USER_INPUT"), "{}", got.text);
}

#[test]
fn connections_of_one_group_are_limited_and_a_closed_one_frees_its_place() {
    let limits = ConnectionLimits::new(ConnectionCaps {
        connections: 2,
        of_group: 1,
        ..ConnectionCaps::default()
    });
    let group = |id: &str| {
        Some(ConnectionGroup {
            kind: "tenant",
            id: id.to_owned(),
        })
    };
    let mut first = limits.acquire().ok().unwrap();
    first.join(group("a")).unwrap();
    first.join(group("a")).unwrap();
    let mut second = limits.acquire().ok().unwrap();
    let refused = second.join(group("a")).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the tenant has reached its limit of live connections"
    );
    assert!(limits.acquire().is_err());
    drop(first);
    second.join(group("a")).unwrap();
}
