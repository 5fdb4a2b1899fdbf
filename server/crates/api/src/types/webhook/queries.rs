//! Queries for webhooks and for their quota.

use async_graphql::async_trait::async_trait;
use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};

use crate::context::Ask;
use crate::cursor;
use crate::error::{ApiError, ErrorCode, Result};
use crate::relay::{Connection, PageArguments, TotalCount, cost_of, page_cost};
use crate::session::Session;
use crate::types::enums::{EventAction, WebhookState, WebhookType};
use crate::types::scalars::EventObject;
use crate::types::webhook::Webhook;
use crate::webhook_name::key_of;
use tenterhook_model::access::Caller;
use tenterhook_model::ids::InvalidId;
use tenterhook_model::webhook;
use tenterhook_policy::{access, input_limits};
use tenterhook_store::webhook_list::{self, WebhookCursor, WebhookQuery};
use tenterhook_store::webhooks::{self, Account};

/// Which webhooks to list. All given conditions must hold.
#[derive(InputObject, Default)]
pub struct WebhookFilter {
    /// Only webhooks in these states. Including `REMOVED` lists removed webhooks.
    state: Option<Vec<WebhookState>>,
    /// Only webhooks with exactly this action; `ANY` selects webhooks that subscribe to all actions.
    event_action: Option<EventAction>,
    /// Only webhooks with exactly this object; `*` selects webhooks that subscribe to all objects.
    event_object: Option<EventObject>,
    /// Only webhooks of the user with this id.
    user_id: Option<ID>,
    /// Only webhooks of the company with this id.
    company_id: Option<ID>,
    /// Only webhooks of the app with this id on the platform.
    app_id: Option<ID>,
    /// Only the webhook with this number.
    number: Option<ID>,
    /// Only webhooks with this text in the subscription URL, ignoring case.
    url_contains: Option<String>,
    /// Whether to list removed webhooks too.
    #[graphql(default_with = "Some(false)")]
    include_removed: Option<bool>,
}

/// Order of webhooks in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "webhook_list::WebhookOrder")]
pub enum WebhookOrder {
    /// Newest first.
    #[graphql(name = "CREATED_DESC")]
    CreatedDescending,
    /// Oldest first.
    #[graphql(name = "CREATED_ASC")]
    CreatedAscending,
    /// By name; webhooks without a name last.
    #[graphql(name = "NAME_ASC")]
    NameAscending,
}

/// The limit on the number of webhooks, and how much of it is used.
#[derive(SimpleObject)]
pub struct WebhookQuota {
    /// The kind of webhooks that are counted: a user's general ones, or an app's for a user.
    #[graphql(name = "type")]
    kind: WebhookType,
    /// How many webhooks are allowed.
    limit: i32,
    /// How many webhooks there are. Banned and paused ones count, removed ones do not.
    used: i32,
    /// How many more webhooks can be created.
    remaining: i32,
}

/// Queries about webhooks.
#[derive(Default)]
pub struct WebhookQueries;

#[Object]
impl WebhookQueries {
    /// A webhook by its id or number; null if there is none that the caller may see.
    async fn webhook(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The global id, or the number.")] id: ID,
    ) -> Result<Option<Webhook>> {
        ctx.session().reader()?;
        let Some(key) = key_of(ctx.services(), &ctx.session().caller, &id).await? else {
            return Ok(None);
        };
        Ok(find(ctx, &[key]).await?.pop())
    }

    /// The webhooks that the caller may see.
    ///
    /// Cost: 1 + page size × cost of the selected fields.
    #[graphql(complexity = "cost_of(page_cost(first, last), child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of a Relay connection")]
    async fn webhooks(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "type", desc = "Only webhooks of this type.")] kind: Option<WebhookType>,
        #[graphql(desc = "Which webhooks to list. Default: all that the caller may see.")] filter: Option<
            WebhookFilter,
        >,
        #[graphql(desc = "Order of the list. Default: newest first.")] order_by: Option<WebhookOrder>,
        #[graphql(desc = "Page size from the start of the list, 1 to 100. Default: 20.")] first: Option<i32>,
        #[graphql(desc = "Only elements after this cursor.")] after: Option<String>,
        #[graphql(desc = "Page size from the end of the list, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only elements before this cursor.")] before: Option<String>,
    ) -> Result<Connection<Webhook>> {
        ctx.session().reader()?;
        let order = order_by.unwrap_or(WebhookOrder::CreatedDescending).into();
        let window = PageArguments {
            first,
            after,
            last,
            before,
        }
        .window(cursor::decode_webhook(order))?;
        let query = query(ctx, kind, filter.unwrap_or_default())?;
        let slice =
            webhook_list::page(&mut *ctx.services().store.conn().await?, &query, order, &window).await?;
        Ok(Connection::new(
            slice,
            query,
            |(webhook, _)| cursor::encode_webhook(&WebhookCursor::of(webhook, order)),
            |state| Webhook::new(ctx, state),
        ))
    }

    /// How many webhooks of a type a user may have, and how many the user has. Any caller may ask about themselves; an
    /// admin about any user of the company. A token that acts through an app may ask only about its own user, and about
    /// `GENERAL` only if the operator lets apps see the general webhooks of their user.
    async fn webhook_quota(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            name = "type",
            desc = "Which webhooks to count: the user's general ones, or those of the app that the token acts through."
        )]
        kind: WebhookType,
        #[graphql(desc = "The id of the user. Default: the caller.")] user_id: Option<ID>,
    ) -> Result<WebhookQuota> {
        ctx.session().reader()?;
        let account = account(ctx.session(), kind.into(), user_id.as_ref())?;
        let services = ctx.services();
        let used = webhooks::used(&mut *services.store.conn().await?, &account, &ctx.cutoffs()).await?;
        let limit = i32::try_from(services.policy().webhook_limit).unwrap_or(i32::MAX);
        let used = i32::try_from(used).unwrap_or(i32::MAX);
        Ok(WebhookQuota {
            kind,
            limit,
            used,
            remaining: limit.saturating_sub(used).max(0),
        })
    }
}

