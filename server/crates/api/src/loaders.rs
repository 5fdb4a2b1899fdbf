//! Batched reads: one statement reads all rows of a kind that the elements of a list need.
//!
//! Guarantees one statement per kind and level of a query, however long the list. A kind needs more than one
//! statement if the requests differ in more than the key, for example in their filters. For batching and what is not
//! cached, see [`RequestLoader`].

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use async_graphql::Context;
use async_graphql::dataloader::Loader;
use jiff::Timestamp;
use tenterhook_graphql_http::dataloader::RequestLoader;

use crate::context::Services;
use crate::error::Result;
use crate::types::webhook::chart::{Buckets, Chart};
use tenterhook_model::app::App;
use tenterhook_model::attempt::Attempt;
use tenterhook_model::delivery::Delivery;
use tenterhook_model::event::Event;
use tenterhook_model::health::Health;
use tenterhook_model::ids::{AppId, DeliveryKey, EventId, Lane, WebhookId};
use tenterhook_model::webhook::Webhook;
use tenterhook_store::deliveries::{self, DeliveryPlace, DeliveryQuery};
use tenterhook_store::health::history::{self, History};
use tenterhook_store::page::{Slice, Window};
use tenterhook_store::stats::{self, Figures};
use tenterhook_store::{StoreError, apps, attempts, events, health};

/// A webhook with its health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WebhookRef(pub Lane, pub WebhookId);

/// The health history of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HistoryRef(pub Lane, pub WebhookId);

/// The key of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventRef(pub Lane, pub EventId);

/// The key of an app.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AppRef(pub AppId);

/// The attempts of a delivery, oldest first. A delivery without attempts has an empty list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AttemptsOf(pub DeliveryPlace);

/// A delivery, without a check of the caller: only for deliveries reached from a webhook that the caller sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeliveryAt(pub DeliveryPlace);

/// A page of a webhook's deliveries.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DeliveryPageKey {
    /// The webhook.
    pub webhook: (Lane, WebhookId),
    /// Filter of the deliveries.
    pub query: DeliveryQuery,
    /// Window of the page.
    pub window: Window<DeliveryPlace>,
}

/// The number of deliveries of a webhook. Missing if it has none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DeliveryCountKey {
    /// The webhook.
    pub webhook: (Lane, WebhookId),
    /// Filter of the deliveries.
    pub query: DeliveryQuery,
}

/// A webhook's statistics: its time buckets, and the counts of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChartOf {
    /// The webhook.
    pub webhook: (Lane, WebhookId),
    /// The time range. The loader sets its end, not the caller, so that all elements of a list ask for the same
    /// range.
    pub chart: Chart,
}

/// The loader of a request.
pub struct Batches(Arc<Services>);

impl Batches {
    /// A loader that reads with these services.
    pub fn new(services: Arc<Services>) -> Self {
        Self(services)
    }
}

/// Reads one value, together with those that other fields request at the same time.
pub async fn one<K>(ctx: &Context<'_>, key: K) -> Result<Option<<Batches as Loader<K>>::Value>>
where
    K: Send + Sync + Hash + Eq + Clone + 'static,
    Batches: Loader<K, Error = Arc<StoreError>>,
{
    Ok(ctx
        .data_unchecked::<Arc<RequestLoader<Batches>>>()
        .one(key)
        .await?)
}

type Loaded<K, V> = std::result::Result<HashMap<K, V>, Arc<StoreError>>;

impl Loader<WebhookRef> for Batches {
    type Value = (Webhook, Health);
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[WebhookRef]) -> Loaded<WebhookRef, Self::Value> {
        let keys: Vec<_> = keys.iter().map(|key| (key.0, key.1)).collect();
        let rows = health::read(&mut *self.0.store.conn().await?, &keys).await?;
        Ok(rows
            .into_iter()
            .map(|state| (WebhookRef(state.0.lane, state.0.id), state))
            .collect())
    }
}

impl Loader<HistoryRef> for Batches {
    type Value = History;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[HistoryRef]) -> Loaded<HistoryRef, History> {
        let webhooks: Vec<_> = keys.iter().map(|key| (key.0, key.1)).collect();
        let since = self.0.cutoffs(self.0.clock.now()).history;
        let mut read = history::read(&mut *self.0.store.conn().await?, &webhooks, since).await?;
        Ok(keys
            .iter()
            .filter_map(|key| Some((*key, read.remove(&key.1)?)))
            .collect())
    }
}

impl Loader<EventRef> for Batches {
    type Value = Event;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[EventRef]) -> Loaded<EventRef, Event> {
        let ids: Vec<_> = keys.iter().map(|key| (key.0, key.1)).collect();
        let mut found = events::find(&mut *self.0.store.conn().await?, &ids).await?;
        Ok(keys
            .iter()
            .filter_map(|key| Some((*key, found.remove(&key.1)?)))
            .collect())
    }
}

