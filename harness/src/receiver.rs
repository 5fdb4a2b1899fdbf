//! A scripted receiver: a real web server (wiremock) on a port of its own that answers as told.
//!
//! Promises HTTP as a stock server speaks it, with kept-alive connections, and a journal of all that came. What no web
//! server would do (silence at the handshake, garbage, resets) is [`crate::wire`]'s.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use wiremock::{Mock, MockServer, Request as Received, Respond, ResponseTemplate, matchers};

use crate::journal::{Journal, Request};
use crate::reply::{Answer, Script};
use crate::signature::Keyring;
use crate::timekeeper::Time;

/// Longer than any test runs: wiremock's way of not answering.
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
    /// Starts one that answers by `script`, tells `time` when it means to hang, and checks signatures by `keyring`.
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

    /// Where it listens, as a subscription URL.
    pub fn url(&self) -> String {
        format!("{}/hook", self.server.uri())
    }

    /// Answers by another script from the next request on, counted anew.
    pub fn answer_with(&self, script: impl Into<Script>) {
        *self.script.lock().unwrap_or_else(PoisonError::into_inner) = (script.into(), 0);
    }

    /// What came.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }
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
