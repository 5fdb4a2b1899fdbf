//! The environment of a campaign: resources of the machine, Postgres and the servers. Starts and ends each fault.
//!
//! After [`Environment::heal`] everything runs again, whatever the fault was. The faults that this machine cannot play are
//! known before the first round, with the reason.

use std::fs::{self, Permissions};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use tenterhook_harness::rng::Rng;
use tenterhook_harness::{realtime, refusal};

use super::dns_server::{Manner, Names};
use super::fleet::{Fleet, Server, can_limit_descriptors};
use super::kind::Kind;
use super::machine::{Disk, WallClock};
use super::plan::Plan;
use super::proxy::Weather;
use crate::durable_postgres::DurablePostgres;

/// The WAL is limited because the disk is small.
///
/// When Postgres is stopped, it waits for connections that have not authenticated yet, until this time-out. A stalled
/// connection never authenticates.
const POSTGRES_SETTINGS: &[&str] = &["max_wal_size=512MB", "authentication_timeout=5s"];
/// Largest step of a server's own wall clock, in seconds.
const SERVER_STEP: usize = 3_600;
/// Largest steps of the shared wall clock forwards and backwards, in seconds. Less backwards, because a server whose
/// database's clock goes back stops its own time until the clock has caught up.
pub(super) const SHARED_STEP: (usize, usize) = (12, 2);
/// How long a server may take to notice a step of the shared wall clock. Its time goes on until then.
const NOTICED_WITHIN: SignedDuration = SignedDuration::from_secs(1);
/// Largest difference of the shared wall clock from the machine's. Receivers accept signatures within this limit.
const SHARED_LIMIT: i64 = 120;
/// Delay of a slow name server: shorter or longer than an attempt's time-out.
const SLOW_MS: (usize, usize) = (200, 2_500);

/// Everything in a campaign except its plan and its receivers.
pub struct Environment {
    // The order in which the fields are dropped: servers first, and the disk on which they run last.
    fleet: Fleet,
    postgres: DurablePostgres,
    names: Option<Names>,
    disk: Option<Disk>,
    home: TempDir,
    shared_clock: Option<WallClock>,
    shared_offset: i64,
    /// When the servers' time moves on after a step backwards, by the machine's clock.
    still_until: Timestamp,
    /// The time in which name servers are or were silent, by the machine's clock.
    silence: Option<Range<Timestamp>>,
    unavailable: Vec<(Kind, String)>,
    rng: Rng,
    /// Servers that ended with an error, or without being asked to, since the last look.
    died: Vec<String>,
    /// Servers that were asked to end and not waited for yet.
    ending: Vec<usize>,
    postgres_ending: bool,
}

impl Environment {
    /// Builds the environment: a Postgres, and the plan's servers of `binary`.
    pub async fn build(plan: &Plan, binary: &Path) -> anyhow::Result<Self> {
        // If this process is root, Postgres runs as another user.
        let open = Permissions::from_mode(0o711);
        let home = tempfile::Builder::new()
            .prefix("tenterhook-faults-")
            .permissions(open.clone())
            .tempdir()?;
        let mut unavailable = Vec::new();
        let mut lend = |kinds: &[Kind], reason: anyhow::Error| {
            let wanted = kinds.iter().filter(|kind| plan.kinds.contains(kind));
            unavailable.extend(wanted.map(|kind| (*kind, format!("{reason:#}"))));
        };
        let wanted = |kinds: &[Kind]| kinds.iter().any(|kind| plan.kinds.contains(kind));
        let folder = home.path().join("disk");
        fs::create_dir(&folder)?;
        fs::set_permissions(&folder, open)?;
        let disk = match wanted(&[Kind::FillDisk]) {
            true => Disk::mount(&folder)
                .map_err(|error| lend(&[Kind::FillDisk], error))
                .ok(),
            false => None,
        };
        let names = Names::start(home.path()).await;
        let named = [Kind::SlowNames, Kind::SilenceNames, Kind::DeadAddress];
        let names = names.map_err(|error| lend(&named, error)).ok();
        let clock = |name: String| WallClock::new(home.path().join(name));
        let steps = [Kind::StepServerClock, Kind::StepSharedClock];
        let shared_clock = match wanted(&steps) {
            true => clock("shared.clock".to_owned())
                .map_err(|error| lend(&steps, error))
                .ok(),
            false => None,
        };
        let with_clocks = if shared_clock.is_some() { plan.servers } else { 0 };
        let clocks: Vec<WallClock> = (0..with_clocks)
            .map(|number| clock(format!("server-{number}.clock")))
            .collect::<Result<_, _>>()?;
        if let Err(error) = can_limit_descriptors() {
            lend(&[Kind::ExhaustDescriptors], error);
        }
        let environment = shared_clock.iter().flat_map(WallClock::environment).collect();
        let postgres = DurablePostgres::create(home.path(), &folder, environment, POSTGRES_SETTINGS).await?;
        let fleet = Fleet::start(
            plan.servers,
            binary,
            home.path(),
            &postgres,
            names.as_ref(),
            &clocks,
        )
        .await?;
        if wanted(&[Kind::PoisonedAnswer, Kind::PoisonedEvent]) {
            postgres.look().await?.batch_execute(refusal::TRIGGERS).await?;
        }
        Ok(Self {
            fleet,
            postgres,
            names,
            disk,
            home,
            shared_clock,
            shared_offset: 0,
            still_until: Timestamp::MIN,
            silence: None,
            unavailable,
            rng: Rng::new(plan.seed),
            died: Vec::new(),
            ending: Vec::new(),
            postgres_ending: false,
        })
    }

