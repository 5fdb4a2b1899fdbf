//! A world: servers, their time, their callers and their receivers.
//!
//! In process ([`World::builder`]) it has servers with a simulated clock on a database of their own. Black box
//! ([`World::connect`]) it is a part of a remote server, with companies and apps that no other world uses.
//!
//! Guarantees: time moves only on request; worlds in process share nothing but the Postgres process; [`World::verify`]
//! checks everything that happened. A black-box world uses the server's own clock, so only one such world may use a
//! server at a time. A failure of the harness or of a whole server panics with its cause. What callers get as a
//! response is data, see [`Client`].

mod actors;
mod builder;
mod outages;
mod receivers;
mod remote;
mod servers;
mod tally;
mod target;
mod tenancy;
mod time;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, SpanRelativeTo, Timestamp};
use tempfile::NamedTempFile;

pub use self::actors::{App, Company};
pub use self::builder::WorldBuilder;
pub use self::outages::{Outage, OutageKind};
pub use self::tally::Tally;
pub use self::target::{Restart, Target};
use self::tenancy::IdRange;
use self::time::TimeDriver;
use crate::client::{CallLog, Client, RestAccess};
use crate::database::Database;
use crate::dns_server::NameServer;
use crate::journal::Journal;
pub use crate::launch::AppSees;
use crate::launch::{Server, ServerOptions, SimulatedTime};
use crate::receiver::Receiver;
use crate::signature::Keyring;
use crate::statement_counter::StatementCounter;
use crate::token::{Claims, TokenKey};
use crate::webhook_type::WebhookType;
use crate::wire::Authority;

/// Servers and their time, with everything that calls them and is called by them.
pub struct World {
    driver: TimeDriver,
    began: Timestamp,
    key: TokenKey,
    keyring: Keyring,
    log: CallLog,
    journals: Mutex<Vec<Journal>>,
    ids: IdRange,
    webhook_type: WebhookType,
    rest: Option<RestAccess>,
    outages: Vec<Outage>,
    home: Home,
}

/// Where the servers run.
enum Home {
    Here(Box<Household>),
    There(Box<Target>),
}

/// Servers of this process, and what they depend on.
struct Household {
    servers: Vec<Server>,
    counter: Option<StatementCounter>,
    options: ServerOptions,
    database_url: String,
    time: SimulatedTime,
    trust: Option<Trust>,
    notice_endpoint: Option<Receiver>,
    names: Option<NameServer>,
    // The last field, so that the servers are dropped before it.
    database: Database,
}

/// An authority that servers trust, and the file with its certificate.
struct Trust {
    authority: Authority,
    file: NamedTempFile,
}

impl Trust {
    fn new() -> anyhow::Result<Self> {
        let authority = Authority::new()?;
        let mut file = NamedTempFile::new()?;
        file.write_all(authority.pem().as_bytes())?;
        Ok(Self { authority, file })
    }
}

/// A span of time: `"PT30M"`, or a duration.
pub trait Span {
    /// The span as a duration.
    fn span(self) -> SignedDuration;
}

impl Span for &str {
    /// A day is 24 hours: the policy counts in UTC.
    fn span(self) -> SignedDuration {
        let span: Result<jiff::Span, _> = self.parse();
        let duration = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
        duration.unwrap_or_else(|error| panic!("{self:?} is not a duration: {error}"))
    }
}

impl Span for SignedDuration {
    fn span(self) -> SignedDuration {
        self
    }
}

impl World {
    /// A world with one server that may call receivers on this machine. The builder's methods change that.
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

    /// The time on the world's clock.
    pub fn now(&self) -> Timestamp {
        self.driver.now()
    }

    /// Moves time by this span. Everything that becomes due in that span happens at its due time.
    ///
    /// # Panics
    ///
    /// If a server stays busy. The message names the task.
    pub async fn advance(&self, by: impl Span) {
        let by = by.span();
        self.driver
            .advance(by)
            .await
            .unwrap_or_else(|error| panic!("could not advance by {by:#}: {error}"));
    }

    /// Moves time to this moment.
    ///
    /// # Panics
    ///
    /// As [`World::advance`], and for a moment that has passed.
    pub async fn advance_to(&self, at: Timestamp) {
        self.driver
            .advance_to(at)
            .await
            .unwrap_or_else(|error| panic!("could not advance to {at}: {error}"));
    }

    /// Moves time to the next moment at which something is due, and lets it happen. Returns that moment.
    ///
    /// # Panics
    ///
    /// As [`World::advance`].
    pub async fn advance_to_next(&self) -> Timestamp {
        self.driver
            .advance_to_next()
            .await
            .unwrap_or_else(|error| panic!("could not advance: {error}"))
    }

    /// Waits until every server has done all that is due now. Time does not move.
    ///
    /// # Panics
    ///
    /// As [`World::advance`].
    pub async fn settle(&self) {
        match &self.driver {
            TimeDriver::Real => self.settle_really().await,
            TimeDriver::Here(_) | TimeDriver::There(_) => self.advance(SignedDuration::ZERO).await,
        }
    }

    /// Time that has passed in the world since its beginning.
    pub fn age(&self) -> SignedDuration {
        self.now().duration_since(self.began)
    }

