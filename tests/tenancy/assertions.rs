//! Compares a response with its verdict, and checks that it shows nothing that its reader may not see.
//!
//! A mark of invisible data is found anywhere in the response: in data, error texts and extensions, whatever else was
//! expected. Response times are not measured.

use std::collections::BTreeSet;

use serde_json::Value;

/// Data that is visible together: a caller who can see a part of a group can see all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// The existence of the company.
    Company,
    /// The user's general webhooks with their health, deliveries, attempts and notices.
    General,
    /// The same for the application webhook of the user and the app.
    Application,
    /// An event that only the user may see.
    Secret,
    /// An event that everyone in the company may see.
    Open,
    /// The data of the app.
    App,
}

/// A text that occurs only in data of these groups.
pub struct Mark {
    pub of: Vec<Group>,
    pub text: String,
}

/// The expected response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// One top-level error with this code, and no data.
    Refused(&'static str),
    /// One user error with this code, and nothing else in the payload.
    Told(&'static str),
    /// No error and no value: null, false, zero, empty lists.
    Nothing,
    /// No error, and a mark of each of these groups.
    Shown(BTreeSet<Group>),
    /// No error. The reader's own data may be there.
    Own,
}

/// What is wrong with the response, for a reader who can see these groups.
pub fn judge(
    answer: &Value,
    expected: &Expected,
    marks: &[Mark],
    sees: &BTreeSet<Group>,
) -> Result<(), String> {
    let text = answer.to_string();
    let carried = |mark: &&Mark| text.contains(&mark.text);
    leaks_nothing(&text, marks, sees)?;
    let codes: Vec<&str> = codes(&answer["errors"], "/extensions/code");
    let fault = match expected {
        Expected::Refused(code) => codes != [*code] || !answer["data"].is_null(),
        Expected::Told(code) => !codes.is_empty() || !is_told(&answer["data"], code),
        Expected::Nothing => !codes.is_empty() || !is_nothing(&answer["data"]),
        Expected::Shown(groups) => {
            let shown = |group: &Group| marks.iter().filter(carried).any(|mark| mark.of.contains(group));
            !codes.is_empty() || !groups.iter().all(shown)
        }
        Expected::Own => !codes.is_empty() || answer["data"].is_null(),
    };
    if fault {
        Err(format!("not {expected:?}: {text}"))
    } else {
        Ok(())
    }
}

/// Fails if a text has a mark of data that its reader may not see.
pub fn leaks_nothing(text: &str, marks: &[Mark], sees: &BTreeSet<Group>) -> Result<(), String> {
    let unseen = |mark: &&Mark| !mark.of.iter().any(|group| sees.contains(group));
    let mut unseen = marks.iter().filter(unseen);
    match unseen.find(|mark| text.contains(&mark.text)) {
        Some(mark) => Err(format!("it leaks {:?} of {:?}: {text}", mark.text, mark.of)),
        None => Ok(()),
    }
}

fn codes<'a>(errors: &'a Value, at: &str) -> Vec<&'a str> {
    let errors = errors.as_array().into_iter().flatten();
    errors
        .map(|error| error.pointer(at).and_then(Value::as_str).unwrap_or("none"))
        .collect()
}

/// Whether the only field is a payload with this user error and nothing else.
fn is_told(data: &Value, code: &str) -> bool {
    let payloads: Vec<&Value> = data
        .as_object()
        .into_iter()
        .flat_map(|data| data.values())
        .collect();
    let [Value::Object(payload)] = payloads[..] else {
        return false;
    };
    let mut rest = payload.clone();
    let errors = rest.remove("userErrors").unwrap_or_default();
    codes(&errors, "/code") == [code] && is_nothing(&Value::Object(rest))
}

