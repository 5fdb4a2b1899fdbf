use jiff::{SignedDuration, Timestamp};

use super::{Format, read, render, timeline};
use crate::face::Face;
use crate::run::{Breach, Ended, Interval, Outcome, Run, Timeline, Tried, Verdict};
use crate::webhook_type::WebhookType;

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_800_000_000 + seconds)
}

fn failed(number: u8, second: i64) -> Tried {
    Tried {
        event: format!("event-{second}"),
        number,
        started: at(second),
        ended: at(second),
        status: Some(500),
        error_class: Some("HTTP_STATUS".to_owned()),
    }
}

/// Ten failures, a ban with a lost delivery, and a removal after three days.
pub(super) fn life() -> Timeline {
    let interval = |from, to| Interval {
        from: at(from),
        to: Some(at(to)),
    };
    Timeline {
        webhook: "17".to_owned(),
        url: "http://127.0.0.1:9/?a=1&b=<2>".to_owned(),
        from: at(0),
        to: at(260_000),
        attempts: (1..=10)
            .map(|second| failed(1, second))
            .chain([failed(2, 1900)])
            .collect(),
        ended: vec![Ended {
            event: "late".to_owned(),
            at: at(600),
            status: "LOST".to_owned(),
            reason: "BANNED".to_owned(),
        }],
        counter: (1..=10)
            .map(|count| (at(i64::from(count)), count))
            .chain([(at(1810), 0)])
            .collect(),
        bans: vec![interval(10, 1810)],
        windows: vec![interval(1, 259_201)],
        removed: Some((at(259_201), "NO_SUCCESSFUL_DELIVERY".to_owned())),
        looks: vec![(at(20), "BANNED, counter 10".to_owned())],
    }
}

pub(super) fn sample() -> Run {
    let outcome = |name: &str, verdict, timelines| Outcome {
        name: name.to_owned(),
        webhook_type: name.ends_with("/application").then_some(WebhookType::Application),
        sentence: format!("What {name} shows."),
        rules: vec!["B2".to_owned(), "R1".to_owned()],
        verdict,
        real_seconds: 1.25,
        simulated_seconds: 260_000.0,
        timelines,
    };
    let breach = Breach {
        what: "the counter of <\"a\" & b>".to_owned(),
        expected: "10\nand banned".to_owned(),
        seen: "9\u{1b}[31m\nand active".to_owned(),
        place: "harness/src/scenarios/bans.rs:7".to_owned(),
    };
    Run {
        version: "0.1.0".to_owned(),
        target: "in process".to_owned(),
        face: Face::GraphQl,
        started: at(0),
        real_seconds: 5.0,
        outcomes: vec![
            outcome("kept", Verdict::Held, vec![life()]),
            outcome("torn/application", Verdict::Broken(breach), vec![life()]),
            outcome(
                "left",
                Verdict::Skipped("needs its own servers".to_owned()),
                Vec::new(),
            ),
            outcome(
                "stuck",
                Verdict::CouldNotRun("no database & no hope".to_owned()),
                Vec::new(),
            ),
        ],
    }
}

