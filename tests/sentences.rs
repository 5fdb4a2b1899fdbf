//! What Pipedrive states about its webhooks: one test for each sentence, with the sentence as its comment.
//!
//! The texts are those of `tenterhook-harness list --sentences`, which names the scenarios that prove each in detail.

use axum::http::Method;
use serde_json::{Value, json};
use tenterhook_harness::client::{Client, NewWebhook, WebhookList};
use tenterhook_harness::receiver::Receiver;
use tenterhook_harness::reply::{Answer, Script};
use tenterhook_harness::sentences::SENTENCES;
use tenterhook_harness::token::Claims;
use tenterhook_harness::world::{AppSees, World};

use crate::scene::{count, later};

/// A URL on which nothing listens, for webhooks that get no event.
const DEAD: &str = "http://127.0.0.1:9/hook";
/// Every scope except `admin` that a user's token can have.
const ALL_BUT_ADMIN: &str = "webhooks:read webhooks:write";

/// A world with a general and an application webhook of user 7, which lead to one receiver.
struct Both {
    world: World,
    receiver: Receiver,
    user: Client,
    app: Client,
    general: String,
    application: String,
}

impl Both {
    async fn with(world: World, script: impl Into<Script>) -> Self {
        let receiver = world.receiver(script).await;
        let user = world.company(1).user(7);
        let app = installed(&world, "crm", 7).await;
        let general = create(&user, &receiver.url()).await;
        let application = create(&app, &receiver.url()).await;
        Self {
            world,
            receiver,
            user,
            app,
            general,
            application,
        }
    }

    async fn new(script: impl Into<Script>) -> Self {
        Self::with(World::start().await, script).await
    }

    /// Publishes one event for both webhooks, and waits for the attempts that are due.
    async fn deliver(&self) {
        let published = self.world.company(1).publish().await;
        published.expect("the platform may publish");
        self.world.settle().await;
    }

    async fn deliver_times(&self, times: usize) {
        for _ in 0..times {
            self.deliver().await;
        }
    }

    /// State and ban counter of the general and of the application webhook.
    async fn states(&self) -> [(String, u32); 2] {
        let mut states = Vec::new();
        for (caller, id) in [(&self.user, &self.general), (&self.app, &self.application)] {
            let health = caller.health(id).await.expect("its owner sees it");
            states.push((health.state, health.ban_counter));
        }
        let [general, application] = &states[..] else {
            panic!("two webhooks: {states:?}");
        };
        [general.clone(), application.clone()]
    }

    async fn expect(&self, state: &str, counter: u32, when: &str) {
        let expected = (state.to_owned(), counter);
        assert_eq!(self.states().await, [expected.clone(), expected], "{when}");
    }
}

async fn installed(world: &World, app: &str, user: u64) -> Client {
    let company = world.company(1);
    let installed = company.app(app).install(user).await;
    installed.expect("the platform may install")
}

/// Creates a webhook for all events. Returns its id.
async fn create(caller: &Client, url: &str) -> String {
    let created = caller.create_webhook(NewWebhook::to(url)).await;
    created.expect("the caller may create a webhook").webhook.id
}

/// The ids of the webhooks that the caller lists, sorted. Each can also be read by its id.
async fn seen(caller: &Client) -> Vec<String> {
    let listed = caller.webhooks(WebhookList::default()).await;
    let mut ids = Vec::new();
    for webhook in listed.expect("the caller may list") {
        let by_id = caller.webhook(&webhook.id).await.expect("and read");
        ids.push(by_id.expect("what is listed can be read").id);
    }
    ids.sort_unstable();
    ids
}

/// These ids as [`seen`] returns them.
fn sorted<const N: usize>(mut ids: [&str; N]) -> [&str; N] {
    ids.sort_unstable();
    ids
}

/// The code with which a deletion is refused.
async fn refusal(caller: &Client, id: &str) -> String {
    let deleted = caller.delete_webhook(id).await;
    deleted.expect_err("it is refused").code().to_owned()
}

