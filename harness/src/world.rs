//! A world: servers on a database of their own, a simulated clock, and whoever calls them and whom they call.
//!
//! Promises isolation (nothing is shared with another world but the Postgres process), that time moves only when it
//! is told to, and that [`World::verify`] looks at everything that happened. What fails here is the harness or the
//! server as a whole, so it panics and says what; what callers are answered is data, see [`Client`].

mod actors;
mod builder;
mod receivers;
mod tally;

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, SpanRelativeTo, Timestamp};

pub use self::actors::{App, Company};
pub use self::builder::WorldBuilder;
pub use self::tally::Tally;
use crate::client::Client;
use crate::database::Database;
use crate::journal::Journal;
use crate::launch::{Server, ServerOptions, SimulatedTime};
use crate::meter::Meter;
use crate::signature::Keyring;
use crate::timekeeper::Timekeeper;
use crate::token::Claims;

/// Servers, their database and their time.
pub struct World {
    time: SimulatedTime,
    servers: Vec<Server>,
    meter: Option<Meter>,
    keyring: Keyring,
    options: ServerOptions,
    database_url: String,
    journals: Mutex<Vec<Journal>>,
    // Last, so that the servers are gone before it is.
    _database: Database,
}

/// How far to move time: `"PT30M"`, or a duration.
pub trait Span {
    /// The duration.
    fn span(self) -> SignedDuration;
}

impl Span for &str {
    /// A day is 24 hours: the policy counts in UTC.
    fn span(self) -> SignedDuration {
        let span: Result<jiff::Span, _> = self.parse();
        let duration = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
        duration.unwrap_or_else(|error| panic!("{self:?} is no duration: {error}"))
    }
}

impl Span for SignedDuration {
    fn span(self) -> SignedDuration {
        self
    }
}

impl World {
    /// One server that may call receivers on this machine; change that with the builder's methods.
    pub fn builder() -> WorldBuilder {
        WorldBuilder::new()
    }

    /// A world as [`World::builder`] makes it.
    ///
    /// # Panics
    ///
    /// As [`WorldBuilder::start`].
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    // Time

    /// What the clock shows.
    pub fn now(&self) -> Timestamp {
        self.time.now()
    }

    /// Lets this much time pass; everything due on the way happens, at its moment.
    ///
    /// # Panics
    ///
    /// When a server stays busy, naming the task.
    pub async fn advance(&self, by: impl Span) {
        let by = by.span();
        self.time
            .advance(by)
            .await
            .unwrap_or_else(|error| panic!("could not advance by {by:#}: {error}"));
    }

    /// Lets time pass until this moment.
    ///
    /// # Panics
    ///
    /// As [`World::advance`], and for a moment that has passed.
    pub async fn advance_to(&self, at: Timestamp) {
        self.time
            .advance_to(at)
            .await
            .unwrap_or_else(|error| panic!("could not advance to {at}: {error}"));
    }

    /// Lets time pass until the next thing that is due has happened; answers when that was.
    ///
    /// # Panics
    ///
    /// As [`World::advance`].
    pub async fn advance_to_next(&self) -> Timestamp {
        self.time
            .advance_to_next()
            .await
            .unwrap_or_else(|error| panic!("could not advance: {error}"))
    }

    /// Waits until every server has done what there is to do now. No time passes.
    ///
    /// # Panics
    ///
    /// As [`World::advance`].
    pub async fn settle(&self) {
        self.advance(SignedDuration::ZERO).await;
    }

    /// Stops a server as SIGTERM would; those after it move up.
    ///
    /// # Panics
    ///
    /// When it does not stop.
    pub async fn stop(&mut self, server: usize) {
        let stopped = self.servers.remove(server).stop().await;
        stopped.unwrap_or_else(|error| panic!("the server did not stop: {error:#}"));
    }

    /// Starts one more server. Webhooks, events and all else are still there.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn launch(&mut self) {
        let started = Server::start(&self.options, &self.database_url, &self.time).await;
        let started = started.unwrap_or_else(|error| panic!("the server did not start: {error:#}"));
        self.servers.push(started);
    }

    /// Which targets servers that start from now on allow, see [`WorldBuilder::allowed_targets`].
    pub fn allow_targets(&mut self, cidrs: &[&str]) {
        self.options.allowed_targets = cidrs.iter().map(|cidr| (*cidr).to_owned()).collect();
    }

    // Who calls the servers

    /// A company, whose users and apps then call.
    pub fn company(&self, id: u64) -> Company<'_> {
        Company::new(self, id)
    }

    /// The platform's back end.
    pub fn platform(&self) -> Client {
        self.caller(0, &Claims::of_scope("platform"))
    }

    /// An operator.
    pub fn operator(&self) -> Client {
        self.caller(0, &Claims::of_scope("operator"))
    }

    /// Whoever has these claims, calling one of the servers.
    ///
    /// # Panics
    ///
    /// When there are fewer servers.
    pub fn caller(&self, server: usize, claims: &Claims) -> Client {
        self.anonymous(server)
            .with_token(Some(self.options.key.sign(claims, self.now())))
    }

    /// A caller without a token.
    ///
    /// # Panics
    ///
    /// When there are fewer servers.
    pub fn anonymous(&self, server: usize) -> Client {
        let client = Client::new(&self.url(server), None, self.keyring.clone());
        client.unwrap_or_else(|error| panic!("no HTTP client: {error:#}"))
    }

    /// The base address of one of the servers.
    ///
    /// # Panics
    ///
    /// When there are fewer servers.
    pub fn url(&self, server: usize) -> String {
        format!("http://{}", self.address(server))
    }

    fn address(&self, server: usize) -> SocketAddr {
        let servers = self.servers.len();
        self.servers
            .get(server)
            .map_or_else(|| panic!("there are {servers} servers"), Server::address)
    }

    // What happened

    /// How many SQL statements the servers have sent, in a metered world; else 0.
    pub fn statements(&self) -> u64 {
        self.meter.as_ref().map_or(0, Meter::statements)
    }

    /// Every delivery accepted, by where it stands (D7).
    ///
    /// # Panics
    ///
    /// When the server does not say.
    pub async fn tally(&self) -> Tally {
        let metrics = self.anonymous(0).get("/metrics").await;
        let tally = metrics
            .map_err(anyhow::Error::from)
            .and_then(|(_, text)| Tally::parse(&text));
        tally.unwrap_or_else(|error| panic!("no tally: {error:#}"))
    }

    /// Settles, and then checks what must hold at the end of any story: D7's identity, and that every request that a
    /// receiver got was signed and shaped as it must be.
    ///
    /// # Panics
    ///
    /// When it does not hold, saying where.
    pub async fn verify(&self) {
        self.settle().await;
        let tally = self.tally().await;
        assert!(
            tally.is_conserved(),
            "deliveries were lost or made up (D7): {tally:?}"
        );
        let journals = self
            .journals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for arrival in journals.iter().flat_map(Journal::all) {
            let complaints = arrival.complaints();
            assert!(
                complaints.is_empty(),
                "{}: {}",
                arrival.name(),
                complaints.join("; ")
            );
        }
    }
}
