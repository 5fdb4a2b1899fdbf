//! Creating, reading and changing webhooks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tenterhook_harness::model::{RemoveReason, State as Health, Webhook};

use super::Bend;
use super::caller::Caller;
use super::document::Refused;
use super::state::{Hook, State};
use super::view::{connection, removed, user_error};

const SHARED: [&str; 9] = [
    "activity",
    "deal",
    "note",
    "organization",
    "person",
    "pipeline",
    "product",
    "stage",
    "user",
];

const ONLY_IN_V2: [&str; 7] = [
    "board",
    "deal_installment",
    "deal_product",
    "lead",
    "phase",
    "project",
    "task",
];

/// The fields of `CreateWebhookInput`.
const INPUTS: [&str; 8] = [
    "subscriptionUrl",
    "eventAction",
    "eventObject",
    "version",
    "name",
    "userId",
    "httpAuthUser",
    "httpAuthPassword",
];

/// Whether a version's catalogue has this object (W9).
pub fn in_catalogue(v1: bool, object: &str) -> bool {
    let own: &[&str] = if v1 { &["activityType"] } else { &ONLY_IN_V2 };
    SHARED.contains(&object) || own.contains(&object)
}

/// The code of a user error, and the input field that it is about.
type Complaint = (&'static str, &'static str);

impl State {
    fn place(&self, id: &Value) -> Option<usize> {
        let id = id.as_str()?;
        let number: usize = id.strip_prefix("webhook-").unwrap_or(id).parse().ok()?;
        (1..=self.hooks.len()).contains(&number).then(|| number - 1)
    }

    fn seen(&self, caller: &Caller, id: &Value) -> Option<usize> {
        self.place(id)
            .filter(|place| caller.sees(&self.hooks[*place], self) && self.is_kept(*place))
    }

    /// Whether a removed webhook is still readable (W12).
    fn is_kept(&self, place: usize) -> bool {
        match self.hooks[place].model.standing {
            tenterhook_harness::model::Standing::Removed { at, .. } => {
                self.now < at + self.numbers.removed_retention
            }
            _ => true,
        }
    }

    pub fn read_webhook(&self, caller: &Caller, id: &Value) -> Result<Value, Refused> {
        caller.needs("webhooks:read")?;
        let Some(place) = self.seen(caller, id) else {
            return Ok(Value::Null);
        };
        let mut webhook = self.webhook(place);
        webhook["deliveries"] = self.deliveries_of(place);
        Ok(webhook)
    }

    pub fn list_webhooks(&self, caller: &Caller, arguments: &Value) -> Result<Value, Refused> {
        caller.needs("webhooks:read")?;
        let filter = &arguments["filter"];
        let states = filter["state"].as_array();
        let wants_removed = filter["includeRemoved"] == true
            || states.is_some_and(|states| states.iter().any(|state| state == "REMOVED"));
        let places = (0..self.hooks.len()).rev().filter(|place| {
            caller.sees(&self.hooks[*place], self)
                && self.is_kept(*place)
                && (wants_removed || self.health(*place) != Health::Removed)
        });
        let wanted = |webhook: &Value| {
            let is = |field: &str, asked: &Value| asked.is_null() || webhook[field] == *asked;
            let url = webhook["subscriptionUrl"]
                .as_str()
                .unwrap_or_default()
                .to_lowercase();
            (is("type", &arguments["type"]) || self.bends(Bend::ListsIgnoreTheType))
                && ["eventAction", "eventObject", "userId", "companyId"]
                    .iter()
                    .all(|field| is(field, &filter[field]))
                && (filter["appId"].is_null() || webhook["app"]["appId"] == filter["appId"])
                && filter["urlContains"]
                    .as_str()
                    .is_none_or(|part| url.contains(&part.to_lowercase()))
                && states.is_none_or(|states| states.contains(&webhook["health"]["state"]))
        };
        Ok(connection(
            places.map(|place| self.webhook(place)).filter(wanted).collect(),
        ))
    }

    fn used(&self, company: &str, user: &str, app: Option<&String>) -> u32 {
        let counts = |place: &usize| {
            let hook = &self.hooks[*place];
            let there = match self.health(*place) {
                Health::Removed => self.bends(Bend::RemovalFreesNoPlace),
                Health::Banned => !self.bends(Bend::BannedOnesAreNotCounted),
                _ => true,
            };
            let same_app = hook.app.as_ref() == app || self.bends(Bend::OneLimitForAUserAndTheirApps);
            there && hook.company == company && hook.user == user && same_app
        };
        u32::try_from((0..self.hooks.len()).filter(counts).count()).unwrap_or(u32::MAX)
    }

