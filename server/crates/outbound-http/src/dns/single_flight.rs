//! Shares one lookup between all requests that wait for the same name.
//!
//! A request that needs a name while it is being looked up gets that lookup's result. A lookup ends when no request
//! waits for it any more.
//!
//! The resolver would join equal queries too. But if a response is lost, a request that joined gets the error before
//! the lookup leaves the resolver's table. It queries again, joins the same lookup, and has used up its tries in an
//! instant. A lost response, or a process that was suspended for longer than one try, would then count as the receiver's
//! failure. Here only one request queries the resolver.
//!
//! Two names that are aliases of the same third name are not joined.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use hickory_resolver::proto::rr::Name;

/// A lookup with the result `T`. It runs as long as a request waits for it.
type Lookup<T> = BoxFuture<'static, T>;

/// The running lookups. Clones share them.
#[derive(Clone)]
pub(super) struct SingleFlight<T: Clone> {
    under_way: Arc<Mutex<UnderWay<T>>>,
}

struct UnderWay<T: Clone> {
    begun: u64,
    lookups: HashMap<Name, (u64, WeakShared<Lookup<T>>)>,
}

impl<T: 'static + Clone + Send + Sync> SingleFlight<T> {
    /// The running lookup of `name`. If there is none, starts `begin`.
    pub fn join(&self, name: Name, begin: impl Future<Output = T> + Send + 'static) -> Shared<Lookup<T>> {
        let mut under_way = lock(&self.under_way);
        if let Some((_, lookup)) = under_way.lookups.get(&name)
            && let Some(lookup) = lookup.upgrade()
        {
            return lookup;
        }
        under_way.begun += 1;
        let ended = Ended {
            number: under_way.begun,
            name: name.clone(),
            under_way: self.under_way.clone(),
        };
        let lookup = async move {
            let _ended = ended;
            begin.await
        };
        let lookup = lookup.boxed().shared();
        if let Some(weak) = lookup.downgrade() {
            let number = under_way.begun;
            under_way.lookups.insert(name, (number, weak));
        }
        lookup
    }
}

impl<T: Clone> Default for SingleFlight<T> {
    fn default() -> Self {
        let under_way = UnderWay {
            begun: 0,
            lookups: HashMap::new(),
        };
        Self {
            under_way: Arc::new(Mutex::new(under_way)),
        }
    }
}

/// Removes a lookup from the table when it has ended or no request waits for it.
struct Ended<T: Clone> {
    number: u64,
    name: Name,
    under_way: Arc<Mutex<UnderWay<T>>>,
}

impl<T: Clone> Drop for Ended<T> {
    fn drop(&mut self) {
        let mut under_way = lock(&self.under_way);
        // Another lookup may have started since the last waiting request left.
        if under_way
            .lookups
            .get(&self.name)
            .is_some_and(|(number, _)| *number == self.number)
        {
            under_way.lookups.remove(&self.name);
        }
    }
}

fn lock<T: Clone>(under_way: &Mutex<UnderWay<T>>) -> MutexGuard<'_, UnderWay<T>> {
    under_way.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn name(name: &str) -> Name {
        Name::from_ascii(name).unwrap()
    }

    fn asking(flights: &SingleFlight<u8>, name: Name) -> (oneshot::Sender<u8>, Shared<Lookup<u8>>) {
        let (answer, answered) = oneshot::channel();
        (answer, flights.join(name, async { answered.await.unwrap() }))
    }

    #[tokio::test]
    async fn concurrent_lookups_share_one_answer_and_a_later_one_queries_again() {
        let flights = SingleFlight::default();
        let (answer, first) = asking(&flights, name("a.test."));
        let (unused, second) = asking(&flights, name("A.test."));
        let (other, third) = asking(&flights, name("b.test."));
        assert!(unused.is_closed(), "the second asks nobody");
        answer.send(1).unwrap();
        other.send(2).unwrap();
        assert_eq!((second.await, first.await, third.await), (1, 1, 2));
        assert!(lock(&flights.under_way).lookups.is_empty());
        let (answer, late) = asking(&flights, name("a.test."));
        answer.send(3).unwrap();
        assert_eq!(late.await, 3);
    }

    #[tokio::test]
    async fn a_lookup_ends_when_its_last_waiter_leaves() {
        let flights = SingleFlight::default();
        let (answer, first) = asking(&flights, name("a.test."));
        let (_, second) = asking(&flights, name("a.test."));
        drop(first);
        assert!(!answer.is_closed());
        drop(second);
        assert!(answer.is_closed());
        assert!(lock(&flights.under_way).lookups.is_empty());
    }
}
