//! The deadline, on simulated time (D2, T2).

use AttemptErrorClass::Timeout;

use super::receiver::{Receiver, Seen};
use super::*;
use crate::clock::SimClock;

const MICRO: SignedDuration = SignedDuration::from_micros(1);

struct World {
    clock: Clock,
    start: Timestamp,
}

impl World {
    fn new() -> Self {
        let start = "2026-11-23T10:00:00Z".parse().unwrap();
        Self {
            clock: Clock::simulated(start),
            start,
        }
    }

    fn simulation(&self) -> SimClock {
        self.clock.simulation().unwrap().clone()
    }

    /// Starts an attempt; the handle yields how it went.
    fn send(&self, request: Request) -> tokio::task::JoinHandle<Sent> {
        let transport = transport_with(
            &self.clock,
            Names::known(&[("receiver.test", &["127.0.0.1"])]),
            &["127.0.0.0/8"],
            None,
        );
        self.clock
            .spawn("attempt", async move { transport.send(request).await })
    }

    /// Asserts that the attempt times out at exactly +10 s, while doing what `message` says.
    async fn assert_times_out(&self, attempt: tokio::task::JoinHandle<Sent>, message: &str) {
        let simulation = self.simulation();
        simulation.advance(LIMIT - MICRO).await.unwrap();
        assert!(!attempt.is_finished(), "timed out early");
        simulation.advance(MICRO).await.unwrap();
        let sent = attempt.await.unwrap();
        assert_failed(&sent, Timeout);
        assert_eq!(sent.outcome.error_message.as_deref(), Some(message));
        assert_eq!((sent.started_at, sent.ended_at), (self.start, self.start + LIMIT));
    }
}

/// Reads the request and says that it will not be answered.
async fn silent(simulation: SimClock) -> Receiver {
    Receiver::start(move |mut connection| {
        let simulation = simulation.clone();
        async move {
            connection.request().await;
            simulation.stall_attempt(Uuid::nil(), 1, 1);
            connection.request().await;
        }
    })
    .await
}

#[tokio::test]
async fn an_unanswered_attempt_times_out_at_the_deadline_and_its_connection_is_closed() {
    let world = World::new();
    let mut receiver = silent(world.simulation()).await;
    let attempt = world.send(request(&world.clock, &receiver.url()));
    world
        .assert_times_out(attempt, "Timed out after 10 s waiting for the response headers")
        .await;
    assert_eq!(receiver.next().await, Seen::Connection);
    assert!(matches!(receiver.next().await, Seen::Request(_)));
    assert_eq!(receiver.next().await, Seen::Closed);
}

#[tokio::test]
async fn a_handshake_that_hangs_times_out() {
    let world = World::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    world.simulation().stall_target(&address.to_string());
    let attempt = world.send(request(&world.clock, &format!("https://{address}/")));
    world
        .assert_times_out(attempt, "Timed out after 10 s connecting")
        .await;
}

#[tokio::test]
async fn a_lookup_that_hangs_times_out() {
    let world = World::new();
    world.simulation().stall_target("hangs.test:80");
    let attempt = world.send(request(&world.clock, "http://hangs.test/"));
    world
        .assert_times_out(attempt, "Timed out after 10 s resolving the host name")
        .await;
}

#[tokio::test]
async fn interim_answers_do_not_move_the_deadline() {
    let world = World::new();
    let simulation = world.simulation();
    let receiver = Receiver::start(move |mut connection| {
        let simulation = simulation.clone();
        async move {
            connection.request().await;
            connection
                .write("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(10))
                .await;
            simulation.stall_attempt(Uuid::nil(), 1, 1);
            connection.request().await;
        }
    })
    .await;
    let attempt = world.send(request(&world.clock, &receiver.url()));
    world
        .assert_times_out(attempt, "Timed out after 10 s waiting for the response headers")
        .await;
}

#[tokio::test]
async fn a_body_that_stalls_costs_the_rest_of_the_deadline_and_nothing_else() {
    let world = World::new();
    let simulation = world.simulation();
    let receiver = Receiver::start(move |mut connection| {
        let simulation = simulation.clone();
        async move {
            connection.request().await;
            connection
                .write("HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
                .await;
            // More than any socket buffers: once this is written, the headers have been read.
            connection.write(vec![b'x'; 32 << 20]).await;
            simulation.stall_attempt(Uuid::nil(), 1, 1);
            connection.request().await;
        }
    })
    .await;
    let mut request = request(&world.clock, &receiver.url());
    request.excerpt_limits.failed = 1 << 30;
    let attempt = world.send(request);
    world.simulation().advance(LIMIT).await.unwrap();
    let sent = attempt.await.unwrap();
    assert_succeeded(&sent);
    assert!(sent.outcome.response_truncated);
    assert_eq!(sent.ended_at, world.start);
    assert_eq!(world.clock.now(), world.start + LIMIT);
}

#[tokio::test]
async fn an_attempt_past_its_deadline_is_not_made() {
    let world = World::new();
    let mut receiver = silent(world.simulation()).await;
    let mut late = request(&world.clock, &receiver.url());
    late.deadline = world.start;
    assert_failed(&world.send(late).await.unwrap(), Timeout);
    assert_eq!(receiver.counts(), (0, 0));
}
