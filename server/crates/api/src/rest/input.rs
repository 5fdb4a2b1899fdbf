//! Reads the body of a creation.
//!
//! Unknown keys are ignored, because Pipedrive ignores them. Everything else that is wrong is reported at once,
//! under the key's name. The body is read by the same reader as GraphQL's: no key has a special meaning.

use async_graphql::{ID, Name, Value};

use super::answer::{Answer, Faults};
use super::words;
use crate::types::scalars::EventObject;
use crate::types::webhook::mutations::CreateWebhookInput;
use tenterhook_graphql_http::RequestError;
use tenterhook_graphql_http::json::{self, Unread};
use tenterhook_graphql_http::limits::MAX_JSON_VALUES;
use tenterhook_model::ids::{MAX_DECIMAL_ID, UserId};
use tenterhook_model::webhook::PayloadVersion;

/// The keys that are read.
#[cfg(test)]
pub const KEYS: [&str; 8] = [
    "subscription_url",
    "event_action",
    "event_object",
    "name",
    "user_id",
    "http_auth_user",
    "http_auth_password",
    "version",
];
/// The key for faults of the body itself.
const BODY: &str = "body";

/// Reads the input of a creation, or says what is wrong.
pub fn read(body: &[u8]) -> Result<CreateWebhookInput, Answer> {
    let fields = match json::fields(body, MAX_JSON_VALUES) {
        Ok(Some(fields)) => fields,
        Ok(None) => return Err(Faults::one(BODY, "must be a JSON object").into()),
        Err(unread @ Unread::TooMuch(_)) => return Err(RequestError::from(unread).into()),
        Err(unread @ Unread::Invalid { .. }) => {
            let at = match &unread {
                Unread::Invalid { path, .. } => path.first().map_or(BODY, String::as_str),
                Unread::TooMuch(_) => BODY,
            };
            return Err(Faults::one(at, format!("is {unread}")).into());
        }
    };
    let mut fields = Fields::new(fields);
    let version = fields.version();
    let url = fields.required("subscription_url");
    let action = fields.required("event_action");
    let action = action.and_then(|name| {
        let actions = words::actions(version?);
        let found = words::value(actions, &name);
        if found.is_none() {
            let known: Vec<&str> = actions.iter().map(|(name, _)| *name).collect();
            let why = format!("must be one of {} in this version", known.join(", "));
            fields.faults.add("event_action", why);
        }
        found
    });
    let object = fields.required("event_object");
    let name = fields.required("name");
    let user = fields.user();
    let http_auth_user = fields.text("http_auth_user");
    let http_auth_password = fields.text("http_auth_password");
    match (fields.faults, version, url, action, object, name) {
        (faults, Some(version), Some(url), Some(action), Some(object), Some(name)) if faults.is_empty() => {
            Ok(CreateWebhookInput {
                subscription_url: url,
                event_action: action.into(),
                event_object: EventObject(object),
                version: Some(version.into()),
                name: Some(name),
                user_id: user.map(|user| ID(user.to_string())),
                http_auth_user,
                http_auth_password,
                idempotency_key: None,
            })
        }
        (faults, ..) => Err(faults.into()),
    }
}

/// The fields of a body, and what is wrong with them.
struct Fields {
    values: Vec<(Name, Value)>,
    faults: Faults,
}