    /// The faults of the plan that this machine cannot play, with the reasons.
    pub fn unavailable(&self) -> &[(Kind, String)] {
        &self.unavailable
    }

    /// The servers.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// A read-only connection to the database that uses no relay.
    pub async fn look(&self) -> anyhow::Result<tokio_postgres::Client> {
        self.postgres.look().await
    }

    /// Whether receivers can have host names.
    pub fn has_names(&self) -> bool {
        self.names.is_some()
    }

    /// How many seconds the servers' time can be ahead of the machine's. When their shared wall clock steps back, their
    /// time stands still for as long as the step was, also into the next round.
    pub fn furthest_ahead(&self) -> i64 {
        self.shared_offset + SHARED_STEP.1 as i64
    }

    /// Waits until the servers' time moves again, so that their times can be compared with the machine's.
    pub async fn until_time_moves(&self) {
        let left = self.still_until.duration_since(realtime::now());
        realtime::pause(left.try_into().unwrap_or_default()).await;
    }

    /// The time in which name servers were silent, by the servers' clock, if there was a silence since the last call.
    pub fn take_silence(&mut self) -> Option<Range<Timestamp>> {
        let offset = SignedDuration::from_secs(self.shared_offset);
        let silence = self.silence.take()?;
        Some(silence.start + offset..silence.end + offset)
    }

    /// Ends everything, and leaves nothing behind.
    pub async fn end(mut self) -> anyhow::Result<()> {
        for server in self.fleet.servers() {
            server.kill().await?;
        }
        self.postgres.stop()?;
        self.postgres.ended().await
    }

    /// Keeps everything for inspection. Returns the folder.
    pub fn keep(mut self) -> anyhow::Result<PathBuf> {
        self.fleet.write_logs()?;
        if let Some(disk) = &mut self.disk {
            disk.keep();
        }
        Ok(self.home.keep())
    }

    /// Sets the seed of the random choices of this round.
    pub fn reseed(&mut self, seed: u64) {
        self.rng = Rng::new(seed);
    }

