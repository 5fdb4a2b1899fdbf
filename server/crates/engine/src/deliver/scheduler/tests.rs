use jiff::Timestamp;

use super::*;
use tenterhook_model::delivery::Lease;
use tenterhook_model::event::ChangeSource;
use tenterhook_model::ids::{CompanyId, DeliveryKey, EventId, Lane, UserId};
use tenterhook_model::webhook::EventAction;

const LIMITS: RequestLimits = RequestLimits {
    total: 512,
    per_webhook: 8,
    per_host: 12,
};

fn at() -> Timestamp {
    "2026-11-23T00:00:00Z".parse().unwrap()
}

/// A delivery of this company for this webhook.
pub(crate) fn held(company: i64, webhook: WebhookId) -> HeldDelivery {
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
    HeldDelivery {
        leased,
        event: Arc::new(event),
        node: NodeId(1),
    }
}

#[test]
fn companies_take_turns_and_so_do_their_webhooks() {
    let mut scheduler = Scheduler::new(LIMITS);
    let (a, b, c) = (WebhookId::new(at()), WebhookId::new(at()), WebhookId::new(at()));
    for _ in 0..4 {
        scheduler.push(held(1, a), None);
        scheduler.push(held(1, b), None);
    }
    scheduler.push(held(2, c), None);
    let order: Vec<WebhookId> = (0..5)
        .map(|_| scheduler.pop().unwrap().leased.key.webhook)
        .collect();
    assert_eq!(order, [a, c, b, a, b]);
}

#[test]
fn a_webhook_has_at_most_its_share_in_flight_and_in_memory() {
    let mut scheduler = Scheduler::new(LIMITS);
    let webhook = WebhookId::new(at());
    scheduler.push(held(1, webhook), None);
    scheduler.pop().unwrap();
    scheduler.finish(webhook, 0, AttemptSpeed::Took(Duration::ZERO));
    for _ in 0..MAX_HELD_PER_WEBHOOK {
        assert!(scheduler.room_for(webhook) > 0);
        scheduler.push(held(1, webhook), None);
    }
    assert_eq!(scheduler.room_for(webhook), 0);
    assert_eq!(scheduler.full(), [webhook]);
    for _ in 0..LIMITS.per_webhook {
        assert!(scheduler.pop().is_some());
    }
    assert!(scheduler.pop().is_none());
    scheduler.finish(webhook, 0, AttemptSpeed::Took(Duration::ZERO));
    assert!(scheduler.pop().is_some());
    assert!(scheduler.pop().is_none());
}

#[test]
fn unsettled_results_per_webhook_are_bounded() {
    let mut scheduler = Scheduler::new(LIMITS);
    let webhook = WebhookId::new(at());
    for _ in 0..=MAX_UNSETTLED_PER_WEBHOOK {
        scheduler.push(held(1, webhook), None);
    }
    for _ in 0..MAX_UNSETTLED_PER_WEBHOOK {
        scheduler.pop().unwrap();
        scheduler.begin(webhook);
        scheduler.finish(webhook, 0, AttemptSpeed::Took(Duration::ZERO));
    }
    assert!(scheduler.pop().is_none());
    scheduler.settle(webhook);
    assert!(scheduler.pop().is_some());
}

#[test]
fn time_outs_halve_the_share_and_responses_restore_it() {
    let mut scheduler = Scheduler::new(LIMITS);
    let webhook = WebhookId::new(at());
    (0..64).for_each(|_| scheduler.push(held(1, webhook), None));
    let drain = |scheduler: &mut Scheduler| std::iter::from_fn(|| scheduler.pop()).count();
    assert_eq!(drain(&mut scheduler), 8);
    (0..8).for_each(|_| scheduler.finish(webhook, 0, AttemptSpeed::TimedOut));
    assert_eq!(drain(&mut scheduler), 1);
    scheduler.finish(webhook, 0, AttemptSpeed::Took(Duration::ZERO));
    assert_eq!(drain(&mut scheduler), 2);
}

#[test]
fn unproven_receivers_use_at_most_half_of_all_places() {
    let mut scheduler = Scheduler::new(LIMITS);
    for company in 1..=1_000 {
        let webhook = WebhookId::new(at());
        scheduler.push(held(company, webhook), None);
    }
    let hanging = std::iter::from_fn(|| scheduler.pop()).count();
    assert_eq!(hanging, LIMITS.slow());
    assert_eq!(scheduler.sizes(), (1_000 - LIMITS.slow(), LIMITS.slow()));
}

