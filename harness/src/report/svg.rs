//! The life of a webhook as a drawing. Attempts, ban counter, bans and window have one row each over a shared axis.
//!
//! A life of minutes and one of a month are both legible: long gaps without events are compressed and marked with `//`, very
//! short ones are widened. So a distance does not show how much time passed; ticks and tooltips do. Colours come from the page's style
//! sheet.

use jiff::Timestamp;

use crate::run::{Interval, Timeline};

use super::junit::escaped;
use super::timeline::{offset, result};

mod axis;

use axis::Axis;

/// Left and right end of the plot. The names of the rows are left of it.
const LEFT: f64 = 90.0;
const RIGHT: f64 = 980.0;
/// Baselines of the rows, from the top.
const TRIES: f64 = 34.0;
const COUNTER: f64 = 120.0;
const BANS: f64 = 140.0;
const WINDOWS: f64 = 166.0;
const AXIS: f64 = 192.0;
/// The ban threshold (B2), and the height of one count in the drawing.
const LIMIT: u32 = 10;
const COUNT: f64 = 5.0;

/// The timeline as an SVG element for the page.
pub fn draw(timeline: &Timeline) -> String {
    let axis = Axis::of(timeline, LEFT, RIGHT);
    let title = format!(
        "Webhook {}: {} attempts, {} bans, {}",
        timeline.webhook,
        timeline.attempts.len(),
        timeline.bans.len(),
        if timeline.removed.is_some() {
            "removed"
        } else {
            "not removed"
        }
    );
    let title = escaped(&title);
    let mut svg = format!(
        "<svg viewBox=\"0 0 1000 232\" role=\"img\" aria-label=\"{title}\">\n<title>{title}</title>\n"
    );
    for (name, y) in [
        ("attempts", TRIES + 4.0),
        ("counter", COUNTER - 20.0),
        ("ban", BANS + 12.0),
        ("window", WINDOWS + 12.0),
    ] {
        svg.push_str(&format!("<text x=\"0\" y=\"{y}\">{name}</text>\n"));
    }
    svg.push_str(&ticks(&axis, timeline));
    svg.push_str(&bars(&axis, timeline, &timeline.bans, "ban", BANS));
    svg.push_str(&bars(&axis, timeline, &timeline.windows, "window", WINDOWS));
    svg.push_str(&counter(&axis, timeline));
    svg.push_str(&attempts(&axis, timeline));
    svg.push_str(&removal(&axis, timeline));
    svg.push_str("</svg>\n");
    svg
}

fn ticks(axis: &Axis, timeline: &Timeline) -> String {
    let mut svg =
        format!("<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{AXIS}\" y2=\"{AXIS}\"/>\n");
    for (index, (x, at)) in axis.ticks().into_iter().enumerate() {
        // Two rows, so that neighbouring labels do not overlap.
        let y = AXIS + if index % 2 == 0 { 16.0 } else { 32.0 };
        let anchor = if x > RIGHT - 40.0 { "end" } else { "middle" };
        svg.push_str(&format!(
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"16\" y2=\"{:.0}\"/>\
             <text x=\"{x:.1}\" y=\"{y:.0}\" text-anchor=\"{anchor}\">{}</text>\n",
            y - 11.0,
            offset(timeline.from, at)
        ));
    }
    for x in axis.breaks() {
        for shift in [-3.0, 3.0] {
            svg.push_str(&format!(
                "<line class=\"gap\" x1=\"{:.1}\" y1=\"{:.0}\" x2=\"{:.1}\" y2=\"{:.0}\"/>\n",
                x + shift - 3.0,
                AXIS + 5.0,
                x + shift + 3.0,
                AXIS - 5.0
            ));
        }
    }
    svg
}

fn bars(axis: &Axis, timeline: &Timeline, intervals: &[Interval], class: &str, y: f64) -> String {
    let mut svg = String::new();
    for interval in intervals {
        let (from, to) = (axis.x(interval.from), axis.x(interval.to.unwrap_or(timeline.to)));
        let end = interval
            .to
            .map_or("still open".to_owned(), |to| offset(timeline.from, to));
        svg.push_str(&format!(
            "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{y}\" width=\"{:.1}\" height=\"16\" rx=\"2\">\
             <title>{class}: {} to {end}</title></rect>\n",
            (to - from).max(2.0),
            offset(timeline.from, interval.from)
        ));
    }
    svg
}

