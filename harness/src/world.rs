//! A world: servers, their time, and whoever calls them and whom they call.
//!
//! In process ([`World::builder`]) it has servers on a database of their own and a simulated clock; black box
//! ([`World::connect`]) it is a corner of a server elsewhere, with companies and apps that no other world has.
//!
//! Promises that time moves only when it is told to, that worlds in process share nothing but the Postgres process, and
//! that [`World::verify`] looks at everything that happened. Black box the clock is the server's own, so only one world
//! at a time may use it. What fails here is the harness or the server as a whole, so it panics and says what; what
//! callers are answered is data, see [`Client`].

mod actors;
mod builder;
mod corner;
mod pace;
mod receivers;
mod remote;
mod tally;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use futures_util::future::join_all;
use jiff::{SignedDuration, SpanRelativeTo, Timestamp};
use tempfile::NamedTempFile;

pub use self::actors::{App, Company};
pub use self::builder::WorldBuilder;
pub use self::corner::{Place, Restart, Target};
use self::pace::Pace;
pub use self::tally::Tally;
use crate::client::{CallLog, Client};
use crate::database::Database;
use crate::journal::Journal;
use crate::launch::{Server, ServerOptions, SimulatedTime};
use crate::meter::Meter;
use crate::names::NameServer;
use crate::realtime;
use crate::receiver::Receiver;
use crate::signature::Keyring;
use crate::token::{Claims, TokenKey};
use crate::wire::Authority;

/// Servers and their time.
pub struct World {
    pace: Pace,
    began: Timestamp,
    key: TokenKey,
    keyring: Keyring,
    log: CallLog,
    journals: Mutex<Vec<Journal>>,
    place: Place,
    home: Home,
}

/// Where a world's servers are.
enum Home {
    Here(Box<Household>),
    There(Box<Target>),
}

/// Servers of this process and what they stand on.
struct Household {
    servers: Vec<Server>,
    meter: Option<Meter>,
    options: ServerOptions,
    database_url: String,
    time: SimulatedTime,
    trust: Option<Trust>,
    notice_endpoint: Option<Receiver>,
    names: Option<NameServer>,
    // Last, so that the servers are gone before it is.
    database: Database,
}

