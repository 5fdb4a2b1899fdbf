use super::*;
use crate::model::delivery::Lease;
use crate::model::event::ChangeSource;
use crate::model::ids::{EventId, Lane, UserId};
use crate::model::webhook::EventAction;

const PLACES: Places = Places {
    total: 512,
    per_webhook: 8,
};

fn at() -> Timestamp {
    "2026-11-23T00:00:00Z".parse().unwrap()
}

fn held(company: i64, webhook: WebhookId) -> Held {
    let company = CompanyId::new(company).unwrap();
    let event = Event {
        lane: Lane::of(company),
        id: EventId::new(at()),
        company,
        action: EventAction::Create,
        object: "deal".to_owned(),
        object_id: "1".parse().unwrap(),
        user: UserId::new(1).unwrap(),
        data: None,
        previous: None,
        permitted: None,
        change_source: ChangeSource::App,
        is_bulk_edit: false,
        merge: None,
        correlation_id: String::new(),
        host: None,
        occurred_at: None,
        accepted_at: at(),
    };
    let key = DeliveryKey {
        lane: event.lane,
        webhook,
        event: event.id,
        generation: 0,
    };
    let lease = Lease {
        token: 1,
        until: at(),
    };
    let leased = Leased {
        key,
        company,
        attempt: 1,
        due_at: at(),
        created_at: at(),
        lease,
    };
    Held {
        leased,
        event: Arc::new(event),
        node: NodeId(1),
    }
}

#[test]
fn companies_take_turns_and_within_one_its_webhooks() {
    let mut queue = Queue::new(PLACES);
    let (a, b, c) = (WebhookId::new(at()), WebhookId::new(at()), WebhookId::new(at()));
    for _ in 0..4 {
        queue.push(held(1, a));
        queue.push(held(1, b));
    }
    queue.push(held(2, c));
    let order: Vec<WebhookId> = (0..5).map(|_| queue.pop().unwrap().leased.key.webhook).collect();
    assert_eq!(order, [a, c, b, a, b]);
}

#[test]
fn a_webhook_has_at_most_its_share_in_flight_and_in_memory() {
    let mut queue = Queue::new(PLACES);
    let webhook = WebhookId::new(at());
    queue.push(held(1, webhook));
    queue.pop().unwrap();
    queue.finish(webhook, 0, Pace::Took(Duration::ZERO));
    for _ in 0..MAX_HELD_PER_WEBHOOK {
        assert!(queue.room_for(webhook) > 0);
        queue.push(held(1, webhook));
    }
    assert_eq!(queue.room_for(webhook), 0);
    assert_eq!(queue.full(), [webhook]);
    for _ in 0..PLACES.per_webhook {
        assert!(queue.pop().is_some());
    }
    assert!(queue.pop().is_none());
    queue.finish(webhook, 0, Pace::Took(Duration::ZERO));
    assert!(queue.pop().is_some());
    assert!(queue.pop().is_none());
}

#[test]
fn time_outs_halve_the_share_and_answers_bring_it_back() {
    let mut queue = Queue::new(PLACES);
    let webhook = WebhookId::new(at());
    (0..64).for_each(|_| queue.push(held(1, webhook)));
    let drain = |queue: &mut Queue| std::iter::from_fn(|| queue.pop()).count();
    assert_eq!(drain(&mut queue), 8);
    (0..8).for_each(|_| queue.finish(webhook, 0, Pace::TimedOut));
    assert_eq!(drain(&mut queue), 1);
    queue.finish(webhook, 0, Pace::Took(Duration::ZERO));
    assert_eq!(drain(&mut queue), 2);
}

#[test]
fn receivers_that_have_not_proved_themselves_hold_at_most_half_of_all_places() {
    let mut queue = Queue::new(PLACES);
    for company in 1..=1_000 {
        let webhook = WebhookId::new(at());
        queue.push(held(company, webhook));
    }
    let hanging = std::iter::from_fn(|| queue.pop()).count();
    assert_eq!(hanging, PLACES.slow());
    assert_eq!(queue.sizes(), (1_000 - PLACES.slow(), PLACES.slow()));
}

#[test]
fn a_proven_receiver_goes_on_while_slow_ones_fill_their_half() {
    let mut queue = Queue::new(PLACES);
    let healthy = WebhookId::new(at());
    queue.push(held(1, healthy));
    queue.pop().unwrap();
    queue.finish(healthy, 0, Pace::Took(Duration::from_millis(1)));
    for company in 2..=1_000 {
        queue.push(held(company, WebhookId::new(at())));
    }
    while queue.pop().is_some() {}
    queue.push(held(1, healthy));
    assert_eq!(queue.pop().unwrap().leased.key.webhook, healthy);
    assert!(queue.pop().is_none());
}

