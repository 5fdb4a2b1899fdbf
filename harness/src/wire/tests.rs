//! Each fault as a client sees it: a harness that only meant to misbehave would prove nothing.

use std::time::Duration;

use super::*;
use crate::timekeeper::RealTime;

async fn receiver(conduct: impl Into<Conduct>) -> WireReceiver {
    let conduct = conduct.into();
    let conducts: Conducts = Arc::new(move |_| conduct.clone());
    WireReceiver::start(
        Listen::default(),
        Arc::new(RealTime),
        Keyring::default(),
        conducts,
    )
    .await
    .unwrap()
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .build()
        .unwrap()
}

async fn post(receiver: &WireReceiver) -> Result<reqwest::Response, String> {
    let request = client().post(receiver.url()).header("webhook-id", "e").body("{}");
    request.send().await.map_err(|error| format!("{error:?}"))
}

/// No answer within a moment: too short a moment could only make a silent receiver pass for silent.
async fn stays_silent(receiver: &WireReceiver) -> bool {
    realtime::within(Duration::from_millis(100), post(receiver))
        .await
        .is_none()
}

#[tokio::test]
async fn a_reply_is_sent_and_the_request_journalled() {
    let receiver = receiver(Conduct::Reply(
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
async fn connections_may_behave_one_by_one() {
    let conducts: Conducts = Arc::new(|number| if number == 0 { 500.into() } else { 204.into() });
    let (time, keyring) = (Arc::new(RealTime), Keyring::default());
    let receiver = WireReceiver::start(Listen::default(), time, keyring, conducts)
        .await
        .unwrap();
    assert_eq!(post(&receiver).await.unwrap().status(), 500);
    assert_eq!(post(&receiver).await.unwrap().status(), 204);
    receiver.behave(Fault::CloseWithoutAnswer);
    assert!(post(&receiver).await.is_err());
}

#[tokio::test]
async fn a_cue_lets_a_held_answer_go() {
    let cue = Cue::default();
    let receiver = receiver(Conduct::ReplyOnCue(cue.clone(), 200.into())).await;
    let answer = async {
        receiver.journal().wait_for(1).await;
        cue.give();
    };
    let (response, ()) = tokio::join!(post(&receiver), answer);
    assert_eq!(response.unwrap().status(), 200);
    assert_eq!(
        post(&receiver).await.unwrap().status(),
        200,
        "a cue given stays given"
    );
}

#[tokio::test]
async fn refusing_and_resetting_are_told_apart() {
    let refusing = WireReceiver::refusing(Arc::new(RealTime), Keyring::default()).unwrap();
    assert!(post(&refusing).await.unwrap_err().contains("ConnectionRefused"));
    for fault in [Fault::ResetAtOnce, Fault::ResetAfterRequest] {
        let error = post(&receiver(fault).await).await.unwrap_err();
        assert!(
            error.contains("ConnectionReset") || error.contains("BrokenPipe"),
            "{fault:?}: {error}"
        );
    }
    let error = post(&receiver(Fault::CloseWithoutAnswer).await)
        .await
        .unwrap_err();
    assert!(error.contains("IncompleteMessage"), "{error}");
}

#[tokio::test]
async fn what_never_answers_never_answers() {
    let deaf = WireReceiver::deaf(Arc::new(RealTime), Keyring::default())
        .await
        .unwrap();
    assert!(stays_silent(&deaf).await);
    for fault in [Fault::Silence, Fault::HangBeforeHeaders, Fault::HangInHeaders] {
        assert!(stays_silent(&receiver(fault).await).await, "{fault:?}");
    }
}

#[tokio::test]
async fn odd_answers_are_what_they_say() {
    assert_eq!(
        post(&receiver(Fault::SwitchingProtocols).await)
            .await
            .unwrap()
            .status(),
        101
    );
    assert_eq!(
        post(&receiver(Fault::EarlyHints).await).await.unwrap().status(),
        200
    );
    assert!(
        post(&receiver(Fault::Garbage).await)
            .await
            .unwrap_err()
            .contains("Parse")
    );
    let mut endless = post(&receiver(Fault::EndlessBody).await).await.unwrap();
    let mut read = 0;
    while read < 1 << 20 {
        read += endless.chunk().await.unwrap().unwrap().len();
    }
}

#[tokio::test]
async fn a_self_signed_certificate_ends_the_handshake() {
    let listen = Listen {
        tls: Some(self_signed().unwrap()),
        ..Listen::default()
    };
    let conducts: Conducts = Arc::new(|_| 200.into());
    let receiver = WireReceiver::start(listen, Arc::new(RealTime), Keyring::default(), conducts)
        .await
        .unwrap();
    assert!(receiver.url().starts_with("https://"));
    let error = post(&receiver).await.unwrap_err();
    assert!(error.contains("UnknownIssuer"), "{error}");
    assert!(receiver.journal().is_empty());
}
