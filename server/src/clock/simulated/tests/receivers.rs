//! Requests to real sockets: who answers holds time still, who has said that it stalls does not.

use std::future::pending;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

type Answer = (Result<u8, DeadlineElapsed>, Timestamp);

const WEBHOOK: i64 = 7;

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// The first attempt of `message`, with the policy's ten seconds.
fn request(clock: &Clock, message: Uuid, address: SocketAddr) -> JoinHandle<Answer> {
    let clock = clock.clone();
    clock.clone().spawn("request", async move {
        let target = Some(address.to_string());
        let _in_flight = clock.external(RequestInFlight {
            message,
            webhook: WEBHOOK,
            attempt: 1,
            target,
        });
        let exchange = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"?").await.unwrap();
            stream.read_u8().await.unwrap()
        };
        let answer = clock.deadline(clock.now() + SECOND * 10, exchange).await;
        (answer, clock.now())
    })
}

/// A task with a request in flight that is never answered, once that has begun.
async fn hang(clock: &Clock, message: Uuid) -> JoinHandle<Result<(), DeadlineElapsed>> {
    let (begin, begun) = oneshot::channel();
    let task = clock.clone().spawn("hangs", {
        let clock = clock.clone();
        async move {
            let target = Some("Receiver.example:443".to_owned());
            let _in_flight = clock.external(RequestInFlight {
                message,
                webhook: WEBHOOK,
                attempt: 1,
                target,
            });
            let never = async {
                begin.send(()).unwrap();
                pending().await
            };
            clock.deadline(clock.now() + SECOND * 10, never).await
        }
    });
    begun.await.unwrap();
    task
}

/// A receiver that answers after 100 ms of real time, spent in waiting for a byte that never comes.
fn slow() -> SocketAddr {
    let (listener, address) = listen();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0]).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        stream.read_exact(&mut [0]).unwrap_err();
        stream.write_all(b"!").unwrap();
    });
    address
}

#[test]
fn a_stalled_receiver_times_out_exactly_and_a_slow_one_does_not() {
    on_both(|clock, simulation| async move {
        let start = clock.now();
        let [early, late, neighbour] = [1, 2, 3].map(Uuid::from_u128);
        // Neither listener is ever read from as long as it lives; one receiver says so before the request is
        // sent ...
        let (_silent, address) = listen();
        simulation.stall_attempt(early, WEBHOOK, 1);
        let stalled_before = request(&clock, early, address);
        // ... and the other once it has it.
        let (listener, address) = listen();
        let receiver = simulation.clone();
        let stalled_after = request(&clock, late, address);
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0]).unwrap();
            receiver.stall_attempt(late, WEBHOOK, 1);
            // Until the client hangs up.
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        });
        let slow = request(&clock, neighbour, slow());

        simulation.advance(HOUR).await.unwrap();
        let ten = start + SECOND * 10;
        assert_eq!(stalled_before.await.unwrap(), (Err(DeadlineElapsed), ten));
        assert_eq!(stalled_after.await.unwrap(), (Err(DeadlineElapsed), ten));
        assert_eq!(slow.await.unwrap(), (Ok(b'!'), start));
        assert_eq!(clock.now(), start + HOUR);
    });
}

#[test]
fn a_receiver_that_answers_after_five_seconds_is_in_time() {
    on_both(|clock, simulation| async move {
        let (start, message) = (clock.now(), Uuid::from_u128(1));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let answer = request(&clock, message, listener.local_addr().unwrap());
        tokio::spawn({
            let (clock, simulation) = (clock.clone(), simulation.clone());
            async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.read_u8().await.unwrap();
                let wait = clock.clone().spawn("receiver", async move {
                    simulation.stall_attempt(message, WEBHOOK, 1);
                    clock.sleep_until(start + SECOND * 5).await;
                    simulation.resume_attempt(message, WEBHOOK, 1);
                });
                wait.await.unwrap();
                stream.write_all(b"!").await.unwrap();
            }
        });
        simulation.advance(HOUR).await.unwrap();
        assert_eq!(answer.await.unwrap(), (Ok(b'!'), start + SECOND * 5));
    });
}

#[test]
fn a_stalled_target_stalls_all_it_is_sent() {
    on_both(|clock, simulation| async move {
        let start = clock.now();
        let task = hang(&clock, Uuid::from_u128(1)).await;
        assert_eq!(busy(&simulation).await.tasks, ["hangs"]);
        assert_eq!(simulation.next_due_at(), None, "the answer may still come");
        simulation.stall_target("receiver.example:443");
        simulation.settle().await.unwrap();
        assert_eq!(simulation.next_due_at(), Some(start + SECOND * 10));
        simulation.clear_stalled_targets();
        assert_eq!(busy(&simulation).await.tasks, ["hangs"]);
        simulation.stall_target("receiver.example:443");
        assert_eq!(simulation.advance_to_next().await, Ok(start + SECOND * 10));
        assert_eq!(task.await.unwrap(), Err(DeadlineElapsed));
    });
}

#[test]
fn a_stall_ends_with_its_request() {
    on_both(|clock, simulation| async move {
        let message = Uuid::from_u128(1);
        simulation.stall_attempt(message, WEBHOOK, 1);
        let first = hang(&clock, message).await;
        simulation.advance(SECOND * 10).await.unwrap();
        assert_eq!(first.await.unwrap(), Err(DeadlineElapsed));
        let _again = hang(&clock, message).await;
        assert_eq!(busy(&simulation).await.tasks, ["hangs"]);
    });
}

#[test]
fn stalls_that_are_never_claimed_are_forgotten_oldest_first() {
    on_both(|clock, simulation| async move {
        let many = u128::try_from(state::UNCLAIMED_STALLS).unwrap();
        for message in 0..=many {
            simulation.stall_attempt(Uuid::from_u128(message), WEBHOOK, 1);
        }
        let _remembered = hang(&clock, Uuid::from_u128(1)).await;
        simulation.settle().await.unwrap();
        let _forgotten = hang(&clock, Uuid::from_u128(0)).await;
        assert_eq!(busy(&simulation).await.tasks, ["hangs"]);
    });
}
