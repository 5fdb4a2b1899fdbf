//! What happened to one webhook, from what the API recorded and callers read.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::cell::{Cell, Column, type_named};
use super::rows::{Fact, Row};
use crate::client::{Delivery, Look, Notice, Refusal, Webhook};
use crate::webhook_type::WebhookType;
use crate::world::{Outage, OutageKind, World};

/// The records about a webhook.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'s> {
    /// The webhook as it was when created.
    pub made: &'s Webhook,
    /// Its deliveries with their attempts.
    pub deliveries: &'s [Delivery],
    /// Its notices, oldest first.
    pub notices: &'s [Notice],
    /// The reads of its health.
    pub looks: &'s [Look],
    /// The interruptions that happened after its creation.
    pub outages: &'s [Outage],
    /// Whether a name server left a question about its host without an answer.
    pub unanswered: bool,
}

/// What happened to one webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// Its type.
    pub kind: WebhookType,
    /// Each fact with the error class or interruption under which it occurred.
    pub facts: BTreeSet<(Fact, Column)>,
}

impl Life {
    /// Reads the facts from the records.
    ///
    /// # Errors
    ///
    /// If a record has an error class or type that the matrix does not know.
    pub fn of(seen: &Seen<'_>) -> anyhow::Result<Self> {
        let mut history = History::of(seen)?;
        history.deliveries(seen.deliveries)?;
        history.bans(seen);
        history.windows(seen.notices);
        history.looks(seen.looks);
        let mut facts: BTreeSet<(Fact, Column)> = history
            .facts
            .iter()
            .map(|(fact, column, _)| (*fact, *column))
            .collect();
        for outage in seen.outages {
            let column = match outage.kind {
                OutageKind::Crash => Column::Crash,
                OutageKind::Stop => Column::Stop,
            };
            // What had happened before shows nothing about the interruption.
            let after = history.facts.iter().filter(|(_, _, at)| *at >= outage.at);
            facts.extend(after.map(|(fact, ..)| (*fact, column)));
        }
        if seen.unanswered {
            facts.insert((Fact::Postponed, Column::SilentDns));
        }
        Ok(Self {
            kind: type_named(&seen.made.kind)?,
            facts,
        })
    }

    /// The cells that this webhook fills, if the rules are those of its scenario.
    pub fn cells<R: AsRef<str>>(&self, rules: &[R]) -> Vec<Cell> {
        let rows = rules.iter().filter_map(|rule| Row::of(rule.as_ref()));
        let cells = rows.flat_map(|row| row.cells().map(move |cell| (row.facts, cell)));
        let is_shown =
            |facts: &[Fact], column| facts.iter().any(|fact| self.facts.contains(&(*fact, column)));
        cells
            .filter(|(facts, cell)| cell.kind == self.kind && is_shown(facts, cell.column))
            .map(|(_, cell)| cell)
            .collect()
    }
}

/// An attempt that ended.
#[derive(Debug, Clone, Copy)]
struct Try {
    number: u8,
    column: Column,
    started: Timestamp,
    ended: Timestamp,
}

/// A ban with the results of the first tries that caused it.
struct Ban {
    from: Timestamp,
    until: Option<Timestamp>,
    causes: BTreeSet<Column>,
}

impl Ban {
    fn covers(&self, at: Timestamp) -> bool {
        self.from <= at && self.until.is_none_or(|until| at < until)
    }
}

/// The facts so far, each with the time at which it was complete.
struct History {
    tries: Vec<Try>,
    facts: Vec<(Fact, Column, Timestamp)>,
}

impl History {
    fn of(seen: &Seen<'_>) -> anyhow::Result<Self> {
        let mut tries = Vec::new();
        for attempt in seen.deliveries.iter().flat_map(|delivery| &delivery.attempts) {
            tries.push(Try {
                number: attempt.number,
                column: Column::of_attempt(attempt.error_class.as_deref())?,
                started: attempt.started_at,
                ended: attempt.ended_at,
            });
        }
        tries.sort_by_key(|attempt| attempt.ended);
        Ok(Self {
            tries,
            facts: vec![(Fact::Created, Column::Any, seen.made.created_at)],
        })
    }

    fn add(&mut self, fact: Fact, columns: impl IntoIterator<Item = Column>, at: Timestamp) {
        self.facts
            .extend(columns.into_iter().map(|column| (fact, column, at)));
    }

    fn deliveries(&mut self, deliveries: &[Delivery]) -> anyhow::Result<()> {
        for delivery in deliveries {
            let mut failed_before = None;
            let mut columns = BTreeSet::new();
            for attempt in &delivery.attempts {
                let column = Column::of_attempt(attempt.error_class.as_deref())?;
                let failed = column != Column::Success;
                self.add(Fact::Attempted, [column], attempt.ended_at);
                if attempt
                    .http_status
                    .is_some_and(|status| (300..400).contains(&status))
                {
                    self.add(Fact::Redirected, [column], attempt.ended_at);
                }
                if failed && attempt.number == 1 {
                    self.add(Fact::FirstTryFailed, [column], attempt.ended_at);
                }
                self.add(Fact::Retried, failed_before, attempt.started_at);
                failed_before = failed.then_some(column);
                columns.insert(column);
            }
            if let Some(at) = delivery.finished_at {
                self.add(Fact::Ended, columns, at);
                if delivery.status == "SUCCEEDED" {
                    self.add(Fact::Delivered, [Column::Success], at);
                }
            }
        }
        Ok(())
    }

