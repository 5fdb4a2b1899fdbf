use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use jiff::Timestamp;

use super::*;
use crate::deliver::scheduler::tests::held;
use tenterhook_policy::sealing::Keyring;

const KEY: &str = "8f3c1b9e5d7204a6e1c8437b90fa2d56be04d8137ca9f2605e81b4c7392d6fa0";

/// Holds nothing yet; one request may be in flight.
fn one_at_a_time() -> Arc<HeldDeliveries> {
    let keyring = Keyring::parse(KEY).expect("it is a key");
    let limits = RequestLimits {
        total: 1,
        per_webhook: 1,
        per_host: 1,
    };
    let webhooks = Arc::new(WebhookCache::new(Arc::new(keyring)));
    Arc::new(HeldDeliveries::new(limits, webhooks, Arc::default()))
}

/// Whether the dispatcher would start now.
fn is_notified(deliveries: &HeldDeliveries) -> bool {
    deliveries.capacity().now_or_never().is_some()
}

fn webhook() -> WebhookId {
    WebhookId::new(Timestamp::UNIX_EPOCH)
}

#[test]
fn a_dropped_permit_frees_its_place_and_notifies_the_dispatcher() {
    let deliveries = one_at_a_time();
    deliveries.accept(vec![held(1, webhook()), held(2, webhook())]);
    assert!(is_notified(&deliveries), "deliveries were added");
    let (_, mut permit) = deliveries.next().expect("there is a place");
    assert!(deliveries.next().is_none(), "the only place is taken");
    assert!(!is_notified(&deliveries));
    permit.speed = AttemptSpeed::Took(Duration::ZERO);
    drop(permit);
    assert!(is_notified(&deliveries));
    assert!(deliveries.next().is_some(), "its place is free");
}

#[test]
fn early_notifications_are_kept_and_merged_into_one() {
    let deliveries = one_at_a_time();
    deliveries.notify_capacity();
    deliveries.notify_capacity();
    assert!(is_notified(&deliveries));
    assert!(!is_notified(&deliveries));
}

#[test]
fn undecided_deliveries_are_taken_by_webhook_or_with_all_others() {
    let deliveries = one_at_a_time();
    let (one, other) = (webhook(), webhook());
    deliveries.keep_undecided(held(1, one));
    deliveries.keep_undecided(held(1, other));
    deliveries.accept(vec![held(2, one)]);
    let taken = deliveries.take_undecided(one);
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].leased.key.webhook, one);
    assert_eq!(deliveries.take_all().len(), 2);
    assert!(deliveries.take_all().is_empty());
}
