//! What only the real process can show: its exit, its streams, and how it ends when it is killed.

use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// The command, told nothing by whoever runs the tests except where a Postgres is.
fn tenterhook(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenterhook"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("TENTERHOOK_") || name == "DATABASE_URL" {
            command.env_remove(&*name);
        }
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> (bool, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("the command starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8 on both streams");
    (status.success(), text(stdout), text(stderr))
}

/// A folder that Postgres's user can enter, wherever the tests run.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).expect("our own folder");
    folder
}

/// A running `tenterhook dev`, killed if a test gives up on it.
struct Dev(Child);

impl Dev {
    /// Starts it in `folder` and waits for its welcome.
    fn start(folder: &Path) -> Self {
        let mut command = tenterhook(&["dev", "--listen", "127.0.0.1:0", "--data-dir"]);
        let command = command.arg(folder).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut dev = Self(command.spawn().expect("the command starts"));
        let welcome = BufReader::new(dev.0.stdout.take().expect("it is piped")).lines();
        let mut lines = welcome.map_while(Result::ok);
        assert!(
            lines.any(|line| line.contains("installApp")),
            "dev ended before its welcome"
        );
        dev
    }

    /// Sends a signal and waits for the end it brings. True for a success.
    fn end_by(mut self, signal: &str) -> bool {
        let sent = Command::new("kill")
            .args([signal, &self.0.id().to_string()])
            .status();
        assert!(sent.is_ok_and(|status| status.success()));
        self.0.wait().expect("it is our child").success()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // One that has ended already is what most tests want.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn bad_settings_are_named_and_nothing_starts() {
    let (success, stdout, stderr) = run(tenterhook(&["dev"]).env("TENTERHOOK_LISTN", "127.0.0.1:0"));
    assert!(!success && stdout.is_empty());
    assert!(
        stderr.contains("TENTERHOOK_LISTN is not a setting: did you mean TENTERHOOK_LISTEN?"),
        "{stderr}"
    );

    let (success, _, stderr) = run(&mut tenterhook(&[
        "serve",
        "--clock",
        "simulated",
        "--listen",
        "0.0.0.0:0",
    ]));
    assert!(
        !success && stderr.contains("clock") && stderr.contains("listen"),
        "{stderr}"
    );
}

#[test]
fn production_does_not_start_without_database_and_keys() {
    let (success, _, stderr) = run(&mut tenterhook(&["serve"]));
    assert!(!success);
    for name in [
        "DATABASE_URL",
        "TENTERHOOK_JWT_SECRET_FILE",
        "TENTERHOOK_JWKS",
        "TENTERHOOK_SEALING_KEY_FILE",
    ] {
        assert!(stderr.contains(name), "{stderr}");
    }
}

#[test]
fn a_token_is_alone_on_standard_output() {
    let folder = folder();
    let secret = folder.path().join("secret");
    fs::write(&secret, "0123456789abcdef0123456789abcdef").unwrap();
    let mut command = tenterhook(&["token", "--company", "1", "--user", "1"]);
    let (success, stdout, stderr) = run(command.env("TENTERHOOK_JWT_SECRET_FILE", &secret));
    assert!(success, "{stderr}");
    assert_eq!(stdout.trim_end().split('.').count(), 3);
    assert_eq!(stdout.lines().count(), 1);
}

#[test]
fn killed_it_leaves_no_postgres_and_starts_again_in_the_same_folder() {
    let folder = folder();
    let first = Dev::start(folder.path());
    let key = fs::read(folder.path().join("jwt.key")).unwrap();
    first.end_by("-KILL");
    // Every process of that Postgres holds this lock: having it means that they are gone.
    File::open(folder.path().join("postgres.lock"))
        .unwrap()
        .lock()
        .unwrap();
    assert!(
        !folder.path().join("postgres/postmaster.pid").exists(),
        "it shut down in good order"
    );

    let second = Dev::start(folder.path());
    assert_eq!(fs::read(folder.path().join("jwt.key")).unwrap(), key);
    assert!(second.end_by("-TERM"));
    assert!(
        !folder.path().join("postgres/postmaster.pid").exists(),
        "it waits for its Postgres"
    );
}
