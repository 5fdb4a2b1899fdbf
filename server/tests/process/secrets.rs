//! Secrets stay secret: the test sets recognisable secrets everywhere, and searches all output for them. Also
//! replaces a sealing key while the server runs.

use std::fmt::Write as _;
use std::fs;

use serde_json::json;
use tenterhook_harness::client::NewWebhook;
use tenterhook_harness::database::Cluster;
use tenterhook_harness::journal::Arrival;
use tenterhook_harness::keys::{self, SEALING_KEY};
use tenterhook_harness::realtime;
use tenterhook_harness::reply::{Reply, Script};
use tenterhook_harness::token::Claims;
use tenterhook_lab::process::{Process, Program};

use super::callers::{
    Callers, PASSWORD, SECRET, deal_changed, deliveries, folder, production, program, receiver,
};

const DATABASE_PASSWORD: &str = "planted-password-of-the-database";
const NEW_KEY: &str = "27d1e09a4cb85f36f0a7c2e8196db3440e9b5a71c683df12ab94e0573c8f2d6b";

/// A receiver that returns what it was sent, in headers and body, and accepts every second request.
fn echo(arrival: &Arrival, place: usize) -> Reply {
    let authorization = arrival.header("authorization").unwrap_or_default();
    let body = format!("you sent {authorization}, which is user:{PASSWORD}");
    let status = if place.is_multiple_of(2) { 200 } else { 500 };
    Reply::status(status)
        .header("x-you-sent", authorization)
        .body(body)
}

/// A program on a database with its secrets in the environment, and all log lines.
fn with_secrets_in_the_environment(database: &str) -> Program {
    program()
        .setting("TENTERHOOK_LOG", "debug,tenterhook=trace")
        .setting("DATABASE_URL", format!("{database} password={DATABASE_PASSWORD}"))
        .setting("TENTERHOOK_JWT_SECRET", SECRET)
        .setting("TENTERHOOK_SEALING_KEY", format!("{NEW_KEY} {SEALING_KEY}"))
        .setting("TENTERHOOK_ALLOWED_TARGETS", "127.0.0.0/8")
}

