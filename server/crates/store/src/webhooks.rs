//! Single webhooks: find, create, change. For lists see [`list`], for removal [`removal`].
//!
//! Guarantees: creations for one user, or for one app and user, never exceed the limit, however many run at once (W3): each
//! locks the row of its user or installation before it counts. Restorations do the same.

pub mod creation_keys;
pub mod list;
pub mod number;
pub mod removal;
pub mod row;
pub mod sealed;
pub mod visibility;

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;

use self::creation_keys::{CreationKey, Remembered};
use self::row::{StateRow, state_columns};
use self::visibility::{Cutoffs, readable, within};
use super::installations::{self, Installation};
use super::schema::{webhook_health, webhooks};
use super::sql::query_builder::QueryBuilder;
use super::sql::{At, maybe_time, statement, time, unknown};
use super::{Conn, StoreError, users};
use tenterhook_model::access::WebhookScope;
use tenterhook_model::health::Health;
use tenterhook_model::ids::{AppId, CompanyId, Lane, UserId, WebhookId, WebhookKey, WebhookNumber};
use tenterhook_model::webhook::{EventAction, PayloadVersion, Sealed, SigningSecrets, Webhook, WebhookType};

/// A webhook to create; the database assigns its number.
#[derive(Debug, Clone)]
pub struct NewWebhook {
    /// Its internal id.
    pub id: WebhookId,
    /// The tenant.
    pub company: CompanyId,
    /// Who creates it.
    pub owner: UserId,
    /// The user whose webhook it is.
    pub user: UserId,
    /// The app of an application webhook.
    pub app: Option<AppId>,
    /// A label for people.
    pub name: Option<String>,
    /// The subscription URL.
    pub url: String,
    /// The action that it subscribes to.
    pub action: EventAction,
    /// The object that it subscribes to.
    pub object: String,
    /// The payload version.
    pub version: PayloadVersion,
    /// HTTP basic credentials.
    pub auth: Option<Sealed>,
    /// Its signing secret.
    pub secret: Sealed,
    /// When it is created.
    pub at: Timestamp,
}

impl NewWebhook {
    /// Its type, which follows from the app (W1).
    pub fn kind(&self) -> WebhookType {
        if self.app.is_some() {
            WebhookType::Application
        } else {
            WebhookType::General
        }
    }

    fn numbered(&self, number: WebhookNumber) -> Webhook {
        let new = self.clone();
        Webhook {
            lane: Lane::of(new.company),
            id: new.id,
            number,
            company: new.company,
            owner: new.owner,
            user: new.user,
            app: new.app,
            name: new.name,
            url: new.url,
            action: new.action,
            object: new.object,
            version: new.version,
            auth: new.auth,
            secrets: SigningSecrets {
                current: new.secret,
                previous: None,
            },
            paused_at: None,
            created_at: new.at,
            updated_at: new.at,
            removed: None,
        }
    }

    fn account(&self) -> Account {
        Account {
            company: self.company,
            user: self.user,
            app: self.app.clone(),
        }
    }
}

/// The result of a creation.
#[derive(Debug, Clone, PartialEq)]
pub enum Creation {
    /// The webhook was created.
    Created(Box<Webhook>),
    /// Nothing was created: the key was already used for this webhook, with the same or another input.
    Repeated(Remembered),
    /// The limit is reached (W3).
    LimitReached {
        /// The number of live webhooks.
        used: i64,
    },
    /// The user is not known in this company, or was removed.
    NoSuchUser,
    /// The app is not installed for the user (W2).
    AppNotInstalled,
}

/// The account whose webhooks are counted together (W3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The tenant.
    pub company: CompanyId,
    /// The user.
    pub user: UserId,
    /// The app, or `None` for the user's own webhooks.
    pub app: Option<AppId>,
}

impl Account {
    /// The account in which a webhook counts.
    pub fn of(webhook: &Webhook) -> Self {
        Self {
            company: webhook.company,
            user: webhook.user,
            app: webhook.app.clone(),
        }
    }

    fn installation(&self) -> Option<Installation> {
        Some(Installation {
            company: self.company,
            user: self.user,
            app: self.app.clone()?,
        })
    }
}

/// Paused and banned webhooks count. Removed ones do not, whether the removal is written or not (R3).
const USED: &str = "\
select count(*) as count from webhooks w join webhook_health h on h.lane = w.lane and h.webhook = w.id
where w.lane = $1 and w.company = $2 and w.user_id = $3 and w.app is not distinct from $4
  and w.removed_at is null and (h.failing_since is null or h.failing_since > $5)";

