//! The API in one process: a real database and engine, simulated time, and no connections except the receivers'.

mod access;
mod attacks;
mod closing;
mod concurrent_replays;
mod cors;
mod costs;
mod documents;
mod events;
mod graphiql;
mod http;
mod introspection;
mod library_keys;
mod lists;
mod literals;
mod live;
mod notices;
mod numbers;
mod overload;
mod partitions;
mod pause_restore;
mod persisted;
mod poison;
mod postponed;
mod published_json;
mod ranges;
mod rates;
mod removal;
mod replays;
mod rest;
mod sim;
mod socket;
mod socket_tokens;
mod sse;
mod stats;
mod targets;
mod test_deliveries;
mod webhooks;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use jiff::civil::date;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value as Json, json};
use tenterhook_harness::realtime;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::http_server::{self, Limits};
use super::token::{KeySet, Verifier};
use super::{ConnectionCaps, ConnectionLimits, Services, documents, router};
use tenterhook_clock::Clock;
use tenterhook_engine::outbound;
use tenterhook_engine::{Engine, NoticeEndpoint, Parts, RequestLimits, Share};
use tenterhook_outbound_http::{DnsResolver, Transport, TransportConfig};
use tenterhook_policy::sealing::Keyring;
use tenterhook_settings::{AppSees, Settings};
use tenterhook_store::{Limits as StatementLimits, Store, testing};

const SECRET: &str = "a secret of thirty-two bytes or more";
/// Both values of `policy.app_sees` (W4).
const APP_SEES: [AppSees; 2] = [AppSees::Application, AppSees::OwnGeneral];
const SEALING_KEY: &str = "8f3c1b9e5d7204a6e1c8437b90fa2d56be04d8137ca9f2605e81b4c7392d6fa0";

/// A server for one test.
struct World {
    router: Router,
    clock: Clock,
    engine: Engine,
    store: Store,
    url: String,
    connections: Arc<ConnectionLimits>,
    services: Arc<Services>,
}

/// An encoded token.
#[derive(Clone)]
struct Token(String);

impl World {
    async fn new() -> Self {
        Self::with(Settings::development()).await
    }

    /// A world where a token through an app sees this much (W4).
    async fn where_apps_see(sees: AppSees) -> Self {
        let mut settings = Settings::development();
        settings.policy.app_sees = sees;
        Self::with(settings).await
    }

    async fn with(settings: Settings) -> Self {
        Self::built(settings, ConnectionCaps::default()).await
    }

    async fn built(settings: Settings, caps: ConnectionCaps) -> Self {
        Self::made(settings, caps, None::<fn(Transport) -> NoticeEndpoint>).await
    }

    async fn made(
        settings: Settings,
        caps: ConnectionCaps,
        notices: Option<impl FnOnce(Transport) -> NoticeEndpoint>,
    ) -> Self {
        Self::within(testing::AMPLE, settings, caps, notices).await
    }

