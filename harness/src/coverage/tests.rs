//! Tests of the counting, with records made here.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::client::{Attempt, DeliveredEvent, Delivery, Health, Look, Notice, Webhook};
use crate::rules::RULES;
use crate::webhook_type::WebhookType;
use crate::world::{Outage, OutageKind};

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_800_000_000 + second)
}

fn health() -> Health {
    Health {
        state: "ACTIVE".to_owned(),
        ban_counter: 0,
        ban_threshold: 10,
        banned_until: None,
        failing_since: None,
        removal_due_at: None,
        last_success_at: None,
        last_attempt_at: None,
        last_http_status: None,
        last_error_class: None,
        lost_count: 0,
        next_transition: None,
    }
}

fn webhook(kind: WebhookType) -> Webhook {
    Webhook {
        id: "id".to_owned(),
        number: "1".to_owned(),
        kind: kind.word().to_owned(),
        name: None,
        version: "V2".to_owned(),
        subscription_url: "http://127.0.0.1:9/hook".to_owned(),
        event_action: "ANY".to_owned(),
        event_object: "*".to_owned(),
        company_id: "1".to_owned(),
        owner_id: "7".to_owned(),
        user_id: "7".to_owned(),
        app: None,
        http_auth_user: None,
        has_http_auth_password: false,
        created_at: at(0),
        updated_at: at(0),
        removed_at: None,
        remove_reason: None,
        health: health(),
    }
}

/// An attempt from one second to another.
fn attempt(number: u8, seconds: (i64, i64), error_class: Option<&str>) -> Attempt {
    Attempt {
        number,
        started_at: at(seconds.0),
        ended_at: at(seconds.1),
        http_status: None,
        error_class: error_class.map(str::to_owned),
        error_message: None,
        response_body: None,
        response_truncated: false,
        request_headers: Vec::new(),
    }
}

/// A delivery that ended with its last attempt, or at the second if it has none.
fn delivery(status: &str, reason: Option<&str>, end: i64, attempts: Vec<Attempt>) -> Delivery {
    Delivery {
        id: "id".to_owned(),
        status: status.to_owned(),
        reason: reason.map(str::to_owned),
        created_at: at(0),
        next_attempt_at: None,
        finished_at: (status != "PENDING").then(|| at(end)),
        event: DeliveredEvent {
            event_id: "event".to_owned(),
        },
        attempts,
    }
}

fn notice(kind: &str, second: i64) -> Notice {
    Notice {
        id: "id".to_owned(),
        notice_id: "id".to_owned(),
        kind: kind.to_owned(),
        at: at(second),
        message: String::new(),
    }
}

/// The records of a webhook with these deliveries and notices.
fn facts(deliveries: &[Delivery], notices: &[Notice], outages: &[Outage]) -> BTreeSet<(Fact, Column)> {
    let made = webhook(WebhookType::General);
    let seen = Seen {
        made: &made,
        deliveries,
        notices,
        looks: &[],
        outages,
        unanswered: false,
    };
    Life::of(&seen).unwrap().facts
}

fn life_with(kind: WebhookType, facts: &[(Fact, Column)]) -> Life {
    Life {
        kind,
        facts: facts.iter().copied().collect(),
    }
}

#[test]
fn the_rows_are_the_rules_of_the_policy() {
    let rows: Vec<&str> = ROWS.iter().map(|row| row.rule).collect();
    let rules: Vec<&str> = RULES.iter().map(|(rule, _)| *rule).collect();
    assert_eq!(rows, rules);
}

/// P1: a rule of deliveries, bans or removal has cells for both types.
#[test]
fn rules_for_both_types_have_cells_for_both() {
    for row in ROWS
        .iter()
        .filter(|row| row.rule.starts_with(['D', 'B', 'R', 'P']))
    {
        assert_eq!(row.kinds, WebhookType::ALL, "{}", row.rule);
    }
}

#[test]
fn attempts_show_their_class_and_what_they_follow() {
    let attempts = vec![attempt(1, (1, 2), Some("TLS")), attempt(2, (5, 5), None)];
    let facts = facts(&[delivery("SUCCEEDED", None, 5, attempts)], &[], &[]);
    let expected = [
        (Fact::Created, Column::Any),
        (Fact::Attempted, Column::Success),
        (Fact::Attempted, Column::Tls),
        (Fact::Retried, Column::Tls),
        (Fact::Ended, Column::Success),
        (Fact::Ended, Column::Tls),
        (Fact::Delivered, Column::Success),
        (Fact::FirstTryFailed, Column::Tls),
    ];
    assert_eq!(facts, BTreeSet::from(expected));
}

