//! Callers that publish as much as they can and ignore the delays that the server asks for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use tenterhook_harness::client::{Client, NewEvent, Refusal};
use tenterhook_harness::realtime;

/// How long a refused caller waits: a tenth of what the server asks for. Without a pause this machine would be the
/// limit.
const IMPATIENCE: Duration = Duration::from_millis(100);

/// The publications of the callers, repeated until the end.
#[derive(Debug, Clone)]
pub struct Flood {
    /// Number of callers.
    pub callers: u32,
    /// The companies of the publications, one per caller in turn.
    pub companies: Vec<u64>,
    /// Events per call.
    pub batch: u32,
    /// Bytes of each event's data.
    pub bytes: usize,
    /// Duration in seconds.
    pub seconds: f64,
    /// Most calls of each caller.
    pub calls: u32,
}

/// The result of a flood.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Flooded {
    /// All calls.
    pub calls: u64,
    /// Events that were accepted.
    pub accepted_events: u64,
    /// The deliveries of these events.
    pub accepted_deliveries: u64,
    /// Number of refused calls, by error code.
    pub refused: BTreeMap<String, u64>,
    /// Number of refusals that did not say when to try again.
    pub without_retry_after: u64,
    /// Calls without a valid response. It is not known whether they were accepted.
    pub unanswered: u64,
    /// The reason of the first of them.
    pub first_unanswered: Option<String>,
}

impl Flooded {
    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.accepted_events += other.accepted_events;
        self.accepted_deliveries += other.accepted_deliveries;
        for (code, calls) in other.refused {
            *self.refused.entry(code).or_default() += calls;
        }
        self.without_retry_after += other.without_retry_after;
        self.unanswered += other.unanswered;
        self.first_unanswered = self.first_unanswered.take().or(other.first_unanswered);
    }

    fn note(&mut self, refusal: &Refusal) {
        match refusal {
            Refusal::Request(_, errors) => {
                *self.refused.entry(refusal.code().to_owned()).or_default() += 1;
                let says_when = errors
                    .first()
                    .is_some_and(|error| error.extensions["retryAfter"].is_u64());
                self.without_retry_after += u64::from(!says_when);
            }
            Refusal::User(_) | Refusal::Rest(_) | Refusal::Transport(_) => {
                self.unanswered += 1;
                self.first_unanswered.get_or_insert_with(|| refusal.to_string());
            }
        }
    }
}

impl Flood {
    /// Floods until the time is over or every caller has made its calls.
    pub async fn run(&self, platform: &Client) -> Flooded {
        let over = Arc::new(AtomicBool::new(false));
        let callers: Vec<_> = (0..self.callers)
            .zip(self.companies.iter().cycle())
            .map(|(_, company)| {
                let work = call(self.clone(), *company, platform.clone(), Arc::clone(&over));
                realtime::spawn(work)
            })
            .collect();
        let mut flooded = Flooded::default();
        let all = async {
            for caller in callers {
                flooded.add(caller.await.expect("a caller does not panic and is not aborted"));
            }
        };
        let time = async {
            realtime::pause(Duration::from_secs_f64(self.seconds)).await;
            over.store(true, Ordering::Relaxed);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = all => {}
            () = time => {}
        }
        flooded
    }
}

async fn call(flood: Flood, company: u64, platform: Client, over: Arc<AtomicBool>) -> Flooded {
    let text = "x".repeat(flood.bytes);
    let event = NewEvent::new(company, "CHANGE", "deal", "8").with("data", json!({ "text": text }));
    let events = vec![event; flood.batch as usize];
    let mut flooded = Flooded::default();
    while !over.load(Ordering::Relaxed) && flooded.calls < u64::from(flood.calls) {
        flooded.calls += 1;
        match platform.publish(&events).await {
            Ok(publication) => {
                flooded.accepted_events += publication.events.len() as u64;
                let deliveries = publication.events.iter().map(|event| event.delivery_count);
                flooded.accepted_deliveries += deliveries.map(u64::from).sum::<u64>();
            }
            Err(refusal) => {
                flooded.note(&refusal);
                realtime::pause(IMPATIENCE).await;
            }
        }
    }
    flooded
}
