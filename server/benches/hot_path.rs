//! What a delivery and a request cost without database and network: each part of the hot path separately.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion};
use jiff::{SignedDuration, Timestamp};
use tenterhook_engine::scheduler::{AttemptSpeed, HeldDelivery, Host, RequestLimits, Scheduler};
use tenterhook_graphql_http::document;
use tenterhook_model::delivery::{Lease, Leased};
use tenterhook_model::event::{ChangeSource, Event};
use tenterhook_model::health::Health;
use tenterhook_model::ids::{
    CompanyId, DeliveryKey, EventId, Lane, NodeId, UserId, WebhookId, WebhookNumber,
};
use tenterhook_model::webhook::{EventAction, PayloadVersion, WebhookType};
use tenterhook_policy::health::{Judged, advance, record, verdict, view};
use tenterhook_policy::payload::{Recipient, render};
use tenterhook_policy::retry::next_attempt;
use tenterhook_policy::signing::{SigningSecret, sign};
use tenterhook_settings::policy::PolicySettings;

/// Deliveries that the scheduler holds: as many as a process ever does.
const HELD: usize = 10_000;
/// Webhooks of these deliveries, four of each company.
const WEBHOOKS: usize = 1_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
}

fn company(number: usize) -> CompanyId {
    CompanyId::new(1 + number as i64).expect("small and above 0")
}

fn user() -> UserId {
    UserId::new(11).expect("small and above 0")
}

/// A change of a deal with a body of 1 KB: two states of 500 bytes that differ in one field.
fn event(company: CompanyId) -> Event {
    let state = |title: &str| {
        let notes = "as agreed on the phone; ".repeat(19);
        format!("{{\"id\":8,\"title\":\"{title}\",\"value\":1200,\"notes\":\"{notes}\"}}")
    };
    let id = EventId::new(at(0));
    Event {
        lane: Lane::of(company),
        id,
        company,
        action: EventAction::Change,
        object: "deal".to_owned(),
        object_id: "8".parse().expect("a name"),
        user: user(),
        data: Some(state("A boat").into()),
        previous: Some(state("A canoe").into()),
        permitted: None,
        change_source: ChangeSource::App,
        is_bulk_edit: false,
        merge: None,
        correlation_id: id.to_string(),
        host: None,
        occurred_at: None,
        accepted_at: at(0),
    }
}

fn policy(criterion: &mut Criterion) {
    let settings = PolicySettings::default();
    let mut group = criterion.benchmark_group("policy");
    let judged = |number, succeeded| Judged {
        ended_at: at(1),
        number,
        succeeded,
    };
    group.bench_function("a success is judged", |bencher| {
        let mut health = Health::default();
        bencher.iter(|| record(black_box(&mut health), &judged(1, true), &settings));
    });
    group.bench_function("a failed retry is judged", |bencher| {
        let mut health = Health::default();
        bencher.iter(|| record(black_box(&mut health), &judged(2, false), &settings));
    });
    group.bench_function("ten failed first tries end in a ban", |bencher| {
        let failures = |mut health: Health| {
            for _ in 0..10 {
                black_box(record(&mut health, &judged(1, false), &settings));
            }
            health
        };
        bencher.iter_batched(Health::default, failures, BatchSize::SmallInput);
    });
    group.bench_function("three days of failing pass", |bencher| {
        let failing = || {
            let mut health = Health::default();
            record(&mut health, &judged(1, false), &settings);
            health
        };
        let pass = |mut health: Health| advance(&mut health, at(4 * 86_400), &settings);
        bencher.iter_batched(failing, pass, BatchSize::SmallInput);
    });
    group.bench_function("what to do with a delivery", |bencher| {
        let health = Health::default();
        bencher.iter(|| verdict(black_box(&health), None, None, at(1), at(2), &settings));
    });
    group.bench_function("a webhook's state as people see it", |bencher| {
        let health = Health::default();
        bencher.iter(|| view(black_box(&health), None, None, at(2), &settings));
    });
    group.bench_function("when to try again", |bencher| {
        bencher.iter(|| next_attempt(black_box(1), at(1), &settings));
    });
    group.finish();
}

