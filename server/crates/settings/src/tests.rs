mod bounds;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::sources::{Sources, load};
use super::table::{TABLE, markdown};
use super::value::Value;
use super::*;

fn environment(variables: &[(&str, &str)]) -> Sources<'static> {
    let environment = variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    Sources {
        environment,
        ..Sources::default()
    }
}

fn file(text: &str) -> Sources<'_> {
    Sources {
        file: Some((Path::new("t.toml"), text)),
        ..Sources::default()
    }
}

fn problems(sources: &Sources) -> Vec<String> {
    load(Settings::default(), sources).unwrap_err().0
}

#[test]
fn without_any_source_the_defaults_apply() {
    let loaded = load(
        Settings::default(),
        &environment(&[("PATH", "/bin"), ("TENTERHOOK_CONFIG", "x.toml")]),
    )
    .unwrap();
    assert_eq!(loaded.origins, BTreeMap::new());
    assert_eq!(loaded.settings.policy, PolicySettings::default());
    assert_eq!(loaded.settings.listen, "127.0.0.1:8080".parse().unwrap());
    assert!(loaded.settings.allowed_targets.is_empty());
}

#[test]
fn later_sources_override_earlier_ones() {
    let mut sources = environment(&[
        ("TENTERHOOK_LISTEN", "127.0.0.1:2"),
        ("TENTERHOOK_POLICY_BAN_THRESHOLD", "2"),
    ]);
    sources.file = Some((
        Path::new("t.toml"),
        "listen = '127.0.0.1:1'\nlog = 'debug'\n[policy]\nban_threshold = 1\nban_duration = '5m'\n",
    ));
    sources.flags = vec![("listen", "127.0.0.1:3".to_owned())];
    let Loaded {
        settings, origins, ..
    } = load(Settings::default(), &sources).unwrap();
    assert_eq!(settings.listen.port(), 3);
    assert_eq!(settings.policy.ban_threshold, 2);
    assert_eq!(settings.policy.ban_duration, Duration::from_secs(300));
    let origins: Vec<(&str, Origin)> = origins.into_iter().collect();
    assert_eq!(
        origins,
        [
            ("listen", Origin::CommandLine),
            ("log", Origin::File),
            ("policy.ban_duration", Origin::File),
            ("policy.ban_threshold", Origin::Environment),
        ]
    );
}

#[test]
fn a_file_has_lists_and_tables() {
    let text = "
        allowed_targets = ['10.0.0.0/8', '::1/128']
        in_flight = 100
        [policy]
        retry_delays = ['PT1S', '2s']
        success_resets_counter = true
        [policy.catalog]
        v2 = ['ticket']
    ";
    let settings = load(Settings::default(), &file(text)).unwrap().settings;
    assert_eq!(settings.allowed_targets.len(), 2);
    assert_eq!(settings.in_flight, 100);
    assert_eq!(
        settings.policy.retry_delays,
        [Duration::from_secs(1), Duration::from_secs(2)]
    );
    assert!(settings.policy.success_resets_counter);
    assert_eq!(
        settings.policy.catalog.v2.into_iter().collect::<Vec<_>>(),
        ["ticket"]
    );
}

#[test]
fn development_allows_loopback_unless_told_otherwise() {
    let allowed = |sources: &Sources| {
        load(Settings::development(), sources)
            .unwrap()
            .settings
            .allowed_targets
    };
    let show = |networks: Vec<IpNet>| networks.show();
    assert_eq!(show(allowed(&Sources::default())), "127.0.0.0/8,::1/128");
    assert_eq!(
        show(allowed(&environment(&[("TENTERHOOK_ALLOWED_TARGETS", "")]))),
        ""
    );
    assert_eq!(show(allowed(&file("allowed_targets = []"))), "");
    assert_eq!(
        show(allowed(&environment(&[(
            "TENTERHOOK_ALLOWED_TARGETS",
            "10.1.0.0/16"
        )]))),
        "10.1.0.0/16"
    );
}

#[test]
fn unknown_names_are_refused_with_the_nearest() {
    let said = problems(&environment(&[
        ("TENTERHOOK_LISTN", "127.0.0.1:1"),
        ("TENTERHOOK_DATABASE_URL", "postgres://h/d"),
        ("TENTERHOOK_POLICY_BAN_TRESHOLD", "3"),
        ("TENTERHOOK_SOMETHING_ELSE_ALTOGETHER", "1"),
        ("tenterhook_listen", "nobody's"),
    ]));
    assert_eq!(
        said,
        [
            "TENTERHOOK_LISTN is not a setting: did you mean TENTERHOOK_LISTEN?",
            "TENTERHOOK_DATABASE_URL is not a setting: did you mean DATABASE_URL?",
            "TENTERHOOK_POLICY_BAN_TRESHOLD is not a setting: did you mean TENTERHOOK_POLICY_BAN_THRESHOLD?",
            "TENTERHOOK_SOMETHING_ELSE_ALTOGETHER is not a setting: `tenterhook settings` lists all settings",
        ]
    );
    assert_eq!(
        problems(&file("lisen = 'x'\n[policy]\nban_treshold = 3\n")),
        [
            "lisen in t.toml is not a setting: did you mean listen?",
            "policy.ban_treshold in t.toml is not a setting: did you mean policy.ban_threshold?",
        ]
    );
}

