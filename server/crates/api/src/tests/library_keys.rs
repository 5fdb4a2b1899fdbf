//! Some keys have a special meaning in an optional feature of the JSON library. In clients' JSON they are ordinary
//! names: in every kind of request, and however deep the text after them is nested.
//!
//! With that feature on, most of these messages overflow the stack. That ends the process, and no test could report
//! it.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use tenterhook_harness::client::live::{PROTOCOL, RawSocket};

use super::*;

const RAW: &str = "$serde_json::private::RawValue";
const NUMBER: &str = "$serde_json::private::Number";
const VIEWER: &str = "{ viewer { userId } }";

/// Escapes a text so that a scan for quotes finds none in it.
fn quoted(text: &str) -> String {
    text.replace('\\', r"\u005c").replace('"', r"\u0022")
}

/// An object with this key and a text as value; the text is such an object again, and so on. Each is within lists,
/// which a parser counts as depth.
fn inner(key: &str, levels: usize) -> String {
    const LISTS: usize = 40;
    let listed = |text: &str| format!("{}{text}{}", "[".repeat(LISTS), "]".repeat(LISTS));
    let mut text = listed("1");
    for _ in 0..levels {
        text = listed(&format!("{{\"{key}\":\"{}\"}}", quoted(&text)));
    }
    text
}

fn nested(key: &str, levels: usize) -> String {
    format!("{{\"{key}\":\"{}\"}}", quoted(&inner(key, levels)))
}

/// The last one nearly fills a body of 1 MiB, because escapes are escaped again at each level. 40 levels were enough
/// to end a process.
const LEVELS: [usize; 3] = [1, 40, 250];

fn post(token: &str, accept: &str, body: String) -> Request<Body> {
    Request::post("/graphql")
        .header("content-type", "application/json")
        .header("accept", accept)
        .header("authorization", format!("Bearer {token}"))
        .body(Body::from(body))
        .unwrap()
}