impl Loader<AppRef> for Batches {
    type Value = App;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[AppRef]) -> Loaded<AppRef, App> {
        let ids: Vec<AppId> = keys.iter().map(|key| key.0.clone()).collect();
        let found = apps::find(&mut *self.0.store.conn().await?, &ids).await?;
        Ok(found
            .into_iter()
            .map(|app| (AppRef(app.id.clone()), app))
            .collect())
    }
}

impl Loader<AttemptsOf> for Batches {
    type Value = Vec<Attempt>;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[AttemptsOf]) -> Loaded<AttemptsOf, Vec<Attempt>> {
        let places: Vec<(DeliveryKey, Timestamp)> =
            keys.iter().map(|key| (key.0.key, key.0.created_at)).collect();
        let mut by_delivery: HashMap<DeliveryKey, Vec<Attempt>> = HashMap::new();
        for attempt in attempts::of(&mut *self.0.store.conn().await?, &places).await? {
            by_delivery.entry(attempt.delivery).or_default().push(attempt);
        }
        Ok(keys
            .iter()
            .map(|key| (*key, by_delivery.remove(&key.0.key).unwrap_or_default()))
            .collect())
    }
}

impl Loader<DeliveryAt> for Batches {
    type Value = Delivery;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[DeliveryAt]) -> Loaded<DeliveryAt, Delivery> {
        let places: Vec<_> = keys.iter().map(|key| key.0).collect();
        let everything = tenterhook_model::access::WebhookScope::Everything;
        let cutoffs = self.0.cutoffs(self.0.clock.now());
        let found =
            deliveries::find(&mut *self.0.store.conn().await?, &places, &everything, &cutoffs).await?;
        Ok(found
            .into_iter()
            .map(|delivery| (DeliveryAt(DeliveryPlace::of(&delivery)), delivery))
            .collect())
    }
}

impl Loader<DeliveryPageKey> for Batches {
    type Value = Slice<Delivery>;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[DeliveryPageKey]) -> Loaded<DeliveryPageKey, Slice<Delivery>> {
        let cutoffs = self.0.cutoffs(self.0.clock.now());
        let mut alike: HashMap<_, Vec<&DeliveryPageKey>> = HashMap::new();
        for key in keys {
            alike.entry((&key.query, &key.window)).or_default().push(key);
        }
        let mut pages = HashMap::new();
        for ((query, window), keys) in alike {
            let webhooks: Vec<_> = keys.iter().map(|key| key.webhook).collect();
            let mut conn = self.0.store.conn().await?;
            let mut read = deliveries::page_of_each(&mut conn, &webhooks, query, &cutoffs, window).await?;
            pages.extend(
                keys.iter()
                    .filter_map(|key| Some(((*key).clone(), read.remove(&key.webhook.1)?))),
            );
        }
        Ok(pages)
    }
}

impl Loader<DeliveryCountKey> for Batches {
    type Value = i64;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[DeliveryCountKey]) -> Loaded<DeliveryCountKey, i64> {
        let cutoffs = self.0.cutoffs(self.0.clock.now());
        let mut alike: HashMap<_, Vec<&DeliveryCountKey>> = HashMap::new();
        for key in keys {
            alike.entry(&key.query).or_default().push(key);
        }
        let mut counts = HashMap::new();
        for (query, keys) in alike {
            let webhooks: Vec<_> = keys.iter().map(|key| key.webhook).collect();
            let mut conn = self.0.store.conn().await?;
            let mut read = deliveries::count_of_each(&mut conn, &webhooks, query, &cutoffs).await?;
            counts.extend(
                keys.iter()
                    .filter_map(|key| Some(((*key).clone(), read.remove(&key.webhook.1)?))),
            );
        }
        Ok(counts)
    }
}

impl Loader<ChartOf> for Batches {
    type Value = (Arc<Buckets>, Vec<Figures>);
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[ChartOf]) -> Loaded<ChartOf, Self::Value> {
        let now = self.0.clock.now();
        let history = self.0.cutoffs(now).history;
        let mut alike: HashMap<Chart, Vec<(Lane, WebhookId)>> = HashMap::new();
        for key in keys {
            alike.entry(key.chart).or_default().push(key.webhook);
        }
        let mut charts = HashMap::new();
        for (chart, webhooks) in alike {
            let buckets = Arc::new(chart.buckets(now));
            let mut read = if buckets.from.is_empty() {
                HashMap::new()
            } else {
                let mut conn = self.0.store.conn().await?;
                stats::read(&mut conn, &webhooks, &buckets.from, buckets.until, history).await?
            };
            charts.extend(webhooks.into_iter().map(|webhook| {
                let nothing = || vec![Figures::default(); buckets.from.len()];
                let figures = read.remove(&webhook.1).unwrap_or_else(nothing);
                (ChartOf { webhook, chart }, (buckets.clone(), figures))
            }));
        }
        Ok(charts)
    }
}
