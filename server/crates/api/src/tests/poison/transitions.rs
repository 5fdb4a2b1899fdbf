//! Transitions and notices: a webhook or notice that the database refuses does not delay others.

use super::*;
use tenterhook_engine::NoticeEndpoint;
use tenterhook_policy::signing::SigningSecret;

const NOTICES: &str = "notices n join webhooks w on w.lane = n.lane and w.id = n.webhook";

/// Two banned webhooks. The tests spoil the first one.
async fn two_banned(world: &World) -> (MockServer, MockServer) {
    let (bad, well) = (receiver(500).await, receiver(500).await);
    for server in [&bad, &well] {
        let url = format!("{}/hook", server.uri());
        world
            .webhook(&world.user(1, 7), json!({ "subscriptionUrl": url }))
            .await;
    }
    for _ in 0..10 {
        world.publish(1, json!({})).await;
    }
    world.settle().await;
    (bad, well)
}

/// A transition that cannot be written: those of others are written, and it is written once that is possible.
#[tokio::test(flavor = "multi_thread")]
async fn an_unwritable_transition_delays_no_other() {
    let world = World::new().await;
    let (bad, well) = two_banned(&world).await;
    let id = world.row_id(&bad.uri()).await;
    let condition = format!("new.webhook = '{id}' and not new.ban_open");
    world
        .refuse("webhook_health", "update", &condition, "P0001", false)
        .await;
    world.advance(SignedDuration::from_mins(31)).await;
    let ended = |uri: String| format!("{NOTICES} where n.kind = 2 and w.url like '{uri}%'");
    assert_eq!(world.rows(&ended(well.uri())).await, 1);
    assert_eq!(world.rows(&ended(bad.uri())).await, 0);
    // Later transitions are not delayed either.
    world.advance(SignedDuration::from_hours(24)).await;
    let warned = format!("{NOTICES} where n.kind = 3 and w.url like '{}%'", well.uri());
    assert_eq!(world.rows(&warned).await, 1);
    world.refuse_no_more("webhook_health").await;
    let all = ended(bad.uri());
    realtime::eventually("the end of the ban is written", async || {
        world.rows(&all).await == 1
    })
    .await;
}

/// A notice that cannot be read: the endpoint gets the others.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_notice_delays_no_other() {
    let endpoint = receiver(200).await;
    let world = World::with_endpoint(&endpoint.uri()).await;
    world
        .sql(
            "create function spoil() returns trigger language plpgsql as $$
             begin
                 if new.webhook = (select id from webhooks order by number limit 1) then new.company := 0; end if;
                 return new;
             end $$;
             create trigger spoiled before insert on notices for each row execute function spoil()",
        )
        .await;
    let (bad, well) = two_banned(&world).await;
    let told = async || -> Vec<String> {
        let requests = endpoint.received_requests().await.unwrap();
        let bodies = requests
            .into_iter()
            .map(|request| String::from_utf8(request.body).unwrap());
        bodies.collect()
    };
    realtime::eventually("the other's notice is told", async || !told().await.is_empty()).await;
    let numbers = told().await;
    assert!(numbers.iter().all(|body| body.contains("BANNED")), "{numbers:?}");
    assert_eq!(numbers.len(), 1);
    let tried = "notice_queues where attempts > 0 and cardinality(notices) = 1";
    realtime::eventually("the bad one has failed an attempt", async || {
        world.rows(tried).await == 1
    })
    .await;
    drop((bad, well));
}

/// A notice that the database refuses to lease: others are sent, and it is sent once that is possible.
#[tokio::test(flavor = "multi_thread")]
async fn a_notice_that_cannot_be_leased_delays_no_other() {
    let endpoint = receiver(200).await;
    let world = World::with_endpoint(&endpoint.uri()).await;
    let condition = "new.webhook = (select id from webhooks order by number limit 1)";
    world
        .refuse("notice_queues", "update", condition, "XX001", false)
        .await;
    two_banned(&world).await;
    let done = "notice_queues where cardinality(notices) = 0";
    realtime::eventually("the other's notice is told", async || world.rows(done).await == 1).await;
    world.refuse_no_more("notice_queues").await;
    realtime::eventually("its own too", async || world.rows(done).await == 2).await;
    assert_eq!(endpoint.received_requests().await.unwrap().len(), 2);
}