#[test]
fn a_ban_has_only_the_classes_of_its_causes() {
    let deliveries = [
        delivery("PENDING", None, 0, vec![attempt(1, (1, 1), Some("DNS"))]),
        delivery("PENDING", None, 0, vec![attempt(2, (2, 2), Some("STATUS"))]),
        delivery("PENDING", None, 0, vec![attempt(1, (3, 3), Some("RESET"))]),
        delivery("SUCCEEDED", None, 8, vec![attempt(1, (2, 8), None)]),
        delivery("LOST", Some("BANNED"), 9, Vec::new()),
        delivery("PENDING", None, 0, vec![attempt(1, (2000, 2000), Some("TLS"))]),
    ];
    let notices = [
        notice("BANNED", 3),
        notice("BAN_ENDED", 1803),
        notice("BANNED", 2000),
    ];
    let facts = facts(&deliveries, &notices, &[]);
    let of = |wanted: Fact| -> Vec<Column> {
        let columns = facts.iter().filter(|(fact, _)| *fact == wanted);
        columns.map(|(_, column)| *column).collect()
    };
    assert_eq!(of(Fact::Banned), [Column::Dns, Column::Tls, Column::Reset]);
    assert_eq!(of(Fact::BanEnded), [Column::Dns, Column::Reset]);
    assert_eq!(of(Fact::LostInBan), [Column::Dns, Column::Reset]);
    assert_eq!(of(Fact::EndedInBan), [Column::Success]);
}

#[test]
fn a_removal_has_the_classes_since_the_last_success() {
    let deliveries = [
        delivery("PENDING", None, 0, vec![attempt(1, (1, 1), Some("DNS"))]),
        delivery("SUCCEEDED", None, 2, vec![attempt(1, (2, 2), None)]),
        delivery("PENDING", None, 0, vec![attempt(1, (3, 3), Some("PROTOCOL"))]),
    ];
    let facts = facts(&deliveries, &[notice("REMOVED", 300_000)], &[]);
    assert!(facts.contains(&(Fact::Removed, Column::Protocol)));
    assert!(!facts.contains(&(Fact::Removed, Column::Dns)));
}

#[test]
fn an_interruption_counts_for_later_attempts() {
    let deliveries = [
        delivery("SUCCEEDED", None, 1, vec![attempt(1, (1, 1), None)]),
        delivery("PENDING", None, 0, vec![attempt(1, (6, 6), Some("STATUS"))]),
    ];
    let outage = Outage {
        kind: OutageKind::Crash,
        at: at(5),
        webhooks: 1,
    };
    let facts = facts(&deliveries, &[], &[outage]);
    assert!(facts.contains(&(Fact::FirstTryFailed, Column::Crash)));
    assert!(!facts.contains(&(Fact::Delivered, Column::Crash)));
}

#[test]
fn a_read_of_the_health_has_the_classes_before_it() {
    let made = webhook(WebhookType::Application);
    let deliveries = [delivery(
        "PENDING",
        None,
        0,
        vec![attempt(1, (6, 6), Some("CONNECT"))],
    )];
    let look = |second| Look {
        at: at(second),
        webhook: made.id.clone(),
        health: health(),
    };
    let read = |looks: &[Look]| {
        let seen = Seen {
            made: &made,
            deliveries: &deliveries,
            notices: &[],
            looks,
            outages: &[],
            unanswered: false,
        };
        let life = Life::of(&seen).unwrap();
        assert_eq!(life.kind, WebhookType::Application);
        life.facts.contains(&(Fact::Read, Column::Connect))
    };
    assert!(!read(&[look(5)]));
    assert!(read(&[look(5), look(6)]));
}

/// A class that the matrix does not know must not stay uncounted.
#[test]
fn an_unknown_error_class_is_refused() {
    let made = webhook(WebhookType::General);
    let deliveries = [delivery(
        "PENDING",
        None,
        0,
        vec![attempt(1, (1, 1), Some("QUIC"))],
    )];
    let seen = Seen {
        made: &made,
        deliveries: &deliveries,
        notices: &[],
        looks: &[],
        outages: &[],
        unanswered: false,
    };
    assert!(Life::of(&seen).unwrap_err().to_string().contains("QUIC"));
}

