use std::collections::HashMap;

use super::attempts::{MAX_IN_ALL, MAX_OF_WEBHOOK, MAX_WATCHED, PollProgress, is_watchable};
use super::*;
use tenterhook_model::access::GeneralScope;
use tenterhook_model::ids::{CompanyId, DeliveryKey, EventId, UserId};
use tenterhook_store::deliveries::DeliveryPlace;

fn now() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

fn belonging(company: i64) -> WebhookOwner {
    let company = CompanyId::new(company).unwrap();
    WebhookOwner {
        lane: Lane::of(company),
        webhook: WebhookId::new(now()),
        company,
        user: UserId::new(7).unwrap(),
        app: None,
    }
}

fn company(id: i64) -> WebhookScope {
    WebhookScope::Company {
        company: CompanyId::new(id).unwrap(),
        general: GeneralScope::All,
        application_of: None,
    }
}

fn listener<T: Clone>(channel: &Channel<T>, scope: WebhookScope) -> Listener<T> {
    Listener::new(channel, scope, None, now())
}

fn attempt(of: &WebhookOwner, ended_at: Timestamp) -> AttemptPlace {
    AttemptPlace {
        delivery: DeliveryPlace {
            created_at: ended_at,
            key: DeliveryKey {
                lane: of.lane,
                webhook: of.webhook,
                event: EventId::new(ended_at),
                generation: 0,
            },
        },
        number: 1,
        ended_at,
    }
}

#[tokio::test]
async fn a_listener_that_falls_too_far_behind_gets_an_error() {
    for (said, expected) in [
        (MAX_UNREAD, Ok(MAX_MESSAGES)),
        (MAX_UNREAD + 1, Err(Missed::Behind)),
    ] {
        let channel = Channel::<()>::default();
        let mut listener = listener(&channel, company(1));
        for _ in 0..said {
            channel.send(Signal::Message((belonging(1), ())));
        }
        assert_eq!(listener.next().await.map(|sent| sent.len()), expected, "{said}");
    }
}

#[tokio::test]
async fn messages_for_others_are_skipped() {
    let channel = Channel::<()>::default();
    let mut of_two = listener(&channel, company(2));
    let (one, two) = (belonging(1), belonging(2));
    let mut of_one_webhook = Listener::new(&channel, company(2), Some((two.lane, two.webhook)), now());
    for belonging in [&one, &two, &one] {
        channel.send(Signal::Message((belonging.clone(), ())));
    }
    channel.send(Signal::Gap(Audience::Webhook(one)));
    channel.send(Signal::Message((belonging(2), ())));
    assert_eq!(of_two.next().await.unwrap().len(), 2);
    assert_eq!(of_one_webhook.next().await.unwrap().len(), 1);
    channel.send(Signal::Gap(Audience::Webhook(two)));
    assert_eq!(of_two.next().await, Err(Missed::Lost));
    assert_eq!(of_one_webhook.next().await, Err(Missed::Lost));
}

/// How many of this number of attempts per webhook are sent, and whether some were missed.
async fn sent(attempts: usize, webhooks: usize) -> (usize, bool) {
    let channel = Channel::default();
    let all: Vec<WebhookOwner> = (0..webhooks).map(|_| belonging(1)).collect();
    let watched: HashMap<_, _> = all
        .iter()
        .map(|one| ((one.lane, one.webhook), one.clone()))
        .collect();
    let mut receiver = channel.0.subscribe();
    let (mut count, mut lost) = (0, false);
    let mut progress = PollProgress::default();
    let ended: Vec<_> = (0..attempts)
        .map(|n| attempt(&all[n % webhooks], now()))
        .collect();
    progress.announce(&channel, &watched, ended);
    loop {
        match receiver.try_recv() {
            Ok(Signal::Message(_)) => count += 1,
            Ok(_) => lost = true,
            Err(broadcast::error::TryRecvError::Lagged(_)) => {}
            Err(_) => return (count, lost),
        }
    }
}

#[tokio::test]
async fn a_poll_is_bounded_and_reports_that_there_was_more() {
    assert_eq!(sent(MAX_OF_WEBHOOK, 1).await, (MAX_OF_WEBHOOK, false));
    assert!(sent(MAX_OF_WEBHOOK + 1, 1).await.1);
    // The channel cannot hold them all: a listener that does not read falls behind.
    let many = MAX_IN_ALL / MAX_OF_WEBHOOK;
    assert_eq!(sent(MAX_IN_ALL, many).await, (MAX_UNREAD, false));
    assert!(sent(MAX_IN_ALL + 1, many + 1).await.1);
    assert!(is_watchable(MAX_WATCHED) && !is_watchable(MAX_WATCHED + 1));
}

#[test]
fn webhooks_with_too_many_notices_are_found() {
    let one = WebhookId::new(now());
    assert!(with_more_than(std::iter::repeat_n(one, MAX_NOTICES), MAX_NOTICES).is_empty());
    let past = with_more_than(std::iter::repeat_n(one, MAX_NOTICES + 1), MAX_NOTICES);
    assert_eq!(past, HashSet::from([one]));
}

#[tokio::test]
async fn an_attempt_read_several_times_is_announced_once() {
    let channel = Channel::default();
    let one = belonging(1);
    let watched = HashMap::from([((one.lane, one.webhook), one.clone())]);
    let mut listener = listener(&channel, company(1));
    let mut progress = PollProgress::default();
    let (first, second) = (attempt(&one, now()), attempt(&one, now()));
    progress.announce(&channel, &watched, vec![first]);
    progress.reach(now() + OVERLAP);
    progress.announce(&channel, &watched, vec![first, second]);
    progress.announce(&channel, &watched, vec![first, second]);
    let sent = listener.next().await.unwrap();
    assert_eq!(
        sent.into_iter().map(|(_, attempt)| attempt).collect::<Vec<_>>(),
        [first, second]
    );
}
