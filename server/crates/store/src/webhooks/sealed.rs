//! Sealed values: the keys that they are sealed with, and their replacement when a key is replaced.
//!
//! Guarantees: nothing else of a webhook changes, not even its time of last change, because nothing changed for its user.
//! This module knows only how to compare the first bytes of sealed values.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bytea, Integer, Nullable, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::sql::statement;
use crate::sql::unnest::{Arrays, sql_text, unnest};
use crate::{Conn, StoreError};
use tenterhook_model::ids::{Lane, WebhookId};
use tenterhook_model::webhook::Sealed;

/// The sealed values of one webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedRow {
    /// The webhook that the values belong to.
    pub webhook: WebhookId,
    /// Credentials.
    pub auth: Option<Sealed>,
    /// The signing secret.
    pub secret: Sealed,
    /// The previous secret, whether its overlap has ended or not.
    pub previous: Option<Sealed>,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Nullable<Bytea>)]
    auth: Option<Vec<u8>>,
    #[diesel(sql_type = Bytea)]
    secret: Vec<u8>,
    #[diesel(sql_type = Nullable<Bytea>)]
    previous_secret: Option<Vec<u8>>,
}

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = Bytea)]
    prefix: Vec<u8>,
    #[diesel(sql_type = BigInt)]
    count: i64,
}

unnest! {
    from 2;
    /// The new sealed values of one webhook.
    struct ValueRow<'a> in Values {
        id: Uuid,
        auth: Option<&'a [u8]>,
        secret: &'a [u8],
        previous_secret: Option<&'a [u8]>,
    }
}

/// One pass over the whole table: operators run this rarely.
const COUNT: &str = "\
select substring(v.sealed from 1 for $1) as prefix, count(*) as count
from webhooks w cross join lateral (values (w.auth), (w.secret), (w.previous_secret)) as v(sealed)
where v.sealed is not null group by 1 order by 1";

/// In id order, so that two concurrent runs wait for each other and do not deadlock.
const LOCK_OTHERS: &str = "\
select w.id, w.auth, w.secret, w.previous_secret from webhooks w
where w.lane = $1 and w.id > $2
  and (substring(w.secret from 1 for length($3)) <> $3 or substring(w.auth from 1 for length($3)) <> $3
       or substring(w.previous_secret from 1 for length($3)) <> $3)
order by w.id limit $4 for update of w";

const WRITE: &str = sql_text!(
    "\
update webhooks w set auth = k.auth, secret = k.secret, previous_secret = k.previous_secret
from unnest(",
    Values::ARRAYS,
    ") as k(",
    Values::NAMES,
    ")
where w.lane = $1 and w.id = k.id"
);

/// The number of sealed values for each prefix of `length` bytes.
pub async fn count(conn: &mut Conn, length: usize) -> Result<Vec<(Vec<u8>, i64)>, StoreError> {
    let length = i32::try_from(length).unwrap_or(i32::MAX);
    let rows: Vec<Counted> = statement(COUNT).bind::<Integer, _>(length).load(conn).await?;
    Ok(rows.into_iter().map(|row| (row.prefix, row.count)).collect())
}

/// Locks, until the transaction ends, the first `most` webhooks of a lane after `after` that have a value which does not
/// begin with `prefix`.
pub async fn lock_others_in_tx(
    conn: &mut Conn,
    lane: Lane,
    after: WebhookId,
    prefix: &[u8],
    most: i64,
) -> Result<Vec<SealedRow>, StoreError> {
    let rows: Vec<Row> = statement(LOCK_OTHERS)
        .bind::<Integer, _>(lane.0)
        .bind::<SqlUuid, _>(after.0)
        .bind::<Bytea, _>(prefix)
        .bind::<BigInt, _>(most)
        .load(conn)
        .await?;
    let rows = rows.into_iter().map(|row| SealedRow {
        webhook: WebhookId(row.id),
        auth: row.auth.map(Sealed),
        secret: Sealed(row.secret),
        previous: row.previous_secret.map(Sealed),
    });
    Ok(rows.collect())
}

/// Writes the sealed values of webhooks that [`lock_others_in_tx`] has locked.
pub async fn write_in_tx(conn: &mut Conn, lane: Lane, rows: &[SealedRow]) -> Result<(), StoreError> {
    let values = rows.iter().map(|row| ValueRow {
        id: row.webhook.0,
        auth: row.auth.as_ref().map(|sealed| sealed.0.as_slice()),
        secret: &row.secret.0,
        previous_secret: row.previous.as_ref().map(|sealed| sealed.0.as_slice()),
    });
    statement(WRITE)
        .bind::<Integer, _>(lane.0)
        .arrays(&Values::of(values))
        .execute(conn)
        .await?;
    Ok(())
}
