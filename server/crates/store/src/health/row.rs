//! A row of `webhook_health`, read the same way in every join.

use diesel::QueryableByName;
use diesel::sql_types::{Bool, Integer, SmallInt};

use crate::sql::{MaybeAt, Time, maybe_timestamp};
use tenterhook_model::health::{Health, Standing};

/// The columns that [`HealthRow`] reads, from a table or alias `h`.
macro_rules! health_columns {
    () => {
        "h.ban_counter, h.last_counted_at, h.ban_episode, h.ban_started_at, h.banned_until, h.ban_open, \
         h.failing_since, h.window_episode, h.warnings_given, h.window_floor, h.last_paused_at, h.last_resumed_at"
    };
}
pub(crate) use health_columns;

/// A row of `webhook_health` under the names of `health_columns!`.
#[derive(Debug, QueryableByName)]
pub struct HealthRow {
    #[diesel(sql_type = Integer)]
    ban_counter: i32,
    #[diesel(sql_type = MaybeAt)]
    last_counted_at: Option<Time>,
    #[diesel(sql_type = Integer)]
    ban_episode: i32,
    #[diesel(sql_type = MaybeAt)]
    ban_started_at: Option<Time>,
    #[diesel(sql_type = MaybeAt)]
    banned_until: Option<Time>,
    #[diesel(sql_type = Bool)]
    ban_open: bool,
    #[diesel(sql_type = MaybeAt)]
    failing_since: Option<Time>,
    #[diesel(sql_type = Integer)]
    window_episode: i32,
    #[diesel(sql_type = SmallInt)]
    warnings_given: i16,
    #[diesel(sql_type = MaybeAt)]
    window_floor: Option<Time>,
    #[diesel(sql_type = MaybeAt)]
    last_paused_at: Option<Time>,
    #[diesel(sql_type = MaybeAt)]
    last_resumed_at: Option<Time>,
}

impl HealthRow {
    /// The health; `standing` follows from the webhook's own row.
    pub fn into_health(self, paused: bool, removed: bool) -> Health {
        Health {
            standing: match (removed, paused) {
                (true, _) => Standing::Removed,
                (false, true) => Standing::Paused,
                (false, false) => Standing::Live,
            },
            ban_counter: self.ban_counter,
            last_counted_at: maybe_timestamp(self.last_counted_at),
            ban_episode: self.ban_episode,
            ban_started_at: maybe_timestamp(self.ban_started_at),
            banned_until: maybe_timestamp(self.banned_until),
            ban_open: self.ban_open,
            failing_since: maybe_timestamp(self.failing_since),
            window_episode: self.window_episode,
            warnings_given: self.warnings_given,
            window_floor: maybe_timestamp(self.window_floor),
            last_pause: maybe_timestamp(self.last_paused_at).zip(maybe_timestamp(self.last_resumed_at)),
        }
    }
}