impl Fields {
    fn new(mut values: Vec<(Name, Value)>) -> Self {
        let mut faults = Faults::default();
        let mut names: Vec<&str> = values.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.dedup_by(|name, before| {
            let is_same = name == before;
            if is_same {
                faults.add(name, "is given twice");
            }
            is_same
        });
        // Null counts as absent.
        values.retain(|(_, value)| *value != Value::Null);
        Self { values, faults }
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        let at = self.values.iter().position(|(name, _)| name.as_str() == key)?;
        Some(self.values.swap_remove(at).1)
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => Some(text),
            _ => {
                self.faults.add(key, "must be a string");
                None
            }
        }
    }

    fn required(&mut self, key: &str) -> Option<String> {
        if self.values.iter().all(|(name, _)| name.as_str() != key) {
            self.faults.add(key, "is required");
        }
        self.text(key)
    }

    /// `None` if the version is unknown, so that nothing is said about an action in it.
    fn version(&mut self) -> Option<PayloadVersion> {
        const KEY: &str = "version";
        match self.take(KEY) {
            None => Some(PayloadVersion::V2),
            Some(Value::String(name)) if words::value(&words::VERSIONS, &name).is_some() => {
                words::value(&words::VERSIONS, &name)
            }
            Some(_) => {
                self.faults.add(KEY, "must be \"1.0\" or \"2.0\"");
                None
            }
        }
    }

    fn user(&mut self) -> Option<UserId> {
        const KEY: &str = "user_id";
        let id = match self.take(KEY)? {
            Value::Number(number) => number.as_i64().and_then(|number| UserId::new(number).ok()),
            _ => None,
        };
        if id.is_none() {
            let why = format!("must be a whole number from 1 to {MAX_DECIMAL_ID}");
            self.faults.add(KEY, why);
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::enums;

    const WHOLE: &str =
        r#""subscription_url":"https://a.example/","event_action":"*","event_object":"deal","name":"n""#;

    /// The faults of a body, as JSON.
    fn faults(body: &str) -> String {
        read(body.as_bytes()).err().expect("it is refused").errors()
    }

    #[test]
    fn missing_keys_have_defaults_and_unknown_keys_are_ignored() {
        for more in [
            "",
            r#","user_id":null,"http_auth_user":null,"version":null"#,
            r#","is_active":1,"x":{"x":[1,2]},"$serde_json::private::RawValue":"[1""#,
        ] {
            let input = read(format!("{{{WHOLE}{more}}}").as_bytes()).expect("it is read");
            assert_eq!(input.version, Some(enums::PayloadVersion::V2));
            assert!(
                input.user_id.is_none() && input.http_auth_user.is_none(),
                "{more}"
            );
        }
    }

    #[test]
    fn all_faults_are_reported_at_once_under_their_keys() {
        let found = faults(
            r#"{"name":7,"event_action":"added","event_object":null,"user_id":"7","http_auth_user":{}}"#,
        );
        let found: serde_json::Value = serde_json::from_str(&found).unwrap();
        let expected = serde_json::json!({
            "event_action": ["must be one of *, create, change, delete in this version"],
            "event_object": ["is required"],
            "http_auth_user": ["must be a string"],
            "name": ["must be a string"],
            "subscription_url": ["is required"],
            "user_id": ["must be a whole number from 1 to 9007199254740991"],
        });
        assert_eq!(found, expected);
        assert_eq!(
            faults(&format!("{{{WHOLE},\"version\":2}}")),
            r#"{"version":["must be \"1.0\" or \"2.0\""]}"#
        );
        assert_eq!(
            faults(&format!("{{{WHOLE},\"name\":\"n\",\"x\":1,\"x\":2}}")),
            r#"{"name":["is given twice"],"x":["is given twice"]}"#
        );
        for user in [
            "0",
            "-1",
            "1.5",
            "7.0",
            "9007199254740992",
            "1e400",
            "[7]",
            "true",
        ] {
            let found = faults(&format!("{{{WHOLE},\"user_id\":{user}}}"));
            assert!(
                found.starts_with(r#"{"user_id":["must be a whole"#),
                "{user}: {found}"
            );
        }
    }

    #[test]
    fn a_json_error_is_reported_under_its_key() {
        for (body, at) in [
            ("", "body"),
            ("[]", "body"),
            ("{\"name\":x}", "name"),
            ("{} {}", "body"),
        ] {
            assert!(faults(body).starts_with(&format!("{{\"{at}\":[")), "{body}");
        }
        let deep = format!("{{\"name\":{}", "[".repeat(1_000));
        assert!(read(deep.as_bytes()).is_err());
    }

    #[test]
    fn each_version_has_its_actions() {
        for (version, action, read_as) in [
            ("1.0", "merged", enums::EventAction::Merge),
            ("1.0", "*", enums::EventAction::Any),
            ("2.0", "change", enums::EventAction::Change),
        ] {
            let body = WHOLE.replace(
                "\"event_action\":\"*\"",
                &format!("\"event_action\":\"{action}\""),
            );
            let body = format!("{{{body},\"version\":\"{version}\"}}");
            let input = read(body.as_bytes()).expect("it is read");
            assert_eq!(input.event_action, read_as);
        }
    }
}
