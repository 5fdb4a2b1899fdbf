//! Subscriptions: events as they happen, in any process.
//!
//! A subscriber sees exactly what its caller may see at the time of each event. For every event the server reads
//! again whether the user still exists and the app is installed, and reads the webhook, notice or attempt in the
//! caller's scope, as a query does. There are no silent gaps: a subscription that falls behind ends with an error
//! coded `UNAVAILABLE`. The client then queries what it missed and subscribes again.
//!
//! Not guaranteed: events from before the subscription began, and one event for each change. Several quick changes of
//! a webhook can appear as one event, with the webhook as it is then. For other limits see
//! [`tenterhook_engine::live`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_graphql::{Context, ID, Subscription};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, Stream, StreamExt};
use jiff::Timestamp;
use tenterhook_graphql_http::{Starting, SubscriptionStart};
use uuid::Uuid;

use crate::auth;
use crate::context::{Ask, Services};
use crate::error::{ApiError, ErrorCode, Result};
use crate::session::Session;
use crate::types::attempt::Attempt;
use crate::types::notice::Notice;
use crate::types::webhook::Webhook;
use crate::webhook_name::WebhookName;
use tenterhook_engine::live::{Interest, Listener, Message, Missed};
use tenterhook_model as model;
use tenterhook_model::access::WebhookScope;
use tenterhook_model::ids::{DeliveryKey, Lane, WebhookId, WebhookKey};
use tenterhook_store::live::AttemptPlace;
use tenterhook_store::webhooks::visibility::Cutoffs;
use tenterhook_store::{attempts, deliveries, notices, webhooks};

/// The root type of subscriptions.
pub struct Subscription;

/// Live events, over WebSocket (`graphql-transport-ws` on `/graphql/ws`) or as server-sent events. A subscriber gets an
/// event if the caller may see its webhook at that time. If a client reads too slowly, the subscription ends with an
/// error coded `UNAVAILABLE`: query what you missed and subscribe again.
#[Subscription]
impl Subscription {
    /// A webhook was created or removed, or its settings, state or ban counter changed. Returns the webhook as it is
    /// when the event is sent. Several quick changes may be sent as one event.
    async fn webhook_changed(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Only changes of this webhook, given by its global id or number. Default: all webhooks that the caller may see."
        )]
        id: Option<ID>,
    ) -> Result<impl Stream<Item = Result<Webhook>> + use<>> {
        let follower = Follower::begin(ctx)?;
        let (interest, _starting) = follower.interest(ctx, id).await?;
        let listener = follower.services.live.changes(interest);
        Ok(follower.follow(listener, |sight, told| Box::pin(sight.webhooks(told))))
    }

    /// An attempt has ended. Sent within a second after the attempt was recorded, for attempts that end after the
    /// subscription began. An attempt that is recorded much later than it ended is not sent: query the delivery's
    /// `attempts`.
    async fn attempt_recorded(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Only attempts for this webhook, given by its global id or number. Required for operators and for callers who can see more than 1000 webhooks."
        )]
        webhook_id: Option<ID>,
    ) -> Result<impl Stream<Item = Result<Attempt>> + use<>> {
        let follower = Follower::begin(ctx)?;
        let (interest, _starting) = follower.interest(ctx, webhook_id).await?;
        if interest.webhook.is_none() && interest.scope == WebhookScope::Everything {
            return Err(refused(
                ctx,
                ApiError::bad_input("An operator's subscription needs a webhookId."),
            ));
        }
        let listener = follower.services.live.attempts(interest);
        Ok(follower.follow(listener, |sight, told| Box::pin(sight.attempts(told))))
    }

    /// A notice was created after the subscription began.
    async fn notice_posted(&self, ctx: &Context<'_>) -> Result<impl Stream<Item = Result<Notice>> + use<>> {
        let follower = Follower::begin(ctx)?;
        let listener = follower.services.live.notices(follower.session.reach());
        Ok(follower.follow(listener, |sight, told| Box::pin(sight.notices(told))))
    }
}

/// Marks the subscription as refused: it does not begin.
fn refused(ctx: &Context<'_>, error: ApiError) -> ApiError {
    ctx.data_unchecked::<SubscriptionStart>().refuse();
    error
}

/// The key of no webhook, for a number that none has: nothing happens to it.
const NO_WEBHOOK: WebhookKey = (Lane(0), WebhookId(Uuid::nil()));

/// A subscription with its caller.
struct Follower {
    services: Arc<Services>,
    session: Session,
}

/// The caller's view of some events at the time of reading.
struct Sight {
    services: Arc<Services>,
    scope: WebhookScope,
    now: Timestamp,
    /// When the subscription began.
    began: Timestamp,
}

type Seen<T> = BoxFuture<'static, Result<Vec<T>>>;

impl Follower {
    fn begin(ctx: &Context<'_>) -> Result<Self> {
        ctx.session().reader().map_err(|error| refused(ctx, error))?;
        Ok(Self {
            services: ctx.data_unchecked::<Arc<Services>>().clone(),
            session: ctx.session().clone(),
        })
    }

