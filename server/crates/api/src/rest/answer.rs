//! Responses in Pipedrive's JSON, errors included.

use std::collections::BTreeMap;

use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, LINK, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tenterhook_graphql_http::{Allowance, ErrorCode, RequestError};

use super::shown::Shown;
use crate::error::ApiError;
use crate::user_error::{UserError, UserErrorCode};
use tenterhook_store::StoreError;

/// Where the rest of the API is.
const GRAPHQL: &str = "</graphql>; rel=\"service\"";
/// The message for a URL that cannot be used. The reason is in `additional_data`.
const UNUSABLE_URL: &str = "invalid or non-reachable URL";
/// The key for faults that are not about one key.
const REQUEST: &str = "request";
/// The headers with the state of the caller's rate limits, for the tightest limit: how many requests it allows at once, how
/// many are left, and in how many seconds all of them are available again.
pub const RATE_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
];

/// A response.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    body: Value,
    headers: Box<HeaderMap>,
}

/// The faults of an input, by its keys.
#[derive(Debug, Default)]
pub struct Faults(BTreeMap<String, Vec<String>>);

impl Faults {
    /// A single fault.
    pub fn one(key: &str, why: impl Into<String>) -> Self {
        let mut faults = Self::default();
        faults.add(key, why);
        faults
    }

