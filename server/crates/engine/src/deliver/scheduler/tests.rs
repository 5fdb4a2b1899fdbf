use super::*;
use tenterhook_model::delivery::Lease;
use tenterhook_model::event::ChangeSource;
use tenterhook_model::ids::{EventId, Lane, UserId};
use tenterhook_model::webhook::EventAction;

const PLACES: Places = Places {
    total: 512,
    per_webhook: 8,
    per_host: 12,
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
        queue.push(held(1, a), None);
        queue.push(held(1, b), None);
    }
    queue.push(held(2, c), None);
    let order: Vec<WebhookId> = (0..5).map(|_| queue.pop().unwrap().leased.key.webhook).collect();
    assert_eq!(order, [a, c, b, a, b]);
}

#[test]
fn a_webhook_has_at_most_its_share_in_flight_and_in_memory() {
    let mut queue = Queue::new(PLACES);
    let webhook = WebhookId::new(at());
    queue.push(held(1, webhook), None);
    queue.pop().unwrap();
    queue.finish(webhook, 0, Pace::Took(Duration::ZERO));
    for _ in 0..MAX_HELD_PER_WEBHOOK {
        assert!(queue.room_for(webhook) > 0);
        queue.push(held(1, webhook), None);
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
fn a_webhook_has_at_most_its_share_of_what_is_not_settled() {
    let mut queue = Queue::new(PLACES);
    let webhook = WebhookId::new(at());
    for _ in 0..=MAX_UNSETTLED_PER_WEBHOOK {
        queue.push(held(1, webhook), None);
    }
    for _ in 0..MAX_UNSETTLED_PER_WEBHOOK {
        queue.pop().unwrap();
        queue.begin(webhook);
        queue.finish(webhook, 0, Pace::Took(Duration::ZERO));
    }
    assert!(queue.pop().is_none());
    queue.settle(webhook);
    assert!(queue.pop().is_some());
}

#[test]
fn time_outs_halve_the_share_and_answers_bring_it_back() {
    let mut queue = Queue::new(PLACES);
    let webhook = WebhookId::new(at());
    (0..64).for_each(|_| queue.push(held(1, webhook), None));
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
        queue.push(held(company, webhook), None);
    }
    let hanging = std::iter::from_fn(|| queue.pop()).count();
    assert_eq!(hanging, PLACES.slow());
    assert_eq!(queue.sizes(), (1_000 - PLACES.slow(), PLACES.slow()));
}

#[test]
fn a_proven_receiver_goes_on_while_slow_ones_fill_their_half() {
    let mut queue = Queue::new(PLACES);
    let healthy = WebhookId::new(at());
    queue.push(held(1, healthy), None);
    queue.pop().unwrap();
    queue.finish(healthy, 0, Pace::Took(Duration::from_millis(1)));
    for company in 2..=1_000 {
        queue.push(held(company, WebhookId::new(at())), None);
    }
    while queue.pop().is_some() {}
    queue.push(held(1, healthy), None);
    assert_eq!(queue.pop().unwrap().leased.key.webhook, healthy);
    assert!(queue.pop().is_none());
}

fn host(name: &str) -> Option<Host> {
    Some(name.into())
}

/// Makes a webhook respond fast once.
fn prove(queue: &mut Queue, company: i64, webhook: WebhookId) {
    queue.push(held(company, webhook), None);
    assert_eq!(start(queue), [webhook]);
    queue.finish(webhook, 0, Pace::Took(Duration::ZERO));
}

/// Starts all attempts that may start. Returns their webhooks.
fn start(queue: &mut Queue) -> Vec<WebhookId> {
    std::iter::from_fn(|| queue.pop())
        .map(|held| held.leased.key.webhook)
        .collect()
}

#[test]
fn a_host_has_at_most_its_share_in_flight_whoever_leads_there() {
    let mut queue = Queue::new(PLACES);
    let webhooks: Vec<WebhookId> = (0..20).map(|_| WebhookId::new(at())).collect();
    for (company, webhook) in (1..).zip(&webhooks) {
        prove(&mut queue, company, *webhook);
    }
    for (company, webhook) in (1..).zip(&webhooks) {
        (0..4).for_each(|_| queue.push(held(company, *webhook), host("shared:443")));
    }
    let elsewhere = WebhookId::new(at());
    queue.push(held(1, elsewhere), host("other:443"));
    let unknown = WebhookId::new(at());
    queue.push(held(1, unknown), None);

    let mut started = start(&mut queue);
    assert_eq!(started.len(), PLACES.per_host + 2);
    assert!(started.contains(&elsewhere) && started.contains(&unknown));
    // One place becomes free, and one attempt starts.
    started.retain(|webhook| webhooks.contains(webhook));
    let mut total = started.len();
    while let Some(webhook) = started.pop() {
        queue.finish(webhook, 0, Pace::Took(Duration::ZERO));
        let next = start(&mut queue);
        assert!(next.len() <= 1);
        total += next.len();
        started.extend(next);
    }
    assert_eq!(total, 4 * webhooks.len(), "nobody is forgotten");
}

#[test]
fn those_that_hang_have_at_most_half_of_a_host_and_the_others_go_on() {
    let mut queue = Queue::new(PLACES);
    let (hanging, healthy): (Vec<_>, Vec<_>) = (0..60)
        .map(|_| WebhookId::new(at()))
        .enumerate()
        .partition(|(place, _)| *place < 40);
    for (_, webhook) in &healthy {
        prove(&mut queue, 2, *webhook);
    }
    for (_, webhook) in hanging.iter().chain(&healthy) {
        queue.push(held(1, *webhook), host("shared:443"));
    }
    let mut started = start(&mut queue);
    assert_eq!(started.len(), PLACES.per_host);
    let is_healthy = |id: &WebhookId| healthy.iter().any(|(_, healthy)| healthy == id);
    assert_eq!(
        started.iter().filter(|id| is_healthy(id)).count(),
        PLACES.per_host / 2
    );
    // Hanging receivers keep their places, and all others get a turn in the rest.
    let mut answered = 0;
    while let Some(place) = started.iter().position(is_healthy) {
        queue.finish(started.remove(place), 0, Pace::Took(Duration::ZERO));
        answered += 1;
        started.extend(start(&mut queue));
    }
    assert_eq!(answered, healthy.len());
    assert_eq!(started.len(), PLACES.per_host / 2);
    // Once they have timed out, all hanging receivers get a turn.
    let mut timed_out = 0;
    while let Some(webhook) = started.pop() {
        queue.finish(webhook, 0, Pace::TimedOut);
        timed_out += 1;
        started.extend(start(&mut queue));
    }
    assert_eq!(timed_out, hanging.len(), "nobody is forgotten");
}

#[test]
fn one_turned_away_by_its_host_that_has_answered_comes_back_as_proven() {
    let mut queue = Queue::new(PLACES);
    let answers = WebhookId::new(at());
    queue.push(held(1, answers), host("shared:443"));
    assert_eq!(start(&mut queue), [answers]);
    for _ in 1..PLACES.per_host / 2 {
        queue.push(held(2, WebhookId::new(at())), host("shared:443"));
    }
    assert_eq!(start(&mut queue).len(), PLACES.per_host / 2 - 1);
    // Other webhooks wait before it for the places that the hanging ones leave.
    (0..20).for_each(|_| queue.push(held(3, WebhookId::new(at())), host("shared:443")));
    (0..3).for_each(|_| queue.push(held(1, answers), host("shared:443")));
    assert!(start(&mut queue).is_empty());
    queue.finish(answers, 0, Pace::Took(Duration::ZERO));
    let started = start(&mut queue);
    assert_eq!(started.iter().filter(|id| **id == answers).count(), 3);
}

#[test]
fn a_webhook_whose_deliveries_are_taken_out_keeps_nobody_from_its_host() {
    let mut queue = Queue::new(PLACES);
    let webhooks: Vec<WebhookId> = (0..40).map(|_| WebhookId::new(at())).collect();
    for (company, webhook) in (1..).zip(&webhooks) {
        queue.push(held(company, *webhook), host("shared:443"));
    }
    let started = start(&mut queue);
    assert_eq!(started.len(), PLACES.per_host / 2);
    let waiting: Vec<WebhookId> = webhooks.into_iter().filter(|id| !started.contains(id)).collect();
    let (last, others) = waiting.split_last().unwrap();
    others.iter().for_each(|webhook| drop(queue.take(*webhook)));
    for webhook in started {
        queue.finish(webhook, 0, Pace::TimedOut);
    }
    assert_eq!(start(&mut queue), [*last]);
}

#[test]
fn a_webhook_that_leads_elsewhere_now_gives_its_places_back_where_it_took_them() {
    let mut queue = Queue::new(PLACES);
    let (moving, other) = (WebhookId::new(at()), WebhookId::new(at()));
    queue.push(held(1, moving), host("old:443"));
    assert_eq!(start(&mut queue), [moving]);
    queue.push(held(1, moving), host("new:443"));
    assert_eq!(start(&mut queue), [moving]);
    queue.finish(moving, 0, Pace::Took(Duration::ZERO));
    queue.finish(moving, 0, Pace::Took(Duration::ZERO));
    // The full number of requests, and no more, may go to the host that it has left.
    let others = [other, WebhookId::new(at())];
    for webhook in others {
        prove(&mut queue, 2, webhook);
    }
    for webhook in others {
        (0..20).for_each(|_| queue.push(held(2, webhook), host("old:443")));
    }
    assert_eq!(start(&mut queue).len(), PLACES.per_host);
}

#[test]
fn a_lease_that_was_not_extended_is_let_go() {
    let mut queue = Queue::new(PLACES);
    let webhook = WebhookId::new(at());
    (0..3).for_each(|_| queue.push(held(1, webhook), None));
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
    queue.push(held(1, a), None);
    queue.push(held(1, b), None);
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
        event.data = Some(" ".repeat(MAX_HELD_BYTES / 4).into());
        event.previous = event.data.clone();
        held
    };
    let (first, second) = (WebhookId::new(at()), WebhookId::new(at()));
    queue.push(half(first), None);
    assert_eq!(queue.room_in_bytes(), MAX_HELD_BYTES / 2);
    assert!(queue.room() > 0);
    queue.push(half(second), None);
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
    queue.push(held(1, healthy), None);
    queue.pop().unwrap();
    queue.finish(healthy, 0, Pace::Took(Duration::from_millis(1)));
    let claim = |queue: &mut Queue, company| {
        let hanging = WebhookId::new(at());
        let room = queue.room_for(hanging);
        (0..room).for_each(|_| queue.push(held(company, hanging), None));
        room
    };
    let mut claimed = Vec::new();
    for company in 2..10_000 {
        claimed.push(claim(&mut queue, company));
    }
    let (many, one) = (PLACES.per_webhook, MAX_UNPROVEN_HELD / 2 / PLACES.per_webhook);
    assert_eq!(claimed.iter().sum::<usize>(), MAX_UNPROVEN_HELD);
    // Up to half of the share, as many as may be in flight; then one each, so that many are tried.
    assert_eq!(claimed.iter().filter(|room| **room == many).count(), one + 1);
    assert!(claimed.iter().all(|room| [many, 1, 0].contains(room)));
    assert_eq!(queue.room_for(WebhookId::new(at())), 0);
    assert_eq!(queue.room_for(healthy), MAX_HELD_PER_WEBHOOK);
    assert_eq!(queue.room(), MAX_HELD - MAX_UNPROVEN_HELD);
    assert_eq!(queue.full().len(), one + 1);
    // A webhook that has timed out leaves the share of unknown ones.
    let hanging = queue.pop().unwrap().leased.key.webhook;
    queue.finish(hanging, 0, Pace::TimedOut);
    assert!(queue.room_for(WebhookId::new(at())) > 0);
}

