//! The life of a webhook as lines of text in order of time.
//!
//! Every attempt is counted, and consecutive equal attempts share one line, so that 500 attempts do not make 500 lines.
//! Times have millisecond precision and count from the webhook's creation.

use jiff::Timestamp;

use crate::run::{Timeline, Tried};

/// Most lines of attempts in a row. If there are more, the middle is summarised in one line.
const LINES: usize = 24;
/// Lines kept before and after that summary.
const KEPT: usize = 8;

/// A line of the drawing: one event, or consecutive equal attempts.
#[derive(Debug, Clone)]
struct Moment {
    at: Timestamp,
    until: Timestamp,
    text: String,
    /// Number of attempts, losses or cancellations in this line; `None` for lines that are never merged.
    times: Option<usize>,
    /// The ban counter after the first and after the last of them.
    counter: Option<(u32, u32)>,
}

/// The timeline as text.
pub fn draw(timeline: &Timeline) -> String {
    let mut text = format!("webhook {} to {}\n", timeline.webhook, timeline.url);
    let rows: Vec<(String, String)> = shortened(collapsed(moments(timeline)))
        .iter()
        .map(|moment| written(moment, timeline.from))
        .collect();
    let width = rows
        .iter()
        .map(|(when, _)| when.chars().count())
        .max()
        .unwrap_or(0);
    for (when, what) in rows {
        text.push_str(&format!("  {when:<width$}  {what}\n"));
    }
    text
}

/// A time as an offset: `+33 s`, `+2 d 3 h`.
pub fn offset(from: Timestamp, at: Timestamp) -> String {
    let milliseconds = at.as_millisecond() - from.as_millisecond();
    let sign = if milliseconds < 0 { '-' } else { '+' };
    format!("{sign}{}", span(milliseconds.abs()))
}

/// A span in the largest units that express it exactly; `0 s` for zero.
pub fn span(milliseconds: i64) -> String {
    let mut parts = Vec::new();
    let mut left = milliseconds;
    for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000)] {
        if left >= length {
            parts.push(format!("{} {unit}", left / length));
            left %= length;
        }
    }
    match (left / 1000, left % 1000) {
        (0, 0) if !parts.is_empty() => {}
        (seconds, 0) => parts.push(format!("{seconds} s")),
        (0, rest) => parts.push(format!("{rest} ms")),
        (seconds, rest) => parts.push(format!("{seconds}.{rest:03} s")),
    }
    parts.join(" ")
}

/// The result of an attempt: `ok, 200`, `failed, 500, HTTP_STATUS`.
pub(super) fn result(attempt: &Tried) -> String {
    let mut text = if attempt.error_class.is_none() {
        "ok"
    } else {
        "failed"
    }
    .to_owned();
    if let Some(status) = attempt.status {
        text.push_str(&format!(", {status}"));
    }
    if let Some(class) = &attempt.error_class {
        text.push_str(&format!(", {class}"));
    }
    text
}

fn moments(timeline: &Timeline) -> Vec<Moment> {
    let mut counted = timeline.counter.clone();
    let mut moments = vec![single(timeline.from, "created".to_owned())];
    for attempt in &timeline.attempts {
        // A change of the counter at the end of a first try is shown in the line of that try.
        let raised = |(at, count): &(Timestamp, u32)| *at == attempt.ended && *count > 0;
        let failed_first = attempt.number == 1 && attempt.error_class.is_some();
        let place = counted.iter().position(raised).filter(|_| failed_first);
        let counter = place.map(|place| counted.remove(place).1);
        moments.push(Moment {
            at: attempt.started,
            until: attempt.started,
            text: format!("try {} {}", attempt.number, result(attempt)),
            times: Some(1),
            counter: counter.map(|count| (count, count)),
        });
    }
    for ended in &timeline.ended {
        moments.push(Moment {
            times: Some(1),
            ..single(ended.at, format!("delivery {}, {}", ended.status, ended.reason))
        });
    }
    for (at, count) in counted {
        moments.push(single(at, format!("counter {count}")));
    }
    for (intervals, opened, closed) in [
        (&timeline.bans, "ban begins", "ban ends"),
        (&timeline.windows, "failure window opens", "failure window closes"),
    ] {
        for interval in intervals {
            moments.push(single(interval.from, opened.to_owned()));
            moments.extend(interval.to.map(|to| single(to, closed.to_owned())));
        }
    }
    for (at, said) in &timeline.looks {
        moments.push(single(*at, format!("the API shows: {said}")));
    }
    if let Some((at, reason)) = &timeline.removed {
        moments.push(single(*at, format!("REMOVED, {reason}")));
    }
    moments.push(single(timeline.to, "the scenario ended".to_owned()));
    // A stable sort, so that events of the same millisecond keep the order in which they were added: the cause comes
    // first.
    moments.sort_by_key(|moment| moment.at);
    moments
}

fn single(at: Timestamp, text: String) -> Moment {
    Moment {
        at,
        until: at,
        text,
        times: None,
        counter: None,
    }
}

/// Merges consecutive equal lines.
fn collapsed(moments: Vec<Moment>) -> Vec<Moment> {
    let mut lines: Vec<Moment> = Vec::new();
    for moment in moments {
        match lines.last_mut() {
            Some(Moment {
                until,
                text,
                times: Some(times),
                counter,
                ..
            }) if moment.times.is_some()
                && *text == moment.text
                && counter.is_some() == moment.counter.is_some() =>
            {
                *times += 1;
                *until = moment.until;
                *counter = counter
                    .zip(moment.counter)
                    .map(|((first, _), (_, last))| (first, last));
            }
            _ => lines.push(moment),
        }
    }
    lines
}

/// Replaces the middle of long runs of attempt lines by a summary.
fn shortened(lines: Vec<Moment>) -> Vec<Moment> {
    let mut short = Vec::new();
    for stretch in lines.chunk_by(|one, next| one.times.is_some() && next.times.is_some()) {
        if stretch.len() <= LINES {
            short.extend_from_slice(stretch);
            continue;
        }
        let middle = &stretch[KEPT..stretch.len() - KEPT];
        let sum = |wanted: &dyn Fn(&Moment) -> bool| {
            let chosen = middle.iter().filter(|moment| wanted(moment));
            chosen.filter_map(|moment| moment.times).sum::<usize>()
        };
        let ok = sum(&|moment| moment.text.contains(" ok"));
        let failed = sum(&|moment| moment.text.contains(" failed"));
        let other = sum(&|_| true) - ok - failed;
        let text = format!("… {ok} more tries ok, {failed} failed, {other} deliveries lost or cancelled");
        short.extend_from_slice(&stretch[..KEPT]);
        let last = middle.last().map_or(middle[0].until, |moment| moment.until);
        short.push(Moment {
            until: last,
            ..single(middle[0].at, text)
        });
        short.extend_from_slice(&stretch[stretch.len() - KEPT..]);
    }
    short
}

fn written(moment: &Moment, from: Timestamp) -> (String, String) {
    let mut when = offset(from, moment.at);
    if moment.until != moment.at {
        when.push_str(&format!(" … {}", offset(from, moment.until)));
    }
    let mut what = match moment.times {
        Some(times) if times > 1 => format!("{times} × {}", moment.text),
        _ => moment.text.clone(),
    };
    match moment.counter {
        Some((first, last)) if first != last => what.push_str(&format!("; counter {first} to {last}")),
        Some((count, _)) => what.push_str(&format!("; counter {count}")),
        None => {}
    }
    (when, what)
}
