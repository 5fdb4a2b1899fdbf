//! Settings of the process: invalid ones are refused at start, by name. Variables that only look like settings, and settings
//! that are retired, are accepted and named.

use tenterhook_harness::database::Cluster;
use tenterhook_harness::keys::SEALING_KEY;
use tenterhook_lab::process::Program;

use super::callers::{SECRET, folder, production, program};

/// Settings that are unknown, out of bounds, missing or contradictory are refused at start, by name.
#[tokio::test(flavor = "multi_thread")]
async fn settings_that_make_no_sense_are_refused_by_name() {
    let keys = folder();
    let with = |name, value: &str| {
        let nowhere = "host=127.0.0.1 port=1 user=nobody dbname=none";
        production(keys.path(), nowhere).setting(name, value)
    };
    for (program, named) in [
        (
            with("TENTERHOOK_LISTN", "127.0.0.1:0"),
            "TENTERHOOK_LISTN is not a setting: did you mean TENTERHOOK_LISTEN?",
        ),
        (
            with("TENTERHOOK_ALLOWED_TARGETS", "everywhere"),
            "TENTERHOOK_ALLOWED_TARGETS",
        ),
        (
            with("TENTERHOOK_POLICY_BAN_THRESHOLD", "0"),
            "TENTERHOOK_POLICY_BAN_THRESHOLD",
        ),
        (
            with("TENTERHOOK_POLICY_BAN_DURATION", "soon"),
            "TENTERHOOK_POLICY_BAN_DURATION",
        ),
        (
            with("TENTERHOOK_CLOCK", "simulated").setting("TENTERHOOK_LISTEN", "0.0.0.0:0"),
            "clock listen",
        ),
        (
            with("TENTERHOOK_NOTICE_URL", "platform.example/notices"),
            "TENTERHOOK_NOTICE_URL",
        ),
        (
            with("TENTERHOOK_NOTICE_URL", "https://platform.example/notices"),
            "notice_url notice_secret_file",
        ),
        (
            program().argument("serve"),
            "DATABASE_URL TENTERHOOK_JWT_SECRET_FILE TENTERHOOK_JWKS TENTERHOOK_SEALING_KEY_FILE",
        ),
    ] {
        let output = program.run().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "accepted, though wrong: {named}");
        for name in named.split(' ') {
            assert!(said.contains(name), "{name} is not named in:\n{said}");
        }
    }
}

/// In Kubernetes, a Service named `tenterhook` puts variables with our prefix into the pod. Every command ignores
/// them, and the log names them once.
#[tokio::test(flavor = "multi_thread")]
async fn every_command_ignores_service_links_of_kubernetes() {
    let links = [
        ("TENTERHOOK_SERVICE_HOST", "10.96.0.5"),
        ("TENTERHOOK_SERVICE_PORT", "8080"),
        ("TENTERHOOK_SERVICE_PORT_HTTP", "8080"),
        ("TENTERHOOK_PORT", "tcp://10.96.0.5:8080"),
        ("TENTERHOOK_PORT_8080_TCP", "tcp://10.96.0.5:8080"),
        ("TENTERHOOK_PORT_8080_TCP_PROTO", "tcp"),
        ("TENTERHOOK_PORT_8080_TCP_PORT", "8080"),
        ("TENTERHOOK_PORT_8080_TCP_ADDR", "10.96.0.5"),
        ("TENTERHOOK_API_SERVICE_HOST", "10.96.0.6"),
        ("TENTERHOOK_API_PORT", "udp://10.96.0.6:53"),
    ];
    let linked = |program: Program| {
        links
            .iter()
            .fold(program, |program, (name, value)| program.setting(name, *value))
    };
    let (cluster, keys) = (Cluster::shared().await.unwrap(), folder());
    let database = cluster.database().await.unwrap();
    let serving = linked(production(keys.path(), &database.url(None)));
    let process = serving.serve().await.unwrap();
    let printed = process.printed();
    let lines: Vec<&str> = printed
        .lines()
        .filter(|line| line.contains("service links"))
        .collect();
    assert_eq!(lines.len(), 1, "{printed}");
    for (name, _) in links {
        assert!(lines[0].contains(name), "{name} is not named in {}", lines[0]);
    }

    let data = folder();
    for command in [
        "token --platform",
        "settings",
        "schema",
        "migrate",
        "reseal",
        // Nothing listens there, which is the only fault that it should report.
        "doctor --probe https://127.0.0.1:1/",
    ] {
        let program = command.split(' ').fold(program(), Program::argument);
        let program = linked(program)
            .setting("DATABASE_URL", database.url(None))
            .setting("TENTERHOOK_DATA_DIR", data.path())
            .setting("TENTERHOOK_JWT_SECRET", SECRET)
            .setting("TENTERHOOK_SEALING_KEY", SEALING_KEY);
        let output = program.run().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("is not a setting"), "{command}: {said}");
        assert!(
            output.status.success() || command.starts_with("doctor"),
            "{command}: {said}"
        );
    }
    // Variables that only resemble them are refused as usual.
    let resembling = linked(production(keys.path(), &database.url(None))).setting("TENTERHOOK_PORT", "8080");
    let said = resembling.run().await.unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("TENTERHOOK_PORT is not a setting"), "{said}");
    assert_eq!(said.matches("is not a setting").count(), 1, "{said}");
}

/// A retired setting is accepted for one release. `doctor` warns of it in the words of the log of `serve`, so that nobody has
/// to wait for the release that refuses it. A warning does not make `doctor` fail.
#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_warns_of_a_retired_setting_as_serve_does() {
    const WARNING: &str = "TENTERHOOK_POLICY_BAN_PROPAGATION is retired, has no effect and will be refused by the next \
                           release: every server reads the changes feed every 100 ms, whatever the value";
    // Nothing listens there: that is the only check that fails.
    let doctor = "doctor --probe https://127.0.0.1:1/";
    let said = async |command: &str, retired: bool| {
        let mut program = command.split(' ').fold(program(), Program::argument);
        if retired {
            program = program.setting("TENTERHOOK_POLICY_BAN_PROPAGATION", "1s");
        }
        let output = program.run().await.unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    // Without a database `serve` ends after it has logged the warning.
    let served = said("serve", true).await;
    assert!(served.contains(WARNING), "{served}");
    let (before, after) = (said(doctor, false).await, said(doctor, true).await);
    assert!(after.contains(&format!("warn  settings: {WARNING}")), "{after}");
    assert!(!before.contains("warn  "), "{before}");
    assert_eq!(
        after.matches("FAIL").count(),
        before.matches("FAIL").count(),
        "{after}"
    );
}
