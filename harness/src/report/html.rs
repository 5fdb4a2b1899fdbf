//! A run as one HTML page.
//!
//! The page is a single file without scripts and without requests, light or dark as the reader's system prefers.
//! Everything that a server sent is escaped.

use crate::run::{Outcome, Run, Verdict};

use super::junit::escaped;
use super::{svg, timeline, webhook_type, word};

const STYLE: &str = include_str!("page.css");

/// The run as an HTML page.
pub fn draw(run: &Run) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Webhook policy: {}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
        summary(run)
    );
    page.push_str(&head(run));
    page.push_str(&table(run));
    for (index, outcome) in run.outcomes.iter().enumerate() {
        page.push_str(&scenario(index, outcome));
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn summary(run: &Run) -> String {
    let count = |wanted: &str| run.count(|verdict| word(verdict) == wanted);
    format!(
        "{} held, {} broken, {} skipped, {} could not run",
        count("held"),
        count("BROKEN"),
        count("skipped"),
        count("COULD NOT RUN")
    )
}

fn head(run: &Run) -> String {
    let simulated: f64 = run.outcomes.iter().map(|outcome| outcome.simulated_seconds).sum();
    format!(
        "<h1>Webhook policy</h1>\n<p class=\"summary\">{}</p>\n\
         <p>{:.1} simulated days in {:.1} real seconds; {}, harness {}, {:.0}</p>\n",
        summary(run),
        simulated / 86_400.0,
        run.real_seconds,
        escaped(&run.judged()),
        escaped(&run.version),
        run.started
    )
}

fn table(run: &Run) -> String {
    let mut html = String::from(
        "<div class=\"wide\"><table>\n<thead><tr><th>Verdict</th><th>Scenario</th><th>Type</th><th>Rules</th>\
         <th class=\"number\">Simulated</th><th class=\"number\">Real</th></tr></thead>\n<tbody>\n",
    );
    for (index, outcome) in run.outcomes.iter().enumerate() {
        html.push_str(&format!(
            "<tr><td>{}</td><td><a href=\"#s{index}\">{}</a></td><td>{}</td><td>{}</td>\
             <td class=\"number\">{}</td><td class=\"number\">{:.2} s</td></tr>\n",
            badge(&outcome.verdict),
            escaped(&outcome.name),
            webhook_type(outcome),
            escaped(&outcome.rules.join(" ")),
            timeline::span((outcome.simulated_seconds * 1000.0).round() as i64),
            outcome.real_seconds
        ));
    }
    html.push_str("</tbody>\n</table></div>\n");
    html
}

fn badge(verdict: &Verdict) -> String {
    let class = match verdict {
        Verdict::Held => "held",
        Verdict::Broken(_) => "broken",
        Verdict::Skipped(_) => "skipped",
        Verdict::CouldNotRun(_) => "stuck",
    };
    format!("<span class=\"badge {class}\">{}</span>", word(verdict))
}

fn scenario(index: usize, outcome: &Outcome) -> String {
    // Scenarios that held are collapsed, so that the others are easy to find.
    let open = match outcome.verdict {
        Verdict::Broken(_) | Verdict::CouldNotRun(_) => " open",
        Verdict::Held | Verdict::Skipped(_) => "",
    };
    let mut html = format!(
        "<details id=\"s{index}\"{open}>\n<summary>{} {}</summary>\n<p>{}</p>\n\
         <p class=\"rules\">Rules: {}; webhook type: {}</p>\n",
        badge(&outcome.verdict),
        escaped(&outcome.name),
        escaped(&outcome.sentence),
        escaped(&outcome.rules.join(" ")),
        webhook_type(outcome)
    );
    let rows: Vec<(&str, &str)> = match &outcome.verdict {
        Verdict::Held => Vec::new(),
        Verdict::Broken(breach) => vec![
            ("checked", &breach.what),
            ("expected", &breach.expected),
            ("found", &breach.seen),
            ("place", &breach.place),
        ],
        Verdict::Skipped(reason) | Verdict::CouldNotRun(reason) => vec![("why", reason)],
    };
    if !rows.is_empty() {
        html.push_str("<dl>\n");
        for (label, value) in rows {
            html.push_str(&format!(
                "<dt>{label}</dt><dd><pre>{}</pre></dd>\n",
                escaped(value)
            ));
        }
        html.push_str("</dl>\n");
    }
    for each in &outcome.timelines {
        html.push_str(&format!(
            "<h2>Webhook {} to {}</h2>\n<div class=\"wide\">{}</div>\n\
             <details class=\"lines\"><summary>In words</summary><pre>{}</pre></details>\n",
            escaped(&each.webhook),
            escaped(&each.url),
            svg::draw(each),
            escaped(&timeline::draw(each))
        ));
    }
    html.push_str("</details>\n");
    html
}
