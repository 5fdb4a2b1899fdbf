//! Finds the company of a publication before it is parsed, so that refusing a publication when there is no room costs
//! only a scan.
//!
//! Finds the company of the first event and the number of events. It looks at the places in the variables where
//! clients send them: a list of objects, or an object with such a list (an input). It looks at nothing else: events
//! in the document itself are found once it is parsed.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use tenterhook_model::ids::CompanyId;

/// The company of the first event, and the number of events.
pub fn subject(body: &[u8]) -> Option<(CompanyId, usize)> {
    let mut json = serde_json::Deserializer::from_slice(body);
    // The parser refuses text that is not JSON.
    let (company, events) = Level::Body.deserialize(&mut json).ok()??;
    Some((company.parse().ok()?, events))
}

/// Nesting levels of a body, as clients send it.
#[derive(Clone, Copy)]
enum Level {
    Body,
    Variables,
    /// A variable: the input, or the list of events.
    Variable,
    /// A field of the input.
    Field,
    Event,
    Company,
}

impl Level {
    /// The level of a field of an object at this level; `None` if the field is not needed.
    fn of(self, field: &str) -> Option<Self> {
        match self {
            Self::Body => (field == "variables").then_some(Self::Variables),
            Self::Variables => Some(Self::Variable),
            Self::Variable => Some(Self::Field),
            Self::Event => (field == "companyId").then_some(Self::Company),
            Self::Field | Self::Company => None,
        }
    }
}

/// A company as text, with the number of events around it.
type Seen = Option<(String, usize)>;

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Seen;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Seen, D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Seen;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Seen, A::Error> {
        let mut seen = None;
        while let Some(name) = fields.next_key::<std::borrow::Cow<'de, str>>()? {
            match self.of(&name) {
                Some(level) if seen.is_none() => seen = fields.next_value_seed(level)?,
                _ => drop(fields.next_value::<IgnoredAny>()?),
            }
        }
        Ok(seen)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Seen, A::Error> {
        let first = match self {
            Self::Variable | Self::Field => items.next_element_seed(Self::Event)?.flatten(),
            _ => None,
        };
        let mut others = 0;
        while items.next_element::<IgnoredAny>()?.is_some() {
            others += 1;
        }
        Ok(first.map(|(company, _)| (company, 1 + others)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Seen, E> {
        Ok(matches!(self, Self::Company).then(|| (text.to_owned(), 1)))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Seen, E> {
        Ok(matches!(self, Self::Company).then(|| (number.to_string(), 1)))
    }

    fn visit_i64<E: Error>(self, _number: i64) -> Result<Seen, E> {
        Ok(None)
    }

    fn visit_f64<E: Error>(self, _number: f64) -> Result<Seen, E> {
        Ok(None)
    }

    fn visit_bool<E: Error>(self, _value: bool) -> Result<Seen, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Seen, E> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::an_input(json!({ "query": "", "variables": { "input": { "events": [{ "companyId": "7" }, {}] } } }), Some((7, 2)))]
    #[case::a_list(json!({ "variables": { "events": [{ "companyId": 7 }] } }), Some((7, 1)))]
    #[case::after_its_data(
        json!({ "variables": { "a": 1, "input": { "events": [{ "data": [{ "companyId": "8" }], "companyId": "7" }] } } }),
        Some((7, 1))
    )]
    #[case::in_its_data_alone(json!({ "variables": { "input": { "events": [{ "data": [{ "companyId": "8" }] }] } } }), None)]
    #[case::of_no_event(json!({ "variables": { "companyId": "7", "input": { "companyId": "7" } } }), None)]
    #[case::in_a_list_of_lists(json!({ "variables": { "input": [[{ "companyId": "7" }]] } }), None)]
    #[case::no_company(json!({ "variables": { "input": { "events": [{ "companyId": "x" }] } } }), None)]
    #[case::none(json!({ "variables": { "input": { "events": [] } } }), None)]
    #[case::no_variables(json!({ "query": "{ a }", "variables": null }), None)]
    fn company_and_event_count_are_read_from_the_variables(
        #[case] body: serde_json::Value,
        #[case] expected: Option<(u64, usize)>,
    ) {
        let seen = subject(body.to_string().as_bytes());
        let seen = seen.map(|(company, events)| (u64::try_from(company.get()).unwrap(), events));
        assert_eq!(seen, expected);
    }

    #[test]
    fn invalid_json_has_no_subject() {
        for body in [
            "",
            "[",
            "{\"variables\":{\"a\":[{\"companyId\":\"7\"",
            "7",
            "\u{1}",
        ] {
            assert_eq!(subject(body.as_bytes()), None, "{body}");
        }
        let deep = format!("{{\"variables\":{{\"a\":{}", "[".repeat(100_000));
        assert_eq!(subject(deep.as_bytes()), None);
    }
}