/// Whether a value is empty: null, false, zero, an empty text, or made of such values only.
pub fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(entries) => entries.iter().all(is_nothing),
        Value::Object(fields) => fields.values().all(is_nothing),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn verdict(answer: &Value, expected: &Expected) -> Result<(), String> {
        let marks = [
            Mark {
                of: vec![Group::General],
                text: "hers".to_owned(),
            },
            Mark {
                of: vec![Group::Open, Group::Secret],
                text: "ours".to_owned(),
            },
        ];
        judge(answer, expected, &marks, &BTreeSet::from([Group::Open]))
    }

    #[test]
    fn leaks_are_found_anywhere_in_a_response() {
        let leaks = [
            json!({"data": {"webhook": {"name": "hers"}}}),
            json!({"data": {"webhooks": {"nodes": [null, {"headers": [{"value": "x hers y"}]}]}}}),
            json!({"data": {"webhook": null}, "errors": [{"message": "no hers", "extensions": {"code": "FORBIDDEN"}}]}),
            json!({"data": null, "errors": [{"message": "no", "extensions": {"code": "FORBIDDEN", "at": "hers"}}]}),
            json!({"data": {"x": {"userErrors": [{"code": "NOT_FOUND", "message": "hers"}]}}}),
            json!({"data": {"hers": null}, "extensions": {"cost": "hers"}}),
        ];
        for leak in leaks {
            for expected in [
                Expected::Refused("FORBIDDEN"),
                Expected::Told("NOT_FOUND"),
                Expected::Nothing,
                Expected::Shown(BTreeSet::new()),
                Expected::Own,
            ] {
                let found = verdict(&leak, &expected).unwrap_err();
                assert!(found.starts_with("it leaks \"hers\""), "{found}");
            }
        }
    }

    #[test]
    fn a_response_must_match_its_expectation_exactly() {
        let open = || Expected::Shown(BTreeSet::from([Group::Open]));
        let refusal = json!([{"message": "No.", "extensions": {"code": "FORBIDDEN"}}]);
        let told = json!([{"code": "NOT_FOUND", "message": "No."}]);
        let page =
            json!({"nodes": [], "totalCount": 0, "pageInfo": {"hasNextPage": false, "endCursor": null}});
        let table = [
            (
                json!({"data": null, "errors": refusal}),
                Expected::Refused("FORBIDDEN"),
                true,
            ),
            (json!({"errors": refusal}), Expected::Refused("FORBIDDEN"), true),
            (
                json!({"errors": refusal}),
                Expected::Refused("UNAUTHENTICATED"),
                false,
            ),
            (
                json!({"data": {"a": null}, "errors": refusal}),
                Expected::Refused("FORBIDDEN"),
                false,
            ),
            (json!({"data": null}), Expected::Refused("FORBIDDEN"), false),
            (
                json!({"errors": [{"message": "?"}]}),
                Expected::Refused("FORBIDDEN"),
                false,
            ),
            (
                json!({"data": {"x": {"webhook": null, "userErrors": told}}}),
                Expected::Told("NOT_FOUND"),
                true,
            ),
            (
                json!({"data": {"x": {"webhook": null, "userErrors": told}}}),
                Expected::Told("FORBIDDEN"),
                false,
            ),
            (
                json!({"data": {"x": {"count": 1, "userErrors": told}}}),
                Expected::Told("NOT_FOUND"),
                false,
            ),
            (
                json!({"data": {"x": {"userErrors": []}}}),
                Expected::Told("NOT_FOUND"),
                false,
            ),
            (
                json!({"data": null, "errors": refusal}),
                Expected::Told("FORBIDDEN"),
                false,
            ),
            (
                json!({"data": {"webhook": null, "webhooks": page}}),
                Expected::Nothing,
                true,
            ),
            (
                json!({"data": {"webhooks": {"totalCount": 3}}}),
                Expected::Nothing,
                false,
            ),
            (
                json!({"data": {"webhooks": {"pageInfo": {"hasNextPage": true}}}}),
                Expected::Nothing,
                false,
            ),
            (
                json!({"data": {"webhook": null}, "errors": refusal}),
                Expected::Nothing,
                false,
            ),
            (json!({"data": {"event": {"id": "ours"}}}), open(), true),
            (json!({"data": {"event": null}}), open(), false),
            (
                json!({"data": {"event": {"id": "ours"}}, "errors": refusal}),
                open(),
                false,
            ),
            (json!({"data": {"viewer": {"userId": "8"}}}), Expected::Own, true),
            (json!({"data": null}), Expected::Own, false),
            (
                json!({"data": {"viewer": null}, "errors": refusal}),
                Expected::Own,
                false,
            ),
        ];
        for (answer, expected, good) in table {
            let found = verdict(&answer, &expected);
            assert_eq!(found.is_ok(), good, "{answer} as {expected:?}: {found:?}");
        }
    }
}
