//! The platform's JSON arrives as it was published, and errors name the position of a value that cannot be read (E1,
//! E4).

use super::*;

const PUBLISH: &str = "mutation M($input: PublishEventsInput!) { publishEvents(input: $input) { \
                       events { index duplicate } userErrors { code path } } }";

fn event(more: &str) -> String {
    format!(r#"{{"companyId":"1","action":"CHANGE","object":"deal","objectId":"8","userId":"1",{more}}}"#)
}

/// A call with these events, whose texts need not be JSON.
fn call(events: &[String]) -> String {
    format!(
        r#"{{"query":"{PUBLISH}","variables":{{"input":{{"events":[{}]}}}}}}"#,
        events.join(",")
    )
}

async fn post(world: &World, token: &Token, body: impl Into<Body>) -> Json {
    let request = Request::post("/graphql")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {}", token.0))
        .body(body.into())
        .unwrap();
    world.send(request).await.1
}

#[tokio::test(flavor = "multi_thread")]
async fn e4_numbers_arrive_with_the_digits_they_were_published_with() {
    let world = World::new().await;
    let receiver = receiver(200).await;
    let ann = world.user(1, 7);
    for version in ["V1", "V2"] {
        let input = json!({ "subscriptionUrl": receiver.uri(), "version": version });
        world.webhook(&ann, input).await;
    }
    let data = r#"{"money":12345678901.123456789,"id":18446744073709551616,"small":1e-400,"large":1E400,"cents":1200.50,"zero":-0,"list":[1.0,0.10]}"#;
    let body = call(&[event(&format!(
        r#""data":{data},"previous":{{"cents":1200.5,"small":1e-400}}"#
    ))]);
    let answer = post(&world, &world.platform(), body).await;
    assert_eq!(
        answer["data"]["publishEvents"]["userErrors"],
        json!([]),
        "{answer}"
    );
    world.settle().await;
    let arrived = receiver.received_requests().await.unwrap();
    assert_eq!(arrived.len(), 2);
    for request in arrived {
        let body = String::from_utf8(request.body).unwrap();
        assert!(body.contains(data), "{body}");
        assert!(body.contains(r#""cents":1200.5"#), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e4_a_literal_that_would_lose_digits_is_refused_with_its_place() {
    let world = World::new().await;
    for (digits, is_refused) in [
        ("12345678901.123456789", true),
        ("1200.50", true),
        ("1200.5", false),
    ] {
        let query = format!(
            "mutation {{\n publishEvents(input: {{ events: [{{ companyId: \"1\", action: CREATE, object: \"deal\", \
             objectId: \"8\", userId: \"1\", data: {{ n: {digits} }} }}] }}) {{ userErrors {{ code }} }} }}"
        );
        let answer = world.answer(&world.platform(), &query, json!({})).await;
        let message = answer["errors"][0]["message"].as_str().unwrap_or_default();
        if is_refused {
            assert!(
                message.contains(digits) && message.contains("line 2, column 1"),
                "{answer}"
            );
            let code = &answer["errors"][0]["extensions"]["code"];
            assert_eq!(code, "GRAPHQL_VALIDATION_FAILED");
        } else {
            assert_eq!(
                answer["data"]["publishEvents"]["userErrors"],
                json!([]),
                "{answer}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_value_that_cannot_be_read_is_named_by_line_column_and_path() {
    let world = World::new().await;
    let good = event(r#""data":{"t":"a"}"#);
    for (data, what) in [
        (
            r#"{"t":"\ud83d"}"#,
            "in variables.input.events.1.data.t: half a surrogate pair",
        ),
        (
            r#"{"t":"\udc00"}"#,
            "in variables.input.events.1.data.t: half a surrogate pair",
        ),
        (
            r#"{"t":[1,]}"#,
            "in variables.input.events.1.data.t: trailing comma",
        ),
        (
            r#"{"t":NaN}"#,
            "in variables.input.events.1.data.t: expected value",
        ),
    ] {
        let bad = event(&format!(r#""data":{data}"#));
        let body = call(&[good.clone(), bad, good.clone()]);
        let answer = post(&world, &world.platform(), body).await;
        let message = answer["errors"][0]["message"].as_str().unwrap();
        assert!(
            message.contains("not valid JSON at line 1, column ") && message.contains(what),
            "{message}"
        );
        assert_eq!(answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT");
    }
    // A complete pair is one character, and 1e400 is a number.
    let body = call(&[event(r#""data":{"t":"\ud83d\ude00","n":1e400}"#)]);
    let answer = post(&world, &world.platform(), body).await;
    assert_eq!(
        answer["data"]["publishEvents"]["userErrors"],
        json!([]),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_order_mark_before_a_body_is_passed_over() {
    let world = World::new().await;
    let ann = world.user(1, 7);
    let answer = post(&world, &ann, "\u{feff}{\"query\":\"{ viewer { userId } }\"}").await;
    assert_eq!(answer["data"]["viewer"]["userId"], "7", "{answer}");
    let request = Request::post("/sim/clock/advance")
        .header("authorization", format!("Bearer {}", world.operator().0))
        .body(Body::from("\u{feff}{\"by\":\"PT0S\"}"))
        .unwrap();
    assert_eq!(world.send(request).await.0.as_u16(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn e1_the_order_of_keys_and_users_does_not_matter_but_digits_do() {
    let world = World::new().await;
    let said = async |more: &str| {
        let body = call(&[event(&format!(r#""idempotencyKey":"k",{more}"#))]);
        let answer = post(&world, &world.platform(), body).await["data"]["publishEvents"].take();
        match answer["events"][0]["duplicate"].as_bool() {
            Some(true) => "duplicate".to_owned(),
            Some(false) => "new".to_owned(),
            None => line(&answer["userErrors"][0]),
        }
    };
    let first = r#""data":{"a":1,"b":{"c":1,"d":[{"e":1,"f":12345678901234567890123}]}},"permittedUserIds":["7","8"]"#;
    let again = r#""permittedUserIds":["8","7","8"],"data":{"b":{"d":[{"f":12345678901234567890123,"e":1}],"c":1},"a":1}"#;
    assert_eq!(said(first).await, "new");
    assert_eq!(said(again).await, "duplicate");
    let conflict = "IDEMPOTENCY_CONFLICT input.events.0.idempotencyKey";
    assert_eq!(said(&first.replace("0123}", "0124}")).await, conflict);
    assert_eq!(said(&first.replace(r#""a":1,"#, r#""a":1.0,"#)).await, conflict);
}
