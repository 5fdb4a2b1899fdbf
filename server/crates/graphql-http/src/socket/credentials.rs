//! Finds the token of a socket.

use async_graphql::Value;

use super::Close;
use crate::raw_request::Fields;

/// The key of a token in a payload, in any case: clients write it like the HTTP header or in lower case.
const KEY: &str = "authorization";
/// The object in a payload where some clients put their headers.
const HEADERS: &str = "headers";

/// The socket's `Authorization` header: the one in the payload of `connection_init`, at its top level or under
/// `headers`, otherwise the one of the upgrade request. Browsers cannot set the latter.
///
/// # Errors
///
/// Closes with 4403 if the payload has two different tokens, because it is unknown which of them is meant.
pub(super) fn authorization<'a>(
    payload: Option<&'a Value>,
    of_upgrade: Option<&'a str>,
) -> Result<Option<&'a str>, Close> {
    let top = payload.and_then(fields);
    let headers = top.and_then(|top| top.get(HEADERS)).and_then(fields);
    let mut named = [top, headers]
        .into_iter()
        .flatten()
        .flatten()
        .filter(|(key, value)| key.eq_ignore_ascii_case(KEY) && **value != Value::Null)
        .map(|(_, value)| value);
    let Some(first) = named.next() else {
        return Ok(of_upgrade);
    };
    if named.any(|other| other != first) {
        return Err(Close::new(4403, "The payload names two different tokens."));
    }
    Ok(match first {
        Value::String(token) => Some(token),
        _ => None,
    })
}

fn fields(value: &Value) -> Option<&Fields> {
    match value {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::value;

    use super::*;

    #[test]
    fn a_token_is_found_in_any_case_at_the_top_and_under_headers() {
        for (payload, expected) in [
            (value!({ "authorization": "a" }), Some("a")),
            (value!({ "Authorization": "a" }), Some("a")),
            (value!({ "AUTHORIZATION": "a", "other": "b" }), Some("a")),
            (value!({ "headers": { "Authorization": "a" } }), Some("a")),
            (
                value!({ "headers": { "authorization": "a" }, "Authorization": "a" }),
                Some("a"),
            ),
            (value!({ "Authorization": "a", "authorization": null }), Some("a")),
            // Present, but not a token.
            (value!({ "authorization": 1 }), None),
            (value!({ "authorization": "" }), Some("")),
            (value!({ "authorization": { "Authorization": "a" } }), None),
            // Absent.
            (value!({ "authorization": null }), Some("upgrade")),
            (value!({ "headers": null }), Some("upgrade")),
            (value!({ "headers": "Authorization" }), Some("upgrade")),
            (value!({ "x": { "authorization": "a" } }), Some("upgrade")),
            (value!(["authorization"]), Some("upgrade")),
            (value!({}), Some("upgrade")),
        ] {
            assert_eq!(
                authorization(Some(&payload), Some("upgrade")).unwrap(),
                expected,
                "{payload}"
            );
        }
        assert_eq!(authorization(None, Some("upgrade")).unwrap(), Some("upgrade"));
        assert_eq!(authorization(None, None).unwrap(), None);
    }

    #[test]
    fn two_tokens_that_differ_are_refused() {
        for payload in [
            value!({ "authorization": "a", "Authorization": "b" }),
            value!({ "authorization": "a", "headers": { "authorization": "b" } }),
            value!({ "authorization": 1, "Authorization": "b" }),
        ] {
            assert_eq!(
                authorization(Some(&payload), None).unwrap_err().code,
                4403,
                "{payload}"
            );
        }
    }
}
