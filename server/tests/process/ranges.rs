//! Every input is checked before the database sees it. The test walks the schema: it gives every argument and
//! every field of an input values that Postgres cannot store, and values at the edge of what it can.
//!
//! It also covers what is added to the schema later: a field with arguments that no query reaches fails the walk.

mod walk;

use std::collections::{BTreeMap, BTreeSet};

use async_graphql::parser::types::FieldDefinition;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tenterhook_harness::client::Client;
use tenterhook_harness::database::Cluster;
use tenterhook_harness::realtime;
use tenterhook_harness::token::{Claims, TokenKey};

use self::walk::{Known, Leaf, Walk, named};
use super::callers::{Callers, SECRET, create, deal_changed, folder, production, receiver};

const SDL: &str = include_str!("../../../schema.graphql");

/// An id or a cursor with these bytes inside.
fn packed(bytes: &[&[u8]]) -> Value {
    json!(URL_SAFE_NO_PAD.encode(bytes.concat()))
}

/// Values of one scalar that Postgres cannot store, and values at the edge of what it can.
fn extremes(scalar: &str) -> Vec<Value> {
    let moments = || -> Vec<Value> {
        [
            "-009999-01-02T01:59:59Z",
            "-009000-01-01T00:00:00Z",
            "-004713-11-24T00:00:00Z",
            "-004714-01-01T00:00:00Z",
            "0000-12-31T23:59:59.999999Z",
            "0001-01-01T00:00:00Z",
            "1969-12-31T23:59:59.999999999Z",
            "9999-12-30T22:00:00.999999Z",
            "9999-12-31T23:59:59Z",
            "+294277-01-01T00:00:00Z",
        ]
        .map(Value::from)
        .to_vec()
    };
    match scalar {
        "DateTime" => moments(),
        "Duration" => [
            "PT0S",
            "PT0.000000001S",
            "PT1S",
            "P7304484D",
            "P7304485D",
            "P1043498W",
            "PT175307616H",
            "PT631107417600S",
            "PT9223372036854775807S",
            "PT9223372036854775808S",
            "-PT9223372036854775808S",
            "P99999999999999999999D",
            "P1Y",
            "\0",
        ]
        .map(Value::from)
        .to_vec(),
        "Int" => vec![
            json!(0),
            json!(-1),
            json!(i32::MAX),
            json!(i32::MIN),
            json!(i64::from(i32::MAX) + 1),
            json!(i64::MAX),
            json!(u64::MAX),
            json!(1e300),
        ],
        "JSON" => vec![
            json!({"a": "\0"}),
            json!({"\0": 1}),
            json!("\0"),
            json!(u64::MAX),
            json!(i64::MIN),
            json!(1e308),
            json!(-0.0),
        ],
        "ID" | "String" | "EventObject" => {
            let mut all: Vec<Value> = [
                "",
                "\0",
                "a\0b",
                "\u{1}",
                "\u{85}",
                "\u{ffff}",
                "😀",
                "0",
                "-1",
                "9007199254740991",
                "9007199254740992",
                "9223372036854775808",
                "http://h\0ost/",
                "http://h/\0",
                // Version 1, before 1970; version 7, after the year 9999; all bits zero; all bits one.
                "00000000-0000-1000-8000-000000000000",
                "ffffffff-ffff-7fff-bfff-ffffffffffff",
                "ffffffff-ffff-ffff-ffff-ffffffffffff",
                "00000000-0000-0000-0000-000000000000",
            ]
            .map(Value::from)
            .to_vec();
            all.push("x".repeat(100_000).into());
            let (id, extreme) = ([0xff_u8; 16], [i64::MIN, -377_705_023_201_000_000, i64::MAX]);
            let lowest = i32::MIN.to_be_bytes();
            for micros in extreme {
                let micros = micros.to_be_bytes();
                // The ids and cursors of api/global_id.rs and api/cursor.rs.
                all.push(packed(&[b"D\x03", &id, &id, &lowest, &micros]));
                all.push(packed(&[b"d", &micros, b"\x03", &id, &id, &lowest]));
                all.push(packed(&[b"c", &micros, &id]));
                all.push(packed(&[b"o", &micros, &id]));
                all.push(packed(&[b"a", &micros, b"crm"]));
            }
            all.push(packed(&[b"n", &id, b"\x01a\0b"]));
            for kind in [b"W", b"E", b"N"] {
                all.push(packed(&[kind, b"\x03", &id]));
            }
            all.push(packed(&[b"A", b"a\0"]));
            all
        }
        other => panic!("the walk knows no extremes of the scalar {other}"),
    }
}

