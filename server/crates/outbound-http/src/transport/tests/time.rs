//! The deadline, on simulated time (D2, T2).

use ErrorClass::Timeout;
use rstest::rstest;

use super::receiver::{Receiver, Seen};
use super::*;
use crate::Timings;
use tenterhook_clock::SimClock;

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

    /// Starts an attempt. The handle returns its result.
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

    /// Asserts that the attempt times out at exactly +10 s, with this message.
    async fn assert_times_out(&self, attempt: tokio::task::JoinHandle<Sent>, message: &str) {
        let simulation = self.simulation();
        simulation.advance(LIMIT - MICRO).await.unwrap();
        assert!(!attempt.is_finished(), "timed out early");
        simulation.advance(MICRO).await.unwrap();
        let sent = attempt.await.unwrap();
        assert_failed(&sent, Timeout);
        assert_eq!(sent.outcome.error_message.as_deref(), Some(message));
        assert_eq!((sent.started_at, sent.ended_at), (self.start, self.start + LIMIT));
        assert_lasted_the_limit(&sent);
    }
}

/// Reads the request and reports that there will be no response.
async fn silent(simulation: SimClock) -> Receiver {
    Receiver::start(move |mut connection| {
        let simulation = simulation.clone();
        async move {
            connection.request().await;
            simulation.stall_request(NAME);
            connection.request().await;
        }
    })
    .await
}

/// The recorded duration is the time between start and end, and no phase is longer.
#[track_caller]
fn assert_lasted_the_limit(sent: &Sent) {
    let limit = LIMIT.unsigned_abs();
    assert_eq!(sent.duration, limit, "{sent:?}");
    let Timings {
        dns,
        connect,
        first_byte,
    } = sent.outcome.timings;
    assert_eq!(first_byte, None);
    assert!(
        dns.unwrap_or_default() + connect.unwrap_or_default() <= limit,
        "{sent:?}"
    );
}

/// The phase in which time moved has that duration. A phase that ended earlier keeps its own.
#[rstest]
#[case::resolving("http://hangs.test/", true)]
#[case::connecting("https://receiver.test:PORT/", false)]
#[tokio::test]
async fn simulated_time_counts_in_the_phase_in_which_it_moved(#[case] url: &str, #[case] resolving: bool) {
    let world = World::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    world.simulation().stall_target("hangs.test:80");
    world.simulation().stall_target(&format!("receiver.test:{port}"));
    let attempt = world.send(request(&world.clock, &url.replace("PORT", &port.to_string())));
    let mut connection = None;
    if !resolving {
        // The phase has started once there is a connection.
        connection = Some(listener.accept().await.unwrap());
    }
    world.simulation().advance(LIMIT).await.unwrap();
    let sent = attempt.await.unwrap();
    assert_lasted_the_limit(&sent);
    let Timings { dns, connect, .. } = sent.outcome.timings;
    let limit = LIMIT.unsigned_abs();
    if resolving {
        // Except the moment before it started.
        assert!(dns.unwrap() > limit / 2, "{sent:?}");
        assert_eq!(connect, None);
    } else {
        let (dns, connect) = (dns.unwrap(), connect.unwrap());
        assert!(dns < limit / 2 && connect > limit / 2, "{sent:?}");
    }
    drop(connection);
}

/// The response arrives while simulated time moves.
#[tokio::test]
async fn simulated_seconds_count_in_the_time_of_a_response() {
    let world = World::new();
    let (simulation, clock) = (world.simulation(), world.clock.clone());
    let receiver = Receiver::start(move |mut connection| {
        let (simulation, clock) = (simulation.clone(), clock.clone());
        async move {
            connection.request().await;
            let until = clock.now() + LIMIT / 2;
            let waker = clock.clone();
            let resume = simulation.clone();
            // A task that the clock tracks, so that time waits between its wake-up and its action.
            let woken = clock.spawn("answer", async move {
                waker.sleep_until(until).await;
                resume.resume_request(NAME);
            });
            simulation.stall_request(NAME);
            woken.await.unwrap();
            connection
                .write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .await;
            connection.request().await;
        }
    })
    .await;
    let attempt = world.send(request(&world.clock, &receiver.url()));
    world.simulation().advance(LIMIT).await.unwrap();
    let sent = attempt.await.unwrap();
    assert_succeeded(&sent);
    assert_eq!(sent.ended_at, world.start + LIMIT / 2);
    assert_eq!(sent.duration, LIMIT.unsigned_abs() / 2);
    assert_eq!(sent.outcome.timings.first_byte, Some(sent.duration));
    assert!(sent.outcome.timings.connect.unwrap() < sent.duration);
}

#[tokio::test]
async fn an_attempt_times_out_at_the_deadline_and_is_disconnected() {
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
async fn interim_responses_do_not_move_the_deadline() {
    let world = World::new();
    let simulation = world.simulation();
    let receiver = Receiver::start(move |mut connection| {
        let simulation = simulation.clone();
        async move {
            connection.request().await;
            connection
                .write("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(10))
                .await;
            simulation.stall_request(NAME);
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
async fn a_stalled_body_takes_only_the_rest_of_the_deadline() {
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
            simulation.stall_request(NAME);
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
