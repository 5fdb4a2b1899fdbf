//! Scenarios that no fake can play, on real servers that are made to break a promise.
//!
//! A trigger in their database changes what they store, or their settings allow what the scenario forbids. The server
//! itself is the one that passes the scenario in `tests/scenarios.rs`.

use std::fmt::Write as _;

use tenterhook_harness::run::Verdict;
use tenterhook_harness::scenarios;
use tenterhook_harness::world::{AppSees, WorldBuilder};

/// How a real server is made to break a promise.
#[derive(Clone, Copy)]
enum Bent {
    /// A table of its database, and what a trigger does to each row that is written.
    Rows(&'static str, &'static str),
    /// A world other than the scenario's.
    World(fn(WorldBuilder) -> WorldBuilder),
}

const NO_FAILURE_COUNTS: Bent = Bent::Rows("webhook_health", "new.ban_counter := 0;");
const BANS_LAST_LONGER: Bent = Bent::Rows(
    "webhook_health",
    "new.banned_until := new.banned_until + interval '1 minute';",
);
const REMOVAL_IS_LATE: Bent = Bent::Rows(
    "webhooks",
    "new.removed_at := new.removed_at + interval '1 second';",
);
const SUCCESSES_ARE_FAILURES: Bent =
    Bent::Rows("attempts", "if new.ending = 1 then new.ending := 2; end if;");
const NOTHING_IS_CUT: Bent = Bent::Rows("attempts", "new.response_truncated := false;");
const NO_BODY_IS_KEPT: Bent = Bent::Rows("attempts", "new.response_body := null;");
const ONE_ERROR_CLASS: Bent = Bent::Rows(
    "attempts",
    "if new.error_class is not null then new.error_class := 8; end if;",
);
const APPS_SEE_GENERAL_WEBHOOKS: Bent = Bent::World(|builder| builder.app_sees(AppSees::OwnGeneral));
const APPS_SEE_NO_GENERAL_WEBHOOKS: Bent = Bent::World(|builder| builder.app_sees(AppSees::Application));
const NO_PAUSE_IS_REMEMBERED: Bent = Bent::Rows(
    "webhook_health",
    "new.last_paused_at := null; new.last_resumed_at := null;",
);
const RECOVERIES_ARE_TOLD_AFTER_WARNINGS_ONLY: Bent = Bent::Rows(
    "notices",
    "if new.kind = 7 and not exists (select from notices n where n.webhook = new.webhook and n.kind in (3, 4, 5)) then
         return null;
     end if;",
);
/// A replay's attempt keeps its event for longer than the event's own retention. The server recognises it by its
/// generation.
const REPLAYS_KEEP_NO_EVENTS: Bent = Bent::Rows("attempts", "new.generation := 0;");
const HISTORY_OF_29_DAYS: Bent = Bent::World(|builder| builder.set("policy.history_retention", "29d"));
const NO_FAILURE_OF_APPLICATION_WEBHOOKS_COUNTS: Bent = Bent::Rows(
    "webhook_health",
    "if (select kind from webhooks where lane = new.lane and id = new.webhook) = 2 then new.ban_counter := 0; end if;",
);
const NO_NOTICE_OF_APPLICATION_WEBHOOKS: Bent = Bent::Rows(
    "notices",
    "if (select kind from webhooks where lane = new.lane and id = new.webhook) = 2 then return null; end if;",
);
/// Failures of TLS do not count for application webhooks: one error class for one webhook type.
const TLS_OF_APPS_DOES_NOT_COUNT: Bent = Bent::Rows(
    "webhook_health",
    "if exists (select from webhooks w where w.lane = new.lane and w.id = new.webhook and w.kind = 2 \
     and w.url like 'https:%') then new.ban_counter := 0; end if;",
);
const ALLOWS_EVERY_TARGET: Bent = Bent::World(|builder| builder.allowed_targets(&["0.0.0.0/0", "::/0"]));

