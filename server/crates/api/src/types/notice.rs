//! Notices: messages to people about a webhook's bans, warnings, removal and recovery (R4).

use async_graphql::async_trait::async_trait;
use async_graphql::{Context, Enum, ID, InputObject, Object};

use crate::context::Ask;
use crate::cursor;
use crate::error::{ApiError, Result};
use crate::global_id::GlobalId;
use crate::loaders::{WebhookRef, one};
use crate::relay::{Connection, PageArguments, TotalCount, cost_of, page_cost};
use crate::types::delivery::expired;
use crate::types::scalars::{DateTime, Json};
use crate::types::webhook::Webhook;
use crate::webhook_name::key_of;
use tenterhook_model::ids::{Lane, NoticeId};
use tenterhook_model::notice;
use tenterhook_policy as policy;
use tenterhook_store::notices::{self, NoticePlace, NoticeQuery};

/// The transition that a notice reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "notice::NoticeKind")]
pub enum NoticeKind {
    /// Too many first tries failed: the webhook is banned, by default for 30 minutes.
    Banned,
    /// The ban has ended.
    BanEnded,
    /// First warning: no delivery has succeeded since a failure, by default for 24 hours.
    #[graphql(name = "FAILING_24H")]
    Failing24h,
    /// Second warning: no delivery has succeeded since a failure, by default for 48 hours.
    #[graphql(name = "FAILING_48H")]
    Failing48h,
    /// Last warning: no delivery has succeeded since a failure, by default for 71 hours. The webhook is removed soon, by
    /// default in an hour, unless a delivery succeeds.
    #[graphql(name = "FAILING_71H")]
    Failing71h,
    /// The webhook was removed, because no delivery succeeded after a failure, by default for 72 hours.
    Removed,
    /// A delivery succeeded after one or more attempts had failed, with or without a warning before it. Kept as long as
    /// attempts are.
    Recovered,
}

/// A message about a webhook's health. Each transition creates one.
#[derive(Clone)]
pub struct Notice(notice::Notice);

impl From<notice::Notice> for Notice {
    fn from(notice: notice::Notice) -> Self {
        Self(notice)
    }
}

impl Notice {
    /// Its global id.
    pub fn global_id(&self) -> GlobalId {
        GlobalId::Notice(self.0.lane, self.0.id)
    }
}

/// A message about a webhook's health. Each transition creates one.
#[Object]
impl Notice {
    /// The notice's global id.
    pub(super) async fn id(&self) -> ID {
        self.global_id().to_id()
    }

    /// The id in the header `webhook-id` and the field `noticeId` when the notice is delivered to the platform's own
    /// endpoint.
    async fn notice_id(&self) -> ID {
        self.0.id.to_string().into()
    }

    /// The transition that it reports.
    async fn kind(&self) -> NoticeKind {
        self.0.kind.into()
    }

    /// The webhook, as it is now.
    async fn webhook(&self, ctx: &Context<'_>) -> Result<Webhook> {
        let state = one(ctx, WebhookRef(self.0.lane, self.0.webhook)).await?;
        Ok(Webhook::new(ctx, state.ok_or_else(expired)?))
    }

    /// When the transition happened. The server may have noticed it a moment later.
    async fn at(&self) -> DateTime {
        self.0.at.into()
    }

    /// The transition, in a sentence for people.
    async fn message(&self) -> &'static str {
        policy::notice::message(self.0.kind)
    }

    /// Details of the transition: `failedFirstTries` and `bannedUntil` of a ban, `failingSince` of a removal or
    /// recovery, `at` of the others.
    async fn data(&self) -> Result<Json> {
        serde_json::from_str(&self.0.data)
            .map(Json)
            .map_err(ApiError::internal)
    }
}

/// Which notices to list. All given conditions must hold.
#[derive(InputObject, Default)]
pub struct NoticeFilter {
    /// Only notices about this webhook, given by its global id or number.
    webhook_id: Option<ID>,
    /// Only notices of these kinds.
    kind: Option<Vec<NoticeKind>>,
    /// Only notices about transitions at or after this time.
    since: Option<DateTime>,
}

/// Queries about notices.
#[derive(Default)]
pub struct NoticeQueries;

#[Object]
impl NoticeQueries {
    /// The notices about webhooks that the caller may see, newest first.
    ///
    /// Cost: 1 + page size × cost of the selected fields.
    #[graphql(complexity = "cost_of(page_cost(first, None), child_complexity)")]
    async fn notices(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which notices to list. Default: all that the caller may see.")] filter: Option<
            NoticeFilter,
        >,
        #[graphql(desc = "Page size from the start of the list, 1 to 100. Default: 20.")] first: Option<i32>,
        #[graphql(desc = "Only elements after this cursor.")] after: Option<String>,
    ) -> Result<Connection<Notice>> {
        ctx.session().reader()?;
        let page = PageArguments {
            first,
            after,
            ..PageArguments::default()
        };
        let window = page.window(cursor::decode_notice)?;
        let filter = filter.unwrap_or_default();
        let webhook = match &filter.webhook_id {
            Some(id) => match key_of(ctx.services(), &ctx.session().caller, id).await? {
                None => return Ok(Connection::empty()),
                known => known,
            },
            None => None,
        };
        let query = NoticeQuery {
            scope: ctx.session().scope(),
            cutoffs: ctx.cutoffs(),
            webhook,
            kinds: filter.kind.map(|all| all.into_iter().map(Into::into).collect()),
            since: filter.since.map(|at| at.0),
        };
        let slice = notices::page(&mut *ctx.services().store.conn().await?, &query, &window).await?;
        Ok(Connection::new(
            slice,
            query,
            |notice| {
                cursor::encode_notice(&NoticePlace {
                    at: notice.at,
                    id: notice.id,
                })
            },
            Notice,
        ))
    }
}

/// The notices with these ids that the caller may see, in no order.
pub async fn find(ctx: &Context<'_>, keys: &[(Lane, NoticeId)]) -> Result<Vec<Notice>> {
    let (scope, cutoffs) = (ctx.session().scope(), ctx.cutoffs());
    let found = notices::find(&mut *ctx.services().store.conn().await?, keys, &scope, &cutoffs).await?;
    Ok(found.into_iter().map(Notice).collect())
}

#[async_trait]
impl TotalCount for NoticeQuery {
    async fn count(&self, ctx: &Context<'_>) -> Result<i64> {
        Ok(notices::count(&mut *ctx.services().store.conn().await?, self).await?)
    }
}