const BANNED_BY_TLS: (Fact, Column) = (Fact::Banned, Column::Tls);

fn cell(rule: &'static str, kind: WebhookType, column: Column) -> Cell {
    Cell { rule, kind, column }
}

#[test]
fn a_webhook_fills_cells_of_its_type_and_of_the_scenarios_rules() {
    let life = life_with(WebhookType::Application, &[BANNED_BY_TLS]);
    assert_eq!(
        life.cells(&["B2", "R3"]),
        [cell("B2", WebhookType::Application, Column::Tls)]
    );
    assert!(life.cells(&["B1"]).is_empty());
    assert!(life.cells::<&str>(&[]).is_empty());
}

/// Reasons for every cell except those of this rule, type and column.
fn reasons_but(left: &[Cell]) -> Reasons {
    let line = |cell: Cell| {
        let (kind, column) = (cell.kind.word(), cell.column.name());
        format!("empty\t{}\t{kind}\t{column}\ta reason\n", cell.rule)
    };
    let table: String = cells().filter(|cell| !left.contains(cell)).map(line).collect();
    Reasons::read(&table).unwrap()
}

#[test]
fn an_empty_cell_needs_a_reason_and_a_filled_one_must_have_none() {
    let tls = cell("B2", WebhookType::General, Column::Tls);
    let dns = cell("B2", WebhookType::General, Column::Dns);
    let mut matrix = Matrix::default();
    matrix.add_scenario(
        "some",
        &["B2"],
        &[life_with(WebhookType::General, &[BANNED_BY_TLS])],
    );
    assert_eq!(matrix.complaints(&reasons_but(&[tls])), [""; 0]);

    let empty = matrix.complaints(&reasons_but(&[tls, dns]));
    assert_eq!(empty, ["B2 GENERAL DNS: empty, and no reason on file"]);
    let outdated = matrix.complaints(&reasons_but(&[]));
    assert_eq!(outdated.len(), 1, "{outdated:?}");
    assert!(outdated[0].starts_with("B2 GENERAL TLS: exercised by 1 scenarios, such as some"));
}

#[test]
fn cells_that_only_histories_exercise_need_that_reason() {
    let crash = cell("B2", WebhookType::General, Column::Crash);
    let with = |kind: &str, histories: u64, exercised: bool| {
        let mut matrix = Matrix::default();
        for _ in 0..histories {
            matrix.add_history(&if exercised {
                Cells::from([(crash, 1)])
            } else {
                Cells::new()
            });
        }
        let table: String = cells()
            .map(|cell| {
                let kind = if cell == crash { kind } else { "empty" };
                let (webhook_type, column) = (cell.kind.word(), cell.column.name());
                format!("{kind}\t{}\t{webhook_type}\t{column}\ta reason\n", cell.rule)
            })
            .collect();
        matrix.complaints(&Reasons::read(&table).unwrap()).len()
    };
    assert_eq!(
        with("explored", 0, false),
        0,
        "without histories nothing is known"
    );
    assert_eq!(with("explored", 1, true), 0);
    assert_eq!(with("explored", TELLING - 1, false), 0);
    assert_eq!(with("explored", TELLING, false), 1);
    assert_eq!(with("empty", 1, true), 1);
}

/// Both plays of a scenario count under its name, so that deleting it deletes both.
#[test]
fn the_plays_of_both_types_are_one_scenario() {
    let mut matrix = Matrix::default();
    for kind in WebhookType::ALL {
        let name = format!("some/{}", kind.name());
        matrix.add_scenario(&name, &["B2"], &[life_with(kind, &[BANNED_BY_TLS])]);
    }
    let names: Vec<&String> = matrix.scenarios().keys().collect();
    assert_eq!(names, ["some"]);
    assert_eq!(matrix.scenarios()["some"].len(), 2);
}