    /// Starts a fault.
    pub async fn begin(&mut self, kind: Kind) -> anyhow::Result<()> {
        let number = self.rng.below(self.fleet.count());
        match kind {
            Kind::KillServer => self.fleet.server(number).kill().await,
            Kind::TerminateServer => {
                self.ending.push(number);
                self.fleet.server(number).terminate().await
            }
            Kind::FreezeServer => self.fleet.server(number).freeze().await,
            Kind::StopPostgres => {
                self.postgres_ending = true;
                self.postgres.stop()
            }
            Kind::KillPostgres => {
                self.postgres_ending = true;
                self.postgres.kill()
            }
            Kind::CutConnections => self.weather(Weather::Cutting, number),
            Kind::CutStatements => self.weather(Weather::CuttingStatements, number),
            Kind::LoseAnswers => self.weather(Weather::LosingAnswers, number),
            Kind::StallConnections => self.weather(Weather::Stalled, number),
            Kind::FillDisk => self.disk.as_ref().map_or(Ok(()), Disk::fill),
            Kind::StepServerClock => {
                let step = self.rng.below(2 * SERVER_STEP + 1) as i64 - SERVER_STEP as i64;
                self.fleet.server(number).set_clock(self.shared_offset + step)
            }
            Kind::StepSharedClock => self.step_shared_clock(),
            Kind::ExhaustDescriptors => self.fleet.server(number).exhaust_descriptors(),
            Kind::SlowNames => {
                let (least, most) = SLOW_MS;
                let delay = Duration::from_millis((least + self.rng.below(most - least)) as u64);
                self.set_names(|manner| manner.delay = delay);
                Ok(())
            }
            Kind::SilenceNames => {
                let began = realtime::now();
                self.set_names(|manner| manner.silent = true);
                self.silence = Some(began..Timestamp::MAX);
                Ok(())
            }
            Kind::SilenceDatabase => {
                let for_good = self.rng.below(2) == 0;
                for server in self.some_servers(number) {
                    server.silence(for_good);
                }
                Ok(())
            }
            // The round's webhooks include the receiver or the events for it.
            Kind::DeadAddress | Kind::PoisonedAnswer | Kind::PoisonedEvent => Ok(()),
        }
    }

    /// Ends all faults, and waits until everything runs again.
    pub async fn heal(&mut self) -> anyhow::Result<()> {
        if let Some(disk) = &self.disk {
            disk.clear()?;
        }
        self.set_names(|manner| *manner = Manner::default());
        if let Some(silence) = &mut self.silence {
            silence.end = realtime::now();
        }
        if std::mem::take(&mut self.postgres_ending) {
            self.postgres.ended().await?;
        }
        self.postgres.ensure_running().await.context("after the fault")?;
        for server in self.fleet.servers() {
            server.heal().await?;
            server.set_clock(self.shared_offset)?;
        }
        for number in std::mem::take(&mut self.ending) {
            if !self.fleet.server(number).ended().await? {
                self.died.push(format!(
                    "server {number} was told to stop, and ended with an error"
                ));
            }
        }
        for number in 0..self.fleet.count() {
            if self.fleet.server(number).has_died()? {
                self.died.push(format!("server {number} ended unexpectedly"));
            }
        }
        self.fleet.ensure_running().await
    }

    /// Unexpected ends of servers since the last call.
    pub fn take_died(&mut self) -> Vec<String> {
        std::mem::take(&mut self.died)
    }

    /// Sets the fault of the connections of one server, or of all.
    fn weather(&mut self, weather: Weather, number: usize) -> anyhow::Result<()> {
        for server in self.some_servers(number) {
            server.set_weather(weather);
        }
        Ok(())
    }

    /// One server, whose number wraps around, or all of them.
    fn some_servers(&mut self, number: usize) -> &[Server] {
        let all = self.rng.below(2) == 0;
        let one = number % self.fleet.count();
        let servers = self.fleet.servers();
        if all { servers } else { &servers[one..=one] }
    }

    fn step_shared_clock(&mut self) -> anyhow::Result<()> {
        let (forwards, backwards) = SHARED_STEP;
        let back = self.rng.below(2) == 0 || self.shared_offset > SHARED_LIMIT - forwards as i64;
        let step = match back {
            true => -(1 + self.rng.below(backwards) as i64),
            false => 1 + self.rng.below(forwards) as i64,
        };
        self.shared_offset += step;
        if step < 0 {
            let held = SignedDuration::from_secs(-step) + NOTICED_WITHIN;
            self.still_until = self.still_until.max(realtime::now()) + held;
        }
        if let Some(clock) = &self.shared_clock {
            clock.set(self.shared_offset)?;
        }
        for server in self.fleet.servers() {
            server.set_clock(self.shared_offset)?;
        }
        Ok(())
    }

    fn set_names(&self, change: impl FnOnce(&mut Manner)) {
        if let Some(names) = &self.names {
            let mut manner = names.manner();
            change(&mut manner);
            names.answer(manner);
        }
    }
}