    /// Adds a fault.
    pub fn add(&mut self, key: &str, why: impl Into<String>) {
        self.0.entry(key.to_owned()).or_default().push(why.into());
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Faults> for Answer {
    fn from(faults: Faults) -> Self {
        Self::invalid(StatusCode::BAD_REQUEST, faults, None)
    }
}

impl Answer {
    fn new(status: StatusCode, body: Value) -> Self {
        Self {
            status,
            body,
            headers: Box::default(),
        }
    }

    fn good(status: StatusCode, data: Option<Value>, additional: Option<Value>) -> Self {
        let mut body = json!({ "status": "ok", "success": true });
        if let Some(data) = data {
            body["data"] = data;
        }
        if let Some(additional) = additional {
            body["additional_data"] = additional;
        }
        Self::new(status, body)
    }

    /// A list of webhooks; `page` is its position in a longer list.
    pub fn listed(webhooks: &[Shown], page: Option<Value>) -> Self {
        let additional = page.map(|page| json!({ "pagination": page }));
        Self::good(StatusCode::OK, Some(json!(webhooks)), additional)
    }

    /// A new webhook.
    pub fn created(webhook: &Shown, additional: Option<Value>) -> Self {
        Self::good(StatusCode::CREATED, Some(json!(webhook)), additional)
    }

    /// Success without data.
    pub fn done() -> Self {
        Self::good(StatusCode::OK, None, None)
    }

    fn invalid(status: StatusCode, faults: Faults, additional: Option<Value>) -> Self {
        let mut body = json!({ "status": "error", "success": false, "errors": faults.0 });
        if let Some(additional) = additional {
            body["additional_data"] = additional;
        }
        Self::new(status, body)
    }

    fn failed(status: StatusCode, error: &str) -> Self {
        let body = json!({ "success": false, "error": error, "errorCode": status.as_u16() });
        Self::new(status, body)
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// No token, or an invalid one. Says no more, because Pipedrive says no more.
    pub fn unauthorized() -> Self {
        Self::failed(StatusCode::UNAUTHORIZED, "unauthorized access")
            .with(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// The token lacks the scope, or may not do this with a webhook that it sees.
    pub fn forbidden() -> Self {
        let body = json!({ "success": false, "message": "Forbidden" });
        Self::new(StatusCode::FORBIDDEN, body)
    }

    /// No webhook that the caller sees has this id.
    pub fn not_found() -> Self {
        Self::invalid(StatusCode::NOT_FOUND, Faults::one("id", "not found"), None)
    }

    /// A path that is not one of the routes.
    pub fn unknown_path() -> Self {
        Self::failed(StatusCode::NOT_FOUND, "no such path")
    }

    /// The error for a method that the route does not have. `allow` lists its methods.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self::failed(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")
            .with(ALLOW, HeaderValue::from_static(allow))
    }

    /// A body that is not JSON, or is compressed.
    pub fn unsupported_media_type() -> Self {
        let why = "the body must be application/json, in UTF-8 and not compressed";
        Self::failed(StatusCode::UNSUPPORTED_MEDIA_TYPE, why)
    }

    /// The errors in a mutation's input.
    pub fn of_user_errors(errors: Vec<UserError>) -> Self {
        if let Some((limit, used)) = errors.iter().find_map(UserError::limit) {
            let faults = Faults::one("user_id", "Webhooks limit reached");
            let additional = json!({ "limit": limit, "used": used });
            return Self::invalid(StatusCode::UNPROCESSABLE_ENTITY, faults, Some(additional));
        }
        let has = |code| errors.iter().any(|error| error.parts().0 == code);
        if has(UserErrorCode::Forbidden) || has(UserErrorCode::AppNotInstalled) {
            return Self::forbidden();
        }
        // A removed webhook is in no list, so it is not there.
        if errors.iter().any(|error| key(error) == "id") {
            return Self::not_found();
        }
        let mut faults = Faults::default();
        let mut reason = None;
        for error in &errors {
            let (code, message, _) = error.parts();
            let message = match code {
                UserErrorCode::InvalidUrl | UserErrorCode::ForbiddenAddress => {
                    reason = Some(json!({ "reason": message }));
                    UNUSABLE_URL
                }
                _ => message,
            };
            faults.add(&key(error), message);
        }
        Self::invalid(StatusCode::BAD_REQUEST, faults, reason)
    }

    /// Adds the state of the caller's rate limits, if it has any.
    pub fn counted(mut self, allowance: Option<Allowance>) -> Self {
        let Some(allowance) = allowance else { return self };
        let reset = allowance.full_in.as_secs_f64().ceil() as u64;
        let values = [allowance.limit, allowance.remaining, reset];
        for (name, value) in RATE_HEADERS.into_iter().zip(values) {
            self = self.with(name, HeaderValue::from(value));
        }
        self
    }

    /// The errors of its body.
    #[cfg(test)]
    pub fn errors(&self) -> String {
        self.body["errors"].to_string()
    }
}

/// The input's key that an error is about: the names of GraphQL's inputs as Pipedrive spells them.
fn key(error: &UserError) -> String {
    let Some(name) = error.parts().2.get(1) else {
        return REQUEST.to_owned();
    };
    let mut key = String::with_capacity(name.len() + 2);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            key.push('_');
        }
        key.push(letter.to_ascii_lowercase());
    }
    key
}

impl From<ApiError> for Answer {
    fn from(error: ApiError) -> Self {
        RequestError::from(error).into()
    }
}

impl From<StoreError> for Answer {
    fn from(error: StoreError) -> Self {
        ApiError::from(error).into()
    }
}

impl From<RequestError> for Answer {
    fn from(error: RequestError) -> Self {
        let answer = match error.code() {
            ErrorCode::Unauthenticated => Self::unauthorized(),
            ErrorCode::Forbidden => Self::forbidden(),
            ErrorCode::PayloadTooLarge => Self::failed(StatusCode::PAYLOAD_TOO_LARGE, error.message()),
            ErrorCode::RequestTimeout => Self::failed(StatusCode::REQUEST_TIMEOUT, error.message()),
            ErrorCode::RateLimited => Self::failed(StatusCode::TOO_MANY_REQUESTS, "too many requests"),
            ErrorCode::Unavailable => Self::failed(StatusCode::SERVICE_UNAVAILABLE, error.message()),
            ErrorCode::Internal => Self::failed(StatusCode::INTERNAL_SERVER_ERROR, error.message()),
            ErrorCode::BadUserInput
            | ErrorCode::ParseFailed
            | ErrorCode::ValidationFailed
            | ErrorCode::TooDeep
            | ErrorCode::TooComplex
            | ErrorCode::PersistedQueryNotFound => Faults::one(REQUEST, error.message()).into(),
        };
        // A server starts, stops and recovers from an overload within seconds.
        let unavailable = (error.code() == ErrorCode::Unavailable).then_some(1);
        let answer = match error.retry_after().or(unavailable) {
            Some(seconds) => answer.with(RETRY_AFTER, HeaderValue::from(seconds)),
            None => answer,
        };
        answer.counted(error.allowance().copied())
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let Self {
            status,
            body,
            mut headers,
        } = self;
        for (name, value) in [
            (CONTENT_TYPE, "application/json; charset=utf-8"),
            (CACHE_CONTROL, "no-store"),
            (LINK, GRAPHQL),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        (status, *headers, body.to_string()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user_error::{Path, Problems};

    #[test]
    fn errors_of_the_server_have_the_form_of_pipedrive() {
        for (error, status, retry_after) in [
            (
                RequestError::unavailable("the database is unavailable"),
                503,
                Some("1"),
            ),
            (RequestError::internal("a secret"), 500, None),
            (
                RequestError::new(ErrorCode::RequestTimeout, "Too slow."),
                408,
                None,
            ),
        ] {
            let message = error.message().to_owned();
            let answer = Answer::from(error);
            assert_eq!(
                answer.body,
                json!({ "success": false, "error": message, "errorCode": status })
            );
            let response = answer.into_response();
            assert_eq!(response.status(), status);
            let header = |name: HeaderName| response.headers().get(name).map(|value| value.to_str().unwrap());
            assert_eq!(header(RETRY_AFTER), retry_after);
            assert_eq!(header(LINK), Some(GRAPHQL));
            assert_eq!(header(CONTENT_TYPE), Some("application/json; charset=utf-8"));
        }
    }

    #[test]
    fn input_errors_stand_under_the_keys_of_the_rest_routes() {
        let mut problems = Problems::none();
        for field in ["httpAuthUser", "name", "name"] {
            let why = "must not be empty";
            problems.add(UserErrorCode::Invalid, Path::input().field(field), why);
        }
        let answer = Answer::of_user_errors(problems.into_errors());
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        let told = "Must not be empty.";
        assert_eq!(
            answer.body["errors"],
            json!({ "http_auth_user": [told], "name": [told, told] })
        );
        let whole = Problems::one(UserErrorCode::Invalid, Path::input(), "no");
        let answer = Answer::of_user_errors(whole.into_errors());
        assert_eq!(answer.body["errors"], json!({ "request": ["No."] }));
    }
}
