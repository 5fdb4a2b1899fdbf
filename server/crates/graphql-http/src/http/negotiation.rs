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
            .find_map(|part| part.strip_prefix("q="))
            .map_or(1.0, |q| q.parse::<f32>().unwrap_or(0.0).clamp(0.0, 1.0));
        Some(((weight * 1000.0).round() as u16, exactness))
    });
    fits.max_by_key(|(weight, exactness)| (*exactness, *weight))
        .unwrap_or((0, 0))
}

/// Whether the content type is `application/json`, with no character set other than UTF-8. A form, which a page of
/// another site can post, is not.
pub fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let mut parts = value.split(';').map(|part| part.trim().to_ascii_lowercase());
    parts.next().is_some_and(|name| name == "application/json")
        && parts.all(|part| {
            part.strip_prefix("charset=")
                .is_none_or(|set| matches!(set.trim_matches('"'), "utf-8" | "utf8"))
        })
}

/// Whether the body is compressed. Such a body is not read, because a few bytes can expand to a very large one.
pub fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_ENCODING)
        .is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

#[cfg(test)]
mod tests {
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
}
