//! Lists, attempts and charts.

use rstest::rstest;

use super::fixture::{Crowd, assert_at_most, company, days_read, later, now};
use crate::deliveries::{self, DeliveryPlace, DeliveryQuery, Owners};
use crate::health::history;
use crate::sql::page::Window;
use crate::testing::Touched;
use crate::webhooks::visibility::Cutoffs;
use crate::webhooks::{self, number};
use crate::{Conn, attempts, stats};
use tenterhook_model::access::{GeneralScope, WebhookScope};
use tenterhook_model::delivery::DeliveryStatus;

/// Rows of a page.
const PAGE: u16 = 20;

fn cutoffs() -> Cutoffs {
    Cutoffs {
        now: now(),
        window_opened: later(-72),
        removed: later(-720),
        history: later(-720),
        event_dropped: later(-720),
    }
}

fn window(after: Option<DeliveryPlace>) -> Window<DeliveryPlace> {
    Window {
        size: PAGE,
        from_end: false,
        after,
        before: None,
    }
}

fn in_state(status: DeliveryStatus) -> DeliveryQuery {
    DeliveryQuery {
        statuses: Some(vec![status]),
        ..DeliveryQuery::default()
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_page_touches_little_more_than_its_rows(#[values(false, true)] analyzed: bool) {
    let crowd = Crowd::new(analyzed).await.of_callers();
    let scope = WebhookScope::Company {
        company: company(),
        general: GeneralScope::All,
        application_of: None,
    };
    let old = DeliveryQuery {
        until: Some(later(-200)),
        ..DeliveryQuery::default()
    };
    let recent = DeliveryQuery {
        since: Some(later(-24)),
        ..DeliveryQuery::default()
    };
    let keys = crowd.keys();
    // For the webhook with many rows, for one with few, and for all forty together.
    for (name, webhook, [any, succeeded, failed, pending, before, since]) in [
        ("many", Some(keys[0]), [60, 30, 180, 20, 120, 45]),
        ("few", Some(keys[1]), [60, 30, 150, 20, 250, 45]),
        ("all", None, [750, 450, 350, 400, 2_600, 750]),
    ] {
        let owners = Owners {
            scope: scope.clone(),
            cutoffs: cutoffs(),
            webhook,
        };
        for (query, blocks) in [
            (&DeliveryQuery::default(), any),
            (&in_state(DeliveryStatus::Succeeded), succeeded),
            (&in_state(DeliveryStatus::Failed), failed),
            (&in_state(DeliveryStatus::Pending), pending),
            (&old, before),
            (&recent, since),
        ] {
            let page = async |conn: &mut Conn| {
                deliveries::page(conn, &owners, query, &window(None))
                    .await
                    .unwrap()
            };
            let (slice, touched) = crowd.touched(page).await;
            assert!(
                !slice.rows.is_empty() || query == &in_state(DeliveryStatus::Failed),
                "{name} {query:?}"
            );
            assert_at_most(blocks, &touched, &format!("{name} {query:?}"));
        }
        let middle = deliveries::page(&mut *crowd.conn().await, &owners, &old, &window(None))
            .await
            .unwrap();
        let place = middle.rows.last().map(DeliveryPlace::of);
        let page = async |conn: &mut Conn| {
            let all = DeliveryQuery::default();
            deliveries::page(conn, &owners, &all, &window(place))
                .await
                .unwrap()
        };
        let (slice, touched) = crowd.touched(page).await;
        assert_eq!(slice.rows.len(), usize::from(PAGE));
        assert_at_most(before, &touched, &format!("{name}, deep within"));
    }
    let each = async |conn: &mut Conn| {
        let all = DeliveryQuery::default();
        deliveries::page_of_each(conn, &keys, &all, &cutoffs(), &window(None))
            .await
            .unwrap()
    };
    let (slices, touched) = crowd.touched(each).await;
    assert_eq!(slices.len(), keys.len());
    assert_at_most(750, &touched, "the first pages of all webhooks, each by itself");
}

/// A lookup by number reads one index: in one lane for a company, in each lane for callers without a company.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_by_number_reads_one_index(#[values(false, true)] analyzed: bool) {
    let crowd = Crowd::with_neighbours(analyzed).await.of_callers();
    let keys = crowd.keys();
    let everything = WebhookScope::Everything;
    let found = webhooks::find(&mut *crowd.conn().await, &keys[..1], &everything, &cutoffs()).await;
    let number = found.unwrap()[0].0.number;
    for (company, blocks) in [(Some(company()), 6), (None, 200)] {
        let find = async |conn: &mut Conn| number::key(conn, number, company).await.unwrap();
        let (key, touched) = crowd.touched(find).await;
        assert_eq!(key, Some(keys[0]));
        assert_at_most(blocks, &touched, "a webhook by its number");
    }
}

/// Blocks of the indexes on attempts with this name.
fn through(touched: &Touched, index: &str) -> i64 {
    let read = touched
        .iter()
        .filter(|(name, _)| name.starts_with("attempts_") && name.ends_with(index));
    read.map(|(_, blocks)| *blocks).sum()
}

/// Blocks of the index over ends, which would mean that everything that ended since then was read.
fn through_ends(touched: &Touched) -> i64 {
    through(touched, "_ended_at_idx")
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn history_touches_only_its_own_days(#[values(false, true)] analyzed: bool) {
    let crowd = Crowd::new(analyzed).await.of_callers();
    let keys = crowd.keys();
    let owners = Owners {
        scope: WebhookScope::Everything,
        cutoffs: cutoffs(),
        webhook: Some(keys[0]),
    };
    let succeeded = in_state(DeliveryStatus::Succeeded);
    let page = deliveries::page(&mut *crowd.conn().await, &owners, &succeeded, &window(None))
        .await
        .unwrap();
    let places: Vec<_> = page.rows.iter().map(|row| (row.key, row.created_at)).collect();
    let read = async |conn: &mut Conn| attempts::of(conn, &places).await.unwrap();
    let (found, touched) = crowd.touched(read).await;
    assert_eq!(found.len(), usize::from(PAGE));
    assert_eq!(through_ends(&touched), 0, "{touched:#?}");
    let places: Vec<_> = page.rows.iter().map(DeliveryPlace::of).collect();
    let read = async |conn: &mut Conn| {
        let scope = WebhookScope::Everything;
        deliveries::find(conn, &places, &scope, &cutoffs()).await.unwrap()
    };
    let (found, touched) = crowd.touched(read).await;
    assert_eq!(found.len(), usize::from(PAGE));
    assert_eq!(through_ends(&touched), 0, "{touched:#?}");
    assert!(
        days_read(&touched, "attempts")
            .iter()
            .all(|day| day.as_str() >= "20261122"),
        "{touched:#?}"
    );
    let of_event = DeliveryQuery {
        event: Some(page.rows[0].key.event),
        ..DeliveryQuery::default()
    };
    let read = async |conn: &mut Conn| {
        deliveries::page(conn, &owners, &of_event, &window(None))
            .await
            .unwrap()
    };
    let (found, touched) = crowd.touched(read).await;
    assert_eq!(found.rows.len(), 1);
    assert_at_most(60, &touched, "an event's deliveries");
    let of_all = Owners {
        webhook: None,
        ..owners.clone()
    };
    let read = async |conn: &mut Conn| {
        deliveries::page(conn, &of_all, &of_event, &window(None))
            .await
            .unwrap()
    };
    let (found, touched) = crowd.touched(read).await;
    assert!(!found.rows.is_empty());
    assert_at_most(470, &touched, "an event's deliveries, of all webhooks");
    // Each by its own index: first deliveries by when they were created, replays by their event.
    let each = 2 * i64::try_from(keys.len()).unwrap() + 8;
    assert_eq!(through_ends(&touched), 0, "{touched:#?}");
    for index in ["_created_at_event_generation_idx", "_webhook_event_idx"] {
        assert!(through(&touched, index) <= each, "{touched:#?}");
    }
    let from = [later(-24), later(-12)];
    let read = async |conn: &mut Conn| {
        stats::read(conn, &keys[..1], &from, now(), later(-720))
            .await
            .unwrap()
    };
    let (found, touched) = crowd.touched(read).await;
    assert_eq!(found.len(), 1);
    assert_eq!(days_read(&touched, "attempts"), ["20261122", "20261123"]);
    let read = async |conn: &mut Conn| history::read(conn, &keys, later(-720)).await.unwrap();
    let (found, touched) = crowd.touched(read).await;
    assert_eq!(found.len(), keys.len());
    assert_at_most(500, &touched, "what was last heard of webhooks");
}
