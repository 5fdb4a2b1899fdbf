//! The scalars of the schema.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

use tenterhook_policy::input_limits;

/// The fault of a value that is not a [`DateTime`], as the end of a sentence that begins with the value's path.
const NO_MOMENT: &str =
    "must be an ISO 8601 date and time with an offset, from 0001-01-01T00:00:00Z to 9999-12-30T22:00:00.999Z";
/// The fault of a value that is not a [`Duration`].
const NO_DURATION: &str = "must be an ISO 8601 duration of weeks, days and time";

/// A time in the years 1 to 9999, as ISO 8601 in UTC with milliseconds, such as `2026-11-23T10:11:12.345Z`. Input may
/// have any offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateTime(pub Timestamp);

/// A time in the years 1 to 9999, as ISO 8601 in UTC with milliseconds, such as `2026-11-23T10:11:12.345Z`. Input may
/// have any offset.
#[Scalar]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => moment(text)
                .map(Self)
                .ok_or_else(|| InputValueError::custom(NO_MOMENT)),
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

/// A length of time, as an ISO 8601 duration such as `PT30M` or `P1D`. A day is 24 hours. Months and years are
/// refused, because their length varies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duration(pub SignedDuration);

/// A length of time, as an ISO 8601 duration such as `PT30M` or `P1D`. A day is 24 hours. Months and years are
/// refused, because their length varies.
#[Scalar]
impl ScalarType for Duration {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => length(text)
                .map(Self)
                .ok_or_else(|| InputValueError::custom(NO_DURATION)),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// A kind of object in the event catalogue, such as `deal`. In a subscription `*` means all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventObject(pub String);

/// A kind of object in the event catalogue, such as `deal`. In a subscription `*` means all of them.
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

/// The name of [`Json`] in the schema.
pub const JSON: &str = "JSON";

/// Any JSON value. A number in variables keeps its digits as written. A number in a document is refused if it would
/// lose digits both as a 64-bit integer and as a double.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json(pub Value);

/// Any JSON value. A number in variables keeps its digits as written. A number in a document is refused if it would
/// lose digits both as a 64-bit integer and as a double.
#[Scalar(name = "JSON")]
impl ScalarType for Json {
    fn parse(value: Value) -> InputValueResult<Self> {
        Ok(Self(value))
    }

    fn to_value(&self) -> Value {
        self.0.clone()
    }
}

/// The fault of a text as a value of this scalar, as the end of a sentence that begins with the value's path. `None`
/// if the text is valid, or if the scalar is neither `DateTime` nor `Duration`.
///
/// For validation, which knows the path: a resolver that parses a whole argument cannot say which of a thousand
/// events has the invalid time.
pub fn unfit(scalar: &str, text: &str) -> Option<&'static str> {
    match scalar {
        "DateTime" => moment(text).is_none().then_some(NO_MOMENT),
        "Duration" => length(text).is_none().then_some(NO_DURATION),
        _ => None,
    }
}

fn moment(text: &str) -> Option<Timestamp> {
    text.parse().ok().and_then(|at| input_limits::moment(at).ok())
}

fn length(text: &str) -> Option<SignedDuration> {
    // The parser also accepts words such as `30m`.
    let span: Span = text.strip_prefix('P').and_then(|_| text.parse().ok())?;
    span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_cut_to_milliseconds() {
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

    /// Postgres supports 4713 BC to 294276, and the statement fails for anything outside.
    #[test]
    fn a_time_must_be_in_the_years_1_to_9999() {
        let parse = |text: &str| DateTime::parse(Value::String(text.to_owned()));
        for (first, shown) in [
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
            ("9999-12-30T22:00:00.999Z", "9999-12-30T22:00:00.999Z"),
        ] {
            assert_eq!(parse(first).unwrap().to_value(), Value::String(shown.to_owned()));
        }
        for beyond in [
            "0000-12-31T23:59:59.999999Z",
            "0001-01-01T00:00:00+00:01",
            "-004713-11-24T00:00:00Z",
            "-009000-01-01T00:00:00Z",
            "9999-12-30T22:00:01Z",
            "9999-12-31T23:59:59Z",
            "+010000-01-01T00:00:00Z",
        ] {
            assert!(parse(beyond).is_err(), "{beyond}");
            assert_eq!(unfit("DateTime", beyond), Some(NO_MOMENT));
        }
        assert!(NO_MOMENT.contains(&input_limits::FIRST_MOMENT.to_string()));
        assert!(NO_MOMENT.contains(&format!("{:.3}", input_limits::LAST_MOMENT)));
    }

    #[test]
    fn a_duration_must_have_a_fixed_length() {
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
