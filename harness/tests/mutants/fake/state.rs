//! The state of the fake.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tenterhook_harness::model::{Names, Numbers, State as Health, Step, Webhook};
use tenterhook_harness::world::AppSees;
use tokio::task::JoinHandle;

use super::Bend;

pub struct State {
    pub bend: Option<Bend>,
    pub numbers: Numbers,
    pub app_sees: AppSees,
    pub now: Timestamp,
    pub hooks: Vec<Hook>,
    pub events: Vec<Event>,
    pub deliveries: Vec<Delivery>,
    pub flights: HashMap<usize, Flight>,
    /// Event, webhook and attempt number, as the receiver reported them.
    pub stalled: HashSet<(String, String, u8)>,
    pub stalled_targets: HashSet<String>,
    /// App names by id, including removed apps.
    pub apps: BTreeMap<String, String>,
    /// App, company and user of each installation.
    pub installed: HashSet<(String, String, String)>,
    /// Company and user of each known user.
    pub users: HashSet<(String, String)>,
    /// Company and user of each removed user.
    pub gone: HashSet<(String, String)>,
    /// By company and key: the content, the event, and the time until which the key is remembered.
    pub keys: HashMap<(String, String), (Value, usize, Timestamp)>,
    /// The questions to name servers and their responses.
    pub names: Names,
    /// Number of calls to refuse together with an earlier bad one, with the bend for that.
    pub spoilt: usize,
}

/// A webhook. Its number is its index plus 1.
pub struct Hook {
    pub number: usize,
    pub company: String,
    pub owner: String,
    pub user: String,
    pub app: Option<String>,
    pub v1: bool,
    pub name: Value,
    pub url: String,
    pub action: String,
    pub object: String,
    pub auth_user: Value,
    pub auth_password: Value,
    pub secret: Vec<u8>,
    pub created: Timestamp,
    pub updated: Timestamp,
    pub model: Webhook,
    pub last_success: Option<Timestamp>,
    pub last_attempt: Option<Timestamp>,
    pub last_status: Option<u16>,
    pub last_class: Option<&'static str>,
    pub lost: u32,
}

/// A stored event. A merge is two of them.
pub struct Event {
    pub id: String,
    pub correlation: String,
    /// The action's word in version 2 and in version 1.
    pub actions: (&'static str, &'static str),
    pub accepted: Timestamp,
    pub input: Value,
    /// `merged_from_id` or `merged_to_id`.
    pub merge: Option<(&'static str, String)>,
}

pub struct Delivery {
    /// The index of its webhook.
    pub hook: usize,
    /// The index of its event.
    pub event: usize,
    /// The webhook's URL when the delivery was made, for the bend that keeps to it.
    pub url: String,
    pub status: &'static str,
    pub reason: Option<&'static str>,
    pub created: Timestamp,
    pub finished: Option<Timestamp>,
    /// When the next attempt is due, while the delivery is pending.
    pub due: Timestamp,
    pub number: u8,
    /// How often it was postponed (D13).
    pub times_postponed: usize,
    pub attempts: Vec<Tried>,
}

pub struct Tried {
    pub number: u8,
    pub started: Timestamp,
    pub ended: Timestamp,
    pub status: Option<u16>,
    pub class: Option<&'static str>,
}

/// An attempt in flight.
pub struct Flight {
    pub name: (String, String, u8),
    pub target: String,
    pub started: Timestamp,
    pub deadline: Timestamp,
    /// Whether its host name is still being looked up.
    pub looking_up: Arc<AtomicBool>,
    pub work: JoinHandle<()>,
}

/// The result of an attempt.
pub struct Ending {
    pub status: Option<u16>,
    pub class: Option<&'static str>,
    pub retry_after: Option<SignedDuration>,
}

impl Ending {
    pub fn failed(class: &'static str) -> Self {
        Self {
            status: None,
            class: Some(class),
            retry_after: None,
        }
    }
}

impl State {
    pub fn bends(&self, bend: Bend) -> bool {
        self.bend == Some(bend)
    }

    /// Forgets what a restart loses: nothing, except with the bend for that.
    pub fn restart(&mut self) {
        if self.bends(Bend::RestartLosesAnEvent) {
            self.deliveries.retain(|delivery| delivery.status != "PENDING");
        }
        if self.bends(Bend::RestartForgetsTheCounter) {
            for hook in &mut self.hooks {
                hook.model.counter = 0;
            }
        }
    }

    pub fn health(&self, hook: usize) -> Health {
        self.hooks[hook].model.state(self.now, &self.numbers)
    }

    /// When time alone causes the next change.
    pub fn next_due(&self) -> Option<Timestamp> {
        let open = self.deliveries.iter().enumerate();
        let open = open.filter(|(place, delivery)| {
            delivery.status == "PENDING" && !self.flights.contains_key(place) && delivery.due > self.now
        });
        let attempts = open.map(|(_, delivery)| delivery.due);
        let deadlines = self.flights.values().map(|flight| flight.deadline);
        let steps = self
            .hooks
            .iter()
            .filter_map(|hook| hook.model.next_step(&self.numbers));
        attempts.chain(deadlines).chain(steps.map(Step::at)).min()
    }

    /// Whether every attempt in flight is stalled.
    pub fn is_quiet(&self) -> bool {
        self.flights.values().all(|flight| {
            self.stalled.contains(&flight.name) || self.stalled_targets.contains(&flight.target)
        })
    }
}