/// The remove reason, as the operator sees it.
async fn remove_reason(world: &World, id: &str) -> Option<String> {
    let webhook = world.operator().webhook(id).await;
    let webhook = webhook.expect("the operator may read").expect("it is kept");
    webhook.remove_reason
}

/// The sentence of each test is that of the harness's table, word by word.
#[test]
fn the_sentences_are_those_of_the_table() {
    let source = include_str!("sentences.rs");
    let comments: Vec<&str> = source
        .lines()
        .filter_map(|line| line.strip_prefix("/// "))
        .filter(|line| line.starts_with(|first: char| first.is_ascii_digit()))
        .collect();
    let expected: Vec<String> = SENTENCES
        .iter()
        .map(|sentence| format!("{}. {}", sentence.number, sentence.text))
        .collect();
    assert_eq!(comments, expected);
}

/// 1. Only an app creates application webhooks.
#[tokio::test(flavor = "multi_thread")]
async fn only_an_app_creates_application_webhooks() {
    let world = World::start().await;
    let company = world.company(1);
    let app = installed(&world, "crm", 7).await;
    for (caller, kind) in [
        (company.user(7), "GENERAL"),
        (company.admin(9), "GENERAL"),
        (app, "APPLICATION"),
    ] {
        let created = caller.create_webhook(NewWebhook::to(DEAD)).await.unwrap();
        assert_eq!(created.webhook.kind, kind);
    }
    let mut input = json!(NewWebhook::to(DEAD));
    input["type"] = json!("APPLICATION");
    let chosen = company
        .user(7)
        .mutate("createWebhook", input, "webhook { id }")
        .await;
    assert!(chosen.is_err(), "the type is not an input: {chosen:?}");
    assert_eq!(seen(&company.user(7)).await.len(), 1);
    world.verify().await;
}

/// 2. The web app never shows an application webhook.
#[tokio::test(flavor = "multi_thread")]
async fn the_web_app_never_shows_an_application_webhook() {
    let both = Both::new(200).await;
    for caller in [both.user.clone(), both.world.company(1).admin(9)] {
        assert_eq!(seen(&caller).await, [both.general.as_str()]);
        assert_eq!(caller.webhook(&both.application).await.unwrap(), None);
    }
    both.world.verify().await;
}

/// 3. An app creates a webhook with POST /webhooks.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_creates_a_webhook_with_post() {
    let world = World::start().await;
    let app = installed(&world, "crm", 7).await;
    let body = json!({
        "subscription_url": DEAD, "event_action": "change", "event_object": "deal", "name": "Deals",
    });
    for path in ["/v1/webhooks", "/api/v1/webhooks"] {
        let (status, answer) = app.post(path, body.clone()).await.unwrap();
        assert_eq!(
            (status, &answer["status"]),
            (201, &json!("ok")),
            "{path}: {answer}"
        );
        let webhook = &answer["data"];
        assert_eq!(
            (
                &webhook["type"],
                &webhook["subscription_url"],
                &webhook["user_id"]
            ),
            (&json!("application"), &json!(DEAD), &json!(7)),
            "{path}: {answer}"
        );
    }
    assert_eq!(seen(&app).await.len(), 2);
    world.verify().await;
}

/// 4. An app needs the scope admin, and no other scope.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_needs_the_scope_admin_and_no_other() {
    let world = World::start().await;
    let company = world.company(1);
    let crm = company.app("crm");
    crm.install(7).await.unwrap();
    let with_scopes = |scopes| {
        let claims = Claims::user(company.id(), 7, "regular").through_app(crm.id());
        world.caller(0, &claims.with_scope(scopes))
    };
    let admin = with_scopes("admin");
    let id = create(&admin, DEAD).await;
    assert_eq!(seen(&admin).await, [id.as_str()]);

    let others = with_scopes(ALL_BUT_ADMIN);
    let read = others.webhook(&id).await.unwrap_err();
    let listed = others.webhooks(WebhookList::default()).await.unwrap_err();
    let created = others.create_webhook(NewWebhook::to(DEAD)).await.unwrap_err();
    assert_eq!([read.code(), listed.code(), created.code()], ["FORBIDDEN"; 3]);
    assert_eq!(refusal(&others, &id).await, "FORBIDDEN");

    admin.delete_webhook(&id).await.unwrap();
    assert!(seen(&admin).await.is_empty());
    world.verify().await;
}