const LOCK: &str = concat!(
    "select ",
    state_columns!(),
    " from webhooks w join webhook_health h on h.lane = w.lane and h.webhook = w.id
      where w.lane = $1 and w.id = $2 for update of w"
);

#[derive(QueryableByName)]
struct CountRow {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// The webhooks with these ids that are within the scope.
pub async fn find(
    conn: &mut Conn,
    keys: &[WebhookKey],
    scope: &WebhookScope,
    cutoffs: &Cutoffs,
) -> Result<Vec<(Webhook, Health)>, StoreError> {
    let (lanes, ids): (Vec<i32>, Vec<uuid::Uuid>) = keys.iter().map(|(lane, id)| (lane.0, id.0)).unzip();
    let rows: Vec<StateRow> = QueryBuilder::new(concat!("select ", state_columns!(), " from unnest("))
        .value::<Array<Integer>, _>(lanes)
        .sql("::int[], ")
        .value::<Array<SqlUuid>, _>(ids)
        .sql(
            "::uuid[]) as k(lane, id) join webhooks w on w.lane = k.lane and w.id = k.id
             join webhook_health h on h.lane = w.lane and h.webhook = w.id where ",
        )
        .with(|statement| within(statement, scope))
        .sql(" and ")
        .with(|statement| readable(statement, cutoffs))
        .query()
        .load(conn)
        .await?;
    rows.into_iter().map(StateRow::into_state).collect()
}

/// The number of live webhooks of an account.
pub async fn used(conn: &mut Conn, account: &Account, cutoffs: &Cutoffs) -> Result<i64, StoreError> {
    let row: CountRow = statement(USED)
        .bind::<Integer, _>(Lane::of(account.company).0)
        .bind::<BigInt, _>(account.company.get())
        .bind::<BigInt, _>(account.user.get())
        .bind::<Nullable<Text>, _>(account.app.as_ref().map(AppId::as_str))
        .bind::<At, _>(time(cutoffs.window_opened))
        .get_result(conn)
        .await?;
    Ok(row.count)
}

/// Whether an account can have one more webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It can, while the transaction holds its lock.
    Free,
    /// The limit is reached (W3).
    Taken {
        /// The number of live webhooks.
        used: i64,
    },
    /// The user is not known in this company, or was removed.
    NoSuchUser,
    /// The app is not installed for the user (W2).
    AppNotInstalled,
}

/// Locks an account until the transaction ends, and returns whether it is below `limit` (W3).
pub async fn place_in_tx(
    conn: &mut Conn,
    account: &Account,
    limit: i64,
    cutoffs: &Cutoffs,
) -> Result<Place, StoreError> {
    match account.installation() {
        None if !users::lock_in_tx(conn, account.company, account.user).await? => {
            return Ok(Place::NoSuchUser);
        }
        Some(installation) if !installations::lock_in_tx(conn, &installation).await? => {
            return Ok(Place::AppNotInstalled);
        }
        None | Some(_) => {}
    }
    let used = used(conn, account, cutoffs).await?;
    Ok(if used < limit {
        Place::Free
    } else {
        Place::Taken { used }
    })
}

/// Creates a webhook if its user or installation exists and its account has fewer than `limit` live webhooks (W3). With a
/// key, only if the key is free. A refused creation does not use up the key.
pub async fn create_in_tx(
    conn: &mut Conn,
    new: &NewWebhook,
    key: Option<&CreationKey>,
    limit: i64,
    cutoffs: &Cutoffs,
) -> Result<Creation, StoreError> {
    match place_in_tx(conn, &new.account(), limit, cutoffs).await? {
        Place::Free => {}
        Place::Taken { used } => {
            // Another call with the same key may have taken the last place while this one waited for the lock.
            let before = match key {
                Some(key) => creation_keys::find(conn, key, new.at).await?,
                None => None,
            };
            return Ok(before.map_or(Creation::LimitReached { used }, Creation::Repeated));
        }
        Place::NoSuchUser => return Ok(Creation::NoSuchUser),
        Place::AppNotInstalled => return Ok(Creation::AppNotInstalled),
    }
    if let Some(key) = key
        && let Some(before) = creation_keys::claim_in_tx(conn, key, new.id, new.at).await?
    {
        return Ok(Creation::Repeated(before));
    }
    let number = insert(conn, new).await?;
    Ok(Creation::Created(Box::new(new.numbered(number))))
}

