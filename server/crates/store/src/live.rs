//! Reads for live subscriptions: which webhooks a subscriber may see, and which of their attempts are new.
//!
//! Guarantees: it reads only by indexes, a bounded number of rows, and only keys; a subscriber then reads an attempt with
//! its own permissions. Not guaranteed: that a returned attempt is new. A time window is read again for as long as it
//! overlaps the next one.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Integer, Nullable, SmallInt, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use uuid::Uuid;

use super::deliveries::DeliveryPlace;
use super::sql::unnest::{Arrays, WebhookKeys, sql_text, unnest};
use super::sql::{At, Rows, Time, statement, time, timestamp, unknown};
use super::{Conn, StoreError};
use tenterhook_model::access::{GeneralScope, WebhookScope};
use tenterhook_model::ids::{CompanyId, DeliveryKey, EventId, Lane, UserId, WebhookId, WebhookKey};
use tenterhook_model::webhook::WebhookOwner;

/// The place of a recorded attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AttemptPlace {
    /// The delivery that it belongs to.
    pub delivery: DeliveryPlace,
    /// 1 is the first try.
    pub number: u8,
    /// When its result was known. After a crash there may be two attempts with the same number.
    pub ended_at: Timestamp,
}

unnest! {
    from 1;
    /// A scope of one company, and its place among the scopes of a call.
    struct ScopeRow in Scopes {
        place: i32,
        lane: i32,
        company: i64,
        all_general: bool,
        general_of: Option<i64>,
        app: Option<String>,
        app_user: Option<i64>,
    }
}

unnest! {
    from 1;
    /// A webhook, and its place among those of a call.
    struct PlaceRow in Places {
        place: i32,
        lane: i32,
        id: Uuid,
    }
}

/// Includes webhooks removed since `$8`, because an attempt in flight may have ended after the removal. Newest first; one
/// row past the limit shows that there are more.
const OF_SCOPES: &str = sql_text!(
    "\
select k.place, w.lane, w.id, w.company, w.user_id, w.app
from unnest(",
    Scopes::ARRAYS,
    ") as k(",
    Scopes::NAMES,
    ")
cross join lateral (
    select w.lane, w.id, w.company, w.user_id, w.app from webhooks w
    where w.lane = k.lane and w.company = k.company and (w.removed_at is null or w.removed_at >= $8)
      and ((w.app is null and (k.all_general or w.user_id = k.general_of))
           or (w.app = k.app and w.user_id = k.app_user))
    order by w.id desc limit $9
) w"
);

const NAMED: &str = sql_text!(
    "\
select k.place, w.lane, w.id, w.company, w.user_id, w.app
from unnest(",
    Places::ARRAYS,
    ") as k(",
    Places::NAMES,
    ")
join webhooks w on w.lane = k.lane and w.id = k.id"
);

/// Newest first, for each webhook and in total: rows past a limit are the oldest, and the number of rows shows that some are
/// missing.
const ENDED: &str = "\
select a.lane, a.webhook, a.event, a.generation, a.created_at, a.number, a.ended_at
from unnest($1::int[], $2::uuid[]) as k(lane, webhook)
cross join lateral (
    select a.lane, a.webhook, a.event, a.generation, a.created_at, a.number, a.ended_at from attempts a
    where a.lane = k.lane and a.webhook = k.webhook and a.ended_at >= $3
    order by a.ended_at desc limit $4
) a
order by a.ended_at desc limit $5";

#[derive(QueryableByName)]
struct OwnerRow {
    #[diesel(sql_type = Integer)]
    place: i32,
    #[diesel(sql_type = Integer)]
    lane: i32,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = BigInt)]
    company: i64,
    #[diesel(sql_type = BigInt)]
    user_id: i64,
    #[diesel(sql_type = Nullable<Text>)]
    app: Option<String>,
}

#[derive(QueryableByName)]
struct EndedRow {
    #[diesel(sql_type = Integer)]
    lane: i32,
    #[diesel(sql_type = SqlUuid)]
    webhook: Uuid,
    #[diesel(sql_type = SqlUuid)]
    event: Uuid,
    #[diesel(sql_type = Integer)]
    generation: i32,
    #[diesel(sql_type = At)]
    created_at: Time,
    #[diesel(sql_type = SmallInt)]
    number: i16,
    #[diesel(sql_type = At)]
    ended_at: Time,
}

