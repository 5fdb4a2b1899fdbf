use std::time::Duration;

use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::sync::oneshot;

use super::*;
use crate::publish::batch_window::MIN_BATCH;
use tenterhook_model::event::{ChangeSource, Draft};
use tenterhook_model::ids::UserId;
use tenterhook_model::webhook::EventAction;

const OF_COMPANY: usize = 1000;
const SHARE: Share = Share {
    events: OF_COMPANY,
    calls: 100,
};

/// Calls are accepted and no company pauses, because simulated time has no such pauses.
fn open() -> IntakeQueue {
    IntakeQueue::new(SHARE, Clock::simulated(Timestamp::UNIX_EPOCH))
}

fn company(number: i64) -> CompanyId {
    CompanyId::new(number).expect("a number above zero is a company")
}

fn call(number: i64, events: usize) -> Call {
    let draft = Draft {
        company: company(number),
        action: EventAction::Create,
        object: "deal".to_owned(),
        object_id: "1".parse().expect("it is an object's id"),
        user: UserId::new(1).expect("it is a user"),
        data: None,
        previous: None,
        merged_from: None,
        permitted: None,
        change_source: ChangeSource::App,
        is_bulk_edit: false,
        correlation_id: None,
        host: None,
        occurred_at: None,
        idempotency_key: None,
    };
    Call {
        drafts: vec![draft; events],
        answer: oneshot::channel().0,
    }
}

fn enqueue(intake: &IntakeQueue, number: i64, events: usize) -> Result<(), PublishError> {
    intake.enqueue(company(number), call(number, events))
}

/// Company and number of events of each call of the next group, if there is one now.
fn group(intake: &Arc<IntakeQueue>) -> Option<(Group, Vec<(i64, usize)>)> {
    let group = intake.next().now_or_never()??;
    let of = |call: &Call| (call.drafts[0].company.get(), call.drafts.len());
    let calls = group.calls.iter().map(of).collect();
    Some((group, calls))
}

#[test]
fn waiting_events_per_company_are_bounded() {
    let intake = open();
    enqueue(&intake, 1, OF_COMPANY - 1).unwrap();
    enqueue(&intake, 1, 1).unwrap();
    assert!(matches!(enqueue(&intake, 1, 1), Err(PublishError::Crowded)));
    enqueue(&intake, 2, 1).unwrap();
    let intake = Arc::new(intake);
    let (_first, calls) = group(&intake).unwrap();
    assert_eq!(calls, [(1, OF_COMPANY - 1)]);
    enqueue(&intake, 1, OF_COMPANY - 1).unwrap();
    assert!(matches!(enqueue(&intake, 1, 1), Err(PublishError::Crowded)));
}

#[test]
fn waiting_calls_per_company_are_bounded() {
    let intake = open();
    for _ in 0..SHARE.calls {
        enqueue(&intake, 1, 1).unwrap();
    }
    assert!(matches!(enqueue(&intake, 1, 1), Err(PublishError::Crowded)));
    enqueue(&intake, 2, 1).unwrap();
}

#[test]
fn waiting_calls_are_bounded_in_all() {
    let intake = open();
    for number in 1..=WAITING_CALLS {
        enqueue(&intake, number as i64, 1).unwrap();
    }
    assert!(matches!(enqueue(&intake, 1, 1), Err(PublishError::Full)));
}

#[test]
fn companies_take_turns_until_the_group_is_full() {
    let intake = Arc::new(open());
    for events in [100, 100, 100] {
        enqueue(&intake, 1, events).unwrap();
    }
    enqueue(&intake, 2, 56).unwrap();
    enqueue(&intake, 3, 1).unwrap();
    let (_first, calls) = group(&intake).unwrap();
    assert_eq!(calls, [(1, 100), (2, 56), (3, 1)], "257 would be one too many");
    let (_second, calls) = group(&intake).unwrap();
    assert_eq!(calls, [(1, 100), (1, 100)]);
    assert!(group(&intake).is_none());
}