#[test]
fn slow_receivers_do_not_delay_a_proven_one() {
    let mut scheduler = Scheduler::new(LIMITS);
    let healthy = WebhookId::new(at());
    scheduler.push(held(1, healthy), None);
    scheduler.pop().unwrap();
    scheduler.finish(healthy, 0, AttemptSpeed::Took(Duration::from_millis(1)));
    for company in 2..=1_000 {
        scheduler.push(held(company, WebhookId::new(at())), None);
    }
    while scheduler.pop().is_some() {}
    scheduler.push(held(1, healthy), None);
    assert_eq!(scheduler.pop().unwrap().leased.key.webhook, healthy);
    assert!(scheduler.pop().is_none());
}

fn host(name: &str) -> Option<Host> {
    Some(name.into())
}

/// Makes a webhook respond fast once.
fn prove(scheduler: &mut Scheduler, company: i64, webhook: WebhookId) {
    scheduler.push(held(company, webhook), None);
    assert_eq!(start(scheduler), [webhook]);
    scheduler.finish(webhook, 0, AttemptSpeed::Took(Duration::ZERO));
}

/// Starts all attempts that may start. Returns their webhooks.
fn start(scheduler: &mut Scheduler) -> Vec<WebhookId> {
    std::iter::from_fn(|| scheduler.pop())
        .map(|held| held.leased.key.webhook)
        .collect()
}

#[test]
fn requests_per_host_are_bounded_across_webhooks() {
    let mut scheduler = Scheduler::new(LIMITS);
    let webhooks: Vec<WebhookId> = (0..20).map(|_| WebhookId::new(at())).collect();
    for (company, webhook) in (1..).zip(&webhooks) {
        prove(&mut scheduler, company, *webhook);
    }
    for (company, webhook) in (1..).zip(&webhooks) {
        (0..4).for_each(|_| scheduler.push(held(company, *webhook), host("shared:443")));
    }
    let elsewhere = WebhookId::new(at());
    scheduler.push(held(1, elsewhere), host("other:443"));
    let unknown = WebhookId::new(at());
    scheduler.push(held(1, unknown), None);

    let mut started = start(&mut scheduler);
    assert_eq!(started.len(), LIMITS.per_host + 2);
    assert!(started.contains(&elsewhere) && started.contains(&unknown));
    // One place becomes free, and one attempt starts.
    started.retain(|webhook| webhooks.contains(webhook));
    let mut total = started.len();
    while let Some(webhook) = started.pop() {
        scheduler.finish(webhook, 0, AttemptSpeed::Took(Duration::ZERO));
        let next = start(&mut scheduler);
        assert!(next.len() <= 1);
        total += next.len();
        started.extend(next);
    }
    assert_eq!(total, 4 * webhooks.len(), "nobody is forgotten");
}

#[test]
fn hanging_webhooks_use_at_most_half_of_a_host() {
    let mut scheduler = Scheduler::new(LIMITS);
    let (hanging, healthy): (Vec<_>, Vec<_>) = (0..60)
        .map(|_| WebhookId::new(at()))
        .enumerate()
        .partition(|(place, _)| *place < 40);
    for (_, webhook) in &healthy {
        prove(&mut scheduler, 2, *webhook);
    }
    for (_, webhook) in hanging.iter().chain(&healthy) {
        scheduler.push(held(1, *webhook), host("shared:443"));
    }
    let mut started = start(&mut scheduler);
    assert_eq!(started.len(), LIMITS.per_host);
    let is_healthy = |id: &WebhookId| healthy.iter().any(|(_, healthy)| healthy == id);
    assert_eq!(
        started.iter().filter(|id| is_healthy(id)).count(),
        LIMITS.per_host / 2
    );
    // Hanging receivers keep their places, and all others get a turn in the rest.
    let mut answered = 0;
    while let Some(place) = started.iter().position(is_healthy) {
        scheduler.finish(started.remove(place), 0, AttemptSpeed::Took(Duration::ZERO));
        answered += 1;
        started.extend(start(&mut scheduler));
    }
    assert_eq!(answered, healthy.len());
    assert_eq!(started.len(), LIMITS.per_host / 2);
    // Once they have timed out, all hanging receivers get a turn.
    let mut timed_out = 0;
    while let Some(webhook) = started.pop() {
        scheduler.finish(webhook, 0, AttemptSpeed::TimedOut);
        timed_out += 1;
        started.extend(start(&mut scheduler));
    }
    assert_eq!(timed_out, hanging.len(), "nobody is forgotten");
}

