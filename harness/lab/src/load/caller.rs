//! A caller of `publishEvents` that uses very little CPU: a connection that stays open, and prepared requests.
//!
//! It understands the responses that the contract allows, and treats anything else as a failure. It supports only the
//! part of HTTP/1.1 that it needs: responses with a `content-length`.

use std::io;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use tenterhook_harness::client::NewEvent;

const MAX_HEADERS: usize = 64;
const BLOCK: usize = 16 * 1024;
/// Selects what a platform needs to know about its events.
const DOCUMENT: &str = "mutation($input: PublishEventsInput!) { publishEvents(input: $input) { events { event { eventId } \
                        deliveryCount } userErrors { code message } } }";
/// The text before each event id in a response.
const ID: &[u8] = b"\"eventId\":\"";
/// Most characters of a response that an error quotes.
const QUOTED: usize = 300;

/// The requests of a load: one event of each company, and the text around events.
pub struct Requests {
    token: String,
    before: String,
    after: &'static str,
    events: Vec<String>,
}

impl Requests {
    /// Requests for these companies in turn, with `body_bytes` bytes of data in each event.
    ///
    /// # Errors
    ///
    /// Never: an event can always be written as JSON.
    pub fn new(token: String, companies: impl Iterator<Item = u64>, body_bytes: u32) -> anyhow::Result<Self> {
        let data = data(body_bytes as usize);
        let events = companies.map(|company| {
            let event = NewEvent::new(company, "CHANGE", "deal", "8").with("data", data.clone());
            serde_json::to_string(&event)
        });
        let document = Value::from(DOCUMENT);
        Ok(Self {
            token,
            before: format!(r#"{{"query":{document},"variables":{{"input":{{"events":["#),
            after: "]}}}",
            events: events.collect::<Result<_, _>>()?,
        })
    }

    /// Writes the request with these events, by their numbers in the load. Overwrites `request`.
    pub fn write(&self, host: &str, events: std::ops::Range<u64>, request: &mut Vec<u8>) {
        let of = |number: u64| &self.events[(number % self.events.len() as u64) as usize];
        let commas = (events.end - events.start).saturating_sub(1) as usize;
        let inside: usize = events.clone().map(|number| of(number).len()).sum();
        let length = self.before.len() + inside + commas + self.after.len();
        let head = format!(
            "POST /graphql HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             accept: application/graphql-response+json\r\ncontent-length: {length}\r\n\r\n",
            self.token
        );
        request.clear();
        request.extend_from_slice(head.as_bytes());
        request.extend_from_slice(self.before.as_bytes());
        for number in events.clone() {
            if number > events.start {
                request.push(b',');
            }
            request.extend_from_slice(of(number).as_bytes());
        }
        request.extend_from_slice(self.after.as_bytes());
    }
}

/// A deal with exactly this number of bytes as JSON: short fields, and as many custom ones as fit.
pub fn data(bytes: usize) -> Value {
    const FIELD: usize = 56;
    let mut deal = json!({"id": 8, "t": ""});
    let fields = [
        ("currency", json!("EUR")),
        ("stage_id", json!(3)),
        ("status", json!("open")),
        ("owner_id", json!(7)),
        ("org_id", json!(11)),
        ("person_id", json!(12)),
        ("value", json!(1_200)),
        ("expected_close_date", json!("2026-12-24")),
        ("label", json!(["hot", "partner"])),
        ("update_time", json!("2026-11-26T10:00:00Z")),
    ];
    let custom = (0..).map(|number| {
        (
            format!("custom_{number}"),
            json!("a field of a usual length of text"),
        )
    });
    let named = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
    for (name, value) in named.chain(custom) {
        if deal.to_string().len() + FIELD > bytes {
            break;
        }
        deal[name] = value;
    }
    let missing = bytes.saturating_sub(deal.to_string().len());
    deal["t"] = "x".repeat(missing).into();
    deal
}

/// An open connection to a server.
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    /// Connects to an address such as `127.0.0.1:8080`.
    ///
    /// # Errors
    ///
    /// If nothing listens there.
    pub async fn open(host: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(host).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            received: Vec::with_capacity(BLOCK),
        })
    }

    /// Sends a request with this number of events. Returns their ids.
    ///
    /// # Errors
    ///
    /// If not all events were published. The connection cannot be used any more then.
    pub async fn publish(&mut self, request: &[u8], events: usize) -> anyhow::Result<Vec<Uuid>> {
        self.stream.write_all(request).await?;
        self.received.clear();
        let (status, body) = loop {
            self.received.reserve(BLOCK);
            ensure!(
                self.stream.read_buf(&mut self.received).await? > 0,
                "the server closed the connection before its response"
            );
            if let Some(answer) = answer(&self.received)? {
                break answer;
            }
        };
        let ids: Vec<Uuid> = ids(body).collect();
        if status != 200 || ids.len() != events {
            let said = String::from_utf8_lossy(&body[..body.len().min(QUOTED)]);
            bail!("HTTP {status}, {} of {events} events: {said}", ids.len());
        }
        Ok(ids)
    }
}

