//! Where a campaign plays: the machine's loans, Postgres and the servers, and how each fault is begun and taken back.
//!
//! Promises that after [`Stage::heal`] everything runs again, whatever was done to it. A fault that this machine cannot
//! play is known before the first round, with the reason.

use std::fs::{self, Permissions};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use super::fleet::{Fleet, Server, can_limit_descriptors};
use super::kind::Kind;
use super::machine::{Disk, WallClock};
use super::names::{Manner, Names};
use super::plan::Plan;
use super::proxy::Weather;
use crate::dice::Dice;
use crate::durable::Cluster;
use crate::{realtime, refusal};

/// Its disk is small.
///
/// A Postgres that is stopped ends only when everybody whom it turns away has said who he is, or this time is over: a
/// connection that stands still says nothing.
const POSTGRES_SETTINGS: &[&str] = &["max_wal_size=512MB", "authentication_timeout=5s"];
/// How far a server's own wall clock jumps at most, in seconds.
const SERVER_STEP: usize = 3_600;
/// How far the shared wall clock jumps forwards and backwards at most, in seconds. Backwards less: a server whose
/// database goes back lets time stand still until it is caught up.
pub(super) const SHARED_STEP: (usize, usize) = (12, 2);
/// When a server has noticed at the latest that the shared wall clock has jumped: its time goes on until then.
const NOTICED_WITHIN: SignedDuration = SignedDuration::from_secs(1);
/// How far the shared wall clock may wander altogether: within what receivers allow a signature.
const SHARED_LIMIT: i64 = 120;
/// How late the name server answers: within and beyond an attempt's time-out.
const SLOW_MS: (usize, usize) = (200, 2_500);

/// Everything of a campaign but its plan and its receivers.
pub struct Stage {
    // In this order they are dropped: servers first, the disk they stand on last.
    fleet: Fleet,
    cluster: Cluster,
    names: Option<Names>,
    disk: Option<Disk>,
    home: TempDir,
    shared_clock: Option<WallClock>,
    shared_offset: i64,
    /// Until when, by the machine's clock, the servers' time stands still after a step backwards.
    still_until: Timestamp,
    /// Since when name servers are silent, or from when to when they were, by the machine's clock.
    silence: Option<Range<Timestamp>>,
    unavailable: Vec<(Kind, String)>,
    dice: Dice,
    /// Servers that ended badly, or that nobody had asked to end, since the last look.
    died: Vec<String>,
    /// Servers that were asked to end and have not been waited for.
    ending: Vec<usize>,
    postgres_ending: bool,
}