#[test]
fn a_webhook_that_waits_for_its_host_can_become_proven() {
    let mut scheduler = Scheduler::new(LIMITS);
    let answers = WebhookId::new(at());
    scheduler.push(held(1, answers), host("shared:443"));
    assert_eq!(start(&mut scheduler), [answers]);
    for _ in 1..LIMITS.per_host / 2 {
        scheduler.push(held(2, WebhookId::new(at())), host("shared:443"));
    }
    assert_eq!(start(&mut scheduler).len(), LIMITS.per_host / 2 - 1);
    // Other webhooks wait before it for the places that the hanging ones leave.
    (0..20).for_each(|_| scheduler.push(held(3, WebhookId::new(at())), host("shared:443")));
    (0..3).for_each(|_| scheduler.push(held(1, answers), host("shared:443")));
    assert!(start(&mut scheduler).is_empty());
    scheduler.finish(answers, 0, AttemptSpeed::Took(Duration::ZERO));
    let started = start(&mut scheduler);
    assert_eq!(started.iter().filter(|id| **id == answers).count(), 3);
}

#[test]
fn a_webhook_without_deliveries_blocks_nobody_at_its_host() {
    let mut scheduler = Scheduler::new(LIMITS);
    let webhooks: Vec<WebhookId> = (0..40).map(|_| WebhookId::new(at())).collect();
    for (company, webhook) in (1..).zip(&webhooks) {
        scheduler.push(held(company, *webhook), host("shared:443"));
    }
    let started = start(&mut scheduler);
    assert_eq!(started.len(), LIMITS.per_host / 2);
    let waiting: Vec<WebhookId> = webhooks.into_iter().filter(|id| !started.contains(id)).collect();
    let (last, others) = waiting.split_last().unwrap();
    others.iter().for_each(|webhook| drop(scheduler.take(*webhook)));
    for webhook in started {
        scheduler.finish(webhook, 0, AttemptSpeed::TimedOut);
    }
    assert_eq!(start(&mut scheduler), [*last]);
}

#[test]
fn a_moved_webhook_frees_its_places_at_the_old_host() {
    let mut scheduler = Scheduler::new(LIMITS);
    let (moving, other) = (WebhookId::new(at()), WebhookId::new(at()));
    scheduler.push(held(1, moving), host("old:443"));
    assert_eq!(start(&mut scheduler), [moving]);
    scheduler.push(held(1, moving), host("new:443"));
    assert_eq!(start(&mut scheduler), [moving]);
    scheduler.finish(moving, 0, AttemptSpeed::Took(Duration::ZERO));
    scheduler.finish(moving, 0, AttemptSpeed::Took(Duration::ZERO));
    // The full number of requests, and no more, may go to the host that it has left.
    let others = [other, WebhookId::new(at())];
    for webhook in others {
        prove(&mut scheduler, 2, webhook);
    }
    for webhook in others {
        (0..20).for_each(|_| scheduler.push(held(2, webhook), host("old:443")));
    }
    assert_eq!(start(&mut scheduler).len(), LIMITS.per_host);
}

#[test]
fn a_webhook_that_moves_does_not_wait_for_the_host_that_deferred_it() {
    let mut scheduler = Scheduler::new(LIMITS);
    for _ in 0..LIMITS.per_host / 2 {
        scheduler.push(held(1, WebhookId::new(at())), host("old:443"));
    }
    let hanging = start(&mut scheduler);
    assert_eq!(hanging.len(), LIMITS.per_host / 2);
    // As many as a host readmits when a place is free, and one more.
    let moving: Vec<WebhookId> = (0..4).map(|_| WebhookId::new(at())).collect();
    let staying = WebhookId::new(at());
    for webhook in moving.iter().chain([&staying]) {
        scheduler.push(held(2, *webhook), host("old:443"));
        assert!(start(&mut scheduler).is_empty());
    }
    for (n, webhook) in moving.iter().enumerate() {
        scheduler.push(held(2, *webhook), host(&format!("new-{n}:443")));
        assert_eq!(start(&mut scheduler), [*webhook; 2]);
    }
    // The host that they have left does not readmit them in place of others.
    scheduler.finish(hanging[0], 0, AttemptSpeed::TimedOut);
    assert_eq!(start(&mut scheduler), [staying]);
}

