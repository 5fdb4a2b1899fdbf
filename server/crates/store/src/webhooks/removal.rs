//! Removing webhooks: one, or all of an installation, an app or a user.
//!
//! Guarantees: each transaction removes at most [`BATCH`] webhooks with their dependent rows and announces them in the
//! changes feed. An installation is deleted only in the transaction that removes the last of its webhooks (W8), so an
//! interrupted removal continues when it is requested again. With [`Pace::OneByOne`] a webhook that the database refuses to
//! remove, or whose rows another transaction has locked, does not stop the others: it stays, and so does its installation.
//! The engine cancels the pending deliveries of a removed webhook.

use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Integer, Text, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, RunQueryDsl};
use jiff::Timestamp;
use uuid::Uuid;

use crate::changes::{Mark, announce_in_tx};
use crate::installations::{self, Installation};
use crate::sql::unnest::{Arrays, WebhookKeys, sql_text, unnest};
use crate::sql::{statement, unknown};
use crate::{Conn, StoreError, health, limit_lock_waits_in_tx};
use tenterhook_model::ids::{AppId, CompanyId, Lane, UserId, WebhookId, WebhookKey};
use tenterhook_model::webhook::RemoveReason;

/// The maximum of webhooks that one transaction removes, and of installations that it checks.
pub const BATCH: i64 = 500;

/// How long the removal of one webhook waits for a lock when webhooks are removed one by one: many may be locked.
const ONE_WAITS: Duration = Duration::from_millis(250);

/// The result of one transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// The number of webhooks that it removed.
    pub webhooks: usize,
    /// The mark of the announcement in the changes feed; wait for it after the commit.
    pub mark: Option<Mark>,
    /// Whether nothing is left to remove, except webhooks whose removal was refused.
    pub finished: bool,
    /// Whether nothing was removed because the removal of everything left was refused.
    stuck: bool,
    /// The webhooks that the database refused to remove.
    pub refused: Vec<Refusal>,
}

/// A webhook that the database refused to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The webhook that stays.
    pub webhook: WebhookId,
    /// The database's error.
    pub why: String,
    /// Whether another transaction has locked its rows: it can be removed later.
    pub is_locked: bool,
}

/// How a batch is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// The whole batch or nothing.
    Together,
    /// Each webhook separately, in a savepoint of its own: several times slower.
    OneByOne,
}

/// Whose webhooks are removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leaving {
    /// An app, for one user. If it is not installed, nothing is removed.
    Installation(Installation),
    /// An app, for all users.
    App(AppId),
    /// A user, with general webhooks and those of all apps.
    User(CompanyId, UserId),
}

/// Locked in key order, so that removals never deadlock.
const INSTALLATIONS_OF_APP: &str = "\
select company, user_id, app from installations where app = $1
order by lane, company, user_id limit $2 for update";

const INSTALLATIONS_OF_USER: &str = "\
select company, user_id, app from installations where lane = $1 and company = $2 and user_id = $3
order by app limit $4 for update";

unnest! {
    from 1;
    /// A user, or an app of a user.
    struct AccountRow<'a> in Accounts {
        lane: i32,
        company: i64,
        user_id: i64,
        app: Option<&'a str>,
    }
}

/// One more than a batch shows whether there are more. Webhooks are found first and then sorted: connections that avoid
/// sorting would otherwise read all webhooks in order.
const LIVE: &str = sql_text!(
    "\
with live as materialized (
    select w.lane, w.id
    from unnest(",
    Accounts::ARRAYS,
    ") as k(",
    Accounts::NAMES,
    ")
    join webhooks w on w.lane = k.lane and w.company = k.company and w.user_id = k.user_id
                   and w.app is not distinct from k.app
    where w.removed_at is null
)
select lane, id from live order by lane, id limit $5"
);

const UNINSTALL: &str = sql_text!(
    "delete from installations i using unnest(",
    Accounts::ARRAYS,
    ") as k(",
    Accounts::NAMES,
    ")
where i.lane = k.lane and i.company = k.company and i.user_id = k.user_id and i.app = k.app
  and not exists (select from webhooks w where w.lane = i.lane and w.company = i.company and w.user_id = i.user_id
                                           and w.app = i.app and w.removed_at is null)"
);

/// Time no longer changes a removed webhook.
const STILL: &str = "\
update webhook_health as h set next_transition_at = null
from unnest($1::int[], $2::uuid[]) as k(lane, webhook) where h.lane = k.lane and h.webhook = k.webhook";

#[derive(QueryableByName)]
struct InstallationRow {
    #[diesel(sql_type = BigInt)]
    company: i64,
    #[diesel(sql_type = BigInt)]
    user_id: i64,
    #[diesel(sql_type = Text)]
    app: String,
}

