//! The data of the test: a company with a user who has webhooks in every state. All texts are marked.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tenterhook_harness::client::{Client, NewEvent, NewWebhook, Webhook};
use tenterhook_harness::receiver::Receiver;
use tenterhook_harness::reply::Reply;
use tenterhook_harness::world::{AppSees, World};

use super::assertions::{Group, Mark};

pub const COMPANY: u64 = 421_000_730_101;
/// A company in the same lane, whose rows are next to the others.
pub const ELSEWHERE: u64 = 421_000_730_256;
pub const USER: u64 = 731_057_700_301;
pub const NEIGHBOUR: u64 = 731_057_700_402;
pub const BOSS: u64 = 731_057_700_503;
/// A user who was removed from the company.
pub const GHOST: u64 = 731_057_700_604;
/// An admin of another company.
pub const STRANGER: u64 = 731_057_700_705;
pub const CRM: &str = "crm.mark-of-the-private-app";
pub const ERP: &str = "erp.of-the-marketplace";
pub const UNINSTALLED: &str = "app.that-nobody-has-installed";
const RETIRED: &str = "app.that-left-the-marketplace";
/// Length of the beginning of a webhook's id that encodes kind and lane. What follows is the same for years.
const LANE: usize = 3;
/// Number of failures that cause a ban (B2).
const BANNING: usize = 10;

/// More webhooks than the test creates.
const FAR_FROM_ALL_NUMBERS: u64 = 1_000_000;

/// A placeholder in a query, with its value and its twin: a similar value that does not exist.
type Names = BTreeMap<&'static str, (String, String)>;

/// The company with all its data.
pub struct Fixture {
    pub world: World,
    pub marks: Vec<Mark>,
    names: Names,
    /// The receivers of the user, of the app and, without marks, of the strangers, which respond with success; and one
    /// that fails.
    pub receivers: [Receiver; 4],
}

impl Fixture {
    /// The company on a server with the default settings.
    pub async fn new() -> Self {
        Self::where_apps_see(AppSees::Application).await
    }

    /// The company on a server where apps see this much (W4).
    pub async fn where_apps_see(sees: AppSees) -> Self {
        let world = World::builder()
            .allowed_targets(&["127.0.0.0/8", "::1/128"])
            .app_sees(sees)
            .start()
            .await;
        let marked = |mark: &str| {
            Reply::status(200)
                .header("x-mark", mark)
                .body(format!("body of {mark}"))
        };
        let receivers = [
            world.receiver(marked("mark-general-answer")).await,
            world.receiver(marked("mark-application-answer")).await,
            world.receiver(200).await,
            world
                .receiver(Reply::status(500).body("mark-general-error"))
                .await,
        ];
        let mut fixture = Self {
            world,
            marks: Vec::new(),
            names: Names::new(),
            receivers,
        };
        fixture.build().await;
        fixture
    }

    /// Creates every user and app, and an object of every kind in every state.
    async fn build(&mut self) {
        let company = self.world.company(COMPANY);
        let (user, platform) = (company.user(USER), self.world.platform());
        let crm = company.app(CRM).install(USER).await.expect("the platform may");
        company.app(ERP).install(USER).await.expect("the platform may");
        for (company, user) in [(COMPANY, NEIGHBOUR), (COMPANY, BOSS), (ELSEWHERE, USER)] {
            platform
                .install_app(CRM, company, user)
                .await
                .expect("the platform may");
        }
        for app in [UNINSTALLED, RETIRED] {
            platform.register_app(app).await.expect("the platform may");
        }
        platform.remove_app(RETIRED).await.expect("the platform may");
        platform
            .upsert_user(COMPANY, GHOST, "ADMIN")
            .await
            .expect("the platform may");
        platform
            .remove_user(COMPANY, GHOST)
            .await
            .expect("the platform may");

        let [good, good_for_app, elsewhere, failing] = self.receivers.each_ref().map(Receiver::url);
        let fallen = create(&user, "fallen", &failing).await;
        self.publish(&secret()).await;
        self.world.advance("PT72H").await;

        // With a host name, so that there is a name to resolve.
        let good = good.replace("127.0.0.1", "localhost");
        let healthy = create(&user, "healthy", &good).await;
        let banned = create(&user, "banned", &failing).await;
        let deleted = create(&user, "deleted", &good).await;
        user.delete_webhook(&deleted.id).await.expect("it is the user's");
        let application = crm
            .create_webhook(named("mark-application", &good_for_app))
            .await
            .expect("the app is installed")
            .webhook;
        let strangers = [
            company.user(NEIGHBOUR),
            self.world.company(ELSEWHERE).admin(STRANGER),
        ];
        for stranger in &strangers {
            let own = stranger.create_webhook(NewWebhook::to(&elsewhere)).await;
            let own = own.expect("they may").webhook.id;
            assert_eq!(own[..LANE], healthy.id[..LANE], "of one lane");
        }
        let mut secrets = Vec::new();
        for _ in 0..BANNING {
            secrets.push(self.publish(&secret()).await);
        }
        let open = self.publish(&open()).await;
        let flaky = create(&user, "flaky", &failing).await;
        secrets.push(self.publish(&secret()).await);
        let first = user.deliveries(&healthy.id).await.expect("it is the user's");
        let again = json!({"deliveryIds": [first[0].id]});
        user.replay(again).await.expect("it has ended");
        // Before the first retry is due, and so that the events have a span of time.
        self.world.advance("PT1S").await;

        let general = [&healthy, &banned, &flaky, &deleted, &fallen];
        self.name_webhooks(&general, &application).await;
        self.name_events(&secrets, &open);
        self.name_lists().await;
    }

