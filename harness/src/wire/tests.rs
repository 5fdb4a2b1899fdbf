//! Each fault as a client sees it, to prove that it really happens.

mod certificates;
mod faults;
mod scripts;

use std::time::Duration;

use super::*;
use crate::launch::SimulatedTime;
use crate::reply::Reply;
use crate::timekeeper::{RealTime, Timekeeper as _};

async fn receiver(behaviour: impl Into<Behaviour>) -> WireReceiver {
    receiver_with(None, behaviour).await
}

async fn receiver_with(tls: Option<Tls>, behaviour: impl Into<Behaviour>) -> WireReceiver {
    let listen = Listen {
        tls,
        ..Listen::default()
    };
    let (time, keyring) = (Arc::new(RealTime), Keyring::default());
    WireReceiver::start(listen, time, keyring, behaviour.into().for_all())
        .await
        .unwrap()
}

/// A client that follows no redirect, repeats nothing, and trusts only this authority.
fn client(trusted: Option<&Authority>) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let trusted =
        trusted.map(|authority| reqwest::Certificate::from_pem(authority.pem().as_bytes()).unwrap());
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .tls_certs_only(trusted)
        .build()
        .unwrap()
}

async fn post(receiver: &WireReceiver) -> Result<reqwest::Response, String> {
    post_by(&client(None), receiver).await
}

async fn post_by(client: &reqwest::Client, receiver: &WireReceiver) -> Result<reqwest::Response, String> {
    let request = client.post(receiver.url()).header("webhook-id", "e").body("{}");
    request.send().await.map_err(|error| format!("{error:?}"))
}

/// Whether no response arrives within a moment. If the moment is too short, a slow receiver could count as silent.
async fn stays_silent(receiver: &WireReceiver) -> bool {
    realtime::within(Duration::from_millis(100), post(receiver))
        .await
        .is_none()
}

#[tokio::test]
async fn a_reply_is_sent_and_the_request_journalled() {
    let receiver = receiver(Behaviour::Reply(
        Reply::status(418).header("x-tea", "pot").body("short"),
    ))
    .await;
    let response = post(&receiver).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["x-tea"]),
        (418, &"pot".parse().unwrap())
    );
    assert_eq!(response.text().await.unwrap(), "short");
    let arrivals = receiver.journal().wait_for(1).await;
    assert_eq!(
        (
            arrivals[0].event(),
            arrivals[0].method.as_str(),
            arrivals[0].path.as_str()
        ),
        ("e", "POST", "/hook")
    );
    assert_eq!(
        (&arrivals[0].body[..], arrivals[0].connection),
        (&b"{}"[..], Some(0))
    );
}

#[tokio::test]
async fn each_connection_can_behave_differently() {
    let behaviours: Behaviours = Arc::new(|number| if number == 0 { 500.into() } else { 204.into() });
    let (time, keyring) = (Arc::new(RealTime), Keyring::default());
    let receiver = WireReceiver::start(Listen::default(), time, keyring, behaviours)
        .await
        .unwrap();
    assert_eq!(post(&receiver).await.unwrap().status(), 500);
    assert_eq!(post(&receiver).await.unwrap().status(), 204);
    receiver.behave(Fault::CloseWithoutAnswer);
    assert!(post(&receiver).await.is_err());
}

#[tokio::test]
async fn a_release_signal_sends_the_held_response() {
    let signal = ReleaseSignal::default();
    let receiver = receiver(Behaviour::ReplyOnRelease(signal.clone(), 200.into())).await;
    let answer = async {
        receiver.journal().wait_for(1).await;
        signal.release();
    };
    let (response, ()) = tokio::join!(post(&receiver), answer);
    assert_eq!(response.unwrap().status(), 200);
    assert_eq!(
        post(&receiver).await.unwrap().status(),
        200,
        "a released signal stays released"
    );
}

#[tokio::test]
async fn a_refusing_port_differs_from_a_silent_one() {
    let refusing = WireReceiver::refusing(Arc::new(RealTime), Keyring::default()).unwrap();
    assert!(post(&refusing).await.unwrap_err().contains("ConnectionRefused"));
    let deaf = WireReceiver::deaf(Arc::new(RealTime), Keyring::default())
        .await
        .unwrap();
    assert!(stays_silent(&deaf).await);
}
