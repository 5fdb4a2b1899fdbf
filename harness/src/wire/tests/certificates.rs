//! How a client judges each certificate. Also the faults of HTTP/2, which need one.

use super::*;

async fn error(certificate: Certificate) -> String {
    let authority = Authority::new().unwrap();
    let receiver = receiver_with(Some(certificate.tls(&authority).unwrap()), 200).await;
    assert!(receiver.url().starts_with("https://"));
    let error = post_by(&client(Some(&authority)), &receiver).await.unwrap_err();
    assert!(
        receiver.journal().is_empty(),
        "a request came over {certificate:?}"
    );
    error
}

#[tokio::test]
async fn a_valid_certificate_is_trusted_with_its_authority() {
    let authority = Authority::new().unwrap();
    let tls = Certificate::Valid.tls(&authority).unwrap();
    let receiver = receiver_with(Some(tls), 204).await;
    let answer = post_by(&client(Some(&authority)), &receiver).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.version()),
        (204, reqwest::Version::HTTP_11)
    );
    let stranger = Authority::new().unwrap();
    assert!(post_by(&client(Some(&stranger)), &receiver).await.is_err());
}

#[tokio::test]
async fn each_bad_certificate_has_its_own_fault() {
    for (certificate, complaint) in [
        (Certificate::Expired, "Expired"),
        (Certificate::NotYetValid, "NotValidYet"),
        (Certificate::SelfSigned, "UnknownIssuer"),
        (Certificate::WrongHost, "NotValidForName"),
        (Certificate::Untrusted, "BadSignature"),
    ] {
        let error = error(certificate).await;
        assert!(error.contains(complaint), "{certificate:?}: {error}");
    }
}

async fn http2(fault: Fault) -> (WireReceiver, reqwest::Client) {
    let authority = Authority::new().unwrap();
    let tls = Certificate::Valid.tls(&authority).unwrap();
    (receiver_with(Some(tls), fault).await, client(Some(&authority)))
}

#[tokio::test]
async fn goaway_and_rst_stream_end_a_request_that_was_read() {
    for (fault, complaint) in [
        // The client does not report the code of a GOAWAY that covers its request.
        (Fault::Http2Goaway, "stream closed"),
        (Fault::Http2ResetStream, "REFUSED_STREAM"),
    ] {
        let (receiver, client) = http2(fault).await;
        let error = post_by(&client, &receiver).await.unwrap_err();
        assert!(error.contains(complaint), "{fault}: {error}");
        let arrivals = receiver.journal().all();
        assert_eq!(arrivals.len(), 1, "{fault}");
        assert_eq!(
            (
                arrivals[0].method.as_str(),
                &arrivals[0].path[..],
                &arrivals[0].body[..]
            ),
            ("POST", "/hook", &b"{}"[..])
        );
    }
}

#[tokio::test]
async fn without_http2_settings_there_is_no_response() {
    let (receiver, client) = http2(Fault::Http2WithoutSettings).await;
    let answer = realtime::within(Duration::from_millis(200), post_by(&client, &receiver)).await;
    assert!(answer.is_none(), "{answer:?}");
}
