//! A small overload of the real binary: calls over a limit are refused with the time to wait, and no accepted event
//! is lost. `tenterhook-lab overload` has sizes at which an effect shows.

use std::path::Path;

use tenterhook_lab::overload::{self, Plan};

/// D6, D7, E3: a company floods the server, large publications arrive, and half of the receivers hang for a time.
#[tokio::test(flavor = "multi_thread")]
async fn no_accepted_event_is_lost_in_an_overload() {
    let plan = Plan {
        webhooks: 20,
        deliveries: 400,
        seconds: 1,
        quiet_rate: 10,
        flooders: 40,
        large_callers: 6,
        large_calls: 2,
        drain: 60,
        memory_bound: 512.0,
    };
    let binary = Path::new(env!("CARGO_BIN_EXE_tenterhook"));
    let figures = overload::run(&plan, binary, |_| ()).await.unwrap();
    assert_eq!(
        (figures.backlog, figures.open, figures.unaccounted),
        (400, 0, 0),
        "{figures}"
    );
    assert_eq!(figures.accepted, figures.made, "{figures}");
    assert_eq!(
        (figures.flood.unanswered, figures.large.unanswered),
        (0, 0),
        "{figures}"
    );
    assert!(figures.flood.accepted_events > 0, "{figures}");
    assert!(figures.large.accepted_events > 0, "{figures}");
    let codes = |flooded: &overload::Flooded| {
        let known = |code: &String| ["RATE_LIMITED", "UNAVAILABLE"].contains(&code.as_str());
        flooded.refused.keys().all(known)
    };
    assert!(codes(&figures.flood) && codes(&figures.large), "{figures}");
    assert_eq!(
        figures.flood.without_retry_after + figures.large.without_retry_after,
        0,
        "{figures}"
    );
    assert_eq!(
        figures.alone.missing + figures.beside_flood.missing,
        0,
        "{figures}"
    );
}
