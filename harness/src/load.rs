//! A load: events at a steady rate, and what became of them.
//!
//! Promises an open loop: each call has its time from the start, whether or not earlier ones are answered, and latency
//! counts from that time, so that a server that stalls cannot hide it by slowing its caller. Does not look for repeats
//! after the last delivery has arrived, and judges no latency.

mod figures;
mod receiver;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

pub use self::figures::{Figures, Latencies, Percentiles};
use self::receiver::DatingReceiver;
use crate::client::{Client, NewEvent, NewWebhook, Publication, Refusal};
use crate::database::{Cluster, Database};
use crate::keys;
use crate::launch::{Server, ServerOptions};
use crate::realtime::{self, Stopwatch};
use crate::signature::Keyring;
use crate::token::{Claims, TokenKey};
use crate::world::Target;

/// The most deliveries of one run: each is remembered until the end.
const MAX_DELIVERIES: u64 = 5_000_000;
/// A user may have 40 webhooks of a type (L1), so that one user owns so many of a load's.
const WEBHOOKS_OF_A_USER: u32 = 40;
/// Calls on the wire at once; more would run out of sockets. One that waits for its turn starts late and is counted.
const CALLS_AT_ONCE: usize = 256;
/// A call that starts this long after its time is late, in seconds: the timer's own error is a millisecond.
const LATE: f64 = 0.01;
/// Company ids of loads begin here, apart from those of worlds and of people, and are below 2^53.
const FIRST_COMPANY: u64 = 3_000_000_000_000;

/// What to publish.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Events per second, above 0 to 100,000.
    pub rate: f64,
    /// Seconds to publish for, 1 to 3,600.
    pub seconds: u32,
    /// Webhooks that get each event, 1 to 1,000.
    pub fan_out: u32,
    /// Events of a call, 1 to 1,000.
    pub batch: u32,
    /// Seconds to wait for deliveries after the last call, up to 3,600.
    pub grace: u32,
}

impl Plan {
    /// How many events.
    pub fn events(&self) -> u64 {
        (self.rate * f64::from(self.seconds)).round() as u64
    }