#[test]
fn a_retired_setting_is_accepted_with_a_warning_from_every_source() {
    let sources = Sources {
        file: Some((Path::new("t.toml"), "[policy]\nban_propagation = '1s'\n")),
        environment: environment(&[("TENTERHOOK_POLICY_BAN_PROPAGATION", "no duration")]).environment,
        flags: vec![("policy.ban_propagation", "1s".to_owned())],
    };
    let loaded = load(Settings::default(), &sources).unwrap();
    let names: Vec<_> = loaded
        .retired
        .iter()
        .map(|line| line.split(" is retired").next().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "policy.ban_propagation in t.toml",
            "TENTERHOOK_POLICY_BAN_PROPAGATION",
            "--policy-ban-propagation",
        ]
    );
    assert!(loaded.origins.is_empty());
}

#[test]
fn service_links_are_ignored_and_similar_names_are_refused() {
    let links = [
        ("TENTERHOOK_SERVICE_HOST", "10.96.0.5"),
        ("TENTERHOOK_PORT", "tcp://10.96.0.5:8080"),
        ("TENTERHOOK_API_PORT_8080_TCP", "tcp://10.96.0.6:8080"),
    ];
    let mut given = links.to_vec();
    given.push(("TENTERHOOK_TARGET_PORTS", "443"));
    // Variables of other programs are not reported.
    given.push(("KUBERNETES_SERVICE_HOST", "10.96.0.1"));
    let loaded = load(Settings::default(), &environment(&given)).unwrap();
    assert_eq!(
        loaded.service_links,
        [
            "TENTERHOOK_API_PORT_8080_TCP",
            "TENTERHOOK_PORT",
            "TENTERHOOK_SERVICE_HOST"
        ]
    );
    assert_eq!(loaded.settings.target_ports.show(), "443");

    given.push(("TENTERHOOK_TARGET_PORT", "443"));
    given.push(("TENTERHOOK_SERVICE_HOSTS", "10.96.0.5"));
    assert_eq!(
        problems(&environment(&given)),
        [
            "TENTERHOOK_TARGET_PORT is not a setting: did you mean TENTERHOOK_TARGET_PORTS?",
            "TENTERHOOK_SERVICE_HOSTS is not a setting: `tenterhook settings` lists all settings",
        ]
    );
}

#[test]
fn bad_values_are_named_as_their_source_spells_them() {
    let mut sources = environment(&[("TENTERHOOK_POLICY_BAN_DURATION", "soon")]);
    sources.file = Some((Path::new("t.toml"), "in_flight = 1.5\nlisten = 'here'"));
    sources.flags = vec![("clock", "fast".to_owned())];
    assert_eq!(
        problems(&sources),
        [
            "in_flight in t.toml must be a text, a whole number, true, false or a list of those",
            "listen in t.toml is \"here\", but must be an address and a port, such as 127.0.0.1:8080",
            "TENTERHOOK_POLICY_BAN_DURATION is \"soon\", but must be a duration, such as PT30M or 30m",
            "--clock is \"fast\", but must be system or simulated",
        ]
    );
    let mut sources = Sources::default();
    sources
        .environment
        .push(("TENTERHOOK_LOG".into(), OsString::from_vec(vec![0xff])));
    assert_eq!(problems(&sources), ["TENTERHOOK_LOG must be UTF-8 text"]);
}

#[test]
fn a_broken_file_is_not_quoted() {
    let said = problems(&file("log = 'info'\ndatabase_url = 'postgres://u:hunter2@h/d\n"));
    assert_eq!(said.len(), 1);
    assert!(
        said[0].starts_with("t.toml line 2: ") && !said[0].contains("hunter2"),
        "{said:?}"
    );
}

/// A key that the TOML library uses internally has no special meaning anywhere.
#[test]
fn a_key_that_the_library_uses_itself_is_an_unknown_setting() {
    const KEY: &str = "$__toml_private_datetime";
    for (text, name) in [
        (format!("\"{KEY}\" = '1979-05-27'"), KEY.to_owned()),
        (
            format!("[policy]\n\"{KEY}\" = '1979-05-27'"),
            format!("policy.{KEY}"),
        ),
        (format!("policy.\"{KEY}\" = 1"), format!("policy.{KEY}")),
        (
            format!("policy = {{ \"{KEY}\" = 'no date' }}"),
            format!("policy.{KEY}"),
        ),
    ] {
        let said = problems(&file(&text));
        assert_eq!(said.len(), 1, "{said:?}");
        let begin = format!("{name} in t.toml is not a setting: ");
        assert!(said[0].starts_with(&begin), "{said:?}");
    }
    let listed = format!("target_ports = [{{ \"{KEY}\" = '1979-05-27' }}]");
    assert_eq!(
        problems(&file(&listed)),
        ["target_ports in t.toml must be a text, a whole number, true, false or a list of those"]
    );
}

