//! The server stores concurrent calls in one transaction. One refused call does not affect the others.

use futures_util::future::join_all;

use super::scene::USER;
use crate::client::{NewWebhook, Refusal};
use crate::scenario::{Scenario, holds, same};

/// Number of companies that publish at the same time.
const COMPANIES: u64 = 90;
/// One in `BAD_IN` companies publishes an invalid event.
const BAD_IN: u64 = 10;
/// A timestamp that Postgres cannot represent.
const BEFORE_TIME: &str = "-009000-01-01T00:00:00Z";
/// Number of rounds. The server groups the calls differently in each round.
const TIMES: usize = 3;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "a-bad-call-refuses-nobody-else",
            "Many companies publish at once, and one in ten gives a time that the database cannot store: it is refused, and \
             all others are accepted.",
            &["E3"],
            |world| {
                Box::pin(async move {
                    let platform = world.platform();
                    for time in 0..TIMES {
                        let call = async |number: u64| {
                            let mut event = world.company(number).deal_changed();
                            if number.is_multiple_of(BAD_IN) {
                                event = event.with("occurredAt", BEFORE_TIME);
                            }
                            (number, platform.publish_one(event).await)
                        };
                        let mut accepted = 0;
                        for (number, answer) in join_all((1..=COMPANIES).map(call)).await {
                            match answer {
                                Ok(_) => accepted += 1,
                                Err(Refusal::Transport(error)) => return Err(error.into()),
                                Err(refusal) if number.is_multiple_of(BAD_IN) => holds(
                                    "the refusal of a moment out of bounds",
                                    "BAD_USER_INPUT, or a user error",
                                    refusal.code() == "BAD_USER_INPUT" || refusal.user_error().is_some(),
                                    &refusal,
                                )?,
                                Err(refusal) => return Err(refusal.into()),
                            }
                        }
                        let good = COMPANIES - COMPANIES / BAD_IN;
                        same(format!("calls accepted, time {time}"), accepted, good)?;
                    }
                    Ok(())
                })
            },
        ),
        Scenario::new(
            "a-bad-event-refuses-its-call-with-its-place",
            "A call with an event whose time is out of bounds is refused with the event's position, and none of its events \
             is stored.",
            &["E3"],
            |world| {
                Box::pin(async move {
                    let receiver = world.receiver(200).await;
                    let company = world.company(1);
                    company
                        .user(USER)
                        .create_webhook(NewWebhook::to(&receiver.url()))
                        .await?;
                    let good = company.deal_changed();
                    let bad = good.clone().with("occurredAt", BEFORE_TIME);
                    let events = [good.clone(), good.clone(), bad, good];
                    let refusal = world.platform().publish(&events).await.err();
                    let said = refusal.as_ref().map(Refusal::to_string).unwrap_or_default();
                    holds(
                        "the refusal",
                        "names the event by its place",
                        said.contains("events.2") || said.contains("events[2]"),
                        &said,
                    )?;
                    world.settle().await;
                    same("requests", receiver.journal().len(), 0)
                })
            },
        ),
    ]
}
