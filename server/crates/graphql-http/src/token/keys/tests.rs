//! A key set at a URL, served by a real HTTP server.

use std::sync::Mutex;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use super::source::{FETCH_PAUSE, LIFETIME, LONGEST_PAUSE};
use super::*;

/// Two Ed25519 keys. The tests do not need their private halves.
const PUBLIC: [&str; 2] = [
    "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg",
    "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
];
const MOMENT: Duration = Duration::from_nanos(1);

/// Serves the response that is set.
#[derive(Clone)]
struct StreamItem(Arc<Mutex<ResponseTemplate>>);

impl Respond for StreamItem {
    fn respond(&self, _: &Request) -> ResponseTemplate {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A platform's endpoint, and the keys fetched from it.
struct Fetched {
    server: MockServer,
    answer: StreamItem,
    set: KeySet,
    /// Real times before and after the first fetch.
    before: Instant,
    after: Instant,
}

fn key(number: usize) -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "x": PUBLIC[number], "kid": number.to_string(), "use": "sig" })
}

fn keys(keys: &[Value]) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({ "keys": keys }))
}

fn client() -> reqwest::Client {
    // Fails only if one is installed already, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    client.build().expect("no certificates are needed")
}

fn url(server: &MockServer) -> Url {
    server.uri().parse().expect("a server has an address")
}

async fn endpoint(answer: ResponseTemplate) -> (MockServer, StreamItem) {
    let answer = StreamItem(Arc::new(Mutex::new(answer)));
    let server = MockServer::start().await;
    Mock::given(any())
        .respond_with(answer.clone())
        .mount(&server)
        .await;
    (server, answer)
}

/// The key set from a first fetch with this response.
async fn first(answer: ResponseTemplate) -> Result<KeySet, InvalidKeys> {
    let (server, _) = endpoint(answer).await;
    KeySet::fetched(client(), url(&server), Clock::system()).await
}

/// Whether a token that names this key finds it at this real time.
async fn knows(set: &KeySet, number: usize, at: Instant) -> bool {
    let header = Header {
        kid: Some(number.to_string()),
        ..Header::new(Algorithm::EdDSA)
    };
    let source = set.source.as_ref().expect("it was fetched");
    set.key_at(source, &header, at).await.is_some()
}

impl Fetched {
    async fn new() -> Self {
        let (server, answer) = endpoint(keys(&[key(0)])).await;
        let before = Clock::system().monotonic();
        let set = KeySet::fetched(client(), url(&server), Clock::system()).await;
        Self {
            set: set.unwrap_or_else(|error| panic!("{error}")),
            after: Clock::system().monotonic(),
            before,
            answer,
            server,
        }
    }

    fn serve(&self, answer: ResponseTemplate) {
        *self.answer.0.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    async fn knows(&self, number: usize, at: Instant) -> bool {
        knows(&self.set, number, at).await
    }

    async fn fetches(&self) -> usize {
        self.server.received_requests().await.map_or(0, |all| all.len())
    }
}

#[tokio::test]
async fn a_rotation_is_picked_up_by_a_token_that_names_the_new_key() {
    let platform = Fetched::new().await;
    assert!(platform.knows(0, platform.after).await);
    platform.serve(keys(&[key(0), key(1)]));
    assert!(
        !platform.knows(1, platform.before + FETCH_PAUSE - MOMENT).await,
        "too soon"
    );
    assert_eq!(platform.fetches().await, 1);
    assert!(platform.knows(1, platform.after + FETCH_PAUSE).await);
    assert!(platform.knows(0, platform.after + FETCH_PAUSE).await);
    assert_eq!(platform.fetches().await, 2);
}

#[tokio::test]
async fn unknown_keys_cause_at_most_one_fetch_per_pause() {
    let platform = Fetched::new().await;
    let at = platform.after + FETCH_PAUSE;
    for stranger in 2..12 {
        assert!(!platform.knows(stranger, at).await);
    }
    assert_eq!(platform.fetches().await, 2);
    assert!(!platform.knows(2, at + FETCH_PAUSE - MOMENT).await);
    assert_eq!(platform.fetches().await, 2);
    assert!(!platform.knows(2, at + FETCH_PAUSE).await);
    assert_eq!(platform.fetches().await, 3);
}

#[tokio::test]
async fn a_withdrawn_key_is_valid_until_the_set_expires() {
    let platform = Fetched::new().await;
    platform.serve(keys(&[key(1)]));
    assert!(platform.knows(0, platform.before + LIFETIME - MOMENT).await);
    assert_eq!(platform.fetches().await, 1);
    assert!(!platform.knows(0, platform.after + LIFETIME).await);
    assert!(platform.knows(1, platform.after + LIFETIME).await);
    assert_eq!(platform.fetches().await, 2);
}

/// On every kind of failure the current keys stay and the pause doubles. The set is read again once the endpoint
/// works.
#[tokio::test]
async fn a_failing_endpoint_keeps_the_keys_and_is_fetched_less_often() {
    let platform = Fetched::new().await;
    let bad = [
        ResponseTemplate::new(500),
        ResponseTemplate::new(404).set_body_json(json!({ "keys": [key(1)] })),
        ResponseTemplate::new(200).set_body_string("<html>"),
        keys(&[]),
        keys(&[json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "1" })]),
    ];
    let mut at = platform.after;
    let mut pause = FETCH_PAUSE;
    for (failures, answer) in bad.into_iter().enumerate() {
        platform.serve(answer);
        assert!(
            !platform
                .knows(1, at + pause - MOMENT - (platform.after - platform.before))
                .await
        );
        assert_eq!(platform.fetches().await, failures + 1, "after {pause:?}");
        at += pause;
        assert!(!platform.knows(1, at).await);
        assert_eq!(platform.fetches().await, failures + 2, "after {pause:?}");
        assert!(platform.knows(0, at).await);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    assert_eq!(
        pause, LONGEST_PAUSE,
        "long enough an outage to reach the longest pause"
    );
    assert!(
        platform.knows(0, at + LIFETIME).await,
        "an old set is better than none"
    );
    let at = at + LIFETIME + LONGEST_PAUSE;
    platform.serve(keys(&[key(1)]));
    assert!(platform.knows(1, at).await);
    assert!(!platform.knows(0, at).await);
    platform.serve(keys(&[key(0)]));
    assert!(
        platform.knows(0, at + FETCH_PAUSE).await,
        "the pause is short again"
    );
}