/// 5. An app has at most 40 webhooks for each of its users.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_has_at_most_forty_webhooks_for_each_user() {
    let world = World::start().await;
    let (app, other_user) = (
        installed(&world, "crm", 7).await,
        installed(&world, "crm", 8).await,
    );
    for _ in 0..40 {
        create(&app, DEAD).await;
    }
    let refused = app.create_webhook(NewWebhook::to(DEAD)).await.unwrap_err();
    assert_eq!(refused.code(), "LIMIT_REACHED");
    let quota = app.quota("APPLICATION", None).await.unwrap();
    assert_eq!((quota.limit, quota.used), (40, 40));
    create(&other_user, DEAD).await;
    create(&installed(&world, "erp", 7).await, DEAD).await;
    create(&world.company(1).user(7), DEAD).await;
    world.verify().await;
}

/// 6. At first an app also saw the general webhooks that its user had created.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_can_see_the_general_webhooks_of_its_user() {
    let world = World::builder().app_sees(AppSees::OwnGeneral).start().await;
    let both = Both::with(world, 200).await;
    let other = create(&both.world.company(1).user(8), DEAD).await;
    assert_eq!(seen(&both.app).await, sorted([&both.general, &both.application]));
    assert_eq!(both.app.webhook(&other).await.unwrap(), None, "another user's");
    assert_eq!(refusal(&both.app, &both.general).await, "FORBIDDEN");
    both.world.verify().await;
}

/// 7. Since 5 May 2021 an app sees only the webhooks that it created.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_sees_only_the_webhooks_that_it_created() {
    let both = Both::new(200).await;
    let erp = installed(&both.world, "erp", 7).await;
    let of_erp = create(&erp, DEAD).await;
    assert_eq!(seen(&both.app).await, [both.application.as_str()]);
    assert_eq!(seen(&erp).await, [of_erp]);
    assert_eq!(both.app.webhook(&both.general).await.unwrap(), None);
    both.world.verify().await;
}

/// 8. Each webhook has the type application or general.
#[tokio::test(flavor = "multi_thread")]
async fn each_webhook_has_the_type_application_or_general() {
    let both = Both::new(200).await;
    let v1 = NewWebhook::to(&both.receiver.url()).v1();
    both.app.create_webhook(v1).await.unwrap();
    for (caller, id, kind) in [
        (&both.user, &both.general, "GENERAL"),
        (&both.app, &both.application, "APPLICATION"),
    ] {
        let webhook = caller.webhook(id).await.unwrap();
        assert_eq!(webhook.map(|webhook| webhook.kind).as_deref(), Some(kind));
        let list = WebhookList {
            kind: Some(kind),
            ..WebhookList::default()
        };
        let listed = caller.webhooks(list).await.unwrap();
        assert!(!listed.is_empty() && listed.iter().all(|webhook| webhook.kind == kind));
    }
    both.deliver().await;
    let mut types: Vec<Value> = both
        .receiver
        .journal()
        .all()
        .iter()
        .map(|arrival| arrival.json()["meta"]["type"].clone())
        .collect();
    types.sort_by_key(Value::to_string);
    // Version 1 says it as well.
    assert_eq!(types, ["application", "application", "general"]);
    both.world.verify().await;
}

/// 9. An app deletes its webhook with DELETE /webhooks/{id}.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_deletes_its_webhook_with_delete() {
    let both = Both::new(200).await;
    let webhook = both.app.webhook(&both.application).await.unwrap();
    let path = format!("/v1/webhooks/{}", webhook.expect("the app sees it").number);
    let (status, answer) = both.app.call(Method::DELETE, &path, None).await.unwrap();
    assert_eq!((status, &answer["success"]), (200, &json!(true)), "{answer}");
    let reason = remove_reason(&both.world, &both.application).await;
    assert_eq!(reason.as_deref(), Some("DELETED_BY_APP"));
    both.world.verify().await;
}

