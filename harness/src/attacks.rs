//! Documents and bodies made to damage a GraphQL server, with the refusal that each must get.
//!
//! Each is sent as any caller could send it, over every transport of the API. Some of them have crashed a stock GraphQL
//! server or kept it busy for minutes. The tests that send them check that this server keeps running.

use anyhow::{Context, bail, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::live::{Frame, PROTOCOL, RawSocket};
use crate::client::raw::{EVENTS, GRAPHQL_RESPONSE};
use crate::client::{Client, NewEvent, Refusal};
use crate::world::World;

/// Levels of nesting in a document of a few kilobytes.
const LEVELS: usize = 2_000;
/// Levels of nesting in a body.
const JSON_LEVELS: usize = 100_000;
/// Steps of a chain of fragments, in which each spreads the next one twice.
const STEPS: usize = 30;
const ALIASES: usize = 10_000;
const DIRECTIVES: usize = 1_000;
const VARIABLES: usize = 20_000;
const BODY_BYTES: usize = 16 * 1024 * 1024;

/// Keys that a JSON library uses internally. In JSON from outside they have no special meaning.
pub const INNER_KEYS: [&str; 2] = ["$serde_json::private::RawValue", "$serde_json::private::Number"];
/// Brackets around each level of [`nested_key`]: fewer than a parser's limit for one text. Each level is a new text.
const BRACKETS: usize = 118;

/// JSON in a string under the first of [`INNER_KEYS`], in JSON that is itself in such a string, and so on. A parser
/// that gives the key a meaning overflows its stack after about thirty levels, which are 16 KB.
pub fn nested_key(levels: usize) -> String {
    let key = INNER_KEYS[0];
    let quoted = |text: &str| text.replace('\\', "\\u005c").replace('"', "\\u0022");
    let (open, close) = ("[".repeat(BRACKETS), "]".repeat(BRACKETS));
    let mut text = format!("{open}1{close}");
    for _ in 0..levels {
        text = format!(r#"{open}{{"{key}":"{}"}}{close}"#, quoted(&text));
    }
    format!(r#"{{"{key}":"{}"}}"#, quoted(&text))
}

/// The places where a server reads JSON from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// The payload of `connection_init`, without a token.
    Init,
    /// The payload of `ping`.
    Ping,
    /// The variables of `subscribe`.
    SubscribedVariables,
    /// The extensions of `subscribe`.
    SubscribedExtensions,
    /// The variables of a posted request.
    Variables,
    /// An argument of a posted publication.
    Data,
    /// The extensions of a posted request.
    Extensions,
    /// The variables of a request that asks for a stream of events.
    EventsVariables,
    /// The variables in the URL of a request.
    Url,
    /// The extensions that name a persisted document.
    Persisted,
    /// The body of a request that moves the clock.
    Clock,
    /// The body of a request that tells the clock of a receiver.
    Stalled,
    /// A claim of a token.
    Token,
}

impl Door {
    /// Every place.
    pub const ALL: [Self; 13] = [
        Self::Init,
        Self::Ping,
        Self::SubscribedVariables,
        Self::SubscribedExtensions,
        Self::Variables,
        Self::Data,
        Self::Extensions,
        Self::EventsVariables,
        Self::Url,
        Self::Persisted,
        Self::Clock,
        Self::Stalled,
        Self::Token,
    ];

    /// Whether the value is part of the request's head, whose size is limited.
    pub fn is_narrow(self) -> bool {
        matches!(self, Self::Url | Self::Token)
    }

    /// Sends a value to this place, as any caller could. Returns a short form of the response.
    ///
    /// # Errors
    ///
    /// If there is no response, or the response is an internal error.
    pub async fn bring(self, value: &str, world: &World) -> anyhow::Result<String> {
        let user = world.company(1).user(7);
        let query = json!("{ viewer { userId } }");
        let variables = format!(r#"{{"query":{query},"variables":{{"a":{value}}}}}"#);
        let extensions = format!(r#"{{"query":{query},"extensions":{{"a":{value}}}}}"#);
        match self {
            Self::Init => {
                let mut socket = RawSocket::connect(user.server(), Some(PROTOCOL)).await?;
                say(
                    &mut socket,
                    format!(r#"{{"type":"connection_init","payload":{value}}}"#),
                )
                .await
            }
            Self::Ping => {
                let ping = format!(r#"{{"type":"ping","payload":{value}}}"#);
                say(&mut user.socket().await?, ping).await
            }
            Self::SubscribedVariables => say(&mut user.socket().await?, subscribe(&variables)).await,
            Self::SubscribedExtensions => say(&mut user.socket().await?, subscribe(&extensions)).await,
            Self::Variables => ordinary(user.post_raw(GRAPHQL_RESPONSE, variables).await?),
            Self::Data => {
                let event = NewEvent::new(1, "CHANGE", "deal", "8");
                match world.platform().publish_text(event, &[("data", value)]).await {
                    Ok(_) => Ok("published".to_owned()),
                    Err(Refusal::Transport(error)) => Err(error),
                    Err(refusal) if refusal.code() == "INTERNAL" => bail!("{refusal}"),
                    Err(refusal) => Ok(refusal.code().to_owned()),
                }
            }
            Self::Extensions => ordinary(user.post_raw(GRAPHQL_RESPONSE, extensions).await?),
            Self::EventsVariables => ordinary(user.post_raw(EVENTS, variables).await?),
            Self::Url => {
                let mut url = reqwest::Url::parse("http://host/graphql")?;
                url.query_pairs_mut()
                    .append_pair("query", "{ viewer { userId } }")
                    .append_pair("variables", &format!(r#"{{"a":{value}}}"#));
                let path = format!("/graphql?{}", url.query().unwrap_or_default());
                ordinary(user.send_raw(Method::GET, &path, None).await?)
            }
            Self::Persisted => {
                let hash = "0".repeat(64);
                let named = format!(
                    r#"{{"extensions":{{"persistedQuery":{{"version":1,"sha256Hash":"{hash}","a":{value}}}}},"variables":{value}}}"#
                );
                ordinary(user.post_raw(GRAPHQL_RESPONSE, named).await?)
            }
            Self::Clock => {
                let body = Some(format!(r#"{{"by":{value}}}"#));
                let path = "/sim/clock/advance";
                ordinary(world.operator().send_raw(Method::POST, path, body).await?)
            }
            Self::Stalled => {
                let body = Some(format!(r#"{{"target":{value},"messageId":{value}}}"#));
                ordinary(
                    world
                        .operator()
                        .send_raw(Method::POST, "/sim/stalled", body)
                        .await?,
                )
            }
            Self::Token => {
                let caller = user.with_token(Some(token_with(value, world)));
                let body = Some(format!(r#"{{"query":{query}}}"#));
                ordinary(caller.send_raw(Method::POST, "/graphql", body).await?)
            }
        }
    }
}

/// A valid token with this value as a claim.
fn token_with(value: &str, world: &World) -> String {
    let key = world.token_key();
    let (iss, aud) = (json!(key.issuer), json!(key.audience));
    let (iat, exp) = (world.now().as_second(), world.now().as_second() + 600);
    let claims = format!(
        r#"{{"sub":"7","company_id":"1","role":"regular","scope":"webhooks:read","iss":{iss},"aud":{aud},"iat":{iat},"exp":{exp},"a":{value}}}"#
    );
    key.seal(r#"{"alg":"HS256","typ":"JWT"}"#, claims)
}

fn subscribe(payload: &str) -> String {
    format!(r#"{{"type":"subscribe","id":"1","payload":{payload}}}"#)
}

/// Sends one message. Returns the type of the response, or the code of a close that blames the client.
async fn say(socket: &mut RawSocket, text: String) -> anyhow::Result<String> {
    // The server may close the connection before all of the message was sent.
    let sent = socket.send_text(text).await;
    loop {
        match socket.next().await? {
            Frame::Ping => {}
            Frame::Message(message) => return Ok(message["type"].as_str().unwrap_or_default().to_owned()),
            Frame::Closed(close @ (1009 | 4400..=4499), _) => return Ok(close.to_string()),
            Frame::Closed(close, reason) => bail!("closed with {close} {reason:?} after {sent:?}"),
        }
    }
}

/// The status of a response. Fails if it is an internal error.
fn ordinary((status, text): (u16, String)) -> anyhow::Result<String> {
    ensure!(
        matches!(status, 200 | 400..=499) && !text.contains("INTERNAL"),
        "{status} {text}"
    );
    Ok(status.to_string())
}

/// The transports of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// A request by POST.
    Http,
    /// A request by POST that asks for a stream of events.
    Events,
    /// An operation on a live connection.
    Socket,
}

impl Way {
    /// Every transport.
    pub const ALL: [Self; 3] = [Self::Http, Self::Events, Self::Socket];

    /// The name for reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Events => "sse",
            Self::Socket => "websocket",
        }
    }
}

/// One damaging request.
#[derive(Debug, Clone)]
pub struct Attack {
    /// The name for reports.
    pub name: &'static str,
    body: String,
    code: &'static str,
    /// The close code of a live connection, if the server refuses the message and not the operation.
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

    /// The expected refusal: an error code or a close code.
    pub fn expected(&self, way: Way) -> String {
        match (way, self.closes) {
            (Way::Socket, Some(close)) => close.to_string(),
            _ => self.code.to_owned(),
        }
    }

    /// Sends the request. Returns the code of the refusal.
    ///
    /// # Errors
    ///
    /// If it is not refused. The error has the actual response.
    pub async fn send(&self, way: Way, caller: &Client) -> anyhow::Result<String> {
        match way {
            Way::Http => {
                let (_, text) = caller.post_raw(GRAPHQL_RESPONSE, self.body.clone()).await?;
                code(&serde_json::from_str(&text)?)
            }
            Way::Events => {
                let (_, text) = caller.post_raw(EVENTS, self.body.clone()).await?;
                // A request that is refused before there is an operation gets a response without a stream.
                let event = text.strip_prefix("event: next\ndata: ").unwrap_or(&text);
                code(&serde_json::from_str(event.lines().next().unwrap_or_default())?)
            }
            Way::Socket => self.say(caller).await,
        }
    }

    async fn say(&self, caller: &Client) -> anyhow::Result<String> {
        let mut socket = caller.socket().await?;
        let message = format!(r#"{{"type":"subscribe","id":"1","payload":{}}}"#, self.body);
        // The server may close the connection before all of the message was sent.
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

/// Every attack.
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