/// One caller of each kind.
struct Everybody {
    user: Client,
    app: Client,
    platform: Client,
    operator: Client,
}

impl Everybody {
    /// Sends the request as every caller; returns the responses that report a fault of the server.
    async fn ask(&self, document: &str, variables: &Value) -> Vec<String> {
        let body = json!({"query": document, "variables": variables});
        let asked = [&self.user, &self.app, &self.platform, &self.operator].map(async |caller: &Client| {
            let (status, answer) = caller.post("/graphql", body.clone()).await.expect("it answers");
            let text = answer.to_string();
            let failed = text.contains("\"INTERNAL\"") || text.contains("\"UNAVAILABLE\"");
            let fault = || format!("{status} {text:.300}\n    {document}\n    {variables:.300}");
            (failed || !(200..500).contains(&status)).then(fault)
        });
        join_all(asked).await.into_iter().flatten().collect()
    }
}

/// The lines of a log at level ERROR. The log is JSON outside of a terminal.
fn errors(log: &str) -> Vec<&str> {
    let is_error =
        |line: &&str| serde_json::from_str::<Value>(line).is_ok_and(|line| line["level"] == "ERROR");
    log.lines().filter(is_error).collect()
}

/// The database never has to refuse an input, and no input is a fault of the server.
#[tokio::test(flavor = "multi_thread")]
async fn arguments_refuse_values_that_the_database_cannot_store() {
    let (cluster, keys) = (Cluster::shared().await.unwrap(), folder());
    let database = cluster.database().await.unwrap();
    let process = production(keys.path(), &database.url(None))
        .setting("TENTERHOOK_LOG", "info")
        .setting("TENTERHOOK_API_RATE_PER_TOKEN", "1000000")
        .setting("TENTERHOOK_API_RATE_PER_COMPANY", "1000000")
        .setting("TENTERHOOK_API_RATE_PER_PLATFORM_TOKEN", "1000000")
        .setting("TENTERHOOK_API_RATE_PER_PUBLISHING_TOKEN", "1000000")
        .setting("TENTERHOOK_API_RATE_OF_PLATFORM", "1000000")
        .setting("TENTERHOOK_API_RATE_OF_PUBLISHING", "1000000")
        .serve()
        .await
        .unwrap();
    let callers = Callers::new(&process, SECRET);
    let receiver = receiver(200).await;
    let platform = callers.platform();
    platform.register_app("crm").await.unwrap();
    platform.install_app("crm", 1, 7).await.unwrap();
    let user = callers.user();
    let webhook = create(&user, &receiver.url()).await;
    let event = platform.publish_one(deal_changed()).await.unwrap().event;
    realtime::eventually("a delivery has ended", async || {
        let deliveries = user.deliveries(&webhook).await.unwrap();
        deliveries
            .first()
            .is_some_and(|first| first.status == "SUCCEEDED")
    })
    .await;
    let delivery = user.deliveries(&webhook).await.unwrap().remove(0).id;
    let everybody = Everybody {
        app: callers.with(&Claims::user(1, 7, "regular").through_app("crm")),
        operator: callers.with(&Claims::of_scope("operator")),
        user,
        platform,
    };
    let known = Known::from([
        ("id", json!(webhook)),
        ("ids", json!([webhook])),
        ("webhookId", json!(webhook)),
        ("deliveryIds", json!([delivery])),
        ("companyId", json!("1")),
        ("userId", json!("7")),
        ("appId", json!("crm")),
        ("name", json!("A name")),
        ("object", json!("deal")),
        ("objectId", json!("8")),
        ("action", json!("CHANGE")),
        ("eventObject", json!("*")),
        ("subscriptionUrl", json!(receiver.url())),
        ("since", json!("2026-11-23T10:00:00Z")),
    ]);
    // How to reach a field: the roots, and one object of each type whose fields have arguments.
    let ways = BTreeMap::from([
        ("Query", ("query", String::new())),
        ("Mutation", ("mutation", String::new())),
        ("Webhook", ("query", format!("webhook(id: \"{webhook}\")"))),
        ("Event", ("query", format!("event(id: \"{}\")", event.id))),
    ]);

    let walk = Walk::of(SDL);
    let (mut faults, mut asked) = (Vec::new(), BTreeSet::new());
    for (object, fields) in walk.objects.iter().filter(|(name, _)| *name != "Subscription") {
        for field in fields.iter().filter(|field| !field.arguments.is_empty()) {
            let (kind, way) = ways
                .get(object.as_str())
                .unwrap_or_else(|| panic!("nothing leads to {object}.{}: add a way", field.name));
            let leaves = field
                .arguments
                .iter()
                .flat_map(|argument| walk.leaves(&argument.node, &[]));
            for leaf in leaves {
                asked.insert(format!("{object}.{}({})", field.name, leaf.path.join(".")));
                for extreme in extremes(&leaf.scalar) {
                    let (document, variables) = question(&walk, field, kind, way, &leaf, &extreme, &known);
                    faults.extend(everybody.ask(&document, &variables).await);
                }
            }
        }
    }
    assert!(
        asked.contains("Mutation.publishEvents(input.events.occurredAt)"),
        "{asked:?}"
    );
    assert!(
        asked.contains("Webhook.stats(bucket)") && asked.len() > 60,
        "{asked:?}"
    );
    subscriptions(&everybody.user, &walk, &mut faults).await;
    besides(&callers, &mut faults).await;

    let log = process.printed();
    assert!(
        faults.is_empty(),
        "{} faults, among them:\n{}",
        faults.len(),
        faults[..faults.len().min(10)].join("\n")
    );
    assert_eq!(
        errors(&log),
        [""; 0],
        "an input is the caller's fault, not the server's"
    );
}