/// Status and body, once the response is complete.
fn answer(received: &[u8]) -> anyhow::Result<Option<(u16, &[u8])>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(received)? else {
        return Ok(None);
    };
    let length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.context("a response without a content-length")?;
    let length: usize = std::str::from_utf8(length.value)?.parse()?;
    let status = response.code.context("a response without a status")?;
    Ok(received.get(head..head + length).map(|body| (status, body)))
}

/// The ids in a response, in the order of the events. By the contract they occur nowhere else in it.
fn ids(body: &[u8]) -> impl Iterator<Item = Uuid> {
    let mut rest = body;
    std::iter::from_fn(move || {
        let at = rest.windows(ID.len()).position(|window| window == ID)? + ID.len();
        let id = Uuid::try_parse_ascii(rest.get(at..at + 36)?).ok();
        rest = &rest[at..];
        id
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_has_the_requested_length() {
        for bytes in [16, 100, 400, 1_024, 4_096] {
            assert_eq!(data(bytes).to_string().len(), bytes);
        }
    }

    #[test]
    fn a_request_has_its_events_in_order_and_its_length() {
        let requests = Requests::new("T".to_owned(), 5..8, 64).unwrap();
        let mut request = b"what was there before".to_vec();
        requests.write("h:1", 2..4, &mut request);
        let text = String::from_utf8(request).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("POST /graphql HTTP/1.1\r\nhost: h:1\r\nauthorization: Bearer T\r\n"),
            "{head}"
        );
        assert!(
            head.ends_with(&format!("content-length: {}", body.len())),
            "{head}"
        );
        let body: Value = serde_json::from_str(body).unwrap();
        let events = body["variables"]["input"]["events"].as_array().unwrap();
        let companies: Vec<&str> = events
            .iter()
            .map(|event| event["companyId"].as_str().unwrap())
            .collect();
        assert_eq!(companies, ["7", "5"]);
    }

    #[test]
    fn a_response_counts_once_it_is_complete() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody";
        assert_eq!(answer(text).unwrap().unwrap(), (200, b"body".as_slice()));
        for part in 0..text.len() {
            assert!(answer(&text[..part]).unwrap().is_none(), "{part}");
        }
        assert!(answer(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[test]
    fn ids_are_found_in_their_order() {
        let [one, two] = [Uuid::from_u128(1), Uuid::from_u128(2)];
        let body = format!(r#"{{"a":[{{"eventId":"{two}"}},{{"eventId":"{one}"}}]}}"#);
        assert_eq!(ids(body.as_bytes()).collect::<Vec<_>>(), [two, one]);
        assert_eq!(ids(br#"{"eventId":"short"}"#).count(), 0);
    }
}
