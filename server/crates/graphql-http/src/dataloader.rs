//! Reads in rounds: it collects the keys that the fields of a request ask for until no field can continue, and then
//! reads them.
//!
//! Guarantees one read per kind of key and round, however many fields ask and however slow or busy the machine is: a
//! round ends when every field waits, never after a time. Nothing is cached between rounds: a key that is requested
//! again is read again, so that a mutation's response shows the stored state.
//!
//! A loader that collects for some milliseconds, or until its task is polled again, splits a list whenever the
//! scheduler interrupts it. The cost of avoiding this is a separate waker for each request.

use std::any::{Any, TypeId};
use std::collections::{HashMap, HashSet};
use std::future::{Future, poll_fn};
use std::hash::Hash;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use async_graphql::dataloader::Loader;
use futures_channel::oneshot;
use futures_util::future::{BoxFuture, FutureExt, Shared};
use futures_util::stream::{self, FuturesUnordered, Stream, StreamExt};
use futures_util::task::AtomicWaker;

/// The result of a read, or why it failed.
type Loaded<K, L> = Result<HashMap<K, <L as Loader<K>>::Value>, <L as Loader<K>>::Error>;

/// The keys that one request has asked for and not read yet.
pub struct RequestLoader<L> {
    loader: Arc<L>,
    /// By the type of their keys.
    asked: Mutex<HashMap<TypeId, Box<dyn Asked<L>>>>,
}

/// A batch with keys of any type.
trait Asked<L>: Any + Send {
    fn read(self: Box<Self>, loader: Arc<L>) -> BoxFuture<'static, ()>;
}

struct Batch<K, L>
where
    K: Send + Sync + Hash + Eq + Clone + 'static,
    L: Loader<K, Error: Sync>,
{
    keys: HashSet<K>,
    tell: oneshot::Sender<Arc<Loaded<K, L>>>,
    told: Shared<oneshot::Receiver<Arc<Loaded<K, L>>>>,
}

impl<K, L> Default for Batch<K, L>
where
    K: Send + Sync + Hash + Eq + Clone + 'static,
    L: Loader<K, Error: Sync>,
{
    fn default() -> Self {
        let (tell, told) = oneshot::channel();
        Self {
            keys: HashSet::new(),
            tell,
            told: told.shared(),
        }
    }
}

impl<K, L> Asked<L> for Batch<K, L>
where
    K: Send + Sync + Hash + Eq + Clone + 'static,
    L: Loader<K, Error: Sync>,
{
    fn read(self: Box<Self>, loader: Arc<L>) -> BoxFuture<'static, ()> {
        let keys: Vec<K> = self.keys.into_iter().collect();
        let tell = self.tell;
        // There is no receiver if another field's error has cancelled the fields that asked.
        async move {
            let _ = tell.send(Arc::new(loader.load(&keys).await));
        }
        .boxed()
    }
}

impl<L: Send + Sync + 'static> RequestLoader<L> {
    /// For one request.
    pub fn new(loader: L) -> Arc<Self> {
        Arc::new(Self {
            loader: Arc::new(loader),
            asked: Mutex::default(),
        })
    }

    /// Reads one value, `None` if there is none. It is read at the end of this round, together with all other keys of
    /// the round. Waits forever outside of [`run`](Self::run) and [`stream`](Self::stream).
    pub async fn one<K>(&self, key: K) -> Result<Option<L::Value>, L::Error>
    where
        K: Send + Sync + Hash + Eq + Clone + 'static,
        L: Loader<K, Error: Sync>,
    {
        let told = self.ask(key.clone()).await;
        match &*told.expect("a batch is dropped unread only with the request, and this with it") {
            Ok(found) => Ok(found.get(&key).cloned()),
            Err(error) => Err(error.clone()),
        }
    }

    fn ask<K>(&self, key: K) -> Shared<oneshot::Receiver<Arc<Loaded<K, L>>>>
    where
        K: Send + Sync + Hash + Eq + Clone + 'static,
        L: Loader<K, Error: Sync>,
    {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let batch = asked
            .entry(TypeId::of::<K>())
            .or_insert_with(|| Box::<Batch<K, L>>::default());
        let batch: &mut dyn Any = &mut **batch;
        let batch = batch
            .downcast_mut::<Batch<K, L>>()
            .expect("a batch is kept under the type of its keys");
        batch.keys.insert(key);
        batch.told.clone()
    }

    /// Executes a future that asks for values.
    pub async fn run<F: Future>(self: &Arc<Self>, asking: F) -> F::Output {
        let mut rounds = Rounds::of(self);
        let mut asking = pin!(asking);
        poll_fn(|cx| rounds.go_on(cx, |cx| asking.as_mut().poll(cx))).await
    }

    /// Executes a stream that asks for values.
    pub fn stream<'a, S>(self: &Arc<Self>, asking: S) -> impl Stream<Item = S::Item> + Send + use<'a, S, L>
    where
        S: Stream + Send + 'a,
    {
        let mut rounds = Rounds::of(self);
        let mut asking = Box::pin(asking);
        stream::poll_fn(move |cx| rounds.go_on(cx, |cx| asking.poll_next_unpin(cx)))
    }
}

/// The rounds of one request.
struct Rounds<L> {
    loader: Arc<RequestLoader<L>>,
    /// Batches that are being read.
    readings: FuturesUnordered<BoxFuture<'static, ()>>,
    woken: Arc<Woken>,
    /// `woken` as a waker, for the futures that ask.
    waker: Waker,
}

