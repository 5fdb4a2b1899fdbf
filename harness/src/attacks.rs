//! Documents and bodies that are made to hurt a GraphQL server, and what each must be refused with.
//!
//! Promises that each is sent as anybody could send it, over every way that leads to the graph. Some have crashed a stock
//! server, or kept it busy for minutes; that this one stays alive is for whoever sends them to look at.

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::client::Client;
use crate::client::live::Frame;
use crate::client::raw::{EVENTS, GRAPHQL_RESPONSE};

/// Levels of what is nested in a document of a few kilobytes.
const LEVELS: usize = 2_000;
/// Levels of what is nested in a body.
const JSON_LEVELS: usize = 100_000;
/// Steps of a chain of fragments of which each spreads the next one twice.
const STEPS: usize = 30;
const ALIASES: usize = 10_000;
const DIRECTIVES: usize = 1_000;
const VARIABLES: usize = 20_000;
const BODY_BYTES: usize = 16 * 1024 * 1024;

/// What leads to the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// A posted request.
    Http,
    /// A posted request that asks for a stream of events.
    Events,
    /// An operation of a live connection.
    Socket,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Http, Self::Events, Self::Socket];

    /// For reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Events => "sse",
            Self::Socket => "websocket",
        }
    }
}

/// One request that hurts.
#[derive(Debug, Clone)]
pub struct Attack {
    /// For reports.
    pub name: &'static str,
    body: String,
    code: &'static str,
    /// What a socket is closed with where it is the message that is refused, not its operation.
    closes: Option<u16>,
}

impl Attack {
    fn document(name: &'static str, code: &'static str, document: &str) -> Self {
        Self::body(name, code, None, json!({ "query": document }).to_string())
    }

    fn body(name: &'static str, code: &'static str, closes: Option<u16>, body: String) -> Self {
        Self {
            name,
            body,
            code,
            closes,
        }
    }

    /// What it must be refused with: an error's code, or a close code.
    pub fn expected(&self, way: Way) -> String {
        match (way, self.closes) {
            (Way::Socket, Some(close)) => close.to_string(),
            _ => self.code.to_owned(),
        }
    }

    /// Sends it; answers the code that it is refused with.
    ///
    /// # Errors
    ///
    /// When it is not refused; says what came instead.
    pub async fn send(&self, way: Way, caller: &Client) -> anyhow::Result<String> {
        match way {
            Way::Http => {
                let (_, text) = caller.post_raw(GRAPHQL_RESPONSE, self.body.clone()).await?;
                code(&serde_json::from_str(&text)?)
            }
            Way::Events => {
                let (_, text) = caller.post_raw(EVENTS, self.body.clone()).await?;
                // Refused before there is an operation, it has no stream.
                let event = text.strip_prefix("event: next\ndata: ").unwrap_or(&text);
                code(&serde_json::from_str(event.lines().next().unwrap_or_default())?)
            }
            Way::Socket => self.say(caller).await,
        }
    }

    async fn say(&self, caller: &Client) -> anyhow::Result<String> {
        let mut socket = caller.socket().await?;
        let message = format!(r#"{{"type":"subscribe","id":"1","payload":{}}}"#, self.body);
        // Its end may come before all of it was sent.
        let sent = socket.send_text(message).await;
        loop {
            match socket.next().await? {
                Frame::Ping => {}
                Frame::Closed(close, _) => return Ok(close.to_string()),
                Frame::Message(message) if message["type"] == "error" => {
                    return code(&json!({ "errors": message["payload"] }));
                }
                Frame::Message(message) => bail!("not refused, but {message} after {sent:?}"),
            }
        }
    }
}

fn code(answer: &Value) -> anyhow::Result<String> {
    let code = answer["errors"][0]["extensions"]["code"].as_str();
    Ok(code
        .with_context(|| format!("no error with a code: {answer}"))?
        .to_owned())
}

fn nested(open: &str, inner: &str, close: &str, levels: usize) -> String {
    format!("{}{inner}{}", open.repeat(levels), close.repeat(levels))
}

/// All of them.
pub fn all() -> Vec<Attack> {
    let (deep, complex) = ("QUERY_TOO_DEEP", "QUERY_TOO_COMPLEX");
    let list = nested("[", "", "]", LEVELS);
    let object = nested("{a:", "1", "}", LEVELS);
    let many = |count: usize, one: fn(usize) -> String| (0..count).map(one).collect::<String>();
    let chain = many(STEPS, |step| {
        let next = step + 1;
        format!(" fragment F{step} on Query {{ ...F{next} ...F{next} }}")
    });
    let chain = format!("{{ ...F0 }}{chain} fragment F{STEPS} on Query {{ __typename }}");
    let aliases = many(ALIASES, |n| format!("a{n}: __typename "));
    let directives = "@skip(if: false) ".repeat(DIRECTIVES);
    let declared = many(VARIABLES, |n| format!("$v{n}: Int "));
    let viewer = "{ viewer { userId } }";
    let given: serde_json::Map<String, Value> = (0..VARIABLES).map(|n| (format!("v{n}"), json!(1))).collect();
    let large = format!("{}{}", json!({ "query": viewer }), " ".repeat(BODY_BYTES));
    let json_list = nested("[", "1", "]", JSON_LEVELS);
    let json_object = nested("{\"a\":", "1", "}", JSON_LEVELS);
    let with = |variables: &str| format!(r#"{{"query":"{viewer}","variables":{{"a":{variables}}}}}"#);
    vec![
        Attack::document("lists", deep, &format!("{{ node(id: {list}) {{ id }} }}")),
        Attack::document("objects", deep, &format!("{{ node(id: {object}) {{ id }} }}")),
        Attack::document(
            "list default",
            deep,
            &format!("query Q($a: JSON = {list}) {viewer}"),
        ),
        Attack::document(
            "object default",
            deep,
            &format!("query Q($a: JSON = {object}) {viewer}"),
        ),
        Attack::document("fragment chain", complex, &chain),
        Attack::document("aliases", complex, &format!("{{ {aliases} }}")),
        Attack::document("directives", complex, &format!("{{ __typename {directives} }}")),
        Attack::document(
            "declared variables",
            complex,
            &format!("query Q({declared}) {viewer}"),
        ),
        Attack::body(
            "given variables",
            complex,
            Some(4400),
            json!({ "query": viewer, "variables": given }).to_string(),
        ),
        Attack::body("deep JSON lists", deep, Some(4400), with(&json_list)),
        Attack::body("deep JSON objects", deep, Some(4400), with(&json_object)),
        Attack::body("large body", "PAYLOAD_TOO_LARGE", Some(1009), large),
    ]
}