    /// A world with these limits on statements.
    async fn within(
        limits: StatementLimits,
        settings: Settings,
        caps: ConnectionCaps,
        notices: Option<impl FnOnce(Transport) -> NoticeEndpoint>,
    ) -> Self {
        // The cause of an INTERNAL error is only in the log; a failing test prints it.
        let _ = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_test_writer()
            .try_init();
        let start: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        let days = date(2026, 11, 22)..=date(2026, 12, 5);
        let (store, url) = testing::database_within(limits, days).await;
        let clock = Clock::simulated(start);
        let targets = outbound::target_policy(&settings).unwrap();
        let sealing = Arc::new(Keyring::parse(SEALING_KEY).unwrap());
        let transport = Transport::new(
            clock.clone(),
            TransportConfig {
                targets: Arc::new(targets.clone()),
                resolver: Arc::new(DnsResolver::new(&clock, &settings.dns_servers).unwrap()),
                extra_ca_pem: None,
                user_agent: "test".to_owned(),
                patience: outbound::patience(&settings.policy),
            },
        )
        .unwrap();
        let engine = Engine::start(Parts {
            store: store.clone(),
            clock: clock.clone(),
            policy: Arc::new(settings.policy.clone()),
            sealing: sealing.clone(),
            transport: transport.clone(),
            limits: RequestLimits {
                total: 64,
                per_webhook: 8,
                per_host: 64,
            },
            share: Share {
                events: settings.api.publishing_of_company as usize,
                calls: settings.api.publishing_calls.div_ceil(2) as usize,
            },
            notices: notices.map(|endpoint| endpoint(transport.clone())),
            lease: settings.lease,
            alone: true,
        })
        .await
        .unwrap();
        let connections = ConnectionLimits::new(caps);
        let keys = KeySet::shared_secret(&SECRET.into());
        let services = Arc::new(Services {
            store: store.clone(),
            clock: clock.clone(),
            tokens: Verifier::new(keys, &settings.jwt_issuer, &settings.jwt_audience),
            documents: documents(&settings.api).unwrap(),
            settings: Arc::new(settings),
            targets,
            sealing,
            publisher: engine.publisher(),
            propagation: engine.propagation(),
            prober: engine.prober(),
            replayer: engine.replayer(),
            events_kept_since: Timestamp::MIN,
            live: engine.live(),
            connections: connections.clone(),
            gauges: engine.gauges(),
        });
        Self {
            router: router(services.clone()),
            services,
            clock,
            engine,
            store,
            url,
            connections,
        }
    }

