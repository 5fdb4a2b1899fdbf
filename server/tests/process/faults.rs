//! A fault inside the server: what the caller gets, and how an operator finds the cause in the log.

use serde_json::{Value, json};
use tenterhook_harness::client::Client;
use tenterhook_harness::client::raw::GRAPHQL_RESPONSE;
use tenterhook_harness::database::Cluster;
use tenterhook_harness::realtime;
use tenterhook_lab::process::Process;

use super::callers::{Callers, SECRET, folder, production};

/// The code and request id that the caller gets. Checks that the response has no internals.
async fn told(caller: &Client, document: &str, secrets: &[&str]) -> (String, String) {
    let body = json!({ "query": document }).to_string();
    let (_, text) = caller.post_raw(GRAPHQL_RESPONSE, body).await.expect("it answers");
    for secret in secrets {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
    let answer: Value = serde_json::from_str(&text).expect("an answer is JSON");
    let said = |name: &str| {
        let value = answer["errors"][0]["extensions"][name].as_str();
        value.unwrap_or_else(|| panic!("no {name}: {text}")).to_owned()
    };
    (said("code"), said("requestId"))
}

/// The log line of this request with the cause.
async fn logged(process: &Process, id: &str) -> String {
    let line = || {
        let printed = process.printed();
        let lines = printed.lines();
        let mut found = lines.filter(|line| line.contains(id) && line.contains("\"error\""));
        found.next().map(str::to_owned)
    };
    realtime::eventually("it is in the log", async || line().is_some()).await;
    line().expect("just seen")
}

/// Nothing internal leaks, and the id leads to the log line with the cause.
#[tokio::test(flavor = "multi_thread")]
async fn an_internal_error_has_an_id_that_is_in_the_log() {
    let (cluster, keys) = (Cluster::shared().await.unwrap(), folder());
    let database = cluster.database().await.unwrap();
    let process = production(keys.path(), &database.url(None))
        .serve()
        .await
        .unwrap();
    let callers = Callers::new(&process, SECRET);
    let platform = callers.platform();
    let listed = "{ list: apps { totalCount } }";
    database
        .execute("alter table apps rename to hidden")
        .await
        .unwrap();
    let (code, id) = told(&platform, listed, &["apps", "relation", "exist"]).await;
    assert_eq!(code, "INTERNAL");
    let line = logged(&process, &id).await;
    assert!(line.contains(r#"relation \"apps\" does not exist"#), "{line}");
    database
        .execute("alter table hidden rename to apps")
        .await
        .unwrap();
    assert!(platform.query(listed, json!({})).await.is_ok());

    let closed = database.close().await.unwrap();
    let viewer = "{ viewer { userId } }";
    let (code, id) = told(&callers.user(), viewer, &["connect", "postgres", "world_"]).await;
    assert_eq!(code, "UNAVAILABLE");
    logged(&process, &id).await;
    closed.open().await.unwrap();
    realtime::eventually("it answers as before", async || {
        callers.user().query(viewer, json!({})).await.is_ok()
    })
    .await;
}
