//! Mutations of the platform: it publishes, and manages users, apps and installations.

use serde_json::{Value, json};
use tenterhook_harness::model::RemoveReason;

use super::Bend;
use super::caller::Caller;
use super::document::Refused;
use super::state::{Delivery, Event, Hook, State};
use super::view::{event as shown, user_error};
use super::webhooks::in_catalogue;

impl State {
    pub fn publish(&mut self, caller: &Caller, input: &Value) -> Result<Value, Refused> {
        caller.needs("platform")?;
        let inputs = input["events"].as_array().cloned().unwrap_or_default();
        let (mut events, mut errors) = (Vec::new(), Vec::new());
        if inputs.len() > 1000 {
            return Ok(json!({"events": [], "userErrors": [user_error("TOO_MANY", "events")]}));
        }
        if self.spoilt > 0 {
            self.spoilt -= 1;
            return Err(Refused::new("INTERNAL", "the call before it was bad"));
        }
        let mut left_out = Vec::new();
        for (index, input) in inputs.iter().enumerate() {
            if let Some((code, field)) = wrong_with(input) {
                self.spoilt = usize::from(self.bends(Bend::OneBadCallRefusesItsNeighbours));
                let mut error = user_error(code, field);
                error["path"] = json!(["input", "events", index.to_string(), field]);
                if self.bends(Bend::AcceptsTheRestOfABadCall) {
                    errors.push(error);
                    left_out.push(index);
                    continue;
                }
                return Ok(json!({"events": [], "userErrors": [error]}));
            }
        }
        let good = inputs.into_iter().enumerate();
        for (index, input) in good.filter(|(index, _)| !left_out.contains(index)) {
            match self.accept(index, input) {
                Ok(published) => events.push(published),
                Err(error) => errors.push(error),
            }
        }
        Ok(json!({"events": events, "userErrors": errors}))
    }

    /// Stores one event, unless its key was seen before (E1).
    fn accept(&mut self, index: usize, input: Value) -> Result<Value, Value> {
        let text = |field: &str| input[field].as_str().unwrap_or_default().to_owned();
        let shared = self.bends(Bend::KeysAreSharedByCompanies);
        let scope = if shared { String::new() } else { text("companyId") };
        let key = (scope, text("idempotencyKey"));
        let keyed = !key.1.is_empty() && !self.bends(Bend::IgnoresIdempotencyKeys);
        let place = self.events.len();
        let mut content = input.clone();
        if let Some(users) = content["permittedUserIds"].as_array_mut() {
            users.sort_by_key(Value::to_string);
        }
        if keyed {
            match self.keys.get(&key).filter(|(_, _, until)| self.now < *until) {
                Some((known, first, _)) if *known == content || self.bends(Bend::KeysIgnoreTheContent) => {
                    let first = *first;
                    let count = self
                        .deliveries
                        .iter()
                        .filter(|delivery| delivery.event == first)
                        .count();
                    let event = shown(&self.events[first]);
                    return Ok(
                        json!({"index": index, "event": event, "deliveryCount": count, "duplicate": true}),
                    );
                }
                Some(_) => {
                    let mut error = user_error("IDEMPOTENCY_CONFLICT", "events");
                    error["path"] = json!(["input", "events", index.to_string(), "idempotencyKey"]);
                    return Err(error);
                }
                None => {}
            }
            let until = self.now + self.numbers.idempotency;
            self.keys.insert(key, (content, place, until));
        }
        let actions = match input["action"].as_str() {
            Some("CREATE") => ("create", "added"),
            Some("DELETE") => ("delete", "deleted"),
            Some("MERGE") => ("change", "merged"),
            _ => ("change", "updated"),
        };
        let merged = input["action"] == "MERGE";
        let (survivor, other) = (text("objectId"), text("mergedFromId"));
        let mut gone = input.clone();
        gone["objectId"] = json!(other);
        gone["previous"] = input["mergedFromPrevious"].clone();
        let merge = merged.then_some(("merged_from_id", other));
        let mut count = self.store(input, actions, merge);
        if merged && !self.bends(Bend::MergesStoreOneEvent) {
            count += self.store(gone, ("delete", "deleted"), Some(("merged_to_id", survivor)));
        }
        let event = shown(&self.events[place]);
        Ok(json!({"index": index, "event": event, "deliveryCount": count, "duplicate": false}))
    }