    pub fn quota(&self, caller: &Caller, arguments: &Value) -> Result<Value, Refused> {
        caller.needs("webhooks:read")?;
        let user = arguments["userId"].as_str().unwrap_or(&caller.user);
        let app = caller.app.as_ref().filter(|_| arguments["type"] == "APPLICATION");
        let may_count = app.is_some() || (caller.app_is_there(self) && caller.sees_general_of(user, self));
        if !may_count && !self.bends(Bend::AppsCountGeneralWebhooks) {
            return Err(Refused::new("FORBIDDEN", "webhooks that the caller cannot see"));
        }
        let (limit, used) = (self.numbers.webhook_limit, self.used(&caller.company, user, app));
        let remaining = limit.saturating_sub(used);
        Ok(json!({"type": arguments["type"], "limit": limit, "used": used, "remaining": remaining}))
    }

    pub fn create_webhook(&mut self, caller: &Caller, input: &Value) -> Result<Value, Refused> {
        caller.needs("webhooks:write")?;
        let unknown = input
            .as_object()
            .into_iter()
            .flatten()
            .find(|(field, _)| !INPUTS.contains(&field.as_str()) && !self.bends(Bend::TypeIsAnInput));
        if let Some((field, _)) = unknown {
            return Err(Refused::new(
                "GRAPHQL_VALIDATION_FAILED",
                format!("there is no input {field}"),
            ));
        }
        let user = input["userId"].as_str().unwrap_or(&caller.user).to_owned();
        if let Some((code, field)) = self.wrong_with(caller, input, &user) {
            return Ok(
                json!({"webhook": null, "signingSecret": null, "userErrors": [user_error(code, field)]}),
            );
        }
        let counted = if self.bends(Bend::LimitCountsTheCreator) {
            &caller.user
        } else {
            &user
        };
        let (limit, used) = (
            self.numbers.webhook_limit,
            self.used(&caller.company, counted, caller.app.as_ref()),
        );
        if used >= limit && !(caller.through_rest && self.bends(Bend::RestIgnoresTheLimit)) {
            let mut error = user_error("LIMIT_REACHED", "");
            error["__typename"] = json!("LimitReachedError");
            error["path"] = json!(["input"]);
            error["limit"] = json!(limit);
            error["used"] = json!(used);
            error["scope"] = json!(if caller.app.is_some() {
                "APPLICATION"
            } else {
                "GENERAL"
            });
            return Ok(json!({"webhook": null, "signingSecret": null, "userErrors": [error]}));
        }
        let number = self.hooks.len() + 1;
        let of = if self.bends(Bend::OneSecretForAll) {
            1
        } else {
            number
        };
        let secret = format!("a secret of webhook number {of:06}").into_bytes();
        let shown = format!("whsec_{}", STANDARD.encode(&secret));
        let text = |field: &str| input[field].as_str().unwrap_or_default().to_owned();
        let mut model = Webhook::new();
        model.failing_since = Some(self.now).filter(|_| self.bends(Bend::SilenceOpensAWindow));
        self.hooks.push(Hook {
            number,
            company: caller.company.clone(),
            owner: caller.user.clone(),
            user,
            app: caller.app.clone(),
            v1: input["version"] == "V1",
            name: input["name"].clone(),
            url: text("subscriptionUrl"),
            action: text("eventAction"),
            object: text("eventObject"),
            auth_user: input["httpAuthUser"].clone(),
            auth_password: input["httpAuthPassword"].clone(),
            secret,
            created: self.now,
            updated: self.now,
            model,
            last_success: None,
            last_attempt: None,
            last_status: None,
            last_class: None,
            lost: 0,
        });
        if self.bends(Bend::LaterWebhooksGetEarlierEvents) {
            for event in 0..self.events.len() {
                if self.wants(number - 1, &self.events[event]) {
                    self.owe(number - 1, event);
                }
            }
        }
        Ok(json!({"webhook": self.webhook(number - 1), "signingSecret": shown, "userErrors": []}))
    }

    fn wrong_with(&self, caller: &Caller, input: &Value, user: &str) -> Option<Complaint> {
        let known = self.users.contains(&(caller.company.clone(), user.to_owned()));
        if !caller.app_is_there(self) {
            Some(("APP_NOT_INSTALLED", ""))
        } else if user != caller.user
            && (caller.app.is_some() || !caller.admin)
            && !self.bends(Bend::RegularUsersCreateForOthers)
        {
            Some(("FORBIDDEN", "userId"))
        } else if !known {
            Some(("NOT_FOUND", "userId"))
        } else {
            self.wrong_fields(input, input["version"] == "V1")
        }
    }

    /// The error in the given fields, if any.
    fn wrong_fields(&self, input: &Value, v1: bool) -> Option<Complaint> {
        let passes = |code: &str| match self.bend {
            Some(Bend::EverythingIsInTheCatalogue) => code == "NOT_IN_CATALOG",
            Some(Bend::EveryUrlIsTaken) => code == "INVALID_URL",
            _ => false,
        };
        wrong_fields(input, v1).filter(|(code, _)| !passes(code))
    }