    async fn publish(&self, event: &NewEvent) -> (String, String) {
        let published = self.world.platform().publish_one(event.clone()).await;
        self.world.settle().await;
        let event = published.expect("the platform may publish").event;
        (event.id, event.event_id)
    }

    async fn name_webhooks(&mut self, general: &[&Webhook; 5], application: &Webhook) {
        let operator = self.world.operator();
        let (mut deliveries, mut notices) = (Vec::new(), Vec::new());
        for webhook in general {
            self.mark(&[Group::General], &webhook.id);
            for delivery in operator
                .deliveries(&webhook.id)
                .await
                .expect("an operator sees all")
            {
                self.mark(&[Group::General], &delivery.id);
                deliveries.push(delivery.id);
            }
            for notice in operator.notices(&webhook.id).await.expect("an operator sees all") {
                self.mark(&[Group::General], &notice.id);
                notices.push(notice.id);
            }
        }
        let applied = operator
            .deliveries(&application.id)
            .await
            .expect("an operator sees all");
        self.mark(&[Group::Application], &application.id);
        for delivery in &applied {
            self.mark(&[Group::Application], &delivery.id);
        }
        self.mark(&[Group::General], "mark-general");
        self.mark(&[Group::Application], "mark-application");
        self.mark(&[Group::General, Group::Application], "mark-secret-data");
        self.mark(&[Group::Company], &COMPANY.to_string());
        self.mark(&[Group::App], "mark-of-the-private-app");
        let [healthy, banned, _, _, fallen] = general;
        let mut all: Vec<String> = general.iter().map(|webhook| webhook.id.clone()).collect();
        all.push(application.id.clone());
        let of_banned = operator.notices(&banned.id).await.expect("an operator sees all");
        for (name, id) in [
            ("general", &healthy.id),
            ("fallen", &fallen.id),
            ("application", &application.id),
            ("delivery", &deliveries[0]),
            ("applied", &applied[0].id),
            ("notice", &of_banned[0].id),
        ] {
            self.name(name, id);
        }
        for (name, webhook) in [
            ("general number", healthy),
            ("fallen number", fallen),
            ("application number", &application),
        ] {
            self.name_number(name, &webhook.number);
        }
        self.name("company", &COMPANY.to_string());
        self.name("user", &USER.to_string());
        self.name("url", "mark-general-url-of-healthy");
        self.name("app id", CRM);
        self.name_all("all webhooks", &all);
        self.name_all("all deliveries", &deliveries);
        self.name_all("all notices", &notices);
    }

    fn name_events(&mut self, secrets: &[(String, String)], open: &(String, String)) {
        let mut ids = vec![open.0.clone()];
        for (id, event) in secrets {
            self.mark(&[Group::Secret], id);
            self.mark(&[Group::Secret], event);
            ids.push(id.clone());
        }
        self.mark(&[Group::Open], &open.0);
        self.mark(&[Group::Open], &open.1);
        for what in ["object", "cause"] {
            self.mark(&[Group::Secret], &format!("mark-secret-{what}"));
            self.mark(&[Group::Open], &format!("mark-open-{what}"));
        }
        self.name("event", &secrets[0].0);
        self.name("event id", &secrets[0].1);
        self.name("open event", &open.0);
        self.name_all("all events", &ids);
    }

