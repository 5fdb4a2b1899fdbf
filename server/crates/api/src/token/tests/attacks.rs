//! Tokens that an attacker might try. Each is refused like any invalid token, and has a similar one that is accepted.

use super::*;
use tenterhook_model::access::Caller;

const SECRET: &str = "a secret of thirty-two bytes or more";
const HS256: &str = r#"{"alg":"HS256"}"#;
/// Keys made for this test.
const RSA: &str = include_str!("rsa.pem");
const RSA_PUBLIC: &str = include_str!("rsa_public.pem");

async fn verdict(token: &str) -> Result<Caller, Refusal> {
    let verifier = Verifier::new(KeySet::shared_secret(&SECRET.into()), "us", "them");
    Ok(verifier.verify(token, now()).await?.caller)
}

/// The verdict on a token of ours with this header.
async fn with_header(header: &str) -> Result<Caller, Refusal> {
    verdict(&sealed(header, claims().to_string(), SECRET.as_bytes())).await
}

/// The verdict on a token of ours with this payload.
async fn with_payload(payload: impl AsRef<[u8]>) -> Result<Caller, Refusal> {
    verdict(&sealed(HS256, payload, SECRET.as_bytes())).await
}

/// The verdict on a token of ours with this claim, or without it.
async fn with_claim(name: &str, value: Option<Value>) -> Result<Caller, Refusal> {
    let mut claims = claims();
    match value {
        Some(value) => claims[name] = value,
        None => drop(claims.as_object_mut().and_then(|claims| claims.remove(name))),
    }
    with_payload(claims.to_string()).await
}

/// The public half as a JSON Web Key with this id.
pub(super) fn rsa_key(kid: &str) -> Value {
    let key = EncodingKey::from_rsa_pem(RSA.as_bytes()).expect("it is one");
    let jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&key, jsonwebtoken::Algorithm::RS256);
    let mut jwk = json!(jwk.expect("it has a public half"));
    jwk["kid"] = json!(kid);
    jwk
}

#[tokio::test]
async fn unsigned_tokens_are_refused() {
    let whole = sealed(HS256, claims().to_string(), SECRET.as_bytes());
    assert!(verdict(&whole).await.is_ok());
    for algorithm in [
        "none", "None", "NONE", "nOnE", "", "null", "hs256", "HS256 ", "HS1",
    ] {
        let header = json!({ "alg": algorithm, "typ": "JWT" }).to_string();
        let signed = sealed(&header, claims().to_string(), SECRET.as_bytes());
        let (unsigned, _) = signed.rsplit_once('.').unwrap();
        for token in [
            signed.as_str(),
            unsigned,
            &format!("{unsigned}."),
            &format!("{unsigned}.AA"),
        ] {
            assert_eq!(
                verdict(token).await,
                Err(Refusal::Invalid),
                "{algorithm:?} {token}"
            );
        }
    }
    let (unsigned, signature) = whole.rsplit_once('.').unwrap();
    for token in [
        unsigned.to_owned(),
        format!("{unsigned}."),
        format!("{unsigned}.{}", &signature[1..]),
        format!("{whole}."),
        format!("{whole}.{signature}"),
        format!("{whole}="),
        format!("{whole} "),
        format!(".{whole}"),
        format!("{unsigned}.{}", signature.to_lowercase()),
    ] {
        assert_eq!(verdict(&token).await, Err(Refusal::Invalid), "{token}");
    }
}

#[tokio::test]
async fn a_header_needs_one_algorithm_and_no_critical_extension() {
    for header in [HS256, r#"{"alg":"HS256","typ":"at+jwt","unknown":{"a":[1]}}"#] {
        assert!(with_header(header).await.is_ok(), "{header}");
    }
    for header in [
        "{}",
        "[]",
        "null",
        r#""HS256""#,
        r#"["HS256"]"#,
        r#"{"alg":null}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":"HS256","alg":"none"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"HS256","crit":"exp"}"#,
        r#"{"alg":"HS256"} "x""#,
    ] {
        assert_eq!(with_header(header).await, Err(Refusal::Invalid), "{header}");
    }
}