/// The webhooks with these keys that the caller may see, in no order.
pub async fn find(
    ctx: &Context<'_>,
    keys: &[(tenterhook_model::ids::Lane, tenterhook_model::ids::WebhookId)],
) -> Result<Vec<Webhook>> {
    let (scope, cutoffs) = (ctx.session().scope(), ctx.cutoffs());
    let found = webhooks::find(&mut *ctx.services().store.conn().await?, keys, &scope, &cutoffs).await?;
    Ok(found.into_iter().map(|state| Webhook::new(ctx, state)).collect())
}

/// The webhooks that the caller may see and that pass the filter.
pub fn query(ctx: &impl Ask, kind: Option<WebhookType>, filter: WebhookFilter) -> Result<WebhookQuery> {
    Ok(WebhookQuery {
        scope: ctx.session().scope(),
        cutoffs: ctx.cutoffs(),
        kind: kind.map(Into::into),
        states: filter
            .state
            .map(|states| states.into_iter().map(Into::into).collect()),
        include_removed: filter.include_removed.unwrap_or(false),
        action: filter.event_action.map(Into::into),
        object: searched("filter.eventObject", filter.event_object.map(|object| object.0))?,
        user: filter
            .user_id
            .map(|id| id.parse())
            .transpose()
            .map_err(bad_id("filter.userId"))?,
        company: filter
            .company_id
            .map(|id| id.parse())
            .transpose()
            .map_err(bad_id("filter.companyId"))?,
        app: filter
            .app_id
            .map(|id| id.parse())
            .transpose()
            .map_err(bad_id("filter.appId"))?,
        number: filter
            .number
            .map(|id| id.parse())
            .transpose()
            .map_err(bad_id("filter.number"))?,
        url_contains: searched("filter.urlContains", filter.url_contains)?,
    })
}

/// A text to search for, if the database can compare with it.
fn searched(name: &str, text: Option<String>) -> Result<Option<String>> {
    if let Some(Err(why)) = text.as_deref().map(input_limits::searched) {
        return Err(ApiError::bad_input(format!("`{name}` {why}.")));
    }
    Ok(text)
}

fn bad_id(name: &str) -> impl Fn(InvalidId) -> ApiError {
    move |why| ApiError::bad_input(format!("`{name}` {why}."))
}

/// The account whose webhooks are counted, if the caller may know it: a caller who sees webhooks may count them.
fn account(session: &Session, kind: webhook::WebhookType, user: Option<&ID>) -> Result<Account> {
    let Caller::User(caller) = &session.caller else {
        return Err(ApiError::bad_input(
            "Only users have webhooks, and this is not a user's token.",
        ));
    };
    let user = user
        .map(|id| id.parse())
        .transpose()
        .map_err(bad_id("userId"))?
        .unwrap_or(caller.user);
    let app = match kind {
        webhook::WebhookType::General => None,
        webhook::WebhookType::Application => Some(caller.app.clone().ok_or_else(|| {
            ApiError::new(
                ErrorCode::Forbidden,
                "Application webhooks are counted only for a token that acts through an app.",
            )
        })?),
    };
    let counts = match &app {
        None => access::reaches_general(&session.scope(), caller.company, user),
        Some(_) => user == caller.user,
    };
    if !counts {
        return Err(ApiError::new(
            ErrorCode::Forbidden,
            "This token does not see the webhooks that it asks about.",
        ));
    }
    Ok(Account {
        company: caller.company,
        user,
        app,
    })
}

#[async_trait]
impl TotalCount for WebhookQuery {
    async fn count(&self, ctx: &Context<'_>) -> Result<i64> {
        Ok(webhook_list::count(&mut *ctx.services().store.conn().await?, self).await?)
    }
}