    /// Stores an event with its deliveries. Returns the number of deliveries.
    fn store(
        &mut self,
        mut input: Value,
        actions: (&'static str, &'static str),
        merge: Option<(&'static str, String)>,
    ) -> usize {
        if self.bends(Bend::OccurredAtIsIgnored) {
            input["occurredAt"] = Value::Null;
        }
        let place = self.events.len();
        let id = format!("00000000-0000-7000-8000-{place:012x}");
        let partner = self
            .events
            .last()
            .filter(|_| merge.as_ref().is_some_and(|(key, _)| *key == "merged_to_id"));
        let correlation = match input["correlationId"].as_str() {
            Some(given) => given.to_owned(),
            None => partner.map_or_else(|| id.clone(), |survivor| survivor.correlation.clone()),
        };
        let event = Event {
            id,
            correlation,
            actions,
            accepted: self.now,
            input,
            merge,
        };
        let hooks: Vec<usize> = (0..self.hooks.len())
            .filter(|hook| self.wants(*hook, &event))
            .collect();
        for hook in &hooks {
            self.owe(*hook, place);
        }
        self.events.push(event);
        hooks.len()
    }

    /// Makes a delivery of this event for this webhook.
    pub fn owe(&mut self, hook: usize, event: usize) {
        self.deliveries.push(Delivery {
            hook,
            event,
            url: self.hooks[hook].url.clone(),
            status: "PENDING",
            reason: None,
            created: self.now,
            finished: None,
            due: self.now,
            number: 1,
            times_postponed: 0,
            attempts: Vec::new(),
        });
    }

    /// Whether the webhook subscribes to the event (E2).
    pub fn wants(&self, place: usize, event: &Event) -> bool {
        let hook = &self.hooks[place];
        let uninstalled = matches!(
            hook.model.standing,
            tenterhook_harness::model::Standing::Removed {
                reason: RemoveReason::AppUninstalled,
                ..
            }
        );
        let live = !super::view::removed(&hook.model.standing)
            || uninstalled && self.bends(Bend::SendsAfterUninstall);
        let permitted = event.input["permittedUserIds"].as_array();
        let may_see = permitted.is_none_or(|users| users.iter().any(|user| *user == hook.user.as_str()))
            || self.bends(Bend::EverybodyGetsTheEvent);
        let forgets = self.bends(Bend::ForgetsWhatIsLost)
            || self.bends(Bend::LossesOfApplicationWebhooksAreForgotten) && hook.app.is_some();
        let banned = hook.model.ban.is_some() && forgets;
        let object = event.input["object"].as_str().unwrap_or_default();
        let word = match word(hook, event) {
            "MERGE" if self.bends(Bend::MergedIsUpdatedInVersion1) => "CHANGE",
            word => word,
        };
        live && may_see
            && !banned
            && event.input["companyId"] == hook.company.as_str()
            && (hook.action == "ANY" || hook.action == word)
            && (hook.object == object
                || hook.object == "*" && in_catalogue(hook.v1, object)
                || self.bends(Bend::MatchesEveryObject))
    }

    pub fn keep_users_and_apps(
        &mut self,
        caller: &Caller,
        mutation: &str,
        input: &Value,
    ) -> Result<Value, Refused> {
        caller.needs("platform")?;
        let text = |field: &str| input[field].as_str().unwrap_or_default().to_owned();
        let (app, company, user) = (text("appId"), text("companyId"), text("userId"));
        let known = self.apps.contains_key(&app);
        let shown = json!({"appId": app, "id": app, "name": self.apps.get(&app)});
        let mut answer = json!({"app": shown, "userErrors": []});
        let refused = |code| {
            Ok(json!({"app": null, "removedWebhookCount": 0, "userErrors": [user_error(code, "appId")]}))
        };
        match mutation {
            "registerApp" if known => return refused("ALREADY_EXISTS"),
            "registerApp" => drop(self.apps.insert(app, text("name"))),
            "upsertUsers" => {
                let users = input["users"].as_array().into_iter().flatten();
                let words =
                    users.filter_map(|user| Some((user["companyId"].as_str()?, user["userId"].as_str()?)));
                let words: Vec<_> = words
                    .map(|(company, user)| (company.to_owned(), user.to_owned()))
                    .collect();
                answer["count"] = json!(words.len());
                self.users.extend(words);
            }
            "removeUser" => {
                let keeps = self.bends(Bend::RemovedUserKeepsWebhooks);
                let own = |hook: &Hook| hook.company == company && hook.user == user && !keeps;
                answer["removedWebhookCount"] = json!(self.remove_all(own, RemoveReason::UserRemoved));
                self.gone.insert((company, user));
            }
            _ if !known => return refused("NOT_FOUND"),
            "installApp" => drop(self.installed.insert((app, company, user))),
            "uninstallApp" => {
                if !self
                    .installed
                    .remove(&(app.clone(), company.clone(), user.clone()))
                {
                    return refused("NOT_FOUND");
                }
                let every_app = self.bends(Bend::UninstallingTakesOtherApps);
                let own = |hook: &Hook| {
                    let of_app = hook.app.as_ref() == Some(&app) || every_app && hook.app.is_some();
                    of_app && hook.company == company && hook.user == user
                };
                answer["removedWebhookCount"] = json!(self.remove_all(own, RemoveReason::AppUninstalled));
            }
            _ => {
                self.installed.retain(|(held, _, _)| *held != app);
                let first = self.hooks.iter().find(|hook| hook.app.as_ref() == Some(&app));
                let only = first
                    .map(|hook| hook.company.clone())
                    .filter(|_| self.bends(Bend::MarketplaceRemovalIsForOneCompany));
                let own = |hook: &Hook| {
                    hook.app.as_ref() == Some(&app) && only.as_ref().is_none_or(|only| hook.company == *only)
                };
                answer["removedWebhookCount"] = json!(self.remove_all(own, RemoveReason::AppRemoved));
            }
        }
        Ok(answer)
    }

    fn remove_all(&mut self, own: impl Fn(&Hook) -> bool, reason: RemoveReason) -> usize {
        let live = |place: &usize| {
            own(&self.hooks[*place]) && !super::view::removed(&self.hooks[*place].model.standing)
        };
        let places: Vec<usize> = (0..self.hooks.len()).filter(live).collect();
        for place in &places {
            self.remove(*place, reason);
        }
        places.len()
    }
}

/// The event's action in the words of the webhook's version.
fn word(hook: &Hook, event: &Event) -> &'static str {
    let (v2, v1) = event.actions;
    match if hook.v1 { v1 } else { v2 } {
        "create" | "added" => "CREATE",
        "delete" | "deleted" => "DELETE",
        "merged" => "MERGE",
        _ => "CHANGE",
    }
}