impl Stage {
    /// Builds it: a Postgres, and the plan's servers of `binary`.
    pub async fn build(plan: &Plan, binary: &Path) -> anyhow::Result<Self> {
        // Postgres runs as somebody else where we are root.
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
        let clocks: Vec<WallClock> = match &shared_clock {
            Some(_) => (0..plan.servers)
                .map(|number| clock(format!("server-{number}.clock")))
                .collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        if let Err(error) = can_limit_descriptors() {
            lend(&[Kind::ExhaustDescriptors], error);
        }
        let environment = shared_clock.iter().flat_map(WallClock::environment).collect();
        let cluster = Cluster::create(home.path(), &folder, environment, POSTGRES_SETTINGS).await?;
        let fleet = Fleet::start(
            plan.servers,
            binary,
            home.path(),
            &cluster,
            names.as_ref(),
            &clocks,
        )
        .await?;
        if wanted(&[Kind::PoisonedAnswer, Kind::PoisonedEvent]) {
            cluster.look().await?.batch_execute(refusal::TRIGGERS).await?;
        }
        Ok(Self {
            fleet,
            cluster,
            names,
            disk,
            home,
            shared_clock,
            shared_offset: 0,
            still_until: Timestamp::MIN,
            silence: None,
            unavailable,
            dice: Dice::new(plan.seed),
            died: Vec::new(),
            ending: Vec::new(),
            postgres_ending: false,
        })
    }

    /// What this machine cannot play of the plan, and why.
    pub fn unavailable(&self) -> &[(Kind, String)] {
        &self.unavailable
    }

    /// The servers.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// A read-only look into the database, past every relay.
    pub async fn look(&self) -> anyhow::Result<tokio_postgres::Client> {
        self.cluster.look().await
    }

    /// Whether receivers can have a name that is looked up.
    pub fn has_names(&self) -> bool {
        self.names.is_some()
    }

    /// How many seconds the servers' time can be ahead of the machine's: where the wall clock that they share goes back,
    /// theirs stands still for as long as the step was, also into the round after it.
    pub fn furthest_ahead(&self) -> i64 {
        self.shared_offset + SHARED_STEP.1 as i64
    }

    /// Waits until the servers' time does not stand still any more, so that their dates can be compared with the machine's.
    pub async fn until_time_moves(&self) {
        let left = self.still_until.duration_since(realtime::now());
        realtime::pause(left.try_into().unwrap_or_default()).await;
    }

    /// When name servers were silent, by the servers' clock, if they were since the last look and are not any more.
    pub fn take_silence(&mut self) -> Option<Range<Timestamp>> {
        let offset = SignedDuration::from_secs(self.shared_offset);
        let silence = self.silence.take()?;
        Some(silence.start + offset..silence.end + offset)
    }

    /// Ends everything in good order, so that nothing is left behind.
    pub async fn end(mut self) -> anyhow::Result<()> {
        for server in self.fleet.servers() {
            server.kill().await?;
        }
        self.cluster.stop()?;
        self.cluster.ended().await
    }

    /// Keeps everything to be looked at, and answers where.
    pub fn keep(mut self) -> anyhow::Result<PathBuf> {
        self.fleet.write_logs()?;
        if let Some(disk) = &mut self.disk {
            disk.keep();
        }
        Ok(self.home.keep())
    }

    /// Chance of this round on.
    pub fn reseed(&mut self, seed: u64) {
        self.dice = Dice::new(seed);
    }

    /// Lets something fail.
    pub async fn begin(&mut self, kind: Kind) -> anyhow::Result<()> {
        let number = self.dice.below(self.fleet.count());
        match kind {
            Kind::KillServer => self.fleet.server(number).kill().await,
            Kind::TerminateServer => {
                self.ending.push(number);
                self.fleet.server(number).terminate().await
            }
            Kind::FreezeServer => self.fleet.server(number).freeze().await,
            Kind::StopPostgres => {
                self.postgres_ending = true;
                self.cluster.stop()
            }
            Kind::KillPostgres => {
                self.postgres_ending = true;
                self.cluster.kill()
            }
            Kind::CutConnections => self.weather(Weather::Cutting, number),
            Kind::CutStatements => self.weather(Weather::CuttingStatements, number),
            Kind::LoseAnswers => self.weather(Weather::LosingAnswers, number),
            Kind::StallConnections => self.weather(Weather::Stalled, number),
            Kind::FillDisk => self.disk.as_ref().map_or(Ok(()), Disk::fill),
            Kind::StepServerClock => {
                let step = self.dice.below(2 * SERVER_STEP + 1) as i64 - SERVER_STEP as i64;
                self.fleet.server(number).set_clock(self.shared_offset + step)
            }
            Kind::StepSharedClock => self.step_shared_clock(),
            Kind::ExhaustDescriptors => self.fleet.server(number).exhaust_descriptors(),
            Kind::SlowNames => {
                let (least, most) = SLOW_MS;
                let delay = Duration::from_millis((least + self.dice.below(most - least)) as u64);
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
                let for_good = self.dice.below(2) == 0;
                for server in self.some_servers(number) {
                    server.silence(for_good);
                }
                Ok(())
            }
            // The cast of the round brings it along.
            Kind::DeadAddress | Kind::PoisonedAnswer | Kind::PoisonedEvent => Ok(()),
        }
    }

    /// Takes back everything that was begun, and waits until all runs again.
    pub async fn heal(&mut self) -> anyhow::Result<()> {
        if let Some(disk) = &self.disk {
            disk.clear()?;
        }
        self.set_names(|manner| *manner = Manner::default());
        if let Some(silence) = &mut self.silence {
            silence.end = realtime::now();
        }
        if std::mem::take(&mut self.postgres_ending) {
            self.cluster.ended().await?;
        }
        self.cluster.ensure_running().await.context("after the fault")?;
        for server in self.fleet.servers() {
            server.heal().await?;
            server.set_clock(self.shared_offset)?;
        }
        for number in std::mem::take(&mut self.ending) {
            if !self.fleet.server(number).ended().await? {
                self.died.push(format!(
                    "server {number} was asked to end and ended with an error"
                ));
            }
        }
        for number in 0..self.fleet.count() {
            if self.fleet.server(number).has_died()? {
                self.died
                    .push(format!("server {number} ended although nobody had asked it to"));
            }
        }
        self.fleet.ensure_running().await
    }

    /// What servers did that they should not have done, since the last look.
    pub fn take_died(&mut self) -> Vec<String> {
        std::mem::take(&mut self.died)
    }

    /// Over one server or over all of them.
    fn weather(&mut self, weather: Weather, number: usize) -> anyhow::Result<()> {
        for server in self.some_servers(number) {
            server.set_weather(weather);
        }
        Ok(())
    }

    /// One server, counted on from any number, or all of them.
    fn some_servers(&mut self, number: usize) -> &[Server] {
        let all = self.dice.below(2) == 0;
        let one = number % self.fleet.count();
        let servers = self.fleet.servers();
        if all { servers } else { &servers[one..=one] }
    }

    fn step_shared_clock(&mut self) -> anyhow::Result<()> {
        let (forwards, backwards) = SHARED_STEP;
        let back = self.dice.below(2) == 0 || self.shared_offset > SHARED_LIMIT - forwards as i64;
        let step = match back {
            true => -(1 + self.dice.below(backwards) as i64),
            false => 1 + self.dice.below(forwards) as i64,
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
