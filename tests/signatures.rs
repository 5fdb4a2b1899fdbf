//! Every request is signed as Standard Webhooks specifies, so that a receiver needs no code of ours.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use standardwebhooks::Webhook as Verifier;
use tenterhook_harness::client::NewWebhook;
use tenterhook_harness::realtime;
use tenterhook_harness::world::World;

/// The body of each request, and the verdict of the stock library.
type Notes = Arc<Mutex<Vec<Result<serde_json::Value, String>>>>;

/// A receiver as anyone would write it: axum and the published library.
fn stock_receiver(secret: Arc<Mutex<Option<String>>>, notes: Notes) -> Router {
    let receive = async |State((secret, notes)): State<(Arc<Mutex<Option<String>>>, Notes)>,
                         headers: HeaderMap,
                         body: Bytes| {
        let secret = secret
            .lock()
            .expect("nobody panics with it")
            .clone()
            .expect("set before anything is sent");
        let verifier = Verifier::new(&secret).expect("the secret is in the library's format");
        let verdict = match verifier.verify(&body, &headers) {
            Ok(()) => serde_json::from_slice(&body).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let status = if verdict.is_ok() {
            StatusCode::NO_CONTENT
        } else {
            StatusCode::UNAUTHORIZED
        };
        notes.lock().expect("nobody panics with it").push(verdict);
        status
    };
    Router::new()
        .route("/hook", post(receive))
        .with_state((secret, notes))
}

/// E4, E5, E7: a receiver on a stock web framework accepts both versions with the stock library, which uses real time.
#[tokio::test(flavor = "multi_thread")]
async fn a_stock_receiver_accepts_both_versions_with_the_stock_library() {
    let world = World::builder().beginning(realtime::now()).start().await;
    for (new, place, expected) in [
        (NewWebhook::to as fn(&str) -> NewWebhook, "/meta/version", "2.0"),
        (|url| NewWebhook::to(url).v1(), "/event", "updated.deal"),
    ] {
        let (secret, notes) = (Arc::new(Mutex::new(None)), Notes::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let router = stock_receiver(Arc::clone(&secret), Arc::clone(&notes));
        let serving = realtime::spawn(async move { axum::serve(listener, router).await.unwrap() });

        let user = world.company(1).user(7);
        let created = user.create_webhook(new(&url)).await.unwrap();
        *secret.lock().unwrap() = Some(created.signing_secret);
        world.company(1).publish().await.unwrap();
        world.settle().await;

        let notes = notes.lock().unwrap().clone();
        let [Ok(body)] = &notes[..] else {
            panic!("one accepted request, not {notes:?}")
        };
        assert_eq!(body.pointer(place), Some(&expected.into()));
        let delivery = user.last_delivery(&created.webhook.id).await.unwrap();
        assert_eq!(
            (delivery.status.as_str(), delivery.attempts[0].http_status),
            ("SUCCEEDED", Some(204))
        );
        user.delete_webhook(&created.webhook.id).await.unwrap();
        serving.abort();
    }
    world.verify().await;
}
