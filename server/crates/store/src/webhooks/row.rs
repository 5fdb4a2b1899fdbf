//! A row of `webhooks`, alone or with its health, read the same way in every join.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bytea, Integer, Nullable, SmallInt, Text, Uuid as SqlUuid};

use crate::StoreError;
use crate::health::row::HealthRow;
use crate::sql::{At, MaybeAt, Time, maybe_timestamp, timestamp, unknown};
use tenterhook_model::health::Health;
use tenterhook_model::ids::{CompanyId, Lane, UserId, WebhookId, WebhookKey, WebhookNumber};
use tenterhook_model::webhook::{EventAction, PayloadVersion, RemoveReason, Sealed, SigningSecrets, Webhook};

/// The columns that [`WebhookRow`] reads, from a table or alias `w`, with names that no other table uses.
macro_rules! webhook_columns {
    () => {
        "w.lane as webhook_lane, w.id as webhook_id, w.number as webhook_number, w.company as webhook_company, \
         w.owner as webhook_owner, w.user_id as webhook_user, w.app as webhook_app, w.name as webhook_name, w.url, \
         w.action as webhook_action, w.object as webhook_object, w.version, w.auth, w.secret, w.previous_secret, \
         w.previous_secret_expires_at, w.paused_at, w.created_at as webhook_created_at, w.updated_at, w.removed_at, \
         w.remove_reason"
    };
}
pub(crate) use webhook_columns;

/// A row of `webhooks` under the names of `webhook_columns!`.
#[derive(Debug, QueryableByName)]
pub struct WebhookRow {
    #[diesel(sql_type = Integer)]
    webhook_lane: i32,
    #[diesel(sql_type = SqlUuid)]
    webhook_id: uuid::Uuid,
    #[diesel(sql_type = BigInt)]
    webhook_number: i64,
    #[diesel(sql_type = BigInt)]
    webhook_company: i64,
    #[diesel(sql_type = BigInt)]
    webhook_owner: i64,
    #[diesel(sql_type = BigInt)]
    webhook_user: i64,
    #[diesel(sql_type = Nullable<Text>)]
    webhook_app: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    webhook_name: Option<String>,
    #[diesel(sql_type = Text)]
    url: String,
    #[diesel(sql_type = SmallInt)]
    webhook_action: i16,
    #[diesel(sql_type = Text)]
    webhook_object: String,
    #[diesel(sql_type = SmallInt)]
    version: i16,
    #[diesel(sql_type = Nullable<Bytea>)]
    auth: Option<Vec<u8>>,
    #[diesel(sql_type = Bytea)]
    secret: Vec<u8>,
    #[diesel(sql_type = Nullable<Bytea>)]
    previous_secret: Option<Vec<u8>>,
    #[diesel(sql_type = MaybeAt)]
    previous_secret_expires_at: Option<Time>,
    #[diesel(sql_type = MaybeAt)]
    paused_at: Option<Time>,
    #[diesel(sql_type = At)]
    webhook_created_at: Time,
    #[diesel(sql_type = At)]
    updated_at: Time,
    #[diesel(sql_type = MaybeAt)]
    removed_at: Option<Time>,
    #[diesel(sql_type = Nullable<SmallInt>)]
    remove_reason: Option<i16>,
}

impl WebhookRow {
    /// The webhook and its company, for a row with values that cannot be read.
    pub fn unread(&self) -> Unread {
        Unread {
            lane: Lane(self.webhook_lane),
            webhook: WebhookId(self.webhook_id),
            company: CompanyId::new(self.webhook_company).ok(),
        }
    }
}

/// A webhook that cannot be read, with what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unread {
    /// The company's lane.
    pub lane: Lane,
    /// The webhook's internal id.
    pub webhook: WebhookId,
    /// The tenant, if that can be read.
    pub company: Option<CompanyId>,
}

impl Unread {
    /// A webhook that cannot be read at all; only its key is known.
    pub fn of((lane, webhook): WebhookKey) -> Self {
        Self {
            lane,
            webhook,
            company: None,
        }
    }
}

impl TryFrom<WebhookRow> for Webhook {
    type Error = StoreError;

    fn try_from(row: WebhookRow) -> Result<Self, StoreError> {
        let user = |id| UserId::new(id).map_err(|_| unknown("webhooks", "user", id));
        let reason =
            |code| RemoveReason::from_code(code).ok_or_else(|| unknown("webhooks", "remove_reason", code));
        Ok(Self {
            lane: Lane(row.webhook_lane),
            id: WebhookId(row.webhook_id),
            number: WebhookNumber::new(row.webhook_number)
                .map_err(|_| unknown("webhooks", "number", row.webhook_number))?,
            company: CompanyId::new(row.webhook_company)
                .map_err(|_| unknown("webhooks", "company", row.webhook_company))?,
            owner: user(row.webhook_owner)?,
            user: user(row.webhook_user)?,
            app: row
                .webhook_app
                .map(|app| app.parse().map_err(|_| unknown("webhooks", "app", &app)))
                .transpose()?,
            name: row.webhook_name,
            url: row.url,
            action: EventAction::from_code(row.webhook_action)
                .ok_or_else(|| unknown("webhooks", "action", row.webhook_action))?,
            object: row.webhook_object,
            version: PayloadVersion::from_code(row.version)
                .ok_or_else(|| unknown("webhooks", "version", row.version))?,
            auth: row.auth.map(Sealed),
            secrets: SigningSecrets {
                current: Sealed(row.secret),
                previous: row
                    .previous_secret
                    .map(Sealed)
                    .zip(maybe_timestamp(row.previous_secret_expires_at)),
            },
            paused_at: maybe_timestamp(row.paused_at),
            created_at: timestamp(row.webhook_created_at),
            updated_at: timestamp(row.updated_at),
            removed: maybe_timestamp(row.removed_at).zip(row.remove_reason.map(reason).transpose()?),
        })
    }
}

/// The columns that [`StateRow`] reads, from webhooks `w` and health `h`.
macro_rules! state_columns {
    () => {
        concat!(
            crate::webhooks::row::webhook_columns!(),
            ", ",
            crate::health::row::health_columns!()
        )
    };
}
pub(crate) use state_columns;

/// A webhook with its health.
#[derive(QueryableByName)]
pub struct StateRow {
    #[diesel(embed)]
    webhook: WebhookRow,
    #[diesel(embed)]
    health: HealthRow,
}

impl StateRow {
    /// The webhook, for a row with values that cannot be read.
    pub fn unread(&self) -> Unread {
        self.webhook.unread()
    }

    /// Converts both to model types.
    pub fn into_state(self) -> Result<(Webhook, Health), StoreError> {
        let webhook = Webhook::try_from(self.webhook)?;
        let health = self
            .health
            .into_health(webhook.paused_at.is_some(), webhook.removed.is_some());
        Ok((webhook, health))
    }
}
