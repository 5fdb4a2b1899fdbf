use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use tenterhook_harness::client::Client as Caller;
use tenterhook_harness::database::{Cluster, Database};
use tenterhook_harness::keys;
use tenterhook_harness::launch::{AppSees, Server, ServerOptions};
use tenterhook_harness::receiver::Receiver;
use tenterhook_harness::reply::Reply;
use tenterhook_harness::signature::Keyring;
use tenterhook_harness::timekeeper::RealTime;
use tenterhook_harness::token::{Claims, TokenKey};

use super::*;

fn plan() -> Plan {
    Plan {
        webhooks: 48,
        open: 480,
        attempts: 48 + 80 * 30 + 79,
        days: 3,
        url: "http://127.0.0.1:9".to_owned(),
    }
}

async fn empty() -> (Database, Config) {
    let database = Cluster::shared().await.expect("Postgres starts").database().await;
    let database = database.expect("a database can be made");
    let config = database.url(None).parse().expect("its own URL");
    (database, config)
}

fn options() -> ServerOptions {
    ServerOptions {
        allowed_targets: vec!["127.0.0.0/8".to_owned()],
        platform_hosts: Vec::new(),
        app_sees: AppSees::Application,
        dns_servers: Vec::new(),
        key: TokenKey {
            secret: "of a server that exists only for what was filled in".to_owned(),
            issuer: "harness".to_owned(),
            audience: "harness".to_owned(),
        },
        sealing_key: keys::SEALING_KEY.to_owned(),
        extra_ca_file: None,
        notices: None,
        settings: Vec::new(),
        rest_query_token: false,
    }
}

/// The deliveries of one webhook in the API, by status.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    statuses: BTreeMap<String, u64>,
    attempts: u64,
    failed_first: u64,
    last_success: Option<Timestamp>,
    last_failure: Option<Timestamp>,
}

impl Seen {
    fn status(&self, name: &str) -> u64 {
        self.statuses.get(name).copied().unwrap_or(0)
    }

    fn add(&mut self, other: &Self) {
        for (status, count) in &other.statuses {
            *self.statuses.entry(status.clone()).or_default() += count;
        }
        self.attempts += other.attempts;
        self.failed_first += other.failed_first;
    }
}

async fn seen(caller: &Caller, webhook: &str, now: Timestamp) -> Seen {
    let mut seen = Seen::default();
    for delivery in caller.deliveries(webhook).await.expect("it is seen") {
        let attempts = &delivery.attempts;
        assert!(
            attempts
                .iter()
                .zip(1..)
                .all(|(attempt, number)| attempt.number == number),
            "{delivery:?}"
        );
        assert!(
            attempts.iter().all(|attempt| attempt.ended_at < now),
            "{delivery:?}"
        );
        match delivery.status.as_str() {
            "PENDING" => assert!(delivery.next_attempt_at > Some(now) && attempts.len() == 1),
            "SUCCEEDED" => assert_eq!(attempts.last().and_then(|last| last.http_status), Some(200)),
            "FAILED" => assert_eq!(attempts.len(), 4),
            _ => assert_eq!(delivery.reason.as_deref(), Some("PAUSED")),
        }
        *seen.statuses.entry(delivery.status).or_default() += 1;
        for attempt in attempts {
            let last = match attempt.error_class {
                None => &mut seen.last_success,
                Some(_) => &mut seen.last_failure,
            };
            *last = (*last).max(Some(attempt.ended_at));
        }
        seen.attempts += attempts.len() as u64;
        seen.failed_first += u64::from(attempts.first().is_some_and(|first| first.error_class.is_some()));
    }
    seen
}

const WEBHOOKS_WITH_FIGURES: &str = "query($since: DateTime!) { webhooks(first: 100) { nodes { \
    id health { state banCounter failingSince lastAttemptAt } \
    deliveries(first: 1) { totalCount } stats(since: $since) { succeeded failed lost attempts } } } }";

fn sum(stats: &Value, figure: &str) -> u64 {
    let stretches = stats.as_array().into_iter().flatten();
    stretches.filter_map(|stretch| stretch[figure].as_u64()).sum()
}