fn counter(axis: &Axis, timeline: &Timeline) -> String {
    let height = |count: u32| COUNTER - f64::from(count.min(LIMIT + 2)) * COUNT;
    let limit = height(LIMIT);
    let mut path = format!("M{LEFT:.1} {COUNTER:.1}");
    for (at, count) in &timeline.counter {
        path.push_str(&format!("H{:.1}V{:.1}", axis.x(*at), height(*count)));
    }
    path.push_str(&format!("H{:.1}", axis.x(timeline.to)));
    format!(
        "<line class=\"limit\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{limit}\" y2=\"{limit}\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{LIMIT}</text>\n\
         <path class=\"counter\" d=\"{path}\"/>\n",
        LEFT - 6.0,
        limit + 4.0
    )
}

fn attempts(axis: &Axis, timeline: &Timeline) -> String {
    let mut svg = String::new();
    for attempt in &timeline.attempts {
        let class = if attempt.error_class.is_none() {
            "ok"
        } else {
            "bad"
        };
        // Retries are lower than first tries, because only first tries count (B1).
        let y = TRIES - 6.0 + 5.0 * f64::from(attempt.number.saturating_sub(1).min(3));
        svg.push_str(&format!(
            "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{y:.0}\" r=\"3.5\"><title>{} try {} {}</title></circle>\n",
            axis.x(attempt.started),
            offset(timeline.from, attempt.started),
            attempt.number,
            escaped(&result(attempt))
        ));
    }
    // Dots of the same instant cover each other, so their number is written next to them.
    for same in timeline
        .attempts
        .chunk_by(|one, next| (one.started, one.number) == (next.started, next.number))
    {
        if let [first, _, ..] = same {
            svg.push_str(&format!(
                "<text x=\"{:.1}\" y=\"{:.0}\">×{}</text>\n",
                axis.x(first.started) + 6.0,
                TRIES - 2.0 + 5.0 * f64::from(first.number.saturating_sub(1).min(3)),
                same.len()
            ));
        }
    }
    for ended in &timeline.ended {
        svg.push_str(&format!(
            "<circle class=\"lost\" cx=\"{:.1}\" cy=\"{:.0}\" r=\"3.5\"><title>{} {}, {}</title></circle>\n",
            axis.x(ended.at),
            TRIES + 18.0,
            offset(timeline.from, ended.at),
            escaped(&ended.status),
            escaped(&ended.reason)
        ));
    }
    svg
}

fn removal(axis: &Axis, timeline: &Timeline) -> String {
    let Some((at, reason)) = &timeline.removed else {
        return String::new();
    };
    let x = axis.x(*at);
    let (anchor, shift) = if x > (LEFT + RIGHT) / 2.0 {
        ("end", -5.0)
    } else {
        ("start", 5.0)
    };
    format!(
        "<line class=\"removed\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"4\" y2=\"{AXIS}\">\
         <title>{} removed, {reason}</title></line>\
         <text class=\"removed-text\" x=\"{:.1}\" y=\"12\" text-anchor=\"{anchor}\">removed, {reason}</text>\n",
        offset(timeline.from, *at),
        x + shift,
        reason = escaped(reason)
    )
}

/// Every moment with its own position on the axis.
fn moments(timeline: &Timeline) -> Vec<Timestamp> {
    let mut moments = vec![timeline.from, timeline.to];
    moments.extend(timeline.attempts.iter().map(|attempt| attempt.started));
    moments.extend(timeline.ended.iter().map(|ended| ended.at));
    moments.extend(timeline.counter.iter().map(|(at, _)| *at));
    for interval in timeline.bans.iter().chain(&timeline.windows) {
        moments.push(interval.from);
        moments.extend(interval.to);
    }
    moments.extend(timeline.removed.iter().map(|(at, _)| *at));
    moments.sort();
    moments.dedup();
    moments
}
