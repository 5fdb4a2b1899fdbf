//! The tables as Diesel sees them. A test compares this with the migrated database.

use diesel::table;

table! {
    /// Facts about the database itself.
    settings (key) {
        key -> Text,
        value -> Text,
    }
}

table! {
    /// The server processes that are alive or were so until recently.
    nodes (id) {
        id -> BigInt,
        started_at -> Timestamptz,
        heartbeat_at -> Timestamptz,
        feed_snapshot -> Nullable<Text>,
        settled_through -> Timestamptz,
    }
}

table! {
    /// The apps of the marketplace.
    apps (id) {
        id -> Text,
        name -> Text,
        created_at -> Timestamptz,
        removed_at -> Nullable<Timestamptz>,
    }
}

table! {
    /// The users of the companies.
    users (lane, company, id) {
        lane -> Integer,
        company -> BigInt,
        id -> BigInt,
        role -> SmallInt,
        created_at -> Timestamptz,
        removed_at -> Nullable<Timestamptz>,
    }
}

table! {
    /// Which users have which apps installed.
    installations (lane, company, user_id, app) {
        lane -> Integer,
        company -> BigInt,
        user_id -> BigInt,
        app -> Text,
        installed_at -> Timestamptz,
    }
}

table! {
    /// Webhooks without their health.
    webhooks (lane, id) {
        lane -> Integer,
        id -> Uuid,
        number -> BigInt,
        company -> BigInt,
        owner -> BigInt,
        user_id -> BigInt,
        kind -> SmallInt,
        app -> Nullable<Text>,
        name -> Nullable<Text>,
        url -> Text,
        action -> SmallInt,
        object -> Text,
        version -> SmallInt,
        auth -> Nullable<Bytea>,
        secret -> Bytea,
        previous_secret -> Nullable<Bytea>,
        previous_secret_expires_at -> Nullable<Timestamptz>,
        paused_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        removed_at -> Nullable<Timestamptz>,
        remove_reason -> Nullable<SmallInt>,
    }
}

table! {
    /// The values that failures and successes of a webhook change.
    webhook_health (lane, webhook) {
        lane -> Integer,
        webhook -> Uuid,
        ban_counter -> Integer,
        ban_episode -> Integer,
        ban_started_at -> Nullable<Timestamptz>,
        banned_until -> Nullable<Timestamptz>,
        ban_open -> Bool,
        failing_since -> Nullable<Timestamptz>,
        window_episode -> Integer,
        warnings_given -> SmallInt,
        window_floor -> Nullable<Timestamptz>,
        next_transition_at -> Nullable<Timestamptz>,
        last_counted_at -> Nullable<Timestamptz>,
        last_paused_at -> Nullable<Timestamptz>,
        last_resumed_at -> Nullable<Timestamptz>,
    }
}
