//! The closing handshake of RFC 6455, with bytes written by hand, because a client library may hide faults.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Message, http::HeaderValue};

use super::*;

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const MASK: [u8; 4] = [1, 2, 3, 4];
/// Far more than the server reads of a message.
const TOO_LARGE: usize = 4 * 1024 * 1024;

/// A client that reads and writes the raw connection.
pub(super) struct Raw(TcpStream);

impl Raw {
    async fn open(url: &str) -> Self {
        Self::asking(url, "Sec-WebSocket-Protocol: graphql-transport-ws\r\n").await
    }

    pub async fn asking(url: &str, header: &str) -> Self {
        let host = url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(host).await.unwrap();
        let request = format!(
            "GET /graphql/ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{header}\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(
            head.to_lowercase()
                .contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=")
        );
        Self(stream)
    }

    /// A client whose `connection_init` was acknowledged.
    async fn ready(url: &str, token: &Token) -> Self {
        let mut raw = Self::open(url).await;
        raw.say(&json!({ "type": "connection_init", "payload": { "authorization": format!("Bearer {}", token.0) } }))
            .await;
        let (_, ack) = raw.next().await;
        assert_eq!(ack, br#"{"type":"connection_ack"}"#);
        raw
    }

    pub async fn say(&mut self, message: &Json) {
        self.frame(TEXT, message.to_string().as_bytes()).await;
    }

    async fn frame(&mut self, first: u8, payload: &[u8]) {
        self.0.write_all(&framed(first, payload)).await.unwrap();
    }

    /// The next frame that is not a ping: its first byte and its payload.
    pub async fn next(&mut self) -> (u8, Vec<u8>) {
        let next = realtime::within(realtime::PATIENCE, self.read());
        next.await.expect("nothing came")
    }

    async fn read(&mut self) -> (u8, Vec<u8>) {
        loop {
            let first = self.0.read_u8().await.unwrap();
            let length = match self.0.read_u8().await.unwrap() {
                126 => u64::from(self.0.read_u16().await.unwrap()),
                127 => self.0.read_u64().await.unwrap(),
                length => u64::from(length),
            };
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.0.read_exact(&mut payload).await.unwrap();
            if first != 0x89 {
                return (first, payload);
            }
        }
    }

    /// Reads until the server's close frame, replies to it, and reads until the server has closed the connection,
    /// which must not be by a reset. Returns the payload of the close frame.
    pub async fn closed(mut self) -> Vec<u8> {
        let close = loop {
            if let (CLOSE, payload) = self.next().await {
                break payload;
            }
        };
        // The server may have closed the connection by now.
        let _ = self.0.write_all(&framed(CLOSE, &close)).await;
        let mut rest = Vec::new();
        let ended = realtime::within(realtime::PATIENCE, self.0.read_to_end(&mut rest)).await;
        assert_eq!(ended.expect("the server did not close").unwrap(), 0, "{rest:?}");
        close
    }

    async fn close_code(self) -> u16 {
        code_of(&self.closed().await)
    }
}

fn framed(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | u8::try_from(short).unwrap()),
        medium @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(medium).unwrap().to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}

fn code_of(close: &[u8]) -> u16 {
    u16::from_be_bytes([close[0], close[1]])
}

fn subscribe(id: &str, query: &str) -> Json {
    json!({ "type": "subscribe", "id": id, "payload": { "query": query } })
}

/// The state of a connection when the client closes it.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Opened,
    Acknowledged,
    Subscribed,
    /// With a test delivery in progress that gets no response.
    Waiting,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Opened, Self::Acknowledged, Self::Subscribed, Self::Waiting];

    async fn reach(self, url: &str, token: &Token, silent: &str) -> Raw {
        let operation = match self {
            Self::Opened => return Raw::open(url).await,
            Self::Acknowledged => return Raw::ready(url, token).await,
            // A subscription without events: the event for creating the webhook may arrive as late as now.
            Self::Subscribed => "subscription { noticePosted { id } }".to_owned(),
            Self::Waiting => format!(
                "mutation {{ testWebhook(input: {{ id: \"{silent}\" }}) {{ userErrors {{ code }} }} }}"
            ),
        };
        let mut raw = Raw::ready(url, token).await;
        raw.say(&subscribe("1", &operation)).await;
        raw.say(&json!({ "type": "ping" })).await;
        assert_eq!(raw.next().await.1, br#"{"type":"pong"}"#);
        raw
    }
}

/// A world in which clients may take long to close.
async fn patient() -> World {
    let caps = ConnectionCaps {
        leave_within: realtime::PATIENCE,
        ..ConnectionCaps::default()
    };
    World::built(Settings::development(), caps).await
}