#[test]
fn groups_are_bounded_and_a_large_call_is_a_group_of_its_own() {
    let intake = Arc::new(open());
    for _ in 0..CALLS + 1 {
        enqueue(&intake, 1, 1).unwrap();
    }
    enqueue(&intake, 2, EVENTS).unwrap();
    let sizes: Vec<usize> = (0..3)
        .map(|_| group(&intake).map_or(0, |(_, calls)| calls.len()))
        .collect();
    assert_eq!(sizes, [CALLS, 1, 1]);
}

#[test]
fn a_flood_leaves_a_committer_to_the_others() {
    let intake = Arc::new(open());
    for _ in 0..COMMITTERS {
        enqueue(&intake, 1, EVENTS).unwrap();
    }
    let mut storing: Vec<Group> = Vec::new();
    while let Some((group, calls)) = group(&intake) {
        assert_eq!(calls, [(1, EVENTS)]);
        storing.push(group);
    }
    assert_eq!(storing.len(), COMMITTERS - 1);
    enqueue(&intake, 2, 1).unwrap();
    let (_other, calls) = group(&intake).unwrap();
    assert_eq!(calls, [(2, 1)]);
    assert!(group(&intake).is_none());
    storing.pop();
    let (_last, calls) = group(&intake).unwrap();
    assert_eq!(calls, [(1, EVENTS)]);
}

#[tokio::test]
async fn closing_stores_waiting_calls_and_refuses_new_ones() {
    let intake = Arc::new(open());
    enqueue(&intake, 1, 1).unwrap();
    intake.close();
    assert!(matches!(enqueue(&intake, 1, 1), Err(PublishError::Stopping)));
    assert!(intake.next().await.is_some());
    assert!(intake.next().await.is_none());
}

/// A call of company 1, which pauses as after a group that took `took`, and one of company 2.
fn with_one_at_rest(took: Duration) -> Arc<IntakeQueue> {
    let intake = IntakeQueue::new(SHARE, Clock::system());
    enqueue(&intake, 1, EVENTS).unwrap();
    enqueue(&intake, 2, 1).unwrap();
    let now = intake.clock.monotonic();
    intake.state().throttle.group_done(company(1), took, now);
    Arc::new(intake)
}

#[tokio::test]
async fn a_paused_company_is_skipped_until_its_pause_or_intake_ends() {
    let intake = with_one_at_rest(Duration::from_hours(1));
    let (_other, calls) = group(&intake).unwrap();
    assert_eq!(calls, [(2, 1)]);
    assert!(group(&intake).is_none());
    intake.close();
    assert_eq!(group(&intake).unwrap().1, [(1, EVENTS)]);

    let intake = with_one_at_rest(Duration::from_millis(1));
    let of = async || intake.next().await.unwrap().calls[0].drafts.len();
    assert_eq!(of().await + of().await, EVENTS + 1);
}

#[tokio::test]
async fn bulk_has_its_own_groups_one_at_a_time() {
    let intake = Arc::new(IntakeQueue::new(SHARE, Clock::system()));
    enqueue(&intake, 2, 1).unwrap();
    for events in [BULK - 1, 1, 1] {
        enqueue(&intake, 1, events).unwrap();
    }
    enqueue(&intake, 3, 1).unwrap();
    let (_others, calls) = group(&intake).unwrap();
    assert_eq!(calls, [(2, 1), (3, 1)]);
    let (bulk, calls) = group(&intake).unwrap();
    assert_eq!(calls, [(1, BULK - 1)]);
    assert!(group(&intake).is_none());
    drop(bulk);
    assert_eq!(intake.next().await.unwrap().calls.len(), 2);
}

#[test]
fn calls_wait_for_a_full_batch_while_a_group_is_stored() {
    let intake = Arc::new(IntakeQueue::new(SHARE, Clock::system()));
    enqueue(&intake, 1, 1).unwrap();
    let (storing, _) = group(&intake).unwrap();
    // At this moment no call has waited long, however long the test takes.
    let moment = intake.clock.monotonic();
    for number in 1..=MIN_BATCH {
        assert!(intake.state().take(Some(moment)).calls.is_empty());
        enqueue(&intake, number as i64, 1).unwrap();
    }
    let (enough, calls) = group(&intake).unwrap();
    assert_eq!(calls.len(), MIN_BATCH);
    enqueue(&intake, 1, 1).unwrap();
    drop((storing, enough));
    assert_eq!(group(&intake).unwrap().1.len(), 1);
}