/// The output of a command, on both channels.
async fn said(program: &Program, command: &str) -> String {
    let output = program.clone().argument(command).run().await;
    let output = output.expect("it ends");
    [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat()
}

async fn metrics(callers: &Callers<'_>) -> String {
    callers.user().get("/metrics").await.expect("it answers").1
}

#[tokio::test(flavor = "multi_thread")]
async fn no_response_file_or_log_line_shows_a_secret() {
    let database = Cluster::shared().await.unwrap().database().await.unwrap();
    let program = with_secrets_in_the_environment(&database.url(None));
    let receiver = receiver(Script::new(|arrival, place| echo(arrival, place).into())).await;
    let mut process = program.clone().argument("serve").serve().await.unwrap();
    let callers = Callers::new(&process, SECRET);
    let user = callers.user();
    let created = user
        .create_webhook(NewWebhook::to(&receiver.url()).basic_auth("user", PASSWORD))
        .await
        .unwrap();
    let id = created.webhook.id.clone();
    let rotated = user.rotate(&created.webhook).await.unwrap();

    // All responses, with everything about two deliveries.
    let mut answers = String::new();
    for expected in 1..=2 {
        callers.platform().publish_one(deal_changed()).await.unwrap();
        receiver.journal().wait_for(expected).await;
        let recorded = async || {
            let attempts = deliveries(&user, &id)
                .await
                .into_iter()
                .map(|delivery| delivery.attempts.len());
            attempts.filter(|attempts| *attempts > 0).count() == expected
        };
        realtime::eventually("the attempt is recorded", recorded).await;
    }
    let attempts = "{ number errorMessage requestBody requestHeaders { name value } responseHeaders { name value } responseBody }";
    let document = format!(
        "query($id: ID!) {{ webhook(id: $id) {{ name subscriptionUrl httpAuthUser hasHttpAuthPassword \
         deliveries {{ nodes {{ attempts {attempts} }} }} }} }}"
    );
    let recorded = user.query(&document, json!({"id": id})).await.unwrap();
    let echoed = &recorded["webhook"]["deliveries"]["nodes"][0]["attempts"][0]["responseBody"];
    assert_eq!(echoed, "you sent Basic [hidden], which is user:[hidden]");
    write!(answers, "{recorded}").unwrap();
    let test = user
        .mutate("testWebhook", json!({"id": id}), &format!("attempt {attempts}"))
        .await
        .unwrap();
    write!(answers, "{test}").unwrap();
    let changed = user
        .update_webhook(&id, json!({"httpAuthPassword": format!("{PASSWORD} again")}))
        .await;
    write!(answers, "{changed:?}").unwrap();
    let wrong = NewWebhook::to("http://10.0.0.1/").basic_auth("a:b", PASSWORD);
    write!(answers, "{:?}", user.create_webhook(wrong).await.unwrap_err()).unwrap();
    write!(
        answers,
        "{:?}",
        process
            .caller(Some("a.b.c".to_owned()))
            .unwrap()
            .webhook(&id)
            .await
    )
    .unwrap();
    write!(answers, "{}", metrics(&callers).await).unwrap();

    process.terminate().await.unwrap();
    assert_eq!(process.ended().await.unwrap().code(), Some(0));
    let mut told = process.printed();
    for command in ["settings", "reseal", "migrate"] {
        told += &said(&program, command).await;
    }
    // Invalid settings, because an error message could quote a secret.
    let away = program.setting(
        "DATABASE_URL",
        format!("host=127.0.0.1 port=1 password={DATABASE_PASSWORD}"),
    );
    let malformed = away.clone().setting(
        "DATABASE_URL",
        format!("postgres://u:{DATABASE_PASSWORD}@h:port/d"),
    );
    for program in [away, malformed] {
        let text = said(&program, "serve").await;
        assert!(text.contains("error"), "{text}");
        told += &text;
    }

    let authorization = receiver.journal().all()[0]
        .header("authorization")
        .unwrap_or_default()
        .to_owned();
    for secret in [
        SECRET,
        PASSWORD,
        SEALING_KEY,
        NEW_KEY,
        DATABASE_PASSWORD,
        &created.signing_secret,
        &rotated.signing_secret,
        authorization.trim_start_matches("Basic "),
        "Bearer ey",
    ] {
        assert!(secret.len() > 8, "nothing was planted");
        assert!(!told.contains(secret), "it printed {secret}");
        assert!(!answers.contains(secret), "it answered {secret}");
    }
}

/// A token in the query string of a REST request is in no log line, whether the server accepts or refuses it.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_a_query_string_is_in_no_log_line() {
    let database = Cluster::shared().await.unwrap().database().await.unwrap();
    let program = with_secrets_in_the_environment(&database.url(None))
        .argument("serve")
        .setting("TENTERHOOK_LOG", "trace");
    for (allowed, status) in [("false", 401), ("true", 200)] {
        let program = program.clone().setting("TENTERHOOK_REST_QUERY_TOKEN", allowed);
        let mut process = program.serve().await.unwrap();
        let token = Callers::new(&process, SECRET).token(&Claims::user(1, 7, "regular"));
        let (_, signature) = token.rsplit_once('.').unwrap();
        let caller = process.caller(None).unwrap();
        let wrong = token.replace(signature, "planted-signature-of-nobody");
        for (token, status) in [(&token, status), (&wrong, 401)] {
            let path = format!("/v1/webhooks?api_token={token}");
            let answer = caller.exchange("GET", &path, &[], None).await.unwrap();
            assert_eq!(answer.status, status, "{allowed}");
            assert!(!answer.text.contains(token.as_str()), "it answered the token");
        }
        process.terminate().await.unwrap();
        assert_eq!(process.ended().await.unwrap().code(), Some(0));
        let told = process.printed();
        assert!(told.contains("/v1/webhooks"), "requests are logged at this level");
        for secret in [token.as_str(), signature, "planted-signature", "api_token"] {
            assert!(!told.contains(secret), "it printed {secret}");
        }
    }
}

/// The credentials of a new delivery, once it has arrived.
async fn delivered(process: &Process, receiver: &tenterhook_harness::receiver::Receiver) -> Option<String> {
    let so_far = receiver.journal().len();
    let platform = Callers::new(process, SECRET).platform();
    platform.publish_one(deal_changed()).await.expect("it publishes");
    receiver.journal().wait_for(so_far + 1).await;
    let arrivals = receiver.journal().all();
    arrivals[so_far].header("authorization").map(str::to_owned)
}

