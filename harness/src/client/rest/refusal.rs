//! Errors of the REST routes, and the codes of GraphQL that they stand for.

use std::fmt;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{JSON, LINK};
use crate::client::Refusal;
use crate::client::raw::Exchange;
use crate::json;

/// The message for a URL that cannot be used. The reason is in `additional_data`.
const UNUSABLE_URL: &str = "invalid or non-reachable URL";
/// The message at the limit.
const LIMIT_REACHED: &str = "Webhooks limit reached";

/// For each status and key of the input (if the body has keys), the codes of GraphQL for which REST responds with it. REST
/// does not tell a missing installation from a missing right, nor a removed webhook from one that never existed.
const MEANINGS: &[(u16, &str, &[&str])] = &[
    (400, "event_action", &["NOT_IN_CATALOG"]),
    (400, "event_object", &["NOT_IN_CATALOG"]),
    (400, "name", &["TOO_LONG"]),
    (400, "subscription_url", &["TOO_LONG"]),
    (400, UNUSABLE_URL, &["INVALID_URL", "FORBIDDEN_ADDRESS"]),
    (400, "user_id", &["NOT_FOUND"]),
    (401, "", &["UNAUTHENTICATED"]),
    (403, "", &["FORBIDDEN", "APP_NOT_INSTALLED"]),
    (404, "id", &["NOT_FOUND", "INVALID_STATE"]),
    (422, "user_id", &["LIMIT_REACHED"]),
];

/// A response of a REST route that is not a success, or not as documented.
pub struct RestRefusal {
    status: u16,
    body: String,
    /// The only key of the input that it names; empty if it names none or several.
    key: String,
    /// What is not as documented.
    fault: Option<String>,
}

impl RestRefusal {
    /// A response that is not as documented.
    pub(super) fn breach(exchange: &Exchange, why: &anyhow::Error) -> Refusal {
        Refusal::Rest(Self {
            status: exchange.status,
            body: exchange.text.clone(),
            key: String::new(),
            fault: Some(format!("{why:#}")),
        })
    }

    /// Whether GraphQL's errors with this code have this response in REST.
    pub fn means(&self, code: &str) -> bool {
        let is_unusable = self.key == "subscription_url" && self.body.contains(UNUSABLE_URL);
        let key = if is_unusable { UNUSABLE_URL } else { &self.key };
        let mut meanings = MEANINGS.iter();
        let is_meant =
            meanings.any(|(status, of, codes)| (*status, *of) == (self.status, key) && codes.contains(&code));
        is_meant && self.fault.is_none()
    }

    /// The path of the input field that it is about, as GraphQL names it.
    pub fn path(&self) -> Option<String> {
        let mut words = self.key.split('_');
        let first = words.next().filter(|first| !first.is_empty())?;
        let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
        let others: String = words.filter(|word| !word.is_empty()).map(capital).collect();
        Some(format!("input.{first}{others}"))
    }
}

impl fmt::Display for RestRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "REST responded with HTTP {} and {}", self.status, self.body)?;
        match &self.fault {
            Some(fault) => write!(f, ", which is not as documented: {fault}"),
            None => Ok(()),
        }
    }
}

/// The body of a response with this status. Any other status is a refusal.
pub(super) fn accepted(exchange: &Exchange, status: u16) -> Result<Value, Refusal> {
    let body = body(exchange).map_err(|error| RestRefusal::breach(exchange, &error))?;
    if exchange.status == status {
        return Ok(body);
    }
    let fault = check(exchange.status, &body).err();
    let keys: Vec<&String> = body["errors"]
        .as_object()
        .into_iter()
        .flat_map(|errors| errors.keys())
        .collect();
    Err(Refusal::Rest(RestRefusal {
        status: exchange.status,
        body: exchange.text.clone(),
        key: if let [key] = keys[..] {
            key.clone()
        } else {
            String::new()
        },
        fault: fault.map(|error| format!("{error:#}")),
    }))
}

/// Refuses a body that is not exactly this.
pub(super) fn exactly(exchange: &Exchange, body: &Value, whole: &Value) -> Result<(), Refusal> {
    let equal = (body == whole)
        .then_some(())
        .with_context(|| format!("expected {whole}"));
    equal.map_err(|error| RestRefusal::breach(exchange, &error))
}

fn body(exchange: &Exchange) -> anyhow::Result<Value> {
    let header = |name: &str| exchange.headers.get(name).and_then(|value| value.to_str().ok());
    let media = header("content-type").unwrap_or_default();
    ensure!(media.starts_with(JSON), "the media type is {media:?}");
    ensure!(header("link") == Some(LINK), "no link to GraphQL");
    json::read(exchange.text.as_bytes()).context("not JSON")
}

