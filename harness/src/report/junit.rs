//! A run as JUnit XML, in the form that CI servers and viewers agree on.
//!
//! The XML 1.0 is well-formed whatever a scenario saw: markup is escaped, and characters that XML cannot contain are
//! replaced. A scenario that could not run is an `<error>`, a broken promise is a `<failure>`.

use jiff::Timestamp;

use crate::run::{Outcome, Run, Verdict};

use super::timeline;

/// The run as JUnit XML.
pub fn draw(run: &Run) -> String {
    let broken = run.count(|verdict| matches!(verdict, Verdict::Broken(_)));
    let errors = run.count(|verdict| matches!(verdict, Verdict::CouldNotRun(_)));
    let skipped = run.count(|verdict| matches!(verdict, Verdict::Skipped(_)));
    let counts = format!(
        "tests=\"{}\" failures=\"{broken}\" errors=\"{errors}\" skipped=\"{skipped}\" time=\"{:.3}\" timestamp=\"{}\"",
        run.outcomes.len(),
        run.real_seconds,
        moment(run.started)
    );
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    xml.push_str(&format!("<testsuites name=\"tenterhook-harness\" {counts}>\n"));
    xml.push_str(&format!(
        "  <testsuite name=\"{}\" {counts}>\n",
        escaped(&run.judged())
    ));
    xml.push_str(&format!(
        "    <properties><property name=\"version\" value=\"{}\"/></properties>\n",
        escaped(&run.version)
    ));
    for outcome in &run.outcomes {
        xml.push_str(&case(outcome));
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

/// One scenario as a `<testcase>`, without a start time because scenarios overlap and a run does not record when each
/// began.
fn case(outcome: &Outcome) -> String {
    let mut xml = format!(
        "    <testcase classname=\"scenarios\" name=\"{}\" time=\"{:.3}\">\n      <properties>\n",
        escaped(&outcome.name),
        outcome.real_seconds
    );
    let simulated = format!("{:.3}", outcome.simulated_seconds);
    let own = [
        ("sentence", outcome.sentence.as_str()),
        ("simulated_seconds", &simulated),
    ];
    let webhook_type = outcome
        .webhook_type
        .map(|webhook_type| ("webhook_type", webhook_type.name()));
    for (name, value) in outcome
        .rules
        .iter()
        .map(|rule| ("rule", rule.as_str()))
        .chain(own)
        .chain(webhook_type)
    {
        xml.push_str(&format!(
            "        <property name=\"{name}\" value=\"{}\"/>\n",
            escaped(value)
        ));
    }
    xml.push_str("      </properties>\n");
    match &outcome.verdict {
        Verdict::Held => {}
        Verdict::Broken(breach) => {
            let text = format!(
                "checked: {}\nexpected: {}\nfound: {}\nplace: {}\n{}",
                breach.what,
                breach.expected,
                breach.seen,
                breach.place,
                drawn(outcome)
            );
            xml.push_str(&format!(
                "      <failure type=\"broken\" message=\"{}\">{}</failure>\n",
                escaped(&breach.what),
                escaped(&text)
            ));
        }
        Verdict::Skipped(reason) => {
            xml.push_str(&format!("      <skipped message=\"{}\"/>\n", escaped(reason)));
        }
        Verdict::CouldNotRun(reason) => xml.push_str(&format!(
            "      <error type=\"could-not-run\" message=\"{}\">{}</error>\n",
            escaped(reason),
            escaped(&format!("{reason}\n{}", drawn(outcome)))
        )),
    }
    xml.push_str("    </testcase>\n");
    xml
}

fn drawn(outcome: &Outcome) -> String {
    outcome
        .timelines
        .iter()
        .map(|each| format!("\n{}", timeline::draw(each)))
        .collect()
}

/// ISO 8601 with seconds, in UTC and without a zone, because some viewers reject anything longer.
fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

/// Escapes text for XML and HTML, also inside an attribute in double quotes.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' | '\t' => safe.push(character),
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            control if control.is_control() => safe.push('\u{fffd}'),
            other => safe.push(other),
        }
    }
    safe
}