    /// Adds cursors, and values that only an operator can list.
    async fn name_lists(&mut self) {
        let document = "{ webhooks { pageInfo { endCursor } } deliveries { pageInfo { endCursor } } \
            notices { pageInfo { endCursor } } apps { pageInfo { endCursor } nodes { id appId } } }";
        let read = self.world.operator().query(document, json!({})).await;
        let read = read.expect("an operator sees all");
        for (list, name) in [
            ("webhooks", "webhook cursor"),
            ("deliveries", "delivery cursor"),
            ("notices", "notice cursor"),
            ("apps", "app cursor"),
        ] {
            self.name(name, text(&read[list]["pageInfo"]["endCursor"]));
        }
        let apps = read["apps"]["nodes"].as_array().expect("a list");
        let of = |id: &str| {
            apps.iter()
                .find(|app| app["appId"] == id)
                .map(|app| text(&app["id"]))
        };
        let (crm, retired) = (of(CRM).expect("it is registered"), of(RETIRED).expect("it was"));
        let both = [crm.to_owned(), retired.to_owned()];
        self.mark(&[Group::App], crm);
        self.name("app", crm);
        self.name_all("all apps", &both);
    }

    fn mark(&mut self, of: &[Group], text: &str) {
        self.marks.push(Mark {
            of: of.to_vec(),
            text: text.to_owned(),
        });
    }

    fn name(&mut self, name: &'static str, value: &str) {
        let literals = (json!(value).to_string(), json!(twin(value)).to_string());
        self.names.insert(name, literals);
    }

    /// The twin of a number is one that no webhook has.
    fn name_number(&mut self, name: &'static str, number: &str) {
        let twin = number.parse::<u64>().expect("a number") + FAR_FROM_ALL_NUMBERS;
        let literals = (json!(number).to_string(), json!(twin.to_string()).to_string());
        self.names.insert(name, literals);
    }

    fn name_all(&mut self, name: &'static str, values: &[String]) {
        let twins: Vec<String> = values.iter().map(|value| twin(value)).collect();
        self.names
            .insert(name, (json!(values).to_string(), json!(twins).to_string()));
    }

    /// The query with its placeholders replaced by values.
    pub fn fill(&self, question: &str) -> String {
        self.filled(question, |(value, _)| value)
    }

    /// The same query about objects that do not exist.
    pub fn fill_with_twins(&self, question: &str) -> String {
        self.filled(question, |(_, twin)| twin)
    }

    fn filled(&self, question: &str, choose: impl Fn(&(String, String)) -> &String) -> String {
        let mut filled = question.to_owned();
        for (name, literals) in &self.names {
            filled = filled.replace(&format!("<{name}>"), choose(literals));
        }
        assert!(!filled.contains('<'), "a name that stands for nothing: {filled}");
        filled
    }
}

async fn create(user: &Client, name: &str, url: &str) -> Webhook {
    let new = named(
        &format!("mark-general-{name}"),
        &format!("{url}/mark-general-url-of-{name}"),
    );
    user.create_webhook(new).await.expect("the user may").webhook
}

fn named(name: &str, url: &str) -> NewWebhook {
    let new = NewWebhook::to(url).basic_auth(&format!("{name}-basic"), &format!("{name}-password"));
    NewWebhook {
        name: Some(name.to_owned()),
        ..new
    }
}

/// An event that only the user may see. Its delivery and attempts belong to it.
pub fn secret() -> NewEvent {
    NewEvent::new(COMPANY, "CHANGE", "deal", "mark-secret-object")
        .with("permittedUserIds", json!([USER.to_string()]))
        .with("correlationId", "mark-secret-cause")
        .with("data", json!({"title": "mark-secret-data"}))
}

/// An event that everyone in the company may see.
pub fn open() -> NewEvent {
    NewEvent::new(COMPANY, "CHANGE", "deal", "mark-open-object").with("correlationId", "mark-open-cause")
}

/// A text of the same form, with another digit in the random part of the id.
fn twin(value: &str) -> String {
    let at = 20.min(value.len() - 2);
    let other = if value[at..].starts_with('0') { "1" } else { "0" };
    format!("{}{other}{}", &value[..at], &value[at + 1..])
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}