/// 10. No other app can delete it, and its user cannot either.
#[tokio::test(flavor = "multi_thread")]
async fn no_other_app_and_no_user_deletes_an_application_webhook() {
    let both = Both::new(200).await;
    let erp = installed(&both.world, "erp", 7).await;
    let admin = both.world.company(1).admin(9);
    for caller in [&erp, &both.user, &admin] {
        assert_eq!(refusal(caller, &both.application).await, "NOT_FOUND");
    }
    assert_eq!(remove_reason(&both.world, &both.application).await, None);
    both.world.verify().await;
}

/// 11. If a user uninstalls an app, the app's webhooks for this user are removed.
#[tokio::test(flavor = "multi_thread")]
async fn uninstalling_an_app_removes_its_webhooks_for_the_user() {
    let both = Both::new(200).await;
    let other_user = installed(&both.world, "crm", 8).await;
    let other = create(&other_user, &both.receiver.url()).await;
    let removed = both.world.company(1).app("crm").uninstall(7).await;
    assert_eq!(removed.unwrap(), 1);
    let reason = remove_reason(&both.world, &both.application).await;
    assert_eq!(reason.as_deref(), Some("APP_UNINSTALLED"));
    for stays in [&both.general, &other] {
        assert_eq!(remove_reason(&both.world, stays).await, None);
    }
    both.deliver().await;
    assert_eq!(both.receiver.journal().len(), 2);
    both.world.verify().await;
}

/// 12. If an app leaves the marketplace, its webhooks for all users are removed.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_leaves_the_marketplace_loses_all_its_webhooks() {
    let both = Both::new(200).await;
    let of_others = [
        create(&installed(&both.world, "crm", 8).await, DEAD).await,
        create(&installed(&both.world, "erp", 7).await, &both.receiver.url()).await,
    ];
    let crm = both.world.company(1).app("crm").id().to_owned();
    assert_eq!(both.world.platform().remove_app(&crm).await.unwrap(), 2);
    for gone in [&both.application, &of_others[0]] {
        let reason = remove_reason(&both.world, gone).await;
        assert_eq!(reason.as_deref(), Some("APP_REMOVED"));
    }
    for stays in [&both.general, &of_others[1]] {
        assert_eq!(remove_reason(&both.world, stays).await, None);
    }
    both.world.verify().await;
}

/// 13. Bans, retries and removal are the same for both types.
#[tokio::test(flavor = "multi_thread")]
async fn bans_retries_and_removal_are_the_same_for_both_types() {
    let both = Both::new(500).await;
    both.deliver().await;
    both.world.advance("PT183S").await;
    assert_eq!(
        both.receiver.journal().len(),
        2 * 4,
        "a first try and three retries each"
    );
    both.deliver_times(9).await;
    both.expect("BANNED", 10, "after ten failed first tries").await;
    both.world.advance("PT30M").await;
    both.expect("ACTIVE", 0, "after the ban").await;
    both.world.advance("PT72H").await;
    let [general, application] = both.states().await.map(|(state, _)| state);
    assert_eq!([general.as_str(), application.as_str()], ["REMOVED"; 2]);
    for id in [&both.general, &both.application] {
        let reason = remove_reason(&both.world, id).await;
        assert_eq!(reason.as_deref(), Some("NO_SUCCESSFUL_DELIVERY"));
    }
    both.world.verify().await;
}

