//! One round: a company publishes while something fails. Then all faults end, the deliveries end, and the history is
//! judged.

use std::time::Duration;

use jiff::SignedDuration;

use tenterhook_harness::client::{Client, Delivery, Health};
use tenterhook_harness::journal::Arrival;
use tenterhook_harness::realtime::{self, Stopwatch};
use tenterhook_harness::token::Claims;
use tenterhook_harness::world::Tally;

use super::checker::{self, Came, Numbers, Told};
use super::environment::{Environment, SHARED_STEP};
use super::fleet::Callers;
use super::kind::Kind;
use super::plan::Round;
use super::publishing::{self, Accepted};
use super::receivers::{Member, Part, Receivers};
use super::silence;
use super::violation::{Violation, Wrong};

/// How long the deliveries of a round may take to end after the faults. Well above the lease time: a delivery may have
/// to wait for it if its process never learned that it got the lease.
pub const STALL_LIMIT: Duration = Duration::from_secs(120);
/// Time between two looks at whether all deliveries have ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Most attempts to read from servers that should be running.
const LOOKS: usize = 20;
/// How long servers may disagree on whether a ban is over. On each clock the ban is over after its own duration, which
/// is shorter.
const AGREEMENT: Duration = Duration::from_secs(5);
/// When the doomed webhook is deleted, counted from the first publication.
const DELETED_AFTER: Duration = Duration::from_millis(400);

/// Longest time between the date of a publication and its commit, while something fails.
const COMMIT: SignedDuration = SignedDuration::from_secs(5);

/// The numbers of the policy that [`super::fleet::SETTINGS`] sets.
const NUMBERS: Numbers = Numbers {
    attempts: 4,
    threshold: 60,
    ban: SignedDuration::from_secs(3),
    timeout: SignedDuration::from_secs(1),
    ahead: SignedDuration::ZERO,
    apart: COMMIT,
};

/// The results of a round.
#[derive(Debug, Default)]
pub struct Ending {
    /// Events whose publication got a response.
    pub events: u64,
    /// Those among them for which an earlier response was lost.
    pub repeated_publications: u64,
    /// Their deliveries by status: succeeded, failed, lost, cancelled.
    pub deliveries: [u64; 4],
    /// Recorded attempts.
    pub attempts: u64,
    /// Requests that arrived more than once.
    pub duplicates: u64,
    /// Bans that began.
    pub bans: u64,
    /// Seconds from the end of the faults until all deliveries had ended.
    pub stall: f64,
    /// The broken promises, each with its evidence.
    pub breaches: Vec<Violation>,
}

/// Sums over all rounds so far, from the API. The servers' metrics must agree with them (D7).
#[derive(Debug, Default, Clone, Copy)]
pub struct Sums {
    accepted: u64,
    ended: [u64; 4],
}

/// Plays a round.
///
/// # Errors
///
/// If the round could not be played. What a server does wrong is not an error: it is in the ending.
pub async fn play(
    round: &Round,
    events: u32,
    environment: &mut Environment,
    sums: &mut Sums,
) -> anyhow::Result<Ending> {
    environment.reseed(round.seed);
    environment.until_time_moves().await;
    let callers = environment.fleet().callers().clone();
    let receivers = Receivers::gather(round, &callers, environment.has_names()).await?;
    let fail = async {
        realtime::pause(round.after).await;
        for kind in &round.faults {
            environment.begin(*kind).await?;
        }
        realtime::pause(round.hold).await;
        environment.heal().await
    };
    let (published, deleted, refused, ()) = tokio::try_join!(
        publishing::publish(&receivers, events, round.seed, &callers),
        publishing::delete(&receivers, DELETED_AFTER, round.seed, &callers),
        publishing::publish_marked(round, &callers),
        fail,
    )?;
    let silence = environment.take_silence();
    let accepted = published.accepted;
    let mut ending = Ending::default();
    let watch = Stopwatch::start();
    let tally = until_quiet(&callers, &watch).await;
    ending.stall = watch.seconds();

    let stepped = round.faults.contains(&Kind::StepSharedClock);
    let unnamed = round.faults.contains(&Kind::SlowNames);
    let mut told = Vec::new();
    for member in &receivers.members {
        let deleted = deleted.filter(|_| member.part == Part::Doomed && !stepped);
        told.push(Told {
            deleted,
            well: member.part != Part::Hostile
                && !(unnamed && matches!(member.part, Part::Named | Part::Twofold)),
            ..ask(member, &receivers, &callers, stepped).await?
        });
    }
    count(&mut ending, &accepted, &told);
    let numbers = numbers(environment, stepped);
    ending.breaches = checker::breaches(&accepted, &told, &numbers);
    ending.breaches.extend(refused);
    if round.faults.iter().all(|kind| kind.spares_calls()) {
        ending.breaches.extend(published.refused);
        if let Some(silence) = &silence {
            ending
                .breaches
                .extend(silence::blamed(silence, environment.fleet().count(), &told));
        }
    }
    ending.breaches.extend(sums.add(&ending, tally));
    ending
        .breaches
        .extend(doubles(environment, receivers.company).await?);
    ending
        .breaches
        .extend(environment.take_died().into_iter().map(|evidence| Violation {
            what: Wrong::Died,
            part: None,
            evidence,
        }));
    Ok(ending)
}

/// The settings of the servers, and how far clocks may be apart in this round.
fn numbers(environment: &Environment, stepped: bool) -> Numbers {
    let step = if stepped {
        SignedDuration::from_secs(SHARED_STEP.0 as i64)
    } else {
        SignedDuration::ZERO
    };
    Numbers {
        ahead: SignedDuration::from_secs(environment.furthest_ahead()),
        apart: COMMIT + step,
        ..NUMBERS
    }
}