/// Checks the body of an error with this status.
fn check(status: u16, body: &Value) -> anyhow::Result<()> {
    ensure!(status >= 400, "the status is not an error");
    let errors = |errors: &Value| json!({"status": "error", "success": false, "errors": errors});
    let mut whole = match status {
        400 => errors(&body["errors"]),
        403 => json!({"success": false, "message": "Forbidden"}),
        404 => errors(&json!({"id": ["not found"]})),
        422 => errors(&json!({"user_id": [LIMIT_REACHED]})),
        401 => json!({"success": false, "error": "unauthorized access", "errorCode": 401}),
        _ => json!({"success": false, "error": body["error"], "errorCode": status}),
    };
    let additional = &body["additional_data"];
    match status {
        400 => {
            check_faults(&body["errors"])?;
            if body["errors"]["subscription_url"] == json!([UNUSABLE_URL]) {
                ensure!(
                    is_text(&additional["reason"]),
                    "no reason why the URL cannot be used"
                );
                whole["additional_data"] = json!({"reason": additional["reason"]});
            }
        }
        422 => {
            let limit = additional["limit"].as_u64().context("no limit")?;
            let used = additional["used"].as_u64().context("no use")?;
            ensure!(used >= limit && limit > 0, "the limit is not reached");
            whole["additional_data"] = json!({"limit": limit, "used": used});
        }
        401 | 403 | 404 => {}
        _ => ensure!(is_text(&body["error"]), "no text of the error"),
    }
    ensure!(*body == whole, "expected {whole}");
    Ok(())
}

/// Checks that each key has a list of texts.
fn check_faults(errors: &Value) -> anyhow::Result<()> {
    let errors = errors.as_object().context("`errors` is not an object")?;
    ensure!(!errors.is_empty(), "no key has an error");
    for (key, texts) in errors {
        let texts = texts.as_array().with_context(|| format!("{key} has no list"))?;
        ensure!(
            !texts.is_empty() && texts.iter().all(is_text),
            "{key} has no texts"
        );
    }
    Ok(())
}

fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

    use super::*;

    fn exchange(status: u16, body: &Value) -> Exchange {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        headers.insert("link", HeaderValue::from_static(LINK));
        Exchange {
            status,
            headers,
            text: body.to_string(),
        }
    }

    fn refusal(exchange: &Exchange) -> Refusal {
        accepted(exchange, 200).expect_err("it is not a success")
    }

    fn of_key(key: &str, text: &str) -> Value {
        json!({"status": "error", "success": false, "errors": {key: [text]}})
    }

    #[test]
    fn documented_errors_stand_for_the_codes_of_graphql() {
        let mut limit = of_key("user_id", LIMIT_REACHED);
        limit["additional_data"] = json!({"limit": 40, "used": 40});
        let mut url = of_key("subscription_url", UNUSABLE_URL);
        url["additional_data"] = json!({"reason": "It is private."});
        let unknown = json!({"success": false, "error": "unauthorized access", "errorCode": 401});
        for (status, body, meant, not_meant) in [
            (400, of_key("event_object", "no"), "NOT_IN_CATALOG", "TOO_LONG"),
            (
                400,
                of_key("subscription_url", "is too long"),
                "TOO_LONG",
                "INVALID_URL",
            ),
            (400, url, "FORBIDDEN_ADDRESS", "TOO_LONG"),
            (401, unknown, "UNAUTHENTICATED", "FORBIDDEN"),
            (
                403,
                json!({"success": false, "message": "Forbidden"}),
                "APP_NOT_INSTALLED",
                "NOT_FOUND",
            ),
            (404, of_key("id", "not found"), "NOT_FOUND", "FORBIDDEN"),
            (422, limit, "LIMIT_REACHED", "NOT_FOUND"),
        ] {
            let refusal = refusal(&exchange(status, &body));
            assert!(refusal.means(meant), "{meant}: {refusal}");
            assert!(!refusal.means(not_meant), "{not_meant}: {refusal}");
        }
    }

    #[test]
    fn an_error_of_another_form_has_no_code() {
        let forbidden = json!({"success": false, "message": "Forbidden", "why": "the role"});
        let mut unlinked = exchange(404, &of_key("id", "not found"));
        unlinked.headers.remove("link");
        for (exchange, code) in [
            (exchange(403, &forbidden), "FORBIDDEN"),
            (exchange(404, &of_key("id", "removed")), "NOT_FOUND"),
            (exchange(422, &of_key("user_id", LIMIT_REACHED)), "LIMIT_REACHED"),
            (
                exchange(400, &of_key("subscription_url", UNUSABLE_URL)),
                "INVALID_URL",
            ),
            (exchange(201, &of_key("id", "not found")), "NOT_FOUND"),
            (unlinked, "NOT_FOUND"),
        ] {
            let refusal = refusal(&exchange);
            assert!(!refusal.means(code), "{refusal}");
            assert!(refusal.to_string().contains("not as documented"), "{refusal}");
        }
    }

    #[test]
    fn a_key_is_a_field_of_graphql() {
        let path = |key| refusal(&exchange(400, &of_key(key, "no"))).path();
        assert_eq!(path("subscription_url").as_deref(), Some("input.subscriptionUrl"));
        assert_eq!(path("name").as_deref(), Some("input.name"));
    }
}