/// 14. A first try without a 2xx response within 10 seconds adds one to the webhook's ban counter.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_first_try_adds_one_to_the_ban_counter() {
    let both = Both::new(200).await;
    let mut counter = 0;
    for (answer, counts) in [
        (Answer::from(204_u16), 0),
        (Answer::from(302_u16), 1),
        (Answer::from(404_u16), 1),
        (Answer::from(500_u16), 1),
        (Answer::Hang, 1),
    ] {
        let script = Script::by_attempt([answer.clone()], 200);
        both.receiver.answer_with(script);
        both.deliver().await;
        both.world.advance("PT9.999S").await;
        counter += if answer == Answer::Hang { 0 } else { counts };
        both.expect(
            "ACTIVE",
            counter,
            &format!("just before ten seconds of {answer:?}"),
        )
        .await;
        both.world.advance("PT1M").await;
        counter += if answer == Answer::Hang { counts } else { 0 };
        both.expect("ACTIVE", counter, &format!("a minute after {answer:?}"))
            .await;
    }
    both.world.verify().await;
}

/// 15. At ten the webhook is banned for 30 minutes.
#[tokio::test(flavor = "multi_thread")]
async fn ten_failed_first_tries_ban_for_thirty_minutes() {
    let both = Both::new(500).await;
    both.deliver_times(9).await;
    both.expect("ACTIVE", 9, "after nine").await;
    both.deliver().await;
    both.expect("BANNED", 10, "after ten").await;
    let began = both.world.now();
    let health = both.user.health(&both.general).await.unwrap();
    assert_eq!(health.banned_until, Some(later(began, "PT30M")));
    both.deliver().await;
    both.world.advance("PT29M59.999S").await;
    both.expect("BANNED", 10, "just before the end").await;
    assert_eq!(both.receiver.journal().len(), 2 * 10, "nothing is sent in a ban");
    let deliveries = both.user.deliveries(&both.general).await.unwrap();
    assert_eq!(count(&deliveries, "LOST"), 11);
    both.world.verify().await;
}

/// 16. After the ban the webhook is active again, with its counter at zero.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_ban_the_webhook_is_active_with_counter_zero() {
    let both = Both::new(500).await;
    both.deliver_times(10).await;
    both.world.advance("PT30M").await;
    both.expect("ACTIVE", 0, "when the ban is over").await;
    both.deliver_times(9).await;
    both.expect("ACTIVE", 9, "after nine more failures").await;
    both.deliver().await;
    both.expect("BANNED", 10, "after ten more").await;
    both.world.verify().await;
}

/// 17. A retry that fails does not count, and further retries follow.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_retry_does_not_count_and_is_followed_by_others() {
    let both = Both::new(500).await;
    both.deliver().await;
    for (wait, attempts) in [("PT3S", 2), ("PT30S", 3), ("PT150S", 4), ("P1D", 4)] {
        both.world.advance(wait).await;
        assert_eq!(both.receiver.journal().len(), 2 * attempts, "after {wait}");
        both.expect("ACTIVE", 1, wait).await;
    }
    let delivery = both.app.last_delivery(&both.application).await.unwrap();
    assert_eq!(delivery.status, "FAILED");
    both.world.verify().await;
}

/// 18. A webhook without a successful delivery on 3 consecutive days is deleted.
#[tokio::test(flavor = "multi_thread")]
async fn three_days_without_a_success_delete_the_webhook() {
    let both = Both::new(500).await;
    both.deliver().await;
    both.world.advance("PT71H59M59S").await;
    both.receiver.answer_with(200);
    both.deliver().await;
    both.world.advance("PT1H").await;
    both.expect("ACTIVE", 1, "a success in time keeps the webhook")
        .await;
    both.receiver.answer_with(500);
    both.deliver().await;
    both.world.advance("PT71H59M59.999S").await;
    both.expect("ACTIVE", 2, "a millisecond before 72 hours").await;
    both.world.advance("PT0.001S").await;
    for id in [&both.general, &both.application] {
        let reason = remove_reason(&both.world, id).await;
        assert_eq!(reason.as_deref(), Some("NO_SUCCESSFUL_DELIVERY"));
    }
    assert!(seen(&both.user).await.is_empty() && seen(&both.app).await.is_empty());
    both.world.verify().await;
}