/// Waits until no delivery is open. Returns the last tally that was read.
async fn until_quiet(callers: &Callers, watch: &Stopwatch) -> Option<Tally> {
    let operator = Claims::of_scope("operator");
    let mut last = None;
    let mut place = 0;
    while watch.seconds() < STALL_LIMIT.as_secs_f64() {
        place += 1;
        if let Ok((200, metrics)) = callers.of(place, &operator).get("/metrics").await {
            last = Tally::parse(&metrics).ok().or(last);
            if last.is_some_and(|tally| tally.open == 0) {
                break;
            }
        }
        realtime::pause(LOOK_EVERY).await;
    }
    last
}

/// Reads everything that the API and the journal have about a webhook.
async fn ask(
    member: &Member,
    receivers: &Receivers,
    callers: &Callers,
    stepped: bool,
) -> anyhow::Result<Told> {
    let id = &member.webhook.id;
    let owner = receivers.owner();
    let deliveries = patiently(callers, &owner, async |caller| Ok(caller.deliveries(id).await?)).await?;
    let notices = patiently(callers, &owner, async |caller| Ok(caller.notices(id).await?)).await?;
    let look = async || patiently(callers, &owner, async |caller| Ok(caller.health(id).await?)).await;
    let mut health = look().await?;
    // After a clock step servers disagree for a moment: one still shows a ban that another has ended. Once they agree,
    // the ban is over for both.
    let watch = Stopwatch::start();
    while stepped && is_ended_elsewhere(&health) && watch.seconds() < AGREEMENT.as_secs_f64() {
        realtime::pause(LOOK_EVERY).await;
        health = look().await?;
    }
    let bans = notices.iter().filter(|notice| notice.kind == "BANNED");
    Ok(Told {
        part: member.part,
        well: true,
        deliveries,
        bans: bans.map(|notice| notice.at).collect(),
        counter: health.ban_counter,
        banned: health.state == "BANNED",
        came: member
            .journal()
            .all()
            .iter()
            .map(|arrival| came(arrival))
            .collect(),
        deleted: None,
    })
}

/// Whether another server has ended the ban that this one still shows. Ending it resets the counter (B3).
fn is_ended_elsewhere(health: &Health) -> bool {
    health.state == "BANNED" && health.ban_counter == 0
}

fn came(arrival: &Arrival) -> Came {
    Came {
        at: arrival.at,
        event: arrival.event().to_owned(),
        attempt: arrival.attempt(),
        complaints: arrival.complaints(),
    }
}

/// Asks one server after another, because a server notices that its connection to Postgres was cut only at its next
/// use.
async fn patiently<T>(
    callers: &Callers,
    claims: &Claims,
    ask: impl AsyncFn(Client) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut place = 0;
    loop {
        place += 1;
        match ask(callers.of(place, claims)).await {
            Err(_) if place < LOOKS => realtime::pause(LOOK_EVERY).await,
            answer => return answer,
        }
    }
}

fn count(ending: &mut Ending, accepted: &[Accepted], told: &[Told]) {
    ending.events = accepted.len() as u64;
    ending.repeated_publications = accepted.iter().filter(|event| event.before).count() as u64;
    ending.duplicates = checker::repeated(told);
    for webhook in told {
        ending.bans += webhook.bans.len() as u64;
        for delivery in &webhook.deliveries {
            ending.attempts += delivery.attempts.len() as u64;
            if let Some(place) = place(delivery) {
                ending.deliveries[place] += 1;
            }
        }
    }
}

fn place(delivery: &Delivery) -> Option<usize> {
    ["SUCCEEDED", "FAILED", "LOST", "CANCELLED"]
        .iter()
        .position(|status| *status == delivery.status)
}

impl Sums {
    /// Adds a round, and compares the sums with the servers' metrics (D7).
    fn add(&mut self, ending: &Ending, tally: Option<Tally>) -> Option<Violation> {
        for (sum, count) in self.ended.iter_mut().zip(ending.deliveries) {
            *sum += count;
            self.accepted += count;
        }
        let [succeeded, failed, lost, cancelled] = self.ended;
        let told = Tally {
            accepted: self.accepted,
            succeeded,
            failed,
            lost,
            cancelled,
            open: 0,
        };
        (tally != Some(told)).then(|| Violation {
            what: Wrong::Sums,
            part: None,
            evidence: format!("the API shows {told:?}, the metrics show {tally:?}"),
        })
    }
}

/// Looks in the database for what the API cannot show: a delivery that ended twice, or an attempt that was recorded
/// twice.
async fn doubles(environment: &Environment, company: u64) -> anyhow::Result<Option<Violation>> {
    const DOUBLES: &str = "\
        select 'ended twice: ' || webhook || ' ' || event from ( \
            select webhook, event, generation from attempts where company = $1 and ending is not null \
            union all select webhook, event, generation from outcomes where company = $1 \
        ) ended group by webhook, event, generation having count(*) > 1 \
        union all \
        select 'attempt ' || number || ' recorded twice: ' || webhook || ' ' || event \
        from attempts where company = $1 group by webhook, event, generation, number having count(*) > 1";
    let look = environment.look().await?;
    let rows = look.query(DOUBLES, &[&i64::try_from(company)?]).await?;
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok((!lines.is_empty()).then(|| Violation {
        what: Wrong::Doubled,
        part: None,
        evidence: lines.join("\n  "),
    }))
}