#[test]
fn whole_numbers_of_a_file_are_read_in_every_base_and_size() {
    let loaded = load(Settings::default(), &file("in_flight = 0x1_000")).unwrap();
    assert_eq!(loaded.settings.in_flight, 4096);
    let said = problems(&file("in_flight = 99999999999999999999"));
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].starts_with("in_flight in t.toml is \"99999999999999999999\", but must be"),
        "{said:?}"
    );
}

/// W4: both words are taken from every source, and no other word.
#[test]
fn w4_app_sees_takes_two_words_from_every_source() {
    let set = |value: &str| {
        load(
            Settings::default(),
            &environment(&[("TENTERHOOK_POLICY_APP_SEES", value)]),
        )
    };
    let chosen = |loaded: Loaded| loaded.settings.policy.app_sees;
    assert_eq!(PolicySettings::default().app_sees, AppSees::Application);
    assert_eq!(set("application").map(chosen).unwrap(), AppSees::Application);
    assert_eq!(set(" own_general ").map(chosen).unwrap(), AppSees::OwnGeneral);
    for bad in ["", "APPLICATION", "own-general", "general", "true"] {
        assert_eq!(
            set(bad).unwrap_err().0,
            [format!(
                "TENTERHOOK_POLICY_APP_SEES is {bad:?}, but must be application or own_general"
            )]
        );
    }
    let in_file = load(Settings::default(), &file("[policy]\napp_sees = 'own_general'\n"));
    assert_eq!(in_file.map(chosen).unwrap(), AppSees::OwnGeneral);
    let flag = Sources {
        flags: vec![("policy.app_sees", "own_general".to_owned())],
        ..Sources::default()
    };
    assert_eq!(
        load(Settings::default(), &flag).map(chosen).unwrap(),
        AppSees::OwnGeneral
    );
}

#[test]
fn production_needs_a_database_and_keys() {
    assert_eq!(Settings::default().missing_in_production().len(), 3);
    let whole = environment(&[
        ("DATABASE_URL", "postgres://u:hunter2@h/d"),
        ("TENTERHOOK_JWKS", "https://example.com/jwks.json"),
        ("TENTERHOOK_SEALING_KEY_FILE", "sealing.key"),
    ]);
    let settings = load(Settings::default(), &whole).unwrap().settings;
    assert_eq!(settings.missing_in_production(), Vec::<String>::new());
    assert_eq!(
        settings.database_url.as_ref().unwrap().expose_secret(),
        "postgres://u:hunter2@h/d"
    );
    assert!(!format!("{settings:?}").contains("hunter2"));
    assert!(
        TABLE
            .iter()
            .all(|entry| !entry.value(&settings).contains("hunter2"))
    );
    // An empty variable, as compose files set it, chooses nothing.
    assert!(
        load(Settings::default(), &environment(&[("DATABASE_URL", "")]))
            .unwrap()
            .settings
            .database_url
            .is_none()
    );
}

#[test]
fn secrets_are_never_shown() {
    for url in [
        "https://me:hunter2@example.com/k",
        "ftp://hunter2@h",
        "http://a:hunter2@@",
    ] {
        for name in ["TENTERHOOK_JWKS", "TENTERHOOK_NOTICE_URL"] {
            let said = problems(&environment(&[(name, url)]));
            assert_eq!(said.len(), 1);
            assert!(said[0].contains(name) && !said[0].contains("hunter2"), "{said:?}");
        }
    }
    let text = "database_url = 'hunter2'\nsealing_key = ['hunter2', 'hunter2']\n";
    let loaded = load(Settings::default(), &file(text)).unwrap();
    let secrets: Vec<_> = loaded.secrets_of_file().collect();
    assert_eq!(secrets, ["database_url", "sealing_key"]);
    assert_eq!(
        loaded.settings.sealing_key.as_ref().unwrap().expose_secret(),
        "hunter2,hunter2"
    );
    for entry in TABLE {
        assert!(
            !entry.value(&loaded.settings).contains("hunter2"),
            "{}",
            entry.key
        );
    }
}

#[test]
fn every_default_can_be_read_back() {
    for base in [Settings::default(), Settings::development()] {
        let mut read = Settings::default();
        for entry in TABLE {
            assert_eq!(
                (entry.set)(&mut read, &entry.value(&base)),
                Ok(()),
                "{}",
                entry.key
            );
        }
        assert_eq!(format!("{read:?}"), format!("{base:?}"));
        assert_eq!(base.contradictions(), Vec::<String>::new());
    }
}

#[test]
fn names_of_variables_are_unique() {
    let variables: std::collections::BTreeSet<String> = TABLE.iter().map(|entry| entry.variable()).collect();
    assert_eq!(variables.len(), TABLE.len());
    assert!(variables.contains("TENTERHOOK_POLICY_CATALOG_V1") && variables.contains("PG_BIN_DIR"));
}

#[test]
fn the_page_says_what_the_table_says() {
    let page = include_str!("../../../../docs/settings.md");
    assert!(
        page == markdown(),
        "run `cargo run -- settings --markdown > docs/settings.md`"
    );
}