impl EndedRow {
    fn place(self) -> Result<AttemptPlace, StoreError> {
        Ok(AttemptPlace {
            delivery: DeliveryPlace {
                created_at: timestamp(self.created_at),
                key: DeliveryKey {
                    lane: Lane(self.lane),
                    webhook: WebhookId(self.webhook),
                    event: EventId(self.event),
                    generation: self.generation,
                },
            },
            number: u8::try_from(self.number).map_err(|_| unknown("attempts", "number", self.number))?,
            ended_at: timestamp(self.ended_at),
        })
    }
}

impl OwnerRow {
    /// The owner of each row's webhook, with the place of its scope.
    fn read(rows: Vec<Self>) -> Rows<(usize, WebhookOwner), WebhookId> {
        let rows = rows.into_iter();
        rows.map(|row| (WebhookId(row.id), row.into_owner())).collect()
    }

    fn into_owner(self) -> Result<(usize, WebhookOwner), StoreError> {
        let app = self
            .app
            .map(|app| app.parse().map_err(|_| unknown("webhooks", "app", &app)));
        let owner = WebhookOwner {
            lane: Lane(self.lane),
            webhook: WebhookId(self.id),
            company: CompanyId::new(self.company)
                .map_err(|_| unknown("webhooks", "company", self.company))?,
            user: UserId::new(self.user_id).map_err(|_| unknown("webhooks", "user", self.user_id))?,
            app: app.transpose()?,
        };
        let place = usize::try_from(self.place).map_err(|_| unknown("webhooks", "place", self.place))?;
        Ok((place, owner))
    }
}

/// The webhooks within each of these scopes, at most `most` of each, with the place of the scope. Webhooks that cannot be
/// read are returned separately. A scope without a company includes none here.
pub async fn of_scopes(
    conn: &mut Conn,
    scopes: &[(usize, &WebhookScope)],
    removed_since: Timestamp,
    most: i64,
) -> Result<Rows<(usize, WebhookOwner), WebhookId>, StoreError> {
    let scopes = scopes.iter().filter_map(|(place, scope)| match scope {
        WebhookScope::Company {
            company,
            general,
            application_of,
        } => Some(ScopeRow {
            place: i32::try_from(*place).unwrap_or(i32::MAX),
            lane: Lane::of(*company).0,
            company: company.get(),
            all_general: *general == GeneralScope::All,
            general_of: match general {
                GeneralScope::Of(user) => Some(user.get()),
                GeneralScope::All | GeneralScope::Nothing => None,
            },
            app: application_of.as_ref().map(|(app, _)| app.to_string()),
            app_user: application_of.as_ref().map(|(_, user)| user.get()),
        }),
        WebhookScope::Everything | WebhookScope::Nothing => None,
    });
    let rows: Vec<OwnerRow> = statement(OF_SCOPES)
        .arrays(&Scopes::of(scopes))
        .bind::<At, _>(time(removed_since))
        .bind::<BigInt, _>(most)
        .load(conn)
        .await?;
    Ok(OwnerRow::read(rows))
}

/// The webhooks with these ids, each with its place.
pub async fn named(
    conn: &mut Conn,
    webhooks: &[(usize, WebhookKey)],
) -> Result<Rows<(usize, WebhookOwner), WebhookId>, StoreError> {
    let webhooks = webhooks.iter().map(|(place, (lane, webhook))| PlaceRow {
        place: i32::try_from(*place).unwrap_or(i32::MAX),
        lane: lane.0,
        id: webhook.0,
    });
    let rows: Vec<OwnerRow> = statement(NAMED).arrays(&Places::of(webhooks)).load(conn).await?;
    Ok(OwnerRow::read(rows))
}

/// The last attempts of these webhooks that ended at or after `since`, oldest first: at most `most_of_each` per webhook and
/// `most` in total. For an attempt that cannot be read its webhook is returned.
pub async fn ended_since(
    conn: &mut Conn,
    webhooks: &[WebhookKey],
    since: Timestamp,
    most_of_each: i64,
    most: i64,
) -> Result<Rows<AttemptPlace, WebhookKey>, StoreError> {
    let rows: Vec<EndedRow> = statement(ENDED)
        .arrays(&WebhookKeys::new(webhooks))
        .bind::<At, _>(time(since))
        .bind::<BigInt, _>(most_of_each)
        .bind::<BigInt, _>(most)
        .load(conn)
        .await?;
    let rows = rows.into_iter().rev();
    Ok(rows
        .map(|row| ((Lane(row.lane), WebhookId(row.webhook)), row.place()))
        .collect())
}