    /// Serves on a real socket while the test runs; returns the URL.
    async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = self.router.clone();
        // Limits so long that no connection of a test reaches them.
        let limits = Limits {
            head_within: realtime::PATIENCE * 2,
            stalled_for: realtime::PATIENCE * 2,
            discard_within: realtime::PATIENCE * 2,
        };
        // Simulated time does not know of this task, as in a real server.
        drop(realtime::spawn(http_server::serve(
            listener,
            router,
            limits,
            CancellationToken::new(),
        )));
        format!("http://{address}")
    }

    fn token(&self, claims: Json) -> Token {
        let mut all = json!({
            "iss": "tenterhook", "aud": "tenterhook", "exp": self.clock.now().as_second() + 1_000_000,
            "scope": "webhooks:read webhooks:write"
        });
        all.as_object_mut()
            .unwrap()
            .extend(claims.as_object().unwrap().clone());
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        Token(jsonwebtoken::encode(&Header::default(), &all, &key).unwrap())
    }

    fn user(&self, company: u64, user: u64) -> Token {
        self.token(json!({ "company_id": company.to_string(), "sub": user.to_string(), "role": "regular" }))
    }

    fn admin(&self, company: u64, user: u64) -> Token {
        self.token(json!({ "company_id": company.to_string(), "sub": user.to_string(), "role": "admin" }))
    }

    /// Through an app `admin` alone is enough (W2).
    fn through(&self, app: &str, company: u64, user: u64) -> Token {
        self.through_as("regular", app, company, user)
    }

    fn through_as(&self, role: &str, app: &str, company: u64, user: u64) -> Token {
        self.token(json!({
            "company_id": company.to_string(), "sub": user.to_string(), "role": role, "app_id": app,
            "scope": "admin"
        }))
    }

    fn platform(&self) -> Token {
        self.token(json!({ "scope": "platform" }))
    }

    fn operator(&self) -> Token {
        self.token(json!({ "scope": "operator" }))
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, Json) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Json::Null))
    }

    /// The whole response.
    async fn answer(&self, token: &Token, query: &str, variables: Json) -> Json {
        let body = json!({ "query": query, "variables": variables }).to_string();
        let request = Request::post("/graphql")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", token.0))
            .body(Body::from(body))
            .unwrap();
        self.send(request).await.1
    }

    /// The data of a response without errors.
    async fn ask(&self, token: &Token, query: &str, variables: Json) -> Json {
        let mut answer = self.answer(token, query, variables).await;
        assert!(answer.get("errors").is_none(), "{answer:#}");
        answer["data"].take()
    }

    /// The code of a response's only error.
    async fn refusal(&self, token: &Token, query: &str, variables: Json) -> String {
        let answer = self.answer(token, query, variables).await;
        let errors = answer["errors"]
            .as_array()
            .unwrap_or_else(|| panic!("no error: {answer:#}"));
        assert_eq!(errors.len(), 1, "{answer:#}");
        errors[0]["extensions"]["code"]
            .as_str()
            .unwrap_or_else(|| panic!("no code: {answer:#}"))
            .to_owned()
    }

    /// The payload of a mutation with one `input`.
    async fn mutate(&self, token: &Token, name: &str, input: Json, fields: &str) -> Json {
        let kind = format!("{}{}Input", name[..1].to_uppercase(), &name[1..]);
        let query = format!(
            "mutation M($input: {kind}!) {{ {name}(input: $input) {{ {fields} userErrors {{ __typename code message path }} }} }}"
        );
        self.ask(token, &query, json!({ "input": input })).await[name].take()
    }

    /// The payload of a mutation without user errors.
    async fn done(&self, token: &Token, name: &str, input: Json, fields: &str) -> Json {
        let payload = self.mutate(token, name, input, fields).await;
        assert_eq!(payload["userErrors"], json!([]), "{name}");
        payload
    }

    /// `CODE path` of each user error of a mutation.
    async fn errors(&self, token: &Token, name: &str, input: Json) -> Vec<String> {
        let payload = self.mutate(token, name, input, "").await;
        payload["userErrors"]
            .as_array()
            .unwrap()
            .iter()
            .map(line)
            .collect()
    }

    /// Creates a webhook and returns its global id.
    async fn webhook(&self, token: &Token, input: Json) -> String {
        let mut all = json!({
            "subscriptionUrl": "http://127.0.0.1:9/hook", "eventAction": "ANY", "eventObject": "*"
        });
        all.as_object_mut()
            .unwrap()
            .extend(input.as_object().unwrap().clone());
        let payload = self.done(token, "createWebhook", all, "webhook { id }").await;
        payload["webhook"]["id"].as_str().unwrap().to_owned()
    }

    async fn install(&self, app: &str, company: u64, user: u64) {
        let installed = json!({ "appId": app, "companyId": company.to_string(), "userId": user.to_string() });
        self.mutate(
            &self.platform(),
            "registerApp",
            json!({ "appId": app, "name": app }),
            "",
        )
        .await;
        self.done(&self.platform(), "installApp", installed, "app { appId }")
            .await;
    }

    /// Publishes a change of a deal, and returns the event's global id.
    async fn publish(&self, company: u64, more: Json) -> String {
        let mut event = json!({
            "companyId": company.to_string(), "action": "CHANGE", "object": "deal", "objectId": "8", "userId": "1",
            "data": { "title": "new" }, "previous": { "title": "old" }
        });
        event
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let fields = "events { event { id } }";
        let payload = self
            .done(
                &self.platform(),
                "publishEvents",
                json!({ "events": [event] }),
                fields,
            )
            .await;
        payload["events"][0]["event"]["id"].as_str().unwrap().to_owned()
    }

    /// `STATUS reason` of each delivery of a webhook, newest first.
    async fn fates(&self, token: &Token, webhook: &str) -> Vec<String> {
        let query = "query Q($id: ID!) { webhook(id: $id) { deliveries { nodes { status reason } } } }";
        let read = self.ask(token, query, json!({ "id": webhook })).await;
        let nodes = read["webhook"]["deliveries"]["nodes"].as_array().unwrap();
        let fate = |node: &Json| {
            let reason = node["reason"].as_str().unwrap_or("-");
            format!("{} {reason}", node["status"].as_str().unwrap())
        };
        nodes.iter().map(fate).collect()
    }

    async fn advance(&self, by: SignedDuration) {
        self.clock.simulation().unwrap().advance(by).await.unwrap();
    }

    async fn settle(&self) {
        self.clock.simulation().unwrap().settle().await.unwrap();
    }
}

/// A receiver that responds to everything with this status.
async fn receiver(status: u16) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(status).set_body_string("seen"))
        .mount(&server)
        .await;
    server
}

fn line(error: &Json) -> String {
    let path: Vec<&str> = error["path"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| part.as_str().unwrap())
        .collect();
    format!("{} {}", error["code"].as_str().unwrap(), path.join("."))
}