/// The end of a notice cannot be written: those of others are, and the notifier continues.
#[tokio::test(flavor = "multi_thread")]
async fn a_notice_whose_end_cannot_be_written_delays_no_other() {
    let endpoint = receiver(200).await;
    let world = World::with_endpoint(&endpoint.uri()).await;
    let condition = "cardinality(new.notices) < cardinality(old.notices)
                     and new.webhook = (select id from webhooks order by number limit 1)";
    world
        .refuse("notice_queues", "update", condition, "P0001", false)
        .await;
    two_banned(&world).await;
    let done = "notice_queues where cardinality(notices) = 0";
    realtime::eventually("the other's notice is settled", async || {
        world.rows(done).await == 1
    })
    .await;
    world.advance(SignedDuration::from_mins(31)).await;
    let of_good = "notice_queues where cardinality(notices) = 0 and token > 2";
    realtime::eventually("its next one too", async || world.rows(of_good).await == 1).await;
}

impl World {
    /// A world in which the platform has an endpoint for notices.
    async fn with_endpoint(url: &str) -> Self {
        let url = url.parse().unwrap();
        let secrets = vec![SigningSecret::generate()];
        let endpoint = |transport| NoticeEndpoint {
            url,
            secrets,
            transport,
        };
        Self::made(Settings::development(), ConnectionCaps::default(), Some(endpoint)).await
    }
}

/// W8: a webhook that cannot be removed does not block the others of its app, and is removed once that is possible.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_cannot_be_removed_blocks_no_other() {
    let world = World::new().await;
    for company in 1..=3 {
        world.install("crm", company, 7).await;
        let url = format!("http://127.0.0.1:9/of-{company}");
        world
            .webhook(
                &world.through("crm", company, 7),
                json!({ "subscriptionUrl": url }),
            )
            .await;
    }
    let condition = "new.removed_at is not null and new.url like '%/of-2'";
    world
        .refuse("webhooks", "update", condition, "P0001", false)
        .await;
    let query =
        "mutation M { removeApp(input: { appId: \"crm\" }) { removedWebhookCount userErrors { code } } }";
    assert_eq!(
        world.refusal(&world.platform(), query, json!({})).await,
        "INTERNAL"
    );
    let left = "webhooks where removed_at is null";
    assert_eq!(world.rows(left).await, 1);
    assert_eq!(world.rows(&format!("{left} and url like '%/of-2'")).await, 1);
    assert_eq!(world.rows("installations").await, 1);
    world.refuse_no_more("webhooks").await;
    world.ask(&world.platform(), query, json!({})).await;
    assert_eq!(
        (world.rows(left).await, world.rows("installations").await),
        (0, 0)
    );
}

/// A subscriber gets the notices that can be read. Subscribers who may see the other notice get an error that one was
/// missed.
#[tokio::test(flavor = "multi_thread")]
async fn subscribers_get_all_notices_but_the_unreadable_one() {
    use tenterhook_model::access::{GeneralScope, WebhookScope};
    use tenterhook_model::ids::CompanyId;

    let world = World::new().await;
    world
        .sql(
            "create function spoil() returns trigger language plpgsql as $$
             begin
                 if new.webhook = (select id from webhooks order by number limit 1) then new.company := 0; end if;
                 return new;
             end $$;
             create trigger spoiled before insert on notices for each row execute function spoil()",
        )
        .await;
    let of_company = |company: i64| WebhookScope::Company {
        company: CompanyId::new(company).unwrap(),
        general: GeneralScope::All,
        application_of: None,
    };
    let live = world.engine.live();
    let (mut bad, mut well) = (live.notices(of_company(1)), live.notices(of_company(2)));
    let receiver = receiver(500).await;
    for company in [1, 2] {
        let input = json!({ "subscriptionUrl": receiver.uri() });
        world.webhook(&world.user(company, 7), input).await;
    }
    for _ in 0..10 {
        world.publish(1, json!({})).await;
        world.publish(2, json!({})).await;
    }
    world.settle().await;
    let told = realtime::within(realtime::PATIENCE, well.next()).await.unwrap();
    assert_eq!(told.unwrap().len(), 1);
    let missed = realtime::within(realtime::PATIENCE, bad.next()).await.unwrap();
    assert!(missed.is_err());
    // The changes feed has continued: this process still reads the changes of others.
    world.publish(2, json!({})).await;
    world.settle().await;
}
