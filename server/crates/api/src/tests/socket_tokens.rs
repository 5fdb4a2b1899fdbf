//! Where a socket's token may be.

use super::closing::Raw;
use super::*;

const PROTOCOL: &str = "Sec-WebSocket-Protocol: graphql-transport-ws\r\n";

/// The response to `connection_init` with this payload, on a socket whose upgrade request had this header.
async fn answer(url: &str, header: &str, payload: &Json) -> String {
    let mut raw = Raw::asking(url, &format!("{PROTOCOL}{header}")).await;
    raw.say(&json!({ "type": "connection_init", "payload": payload }))
        .await;
    let (_, answer) = raw.next().await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_names_its_token_in_any_case_at_the_top_or_under_headers() {
    let world = World::new().await;
    let (url, ann) = (world.serve().await, world.user(1, 7));
    let bearer = format!("Bearer {}", ann.0);
    for payload in [
        json!({ "authorization": bearer }),
        json!({ "Authorization": bearer }),
        json!({ "AUTHORIZATION": bearer }),
        json!({ "headers": { "Authorization": bearer } }),
        json!({ "headers": { "authorization": bearer }, "lang": "de" }),
        json!({ "authorization": bearer, "Authorization": bearer }),
    ] {
        let answer = answer(&url, "", &payload).await;
        assert_eq!(answer, r#"{"type":"connection_ack"}"#, "{payload}");
    }
    let two = json!({ "authorization": bearer, "Authorization": "Bearer other" });
    assert!(
        answer(&url, "", &two)
            .await
            .ends_with("The payload names two different tokens.")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upgrade_requests_token_counts_where_the_payload_names_none() {
    let world = World::new().await;
    let (url, ann) = (world.serve().await, world.user(1, 7));
    let header = format!("Authorization: Bearer {}\r\n", ann.0);
    for payload in [
        json!(null),
        json!({}),
        json!({ "authorization": null }),
        json!({ "lang": "de" }),
    ] {
        let answer = answer(&url, &header, &payload).await;
        assert_eq!(answer, r#"{"type":"connection_ack"}"#, "{payload}");
    }
    // If the payload has a token, that one counts.
    for payload in [
        json!({ "Authorization": "Bearer x" }),
        json!({ "authorization": "" }),
    ] {
        let answer = answer(&url, &header, &payload).await;
        assert!(!answer.contains("connection_ack"), "{answer}");
    }
    let basic = answer(&url, "Authorization: Basic YW5uOnB3\r\n", &json!({})).await;
    assert!(basic.ends_with("A bearer token is needed."), "{basic}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upgrade_requests_token_is_judged_again_at_every_operation() {
    let world = World::new().await;
    let url = world.serve().await;
    let ends = world.clock.now().as_second() + 60;
    let short = world.token(json!({ "company_id": "1", "sub": "7", "exp": ends }));
    let header = format!("{PROTOCOL}Authorization: Bearer {}\r\n", short.0);
    let mut raw = Raw::asking(&url, &header).await;
    raw.say(&json!({ "type": "connection_init" })).await;
    assert_eq!(raw.next().await.1, br#"{"type":"connection_ack"}"#);
    let viewer = json!({ "type": "subscribe", "id": "1", "payload": { "query": "{ viewer { userId } }" } });
    raw.say(&viewer).await;
    assert!(
        String::from_utf8(raw.next().await.1)
            .unwrap()
            .contains(r#""userId":"7""#)
    );
    world.advance(SignedDuration::from_secs(60)).await;
    let close = raw.closed().await;
    assert_eq!(&close[..2], 4403_u16.to_be_bytes());
}
