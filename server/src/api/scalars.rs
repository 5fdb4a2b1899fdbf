//! The scalars of the graph.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

/// A moment, as ISO 8601 in UTC with milliseconds, such as `2026-11-23T10:11:12.345Z`. Other offsets are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateTime(pub Timestamp);

/// A moment, as ISO 8601 in UTC with milliseconds, such as `2026-11-23T10:11:12.345Z`. Other offsets are accepted.
#[Scalar]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => text
                .parse()
                .map(Self)
                .map_err(|_| InputValueError::custom("is not an ISO 8601 date and time with an offset")),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(format!("{:.3}", self.0))
    }
}

impl From<Timestamp> for DateTime {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

/// A length of time, as an ISO 8601 duration such as `PT30M` or `P1D`: a day is 24 hours, and months and years, which
/// have no length of their own, are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duration(pub SignedDuration);

/// A length of time, as an ISO 8601 duration such as `PT30M` or `P1D`: a day is 24 hours, and months and years, which
/// have no length of their own, are refused.
#[Scalar]
impl ScalarType for Duration {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else {
            return Err(InputValueError::expected_type(value));
        };
        // The parser also takes words such as `30m`.
        let span = text.strip_prefix('P').and_then(|_| text.parse::<Span>().ok());
        span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok())
            .map(Self)
            .ok_or_else(|| InputValueError::custom("is not an ISO 8601 duration of weeks, days and time"))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// The name of a kind of object, such as `deal`, from the event catalogue; `*` in a subscription means all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventObject(pub String);

/// The name of a kind of object, such as `deal`, from the event catalogue; `*` in a subscription means all of them.
#[Scalar]
impl ScalarType for EventObject {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(name) => Ok(Self(name)),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// Any JSON value. In variables a number keeps the digits it is written with; in a document one that neither a 64-bit
/// integer nor a double writes alike is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json(pub Value);

/// Any JSON value. In variables a number keeps the digits it is written with; in a document one that neither a 64-bit
/// integer nor a double writes alike is refused.
#[Scalar(name = "JSON")]
impl ScalarType for Json {
    fn parse(value: Value) -> InputValueResult<Self> {
        Ok(Self(value))
    }

    fn to_value(&self) -> Value {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_milliseconds_and_is_never_rounded_up() {
        for (stored, shown) in [
            ("2026-11-23T10:11:12Z", "2026-11-23T10:11:12.000Z"),
            ("2026-11-23T10:11:12.999999Z", "2026-11-23T10:11:12.999Z"),
            ("2026-11-23T11:11:12.5+01:00", "2026-11-23T10:11:12.500Z"),
        ] {
            let moment = DateTime::parse(Value::String(stored.to_owned())).unwrap();
            assert_eq!(moment.to_value(), Value::String(shown.to_owned()));
        }
    }

    #[test]
    fn a_moment_needs_an_offset() {
        for text in ["2026-11-23T10:11:12", "2026-11-23", "yesterday", ""] {
            assert!(
                DateTime::parse(Value::String(text.to_owned())).is_err(),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_duration_has_a_length_of_its_own() {
        let parse = |text: &str| Duration::parse(Value::String(text.to_owned()));
        for (text, seconds) in [
            ("PT30M", 1_800),
            ("P1D", 86_400),
            ("P1W", 604_800),
            ("PT1H0.5S", 3_600),
        ] {
            assert_eq!(parse(text).unwrap().0.as_secs(), seconds, "{text}");
        }
        for text in ["30m", "-PT1S", "P1M", "P1Y", "PT", "", "1800"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        let shown = Duration(SignedDuration::from_mins(30)).to_value();
        assert_eq!(shown, Value::String("PT30M".to_owned()));
    }
}
