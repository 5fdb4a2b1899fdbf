//! Idempotency keys of creations: the same key of the same caller creates one webhook within its window.
//!
//! The guarantees are those of [`crate::idempotency`], for creations. A key belongs to the calling user and the app that it
//! acts through. It refers to its webhook even after that was changed or removed.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bytea, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;

use crate::sql::{At, statement, time};
use crate::{Conn, StoreError};
use tenterhook_model::access::UserCaller;
use tenterhook_model::ids::{AppId, Lane, WebhookId, WebhookKey};

/// A key and the input that was sent with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreationKey {
    lane: Lane,
    company: i64,
    user: i64,
    app: String,
    key: String,
    asked: Asked,
    /// When the key is forgotten.
    expires_at: Timestamp,
}

/// What is stored of an input, to compare it with a later one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// SHA-256 over everything except the password.
    pub request_hash: Vec<u8>,
    /// The password's [fingerprint](tenterhook_policy::sealing::Keyring::fingerprint), if there was one.
    pub password_print: Option<Vec<u8>>,
}

/// What was created with a key that already exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// The input at that time.
    pub asked: Asked,
    /// The webhook that was created.
    pub webhook: WebhookKey,
}

impl CreationKey {
    /// The key that this caller has chosen for its input.
    pub fn new(chooser: &UserCaller, key: String, asked: Asked, expires_at: Timestamp) -> Self {
        Self {
            lane: Lane::of(chooser.company),
            company: chooser.company.get(),
            user: chooser.user.get(),
            app: chooser.app.as_ref().map(AppId::to_string).unwrap_or_default(),
            key,
            asked,
            expires_at,
        }
    }

    /// Whether this input equals the earlier one, ignoring the password.
    pub fn asks_as(&self, before: &Asked) -> bool {
        self.asked.request_hash == before.request_hash
    }
}

/// An expired key is replaced.
const CLAIM: &str = "\
insert into creations as c (lane, company, user_id, app, key, request_hash, password_print, webhook, expires_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
on conflict (lane, company, user_id, app, key) do update
    set request_hash = excluded.request_hash, password_print = excluded.password_print, webhook = excluded.webhook,
        expires_at = excluded.expires_at
    where c.expires_at <= $10";

const READ: &str = "\
select c.request_hash, c.password_print, c.webhook from creations c
where c.lane = $1 and c.company = $2 and c.user_id = $3 and c.app = $4 and c.key = $5 and c.expires_at > $6";

#[derive(QueryableByName)]
struct RememberedRow {
    #[diesel(sql_type = Bytea)]
    request_hash: Vec<u8>,
    #[diesel(sql_type = Nullable<Bytea>)]
    password_print: Option<Vec<u8>>,
    #[diesel(sql_type = SqlUuid)]
    webhook: uuid::Uuid,
}

/// What was created with the key, if the key is valid at `now`.
pub async fn find(
    conn: &mut Conn,
    key: &CreationKey,
    now: Timestamp,
) -> Result<Option<Remembered>, StoreError> {
    let rows: Vec<RememberedRow> = statement(READ)
        .bind::<Integer, _>(key.lane.0)
        .bind::<BigInt, _>(key.company)
        .bind::<BigInt, _>(key.user)
        .bind::<Text, _>(&key.app)
        .bind::<Text, _>(&key.key)
        .bind::<At, _>(time(now))
        .load(conn)
        .await?;
    Ok(rows.into_iter().next().map(|row| Remembered {
        asked: Asked {
            request_hash: row.request_hash,
            password_print: row.password_print,
        },
        webhook: (key.lane, WebhookId(row.webhook)),
    }))
}

/// Stores the key for a webhook that this transaction creates. If it exists already, returns what was created with it.
///
/// The first statement waits for a transaction that stores the same key; the snapshot of the second shows its row.
pub async fn claim_in_tx(
    conn: &mut Conn,
    key: &CreationKey,
    webhook: WebhookId,
    now: Timestamp,
) -> Result<Option<Remembered>, StoreError> {
    let taken = statement(CLAIM)
        .bind::<Integer, _>(key.lane.0)
        .bind::<BigInt, _>(key.company)
        .bind::<BigInt, _>(key.user)
        .bind::<Text, _>(&key.app)
        .bind::<Text, _>(&key.key)
        .bind::<Bytea, _>(&key.asked.request_hash)
        .bind::<Nullable<Bytea>, _>(key.asked.password_print.as_deref())
        .bind::<SqlUuid, _>(webhook.0)
        .bind::<At, _>(time(key.expires_at))
        .bind::<At, _>(time(now))
        .execute(conn)
        .await?;
    if taken == 1 {
        Ok(None)
    } else {
        find(conn, key, now).await
    }
}