    // Who calls the servers

    /// A company, as the source of its callers. Worlds on one server have different ids for the same number: see
    /// [`Company::id`].
    pub fn company(&self, number: u64) -> Company<'_> {
        Company::new(self, self.ids.company(number))
    }

    /// A client with the platform's token.
    pub fn platform(&self) -> Client {
        self.caller(0, &Claims::of_scope("platform"))
    }

    /// A client with an operator token.
    pub fn operator(&self) -> Client {
        self.caller(0, &Claims::of_scope("operator"))
    }

    /// A client with these claims, for the server with this index.
    ///
    /// # Panics
    ///
    /// If there is no such server.
    pub fn caller(&self, server: usize, claims: &Claims) -> Client {
        self.anonymous(server)
            .with_token(Some(self.key.sign(claims, self.now())))
    }

    /// The key that signs tokens for the servers.
    pub fn token_key(&self) -> &TokenKey {
        &self.key
    }

    /// A client without a token, for the server with this index.
    ///
    /// # Panics
    ///
    /// If there is no such server.
    pub fn anonymous(&self, server: usize) -> Client {
        let client = Client::new(&self.url(server), None, self.keyring.clone());
        client
            .unwrap_or_else(|error| panic!("no HTTP client: {error:#}"))
            .logging_to(self.log.clone())
            .through(self.rest.clone())
    }

    /// The base address of the server with this index.
    ///
    /// # Panics
    ///
    /// If there is no such server.
    pub fn url(&self, server: usize) -> String {
        match &self.home {
            Home::Here(household) => {
                let servers = household.servers.len();
                let address: SocketAddr = household
                    .servers
                    .get(server)
                    .map_or_else(|| panic!("there are only {servers} servers"), Server::address);
                format!("http://{address}")
            }
            Home::There(target) => target.url.clone(),
        }
    }

    // What happened

    /// Number of SQL statements that the servers have sent. 0 if the world is not metered.
    pub fn statements(&self) -> u64 {
        match &self.home {
            Home::Here(household) => household.counter.as_ref().map_or(0, StatementCounter::statements),
            Home::There(_) => 0,
        }
    }

    /// Number of executions of each SQL statement, by its text. Empty if the world is not metered.
    pub fn statements_by_text(&self) -> BTreeMap<String, u64> {
        match &self.home {
            Home::Here(household) => household
                .counter
                .as_ref()
                .map(StatementCounter::by_text)
                .unwrap_or_default(),
            Home::There(_) => BTreeMap::new(),
        }
    }

    /// The name server that the servers ask; see [`WorldBuilder::named`].
    ///
    /// # Panics
    ///
    /// If they ask another one.
    pub fn names(&self) -> &NameServer {
        self.name_server()
            .unwrap_or_else(|| panic!("no server of this world uses the world's name server"))
    }

    /// The name server that the servers ask, if it is the world's own.
    pub fn name_server(&self) -> Option<&NameServer> {
        match &self.home {
            Home::Here(household) => household.names.as_ref(),
            Home::There(target) => target.names.as_deref(),
        }
    }

    /// Tells the clock that nothing responds at this host and port, written as in a URL. Time then does not wait for
    /// attempts to that target.
    pub fn stall(&self, target: &str) {
        self.driver.time().stall_target(target);
    }

    /// Undoes a [`World::stall`].
    pub fn resume(&self, target: &str) {
        self.driver.time().resume_target(target);
    }

    /// The database of the servers, if they run in this process.
    pub fn database(&self) -> Option<&Database> {
        match &self.home {
            Home::Here(household) => Some(&household.database),
            Home::There(_) => None,
        }
    }

    /// What the world's callers created and saw.
    pub fn log(&self) -> &CallLog {
        &self.log
    }

    /// The journals of the world's receivers.
    pub fn journals(&self) -> Vec<Journal> {
        self.journals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The number of accepted deliveries, by status (D7).
    ///
    /// # Panics
    ///
    /// If the server's metrics do not contain it.
    pub async fn tally(&self) -> Tally {
        let metrics = self.anonymous(0).get("/metrics").await;
        let tally = metrics
            .map_err(anyhow::Error::from)
            .and_then(|(_, text)| Tally::parse(&text));
        tally.unwrap_or_else(|error| panic!("no tally: {error:#}"))
    }

    /// Settles, and then checks what must hold at the end of any scenario: D7's identity, and that every request to a
    /// receiver had a valid signature and valid headers.
    ///
    /// # Panics
    ///
    /// If something does not hold, with the details.
    pub async fn verify(&self) {
        let complaints = self.complaints().await;
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }

    /// Settles, and returns what [`World::verify`] would complain about.
    pub async fn complaints(&self) -> Vec<String> {
        self.settle().await;
        let mut complaints = Vec::new();
        let tally = self.tally().await;
        if !tally.is_conserved() {
            complaints.push(format!("deliveries are missing or were invented: {tally:?}"));
        }
        for arrival in self.journals().iter().flat_map(Journal::all) {
            let found = arrival.complaints();
            if !found.is_empty() {
                complaints.push(format!("{}: {}", arrival.name(), found.join("; ")));
            }
        }
        complaints
    }
}