/// An endpoint where nothing listens any more counts as a failure.
#[tokio::test]
async fn an_unreachable_endpoint_keeps_the_keys() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let answer_once = async move {
        let (mut caller, _) = listener.accept().await.unwrap();
        let read = caller.read(&mut [0; 4096]).await.unwrap();
        assert!(read > 0);
        let set = json!({ "keys": [key(0)] }).to_string();
        let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{set}");
        caller.write_all(answer.as_bytes()).await.unwrap();
    };
    let fetched = KeySet::fetched(client(), url.parse().unwrap(), Clock::system());
    let (set, ()) = tokio::join!(fetched, answer_once);
    let (set, at) = (set.unwrap(), Clock::system().monotonic() + LIFETIME);
    assert!(knows(&set, 0, at).await);
    assert!(!knows(&set, 1, at + LIFETIME).await);
    assert!(knows(&set, 0, at + LIFETIME).await);
}

#[tokio::test]
async fn a_server_does_not_start_without_keys() {
    assert!(first(keys(&[key(0)])).await.is_ok());
    for (answer, refusal) in [
        (ResponseTemplate::new(503), "the key set cannot be fetched"),
        (
            ResponseTemplate::new(200).set_body_string("{\"keys\":"),
            "not a JSON Web Key Set",
        ),
        (keys(&[]), "the key set has no"),
        (
            keys(&[json!({ "kty": "oct", "k": "c2VjcmV0" })]),
            "the key set has no",
        ),
    ] {
        let error = first(answer)
            .await
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(error.starts_with(refusal), "{error}");
    }
}

/// A key set padded with white space to this length.
fn padded(length: usize) -> ResponseTemplate {
    let set = json!({ "keys": [key(0)] }).to_string();
    let padding = " ".repeat(length - set.len());
    ResponseTemplate::new(200).set_body_string(set + &padding)
}

#[tokio::test]
async fn the_response_is_bounded_in_size_and_time() {
    assert!(first(padded(LARGEST_SET)).await.is_ok());
    assert!(matches!(
        first(padded(LARGEST_SET + 1)).await,
        Err(InvalidKeys::TooLarge)
    ));
    let endless = keys(&[key(0)]).set_delay(Duration::from_secs(3600));
    let (server, _) = endpoint(endless).await;
    let patience = Duration::from_millis(20);
    let late = KeySet::fetched_within(patience, client(), url(&server), Clock::system()).await;
    assert!(matches!(late, Err(InvalidKeys::NotFetched(why)) if why == "no response in time"));
}

/// An RSA key with a modulus of `bits` bits.
fn rsa(bits: usize, exponent: &str) -> Value {
    use base64::Engine;
    let bytes = bits.div_ceil(8);
    let mut modulus = vec![0xff; bytes];
    modulus[0] >>= bytes * 8 - bits;
    let modulus = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(modulus);
    json!({ "kty": "RSA", "n": modulus, "e": exponent })
}

#[test]
fn weak_keys_are_not_used() {
    use super::jwk::{LONGEST_RSA_BITS, SHORTEST_RSA_BITS};
    let usable = |key: Value| KeySet::from_jwks(&json!({ "keys": [key] }).to_string()).is_ok();
    for (bits, exponent, expected) in [
        (SHORTEST_RSA_BITS, "AQAB", true),
        (SHORTEST_RSA_BITS, "Aw", true),
        (SHORTEST_RSA_BITS - 1, "AQAB", false),
        (1024, "AQAB", false),
        (LONGEST_RSA_BITS, "AQAB", true),
        (LONGEST_RSA_BITS + 1, "AQAB", false),
        (SHORTEST_RSA_BITS, "AQ", false),
        (SHORTEST_RSA_BITS, "AA", false),
        (SHORTEST_RSA_BITS, "", false),
        (SHORTEST_RSA_BITS, "?", false),
    ] {
        assert_eq!(
            usable(rsa(bits, exponent)),
            expected,
            "{bits} bits, exponent {exponent:?}"
        );
    }
    let zeros = json!({ "kty": "RSA", "n": "A".repeat(400), "e": "AQAB" });
    assert!(!usable(zeros));
    assert!(
        !usable(json!({ "kty": "oct", "k": "c".repeat(86) })),
        "a published secret is none"
    );
    assert!(usable(key(0)));
}