/// A request for one field, with an extreme value in one argument or field of an input, and the other required
/// arguments.
fn question(
    walk: &Walk,
    field: &FieldDefinition,
    kind: &str,
    way: &str,
    leaf: &Leaf,
    extreme: &Value,
    known: &Known,
) -> (String, Value) {
    let (mut declared, mut passed, mut variables) = (Vec::new(), Vec::new(), serde_json::Map::new());
    for argument in &field.arguments {
        let argument = &argument.node;
        let Some(value) = walk.value(argument, Some(&leaf.path), extreme, known) else {
            continue;
        };
        declared.push(format!("${}: {}", argument.name, argument.ty.node));
        passed.push(format!("{0}: ${0}", argument.name));
        variables.insert(argument.name.to_string(), value);
    }
    let selection = walk.selection(&named(&field.ty.node));
    let call = format!("{}({}) {selection}", field.name, passed.join(", "));
    let call = if way.is_empty() {
        call
    } else {
        format!("{way} {{ {call} }}")
    };
    let document = format!("{kind} Q({}) {{ {call} }}", declared.join(", "));
    (document, variables.into())
}

/// The arguments of subscriptions, over a socket: each subscription ends or continues. A pong after it proves that
/// the socket still works.
async fn subscriptions(user: &Client, walk: &Walk, faults: &mut Vec<String>) {
    let mut socket = user.socket().await.expect("it answers");
    let mut next = 0;
    for field in &walk.objects["Subscription"] {
        for argument in &field.arguments {
            for extreme in extremes(&named(&argument.node.ty.node)) {
                next += 1;
                let (name, id) = (&argument.node.name, next.to_string());
                let document = format!(
                    "subscription S($v: {}) {{ {}({name}: $v) {{ __typename }} }}",
                    argument.node.ty.node, field.name
                );
                let payload = json!({"query": document, "variables": {"v": extreme}});
                for message in [
                    json!({"type": "subscribe", "id": id, "payload": payload}),
                    json!({"type": "complete", "id": id}),
                    json!({"type": "ping"}),
                ] {
                    socket.send(&message).await.expect("it answers");
                }
                loop {
                    let message = socket.message().await.expect("it answers");
                    if message.to_string().contains("\"INTERNAL\"") {
                        faults.push(format!("{document}: {message}"));
                    }
                    if message["type"] == "pong" {
                        break;
                    }
                }
            }
        }
    }
}

