//! The verdicts: for each element of the schema, who may use it and who may not, and the rule for that.
//!
//! A root field, mutation or type without a row fails the test, and so does a row without its element. `<names>` are
//! values of the fixture. A row is one line, however long, because a table is read by columns.

use super::assertions::Expected;
use super::assertions::Group::{self, App, Application, General, Open, Secret};
use super::callers::{Identity, Kind};
use super::fixture::USER;

/// Whose tokens are accepted. Others get the top-level error `FORBIDDEN`, whatever they query.
#[derive(Debug, Clone, Copy)]
pub enum Gate {
    /// Every valid token.
    Everyone,
    /// Tokens with `webhooks:read`, through an app those with `admin` (W2), and the operator.
    Readers,
    /// The same without the operator, who has to name a webhook.
    Users,
    /// The same for the general webhooks of one user: the user itself, or an admin for any user of the company (W3).
    /// Through an app only the user itself, and only where the app sees them (W4).
    Account,
    /// The same for data that only an app may know.
    Apps,
    /// Readers, and the platform for what it has published.
    ReadersAndPlatform,
    PlatformAndOperator,
}

/// What accepted callers see.
#[derive(Debug, Clone, Copy)]
pub enum Shows {
    /// The named object: the groups that the caller can see. A caller who can see none of them gets nothing.
    Named(&'static [Group]),
    /// A list with the data of these groups that the caller can see, and possibly with own data.
    Listed(&'static [Group]),
    /// The caller's own data, or public data.
    Own,
}

use Gate::{Account, Apps, Everyone, PlatformAndOperator, Readers, ReadersAndPlatform, Users};
use Shows::{Listed, Named, Own};

/// A root field with arguments, who may use it, what it shows, and the rule.
pub type Ask = (&'static str, &'static str, Gate, Shows, &'static str);

const WEBHOOKS: &[Group] = &[General, Application];
const EVENTS: &[Group] = &[Secret, Open];

#[rustfmt::skip]
pub const QUERIES: &[Ask] = &[
    ("viewer", "", Everyone, Own, "schema.graphql"),
    ("node", "id: <general>", Readers, Named(&[General]), "W4"),
    ("node", "id: <application>", Readers, Named(&[Application]), "W5"),
    ("node", "id: <delivery>", Readers, Named(&[General]), "W4"),
    ("node", "id: <applied>", Readers, Named(&[Application]), "W5"),
    ("node", "id: <notice>", Readers, Named(&[General]), "W4, R4"),
    ("node", "id: <event>", ReadersAndPlatform, Named(&[Secret]), "E2"),
    ("node", "id: <open event>", ReadersAndPlatform, Named(&[Open]), "E2"),
    ("node", "id: <app>", Everyone, Named(&[App]), "schema.graphql"),
    ("nodes", "ids: <all webhooks>", Readers, Named(WEBHOOKS), "W4, W5"),
    ("nodes", "ids: <all deliveries>", Readers, Named(&[General]), "W4"),
    ("nodes", "ids: <all notices>", Readers, Named(&[General]), "W4, R4"),
    ("nodes", "ids: <all events>", ReadersAndPlatform, Named(EVENTS), "E2"),
    ("nodes", "ids: <all apps>", Everyone, Named(&[App]), "schema.graphql"),
    ("webhook", "id: <general>", Readers, Named(&[General]), "W4"),
    ("webhook", "id: <application>", Readers, Named(&[Application]), "W5"),
    ("webhook", "id: <fallen>", Readers, Named(&[General]), "W12"),
    ("node", "id: <general number>", Everyone, Named(&[]), "a number is not a global id"),
    ("nodes", "ids: [<general number>]", Everyone, Named(&[]), "a number is not a global id"),
    ("webhook", "id: <general number>", Readers, Named(&[General]), "W4"),
    ("webhook", "id: <application number>", Readers, Named(&[Application]), "W5"),
    ("webhook", "id: <fallen number>", Readers, Named(&[General]), "W12"),
    ("webhooks", "", Readers, Listed(WEBHOOKS), "W4, W5"),
    ("webhooks", "filter: {includeRemoved: true}", Readers, Listed(WEBHOOKS), "W12"),
    ("webhooks", "type: APPLICATION", Readers, Listed(&[Application]), "W5"),
    ("webhooks", "filter: {urlContains: <url>}", Readers, Named(&[General]), "W4"),
    ("webhooks", "filter: {userId: <user>}", Readers, Named(WEBHOOKS), "W4"),
    ("webhooks", "filter: {appId: <app id>}", Readers, Named(&[Application]), "W5"),
    ("webhooks", "filter: {companyId: <company>}", Readers, Listed(WEBHOOKS), "W4"),
    ("webhooks", "filter: {number: <general number>}", Readers, Named(&[General]), "W4"),
    ("webhooks", "filter: {number: <application number>}", Readers, Named(&[Application]), "W5"),
    ("webhooks", "after: <webhook cursor>", Readers, Listed(&[]), "W4"),
    ("webhooks", "before: <webhook cursor>", Readers, Listed(&[]), "W4"),
    ("webhookQuota", "type: GENERAL, userId: <user>", Account, Own, "W3"),
    ("webhookQuota", "type: APPLICATION", Apps, Own, "W3, W5"),
    ("event", "id: <event>", ReadersAndPlatform, Named(&[Secret]), "E2"),
    ("event", "id: <event id>", ReadersAndPlatform, Named(&[Secret]), "E2"),
    ("event", "id: <open event>", ReadersAndPlatform, Named(&[Open]), "E2"),
    ("deliveries", "", Readers, Listed(WEBHOOKS), "W4"),
    ("deliveries", "filter: {webhookId: <general>}", Readers, Named(&[General]), "W4"),
    ("deliveries", "filter: {webhookId: <application>}", Readers, Named(&[Application]), "W5"),
    ("deliveries", "filter: {webhookId: <general number>}", Readers, Named(&[General]), "W4"),
    ("deliveries", "filter: {webhookId: <application number>}", Readers, Named(&[Application]), "W5"),
    ("deliveries", "filter: {eventId: <event>}", Readers, Named(WEBHOOKS), "W4, E2"),
    ("deliveries", "filter: {eventId: <event id>}", Readers, Listed(&[]), "W4, E2"),
    ("deliveries", "after: <delivery cursor>", Readers, Listed(&[]), "W4"),
    ("deliveries", "before: <delivery cursor>", Readers, Listed(&[]), "W4"),
    ("eventCatalog", "", Everyone, Own, "W9: nobody's"),
    ("notices", "", Readers, Listed(&[General]), "R4"),
    ("notices", "filter: {webhookId: <fallen>}", Readers, Named(&[General]), "R4"),
    ("notices", "filter: {webhookId: <fallen number>}", Readers, Named(&[General]), "R4"),
    ("notices", "filter: {webhookId: <application>}", Readers, Listed(&[]), "W5, R4"),
    ("notices", "after: <notice cursor>", Readers, Listed(&[]), "R4"),
    ("apps", "", PlatformAndOperator, Listed(&[App]), "schema.graphql"),
    ("apps", "after: <app cursor>", PlatformAndOperator, Listed(&[]), "schema.graphql"),
];

#[rustfmt::skip]
pub const SUBSCRIPTIONS: &[Ask] = &[
    ("webhookChanged", "", Readers, Listed(&[General]), "W4"),
    ("webhookChanged", "id: <general>", Readers, Named(&[General]), "W4"),
    ("webhookChanged", "id: <general number>", Readers, Named(&[General]), "W4"),
    ("attemptRecorded", "", Users, Listed(WEBHOOKS), "W4, W5"),
    ("attemptRecorded", "webhookId: <general>", Readers, Named(&[General]), "W4"),
    ("attemptRecorded", "webhookId: <application>", Readers, Named(&[Application]), "W5"),
    ("attemptRecorded", "webhookId: <application number>", Readers, Named(&[Application]), "W5"),
    ("noticePosted", "", Readers, Listed(&[General]), "R4"),
];

/// How to query the fields of a type.
#[derive(Debug, Clone, Copy)]
pub enum Entry {
    /// With this query.
    Ask(&'static str, Gate, Shows),
    /// Within another type: with the same visibility.
    Within,
    /// As the payload of a mutation, for callers who may use it.
    Payload,
    /// As an error of a mutation's input: only about the input and the caller's limit.
    Complaint,
}

use Entry::{Complaint, Payload, Within};

#[rustfmt::skip]
pub const TYPES: &[(&str, Entry, &str)] = &[
    ("Node", Entry::Ask("nodes(ids: <all webhooks>)", Readers, Named(WEBHOOKS)), "W4, W5"),
    ("Webhook", Entry::Ask("nodes(ids: <all webhooks>)", Readers, Named(WEBHOOKS)), "W4, W5"),
    ("Delivery", Entry::Ask("nodes(ids: <all deliveries>)", Readers, Named(&[General])), "W4"),
    ("Notice", Entry::Ask("nodes(ids: <all notices>)", Readers, Named(&[General])), "R4"),
    ("Event", Entry::Ask("nodes(ids: <all events>)", ReadersAndPlatform, Named(EVENTS)), "E2"),
    ("App", Entry::Ask("nodes(ids: <all apps>)", Everyone, Named(&[App])), "schema.graphql"),
    ("Viewer", Entry::Ask("viewer", Everyone, Own), "schema.graphql"),
    ("WebhookQuota", Entry::Ask("webhookQuota(type: GENERAL, userId: <user>)", Account, Own), "W3"),
    ("EventCatalog", Entry::Ask("eventCatalog", Everyone, Own), "W9: nobody's"),
    ("WebhookConnection", Entry::Ask("webhooks(first: 1, filter: {userId: <user>, includeRemoved: true})", Readers, Named(WEBHOOKS)), "W4, W5"),
    ("DeliveryConnection", Entry::Ask("deliveries(filter: {webhookId: <general>})", Readers, Named(&[General])), "W4"),
    ("NoticeConnection", Entry::Ask("notices(filter: {webhookId: <fallen>})", Readers, Named(&[General])), "R4"),
    ("AppConnection", Entry::Ask("apps", PlatformAndOperator, Listed(&[App])), "schema.graphql"),
    ("WebhookEdge", Within, "as its list"),
    ("DeliveryEdge", Within, "as its list"),
    ("NoticeEdge", Within, "as its list"),
    ("AppEdge", Within, "as its list"),
    ("PageInfo", Within, "as its list"),
    ("WebhookHealth", Within, "as its webhook"),
    ("HealthTransition", Within, "as its webhook"),
    ("DeliveryStats", Within, "as its webhook"),
    ("Attempt", Within, "as its delivery"),
    ("AttemptTimings", Within, "as its attempt"),
    ("Header", Within, "as its attempt"),
    ("CreateWebhookPayload", Payload, "W1, W2, W7"),
    ("UpdateWebhookPayload", Payload, "W7"),
    ("DeleteWebhookPayload", Payload, "W6, W7"),
    ("PauseWebhookPayload", Payload, "W13"),
    ("ResumeWebhookPayload", Payload, "W13"),
    ("RestoreWebhookPayload", Payload, "W12"),
    ("RotateWebhookSecretPayload", Payload, "E7"),
    ("TestWebhookPayload", Payload, "D12"),
    ("ReplayDeliveriesPayload", Payload, "D12"),
    ("PublishEventsPayload", Payload, "E1"),
    ("PublishedEvent", Payload, "E1"),
    ("RegisterAppPayload", Payload, "schema.graphql"),
    ("RemoveAppPayload", Payload, "W8"),
    ("InstallAppPayload", Payload, "W8"),
    ("UninstallAppPayload", Payload, "W8"),
    ("UpsertUsersPayload", Payload, "schema.graphql"),
    ("RemoveUserPayload", Payload, "schema.graphql"),
    ("UserError", Complaint, "docs/graphql.md, Errors"),
    ("InputError", Complaint, "docs/graphql.md, Errors"),
    ("LimitReachedError", Complaint, "W3"),
];

/// The required arguments of fields below the roots.
pub const REQUIRED: &[(&str, &str)] = &[(
    "Webhook.stats",
    "since: \"2026-02-06T09:00:00Z\", bucket: \"PT1H\"",
)];

/// Who may use a mutation.
#[derive(Debug, Clone, Copy)]
pub enum Duty {
    /// Callers who manage webhooks of this group (W2, W6, W7). An app manages its own, and cannot change general ones,
    /// whether it sees them or not (W4).
    Manages(Group),
    /// The same, and the operator (D12).
    Replays(Group),
    /// Callers who may create a webhook for the user: the user itself, or an admin of the company (W7).
    Creates,
    Platform,
}

use Duty::{Creates, Manages, Replays};

/// A mutation, its input, who may use it, the caller who finally uses it, and the rule.
pub type Act = (&'static str, &'static str, Duty, &'static str, &'static str);

use super::callers::{ITS_APP, OPERATOR, OWNER, PLATFORM};

/// In an order in which all of them can succeed.
#[rustfmt::skip]
pub const MUTATIONS: &[Act] = &[
    ("createWebhook", "subscriptionUrl: \"http://127.0.0.1:9/\", eventAction: ANY, eventObject: \"*\", userId: <user>", Creates, OWNER, "W1, W2, W7"),
    ("updateWebhook", "id: <general>, name: \"taken\"", Manages(General), OWNER, "W7"),
    ("updateWebhook", "id: <application>, name: \"taken\"", Manages(Application), ITS_APP, "W5"),
    ("updateWebhook", "id: <general number>, name: \"taken\"", Manages(General), "", "W7"),
    ("updateWebhook", "id: <application number>, name: \"taken\"", Manages(Application), "", "W5"),
    ("rotateWebhookSecret", "id: <general>", Manages(General), OWNER, "W7, E7"),
    ("rotateWebhookSecret", "id: <application number>", Manages(Application), "", "W5, E7"),
    ("rotateWebhookSecret", "id: <application>", Manages(Application), ITS_APP, "W5, E7"),
    ("testWebhook", "id: <general>", Manages(General), OWNER, "W7, D12"),
    ("testWebhook", "id: <application>", Manages(Application), ITS_APP, "W5, D12"),
    ("testWebhook", "id: <application number>", Manages(Application), "", "W5, D12"),
    ("replayDeliveries", "webhookId: <application number>", Replays(Application), "", "W5, D12"),
    ("replayDeliveries", "deliveryIds: [<delivery>]", Replays(General), OWNER, "D12"),
    ("replayDeliveries", "webhookId: <general>, idempotencyKey: \"the user's\"", Replays(General), OPERATOR, "D12"),
    ("replayDeliveries", "webhookId: <general>, dryRun: true", Replays(General), "", "D12"),
    ("replayDeliveries", "deliveryIds: [<applied>]", Replays(Application), ITS_APP, "W5, D12"),
    ("pauseWebhook", "id: <application number>", Manages(Application), "", "W5, W13"),
    ("resumeWebhook", "id: <application number>", Manages(Application), "", "W5, W13"),
    ("deleteWebhook", "id: <general number>", Manages(General), "", "W7"),
    ("deleteWebhook", "id: <application number>", Manages(Application), "", "W6"),
    ("restoreWebhook", "id: <fallen number>", Manages(General), "", "W12"),
    ("pauseWebhook", "id: <general>", Manages(General), OWNER, "W13"),
    ("pauseWebhook", "id: <application>", Manages(Application), ITS_APP, "W5, W13"),
    ("resumeWebhook", "id: <general>", Manages(General), OWNER, "W13"),
    ("resumeWebhook", "id: <application>", Manages(Application), ITS_APP, "W5, W13"),
    ("deleteWebhook", "id: <general>", Manages(General), OWNER, "W7"),
    ("deleteWebhook", "id: <application>", Manages(Application), ITS_APP, "W6"),
    ("restoreWebhook", "id: <fallen>", Manages(General), OWNER, "W12"),
    ("publishEvents", "events: [{companyId: <company>, action: CREATE, object: \"deal\", objectId: \"9\", userId: <user>}]", Duty::Platform, PLATFORM, "E1"),
    ("registerApp", "appId: \"another\", name: \"Another\"", Duty::Platform, PLATFORM, "schema.graphql"),
    ("installApp", "appId: <app id>, companyId: <company>, userId: \"731057700806\"", Duty::Platform, PLATFORM, "W8"),
    ("uninstallApp", "appId: <app id>, companyId: <company>, userId: <user>", Duty::Platform, PLATFORM, "W8"),
    ("removeApp", "appId: <app id>", Duty::Platform, PLATFORM, "W8"),
    ("upsertUsers", "users: [{companyId: <company>, userId: <user>, role: ADMIN}]", Duty::Platform, PLATFORM, "schema.graphql"),
    ("removeUser", "companyId: <company>, userId: <user>", Duty::Platform, PLATFORM, "schema.graphql"),
];

/// What a caller may do with a REST route.
#[derive(Debug, Clone, Copy)]
pub enum Rest {
    /// List webhooks: those who may read. Shows the groups that the caller can see.
    Lists,
    /// As the mutation that does the same.
    Acts(Duty),
}

/// A request to the REST routes, with its body, who may send it, the caller who finally sends it, and the rule.
pub type Call = (
    &'static str,
    &'static str,
    &'static str,
    Rest,
    &'static str,
    &'static str,
);

const NEW: &str = r#"{"subscription_url":"http://127.0.0.1:9/","event_action":"*","event_object":"*","name":"n","user_id":<user>}"#;

#[rustfmt::skip]
pub const REST: &[Call] = &[
    ("GET", "/v1/webhooks", "", Rest::Lists, "", "W4, W5"),
    ("GET", "/api/v1/webhooks", "", Rest::Lists, "", "W4, W5"),
    ("GET", "/v1/webhooks?type=application&start=0", "", Rest::Lists, "", "W5"),
    ("POST", "/v1/webhooks", NEW, Rest::Acts(Creates), OWNER, "W1, W2, W7"),
    ("POST", "/api/v1/webhooks", NEW, Rest::Acts(Creates), OWNER, "W1, W2, W7"),
    ("DELETE", "/v1/webhooks/<general number>", "", Rest::Acts(Manages(General)), OWNER, "W7"),
    ("DELETE", "/v1/webhooks/<application number>", "", Rest::Acts(Manages(Application)), "", "W6"),
    ("DELETE", "/api/v1/webhooks/<application number>", "", Rest::Acts(Manages(Application)), ITS_APP, "W6"),
];

/// The expected status of a REST request for a caller.
pub fn status_of(who: &Identity, may: Rest, method: &str) -> u16 {
    let refused = match may {
        Rest::Lists => refusal(who, Readers).map(Expected::Refused),
        Rest::Acts(duty) => refusal_of(who, duty),
    };
    match (refused, method) {
        (Some(Expected::Refused("UNAUTHENTICATED")), _) => 401,
        // The user in the input is not in the caller's company.
        (Some(Expected::Told("NOT_FOUND")), "POST") => 400,
        (Some(Expected::Told("NOT_FOUND")), _) => 404,
        (Some(_), _) => 403,
        (None, "POST") => 201,
        (None, _) => 200,
    }
}

/// The code of the top-level error for a caller whose token is not accepted here.
fn refusal(who: &Identity, gate: Gate) -> Option<&'static str> {
    let operator = who.kind == Kind::Operator;
    let passes = match gate {
        _ if who.kind == Kind::Nobody => return Some("UNAUTHENTICATED"),
        // The query is meaningless for an operator.
        Account | Apps | Users if operator => return Some("BAD_USER_INPUT"),
        Everyone => true,
        Readers | Users => who.reads,
        Account => {
            who.reads && who.sees_own_general && (who.user == USER || (who.admin && who.app.is_none()))
        }
        Apps => who.reads && who.app.is_some(),
        ReadersAndPlatform => who.reads || who.kind == Kind::Platform,
        PlatformAndOperator => operator || who.kind == Kind::Platform,
    };
    (!passes).then_some("FORBIDDEN")
}

/// The expected response for a caller.
pub fn answer_to(who: &Identity, gate: Gate, shows: Shows) -> Expected {
    if let Some(code) = refusal(who, gate) {
        return Expected::Refused(code);
    }
    let sees = who.sees();
    let seen = |groups: &[Group]| {
        groups
            .iter()
            .copied()
            .filter(|group| sees.contains(group))
            .collect()
    };
    match shows {
        Named(groups) if !groups.iter().any(|group| sees.contains(group)) => Expected::Nothing,
        Named(groups) | Listed(groups) => Expected::Shown(seen(groups)),
        Own => Expected::Own,
    }
}

/// The expected refusal of a mutation; `None` if the caller may use it.
pub fn refusal_of(who: &Identity, duty: Duty) -> Option<Expected> {
    let (group, users) = match duty {
        _ if who.kind == Kind::Nobody => return Some(Expected::Refused("UNAUTHENTICATED")),
        Duty::Platform if who.kind == Kind::Platform => return None,
        Duty::Platform => return Some(Expected::Refused("FORBIDDEN")),
        Replays(_) if who.kind == Kind::Operator => return None,
        Manages(group) | Replays(group) => (Some(group), true),
        Creates => (None, who.user == USER),
    };
    if !who.writes {
        return Some(Expected::Refused("FORBIDDEN"));
    }
    if !who.installed {
        return Some(Expected::Told("APP_NOT_INSTALLED"));
    }
    let told = match group {
        Some(group) if !who.reaches.contains(&group) => Some("NOT_FOUND"),
        Some(General) if who.app.is_some() => Some("FORBIDDEN"),
        Some(_) => None,
        None if users => None,
        None if who.app.is_some() || !who.admin => Some("FORBIDDEN"),
        None if who.company != super::fixture::COMPANY => Some("NOT_FOUND"),
        None => None,
    };
    told.map(Expected::Told)
}
