//! The operator's limits on the targets of webhooks (W10).

use super::*;

/// The result of creating a webhook for each URL: `ok`, or the error code.
async fn answers(settings: Settings, urls: &[&str]) -> Vec<String> {
    let world = World::with(settings).await;
    let mut answers = Vec::new();
    for url in urls {
        let input = json!({ "subscriptionUrl": url, "eventAction": "ANY", "eventObject": "*" });
        let errors = world.errors(&world.user(1, 7), "createWebhook", input).await;
        answers.push(errors.first().cloned().unwrap_or_else(|| "ok".to_owned()));
    }
    answers
}

const FORBIDDEN: &str = "FORBIDDEN_ADDRESS input.subscriptionUrl";

#[tokio::test(flavor = "multi_thread")]
async fn only_chosen_ports_are_taken() {
    let settings = Settings {
        target_ports: vec!["443".parse().unwrap(), "8000-8999".parse().unwrap()],
        ..Settings::development()
    };
    let urls = [
        "https://127.0.0.1/",
        "https://127.0.0.1:8000/",
        "https://127.0.0.1:9000/",
        "http://127.0.0.1/",
        "http://127.0.0.1:0/",
    ];
    assert_eq!(
        answers(settings, &urls).await,
        ["ok", "ok", FORBIDDEN, FORBIDDEN, FORBIDDEN]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_range_overrides_an_allowed_one() {
    let settings = Settings {
        denied_targets: vec![
            "127.0.0.2/32".parse().unwrap(),
            "93.184.215.0/24".parse().unwrap(),
        ],
        ..Settings::development()
    };
    let urls = [
        "http://127.0.0.1:9/",
        "http://127.0.0.2:9/",
        "http://93.184.215.14/",
        "http://[::ffff:93.184.215.14]/",
    ];
    assert_eq!(
        answers(settings, &urls).await,
        ["ok", FORBIDDEN, FORBIDDEN, FORBIDDEN]
    );
}