#[test]
fn a_draw_names_the_cells_that_one_scenario_alone_exercises() {
    let mut matrix = Matrix::default();
    let general = |facts| life_with(WebhookType::General, facts);
    matrix.add_scenario(
        "one",
        &["B2"],
        &[general(&[BANNED_BY_TLS, (Fact::Banned, Column::Dns)])],
    );
    matrix.add_scenario("other", &["B2"], &[general(&[BANNED_BY_TLS])]);
    matrix.add_scenario("none", &["B2"], &[]);
    let drawn = draw(&matrix, 3, 1);
    let of = |name: &str| drawn.iter().find(|draw| draw.scenario == name).unwrap();
    assert_eq!(of("one").emptied, [cell("B2", WebhookType::General, Column::Dns)]);
    assert_eq!(of("other").replaced_by, ["one"]);
    assert_eq!((of("none").cells, of("none").emptied.len()), (0, 0));
    let shown = draws_text(&drawn, 1);
    for text in [
        "empties B2 GENERAL DNS",
        "redundant: its 1 cells are also filled by one",
        "fills no cell",
    ] {
        assert!(shown.contains(text), "{text} is missing in\n{shown}");
    }
    assert_eq!(drawn, draw(&matrix, 3, 1), "a seed draws the same");
}

#[test]
fn reasons_are_read_with_every_cell_that_they_name() {
    let reasons = Reasons::read("# why\n\nempty\tB1 B2\tboth\tTLS DNS\twords\n").unwrap();
    assert_eq!(reasons.lines()[0].cells.len(), 8);
    assert_eq!(reasons.lines()[0].line, 3);
    let found = reasons.of(&cell("B2", WebhookType::Application, Column::Dns));
    assert_eq!(found.map(|reason| reason.text.as_str()), Some("words"));
}

#[test]
fn cells_that_histories_should_exercise_are_named() {
    let table = "explored\tB1\tboth\tCRASH\twords\nempty\tB2\tboth\tCRASH\twords\n";
    let reasons = Reasons::read(table).unwrap();
    let [general, application] = WebhookType::ALL.map(|kind| cell("B1", kind, Column::Crash));
    assert_eq!(reasons.unexplored(&Cells::from([(general, 1)])), [application]);
}

#[test]
fn invalid_reasons_are_refused() {
    for (table, why) in [
        ("empty\tB1\tboth\tTLS\n", "five columns"),
        ("never\tB1\tboth\tTLS\twords\n", "`empty` or `explored`"),
        ("empty\tB1\tboth\tTLS\t \n", "missing"),
        ("empty\tX1\tboth\tTLS\twords\n", "no rule"),
        ("empty\tB1\tany\tTLS\twords\n", "no type"),
        ("empty\tB1\tboth\tQUIC\twords\n", "no column"),
        ("empty\tB1\tboth\tSUCCESS\twords\n", "B1 has no cell"),
        (
            "empty\tB1\tboth\tTLS\twords\nempty\tB1\tGENERAL\tTLS\twords\n",
            "lines 1 and 2",
        ),
    ] {
        let error = format!("{:#}", Reasons::read(table).unwrap_err());
        assert!(error.contains(why), "{table:?}: {error}");
    }
}

#[test]
fn the_reasons_on_file_can_be_read() {
    Reasons::on_file().unwrap();
}

#[test]
fn text_and_json_show_every_kind_of_cell() {
    let tls = cell("B2", WebhookType::General, Column::Tls);
    let dns = cell("B2", WebhookType::General, Column::Dns);
    let mut matrix = Matrix::default();
    matrix.add_scenario(
        "some",
        &["B2"],
        &[life_with(WebhookType::General, &[BANNED_BY_TLS])],
    );
    matrix.add_history(&Cells::from([(tls, 3)]));
    let reasons = reasons_but(&[tls, dns]);
    let shown = text(&matrix, &reasons);
    let line = shown.lines().find(|line| line.starts_with("B2 ")).unwrap();
    let entries: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(
        entries,
        ["B2", "-", "-", "EMPTY", "-", "1+3", "-", "-", "-", "-", "-"]
    );
    let json = json(&matrix, &reasons, &[]);
    let all = json["cells"].as_array().unwrap();
    assert_eq!(all.len(), cells().count());
    let found = all
        .iter()
        .find(|entry| entry["rule"] == "B2" && entry["column"] == "TLS");
    assert_eq!(found.unwrap()["webhooks"], 1);
    assert_eq!(json["complaints"].as_array().unwrap().len(), 1);
}