    /// The most that the caller may ever see, of one webhook or of any. A webhook that the caller may not see looks
    /// like one to which nothing happens.
    ///
    /// A number has to be looked up, so hold the second value until the listener exists.
    async fn interest(&self, ctx: &Context<'_>, id: Option<ID>) -> Result<(Interest, Starting)> {
        let starting = ctx.data_unchecked::<SubscriptionStart>().starting();
        let webhook = match id {
            Some(id) => {
                let Some(name) = WebhookName::parse(&id) else {
                    return Err(refused(
                        ctx,
                        ApiError::bad_input("That is not a webhook's id or number."),
                    ));
                };
                let key = name.key(&self.services, &self.session.caller).await;
                Some(key.map_err(|error| refused(ctx, error))?.unwrap_or(NO_WEBHOOK))
            }
            None => None,
        };
        let interest = Interest {
            scope: self.session.reach(),
            webhook,
        };
        Ok((interest, starting))
    }

    /// Everything that the listener receives and the caller may see. Ends after an error.
    fn follow<H, T>(
        self,
        listener: Listener<H>,
        see: fn(Sight, Vec<Message<H>>) -> Seen<T>,
    ) -> impl Stream<Item = Result<T>> + Send + use<H, T>
    where
        H: Clone + Send + Sync + 'static,
        T: Send + Sync + 'static,
    {
        let began = listener.began();
        stream::unfold(Some((self, listener)), move |state| async move {
            let (follower, mut listener) = state?;
            let told = match listener.next().await {
                Ok(told) => told,
                Err(missed) => return Some((vec![Err(missed.into())], None)),
            };
            let seen = async {
                let sight = follower.sight(began).await?;
                see(sight, told).await
            };
            match seen.await {
                Ok(seen) => Some((seen.into_iter().map(Ok).collect(), Some((follower, listener)))),
                Err(error) => Some((vec![Err(error)], None)),
            }
        })
        .flat_map(stream::iter)
    }

    async fn sight(&self, began: Timestamp) -> Result<Sight> {
        let session = auth::renew(&self.services, &self.session).await?;
        Ok(Sight {
            services: self.services.clone(),
            scope: session.scope(),
            now: self.services.clock.now(),
            began,
        })
    }
}

impl Sight {
    fn cutoffs(&self) -> Cutoffs {
        self.services.cutoffs(self.now)
    }

    async fn webhooks(self, told: Vec<Message<()>>) -> Result<Vec<Webhook>> {
        let mut keys: Vec<(Lane, WebhookId)> = told.iter().map(|(of, ())| (of.lane, of.webhook)).collect();
        let mut seen = HashSet::new();
        keys.retain(|key| seen.insert(*key));
        let mut conn = self.services.store.conn().await?;
        let found = webhooks::find(&mut conn, &keys, &self.scope, &self.cutoffs()).await?;
        let mut states: HashMap<WebhookId, _> = found.into_iter().map(|state| (state.0.id, state)).collect();
        let in_order = keys.iter().filter_map(|(_, id)| states.remove(id));
        Ok(in_order
            .map(|state| Webhook::at(self.now, &self.services, state))
            .collect())
    }

    async fn notices(self, told: Vec<Message<Arc<model::notice::Notice>>>) -> Result<Vec<Notice>> {
        let keys: Vec<_> = told
            .iter()
            .filter(|(_, notice)| notice.at >= self.began)
            .map(|(_, notice)| (notice.lane, notice.id))
            .collect();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut conn = self.services.store.conn().await?;
        let found = notices::find(&mut conn, &keys, &self.scope, &self.cutoffs()).await?;
        let mut notices: HashMap<_, _> = found.into_iter().map(|notice| (notice.id, notice)).collect();
        let in_order = keys.iter().filter_map(|(_, id)| notices.remove(id));
        Ok(in_order.map(Notice::from).collect())
    }

    async fn attempts(self, told: Vec<Message<AttemptPlace>>) -> Result<Vec<Attempt>> {
        let places: Vec<AttemptPlace> = told
            .into_iter()
            .map(|(_, place)| place)
            .filter(|place| place.ended_at >= self.began)
            .collect();
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let mut of: Vec<_> = places.iter().map(|place| place.delivery).collect();
        let mut seen = HashSet::new();
        of.retain(|place| seen.insert(*place));
        let mut conn = self.services.store.conn().await?;
        let found = deliveries::find(&mut conn, &of, &self.scope, &self.cutoffs()).await?;
        let made: Vec<_> = found.iter().map(|one| (one.key, one.created_at)).collect();
        let mut recorded = attempts::of(&mut conn, &made).await?;
        let found: HashMap<DeliveryKey, _> = found.into_iter().map(|one| (one.key, one)).collect();
        let in_order = places.into_iter().filter_map(|place| {
            let is_it = |attempt: &model::attempt::Attempt| {
                attempt.delivery == place.delivery.key
                    && attempt.number == place.number
                    && attempt.ended_at == place.ended_at
            };
            let attempt = recorded.swap_remove(recorded.iter().position(is_it)?);
            let delivery = found.get(&attempt.delivery)?.clone();
            Some(Attempt::new(attempt, delivery.into()))
        });
        Ok(in_order.collect())
    }
}

impl From<Missed> for ApiError {
    fn from(missed: Missed) -> Self {
        match missed {
            Missed::Behind | Missed::Lost => Self::new(
                ErrorCode::Unavailable,
                format!(
                    "The subscription ends, because {missed}. Query what you missed, and subscribe again."
                ),
            ),
            Missed::TooMany => Self::new(
                ErrorCode::TooComplex,
                format!("The subscription ends, because {missed}. Subscribe to one webhook."),
            ),
        }
    }
}
