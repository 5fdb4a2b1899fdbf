//! Invalid tokens over HTTP and WebSocket: all get the same refusal.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tenterhook_harness::client::{Client, Refusal};
use tenterhook_harness::world::World;

const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
const VIEWER: &str = "{ viewer { userId } }";

/// The claims of a token of user 7 of company 1, with one claim replaced or left out.
fn claims(world: &World, name: &str, value: Value) -> String {
    let (key, now) = (world.token_key(), world.now().as_second());
    let mut claims = json!({
        "iss": key.issuer, "aud": key.audience, "exp": now + 60, "sub": "7", "company_id": "1",
        "role": "regular", "scope": "webhooks:read",
    });
    if value.is_null() {
        drop(claims.as_object_mut().and_then(|claims| claims.remove(name)));
    } else {
        claims[name] = value;
    }
    claims.to_string()
}

/// Code and message of the refusal.
async fn refusal(caller: &Client) -> (String, String) {
    match caller.query(VIEWER, json!({})).await {
        Err(Refusal::Request(_, errors)) => {
            let code = errors[0].extensions["code"].as_str().unwrap_or_default();
            (code.to_owned(), errors[0].message.clone())
        }
        other => panic!("it is refused: {other:?}"),
    }
}

/// A token must have the right algorithm, signature, issuer, audience and time. Otherwise it counts as no token.
#[tokio::test(flavor = "multi_thread")]
async fn forged_tokens_are_refused() {
    let world = World::start().await;
    let (key, now) = (world.token_key(), world.now().as_second());
    let good = claims(&world, "", json!(null));
    let nobody = world.anonymous(0);
    let holder = nobody.with_token(Some(key.seal(HS256, &good)));
    assert_eq!(
        holder.query(VIEWER, json!({})).await.unwrap()["viewer"]["userId"],
        "7"
    );
    drop(holder.live().await.unwrap());

    let signed = key.seal(r#"{"alg":"none"}"#, &good);
    let unsigned = signed.rsplit_once('.').unwrap().0;
    let with = |name: &str, value: Value| key.seal(HS256, claims(&world, name, value));
    let twice = |claim: &str| key.seal(HS256, format!("{},{claim}}}", &good[..good.len() - 1]));
    let mut invalid: Vec<String> = vec![
        signed.clone(),
        unsigned.to_owned(),
        format!("{unsigned}."),
        key.seal(r#"{"alg":"NONE"}"#, &good),
        key.seal(r#"{"alg":"HS512"}"#, &good),
        key.seal(r#"{"alg":"RS256"}"#, &good),
        key.seal(r#"{"alg":"HS256","crit":["exp"]}"#, &good),
        key.seal("[]", &good),
        key.seal(HS256, "[]"),
        key.seal(HS256, format!("[{good}]")),
        key.seal(HS256, ""),
        twice(r#""role":"admin""#),
        twice(r#""scope":"operator""#),
        twice(r#""company_id":"2""#),
        with("exp", json!(null)),
        with("exp", json!("tomorrow")),
        with("iss", json!(null)),
        with("iss", json!([key.issuer])),
        with("aud", json!(null)),
        with("aud", json!(["somebody"])),
        with("more", json!("x".repeat(8 * 1024))),
    ];
    // The signature of a token with other claims.
    let (whole, other) = (key.seal(HS256, &good), with("sub", json!("8")));
    let of_other = other.rsplit_once('.').unwrap().1;
    invalid.push(format!("{}.{of_other}", whole.rsplit_once('.').unwrap().0));
    let mut sentences = BTreeSet::new();
    for token in &invalid {
        let forger = nobody.with_token(Some(token.clone()));
        let (code, sentence) = refusal(&forger).await;
        assert_eq!(code, "UNAUTHENTICATED", "{token}");
        assert!(forger.live().await.is_err(), "{token}");
        let (status, _) = forger.post("/sim/settle", json!({})).await.unwrap();
        assert_eq!(status, 401, "{token}");
        sentences.insert(sentence);
    }
    assert_eq!(
        sentences.len(),
        1,
        "nothing can be learned from how: {sentences:?}"
    );

    for (name, value) in [("exp", json!(now)), ("nbf", json!(now + 1))] {
        let holder = nobody.with_token(Some(with(name, value)));
        assert_eq!(refusal(&holder).await.0, "UNAUTHENTICATED", "{name}");
    }
    for (name, value) in [
        ("exp", json!(now + 1)),
        ("nbf", json!(now)),
        ("iat", json!(now + 1_000_000)),
    ] {
        let holder = nobody.with_token(Some(with(name, value)));
        assert!(holder.query(VIEWER, json!({})).await.is_ok(), "{name}");
    }
    world.verify().await;
}
