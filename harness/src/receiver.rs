//! A scripted receiver: a real web server (wiremock) on its own port, with responses that a test sets.
//!
//! It uses HTTP like any stock server, with connections that stay open, and keeps a journal of all requests. Behaviour
//! that no web server has (silence at the handshake, garbage, resets) belongs to [`crate::wire`].

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use wiremock::{Mock, MockServer, Request as Received, Respond, ResponseTemplate, matchers};

use crate::journal::{Journal, Request};
use crate::realtime;
use crate::reply::{Answer, Script};
use crate::signature::Keyring;
use crate::timekeeper::Time;

/// Longer than any test runs: with wiremock a response that never comes is one with a long delay.
const FOREVER: Duration = Duration::from_secs(24 * 60 * 60);

/// A running receiver; dropping it stops it.
pub struct Receiver {
    server: MockServer,
    journal: Journal,
    script: Arc<Mutex<(Script, usize)>>,
}

struct Responder {
    time: Time,
    journal: Journal,
    script: Arc<Mutex<(Script, usize)>>,
}

impl Receiver {
    /// Starts a receiver that responds according to `script`, tells `time` when it will hang, and checks signatures
    /// with `keyring`.
    pub async fn start(time: Time, keyring: Keyring, script: impl Into<Script>) -> Self {
        let server = MockServer::builder().disable_request_recording().start().await;
        let journal = Journal::new(Arc::clone(&time), keyring);
        let script = Arc::new(Mutex::new((script.into(), 0)));
        let responder = Responder {
            time,
            journal: journal.clone(),
            script: Arc::clone(&script),
        };
        Mock::given(matchers::any())
            .respond_with(responder)
            .mount(&server)
            .await;
        Self {
            server,
            journal,
            script,
        }
    }

    /// Its URL, for a webhook.
    pub fn url(&self) -> String {
        format!("{}/hook", self.server.uri())
    }

    /// The address on which it listens.
    pub fn address(&self) -> SocketAddr {
        *self.server.address()
    }

    /// Waits until all clients have closed their connections and all their requests are in the journal. For use after
    /// all servers have crashed. Does not wait on systems other than Linux, which do not list their connections.
    ///
    /// # Panics
    ///
    /// If a connection is still open after [`realtime::PATIENCE`].
    pub async fn until_hung_up(&self) {
        let port = self.server.address().port();
        realtime::eventually("the receiver's callers have hung up", async || {
            !std::fs::read_to_string("/proc/net/tcp").is_ok_and(|table| is_called(&table, port))
        })
        .await;
    }

    /// Sets the script from the next request on. It counts requests from 0 again.
    pub fn answer_with(&self, script: impl Into<Script>) {
        *self.script.lock().unwrap_or_else(PoisonError::into_inner) = (script.into(), 0);
    }

    /// The requests that arrived.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }
}

/// Whether the kernel's table has a connection to this port that is open, or that was closed and not read to its end.
fn is_called(table: &str, port: u16) -> bool {
    const ESTABLISHED: &str = "01";
    const CLOSE_WAIT: &str = "08";
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let local = fields.next().and_then(|address| address.rsplit(':').next());
        let state = fields.nth(1);
        local.and_then(|local| u16::from_str_radix(local, 16).ok()) == Some(port)
            && matches!(state, Some(ESTABLISHED | CLOSE_WAIT))
    })
}

impl Respond for Responder {
    fn respond(&self, request: &Received) -> ResponseTemplate {
        let headers = request.headers.iter().map(|(name, value)| {
            (
                name.as_str().to_owned(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        });
        let query = request
            .url
            .query()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        let arrival = self.journal.enter(Request {
            connection: None,
            method: request.method.to_string(),
            path: format!("{}{query}", request.url.path()),
            headers: headers.collect(),
            body: Bytes::copy_from_slice(&request.body),
        });
        let answer = {
            let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
            script.1 += 1;
            script.0.answer(&arrival, script.1 - 1)
        };
        match answer {
            Answer::Hang => {
                self.time.stall(&arrival.name());
                ResponseTemplate::new(200).set_delay(FOREVER)
            }
            Answer::Reply(reply) => {
                let mut response = ResponseTemplate::new(reply.status).set_body_bytes(reply.body);
                for (name, value) in reply.headers {
                    response = response.append_header(name, value);
                }
                response
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_not_read_to_the_end_count_as_open() {
        let table = |state: &str| {
            format!(
                "  sl  local_address rem_address   st tx_queue rx_queue\n   0: 0100007F:1F90 0100007F:D2F0 {state} 00000000:0000\n"
            )
        };
        for (state, called) in [("01", true), ("08", true), ("06", false), ("0A", false)] {
            assert_eq!(is_called(&table(state), 8080), called, "{state}");
        }
        assert!(!is_called(&table("01"), 0xD2F0), "the other end is not ours");
        assert!(!is_called("", 8080));
    }
}