/// The error in an event and the field that it is about, if any.
fn wrong_with(input: &Value) -> Option<(&'static str, &'static str)> {
    let text = |field: &str| input[field].as_str().unwrap_or_default();
    let is_id = |field: &str| {
        let id = text(field);
        id.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            && (1..=64).contains(&id.len())
    };
    let is_number = |field: &str| text(field).parse::<u64>().is_ok_and(|id| id > 0);
    let object = text("object");
    let known = in_catalogue(false, object) || in_catalogue(true, object);
    let complaints = [
        (text("action") == "ANY", "NOT_IN_CATALOG", "action"),
        (!known, "NOT_IN_CATALOG", "object"),
        (!is_id("objectId"), "INVALID", "objectId"),
        (!is_number("companyId"), "INVALID", "companyId"),
        (!is_number("userId"), "INVALID", "userId"),
        (text("occurredAt").starts_with('-'), "INVALID", "occurredAt"),
        (
            (text("action") == "MERGE") != is_id("mergedFromId"),
            "INVALID",
            "mergedFromId",
        ),
    ];
    let wrong = complaints.into_iter().find(|(wrong, ..)| *wrong);
    let long = ["data", "previous", "mergedFromPrevious"];
    let long = long
        .into_iter()
        .find(|field| input[*field].to_string().len() > 256 * 1024);
    wrong
        .map(|(_, code, field)| (code, field))
        .or(long.map(|field| ("TOO_LONG", field)))
}