impl<L: 'static> Rounds<L> {
    fn of(loader: &Arc<RequestLoader<L>>) -> Self {
        let woken = Arc::<Woken>::default();
        Self {
            loader: loader.clone(),
            readings: FuturesUnordered::new(),
            waker: woken.clone().into(),
            woken,
        }
    }

    /// Polls the fields as far as they can continue, then reads the keys that they have asked for. A finished read
    /// passes its result to all waiting fields before any of them continues.
    fn go_on<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut asking: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.woken.task.register(cx.waker());
        loop {
            while let Poll::Ready(Some(())) = self.readings.poll_next_unpin(cx) {}
            self.woken.again.store(false, Ordering::Release);
            if let Poll::Ready(done) = asking(&mut Context::from_waker(&self.waker)) {
                return Poll::Ready(done);
            }
            // A long list is processed in pieces, and each piece wakes the next: the round is not over. It continues
            // in the task's next poll. Continuing in this one would loop: once the runtime's budget is used up,
            // everything wakes itself again.
            if self.woken.again.load(Ordering::Acquire) {
                return Poll::Pending;
            }
            let mut asked = self.loader.asked.lock().unwrap_or_else(PoisonError::into_inner);
            if asked.is_empty() {
                return Poll::Pending;
            }
            let batches = asked
                .drain()
                .map(|(_, batch)| batch.read(self.loader.loader.clone()));
            self.readings.extend(batches);
        }
    }
}

/// Wakes a request's task, and records whether that happened while it ran.
#[derive(Default)]
struct Woken {
    again: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.again.store(true, Ordering::Release);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::AtomicUsize;

    use futures_util::future::{join, try_join_all};

    use super::*;

    /// Doubles a number, triples a text's length; counts its reads; each takes several polls.
    #[derive(Default)]
    struct Arithmetic(Arc<AtomicUsize>);

    impl Arithmetic {
        async fn read(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        }
    }

    impl Loader<u32> for Arithmetic {
        type Value = u32;
        type Error = Infallible;

        async fn load(&self, keys: &[u32]) -> Result<HashMap<u32, u32>, Infallible> {
            self.read().await;
            let known = keys.iter().filter(|key| **key < 1_000_000);
            Ok(known.map(|key| (*key, key * 2)).collect())
        }
    }

    impl Loader<String> for Arithmetic {
        type Value = usize;
        type Error = String;

        async fn load(&self, keys: &[String]) -> Result<HashMap<String, usize>, String> {
            self.read().await;
            if keys.iter().any(String::is_empty) {
                return Err("empty".to_owned());
            }
            Ok(keys.iter().map(|key| (key.clone(), key.len() * 3)).collect())
        }
    }

    /// A list's element: two levels of one kind, and one of another that is ready earlier or later.
    async fn element(loader: &RequestLoader<Arithmetic>, n: u32) -> Result<(u32, usize), String> {
        let numbers = async {
            let twice = loader.one(n).await.unwrap_or_default().unwrap_or_default();
            loader.one(twice).await.unwrap_or_default().unwrap_or_default()
        };
        let (number, text) = join(numbers, loader.one(n.to_string())).await;
        Ok((number, text?.unwrap_or_default()))
    }

    async fn readings_for(elements: u32) -> usize {
        let readings = Arc::default();
        let loader = RequestLoader::new(Arithmetic(Arc::clone(&readings)));
        let all = try_join_all((0..elements).map(|n| element(&loader, n)));
        let found = loader.run(all).await.unwrap();
        let expected = |n: u32| (n * 4, n.to_string().len() * 3);
        assert_eq!(found, (0..elements).map(expected).collect::<Vec<_>>());
        readings.load(Ordering::Relaxed)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_long_list_takes_as_many_readings_as_one_element() {
        assert_eq!(readings_for(1).await, 3);
        for _ in 0..20 {
            assert_eq!(readings_for(1000).await, 3);
        }
    }

    /// The runtime gives each poll of a task a budget of 128 steps; after that everything reports that it is not
    /// ready, and wakes itself.
    #[tokio::test]
    async fn work_beyond_the_poll_budget_continues_in_the_next_poll() {
        let loader = RequestLoader::new(Arithmetic::default());
        let asking = async {
            for _ in 0..1000 {
                tokio::task::coop::consume_budget().await;
            }
            loader.one(7).await
        };
        assert_eq!(loader.run(asking).await, Ok(Some(14)));
    }

    #[tokio::test]
    async fn missing_keys_are_none_and_errors_reach_every_caller() {
        let loader = RequestLoader::new(Arithmetic::default());
        let asking = join(loader.one(1_000_000), loader.one(7));
        assert_eq!(loader.run(asking).await, (Ok(None), Ok(Some(14))));
        let asking = join(loader.one(String::new()), loader.one("ab".to_owned()));
        let empty = Err("empty".to_owned());
        assert_eq!(loader.run(asking).await, (empty.clone(), empty));
    }

    #[tokio::test]
    async fn a_stream_reads_again_for_each_item() {
        let readings = Arc::default();
        let loader = RequestLoader::new(Arithmetic(Arc::clone(&readings)));
        let items = stream::iter([5, 5]).then(|n| element(&loader, n));
        let found: Vec<_> = loader.stream(items).collect().await;
        assert_eq!(found, [Ok((20, 3)), Ok((20, 3))]);
        assert_eq!(readings.load(Ordering::Relaxed), 6);
    }
}