/// Key confusion: the public part of a key signs nothing, in whichever form it is used as a secret.
#[tokio::test]
async fn the_public_part_of_a_key_cannot_sign() {
    let jwk = rsa_key("one");
    let verifier = jwks(&json!([jwk]));
    let one = |algorithm| Header {
        kid: Some("one".to_owned()),
        ..Header::new(algorithm)
    };
    let private = EncodingKey::from_rsa_pem(RSA.as_bytes()).unwrap();
    for algorithm in [jsonwebtoken::Algorithm::RS256, jsonwebtoken::Algorithm::PS256] {
        let token = encode(&one(algorithm), &claims(), &private).unwrap();
        let accepted = verifier.verify(&token, now()).await.is_ok();
        assert_eq!(
            accepted,
            algorithm == jsonwebtoken::Algorithm::RS256,
            "{algorithm:?}"
        );
    }
    let modulus = jwk["n"].as_str().unwrap();
    let lines: String = RSA_PUBLIC.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::prelude::BASE64_STANDARD.decode(&lines).unwrap();
    for secret in [
        RSA_PUBLIC.as_bytes(),
        RSA_PUBLIC.trim_end().as_bytes(),
        &der,
        lines.as_bytes(),
        modulus.as_bytes(),
        &BASE64.decode(modulus).unwrap(),
        jwk.to_string().as_bytes(),
        b"",
    ] {
        for algorithm in ["HS256", "HS384", "HS512", "RS256", "ES256", "EdDSA"] {
            let token = forged(&json!({ "alg": algorithm, "kid": "one" }), secret);
            assert_eq!(
                verifier.verify(&token, now()).await,
                Err(Refusal::Invalid),
                "{algorithm}"
            );
        }
    }
}

/// A key id is only compared; a key or address in the header is ignored.
#[tokio::test]
async fn keys_and_addresses_in_the_header_are_ignored() {
    let verifier = jwks(&json!([rsa_key("one")]));
    for kid in [
        "../../../../dev/null",
        "/dev/null",
        "one' or '1'='1",
        "http://127.0.0.1:9/jwks.json",
        "one\u{0}",
        "One",
        "",
    ] {
        for secret in ["", "AA==", RSA_PUBLIC] {
            let token = forged(&json!({ "alg": "HS256", "kid": kid }), secret.as_bytes());
            assert_eq!(
                verifier.verify(&token, now()).await,
                Err(Refusal::Invalid),
                "{kid:?}"
            );
        }
    }
    // Correctly signed, with the sender's own key.
    for (name, value) in [
        ("jwk", public("one")),
        ("jku", json!("http://127.0.0.1:9/jwks.json")),
        ("x5u", json!("http://127.0.0.1:9/chain.pem")),
        ("x5c", json!(["AA=="])),
    ] {
        let mut header = json!({ "alg": "EdDSA", "kid": "one" });
        header[name] = value;
        let header: Header = serde_json::from_value(header).unwrap();
        let own = EncodingKey::from_ed_pem(PRIVATE.as_bytes()).unwrap();
        let token = encode(&header, &claims(), &own).unwrap();
        assert_eq!(
            verifier.verify(&token, now()).await,
            Err(Refusal::Invalid),
            "{name}"
        );
        let theirs = jwks(&json!([public("one")]));
        assert!(
            theirs.verify(&token, now()).await.is_ok(),
            "{name}: else the test proves nothing"
        );
    }
}

#[tokio::test]
async fn the_issuer_must_match_and_the_audience_must_include_us() {
    let accepted = [
        ("iss", json!("us")),
        ("aud", json!("them")),
        ("aud", json!(["them"])),
        ("aud", json!(["others", "them"])),
    ];
    for (claim, value) in accepted {
        assert!(
            with_claim(claim, Some(value.clone())).await.is_ok(),
            "{claim} {value}"
        );
    }
    for (claim, ours) in [("iss", "us"), ("aud", "them")] {
        assert_eq!(with_claim(claim, None).await, Err(Refusal::Invalid), "no {claim}");
        for value in [
            json!(null),
            json!(""),
            json!(ours.to_uppercase()),
            json!(format!("{ours}/")),
            json!(format!(" {ours}")),
            json!(&ours[1..]),
            json!(1),
            json!(true),
            json!([]),
            json!([ours.to_uppercase()]),
            json!([[ours]]),
            json!({ ours: ours }),
        ] {
            assert_eq!(
                with_claim(claim, Some(value.clone())).await,
                Err(Refusal::Invalid),
                "{claim} {value}"
            );
        }
    }
    for list in [json!(["us"]), json!(["others", "us"])] {
        assert_eq!(
            with_claim("iss", Some(list)).await,
            Err(Refusal::Invalid),
            "one issuer"
        );
    }
}