#[tokio::test]
async fn the_api_returns_the_seeded_rows() {
    let receiver = Receiver::start(Arc::new(RealTime), Keyring::default(), Reply::status(204)).await;
    let (database, config) = empty().await;
    let plan = Plan {
        url: receiver.url(),
        ..plan()
    };
    let filled = run(&plan, &config, |_| ()).await.unwrap();
    assert_eq!(filled.attempts, plan.attempts - 79 + plan.open);
    let server = Server::start_in_real_time(&options(), &database.url(None))
        .await
        .unwrap();
    let now = realtime::now();
    let anybody = Caller::new(&format!("http://{}", server.address()), None, Keyring::default()).unwrap();
    let since = now - jiff::SignedDuration::from_hours(24 * 3);
    let mut all = Seen::default();
    for company in 0..filled.companies {
        let id = u64::try_from(FIRST_COMPANY).unwrap() + u64::from(company);
        let claims = Claims::user(id, USER, "admin");
        let caller = anybody.with_token(Some(options().key.sign(&claims, now)));
        let listed = caller
            .query(WEBHOOKS_WITH_FIGURES, json!({"since": since.to_string()}))
            .await
            .unwrap();
        let webhooks = listed["webhooks"]["nodes"].as_array().unwrap().clone();
        assert_eq!(webhooks.len(), WEBHOOKS_OF_COMPANY as usize);
        for webhook in webhooks {
            let seen = seen(&caller, webhook["id"].as_str().unwrap(), now).await;
            let health = &webhook["health"];
            assert_eq!(health["state"], "ACTIVE");
            assert_eq!(health["banCounter"], seen.failed_first);
            assert_eq!(
                health["failingSince"].is_null(),
                seen.last_success > seen.last_failure,
                "{webhook}"
            );
            assert_eq!(
                webhook["deliveries"]["totalCount"],
                seen.statuses.values().sum::<u64>()
            );
            let stats = &webhook["stats"];
            for (figure, counted) in [
                ("succeeded", seen.status("SUCCEEDED")),
                ("failed", seen.status("FAILED")),
                ("lost", seen.status("LOST")),
                ("attempts", seen.attempts),
            ] {
                assert_eq!(sum(stats, figure), counted, "{figure} of {webhook}");
            }
            all.add(&seen);
        }
        if company == 0 {
            let share = all.statuses.values().sum::<u64>() * 10;
            let expected = filled.succeeded + filled.failed + filled.lost + filled.open;
            assert!(
                share > expected * 8 / 10,
                "a tenth falls to the large company: {all:?}"
            );
            // The server can open its secret: it signs a test delivery with it.
            let id = listed["webhooks"]["nodes"][0]["id"].clone();
            let tested = caller
                .mutate("testWebhook", json!({"id": id}), "attempt { httpStatus }")
                .await;
            assert_eq!(tested.unwrap()["attempt"]["httpStatus"], 204);
        }
    }
    assert_eq!(
        [
            all.status("SUCCEEDED"),
            all.status("FAILED"),
            all.status("LOST"),
            all.status("PENDING"),
            all.attempts
        ],
        [
            filled.succeeded,
            filled.failed,
            filled.lost,
            filled.open,
            filled.attempts
        ]
    );
    let (_, metrics) = anybody.get("/metrics").await.unwrap();
    let tally = tenterhook_harness::world::Tally::parse(&metrics).unwrap();
    assert_eq!(
        tally.accepted,
        filled.succeeded + filled.failed + filled.lost + filled.open
    );
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_database_that_is_not_empty_or_has_no_tables_is_refused() {
    let (_database, config) = empty().await;
    let small = Plan {
        webhooks: 12,
        open: 0,
        attempts: 12,
        ..plan()
    };
    run(&small, &config, |_| ()).await.unwrap();
    let error = run(&small, &config, |_| ()).await.unwrap_err().to_string();
    assert!(error.contains("filled before"), "{error}");
    let mut bare = config.clone();
    bare.dbname("postgres");
    let error = run(&small, &bare, |_| ()).await.unwrap_err().to_string();
    assert!(error.contains("migrate"), "{error}");
}

#[test]
fn out_of_bounds_arguments_are_refused_by_name() {
    type Set = fn(&mut Plan, i64);
    let bounds: [(&str, Set, i64, i64); 7] = [
        ("--webhooks", |plan, by| plan.webhooks = (12 + by) as u32, 0, -4),
        ("--webhooks", |plan, by| plan.webhooks = (48 + by) as u32, 0, 1),
        (
            "--webhooks",
            |plan, by| (plan.webhooks, plan.attempts) = ((1_000_000 + by) as u32, MOST_ATTEMPTS),
            0,
            4,
        ),
        ("--open", |plan, by| plan.open = MOST_OPEN + by as u64, 0, 4),
        ("--attempts", |plan, by| plan.attempts = (48 + by) as u64, 0, -1),
        (
            "--attempts",
            |plan, by| plan.attempts = MOST_ATTEMPTS + by as u64,
            0,
            1,
        ),
        ("--days", |plan, by| plan.days = (90 + by) as u32, 0, 1),
    ];
    for (argument, set, within, past) in bounds {
        let mut bounded = plan();
        set(&mut bounded, within);
        bounded.check().unwrap();
        set(&mut bounded, past);
        let error = bounded.check().unwrap_err().to_string();
        assert!(error.contains(argument), "{argument}: {error}");
    }
    let short = |days| Plan { days, ..plan() }.check();
    short(2).unwrap();
    assert!(short(1).unwrap_err().to_string().contains("--days"));
}