async fn insert(conn: &mut Conn, new: &NewWebhook) -> Result<WebhookNumber, StoreError> {
    let lane = Lane::of(new.company).0;
    let number: i64 = diesel::insert_into(webhooks::table)
        .values((
            webhooks::lane.eq(lane),
            webhooks::id.eq(new.id.0),
            webhooks::company.eq(new.company.get()),
            webhooks::owner.eq(new.owner.get()),
            webhooks::user_id.eq(new.user.get()),
            webhooks::kind.eq(new.kind().code()),
            webhooks::app.eq(new.app.as_ref().map(AppId::as_str)),
            webhooks::name.eq(new.name.as_deref()),
            webhooks::url.eq(&new.url),
            webhooks::action.eq(new.action.code()),
            webhooks::object.eq(&new.object),
            webhooks::version.eq(new.version.code()),
            webhooks::auth.eq(new.auth.as_ref().map(|sealed| sealed.0.as_slice())),
            webhooks::secret.eq(&new.secret.0),
            webhooks::created_at.eq(time(new.at)),
            webhooks::updated_at.eq(time(new.at)),
        ))
        .returning(webhooks::number)
        .get_result(conn)
        .await?;
    diesel::insert_into(webhook_health::table)
        .values((
            webhook_health::lane.eq(lane),
            webhook_health::webhook.eq(new.id.0),
        ))
        .execute(conn)
        .await?;
    WebhookNumber::new(number).map_err(|_| unknown("webhooks", "number", number))
}

/// Locks a webhook until the transaction ends, and reads it.
pub async fn lock_in_tx(
    conn: &mut Conn,
    lane: Lane,
    id: WebhookId,
) -> Result<Option<(Webhook, Health)>, StoreError> {
    let row: Option<StateRow> = statement(LOCK)
        .bind::<Integer, _>(lane.0)
        .bind::<SqlUuid, _>(id.0)
        .get_result(conn)
        .await
        .optional()?;
    row.map(StateRow::into_state).transpose()
}

/// Writes the fields that a user can change, for a webhook that [`lock_in_tx`] has locked.
pub async fn write_in_tx(conn: &mut Conn, webhook: &Webhook) -> Result<(), StoreError> {
    diesel::update(webhooks::table.find((webhook.lane.0, webhook.id.0)))
        .set((
            webhooks::name.eq(webhook.name.as_deref()),
            webhooks::url.eq(&webhook.url),
            webhooks::action.eq(webhook.action.code()),
            webhooks::object.eq(&webhook.object),
            webhooks::auth.eq(webhook.auth.as_ref().map(|sealed| sealed.0.as_slice())),
            webhooks::updated_at.eq(time(webhook.updated_at)),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Writes whether a webhook that [`lock_in_tx`] has locked is paused, and clears its removal if it is not removed.
pub async fn write_standing_in_tx(conn: &mut Conn, webhook: &Webhook) -> Result<(), StoreError> {
    diesel::update(webhooks::table.find((webhook.lane.0, webhook.id.0)))
        .set((
            webhooks::paused_at.eq(maybe_time(webhook.paused_at)),
            webhooks::removed_at.eq(maybe_time(webhook.removed.map(|(at, _)| at))),
            webhooks::remove_reason.eq(webhook.removed.map(|(_, reason)| reason.code())),
            webhooks::updated_at.eq(time(webhook.updated_at)),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Writes the signing secrets of a webhook that [`lock_in_tx`] has locked.
pub async fn write_secrets_in_tx(conn: &mut Conn, webhook: &Webhook) -> Result<(), StoreError> {
    let previous = webhook.secrets.previous.as_ref();
    diesel::update(webhooks::table.find((webhook.lane.0, webhook.id.0)))
        .set((
            webhooks::secret.eq(&webhook.secrets.current.0),
            webhooks::previous_secret.eq(previous.map(|(sealed, _)| sealed.0.as_slice())),
            webhooks::previous_secret_expires_at.eq(maybe_time(previous.map(|(_, until)| *until))),
            webhooks::updated_at.eq(time(webhook.updated_at)),
        ))
        .execute(conn)
        .await?;
    Ok(())
}