/// T1, T2: to the microsecond, without leeway.
#[tokio::test]
async fn a_token_is_valid_from_nbf_until_just_before_exp() {
    let at = now().as_second();
    let fraction = |micros: i32| json!(at as f64 + f64::from(micros) / 1e6);
    let table = [
        ("exp", json!(at + 1), Ok(())),
        ("exp", fraction(1), Ok(())),
        ("exp", json!(at), Err(Refusal::Expired)),
        ("exp", json!(at - 1), Err(Refusal::Expired)),
        ("exp", json!(0), Err(Refusal::Expired)),
        ("exp", json!(1e15), Ok(())),
        ("exp", json!(1e300), Err(Refusal::Invalid)),
        ("exp", json!(null), Err(Refusal::Invalid)),
        ("exp", json!(-1), Err(Refusal::Invalid)),
        ("exp", json!((at + 1).to_string()), Err(Refusal::Invalid)),
        ("exp", json!([at + 1]), Err(Refusal::Invalid)),
        ("nbf", json!(at), Ok(())),
        ("nbf", fraction(1), Err(Refusal::Early)),
        ("nbf", json!(at + 1), Err(Refusal::Early)),
        ("nbf", json!(null), Ok(())),
        ("nbf", json!("soon"), Err(Refusal::Invalid)),
        // Says when the token was made, and gives no right.
        ("iat", json!(at + 1_000_000_000), Ok(())),
        ("iat", json!("yesterday"), Ok(())),
    ];
    for (claim, value, expected) in table {
        let verdict = with_claim(claim, Some(value.clone())).await;
        assert_eq!(verdict.map(drop), expected, "{claim} {value}");
    }
    assert_eq!(with_claim("exp", None).await, Err(Refusal::Invalid), "no end");
    let beyond = claims().to_string().replace(&format!("{}", at + 1), "1e999");
    assert!(beyond.contains("1e999"), "{beyond}");
    assert_eq!(with_payload(beyond).await, Err(Refusal::Invalid), "no number");
}

#[tokio::test]
async fn a_payload_must_be_one_object_without_duplicate_claims() {
    let good = claims().to_string();
    assert!(with_payload(&good).await.is_ok());
    let at = now().as_second() + 1;
    for payload in [
        "".to_owned(),
        "{}".to_owned(),
        "null".to_owned(),
        "true".to_owned(),
        "1".to_owned(),
        format!("{good:?}"),
        format!("[{good}]"),
        format!("{good}{good}"),
        // The claims in the order of the server's struct: a list is not an object.
        format!(r#"["us","7","1","regular",null,"webhooks:read",null,{at}]"#),
        format!(r#"[{at},null,"7","us","them"]"#),
        "[".repeat(2_000),
    ] {
        assert_eq!(with_payload(&payload).await, Err(Refusal::Invalid), "{payload}");
    }
    assert_eq!(with_payload(b"\xff\xfe").await, Err(Refusal::Invalid));
    for (claim, value) in [
        ("iss", json!("us")),
        ("aud", json!("them")),
        ("exp", json!(at)),
        ("nbf", json!(0)),
        ("sub", json!("7")),
        ("company_id", json!("1")),
        ("role", json!("admin")),
        ("app_id", json!("crm")),
        ("scope", json!("operator")),
    ] {
        let twice = format!(
            r#"{},"{claim}":{value},"{claim}":{value}}}"#,
            &good[..good.len() - 1]
        );
        assert_eq!(with_payload(twice).await, Err(Refusal::Invalid), "{claim} twice");
    }
}

/// A token with exactly this number of bytes, otherwise valid.
fn of_length(length: usize) -> String {
    let mut claims = claims();
    for more in 0..4 {
        claims["more"] = json!("x".repeat(more));
        let token = |pad: usize| {
            let header = json!({ "alg": "HS256", "pad": "x".repeat(pad) }).to_string();
            sealed(&header, claims.to_string(), SECRET.as_bytes())
        };
        let about = (length - token(0).len()) * 3 / 4;
        let mut tokens = (about.saturating_sub(4)..about + 4).map(token);
        if let Some(token) = tokens.find(|token| token.len() == length) {
            return token;
        }
    }
    panic!("no token has {length} bytes")
}

#[tokio::test]
async fn a_token_over_the_length_limit_is_refused() {
    assert!(verdict(&of_length(LONGEST_TOKEN)).await.is_ok());
    assert_eq!(
        verdict(&of_length(LONGEST_TOKEN + 1)).await,
        Err(Refusal::Invalid)
    );
}
