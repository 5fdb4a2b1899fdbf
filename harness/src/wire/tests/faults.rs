//! One test for each fault.

use std::collections::HashSet;

use clap::ValueEnum;

use super::*;

/// The response to a request. Panics if there is none.
async fn answer(fault: Fault) -> reqwest::Response {
    let receiver = receiver(fault).await;
    // The receiver is dropped at the end of this function. By then its response has been sent.
    let answer = post(&receiver).await;
    answer.unwrap_or_else(|error| panic!("{fault}: {error}"))
}

/// The status of a response, and its body or the error while reading it.
async fn body(fault: Fault) -> (u16, Result<String, String>) {
    let receiver = receiver(fault).await;
    let answer = post(&receiver)
        .await
        .unwrap_or_else(|error| panic!("{fault}: {error}"));
    let status = answer.status().as_u16();
    (status, answer.text().await.map_err(|error| format!("{error:?}")))
}

async fn error(fault: Fault) -> String {
    let receiver = receiver(fault).await;
    match post(&receiver).await {
        Ok(answer) => panic!("{fault} was answered with {}", answer.status()),
        Err(error) => error,
    }
}

#[test]
fn every_fault_has_a_unique_name_and_a_help_text() {
    let names: HashSet<String> = Fault::all().iter().map(|fault| fault.name()).collect();
    assert_eq!(names.len(), Fault::all().len());
    for fault in Fault::all() {
        assert_eq!(Fault::from_str(&fault.name(), false), Ok(*fault));
        assert!(!fault.help().is_empty(), "{fault}");
        let kebab = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
        assert!(fault.name().chars().all(kebab), "{fault}");
    }
    assert_eq!(Fault::from_str("hang", false), Ok(Fault::HangBeforeHeaders));
}

#[tokio::test]
async fn a_broken_connection_is_an_error() {
    for fault in [
        Fault::ResetAtOnce,
        Fault::ResetAfterRequest,
        Fault::ResetInHeaders,
    ] {
        let error = error(fault).await;
        assert!(
            error.contains("ConnectionReset") || error.contains("BrokenPipe"),
            "{fault}: {error}"
        );
    }
    for fault in [Fault::CloseWithoutAnswer, Fault::HalfClose] {
        let error = error(fault).await;
        assert!(error.contains("IncompleteMessage"), "{fault}: {error}");
    }
}

#[tokio::test]
async fn silent_faults_send_no_response() {
    for fault in [
        Fault::Silence,
        Fault::SlowAccept,
        Fault::HangBeforeHeaders,
        Fault::HangInHeaders,
        Fault::DripHeaders,
        Fault::EndlessEarlyHints,
        Fault::Http2WithoutSettings,
    ] {
        assert!(stays_silent(&receiver(fault).await).await, "{fault}");
    }
}

#[tokio::test]
async fn invalid_http_cannot_be_parsed() {
    for fault in [
        Fault::Garbage,
        Fault::MalformedStatusLine,
        Fault::OversizedHeaders,
    ] {
        let error = error(fault).await;
        assert!(error.contains("Parse"), "{fault}: {error}");
    }
}

#[tokio::test]
async fn interim_responses_precede_the_final_one_and_101_is_final() {
    assert_eq!(answer(Fault::SwitchingProtocols).await.status(), 101);
    for fault in [Fault::EarlyHints, Fault::EarlyHintsStorm] {
        assert_eq!(answer(fault).await.status(), 200, "{fault}");
    }
}

#[tokio::test]
async fn redirects_have_their_location() {
    for (fault, status, location) in [
        (Fault::Redirect301, 301, "/hook"),
        (Fault::Redirect302, 302, "/hook"),
        (Fault::Redirect303, 303, "/hook"),
        (Fault::Redirect307, 307, "/hook"),
        (Fault::Redirect308, 308, "/hook"),
        (
            Fault::RedirectToMetadata,
            307,
            "http://169.254.169.254/latest/meta-data/",
        ),
        (Fault::RedirectToPrivate, 307, "http://10.0.0.1/"),
    ] {
        let answer = answer(fault).await;
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["location"].as_bytes()),
            (status, location.as_bytes()),
            "{fault}"
        );
    }
}