    /// Refuses what cannot be run, naming the argument.
    ///
    /// # Errors
    ///
    /// When a number is out of its bounds, or there would be no events or too many deliveries.
    pub fn check(&self) -> anyhow::Result<()> {
        let within = |name: &str, value: u32, least: u32, most: u32| {
            ensure!(
                (least..=most).contains(&value),
                "--{name} must be {least} to {most}, not {value}"
            );
            Ok(())
        };
        ensure!(
            self.rate > 0.0 && self.rate <= 100_000.0,
            "--rate must be above 0 and at most 100000 events per second, not {}",
            self.rate
        );
        within("seconds", self.seconds, 1, 3_600)?;
        within("fan-out", self.fan_out, 1, 1_000)?;
        within("batch", self.batch, 1, 1_000)?;
        within("grace", self.grace, 0, 3_600)?;
        ensure!(
            self.events() > 0,
            "no event falls into {} s at {}/s: raise --rate or --seconds",
            self.seconds,
            self.rate
        );
        let deliveries = self.events() * u64::from(self.fan_out);
        ensure!(
            deliveries <= MAX_DELIVERIES,
            "{deliveries} deliveries are more than {MAX_DELIVERIES}: lower --rate, --seconds or --fan-out"
        );
        Ok(())
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Seconds since the first call's time.
    pub seconds: f64,
    /// Deliveries that have arrived.
    pub arrived: u64,
    /// Deliveries of the whole plan.
    pub planned: u64,
}

/// One call, as it went.
struct Call {
    intended: f64,
    started: f64,
    answered: f64,
    result: Result<Publication, Refusal>,
}

/// Runs `plan` against `target`, or against a server of its own in this process. Tells `progress` once a second.
///
/// # Errors
///
/// When the plan is out of bounds, no server answers, or the webhooks cannot be made. A failed call to publish is a
/// figure and no error.
pub async fn run(
    plan: &Plan,
    target: Option<&Target>,
    progress: impl Fn(Progress),
) -> anyhow::Result<Figures> {
    plan.check()?;
    match target {
        Some(target) => run_against(plan, &target.url, &target.key, progress).await,
        None => {
            let (server, _database, key) = own_server().await?;
            let url = format!("http://{}", server.address());
            let figures = run_against(plan, &url, &key, progress).await?;
            server.stop().await?;
            Ok(figures)
        }
    }
}

async fn own_server() -> anyhow::Result<(Server, Database, TokenKey)> {
    let key = TokenKey {
        secret: "of a server that exists only for a load".to_owned(),
        issuer: "harness".to_owned(),
        audience: "harness".to_owned(),
    };
    let options = ServerOptions {
        allowed_targets: vec!["127.0.0.0/8".to_owned()],
        platform_hosts: Vec::new(),
        dns_servers: Vec::new(),
        key: key.clone(),
        sealing_key: keys::SEALING_KEY.to_owned(),
        extra_ca_file: None,
        notices: None,
    };
    let database = Cluster::shared().await?.database().await?;
    let server = Server::start_in_real_time(&options, &database.url(None)).await?;
    Ok((server, database, key))
}

async fn run_against(
    plan: &Plan,
    url: &str,
    key: &TokenKey,
    progress: impl Fn(Progress),
) -> anyhow::Result<Figures> {
    let now = realtime::now();
    let company = FIRST_COMPANY + u64::try_from(now.as_millisecond()).unwrap_or(0);
    let caller = Client::new(url, None, Keyring::default())?;
    let ready = caller.until_ready().await;
    ready.with_context(|| format!("the server at {url}"))?;
    let platform = caller.with_token(Some(key.sign(&Claims::of_scope("platform"), now)));
    let watch = Stopwatch::start();
    let receiver = DatingReceiver::start(watch).await?;
    let users = 1..=u64::from(plan.fan_out.div_ceil(WEBHOOKS_OF_A_USER));
    let mut webhooks = Vec::new();
    for user in users.clone() {
        platform.upsert_user(company, user, "ADMIN").await?;
        let owner = caller.with_token(Some(key.sign(&Claims::user(company, user, "admin"), now)));
        while webhooks.len() < (user * u64::from(WEBHOOKS_OF_A_USER)).min(u64::from(plan.fan_out)) as usize {
            let new = NewWebhook::to(&receiver.url(webhooks.len() as u32));
            let created = owner.create_webhook(new).await;
            let created = created
                .context("a webhook to this machine cannot be made; the server must allow loopback")?;
            webhooks.push(created.webhook.number);
        }
    }
    let planned = plan.events() * u64::from(plan.fan_out);
    let different = receiver.different();
    let began = watch.seconds();
    let work = async {
        let calls = publish(plan, company, &platform, watch, began).await;
        // An error means that the time is over, which the figures say.
        let mut arrived = receiver.different();
        let expected = published(&calls) * u64::from(plan.fan_out);
        let all = arrived.wait_for(|different| *different >= expected);
        drop(realtime::within(Duration::from_secs(plan.grace.into()), all).await);
        calls
    };
    let ticks = async {
        loop {
            realtime::pause(Duration::from_secs(1)).await;
            progress(Progress {
                seconds: watch.seconds() - began,
                arrived: *different.borrow(),
                planned,
            });
        }
    };
    let calls = tokio::select! {
        calls = work => calls,
        () = ticks => unreachable!("the ticks never end"),
    };
    let figures = figures(plan, &calls, &webhooks, &receiver, began);
    // Removed after the figures: a removal cancels what is still under way.
    for user in users {
        let input = json!({"companyId": company.to_string(), "userId": user.to_string()});
        platform
            .mutate("removeUser", input, "removedWebhookCount")
            .await?;
    }
    figures
}

/// All calls, each begun at its time and none waiting for another's answer.
async fn publish(plan: &Plan, company: u64, platform: &Client, watch: Stopwatch, began: f64) -> Vec<Call> {
    let places = Arc::new(Semaphore::new(CALLS_AT_ONCE));
    let mut calls: Vec<JoinHandle<Call>> = Vec::new();
    let mut first = 0;
    while first < plan.events() {
        let last = (first + u64::from(plan.batch)).min(plan.events());
        let events: Vec<NewEvent> = (first..last)
            .map(|number| NewEvent::new(company, "CHANGE", "deal", &(number + 1).to_string()))
            .collect();
        let intended = began + first as f64 / plan.rate;
        let early = intended - watch.seconds();
        if early > 0.0 {
            realtime::pause(Duration::from_secs_f64(early)).await;
        }
        let (platform, places) = (platform.clone(), Arc::clone(&places));
        calls.push(realtime::spawn(async move {
            // An error means that the semaphore is closed, which nobody does.
            let _place = places.acquire().await;
            let started = watch.seconds();
            let result = platform.publish(&events).await;
            Call {
                intended,
                started,
                answered: watch.seconds(),
                result,
            }
        }));
        first = last;
    }
    let mut answered = Vec::new();
    for call in calls {
        answered.push(call.await.expect("a call does not panic and is not aborted"));
    }
    answered
}

fn published(calls: &[Call]) -> u64 {
    let events = calls.iter().filter_map(|call| call.result.as_ref().ok());
    events.map(|publication| publication.events.len() as u64).sum()
}

fn figures(
    plan: &Plan,
    calls: &[Call],
    webhooks: &[String],
    receiver: &DatingReceiver,
    began: f64,
) -> anyhow::Result<Figures> {
    let (mut deliveries, mut answers) = (Latencies::new()?, Latencies::new()?);
    let (mut arrived, mut repeated) = (0, 0);
    for call in calls {
        answers.record(call.answered - call.started);
        let Ok(publication) = &call.result else { continue };
        for event in &publication.events {
            for webhook in webhooks {
                let name = (event.event.event_id.clone(), webhook.clone());
                if let Some(arrival) = receiver.arrival(&name) {
                    arrived += 1;
                    repeated += arrival.count - 1;
                    deliveries.record(arrival.first - call.intended);
                }
            }
        }
    }
    let published = published(calls);
    let expected = published * webhooks.len() as u64;
    let ended = calls.iter().map(|call| call.answered).fold(began, f64::max);
    // The last call's events belong to the interval after it, or a run of one call would have no rate.
    let lasted = (ended - began).max(plan.events() as f64 / plan.rate);
    let failures = || calls.iter().filter_map(|call| call.result.as_ref().err());
    Ok(Figures {
        events_planned: plan.events(),
        events_published: published,
        calls_failed: failures().count() as u64,
        first_failure: failures().next().map(ToString::to_string),
        late_starts: calls
            .iter()
            .filter(|call| call.started - call.intended > LATE)
            .count() as u64,
        deliveries_expected: expected,
        deliveries_arrived: arrived,
        deliveries_missing: expected - arrived,
        deliveries_repeated: repeated,
        rate_planned: plan.rate,
        rate_achieved: published as f64 / lasted,
        delivery_latency: deliveries.percentiles(),
        call_latency: answers.percentiles(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            rate: 50.0,
            seconds: 1,
            fan_out: 2,
            batch: 3,
            grace: 60,
        }
    }

    #[tokio::test]
    async fn every_event_of_a_short_load_arrives_at_every_webhook() {
        let figures = run(&plan(), None, |_| ()).await.unwrap();
        assert_eq!(
            (
                figures.events_published,
                figures.calls_failed,
                figures.deliveries_expected
            ),
            (50, 0, 100),
            "{figures}"
        );
        assert_eq!(
            (
                figures.deliveries_arrived,
                figures.deliveries_missing,
                figures.deliveries_repeated
            ),
            (100, 0, 0),
            "{figures}"
        );
        assert!(figures.complete());
    }

    #[test]
    fn a_plan_out_of_bounds_is_refused_by_the_name_of_its_argument() {
        for (plan, argument) in [
            (
                Plan {
                    rate: f64::NAN,
                    ..plan()
                },
                "--rate",
            ),
            (Plan { rate: 0.0, ..plan() }, "--rate"),
            (Plan { rate: 0.1, ..plan() }, "no event"),
            (Plan { seconds: 0, ..plan() }, "--seconds"),
            (
                Plan {
                    fan_out: 1_001,
                    ..plan()
                },
                "--fan-out",
            ),
            (Plan { batch: 0, ..plan() }, "--batch"),
            (
                Plan {
                    grace: 3_601,
                    ..plan()
                },
                "--grace",
            ),
            (
                Plan {
                    rate: 100_000.0,
                    seconds: 3_600,
                    ..plan()
                },
                "deliveries are more",
            ),
        ] {
            let error = plan.check().unwrap_err().to_string();
            assert!(error.contains(argument), "{argument}: {error}");
        }
        plan().check().unwrap();
    }
}
