//! Keys that a JSON or TOML library uses internally, in files that a process reads at start: key sets and the
//! settings file. `tests/attacks.rs` covers requests.

use std::fs;
use std::path::Path;

use tenterhook_harness::attacks::{INNER_KEYS, nested_key};
use tenterhook_harness::database::Cluster;
use tenterhook_harness::keys::{self, SEALING_KEY};
use tenterhook_harness::reply::{Reply, Script};
use tenterhook_lab::process::Program;

use super::callers::{folder, program, receiver};

/// The public half of an Ed25519 key. The tests do not need the private half.
const KEY: &str =
    r#""kty":"OKP","crv":"Ed25519","alg":"EdDSA","x":"A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg""#;
/// A key set at a URL has at most 64 KiB.
const LARGEST_FETCHED: usize = 64 * 1024;
/// Tested levels of [`nested_key`]: one, the number that ended a process, and more.
const LEVELS: [usize; 4] = [1, 30, 60, 180];
/// A key with a meaning in the TOML library, and two of the JSON library.
const KEYS: [&str; 3] = ["$__toml_private_datetime", INNER_KEYS[0], INNER_KEYS[1]];

/// Sets with one usable key: one has `value` where any value may be, and one has it instead of a type.
fn sets(value: &str) -> [String; 2] {
    [
        format!(r#"{{"keys":[{{{KEY},"more":{value}}}],"more":{value}}}"#),
        format!(r#"{{"keys":[{{{KEY}}},{{"kty":"OKP","crv":{value}}}]}}"#),
    ]
}

fn serving(folder: &Path, database: &str, jwks: impl Into<std::ffi::OsString>) -> Program {
    program()
        .argument("serve")
        .setting("DATABASE_URL", database)
        .setting("TENTERHOOK_JWKS", jwks)
        .setting(
            "TENTERHOOK_SEALING_KEY_FILE",
            keys::file(folder, "sealing", SEALING_KEY).expect("a key file can be written"),
        )
}

/// Starts the program and stops it cleanly.
async fn starts(program: &Program, what: &str) {
    let mut process = program
        .serve()
        .await
        .unwrap_or_else(|error| panic!("{what}: {error:#}"));
    process.terminate().await.expect("it runs");
    let status = process.ended().await.expect("it ends");
    assert!(status.success(), "{what}: {status}");
}

/// The key set is in a file or at a URL. A key with such a value instead of its type has an unknown type and is ignored.
#[tokio::test(flavor = "multi_thread")]
async fn internal_keys_have_no_meaning_in_a_key_set() {
    let (cluster, folder) = (Cluster::shared().await.unwrap(), folder());
    let database = cluster.database().await.unwrap();
    let url = database.url(None);
    let [raw, number] = INNER_KEYS.map(|key| format!(r#"{{"{key}":"not JSON"}}"#));
    for value in [raw, number, nested_key(30), nested_key(180)] {
        for (place, set) in sets(&value).into_iter().enumerate() {
            let what = format!("{} bytes in place {place}", value.len());
            let file = folder.path().join("jwks");
            fs::write(&file, &set).unwrap();
            starts(&serving(folder.path(), &url, file), &what).await;
            if set.len() <= LARGEST_FETCHED {
                let endpoint = receiver(Script::always(Reply::status(200).body(set))).await;
                starts(&serving(folder.path(), &url, endpoint.url()), &what).await;
            }
        }
    }
}

/// As names of settings they are unknown, and as values they are text.
#[tokio::test(flavor = "multi_thread")]
async fn internal_keys_have_no_meaning_in_the_settings_file() {
    let folder = folder();
    let path = folder.path().join("settings.toml");
    for key in KEYS {
        for levels in LEVELS {
            let value = nested_key(levels);
            for (text, said) in [
                (format!("\"{key}\" = '{value}'"), "is not a setting"),
                (format!("[policy]\n\"{key}\" = '{value}'"), "is not a setting"),
                (
                    format!("target_ports = [{{ \"{key}\" = '{value}' }}]"),
                    "target_ports in",
                ),
                (format!("in_flight = '{value}'"), "but must be"),
            ] {
                fs::write(&path, text).unwrap();
                let output = program()
                    .argument("settings")
                    .argument("--config")
                    .argument(&path)
                    .run()
                    .await
                    .unwrap();
                let told = String::from_utf8_lossy(&output.stderr);
                assert_eq!(output.status.code(), Some(1), "{key}, {levels} levels: {told}");
                assert!(told.contains(said), "{key}, {levels} levels: {told}");
            }
        }
    }
}