#[tokio::test]
async fn cut_off_and_invalid_bodies_follow_a_200() {
    for fault in [Fault::ResetInBody, Fault::ShortBody, Fault::ChunkedGarbage] {
        let (status, body) = body(fault).await;
        assert_eq!(status, 200, "{fault}");
        assert!(body.is_err(), "{fault}: {body:?}");
    }
    assert_eq!(body(Fault::LongBody).await, (200, Ok("more".to_owned())));
}

#[tokio::test]
async fn a_hanging_body_stops_half_way() {
    let receiver = receiver(Fault::HangInBody).await;
    let mut answer = post(&receiver).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "half");
    let rest = realtime::within(Duration::from_millis(100), answer.chunk()).await;
    assert!(rest.is_none(), "{rest:?}");
}

#[tokio::test]
async fn an_endless_body_goes_on() {
    let receiver = receiver(Fault::EndlessBody).await;
    let mut endless = post(&receiver).await.unwrap();
    let mut read = 0;
    while read < 1 << 20 {
        read += endless.chunk().await.unwrap().unwrap().len();
    }
}

#[tokio::test]
async fn a_gzip_bomb_is_gzip_and_expands_a_thousandfold() {
    let bomb = receiver(Fault::GzipBomb).await;
    // Reads the body compressed, to measure its size.
    let raw = reqwest::Client::builder().no_proxy().no_gzip();
    let raw = raw.tls_certs_only([]).build().unwrap();
    let body = post_by(&raw, &bomb).await.unwrap().bytes().await.unwrap();
    assert!(body.len() < 256 * 1024, "{} bytes", body.len());
    let mut expanded = flate2::read::GzDecoder::new(&body[..]);
    // Fails if the checksum or the length is wrong.
    let bytes = std::io::copy(&mut expanded, &mut std::io::sink()).unwrap();
    assert_eq!(bytes, 128 << 20);
}

#[tokio::test]
async fn a_slow_accept_responds_after_its_delay() {
    let time = SimulatedTime::starting_at("2026-02-03T10:00:00Z".parse().unwrap()).unwrap();
    let (keyring, behaviours) = (Keyring::default(), Behaviour::from(Fault::SlowAccept).for_all());
    let receiver = WireReceiver::start(Listen::default(), Arc::new(time.clone()), keyring, behaviours)
        .await
        .unwrap();
    let advance = async {
        // This clock does not know that the client is busy, so the test waits for its connection.
        realtime::eventually("the receiver waits", async || {
            time.advance_to_next().await.unwrap() > "2026-02-03T10:00:00Z".parse().unwrap()
        })
        .await;
    };
    let (answer, ()) = tokio::join!(post(&receiver), advance);
    assert_eq!(answer.unwrap().status(), 200);
    assert_eq!(time.now(), "2026-02-03T10:00:02Z".parse().unwrap());
}

#[tokio::test]
async fn a_drip_is_one_byte_a_second() {
    let beginning = "2026-02-03T10:00:00Z".parse().unwrap();
    let time = SimulatedTime::starting_at(beginning).unwrap();
    let (keyring, behaviours) = (Keyring::default(), Behaviour::from(Fault::DripHeaders).for_all());
    let receiver = WireReceiver::start(Listen::default(), Arc::new(time.clone()), keyring, behaviours)
        .await
        .unwrap();
    let mut seconds = 0;
    let mut answer = std::pin::pin!(post(&receiver));
    let answer = loop {
        tokio::select! {
            biased;
            answer = &mut answer => break answer,
            () = realtime::pause(Duration::from_millis(1)) => {
                if time.advance_to_next().await.unwrap() > time_at(beginning, seconds) {
                    seconds += 1;
                }
            }
        }
    };
    assert_eq!(answer.unwrap().status(), 200);
    assert!(seconds > 60, "only {seconds} seconds");
}

fn time_at(beginning: jiff::Timestamp, seconds: i64) -> jiff::Timestamp {
    beginning + jiff::SignedDuration::from_secs(seconds)
}