fn rendering(criterion: &mut Criterion) {
    let (settings, event) = (PolicySettings::default(), event(company(0)));
    let mut group = criterion.benchmark_group("rendering 1 KB");
    for (name, version) in [
        ("version 1", PayloadVersion::V1),
        ("version 2", PayloadVersion::V2),
    ] {
        let recipient = Recipient {
            number: WebhookNumber::new(501).expect("small and above 0"),
            owner: user(),
            kind: WebhookType::General,
            version,
        };
        group.bench_function(name, |bencher| {
            bencher.iter(|| render(black_box(&event), &recipient, 1, &settings));
        });
    }
    group.finish();
}

fn signing(criterion: &mut Criterion) {
    let secrets = [SigningSecret::generate(), SigningSecret::generate()];
    let id = EventId::new(at(0)).to_string();
    let mut group = criterion.benchmark_group("signing");
    for (name, secrets, length) in [
        ("1 KB", &secrets[..1], 1_000),
        ("1 KB with two secrets", &secrets[..], 1_000),
        ("100 KB", &secrets[..1], 100_000),
    ] {
        let body = vec![b'x'; length];
        group.bench_function(name, |bencher| {
            bencher.iter(|| sign(secrets, &id, 1_770_000_000, black_box(&body)));
        });
    }
    group.finish();
}

fn documents(criterion: &mut Criterion) {
    let publish = "mutation($input: PublishEventsInput!) { publishEvents(input: $input) { \
                   events { index event { eventId } deliveryCount duplicate } userErrors { code message path } } }";
    let field = "webhooks(first: 20) { nodes { id number subscriptionUrl health { state } } } ";
    let long = format!("{{ {} }}", field.repeat(50));
    let mut group = criterion.benchmark_group("document");
    for (name, text) in [("a publication", publish), ("4 KB", long.as_str())] {
        assert_eq!(document::check(text), Ok(()), "{name} is within bounds");
        group.bench_function(name, |bencher| bencher.iter(|| document::check(black_box(text))));
    }
    group.finish();
}

fn held(webhook: (CompanyId, WebhookId), event: &Arc<Event>) -> HeldDelivery {
    let (company, webhook) = webhook;
    let lease = Lease {
        token: 1,
        until: at(90),
    };
    let key = DeliveryKey {
        lane: Lane::of(company),
        webhook,
        event: event.id,
        generation: 0,
    };
    HeldDelivery {
        leased: Leased {
            key,
            company,
            attempt: 1,
            due_at: at(0),
            created_at: at(0),
            lease,
        },
        event: Arc::clone(event),
        node: NodeId(1),
    }
}

/// A full queue: a delivery is picked, its attempt ends, and another comes in.
fn scheduler(criterion: &mut Criterion) {
    let webhooks: Vec<(CompanyId, WebhookId)> = (0..WEBHOOKS)
        .map(|place| (company(place / 4), WebhookId::new(at(0))))
        .collect();
    let event = Arc::new(event(company(0)));
    let places = RequestLimits {
        total: 512,
        per_webhook: 8,
        per_host: 64,
    };
    let mut queue = Scheduler::new(places);
    let host =
        |place: usize| -> Option<Host> { Some(format!("receiver-{}.example:443", place % 100).into()) };
    // All have answered before, so that none is held back as unproven.
    for (place, webhook) in webhooks.iter().enumerate() {
        queue.push(held(*webhook, &event), host(place));
        let picked = queue.pop().expect("a place is free");
        queue.finish(
            picked.leased.key.webhook,
            picked.bytes(),
            AttemptSpeed::Took(Duration::from_millis(5)),
        );
    }
    let hosts: Vec<_> = (0..WEBHOOKS).map(host).collect();
    for place in (0..WEBHOOKS).cycle().take(HELD - 1) {
        queue.push(held(webhooks[place], &event), hosts[place].clone());
    }
    let mut group = criterion.benchmark_group("scheduler");
    let mut next = (0..WEBHOOKS).cycle();
    group.bench_function("one of 10,000 in, picked, and over", |bencher| {
        bencher.iter(|| {
            let place = next.next().expect("it has no end");
            queue.push(held(webhooks[place], &event), hosts[place].clone());
            let picked = queue.pop().expect("a place is free");
            queue.finish(
                picked.leased.key.webhook,
                picked.bytes(),
                AttemptSpeed::Took(Duration::from_millis(5)),
            );
        });
    });
    group.bench_function("which webhooks are full", |bencher| bencher.iter(|| queue.full()));
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    policy(&mut criterion);
    rendering(&mut criterion);
    signing(&mut criterion);
    documents(&mut criterion);
    scheduler(&mut criterion);
    criterion.final_summary();
}
