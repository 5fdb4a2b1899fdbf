//! One socket, from opening to closing.
//!
//! A message is handled before the next one is read. A subscription already listens by then, so a `pong` to a `ping`
//! sent after it tells the caller that it misses nothing from then on. Everything of a socket runs in one task, so a
//! slow caller delays only itself; its subscriptions fall behind and end.

use std::collections::HashMap;
use std::time::Duration;

use async_graphql::Value;
use futures_util::future::{AbortHandle, BoxFuture, ready};
use futures_util::stream::{self, Abortable, BoxStream, SelectAll, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use super::credentials::authorization;
use super::message::{FromClient, FromServer, pong};
use super::wire::{Heard, Wire};
use super::{Close, End};
use crate::app::GraphqlApp;
use crate::connection_limits::ConnectionPermit;
use crate::endpoint::Endpoint;
use crate::error::{ErrorCode, RequestError};
use crate::raw_request::RawRequest;
use crate::request::{self, StreamItem};
use crate::subscription_start::{SubscriptionStart, begun};
use tenterhook_clock::Clock;

/// A message of an operation: its id, and a result or `None` at the end.
type Said = (String, Option<StreamItem>);

/// Maximum number of keep-alives without a response: when another one is due, the connection counts as broken.
const MOST_UNANSWERED: u32 = 2;

/// State of a connection on our side.
pub(super) struct Connection<A: GraphqlApp> {
    endpoint: Endpoint<A>,
    clock: Clock,
    permit: ConnectionPermit,
    /// The `Authorization` header of the upgrade request.
    of_upgrade: Option<String>,
    /// The accepted token.
    authorization: Option<String>,
    /// Resolves when the token expires, or, before there is a token, when the time for `connection_init` is over.
    limit: BoxFuture<'static, ()>,
    operations: HashMap<String, AbortHandle>,
    running: SelectAll<BoxStream<'static, Said>>,
    /// When the next keep-alive is due.
    tick: BoxFuture<'static, ()>,
    /// Number of keep-alives since the last message.
    unanswered: u32,
}

impl<A: GraphqlApp> Connection<A> {
    pub fn new(endpoint: Endpoint<A>, permit: ConnectionPermit, of_upgrade: Option<String>) -> Self {
        let clock = endpoint.app.clock().clone();
        let caps = endpoint.app.connections().caps;
        let (limit, tick) = (after(&clock, caps.init_within), after(&clock, caps.keep_alive));
        Self {
            endpoint,
            clock,
            permit,
            of_upgrade,
            authorization: None,
            limit,
            operations: HashMap::new(),
            running: SelectAll::new(),
            tick,
            unanswered: 0,
        }
    }

    /// Serves until the socket ends. By then all operations have ended.
    pub async fn serve(mut self, wire: &mut Wire) -> (End, ConnectionPermit) {
        let closing = self.endpoint.app.connections().closing();
        let talk = async {
            loop {
                if let Err(end) = self.turn(wire).await {
                    return end;
                }
            }
        };
        // Around everything, so that neither a read nor a write delays a stopping server.
        let end = tokio::select! {
            biased;
            () = closing => Close::new(1001, "The server is stopping").into(),
            end = talk => end,
        };
        (end, self.permit)
    }

    /// Waits for the next event and handles it.
    async fn turn(&mut self, wire: &mut Wire) -> Result<(), End> {
        tokio::select! {
            () = &mut self.limit => Err(self.overdue().into()),
            Some(said) = self.running.next() => self.say(wire, said).await,
            heard = wire.hear() => self.hear(wire, heard?).await,
            () = &mut self.tick => self.keep_alive(wire).await,
        }
    }

    fn overdue(&self) -> Close {
        match self.authorization {
            Some(_) => Close::new(4403, "The token has expired."),
            None => Close::new(4408, "Connection initialisation timeout"),
        }
    }

    async fn keep_alive(&mut self, wire: &mut Wire) -> Result<(), End> {
        if self.unanswered >= MOST_UNANSWERED {
            return Err(End::Gone);
        }
        self.unanswered += 1;
        self.tick = after(&self.clock, self.endpoint.app.connections().caps.keep_alive);
        wire.send(Message::Ping(bytes::Bytes::new())).await
    }

    async fn hear(&mut self, wire: &mut Wire, heard: Heard) -> Result<(), End> {
        self.unanswered = 0;
        let text = match heard {
            Heard::Text(text) => text,
            Heard::Control => return Ok(()),
            Heard::Binary => return Err(Close::new(4400, "A message must be text").into()),
        };
        let most = self.endpoint.app.connections().caps.message_bytes;
        if text.len() > most {
            return Err(Close::new(1009, format!("A message must have at most {most} bytes")).into());
        }
        match FromClient::read(&text)? {
            FromClient::ConnectionInit { payload } => self.init(wire, payload).await,
            FromClient::Ping { payload } => {
                let pong = pong(payload.as_ref());
                wire.send(Message::Text(pong.into())).await
            }
            FromClient::Pong => Ok(()),
            FromClient::Subscribe { id, payload } => self.subscribe(id, payload).await.map_err(End::Close),
            FromClient::Complete { id } => {
                if let Some(operation) = self.operations.remove(&id) {
                    operation.abort();
                }
                Ok(())
            }
        }
    }

    async fn init(&mut self, wire: &mut Wire, payload: Option<Value>) -> Result<(), End> {
        if self.authorization.is_some() {
            return Err(Close::new(4429, "Too many initialisation requests").into());
        }
        let authorization = authorization(payload.as_ref(), self.of_upgrade.as_deref())?.map(str::to_owned);
        let app = &self.endpoint.app;
        let session = app.authenticate(authorization.as_deref()).await;
        let session = session.map_err(|error| refused(&error))?;
        self.permit
            .join(app.connection_group(&session))
            .map_err(|full| Close::new(1013, full.to_string()))?;
        self.authorization = authorization;
        let (clock, end) = (self.clock.clone(), app.expires_at(&session));
        self.limit = Box::pin(async move { clock.sleep_until(end).await });
        self.tell(wire, &FromServer::ConnectionAck).await
    }

    async fn subscribe(&mut self, id: String, posted: RawRequest) -> Result<(), Close> {
        let Some(authorization) = &self.authorization else {
            return Err(Close::new(4401, "Unauthorized"));
        };
        if self.operations.contains_key(&id) {
            return Err(Close::new(4409, format!("Subscriber for {id} already exists")));
        }
        let most = self.endpoint.app.connections().caps.operations;
        let (items, start) = if self.operations.len() >= most {
            let why = format!("At most {most} operations may be in progress on one socket.");
            refusal(RequestError::new(ErrorCode::RateLimited, why))
        } else {
            match self.endpoint.app.authenticate(Some(authorization)).await {
                Ok(session) => request::stream(&self.endpoint, session, posted),
                Err(error) if error.code() == ErrorCode::Unauthenticated => return Err(refused(&error)),
                Err(error) => refusal(error),
            }
        };
        // A subscription listens when this returns. The next turn polls the items again.
        let items = begun(items, &start).await;
        self.run(id, items);
        Ok(())
    }

    fn run(&mut self, id: String, items: BoxStream<'static, StreamItem>) {
        let (operation, registration) = AbortHandle::new_pair();
        let (named, ended) = (id.clone(), (id.clone(), None));
        let said = items.map(move |item| (named.clone(), Some(item)));
        let said = said.chain(stream::once(ready(ended)));
        self.running.push(Abortable::new(said, registration).boxed());
        self.operations.insert(id, operation);
    }

    async fn say(&mut self, wire: &mut Wire, (id, item): Said) -> Result<(), End> {
        match item {
            Some(StreamItem::Result(response)) => {
                let next = FromServer::Next {
                    id: &id,
                    payload: &response,
                };
                self.tell(wire, &next).await
            }
            Some(StreamItem::Refused(errors)) => {
                self.end(&id);
                let error = FromServer::Error {
                    id: &id,
                    payload: &errors,
                };
                self.tell(wire, &error).await
            }
            None => {
                self.end(&id);
                self.tell(wire, &FromServer::Complete { id: &id }).await
            }
        }
    }

    /// Ends an operation and frees its id.
    fn end(&mut self, id: &str) {
        if let Some(operation) = self.operations.remove(id) {
            operation.abort();
        }
    }

    async fn tell(&mut self, wire: &mut Wire, message: &FromServer<'_>) -> Result<(), End> {
        let text = match serde_json::to_string(message) {
            Ok(text) => text,
            Err(error) => {
                let error = RequestError::internal(error).into_server_error();
                return Err(Close::new(1011, error.message).into());
            }
        };
        wire.send(Message::Text(text.into())).await
    }
}

/// Resolves after this span of real time.
fn after(clock: &Clock, span: Duration) -> BoxFuture<'static, ()> {
    let clock = clock.clone();
    Box::pin(async move { clock.real_sleep(span).await })
}

/// The messages of an operation that is refused because of a limit.
fn refusal(error: RequestError) -> (BoxStream<'static, StreamItem>, SubscriptionStart) {
    let refused = StreamItem::Refused(vec![error.into_server_error()]);
    (stream::once(ready(refused)).boxed(), SubscriptionStart::default())
}

/// The close code for a token that is refused or cannot be checked.
fn refused(error: &RequestError) -> Close {
    match error.code() {
        ErrorCode::Unavailable | ErrorCode::Internal => Close::new(1013, error.message()),
        _ => Close::new(4403, error.message()),
    }
}