/// Values outside the schema: names of operations, hashes of documents, and claims of tokens.
async fn besides(callers: &Callers<'_>, faults: &mut Vec<String>) {
    let user = callers.user();
    for extreme in extremes("String") {
        for body in [
            json!({"query": "query Q { viewer { userId } }", "operationName": extreme}),
            json!({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": extreme}}}),
        ] {
            let (status, answer) = user.post("/graphql", body.clone()).await.expect("it answers");
            if answer.to_string().contains("\"INTERNAL\"") || status >= 500 {
                faults.push(format!("{body:.300}: {answer}"));
            }
        }
    }
    let key = TokenKey {
        secret: SECRET.to_owned(),
        issuer: "tenterhook".to_owned(),
        audience: "tenterhook".to_owned(),
    };
    let document = "{ webhooks { totalCount nodes { __typename } } webhookQuota(type: GENERAL) { used } viewer { app { name } } }";
    for claim in [
        "sub",
        "company_id",
        "app_id",
        "jti",
        "role",
        "scope",
        "nbf",
        "exp",
    ] {
        let mut values = extremes("String");
        values.extend(extremes("Int"));
        for value in values {
            let mut claims = json!({
                "iss": "tenterhook", "aud": "tenterhook", "exp": realtime::now().as_second() + 3600,
                "sub": "7", "company_id": "1", "scope": "webhooks:read webhooks:write admin", "app_id": "crm"
            });
            claims[claim] = value;
            let token = key.seal(r#"{"alg":"HS256","typ":"JWT"}"#, claims.to_string());
            let caller = user.with_token(Some(token));
            let (status, answer) = caller
                .post("/graphql", json!({"query": document}))
                .await
                .expect("it answers");
            if answer.to_string().contains("\"INTERNAL\"") || status >= 500 {
                faults.push(format!("{claims:.300}: {answer}"));
            }
        }
    }
}

/// Simulated time cannot be moved to a time that the database, or the partitions after it, do not support.
#[tokio::test(flavor = "multi_thread")]
async fn simulated_time_is_not_moved_out_of_range() {
    let (cluster, keys) = (Cluster::shared().await.unwrap(), folder());
    let database = cluster.database().await.unwrap();
    let process = production(keys.path(), &database.url(None))
        .setting("TENTERHOOK_LOG", "info")
        .setting("TENTERHOOK_CLOCK", "simulated")
        .serve()
        .await
        .unwrap();
    let callers = Callers::new(&process, SECRET);
    let operator = callers.with(&Claims::of_scope("operator"));
    let (_, before) = operator
        .call(reqwest::Method::GET, "/sim/clock", None)
        .await
        .unwrap();
    for by in extremes("Duration").into_iter().chain(extremes("String")) {
        let text = by.as_str().unwrap_or_default();
        if matches!(text, "PT0S" | "PT1S" | "PT0.000000001S") {
            continue;
        }
        let (status, body) = operator
            .post("/sim/clock/advance", json!({"by": by}))
            .await
            .unwrap();
        assert_eq!(status, 400, "{text:.100} {body}");
    }
    for stalled in [
        json!({"messageId": "\0", "webhook": 1, "attempt": 1}),
        json!({"messageId": "00000000-0000-1000-8000-000000000000", "webhook": u64::MAX, "attempt": 1}),
        json!({"messageId": "00000000-0000-1000-8000-000000000000", "webhook": 1, "attempt": 256}),
    ] {
        assert_eq!(operator.post("/sim/stalled", stalled).await.unwrap().0, 400);
    }
    let (_, after) = operator
        .call(reqwest::Method::GET, "/sim/clock", None)
        .await
        .unwrap();
    assert_eq!(before["now"], after["now"]);
    assert_eq!(errors(&process.printed()), [""; 0]);
}
