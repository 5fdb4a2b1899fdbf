//! The numbers of docs/policy.md: every default in bold is defined here and nowhere else in the code.

use std::collections::BTreeSet;
use std::time::Duration;

const SECOND: u64 = 1;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The keys in `meta` of version 1 besides [`PolicySettings::v1_service_key`], which must be another one: many readers of
/// JSON keep only the last value of a key (E5).
pub const V1_META_KEYS: [&str; 16] = [
    "v",
    "type",
    "action",
    "object",
    "id",
    "company_id",
    "user_id",
    "host",
    "timestamp",
    "timestamp_micro",
    "permitted_user_ids",
    "trans_pending",
    "is_bulk_update",
    "matches_filters",
    "change_source",
    "webhook_id",
];

/// The numbers of the policy. Each field names its rule; settings can replace each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySettings {
    /// Webhooks per user, and per app and user (W3).
    pub webhook_limit: u32,
    /// What an app sees besides its own webhooks (W4).
    pub app_sees: AppSees,
    /// How long a removed webhook stays readable (W12).
    pub removed_retention: Duration,
    /// How long an idempotency key is remembered (E1).
    pub idempotency_window: Duration,
    /// How long both secrets sign after a rotation (E7).
    pub secret_overlap: Duration,
    /// The only time limit of an attempt (D2).
    pub attempt_timeout: Duration,
    /// The delays from the end of a failed attempt to the next one; the number of entries is the number of retries (D4).
    pub retry_delays: Vec<Duration>,
    /// How long no name server may have answered before an attempt whose lookup got no answer is postponed (D13).
    pub dns_silence: Duration,
    /// How long name servers may be silent before attempts are judged anyway (D13).
    pub dns_give_up: Duration,
    /// Bytes of a failed attempt's response body that are kept, after decoding (D2).
    pub response_excerpt: usize,
    /// Bytes of a successful attempt's response body that are kept (D10).
    pub success_excerpt: usize,
    /// How long attempts and events are kept (D10).
    pub history_retention: Duration,
    /// The number of failed first tries that causes a ban (B2).
    pub ban_threshold: u32,
    /// How long a ban lasts (B2).
    pub ban_duration: Duration,
    /// Whether a success resets the ban counter (B3: off).
    pub success_resets_counter: bool,
    /// The time without success until removal (R1).
    pub removal_window: Duration,
    /// The ages of the window at which warnings are given (R4): exactly three, ascending, before its end.
    pub removal_warnings: [Duration; 3],
    /// The objects that can be subscribed to (W9).
    pub catalog: Catalog,
    /// How version 1 writes that an event is for everyone (E5).
    pub everyone_v1: EveryoneV1,
    /// The fields of an object whose changes version 2 shows one level deeper, if they are objects themselves (E4).
    pub previous_nested: BTreeSet<String>,
    /// The key of v1's constant service flag (E5).
    pub v1_service_key: String,
    /// The host in payloads of events that name none.
    pub default_host: String,
}

/// What a token through an app sees besides the webhooks that the app created for the token's user (W4). Pipedrive has
/// had both states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppSees {
    /// Nothing else: Pipedrive's state since 5 May 2021.
    Application,
    /// Also the general webhooks of the token's user, to read only: Pipedrive's state before that day.
    OwnGeneral,
}

/// The `permitted_user_ids` of version 1 if an event is for everyone (E5). Version 2 always has `["*"]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EveryoneV1 {
    /// An empty list: a typed receiver, which expects a list of numbers, can read it.
    Empty,
    /// `["*"]`, as in version 2.
    Star,
    /// The key is left out.
    Absent,
}

/// The objects of each payload version (W9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    /// Objects of version 1.
    pub v1: BTreeSet<String>,
    /// Objects of version 2.
    pub v2: BTreeSet<String>,
}

impl Default for Catalog {
    fn default() -> Self {
        let set = |names: &str| names.split(' ').map(str::to_owned).collect();
        Self {
            v1: set("activity activityType deal note organization person pipeline product stage user"),
            v2: set(
                "activity board deal deal_installment deal_product lead note organization person phase pipeline product \
                 project stage task user",
            ),
        }
    }
}

impl Default for PolicySettings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            webhook_limit: 40,
            app_sees: AppSees::Application,
            removed_retention: seconds(30 * DAY),
            idempotency_window: seconds(24 * HOUR),
            secret_overlap: seconds(24 * HOUR),
            attempt_timeout: seconds(10 * SECOND),
            retry_delays: vec![seconds(3 * SECOND), seconds(30 * SECOND), seconds(150 * SECOND)],
            dns_silence: seconds(10 * SECOND),
            dns_give_up: seconds(15 * MINUTE),
            response_excerpt: 16 * 1024,
            success_excerpt: 1024,
            history_retention: seconds(30 * DAY),
            ban_threshold: 10,
            ban_duration: seconds(30 * MINUTE),
            success_resets_counter: false,
            removal_window: seconds(72 * HOUR),
            removal_warnings: [seconds(24 * HOUR), seconds(48 * HOUR), seconds(71 * HOUR)],
            catalog: Catalog::default(),
            everyone_v1: EveryoneV1::Empty,
            previous_nested: BTreeSet::from(["custom_fields".to_owned()]),
            v1_service_key: "pipedrive_service_name".to_owned(),
            default_host: "localhost".to_owned(),
        }
    }
}

impl PolicySettings {
    /// The number of attempts of a delivery: the first try and its retries (D4).
    pub fn attempts(&self) -> u8 {
        u8::try_from(self.retry_delays.len() + 1).unwrap_or(u8::MAX)
    }
}