#[test]
fn a_webhook_that_moves_has_an_untried_receiver() {
    let mut scheduler = Scheduler::new(LIMITS);
    let webhook = WebhookId::new(at());
    scheduler.push(held(1, webhook), host("old:443"));
    assert_eq!(start(&mut scheduler), [webhook]);
    scheduler.finish(webhook, 0, AttemptSpeed::TimedOut);
    let seen = |scheduler: &Scheduler| {
        let held = &scheduler.unproven_held;
        (held.unknown, held.slow, scheduler.room_for(webhook))
    };
    scheduler.push(held(1, webhook), host("old:443"));
    assert_eq!(seen(&scheduler), (0, 1, LIMITS.per_webhook / 2 - 1));
    scheduler.push(held(1, webhook), host("new:443"));
    assert_eq!(seen(&scheduler), (2, 0, LIMITS.per_webhook - 2));
    // An unknown host says nothing about the receiver.
    scheduler.push(held(1, webhook), None);
    assert_eq!(start(&mut scheduler), [webhook; 3]);
    (0..3).for_each(|_| scheduler.finish(webhook, 0, AttemptSpeed::TimedOut));
    scheduler.push(held(1, webhook), host("new:443"));
    assert_eq!(seen(&scheduler), (0, 1, 0));
}

#[test]
fn a_delivery_whose_lease_was_not_extended_is_dropped() {
    let mut scheduler = Scheduler::new(LIMITS);
    let webhook = WebhookId::new(at());
    (0..3).for_each(|_| scheduler.push(held(1, webhook), None));
    let later = at() + jiff::SignedDuration::from_secs(90);
    let asked = scheduler.ending_before(later);
    assert_eq!(asked.len(), 3);
    scheduler.extended(&asked, &[0, 2], later);
    assert_eq!(scheduler.sizes(), (2, 0));
    assert_eq!(scheduler.first_lease_end(), Some(later));
    assert!(scheduler.ending_before(later).is_empty());
}

#[test]
fn waiting_deliveries_of_a_webhook_can_be_taken_out() {
    let mut scheduler = Scheduler::new(LIMITS);
    let (a, b) = (WebhookId::new(at()), WebhookId::new(at()));
    scheduler.push(held(1, a), None);
    scheduler.push(held(1, b), None);
    assert_eq!(scheduler.take(a).len(), 1);
    assert_eq!(scheduler.pop().unwrap().leased.key.webhook, b);
    assert!(scheduler.pop().is_none());
}

#[test]
fn held_payloads_are_bounded_in_bytes_until_attempts_end() {
    let mut scheduler = Scheduler::new(LIMITS);
    let half = |webhook| {
        let mut held = held(1, webhook);
        let event = Arc::make_mut(&mut held.event);
        event.data = Some(" ".repeat(MAX_HELD_BYTES / 4).into());
        event.previous = event.data.clone();
        held
    };
    let (first, second) = (WebhookId::new(at()), WebhookId::new(at()));
    scheduler.push(half(first), None);
    assert_eq!(scheduler.room_in_bytes(), MAX_HELD_BYTES / 2);
    assert!(scheduler.room() > 0);
    scheduler.push(half(second), None);
    assert_eq!((scheduler.room(), scheduler.room_in_bytes()), (0, 0));
    let out = scheduler.pop().unwrap();
    assert_eq!(scheduler.room(), 0, "it is on the wire, and held still");
    scheduler.finish(out.leased.key.webhook, out.bytes(), AttemptSpeed::Unsent);
    assert_eq!(scheduler.room_in_bytes(), MAX_HELD_BYTES / 2);
}