/// A server, a user, and a webhook of the user whose receiver never responds.
async fn with_a_silent_receiver() -> (World, String, Token, String, TcpListener) {
    let world = patient().await;
    let (url, ann) = (world.serve().await, world.user(1, 7));
    let receiver = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", receiver.local_addr().unwrap());
    let silent = world.webhook(&ann, json!({ "subscriptionUrl": address })).await;
    (world, url, ann, silent, receiver)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_frame_is_echoed_in_every_stage() {
    let (_world, url, ann, silent, _receiver) = with_a_silent_receiver().await;
    for stage in Stage::ALL {
        let with_reason = [&1000_u16.to_be_bytes()[..], b"done"].concat();
        let mut closes = vec![Vec::new(), with_reason];
        closes.extend([1001_u16, 1008, 1011, 3000, 4000, 4999].map(|code| code.to_be_bytes().to_vec()));
        for close in closes {
            let mut raw = stage.reach(&url, &ann, &silent).await;
            raw.frame(CLOSE, &close).await;
            assert_eq!(raw.closed().await, close, "{stage:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_close_frame_is_answered_with_1002() {
    let (_world, url, ann, silent, _receiver) = with_a_silent_receiver().await;
    for stage in Stage::ALL {
        for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX] {
            let mut raw = stage.reach(&url, &ann, &silent).await;
            raw.frame(CLOSE, &code.to_be_bytes()).await;
            assert_eq!(raw.close_code().await, 1002, "{stage:?} {code}");
        }
    }
    for (close, code) in [
        (&[3][..], 1002),
        (&[0x03, 0xe8, 0xff], 1007),
        (&[0x03; 126], 1002),
    ] {
        let mut raw = Raw::ready(&url, &ann).await;
        raw.frame(CLOSE, close).await;
        assert_eq!(raw.close_code().await, code, "{close:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn websocket_protocol_errors_get_their_close_code() {
    let world = patient().await;
    let (url, ann) = (world.serve().await, world.user(1, 7));
    let unmasked = vec![TEXT, 2, b'{', b'}'];
    for (bytes, code) in [
        (unmasked, 1002),
        (framed(0xc1, b"{}"), 1002),
        (framed(0x83, b""), 1002),
        (framed(0x8b, b""), 1002),
        (framed(0x09, b""), 1002),
        (framed(0x89, &[0; 126]), 1002),
        (framed(0x80, b"{}"), 1002),
        ([framed(0x01, b"{"), framed(TEXT, b"}")].concat(), 1002),
        (framed(TEXT, &[0xff]), 1007),
    ] {
        let mut raw = Raw::ready(&url, &ann).await;
        raw.0.write_all(&bytes).await.unwrap();
        assert_eq!(raw.close_code().await, code, "{bytes:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_close_code_arrives_despite_unread_messages() {
    let world = patient().await;
    let (url, ann) = (world.serve().await, world.user(1, 7));
    let large = framed(TEXT, &vec![b' '; TOO_LARGE]);
    let mut raw = Raw::ready(&url, &ann).await;
    raw.0.write_all(&large).await.unwrap();
    assert_eq!(raw.close_code().await, 1009);

    let mut raw = Raw::ready(&url, &ann).await;
    raw.frame(TEXT, b"no message").await;
    raw.0.write_all(&large).await.unwrap();
    assert_eq!(raw.close_code().await, 4400);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_close_code_arrives_before_the_connection_ends() {
    let caps = ConnectionCaps {
        init_within: Duration::from_millis(500),
        leave_within: realtime::PATIENCE,
        ..ConnectionCaps::default()
    };
    let world = World::built(Settings::development(), caps).await;
    let (url, ann) = (world.serve().await, world.user(1, 7));
    let init = |token: &str| json!({ "type": "connection_init", "payload": { "authorization": token } });
    let changed = "subscription { webhookChanged { id } }";

    let raw = Raw::asking(&url, "").await;
    assert_eq!(raw.close_code().await, 4406);
    assert_eq!(Raw::open(&url).await.close_code().await, 4408);
    for (message, code) in [
        (json!({ "type": "nothing" }), 4400),
        (subscribe("1", changed), 4401),
        (init("Bearer x"), 4403),
    ] {
        let mut raw = Raw::open(&url).await;
        raw.say(&message).await;
        assert_eq!(raw.close_code().await, code);
    }
    for (messages, code) in [
        ([subscribe("1", changed), subscribe("1", changed)], 4409),
        ([json!({ "type": "ping" }), init("Bearer x")], 4429),
    ] {
        let mut raw = Raw::ready(&url, &ann).await;
        for message in messages {
            raw.say(&message).await;
        }
        assert_eq!(raw.close_code().await, code);
    }
    let following = Raw::ready(&url, &ann).await;
    let ((), code) = tokio::join!(world.connections.close(&world.clock), following.close_code());
    assert_eq!(code, 1001);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_has_sent_1001_to_every_socket() {
    let world = World::new().await;
    let (url, ann) = (world.serve().await, world.user(1, 7));
    let mut raws = Vec::new();
    for _ in 0..50 {
        raws.push(Raw::ready(&url, &ann).await);
    }
    world.connections.close(&world.clock).await;
    for mut raw in raws {
        let (first, close) = raw.next().await;
        assert_eq!((first, code_of(&close)), (CLOSE, 1001));
    }
}

/// The behaviour of graphql-ws between two subscriptions, with the client library that most Rust programs use.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_library_sees_a_clean_close_and_connects_again() {
    let world = World::new().await;
    let (url, ann) = (world.serve().await, world.user(1, 7));
    for _ in 0..2 {
        let host = url.strip_prefix("http://").unwrap();
        let mut request = format!("ws://{host}/graphql/ws").into_client_request().unwrap();
        let protocol = HeaderValue::from_static("graphql-transport-ws");
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let stream = TcpStream::connect(host).await.unwrap();
        let (mut socket, _) = client_async(request, stream).await.unwrap();
        let init =
            json!({ "type": "connection_init", "payload": { "authorization": format!("Bearer {}", ann.0) } });
        socket.send(Message::text(init.to_string())).await.unwrap();
        socket.next().await.unwrap().unwrap();
        let changed = subscribe("1", "subscription { webhookChanged { id } }");
        socket.send(Message::text(changed.to_string())).await.unwrap();
        let complete = json!({ "type": "complete", "id": "1" });
        socket.send(Message::text(complete.to_string())).await.unwrap();
        let frame = CloseFrame {
            code: 1000.into(),
            reason: "Normal Closure".into(),
        };
        socket.close(Some(frame.clone())).await.unwrap();
        let reply = socket.next().await.unwrap().unwrap();
        assert_eq!(reply, Message::Close(Some(frame)));
        assert!(
            socket.next().await.is_none(),
            "the library calls it a clean close"
        );
    }
}
