//! The example of the specification, its reference implementation, and the exact headers.

use proptest::prelude::*;
use secrecy::ExposeSecret;
use standardwebhooks::Webhook;

use super::*;
use crate::samples;

fn facts() -> RequestFacts {
    RequestFacts {
        message: samples::event().id.0,
        webhook: WebhookNumber::new(501).unwrap(),
        attempt: 2,
        started_at: "2026-11-23T10:11:15.999Z".parse().unwrap(),
    }
}

#[test]
fn e7_signatures_match_the_specifications_example() {
    let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let signature = sign(
        &[secret],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        br#"{"test": 2432232314}"#,
    );
    assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[test]
fn e7_during_the_overlap_both_secrets_sign_the_current_one_first() {
    let secrets = [SigningSecret::generate(), SigningSecret::generate()];
    let one = |secret: &SigningSecret| sign(std::slice::from_ref(secret), "id", 1, b"{}");
    assert_eq!(
        sign(&secrets, "id", 1, b"{}"),
        format!("{} {}", one(&secrets[0]), one(&secrets[1]))
    );
}

#[test]
fn e7_secrets_have_one_text_form_and_24_to_64_bytes() {
    let secret = |bytes: usize| format!("whsec_{}", BASE64_STANDARD.encode(vec![7; bytes]));
    for (length, valid) in [(0, false), (23, false), (24, true), (64, true), (65, false)] {
        assert_eq!(SigningSecret::parse(&secret(length)).is_ok(), valid, "{length}");
    }
    for text in [
        "",
        "whsec_",
        "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_$",
    ] {
        assert_eq!(SigningSecret::parse(text).err(), Some(InvalidSecret), "{text}");
    }
    let new = SigningSecret::generate();
    assert_eq!(new.bytes().len(), 32);
    assert_eq!(
        SigningSecret::parse(new.reveal().expose_secret())
            .unwrap()
            .bytes(),
        new.bytes()
    );
    assert_ne!(new.bytes(), SigningSecret::generate().bytes());
}

#[test]
fn r4_an_operator_lists_one_to_four_secrets() {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n";
    let count = |text: &str| listed(text).map(|secrets| secrets.len());
    assert_eq!(count(secret), Ok(1));
    assert_eq!(count(&format!("\n  {}\r\n\n{secret}", secret.trim())), Ok(2));
    assert_eq!(count(&secret.repeat(MOST_LISTED)), Ok(MOST_LISTED));
    assert_eq!(
        count(&secret.repeat(MOST_LISTED + 1)),
        Err(InvalidList::Count(MOST_LISTED + 1))
    );
    assert_eq!(count(" \n"), Err(InvalidList::Count(0)));
    let bad = count(&format!("{secret}\nwhsec_hunter2\n")).unwrap_err();
    assert_eq!(
        bad.to_string(),
        "line 3: a signing secret is \"whsec_\" and 24 to 64 bytes in base64"
    );
}

#[test]
fn e7_w11_a_request_has_its_headers_in_order() {
    let auth = BasicAuth {
        user: "aladdin".to_owned(),
        password: Some("open sesame".into()),
    };
    let secrets = [SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()];
    let id = "019ab0b4-6d80-7abc-8def-0123456789ab";
    let expected = [
        ("content-type", "application/json"),
        ("user-agent", concat!("Tenterhook/", env!("CARGO_PKG_VERSION"))),
        ("webhook-id", id),
        ("webhook-timestamp", "1795428675"),
        ("webhook-signature", &sign(&secrets, id, 1_795_428_675, b"{}")),
        ("tenterhook-webhook", "501"),
        ("tenterhook-attempt", "2"),
        ("authorization", "Basic YWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
    ]
    .map(|(name, value)| (name, value.to_owned()));
    let sent = |auth| {
        headers(
            &facts(),
            Purpose::Send {
                secrets: &secrets,
                body: b"{}",
                auth,
            },
        )
    };
    assert_eq!(sent(Some(&auth)), expected);
    assert_eq!(sent(None), expected[..7]);
}

#[test]
fn d10_shown_headers_are_the_sent_ones_without_secrets() {
    let auth = BasicAuth {
        user: "aladdin".to_owned(),
        password: Some("open sesame".into()),
    };
    let secrets = [SigningSecret::generate()];
    let sent = headers(
        &facts(),
        Purpose::Send {
            secrets: &secrets,
            body: b"{}",
            auth: Some(&auth),
        },
    );
    let shown = headers(&facts(), Purpose::Show { auth_sent: true });
    assert_eq!(sent.len(), shown.len());
    for (sent, shown) in sent.iter().zip(&shown) {
        let secret = ["webhook-signature", "authorization"].contains(&sent.0);
        assert_eq!(sent.0, shown.0);
        assert_eq!(sent.1 == shown.1, !secret, "{}", sent.0);
        assert_eq!(shown.1.ends_with("[redacted]"), secret, "{}", sent.0);
    }
    assert_eq!(headers(&facts(), Purpose::Show { auth_sent: false }), shown[..7]);
}

#[test]
fn no_secret_shows_in_debug_output() {
    let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    assert!(!format!("{secret:?}").contains("49, 242"));
    let auth = BasicAuth {
        user: "aladdin".to_owned(),
        password: Some("open sesame".into()),
    };
    assert!(!format!("{auth:?}").contains("sesame"));
}

proptest! {
    /// Receivers verify with libraries such as this one.
    #[test]
    fn e7_signatures_agree_with_the_reference_implementation(
        key in prop::collection::vec(any::<u8>(), 24..=64), id in "[a-z0-9-]{1,40}", timestamp: i64, body: String,
    ) {
        let secret = SigningSecret::from_bytes(key).unwrap();
        let reference = Webhook::new(secret.reveal().expose_secret()).unwrap();
        let expected = reference.sign(&id, timestamp, body.as_bytes()).unwrap();
        prop_assert_eq!(sign(&[secret], &id, timestamp, body.as_bytes()), expected);
    }
}