/// This one test covers all other code of this build that parses a `Value`, including the token library.
#[test]
fn the_library_has_no_internal_keys_in_this_build() {
    for (key, text) in [(RAW, "[1, 2]"), (NUMBER, "1e5")] {
        let object = json!({ key: text }).to_string();
        let parsed: Json = serde_json::from_str(&object).unwrap();
        assert_eq!(
            parsed[key], text,
            "no crate of the build may turn on the feature that reads {key}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn internal_keys_mean_nothing_over_http() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    for key in [RAW, NUMBER] {
        for levels in LEVELS {
            let value = nested(key, levels);
            for (member, is_read) in [
                (format!(r#""variables":{{"a":{value}}}"#), true),
                (format!(r#""variables":{value}"#), true),
                (format!(r#""extensions":{value}"#), true),
                (format!(r#""extensions":{{"persistedQuery":{value}}}"#), false),
                (format!(r#""operationName":{value}"#), false),
                (format!(r#""others":{value}"#), true),
            ] {
                let body = format!(r#"{{"query":"{VIEWER}",{member}}}"#);
                let seen = world.send(post(&ann.0, "application/json", body.clone())).await;
                let code = &seen.1["errors"][0]["extensions"]["code"];
                if is_read {
                    assert_eq!(seen.1["data"]["viewer"]["userId"], "7", "{levels}: {code}");
                } else {
                    assert_eq!(code, "BAD_USER_INPUT", "{levels}");
                }
                let events = post(&ann.0, "text/event-stream", body);
                let streamed = world.router.clone().oneshot(events).await.unwrap();
                assert_eq!(streamed.status().as_u16(), if is_read { 200 } else { 400 });
                to_bytes(streamed.into_body(), usize::MAX).await.unwrap();
            }
            for parameter in ["variables", "extensions"] {
                let parameters = url::form_urlencoded::Serializer::new(String::new())
                    .append_pair("query", VIEWER)
                    .append_pair(parameter, &nested(key, levels.min(40)))
                    .finish();
                let request = Request::get(format!("/graphql?{parameters}"))
                    .header("authorization", format!("Bearer {}", ann.0))
                    .body(Body::empty())
                    .unwrap();
                let (_, answer) = world.send(request).await;
                assert_eq!(answer["data"]["viewer"]["userId"], "7", "{parameter}: {answer}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn internal_keys_mean_nothing_over_websocket() {
    let world = World::new().await;
    let (url, ann) = (world.serve().await, world.user(1, 7));
    for key in [RAW, NUMBER] {
        for levels in [1, 40, 140] {
            let value = nested(key, levels);
            let mut stranger = RawSocket::connect(&url, Some(PROTOCOL)).await.unwrap();
            let init = format!(r#"{{"type":"connection_init","payload":{value}}}"#);
            stranger.send_text(&init).await.unwrap();
            assert_eq!(stranger.closed().await.unwrap().0, 4403);

            let mut socket = RawSocket::connect(&url, Some(PROTOCOL)).await.unwrap();
            let ping = format!(r#"{{"type":"ping","payload":{value}}}"#);
            socket.send_text(&ping).await.unwrap();
            let pong = socket.message().await.unwrap();
            assert_eq!(pong["payload"], serde_json::from_str::<Json>(&value).unwrap());
            let init = format!(
                r#"{{"type":"connection_init","payload":{{"authorization":"Bearer {}","more":{value}}}}}"#,
                ann.0
            );
            socket.send_text(&init).await.unwrap();
            assert_eq!(socket.message().await.unwrap()["type"], "connection_ack");
            let subscribe = format!(
                r#"{{"type":"subscribe","id":"1","payload":{{"query":"{VIEWER}","variables":{{"a":{value}}}}}}}"#
            );
            socket.send_text(&subscribe).await.unwrap();
            let next = socket.message().await.unwrap();
            assert_eq!(next["payload"]["data"]["viewer"]["userId"], "7", "{next}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn internal_keys_mean_nothing_in_a_token() {
    let world = World::new().await;
    let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    for key in [RAW, NUMBER] {
        for levels in LEVELS {
            let value = nested(key, levels);
            for (header, claims) in [
                (
                    format!(r#"{{"alg":"HS256","typ":"JWT","more":{value}}}"#),
                    "{}".to_owned(),
                ),
                (
                    format!(r#"{{"alg":"HS256","typ":"JWT","jwk":{value}}}"#),
                    "{}".to_owned(),
                ),
                (value.clone(), "{}".to_owned()),
                (r#"{"alg":"HS256"}"#.to_owned(), value.clone()),
            ] {
                let token = format!("{}.{}.AA", encode(&header), encode(&claims));
                let body = json!({ "query": VIEWER }).to_string();
                let (status, _) = world.send(post(&token, "application/json", body)).await;
                assert_eq!(status.as_u16(), 401);
            }
            // A token has at most 8 KiB.
            let mut claims = json!({ "company_id": "1", "sub": "7" });
            claims["more"] = serde_json::from_str(&nested(key, levels.min(8))).unwrap();
            let body = json!({ "query": VIEWER }).to_string();
            let signed = world.token(claims);
            let (_, answer) = world.send(post(&signed.0, "application/json", body)).await;
            assert_eq!(answer["data"]["viewer"]["userId"], "7", "{answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simulated_clock_refuses_internal_keys() {
    let world = World::new().await;
    for key in [RAW, NUMBER] {
        for levels in LEVELS {
            let value = nested(key, levels);
            for (method, path, body) in [
                ("POST", "advance", value.clone()),
                ("POST", "advance", format!(r#"{{"by":{value}}}"#)),
                ("POST", "stalled", value.clone()),
                ("POST", "stalled", format!(r#"{{"target":{value}}}"#)),
                ("DELETE", "stalled", value.clone()),
            ] {
                let path = match path {
                    "advance" => "/sim/clock/advance",
                    _ => "/sim/stalled",
                };
                let request = Request::builder()
                    .method(method)
                    .uri(path)
                    .header("authorization", format!("Bearer {}", world.operator().0))
                    .body(Body::from(body))
                    .unwrap();
                let status = world.send(request).await.0.as_u16();
                assert!([400, 413].contains(&status), "{status}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_under_internal_keys_are_delivered_unchanged() {
    let world = World::new().await;
    let receiver = receiver(200).await;
    let ann = world.user(1, 7);
    world
        .webhook(&ann, json!({ "subscriptionUrl": receiver.uri() }))
        .await;
    let mut published = Vec::new();
    for key in [RAW, NUMBER] {
        for value in [r#""[1, 2]""#, r#""not JSON""#, "7", r#""1e5""#, "null", "[{}]"] {
            published.push(format!(r#"{{"x":{{"{key}":{value}}},"{key}":{value}}}"#));
        }
        let text = serde_json::to_string(&inner(key, 3)).unwrap();
        published.push(format!(r#"{{"{key}":{text}}}"#));
    }
    let events: Vec<String> = published
        .iter()
        .map(|data| {
            format!(
                r#"{{"companyId":"1","action":"CREATE","object":"deal","objectId":"8","userId":"1","data":{data}}}"#
            )
        })
        .collect();
    let query = "mutation M($input: PublishEventsInput!) { publishEvents(input: $input) { userErrors { code path } } }";
    let body = format!(
        r#"{{"query":"{query}","variables":{{"input":{{"events":[{}]}}}}}}"#,
        events.join(",")
    );
    let (_, answer) = world
        .send(post(&world.platform().0, "application/json", body))
        .await;
    assert_eq!(
        answer["data"]["publishEvents"]["userErrors"],
        json!([]),
        "{answer}"
    );
    world.settle().await;
    let arrived: Vec<String> = receiver
        .received_requests()
        .await
        .unwrap()
        .into_iter()
        .map(|request| String::from_utf8(request.body).unwrap())
        .collect();
    assert_eq!(arrived.len(), published.len());
    for data in published {
        let has = |body: &String| body.contains(&format!(r#""data":{data},"previous":null"#));
        assert!(arrived.iter().any(has), "{data}\n{arrived:#?}");
    }
}