#[test]
fn a_lease_that_was_not_extended_is_let_go() {
    let mut queue = Queue::new(PLACES);
    let webhook = WebhookId::new(at());
    (0..3).for_each(|_| queue.push(held(1, webhook)));
    let later = at() + jiff::SignedDuration::from_secs(90);
    let asked = queue.ending_before(later);
    assert_eq!(asked.len(), 3);
    queue.extended(&asked, &[0, 2], later);
    assert_eq!(queue.sizes(), (2, 0));
    assert_eq!(queue.first_lease_end(), Some(later));
    assert!(queue.ending_before(later).is_empty());
}

#[test]
fn what_waits_for_a_webhook_can_be_taken_out() {
    let mut queue = Queue::new(PLACES);
    let (a, b) = (WebhookId::new(at()), WebhookId::new(at()));
    queue.push(held(1, a));
    queue.push(held(1, b));
    assert_eq!(queue.take(a).len(), 1);
    assert_eq!(queue.pop().unwrap().leased.key.webhook, b);
    assert!(queue.pop().is_none());
}

#[test]
fn payloads_held_are_bounded_in_bytes_until_their_attempts_are_over() {
    let mut queue = Queue::new(PLACES);
    let half = |webhook| {
        let mut held = held(1, webhook);
        let event = Arc::make_mut(&mut held.event);
        event.data = Some(" ".repeat(MAX_HELD_BYTES / 4));
        event.previous = event.data.clone();
        held
    };
    let (first, second) = (WebhookId::new(at()), WebhookId::new(at()));
    queue.push(half(first));
    assert_eq!(queue.room_in_bytes(), MAX_HELD_BYTES / 2);
    assert!(queue.room() > 0);
    queue.push(half(second));
    assert_eq!((queue.room(), queue.room_in_bytes()), (0, 0));
    let out = queue.pop().unwrap();
    assert_eq!(queue.room(), 0, "it is on the wire, and held still");
    queue.finish(out.leased.key.webhook, out.bytes(), Pace::Unsent);
    assert_eq!(queue.room_in_bytes(), MAX_HELD_BYTES / 2);
}

#[test]
fn what_is_claimed_for_receivers_that_hang_leaves_half_of_the_room_to_those_that_answer() {
    let mut queue = Queue::new(PLACES);
    let healthy = WebhookId::new(at());
    queue.push(held(1, healthy));
    queue.pop().unwrap();
    queue.finish(healthy, 0, Pace::Took(Duration::from_millis(1)));
    let mut claimed = 0;
    for company in 2..10_000 {
        let hanging = WebhookId::new(at());
        let room = queue.room_for(hanging);
        assert!(room <= PLACES.per_webhook);
        (0..room).for_each(|_| queue.push(held(company, hanging)));
        claimed += room;
    }
    assert_eq!(claimed, MAX_UNPROVEN_HELD);
    assert_eq!(queue.room_for(WebhookId::new(at())), 0);
    assert_eq!(queue.room_for(healthy), MAX_HELD_PER_WEBHOOK);
    assert_eq!(queue.room(), MAX_HELD - MAX_UNPROVEN_HELD);
    assert_eq!(queue.full().len(), MAX_UNPROVEN_HELD / PLACES.per_webhook);
}

#[test]
fn a_receiver_that_answers_takes_its_deliveries_out_of_the_share_of_the_slow() {
    let mut queue = Queue::new(PLACES);
    let webhook = WebhookId::new(at());
    (0..4).for_each(|_| queue.push(held(1, webhook)));
    assert_eq!((queue.unproven_held, queue.room_for(webhook)), (4, 4));
    queue.pop().unwrap();
    queue.pop().unwrap();
    queue.finish(webhook, 0, Pace::Took(Duration::ZERO));
    assert_eq!(
        (queue.unproven_held, queue.room_for(webhook)),
        (0, MAX_HELD_PER_WEBHOOK - 3)
    );
    queue.finish(webhook, 0, Pace::TimedOut);
    assert_eq!(queue.unproven_held, 2);
    queue.take(webhook);
    assert_eq!((queue.unproven_held, queue.held), (0, 0));
}
