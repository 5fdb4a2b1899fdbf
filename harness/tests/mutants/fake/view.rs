//! The GraphQL values of the fake's state, with all fields.

use jiff::Timestamp;
use serde_json::{Value, json};
use tenterhook_harness::model::{Standing, Step};

use super::Bend;
use super::state::{Delivery, Event, State};

pub fn time(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// A connection with the whole list as its only page.
pub fn connection(nodes: Vec<Value>) -> Value {
    let edges: Vec<Value> = nodes
        .iter()
        .map(|node| json!({"cursor": node["id"], "node": node}))
        .collect();
    json!({
        "totalCount": nodes.len(), "nodes": nodes, "edges": edges,
        "pageInfo": {"hasNextPage": false, "hasPreviousPage": false, "startCursor": null, "endCursor": null},
    })
}

pub fn user_error(code: &str, field: &str) -> Value {
    json!({"__typename": "InputError", "code": code, "message": format!("refused: {code}"), "path": ["input", field]})
}

impl State {
    pub fn webhook(&self, place: usize) -> Value {
        let hook = &self.hooks[place];
        let (removed_at, reason) = match hook.model.standing {
            Standing::Removed { at, reason } => (Some(time(at)), Some(reason.word())),
            _ => (None, None),
        };
        json!({
            "__typename": "Webhook", "id": format!("webhook-{}", hook.number), "number": hook.number.to_string(),
            "type": if hook.app.is_some() { "APPLICATION" } else { "GENERAL" },
            "name": hook.name, "version": if hook.v1 { "V1" } else { "V2" },
            "subscriptionUrl": hook.url, "eventAction": hook.action, "eventObject": hook.object,
            "companyId": hook.company, "ownerId": hook.owner, "userId": hook.user,
            "app": hook.app.as_ref().map(|app| json!({"appId": app, "id": app, "name": self.apps.get(app)})),
            "httpAuthUser": hook.auth_user, "hasHttpAuthPassword": !hook.auth_password.is_null(),
            "createdAt": time(hook.created), "updatedAt": time(hook.updated),
            "removedAt": removed_at, "removeReason": reason, "health": self.health_of(place),
        })
    }

    fn health_of(&self, place: usize) -> Value {
        let hook = &self.hooks[place];
        let removed = removed(&hook.model.standing);
        let removal_due = hook.model.removal_due(&self.numbers).filter(|_| !removed);
        json!({
            "state": self.health(place).word(),
            "banCounter": hook.model.counter, "banThreshold": self.numbers.ban_threshold,
            "bannedUntil": hook.model.ban.map(|ban| time(ban.until)),
            "failingSince": hook.model.failing_since.map(time), "removalDueAt": removal_due.map(time),
            "lastSuccessAt": hook.last_success.map(time), "lastAttemptAt": hook.last_attempt.map(time),
            "lastHttpStatus": hook.last_status, "lastErrorClass": hook.last_class, "lostCount": hook.lost,
            "nextTransition": self.next_transition(place),
        })
    }

    /// The next change of state. A warning is not one.
    fn next_transition(&self, place: usize) -> Option<Value> {
        let mut model = self.hooks[place].model.clone();
        while let Some(step) = model.next_step(&self.numbers) {
            let (to, because) = match step {
                Step::BanEnded { .. } => ("ACTIVE", "the ban ends"),
                Step::Removed { .. } => ("REMOVED", "nothing has succeeded for three days"),
                _ => {
                    model.advance(step.at(), &self.numbers);
                    continue;
                }
            };
            let transition = json!({"at": time(step.at()), "to": to, "because": because});
            return Some(transition).filter(|_| !self.bends(Bend::NamesNoNextTransition));
        }
        None
    }

    /// A webhook's deliveries, newest first.
    pub fn deliveries_of(&self, place: usize) -> Value {
        let own = self
            .deliveries
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, delivery)| delivery.hook == place);
        connection(
            own.map(|(number, delivery)| self.delivery(number, delivery))
                .collect(),
        )
    }

    fn delivery(&self, number: usize, delivery: &Delivery) -> Value {
        let waits = delivery.status == "PENDING" && !self.flights.contains_key(&number);
        let attempts = delivery.attempts.iter().map(|tried| {
            json!({
                "number": tried.number, "startedAt": time(tried.started), "endedAt": time(tried.ended),
                "httpStatus": tried.status, "errorClass": tried.class, "errorMessage": tried.class,
                "responseBody": null, "responseTruncated": false, "requestHeaders": [],
            })
        });
        json!({
            "__typename": "Delivery", "id": format!("delivery-{number}"),
            "status": delivery.status, "reason": delivery.reason, "createdAt": time(delivery.created),
            "nextAttemptAt": waits.then(|| time(delivery.due)), "finishedAt": delivery.finished.map(time),
            "event": event(&self.events[delivery.event]), "attempts": attempts.collect::<Vec<_>>(),
        })
    }

    /// The figures of D7.
    pub fn metrics(&self) -> String {
        let count = |status| {
            self.deliveries
                .iter()
                .filter(|delivery| delivery.status == status)
                .count()
        };
        let accepted = self.deliveries.len() + usize::from(self.bends(Bend::LosesADelivery));
        let figures = [
            ("accepted_total", accepted),
            ("succeeded_total", count("SUCCEEDED")),
            ("failed_total", count("FAILED")),
            ("lost_total", count("LOST")),
            ("cancelled_total", count("CANCELLED")),
            ("open", count("PENDING")),
        ];
        figures
            .map(|(name, value)| format!("tenterhook_deliveries_{name} {value}\n"))
            .concat()
    }
}

pub fn removed(standing: &Standing) -> bool {
    matches!(standing, Standing::Removed { .. })
}

pub fn event(event: &Event) -> Value {
    json!({
        "__typename": "Event", "id": format!("event-{}", event.id), "eventId": event.id,
        "correlationId": event.correlation, "acceptedAt": time(event.accepted),
        "object": event.input["object"], "objectId": event.input["objectId"],
        "companyId": event.input["companyId"], "userId": event.input["userId"], "action": event.input["action"],
    })
}
