//! Negotiates the media type of a response, and checks the media type of a request.

use axum::http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};

/// Format of the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// `application/graphql-response+json`: the status shows whether the request was executed.
    GraphqlResponse,
    /// `application/json`: status 200 for every well-formed request.
    Json,
}

/// How well a range of an `Accept` header matches: its weight in thousandths, then how exactly it names the type.
type Fit = (u16, u8);

impl Media {
    /// The media type that the caller prefers; `None` if it accepts neither. If it names both with equal weight, the
    /// newer one. If it accepts anything or has no preference, the older one, because every client knows it.
    pub fn accepted(headers: &HeaderMap) -> Option<Self> {
        let ranges: Vec<String> = headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|range| range.trim().to_ascii_lowercase())
            .filter(|range| !range.is_empty())
            .collect();
        if ranges.is_empty() {
            return Some(Self::Json);
        }
        let newer = fit(&ranges, "application/graphql-response+json");
        let older = fit(&ranges, "application/json");
        match (newer, older) {
            ((0, _), (0, _)) => None,
            (newer, older) if newer > older || (newer == older && newer.1 == EXACT) => {
                Some(Self::GraphqlResponse)
            }
            _ => Some(Self::Json),
        }
    }

    /// Content type of the response.
    pub fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
        })
    }
}

/// Exactness of a range that is the type itself.
const EXACT: u8 = 2;

/// The most exact matching range decides.
fn fit(ranges: &[String], name: &str) -> Fit {
    let fits = ranges.iter().filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let exactness = match parts.next()? {
            range if range == name => EXACT,
            "application/*" => 1,
            "*/*" => 0,
            _ => return None,
        };
        let weight = parts
            .filter_map(parameter)
            .find(|(name, _)| name == "q")
            .map_or(1.0, |(_, q)| q.parse::<f32>().unwrap_or(0.0).clamp(0.0, 1.0));
        Some(((weight * 1000.0).round() as u16, exactness))
    });
    fits.max_by_key(|(weight, exactness)| (*exactness, *weight))
        .unwrap_or((0, 0))
}

/// A parameter of a media type: its name, in lower case, and its value. Blanks around `=` do not belong there, but readers
/// that ignore them exist, so they change nothing.
fn parameter(part: &str) -> Option<(String, &str)> {
    let (name, value) = part.split_once('=')?;
    Some((name.trim().to_ascii_lowercase(), value.trim()))
}

/// Whether the content type is `application/json`, with no character set other than UTF-8. A form, which a page of
/// another site can post, is not. If the header is there more than once, all of them must agree.
pub fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter().peekable();
    types.peek().is_some() && types.all(|value| value.to_str().is_ok_and(names_json))
}

fn names_json(value: &str) -> bool {
    let mut parts = value.split(';');
    let is_json = |name: &str| name.trim().eq_ignore_ascii_case("application/json");
    parts.next().is_some_and(is_json)
        && parts.filter_map(parameter).all(|(name, set)| {
            let set = set.trim_matches('"');
            name != "charset"
                || ["utf-8", "utf8"]
                    .iter()
                    .any(|utf8| set.eq_ignore_ascii_case(utf8))
        })
}

/// Whether the body is compressed. Such a body is not read, because a few bytes can expand to a very large one.
pub fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    #[test]
    fn the_callers_preferred_media_type_is_chosen() {
        use Media::{GraphqlResponse, Json};
        for (accept, expected) in [
            ("", Some(Json)),
            ("*/*", Some(Json)),
            ("application/*", Some(Json)),
            ("application/json", Some(Json)),
            ("application/graphql-response+json", Some(GraphqlResponse)),
            (
                "application/json, application/graphql-response+json",
                Some(GraphqlResponse),
            ),
            (
                "application/graphql-response+json;q=0.5, application/json",
                Some(Json),
            ),
            (
                "application/graphql-response+json, application/json;q=0.9",
                Some(GraphqlResponse),
            ),
            (
                "application/graphql-response+json; charset=utf-8, */*",
                Some(GraphqlResponse),
            ),
            ("application/json, */*", Some(Json)),
            ("Application/GraphQL-Response+JSON", Some(GraphqlResponse)),
            ("application/json;q=0, */*", Some(GraphqlResponse)),
            ("application/json;q=0", None),
            ("application/json;q=0.000", None),
            ("application/json;q=nonsense", None),
            ("application/json; q = 0", None),
            ("application/json; Q=0", None),
            ("text/html", None),
            ("text/html, */*;q=0.1", Some(Json)),
        ] {
            let mut headers = HeaderMap::new();
            if !accept.is_empty() {
                headers.insert(ACCEPT, HeaderValue::from_str(accept).unwrap());
            }
            assert_eq!(Media::accepted(&headers), expected, "{accept}");
        }
    }

    /// The headers with these values of one name.
    fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
        let value = |value: &&str| (name.clone(), HeaderValue::from_str(value).unwrap());
        values.iter().map(value).collect()
    }

    #[test]
    fn only_json_in_utf_8_is_read() {
        for (values, expected) in [
            (vec![], false),
            (vec!["application/json"], true),
            (vec!["Application/JSON ; Charset=UTF-8"], true),
            (vec!["application/json;charset=\"utf-8\""], true),
            (vec!["application/json; charset = utf8"], true),
            (vec!["application/json; profile=a; x"], true),
            (vec!["application/json;charset=latin1"], false),
            (vec!["application/json; charset = latin1"], false),
            (vec!["application/json; charset= latin1"], false),
            (vec!["application/json; charset =latin1"], false),
            (vec!["application/json; charset\t=\tlatin1"], false),
            (vec!["application/json; CHARSET=\"latin1\""], false),
            (vec!["application/json; charset=utf-8; charset=latin1"], false),
            (vec!["application/json; charset="], false),
            (vec!["text/plain"], false),
            (vec!["application/json", "application/json; charset=utf-8"], true),
            (vec!["application/json", "text/plain"], false),
            (
                vec!["application/json", "application/json; charset=latin1"],
                false,
            ),
        ] {
            assert_eq!(is_json(&headers(&CONTENT_TYPE, &values)), expected, "{values:?}");
        }
    }

    #[test]
    fn a_body_is_encoded_unless_every_encoding_is_identity() {
        for (values, expected) in [
            (vec![], false),
            (vec!["identity"], false),
            (vec!["Identity", "identity"], false),
            (vec!["gzip"], true),
            (vec!["identity", "gzip"], true),
            (vec!["identity, gzip"], true),
        ] {
            assert_eq!(
                is_encoded(&headers(&CONTENT_ENCODING, &values)),
                expected,
                "{values:?}"
            );
        }
    }
}