/// Each with a scenario that must notice it.
const NOTICED_BY: &[(Bent, &str)] = &[
    (NO_FAILURE_COUNTS, "a-self-signed-certificate-is-a-failure"),
    (NO_FAILURE_COUNTS, "a-tls-handshake-that-hangs-times-out"),
    (
        NO_FAILURE_OF_APPLICATION_WEBHOOKS_COUNTS,
        "failures-10/application",
    ),
    (
        NO_NOTICE_OF_APPLICATION_WEBHOOKS,
        "a-ban-is-told-at-its-start-and-its-end/application",
    ),
    (
        NO_NOTICE_OF_APPLICATION_WEBHOOKS,
        "warned-at-71-hours/application",
    ),
    (BANS_LAST_LONGER, "two-servers-make-one-ban"),
    (BANS_LAST_LONGER, "a-ban-ends-while-no-server-runs"),
    (REMOVAL_IS_LATE, "removal-while-no-server-runs"),
    (SUCCESSES_ARE_FAILURES, "a-retry-due-while-no-server-ran"),
    (SUCCESSES_ARE_FAILURES, "early-hints-are-passed-over"),
    (NO_PAUSE_IS_REMEMBERED, "due-in-a-pause-and-reached-after-it"),
    (RECOVERIES_ARE_TOLD_AFTER_WARNINGS_ONLY, "every-recovery-is-told"),
    (
        RECOVERIES_ARE_TOLD_AFTER_WARNINGS_ONLY,
        "a-retry-that-succeeds-is-a-recovery",
    ),
    (HISTORY_OF_29_DAYS, "the-log-just-before-30-days"),
    (REPLAYS_KEEP_NO_EVENTS, "the-log-of-a-replay-has-its-own-30-days"),
    (NO_BODY_IS_KEPT, "each-attempt-is-logged-as-it-was"),
    (NOTHING_IS_CUT, "of-a-success-one-kib-is-kept"),
    (NOTHING_IS_CUT, "of-an-endless-body-one-kib-is-kept"),
    (NOTHING_IS_CUT, "of-a-failure-16-kib-are-kept"),
    (ONE_ERROR_CLASS, "the-log-names-a-reset"),
    (ONE_ERROR_CLASS, "the-log-names-a-refused-connection"),
    (ONE_ERROR_CLASS, "the-log-names-a-self-signed-certificate"),
    (
        APPS_SEE_GENERAL_WEBHOOKS,
        "what-an-app-sees-of-deliveries-and-notices",
    ),
    (
        APPS_SEE_NO_GENERAL_WEBHOOKS,
        "what-an-app-sees-of-deliveries-and-notices-under-own-general",
    ),
    (TLS_OF_APPS_DOES_NOT_COUNT, "failing-with-tls/application"),
    (ONE_ERROR_CLASS, "failing-with-dns/general"),
    (REMOVAL_IS_LATE, "failing-with-blocked-address/application"),
    (ALLOWS_EVERY_TARGET, "loopback-addresses-are-refused"),
    (ALLOWS_EVERY_TARGET, "private-addresses-are-refused"),
    (ALLOWS_EVERY_TARGET, "oddly-written-addresses-are-refused"),
    (ALLOWS_EVERY_TARGET, "a-change-is-vetted-as-a-creation"),
];

/// SQL for a trigger that changes every row of the table before it is written.
fn trigger(table: &str, change: &str) -> String {
    format!(
        "create function bend() returns trigger language plpgsql as $$ begin {change} return new; end $$;
         create trigger bend before insert or update on {table} for each row execute function bend();"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn every_promise_that_a_real_server_breaks_is_noticed_by_its_scenario() {
    let all = scenarios::all();
    let mut survivors = String::new();
    for (bent, name) in NOTICED_BY {
        let scenario = super::named(&all, name).unwrap_or_else(|| panic!("there is no scenario {name}"));
        let builder = match bent {
            Bent::Rows(..) => scenario.builder(),
            Bent::World(bend) => bend(scenario.builder()),
        };
        let mut world = builder.start().await;
        if let (Bent::Rows(table, change), Some(database)) = (bent, world.database()) {
            let made = database.execute(&trigger(table, change)).await;
            made.expect("the database accepts the trigger");
        }
        let verdict = scenario.play(&mut world).await;
        if !matches!(verdict, Verdict::Broken(_)) {
            writeln!(survivors, "{name}: {verdict:?}").expect("text can be written");
        }
    }
    assert!(survivors.is_empty(), "{survivors}");
}