/// An authority that servers trust, and the file from which they know it.
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
        self.pace.now()
    }

    /// Lets this much time pass; everything due on the way happens, at its moment.
    ///
    /// # Panics
    ///
    /// When a server stays busy, naming the task.
    pub async fn advance(&self, by: impl Span) {
        let by = by.span();
        self.pace
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
        self.pace
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
        self.pace
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
        match &self.pace {
            Pace::Real => self.settle_really().await,
            Pace::Here(_) | Pace::There(_) => self.advance(SignedDuration::ZERO).await,
        }
    }

    /// How much of its time has passed since the world began.
    pub fn age(&self) -> SignedDuration {
        self.now().duration_since(self.began)
    }

    // Servers of this process

    /// How many servers there are.
    pub fn servers(&self) -> usize {
        match &self.home {
            Home::Here(household) => household.servers.len(),
            Home::There(_) => 1,
        }
    }

    /// Whether servers are this world's to start, stop and crash.
    pub fn owns_servers(&self) -> bool {
        matches!(self.home, Home::Here(_))
    }

    /// Stops a server as SIGTERM would; those after it move up.
    ///
    /// # Panics
    ///
    /// When it does not stop, or is not this world's to stop.
    pub async fn stop(&mut self, server: usize) {
        let stopped = self.household().servers.remove(server).stop().await;
        stopped.unwrap_or_else(|error| panic!("the server did not stop: {error:#}"));
    }

    /// Ends every server at once, in the middle of whatever it does, as a power cut would.
    ///
    /// # Panics
    ///
    /// When the servers are not this world's.
    pub async fn crash(&mut self) {
        let servers = self.household().servers.drain(..).map(Server::crash);
        join_all(servers).await;
    }

    /// Ends one server in the middle of whatever it does; those after it move up.
    ///
    /// # Panics
    ///
    /// When the servers are not this world's.
    pub async fn crash_one(&mut self, server: usize) {
        self.household().servers.remove(server).crash().await;
    }

    /// Starts one more server. Webhooks, events and all else are still there.
    ///
    /// # Panics
    ///
    /// When it does not start, or servers are not this world's to start.
    pub async fn launch(&mut self) {
        let household = self.household();
        // The first one after all others have gone need not wait until they count as dead.
        let alone = household.servers.is_empty();
        let started = Server::start(
            &household.options,
            &household.database_url,
            &household.time,
            alone,
        )
        .await;
        let started = started.unwrap_or_else(|error| panic!("the server did not start: {error:#}"));
        household.servers.push(started);
    }

    /// Ends every server in the middle of whatever it does, and starts as many again.
    ///
    /// # Errors
    ///
    /// When the server is elsewhere and nobody said how it is restarted, or it does not become ready.
    ///
    /// # Panics
    ///
    /// As [`World::launch`].
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        match &self.home {
            Home::Here(household) => {
                let servers = household.servers.len();
                self.crash().await;
                for _ in 0..servers {
                    self.launch().await;
                }
                Ok(())
            }
            Home::There(target) => {
                let restart = target.restart.as_ref();
                let restart = restart.context("nobody said how the server is restarted")?;
                restart.run().await?;
                let nobody = Client::new(&target.url, None, Keyring::default())?;
                // Refused connections are to be expected until it listens again.
                realtime::eventually("the server is back", async || nobody.until_ready().await.is_ok()).await;
                Ok(())
            }
        }
    }

    /// Which targets servers that start from now on allow, see [`WorldBuilder::allowed_targets`].
    ///
    /// # Panics
    ///
    /// When the servers are not this world's.
    pub fn allow_targets(&mut self, cidrs: &[&str]) {
        self.household().options.allowed_targets = cidrs.iter().map(|cidr| (*cidr).to_owned()).collect();
    }

    /// The authority that its servers trust; see [`WorldBuilder::trusting`].
    ///
    /// # Panics
    ///
    /// When the world was built without.
    pub fn authority(&self) -> &Authority {
        let trust = match &self.home {
            Home::Here(household) => household.trust.as_ref(),
            Home::There(_) => None,
        };
        trust.map_or_else(
            || panic!("no server here trusts an authority of the world's own"),
            |trust| &trust.authority,
        )
    }

    fn household(&mut self) -> &mut Household {
        match &mut self.home {
            Home::Here(household) => household,
            Home::There(target) => panic!(
                "the server at {} is not this world's to start, stop or set up",
                target.url
            ),
        }
    }

    // Who calls the servers

    /// A company, whose users and apps then call. Worlds on one server number theirs apart: see [`Company::id`].
    pub fn company(&self, number: u64) -> Company<'_> {
        Company::new(self, self.place.company(number))
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
            .with_token(Some(self.key.sign(claims, self.now())))
    }

    /// The key that its servers know callers by.
    pub fn token_key(&self) -> &TokenKey {
        &self.key
    }

    /// A caller without a token.
    ///
    /// # Panics
    ///
    /// When there are fewer servers.
    pub fn anonymous(&self, server: usize) -> Client {
        let client = Client::new(&self.url(server), None, self.keyring.clone());
        client
            .unwrap_or_else(|error| panic!("no HTTP client: {error:#}"))
            .logging_to(self.log.clone())
    }

    /// The base address of one of the servers.
    ///
    /// # Panics
    ///
    /// When there are fewer servers.
    pub fn url(&self, server: usize) -> String {
        match &self.home {
            Home::Here(household) => {
                let servers = household.servers.len();
                let address: SocketAddr = household
                    .servers
                    .get(server)
                    .map_or_else(|| panic!("there are {servers} servers"), Server::address);
                format!("http://{address}")
            }
            Home::There(target) => target.url.clone(),
        }
    }

    // What happened

    /// How many SQL statements the servers have sent, in a metered world; else 0.
    pub fn statements(&self) -> u64 {
        match &self.home {
            Home::Here(household) => household.meter.as_ref().map_or(0, Meter::statements),
            Home::There(_) => 0,
        }
    }

    /// How often the servers have sent each SQL statement, by its text, in a metered world; else nothing.
    pub fn statements_by_text(&self) -> BTreeMap<String, u64> {
        match &self.home {
            Home::Here(household) => household.meter.as_ref().map(Meter::by_text).unwrap_or_default(),
            Home::There(_) => BTreeMap::new(),
        }
    }

    /// The name server that its servers ask; see [`WorldBuilder::named`].
    ///
    /// # Panics
    ///
    /// When they ask another.
    pub fn names(&self) -> &NameServer {
        let names = match &self.home {
            Home::Here(household) => household.names.as_ref(),
            Home::There(target) => target.names.as_deref(),
        };
        names.unwrap_or_else(|| panic!("no server here asks a name server of the world's own"))
    }

    /// Tells the clock that nothing at this host and port, as a URL has them, answers: time does not wait for attempts
    /// that lead there.
    pub fn stall(&self, target: &str) {
        self.pace.time().stall_target(target);
    }

    /// Takes back a [`World::stall`].
    pub fn resume(&self, target: &str) {
        self.pace.time().resume_target(target);
    }

    /// The database of its servers, where they are this process's own.
    pub fn database(&self) -> Option<&Database> {
        match &self.home {
            Home::Here(household) => Some(&household.database),
            Home::There(_) => None,
        }
    }

    /// What its callers made and saw.
    pub fn log(&self) -> &CallLog {
        &self.log
    }

    /// The journals of its receivers.
    pub fn journals(&self) -> Vec<Journal> {
        self.journals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
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
        let complaints = self.complaints().await;
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }

    /// Settles, and says what [`World::verify`] would find wrong.
    pub async fn complaints(&self) -> Vec<String> {
        self.settle().await;
        let mut complaints = Vec::new();
        let tally = self.tally().await;
        if !tally.is_conserved() {
            complaints.push(format!("deliveries were lost or made up: {tally:?}"));
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