#[test]
fn every_format_says_that_a_run_went_through_rest() {
    let run = Run {
        face: Face::Rest,
        ..sample()
    };
    for format in [Format::Text, Format::Junit, Format::Html] {
        let text = render(&run, format).unwrap();
        assert!(text.contains("in process, through REST"), "{text}");
    }
    let json = render(&run, Format::Json).unwrap();
    assert!(json.contains(r#""face": "rest""#), "{json}");
    assert_eq!(read(&json).unwrap(), run);
}

#[test]
fn text_shows_every_verdict_and_sums_up() {
    let text = render(&sample(), Format::Text).unwrap();
    for wanted in [
        "held           kept              -            B2 R1",
        "BROKEN         torn/application  application  B2 R1",
        "skipped        left",
        "COULD NOT RUN  stuck",
        "1 held, 1 broken, 1 skipped, 1 could not run",
        "skipped    left: needs its own servers",
        "  expected   10\n             and banned\n",
        "12.0 simulated days in 5.0 real seconds",
    ] {
        assert!(text.contains(wanted), "{wanted:?} is missing in\n{text}");
    }
    assert!(
        !text.contains('\u{1b}'),
        "what was seen cannot steer a terminal:\n{text}"
    );
}

#[test]
fn json_is_read_back_the_same() {
    let run = sample();
    assert_eq!(read(&render(&run, Format::Json).unwrap()).unwrap(), run);
}

#[test]
fn a_file_that_is_not_a_report_is_refused_with_a_hint() {
    for text in ["", "{}", "<html>", "[1]"] {
        let error = format!("{:#}", read(text).unwrap_err());
        assert!(error.contains("--format json"), "{text:?}: {error}");
    }
}

#[test]
fn junit_is_xml_with_one_case_for_each_outcome() {
    let xml = render(&sample(), Format::Junit).unwrap();
    let document = roxmltree::Document::parse(&xml).unwrap();
    let all = |name: &str| {
        document
            .descendants()
            .filter(|node| node.has_tag_name(name))
            .collect::<Vec<_>>()
    };
    let suite = all("testsuite")[0];
    let counts = ["tests", "failures", "errors", "skipped"].map(|name| suite.attribute(name).unwrap());
    assert_eq!(counts, ["4", "1", "1", "1"]);
    let cases = all("testcase");
    let names: Vec<_> = cases.iter().filter_map(|case| case.attribute("name")).collect();
    assert_eq!(names, ["kept", "torn/application", "left", "stuck"]);
    let types = all("property");
    let types: Vec<_> = types
        .iter()
        .filter(|node| node.attribute("name") == Some("webhook_type"))
        .map(|node| node.attribute("value"))
        .collect();
    assert_eq!(types, [Some("application")]);
    assert!(cases.iter().all(|case| case.attribute("time") == Some("1.250")));
    assert!(
        suite
            .attribute("timestamp")
            .is_some_and(|at| at.starts_with("2027-01-15T08:00:00"))
    );
    let failure = all("failure")[0];
    assert_eq!(failure.attribute("message"), Some("the counter of <\"a\" & b>"));
    assert!(
        failure
            .text()
            .unwrap()
            .contains("REMOVED, NO_SUCCESSFUL_DELIVERY")
    );
    assert_eq!(
        all("skipped")[0].attribute("message"),
        Some("needs its own servers")
    );
    assert_eq!(
        all("error")[0].attribute("message"),
        Some("no database & no hope")
    );
    let rules = all("property")
        .iter()
        .filter(|node| node.attribute("name") == Some("rule"))
        .count();
    assert_eq!(rules, 8);
}

#[test]
fn the_exit_code_follows_the_worst_verdict() {
    let of = |kept: &[usize]| {
        let mut run = sample();
        run.outcomes = kept.iter().map(|index| run.outcomes[*index].clone()).collect();
        run.exit_code()
    };
    assert_eq!(
        [of(&[0, 2]), of(&[0, 1, 3]), of(&[0, 3]), of(&[2]), of(&[])],
        [0, 1, 2, 2, 2]
    );
}

#[test]
fn a_timeline_is_in_order_and_merges_similar_attempts() {
    let told = timeline::draw(&life());
    let lines: Vec<String> = told
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        lines,
        [
            "webhook 17 to http://127.0.0.1:9/?a=1&b=<2>",
            "+0 s created",
            "+1 s try 1 failed, 500, HTTP_STATUS; counter 1",
            "+1 s failure window opens",
            "+2 s … +10 s 9 × try 1 failed, 500, HTTP_STATUS; counter 2 to 10",
            "+10 s ban begins",
            "+20 s the API shows: BANNED, counter 10",
            "+10 min delivery LOST, BANNED",
            "+30 min 10 s counter 0",
            "+30 min 10 s ban ends",
            "+31 min 40 s try 2 failed, 500, HTTP_STATUS",
            "+3 d 1 s failure window closes",
            "+3 d 1 s REMOVED, NO_SUCCESSFUL_DELIVERY",
            "+3 d 13 min 20 s the scenario ended",
        ]
    );
}

#[test]
fn five_hundred_attempts_do_not_make_five_hundred_lines() {
    let mut life = life();
    life.attempts = (1..=500).map(|second| failed(2, second)).collect();
    assert!(timeline::draw(&life).contains("× try 2 failed"));
    for (index, attempt) in life.attempts.iter_mut().enumerate() {
        attempt.number = 2 + u8::try_from(index % 2).unwrap();
    }
    life.looks.clear();
    let told = timeline::draw(&life);
    assert!(told.lines().count() < 80, "{told}");
    assert!(told.contains("0 more tries ok,"), "{told}");
}

#[test]
fn spans_are_exact_and_short() {
    let spans = [0, 250, 3_000, 33_500, 183_600_000, 86_400_001].map(timeline::span);
    assert_eq!(spans, ["0 s", "250 ms", "3 s", "33.500 s", "2 d 3 h", "1 d 1 ms"]);
}

#[test]
fn html_is_one_file_that_shows_every_verdict_and_asks_for_nothing() {
    let page = render(&sample(), Format::Html).unwrap();
    for wanted in [
        "held\">held</span>",
        "broken\">BROKEN</span>",
        "skipped\">skipped</span>",
        "stuck\">COULD NOT RUN</span>",
        "the counter of &lt;&quot;a&quot; &amp; b&gt;",
        "href=\"#s1\"",
        "id=\"s1\" open",
        "role=\"img\"",
        "prefers-color-scheme: dark",
        "torn/application</a></td><td>application</td>",
    ] {
        assert!(page.contains(wanted), "{wanted:?} is missing in\n{page}");
    }
    for unwanted in ["<script", "src=", "<link", "@import", "url(", "\u{1b}"] {
        assert!(
            !page.contains(unwanted),
            "{unwanted:?} does not belong in a file of its own"
        );
    }
}

#[test]
fn a_drawing_is_xml_and_shows_each_attempt_ban_window_and_removal() {
    let drawing = super::svg::draw(&life());
    let document = roxmltree::Document::parse(&drawing).unwrap();
    let count = |class: &str| {
        document
            .descendants()
            .filter(|node| node.attribute("class") == Some(class))
            .count()
    };
    let counts = [
        "bad", "ok", "lost", "ban", "window", "removed", "counter", "limit",
    ]
    .map(count);
    assert_eq!(counts, [11, 0, 1, 1, 1, 1, 1, 1]);
    assert!(count("gap") > 0, "three idle days are squeezed and marked");
}

#[test]
fn a_drawing_stays_within_its_frame_whatever_the_length() {
    for days in [0, 30] {
        let mut life = life();
        life.to = at(days * 86_400);
        let drawing = super::svg::draw(&life);
        let document = roxmltree::Document::parse(&drawing).unwrap();
        let places = document
            .descendants()
            .filter_map(|node| node.attribute("cx")?.parse::<f64>().ok());
        assert!(
            places.into_iter().all(|x| (90.0..=980.0).contains(&x)),
            "{drawing}"
        );
    }
    let mut empty = life();
    (empty.attempts, empty.ended, empty.counter) = (Vec::new(), Vec::new(), Vec::new());
    (empty.bans, empty.windows, empty.removed) = (Vec::new(), Vec::new(), None);
    empty.to = empty.from;
    assert!(!super::svg::draw(&empty).contains("NaN"));
}