/// First both keys are set, the new one first; then all values are resealed while a server runs; then the old key is
/// removed.
#[tokio::test(flavor = "multi_thread")]
async fn a_sealing_key_can_be_replaced_while_a_server_runs() {
    let (cluster, folder) = (Cluster::shared().await.unwrap(), folder());
    let database = cluster.database().await.unwrap();
    let program = production(folder.path(), &database.url(None));
    let keys = |keys: &[&str]| keys::file(folder.path(), "sealing", &keys.join("\n")).unwrap();
    let reseal = async || {
        let program = program_without_command(folder.path(), &database.url(None));
        let output = program.argument("reseal").run().await.unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let receiver = receiver(200).await;

    let mut before = program.serve().await.unwrap();
    let caller = Callers::new(&before, SECRET).user();
    let new = NewWebhook::to(&receiver.url()).basic_auth("user", PASSWORD);
    caller.create_webhook(new).await.unwrap();
    let sent = delivered(&before, &receiver).await;
    assert!(
        sent.as_ref().is_some_and(|sent| sent.starts_with("Basic ")),
        "{sent:?}"
    );
    before.terminate().await.unwrap();
    before.ended().await.unwrap();

    // Without the old key nothing can be opened, and the output says so.
    keys(&[NEW_KEY]);
    let (done, told) = reseal().await;
    assert!(!done && told.contains("2  cannot decrypt"), "{told}");

    keys(&[NEW_KEY, SEALING_KEY]);
    let mut during = program.serve().await.unwrap();
    assert_eq!(delivered(&during, &receiver).await, sent);
    let (done, told) = reseal().await;
    assert!(
        done && told.contains("2  encrypts and decrypts") && told.contains("0  decrypts"),
        "{told}"
    );
    assert_eq!(delivered(&during, &receiver).await, sent);
    assert_eq!(reseal().await, (true, told));
    during.terminate().await.unwrap();
    during.ended().await.unwrap();

    keys(&[NEW_KEY]);
    let after = program.serve().await.unwrap();
    assert_eq!(delivered(&after, &receiver).await, sent);
}

/// The settings of [`production`] for a command other than `serve`.
fn program_without_command(folder: &std::path::Path, database: &str) -> Program {
    program()
        .setting("DATABASE_URL", database)
        .setting("TENTERHOOK_SEALING_KEY_FILE", folder.join("sealing"))
}

/// A key file that everybody can read is refused, and the error names the file.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_that_everybody_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let program = production(folder.path(), "host=127.0.0.1 port=1 user=nobody dbname=none");
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(folder.path().join("sealing"), open).unwrap();
    let output = program.run().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("chmod"), "{said}");
    assert!(
        said.contains(&folder.path().join("sealing").display().to_string()),
        "{said}"
    );
}

/// A process with secrets in its memory writes no core dump.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_server_writes_no_core_dump() {
    let folder = folder();
    let database = Cluster::shared().await.unwrap().database().await.unwrap();
    let process = production(folder.path(), &database.url(None))
        .serve()
        .await
        .unwrap();
    let id = process.id().expect("it runs");
    let limits = std::fs::read_to_string(format!("/proc/{id}/limits")).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert_eq!(
        core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(),
        ["0", "0"]
    );
}

/// The key set is fetched before anything else needs TLS.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_set_can_be_fetched_from_a_url() {
    const SET: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","x":"A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg"}]}"#;
    let (cluster, folder) = (Cluster::shared().await.unwrap(), folder());
    let database = cluster.database().await.unwrap();
    let set = receiver(Script::always(Reply::status(200).body(SET))).await;
    let mut process = program()
        .argument("serve")
        .setting("DATABASE_URL", database.url(None))
        .setting("TENTERHOOK_JWKS", set.url())
        .setting(
            "TENTERHOOK_SEALING_KEY_FILE",
            keys::file(folder.path(), "sealing", SEALING_KEY).unwrap(),
        )
        .serve()
        .await
        .unwrap();
    process.terminate().await.unwrap();
    assert!(process.ended().await.unwrap().success());
}

/// `doctor` reads or fetches a key set as `serve` does, and names its faults.
#[tokio::test(flavor = "multi_thread")]
async fn doctor_checks_the_key_set() {
    const KEY: &str =
        r#"{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","x":"A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg"}"#;
    let folder = folder();
    let kept = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (good, weak) = (
        format!(r#"{{"keys":[{KEY}]}}"#),
        r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#,
    );
    let set = receiver(Script::always(Reply::status(200).body(good.clone()))).await;
    let missing = receiver(404).await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = format!("http://{}/", nobody.local_addr().unwrap());
    drop(nobody);
    for (jwks, line) in [
        (
            kept("good", &good),
            "ok    key set: usable, with 1 key(s) for signatures",
        ),
        (set.url(), "ok    key set: usable, with 1 key(s) for signatures"),
        (
            folder.path().join("none").display().to_string(),
            "No such file or directory",
        ),
        (kept("text", "keys"), "not a JSON Web Key Set"),
        (
            kept("weak", weak),
            "the key set has no RSA (2048 to 4096 bits), EC",
        ),
        (missing.url(), "404 Not Found"),
        (nowhere, "Connection refused"),
    ] {
        let output = program()
            .argument("doctor")
            .argument("--probe")
            .argument(set.url())
            .setting("TENTERHOOK_ALLOWED_TARGETS", "127.0.0.0/8")
            .setting("TENTERHOOK_JWKS", &jwks)
            .run()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let found = said.lines().find(|line| line.contains("key set: "));
        let found = found.unwrap_or_else(|| panic!("nothing of the key set: {said}"));
        assert!(found.contains(line), "{jwks}: {found}");
        let fails = found.starts_with("FAIL  key set: ") && found.contains("TENTERHOOK_JWKS");
        assert_eq!(fails, !line.starts_with("ok"), "{jwks}: {found}");
        assert!(!(fails && output.status.success()), "{said}");
    }
}