    fn bans(&mut self, seen: &Seen<'_>) {
        for ban in self.all_bans(seen.notices) {
            self.add(Fact::Banned, ban.causes.clone(), ban.from);
            self.add(Fact::Noticed, ban.causes.clone(), ban.from);
            if let Some(until) = ban.until {
                self.add(Fact::BanEnded, ban.causes.clone(), until);
                self.add(Fact::Noticed, ban.causes.clone(), until);
            }
            let lost = |delivery: &&Delivery| {
                delivery.reason.as_deref() == Some("BANNED")
                    && delivery.finished_at.is_some_and(|at| ban.covers(at))
            };
            for delivery in seen.deliveries.iter().filter(lost) {
                let at = delivery.finished_at.unwrap_or(ban.from);
                self.add(Fact::LostInBan, ban.causes.clone(), at);
            }
            let in_flight = |attempt: &&Try| {
                attempt.started <= ban.from && ban.from < attempt.ended && ban.covers(attempt.ended)
            };
            let in_flight: Vec<Try> = self.tries.iter().filter(in_flight).copied().collect();
            for attempt in in_flight {
                self.add(Fact::EndedInBan, [attempt.column], attempt.ended);
            }
        }
    }

    fn all_bans(&self, notices: &[Notice]) -> Vec<Ban> {
        let mut bans: Vec<Ban> = Vec::new();
        for notice in notices {
            match notice.kind.as_str() {
                "BANNED" => {
                    let last = bans.last();
                    let before = last.map_or(Timestamp::MIN, |ban| ban.until.unwrap_or(ban.from));
                    let counted = |attempt: &&Try| {
                        attempt.number == 1
                            && attempt.column != Column::Success
                            && before <= attempt.ended
                            && attempt.ended <= notice.at
                    };
                    let causes = self.tries.iter().filter(counted).map(|attempt| attempt.column);
                    bans.push(Ban {
                        from: notice.at,
                        until: None,
                        causes: causes.collect(),
                    });
                }
                "BAN_ENDED" => {
                    if let Some(ban) = bans.last_mut() {
                        ban.until = Some(notice.at);
                    }
                }
                _ => {}
            }
        }
        bans
    }

    /// Warnings, removals and recoveries, with the failures since the last success before.
    fn windows(&mut self, notices: &[Notice]) {
        for notice in notices {
            if matches!(notice.kind.as_str(), "BANNED" | "BAN_ENDED") {
                continue;
            }
            let before = self.tries.iter().filter(|attempt| attempt.ended < notice.at);
            let success = before
                .clone()
                .rev()
                .find(|attempt| attempt.column == Column::Success)
                .map_or(Timestamp::MIN, |attempt| attempt.ended);
            let failures: BTreeSet<Column> = before
                .filter(|attempt| success <= attempt.ended && attempt.column != Column::Success)
                .map(|attempt| attempt.column)
                .collect();
            if notice.kind == "REMOVED" {
                self.add(Fact::Removed, failures.clone(), notice.at);
            }
            self.add(Fact::Noticed, failures, notice.at);
        }
    }

    fn looks(&mut self, looks: &[Look]) {
        for look in looks {
            let before = self.tries.iter().filter(|attempt| attempt.ended <= look.at);
            let columns: BTreeSet<Column> = before.map(|attempt| attempt.column).collect();
            self.add(Fact::Read, columns, look.at);
        }
    }
}

/// The life of a webhook whose deliveries are known. The operator reads its notices.
///
/// # Errors
///
/// If the server does not respond, or a record has an error class or type that the matrix does not know.
pub async fn life(world: &World, made: &Webhook, deliveries: &[Delivery]) -> Result<Life, Refusal> {
    let notices = if deliveries.is_empty() {
        Vec::new()
    } else {
        match world.operator().notices(&made.id).await {
            Err(refusal @ Refusal::Transport(_)) => return Err(refusal),
            // A server without notices: nothing about bans and removals is counted, and the gap is shown.
            Err(_) => Vec::new(),
            Ok(notices) => notices,
        }
    };
    let mut looks = world.log().looks();
    looks.retain(|look| look.webhook == made.id);
    let number = world.log().made().iter().position(|other| other.id == made.id);
    let after_creation = |outage: &&Outage| number.is_some_and(|number| number < outage.webhooks);
    let outages: Vec<Outage> = world.outages().iter().filter(after_creation).copied().collect();
    Ok(Life::of(&Seen {
        made,
        deliveries,
        notices: &notices,
        looks: &looks,
        outages: &outages,
        unanswered: is_unanswered(world, &made.subscription_url),
    })?)
}

fn is_unanswered(world: &World, url: &str) -> bool {
    let url = reqwest::Url::parse(url).ok();
    let host = url.as_ref().and_then(reqwest::Url::host_str);
    host.zip(world.name_server())
        .is_some_and(|(host, names)| names.has_left_unanswered(host))
}

/// The lives of all webhooks that the world's callers created.
///
/// # Errors
///
/// As [`life`].
pub async fn lives(world: &World) -> Result<Vec<Life>, Refusal> {
    let operator = world.operator();
    let mut lives = Vec::new();
    for made in world.log().made() {
        let deliveries = operator.deliveries(&made.id).await?;
        lives.push(life(world, &made, &deliveries).await?);
    }
    Ok(lives)
}
