//! How a subscription begins: when it listens, and how its field says that it cannot begin.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures_util::stream::{BoxStream, StreamExt};

/// The start of one subscription. Its field finds it in its context.
///
/// A field that listens before it first waits for anything needs none of this. A field that has to read something first
/// holds a [`Starting`] until it listens.
#[derive(Clone, Default)]
pub struct SubscriptionStart(Arc<State>);

#[derive(Default)]
struct State {
    refused: AtomicBool,
    starting: AtomicBool,
}

/// While it exists, the subscription does not listen yet.
pub struct Starting(Arc<State>);

impl Drop for Starting {
    fn drop(&mut self) {
        self.0.starting.store(false, Ordering::Release);
    }
}

impl SubscriptionStart {
    /// Marks the subscription as refused: its error becomes an error of the request.
    pub fn refuse(&self) {
        self.0.refused.store(true, Ordering::Release);
    }

    /// Marks the subscription as not listening yet. On a socket the client's next message is handled afterwards, so that a
    /// client that has got a pong misses nothing.
    pub fn starting(&self) -> Starting {
        self.0.starting.store(true, Ordering::Release);
        Starting(self.0.clone())
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.0.refused.load(Ordering::Acquire)
    }

    fn is_starting(&self) -> bool {
        self.0.starting.load(Ordering::Acquire)
    }
}

/// Polls a new operation until it listens, and returns it with the item that it may have had by then.
pub(crate) async fn begun<T: Send + 'static>(
    mut items: BoxStream<'static, T>,
    start: &SubscriptionStart,
) -> BoxStream<'static, T> {
    let first = poll_fn(|context| match items.poll_next_unpin(context) {
        Poll::Ready(first) => Poll::Ready(Some(first)),
        Poll::Pending if start.is_starting() => Poll::Pending,
        Poll::Pending => Poll::Ready(None),
    });
    match first.await {
        None => items,
        Some(None) => futures_util::stream::empty().boxed(),
        Some(Some(item)) => futures_util::stream::once(std::future::ready(item))
            .chain(items)
            .boxed(),
    }
}

#[cfg(test)]
mod tests {
    use std::task::Context;

    use futures_util::stream;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_subscription_that_listens_at_once_begins_with_one_poll() {
        let start = SubscriptionStart::default();
        let silent = begun(stream::pending::<u8>().boxed(), &start).await;
        drop(silent);
        let mut items = begun(stream::iter([1, 2]).boxed(), &start).await;
        assert_eq!((items.next().await, items.next().await), (Some(1), Some(2)));
        assert_eq!(
            begun(stream::empty::<u8>().boxed(), &start).await.next().await,
            None
        );
    }

    #[tokio::test]
    async fn a_subscription_that_reads_first_has_begun_when_it_listens() {
        let start = SubscriptionStart::default();
        let (read, reading) = oneshot::channel::<()>();
        let of_field = start.clone();
        let field = async move {
            let starting = of_field.starting();
            reading.await.unwrap();
            drop(starting);
            stream::pending::<u8>()
        };
        let mut beginning = Box::pin(begun(stream::once(field).flatten().boxed(), &start));
        let mut context = Context::from_waker(std::task::Waker::noop());
        for _ in 0..2 {
            assert!(beginning.as_mut().poll(&mut context).is_pending());
        }
        read.send(()).unwrap();
        assert!(beginning.as_mut().poll(&mut context).is_ready());
    }
}