#[test]
fn claims_for_hanging_receivers_use_at_most_half_of_the_room() {
    let mut scheduler = Scheduler::new(LIMITS);
    let healthy = WebhookId::new(at());
    scheduler.push(held(1, healthy), None);
    scheduler.pop().unwrap();
    scheduler.finish(healthy, 0, AttemptSpeed::Took(Duration::from_millis(1)));
    let claim = |scheduler: &mut Scheduler, company| {
        let hanging = WebhookId::new(at());
        let room = scheduler.room_for(hanging);
        (0..room).for_each(|_| scheduler.push(held(company, hanging), None));
        room
    };
    let mut claimed = Vec::new();
    for company in 2..10_000 {
        claimed.push(claim(&mut scheduler, company));
    }
    let (many, one) = (LIMITS.per_webhook, MAX_UNPROVEN_HELD / 2 / LIMITS.per_webhook);
    assert_eq!(claimed.iter().sum::<usize>(), MAX_UNPROVEN_HELD);
    // Up to half of the share, as many as may be in flight; then one each, so that many are tried.
    assert_eq!(claimed.iter().filter(|room| **room == many).count(), one + 1);
    assert!(claimed.iter().all(|room| [many, 1, 0].contains(room)));
    assert_eq!(scheduler.room_for(WebhookId::new(at())), 0);
    assert_eq!(scheduler.room_for(healthy), MAX_HELD_PER_WEBHOOK);
    assert_eq!(scheduler.room(), MAX_HELD - MAX_UNPROVEN_HELD);
    assert_eq!(scheduler.full().len(), one + 1);
    // A webhook that has timed out leaves the share of unknown ones.
    let hanging = scheduler.pop().unwrap().leased.key.webhook;
    scheduler.finish(hanging, 0, AttemptSpeed::TimedOut);
    assert!(scheduler.room_for(WebhookId::new(at())) > 0);
}

#[test]
fn unknown_receivers_go_before_known_slow_ones() {
    let mut scheduler = Scheduler::new(LIMITS);
    let mut hanging: Vec<WebhookId> = (0..LIMITS.slow()).map(|_| WebhookId::new(at())).collect();
    hanging.sort_unstable();
    for (company, webhook) in (1..).zip(&hanging) {
        (0..8).for_each(|_| scheduler.push(held(company, *webhook), None));
    }
    let mut first = start(&mut scheduler);
    first.sort_unstable();
    assert_eq!(first, hanging, "each once, before any has a second place");
    let new = WebhookId::new(at());
    scheduler.push(held(1_000, new), None);
    assert!(start(&mut scheduler).is_empty());
    scheduler.finish(hanging[0], 0, AttemptSpeed::TimedOut);
    assert_eq!(start(&mut scheduler), [new]);
}

#[test]
fn a_receiver_that_responded_no_longer_waits_behind_hanging_ones() {
    let mut scheduler = Scheduler::new(LIMITS);
    let new = WebhookId::new(at());
    (0..3).for_each(|_| scheduler.push(held(1, new), None));
    for company in 2..1_000 {
        scheduler.push(held(company, WebhookId::new(at())), None);
    }
    let started = start(&mut scheduler);
    assert_eq!(started.iter().filter(|webhook| **webhook == new).count(), 1);
    scheduler.finish(new, 0, AttemptSpeed::Took(Duration::ZERO));
    // Its own place goes to one of the others; it has the other half's places.
    let next = start(&mut scheduler);
    assert_eq!(next.iter().filter(|webhook| **webhook == new).count(), 2);
}

#[test]
fn a_response_moves_held_deliveries_out_of_the_slow_share() {
    let mut scheduler = Scheduler::new(LIMITS);
    let webhook = WebhookId::new(at());
    (0..4).for_each(|_| scheduler.push(held(1, webhook), None));
    assert_eq!(
        (scheduler.unproven_held.unknown, scheduler.room_for(webhook)),
        (4, 4)
    );
    scheduler.pop().unwrap();
    scheduler.pop().unwrap();
    scheduler.finish(webhook, 0, AttemptSpeed::Took(Duration::ZERO));
    assert_eq!(
        (scheduler.unproven_held.unknown, scheduler.room_for(webhook)),
        (0, MAX_HELD_PER_WEBHOOK - 3)
    );
    scheduler.finish(webhook, 0, AttemptSpeed::TimedOut);
    assert_eq!(scheduler.unproven_held.slow, 2);
    scheduler.take(webhook);
    assert_eq!((scheduler.unproven_held.slow, scheduler.held), (0, 0));
}