#[test]
fn of_those_that_are_not_proven_whoever_nobody_knows_goes_first() {
    let mut queue = Queue::new(PLACES);
    let mut hanging: Vec<WebhookId> = (0..PLACES.slow()).map(|_| WebhookId::new(at())).collect();
    hanging.sort_unstable();
    for (company, webhook) in (1..).zip(&hanging) {
        (0..8).for_each(|_| queue.push(held(company, *webhook), None));
    }
    let mut first = start(&mut queue);
    first.sort_unstable();
    assert_eq!(first, hanging, "each once, before any has a second place");
    let new = WebhookId::new(at());
    queue.push(held(1_000, new), None);
    assert!(start(&mut queue).is_empty());
    queue.finish(hanging[0], 0, Pace::TimedOut);
    assert_eq!(start(&mut queue), [new]);
}

#[test]
fn one_that_has_answered_no_longer_waits_behind_those_that_hang() {
    let mut queue = Queue::new(PLACES);
    let new = WebhookId::new(at());
    (0..3).for_each(|_| queue.push(held(1, new), None));
    for company in 2..1_000 {
        queue.push(held(company, WebhookId::new(at())), None);
    }
    let started = start(&mut queue);
    assert_eq!(started.iter().filter(|webhook| **webhook == new).count(), 1);
    queue.finish(new, 0, Pace::Took(Duration::ZERO));
    // Its own place goes to one of the others; it has the other half's places.
    let next = start(&mut queue);
    assert_eq!(next.iter().filter(|webhook| **webhook == new).count(), 2);
}

#[test]
fn a_receiver_that_answers_takes_its_deliveries_out_of_the_share_of_the_slow() {
    let mut queue = Queue::new(PLACES);
    let webhook = WebhookId::new(at());
    (0..4).for_each(|_| queue.push(held(1, webhook), None));
    assert_eq!((queue.unproven_held.unknown, queue.room_for(webhook)), (4, 4));
    queue.pop().unwrap();
    queue.pop().unwrap();
    queue.finish(webhook, 0, Pace::Took(Duration::ZERO));
    assert_eq!(
        (queue.unproven_held.unknown, queue.room_for(webhook)),
        (0, MAX_HELD_PER_WEBHOOK - 3)
    );
    queue.finish(webhook, 0, Pace::TimedOut);
    assert_eq!(queue.unproven_held.slow, 2);
    queue.take(webhook);
    assert_eq!((queue.unproven_held.slow, queue.held), (0, 0));
}
