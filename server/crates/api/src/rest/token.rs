//! The token of a REST request, from any of its three places.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use url::form_urlencoded;

use super::TOKEN_HEADER;
use crate::auth;

/// The parameter of a query string that may carry a token.
const PARAMETER: &str = "api_token";

/// The token. `None` if there is none, if two places have different ones, if an `Authorization` header has another scheme,
/// or if the query string has one although `in_query` does not allow that.
///
/// A token in a query string is refused even if a header has the same: proxies and browsers keep query strings, so a
/// caller that sends it there must learn of it.
pub fn find(headers: &HeaderMap, query: &str, in_query: bool) -> Option<String> {
    let mut tokens: Vec<String> = Vec::new();
    for value in headers.get_all(AUTHORIZATION) {
        tokens.push(auth::bearer(value.to_str().ok()?)?.to_owned());
    }
    for value in headers.get_all(TOKEN_HEADER) {
        tokens.push(value.to_str().ok()?.trim().to_owned());
    }
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name == PARAMETER {
            if !in_query {
                return None;
            }
            tokens.push(value.into_owned());
        }
    }
    let first = tokens.pop()?;
    tokens.iter().all(|other| *other == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    /// The token found in these headers and this query string, with tokens in query strings allowed or not.
    fn found(headers: &[(HeaderName, &str)], query: &str, in_query: bool) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        find(&map, query, in_query)
    }

    #[test]
    fn a_token_is_found_in_each_place() {
        let a = Some("a".to_owned());
        assert_eq!(found(&[(AUTHORIZATION, "Bearer a")], "", false), a);
        assert_eq!(found(&[(AUTHORIZATION, "bearer  a ")], "", false), a);
        assert_eq!(found(&[(TOKEN_HEADER, " a")], "start=1", false), a);
        assert_eq!(found(&[], "start=1&api_token=a", true), a);
        assert_eq!(
            found(&[], "api_token=a%2Eb%2Bc", true),
            Some("a.b+c".to_owned()),
            "percent-encoded"
        );
        assert_eq!(found(&[], "", true), None);
    }

    #[test]
    fn two_tokens_that_differ_are_refused_and_equal_ones_are_one() {
        let both = |a, b| [(AUTHORIZATION, a), (TOKEN_HEADER, b)];
        assert_eq!(
            found(&both("Bearer a", "a"), "api_token=a", true),
            Some("a".to_owned())
        );
        assert_eq!(found(&both("Bearer a", "b"), "", false), None);
        assert_eq!(found(&both("Bearer a", ""), "", false), None);
        assert_eq!(found(&both("Basic a", "a"), "", false), None);
        assert_eq!(found(&[(AUTHORIZATION, "Bearer a")], "api_token=b", true), None);
        assert_eq!(found(&[], "api_token=a&api_token=b", true), None);
        assert_eq!(
            found(&[(TOKEN_HEADER, "a"), (TOKEN_HEADER, "b")], "", false),
            None
        );
    }

    #[test]
    fn a_token_in_the_query_string_is_refused_unless_allowed() {
        assert_eq!(found(&[], "api_token=a", false), None);
        assert_eq!(found(&[(AUTHORIZATION, "Bearer a")], "api_token=a", false), None);
        assert_eq!(
            found(&[(AUTHORIZATION, "Bearer a")], "api%5Ftoken=a", false),
            None
        );
    }
}