#[derive(QueryableByName)]
struct LiveRow {
    #[diesel(sql_type = Integer)]
    lane: i32,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

impl InstallationRow {
    fn into_installation(self) -> Result<Installation, StoreError> {
        Ok(Installation {
            company: CompanyId::new(self.company)
                .map_err(|_| unknown("installations", "company", self.company))?,
            user: UserId::new(self.user_id).map_err(|_| unknown("installations", "user_id", self.user_id))?,
            app: self
                .app
                .parse()
                .map_err(|_| unknown("installations", "app", &self.app))?,
        })
    }
}

/// Removes these webhooks at `now`, skips those that are already removed, and announces the removed ones.
pub async fn remove_in_tx(
    conn: &mut Conn,
    now: Timestamp,
    webhooks: &[WebhookKey],
    reason: RemoveReason,
) -> Result<Removed, StoreError> {
    // Results are settled under the lock of the health row: a result that is settled after this sees the webhook as removed.
    health::lock_in_tx(conn, webhooks).await?;
    let dated: Vec<_> = webhooks.iter().map(|(lane, id)| (*lane, *id, now)).collect();
    let moved = health::remove_in_tx(conn, &dated, reason).await?;
    statement(STILL)
        .arrays(&WebhookKeys::new(&moved))
        .execute(conn)
        .await?;
    Ok(Removed {
        webhooks: moved.len(),
        mark: announce_in_tx(conn, now, &moved).await?,
        finished: true,
        ..Removed::default()
    })
}

/// Like [`remove_in_tx`], for each webhook that the database does not refuse to remove.
async fn remove_each_in_tx(
    conn: &mut Conn,
    now: Timestamp,
    webhooks: &[WebhookKey],
    reason: RemoveReason,
) -> Result<Removed, StoreError> {
    let mut all = Removed {
        finished: true,
        ..Removed::default()
    };
    limit_lock_waits_in_tx(conn, Some(ONE_WAITS)).await?;
    for webhook in webhooks {
        let one = conn
            .transaction(async |conn| remove_in_tx(conn, now, std::slice::from_ref(webhook), reason).await)
            .await;
        match one {
            Ok(removed) => {
                all.webhooks += removed.webhooks;
                all.mark = removed.mark.or(all.mark);
            }
            Err(error) if error.is_unavailable() && !error.is_locked_out() => return Err(error),
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => all.refused.push(Refusal {
                webhook: webhook.1,
                why: error.to_string(),
                is_locked: error.is_locked_out(),
            }),
        }
    }
    Ok(all)
}

/// Removes the next batch of webhooks and installations.
///
/// The app or user must already be marked as removed in a committed transaction, so that no webhook or installation is
/// added.
pub async fn batch_in_tx(
    conn: &mut Conn,
    now: Timestamp,
    leaving: &Leaving,
    pace: Pace,
) -> Result<Removed, StoreError> {
    match leaving {
        Leaving::Installation(installation) => {
            let stands = installations::lock_row_in_tx(conn, installation).await?;
            let installed: &[_] = if stands {
                std::slice::from_ref(installation)
            } else {
                &[]
            };
            empty(conn, now, pace, None, installed, RemoveReason::AppUninstalled).await
        }
        Leaving::App(app) => {
            let rows = statement(INSTALLATIONS_OF_APP)
                .bind::<Text, _>(app.as_str())
                .bind::<BigInt, _>(BATCH)
                .load(conn)
                .await?;
            all_of(conn, now, pace, None, rows, RemoveReason::AppRemoved).await
        }
        Leaving::User(company, user) => {
            let rows = statement(INSTALLATIONS_OF_USER)
                .bind::<Integer, _>(Lane::of(*company).0)
                .bind::<BigInt, _>(company.get())
                .bind::<BigInt, _>(user.get())
                .bind::<BigInt, _>(BATCH)
                .load(conn)
                .await?;
            all_of(
                conn,
                now,
                pace,
                Some((*company, *user)),
                rows,
                RemoveReason::UserRemoved,
            )
            .await
        }
    }
}

async fn all_of(
    conn: &mut Conn,
    now: Timestamp,
    pace: Pace,
    own: Option<(CompanyId, UserId)>,
    rows: Vec<InstallationRow>,
    reason: RemoveReason,
) -> Result<Removed, StoreError> {
    let complete = (rows.len() as i64) < BATCH;
    let installed = rows
        .into_iter()
        .map(InstallationRow::into_installation)
        .collect::<Result<Vec<_>, _>>()?;
    let removed = empty(conn, now, pace, own, &installed, reason).await?;
    Ok(Removed {
        finished: removed.stuck || (removed.finished && complete),
        ..removed
    })
}

/// Removes a batch of the webhooks of this user and these installations, and the installations without remaining webhooks.
async fn empty(
    conn: &mut Conn,
    now: Timestamp,
    pace: Pace,
    own: Option<(CompanyId, UserId)>,
    installed: &[Installation],
    reason: RemoveReason,
) -> Result<Removed, StoreError> {
    let account = |company: CompanyId, user: UserId, app| AccountRow {
        lane: Lane::of(company).0,
        company: company.get(),
        user_id: user.get(),
        app,
    };
    let own = own
        .into_iter()
        .map(|(company, user)| account(company, user, None));
    let of_apps = installed
        .iter()
        .map(|one| account(one.company, one.user, Some(one.app.as_str())));
    let accounts = Accounts::of(own.chain(of_apps));
    let mut live: Vec<LiveRow> = statement(LIVE)
        .arrays(&accounts)
        .bind::<BigInt, _>(BATCH + 1)
        .load(conn)
        .await?;
    let finished = live.len() as i64 <= BATCH;
    if !finished {
        live.pop();
    }
    let webhooks: Vec<WebhookKey> = live
        .iter()
        .map(|row| (Lane(row.lane), WebhookId(row.id)))
        .collect();
    let removed = match pace {
        Pace::Together => remove_in_tx(conn, now, &webhooks, reason).await?,
        Pace::OneByOne => remove_each_in_tx(conn, now, &webhooks, reason).await?,
    };
    let uninstalled = statement(UNINSTALL).arrays(&accounts).execute(conn).await?;
    // If the removal of a whole batch is refused, the next batch would be the same.
    let stuck = !removed.refused.is_empty() && removed.webhooks == 0 && uninstalled == 0;
    Ok(Removed {
        finished: finished || stuck,
        stuck,
        ..removed
    })
}