    /// `updateWebhook`, `deleteWebhook`, `pauseWebhook`, `resumeWebhook` and `restoreWebhook`.
    pub fn change_webhook(
        &mut self,
        caller: &Caller,
        mutation: &str,
        input: &Value,
    ) -> Result<Value, Refused> {
        caller.needs("webhooks:write")?;
        let done = self.try_change(caller, mutation, input);
        Ok(match done {
            Ok(place) => {
                self.hooks[place].updated = self.now;
                json!({"webhook": self.webhook(place), "deletedWebhookId": input["id"], "userErrors": []})
            }
            Err((code, field)) => json!({"webhook": null, "userErrors": [user_error(code, field)]}),
        })
    }

    fn try_change(&mut self, caller: &Caller, mutation: &str, input: &Value) -> Result<usize, Complaint> {
        if !caller.app_is_there(self) {
            return Err(("APP_NOT_INSTALLED", ""));
        }
        let anybody = self.bends(Bend::AnybodyChanges);
        let found = if anybody {
            self.place(&input["id"])
        } else {
            self.seen(caller, &input["id"])
        };
        let place = found.ok_or(("NOT_FOUND", "id"))?;
        let may = caller.may_change(&self.hooks[place]) || self.bends(Bend::AppsChangeGeneralWebhooks);
        if !may && !anybody {
            return Err(("FORBIDDEN", "id"));
        }
        let health = self.health(place);
        let restores = mutation == "restoreWebhook";
        if removed(&self.hooks[place].model.standing) != restores {
            return Err(("INVALID_STATE", "id"));
        }
        let (now, numbers) = (self.now, self.numbers.clone());
        match mutation {
            "deleteWebhook" => {
                let own = self.hooks[place].user == caller.user;
                let reason = match &caller.app {
                    Some(_) => RemoveReason::DeletedByApp,
                    None if own => RemoveReason::DeletedByUser,
                    None => RemoveReason::DeletedByAdmin,
                };
                self.remove(place, reason);
            }
            "pauseWebhook" if health != Health::Paused => {
                self.hooks[place].model.pause(now, &numbers);
            }
            "resumeWebhook" if health == Health::Paused => {
                self.hooks[place].model.resume(now, &numbers);
            }
            "restoreWebhook" => {
                let hook = &self.hooks[place];
                if self.used(&hook.company, &hook.user, hook.app.as_ref()) >= numbers.webhook_limit {
                    return Err(("LIMIT_REACHED", "id"));
                }
                if !self.hooks[place].model.restore(now, &numbers) {
                    return Err(("INVALID_STATE", "id"));
                }
            }
            "updateWebhook" => {
                if let Some(complaint) = self.wrong_fields(input, self.hooks[place].v1) {
                    return Err(complaint);
                }
                self.update(place, input);
            }
            _ => return Err(("INVALID_STATE", "id")),
        }
        Ok(place)
    }

    fn update(&mut self, place: usize, input: &Value) {
        let keeps_null = self.bends(Bend::NullLeavesTheCredentials);
        let hook = &mut self.hooks[place];
        let texts = [
            ("subscriptionUrl", &mut hook.url),
            ("eventAction", &mut hook.action),
            ("eventObject", &mut hook.object),
        ];
        for (field, held) in texts {
            if let Some(text) = input[field].as_str() {
                text.clone_into(held);
            }
        }
        let optional = [
            ("name", &mut hook.name),
            ("httpAuthUser", &mut hook.auth_user),
            ("httpAuthPassword", &mut hook.auth_password),
        ];
        for (field, held) in optional {
            if let Some(value) = input.get(field)
                && !(keeps_null && value.is_null())
            {
                *held = value.clone();
            }
        }
    }
}

/// The error in the given fields (W9, W10 without addresses, lengths), if any.
fn wrong_fields(input: &Value, v1: bool) -> Option<Complaint> {
    let length = |field: &str| input[field].as_str().map_or(0, |text| text.chars().count());
    if length("subscriptionUrl") > 2048 {
        return Some(("TOO_LONG", "subscriptionUrl"));
    }
    if let Some(long) = ["name", "httpAuthUser", "httpAuthPassword"]
        .into_iter()
        .find(|field| length(field) > 255)
    {
        return Some(("TOO_LONG", long));
    }
    if let Some(text) = input["subscriptionUrl"].as_str() {
        let fits = |url: reqwest::Url| {
            ["http", "https"].contains(&url.scheme()) && url.username().is_empty() && url.password().is_none()
        };
        if !reqwest::Url::parse(text).is_ok_and(fits) {
            return Some(("INVALID_URL", "subscriptionUrl"));
        }
    }
    if input["eventAction"] == "MERGE" && !v1 {
        return Some(("NOT_IN_CATALOG", "eventAction"));
    }
    let object = input["eventObject"].as_str().unwrap_or("*");
    (object != "*" && !in_catalogue(v1, object)).then_some(("NOT_IN_CATALOG", "eventObject"))
}
