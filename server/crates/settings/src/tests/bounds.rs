//! Bounds of settings, and settings that contradict each other.

use super::*;
use crate::policy::V1_META_KEYS;

#[test]
fn both_ends_of_bounds_are_allowed_and_nothing_past_them() {
    for entry in TABLE {
        let Some((least, most)) = (entry.bounds)() else {
            continue;
        };
        let set = |text: &str| (entry.set)(&mut Settings::default(), text);
        assert_eq!(set(&least), Ok(()), "{} at {least}", entry.key);
        assert_eq!(set(&most), Ok(()), "{} at {most}", entry.key);
        let past: [Option<String>; 2] =
            if let (Ok(least), Ok(most)) = (usize::read(&least), usize::read(&most)) {
                [
                    least.checked_sub(1).map(|n| n.to_string()),
                    Some((most + 1).to_string()),
                ]
            } else {
                let step = Duration::from_millis(1);
                let [least, most] = [&least, &most].map(|text| Duration::read(text).unwrap());
                [
                    least.checked_sub(step).map(|d| d.show()),
                    Some((most + step).show()),
                ]
            };
        for text in past.into_iter().flatten() {
            let error = set(&text).unwrap_err();
            assert_eq!(
                error,
                format!("must be from {least} to {most}"),
                "{} at {text}",
                entry.key
            );
        }
    }
}

#[test]
fn lists_are_bounded_too() {
    let set =
        |variable, value: &str| load(Settings::default(), &environment(&[(variable, value)])).map(|_| ());
    let delays = |n: usize, delay: &str| vec![delay; n].join(",");
    let retries = |value: &str| set("TENTERHOOK_POLICY_RETRY_DELAYS", value);
    assert!(retries("").is_ok());
    assert!(retries(&delays(10, "7d")).is_ok());
    assert!(retries(&delays(1, "1ms")).is_ok());
    assert!(retries(&delays(11, "1s")).is_err());
    assert!(retries("0s").is_err());
    assert!(retries("PT604800.001S").is_err());

    let catalog = |value: &str| set("TENTERHOOK_POLICY_CATALOG_V1", value);
    assert!(catalog(&"a".repeat(64)).is_ok());
    for bad in ["", "*", "deal,", "a.b", "1st", "ä", &"a".repeat(65)] {
        assert!(catalog(bad).is_err(), "{bad}");
    }

    let nested = |value: &str| set("TENTERHOOK_POLICY_PREVIOUS_NESTED", value);
    let names = |n: usize| (1..=n).map(|n| format!("f{n}")).collect::<Vec<_>>().join(",");
    assert!(nested("").is_ok() && nested("custom_fields, a b.c").is_ok());
    assert!(nested(&names(100)).is_ok() && nested(&"a".repeat(253)).is_ok());
    assert!(nested(&names(101)).is_err() && nested(&"a".repeat(254)).is_err() && nested("a,,b").is_err());

    let everyone = |value: &str| set("TENTERHOOK_POLICY_EVERYONE_V1", value);
    for good in ["empty", "star", "absent"] {
        assert!(everyone(good).is_ok(), "{good}");
    }
    for bad in ["", "*", "Empty", "[]"] {
        assert!(everyone(bad).is_err(), "{bad}");
    }

    let origins = |value: &str| set("TENTERHOOK_API_CORS_ORIGINS", value);
    for good in ["", "*", "https://app.example.com,http://localhost:3000"] {
        assert!(origins(good).is_ok(), "{good}");
    }
    for bad in [
        "example.com",
        "https://example.com/",
        "https://EXAMPLE.com",
        "https://a.example/b",
        "ftp://a",
        "https://*.example.com",
        "null",
    ] {
        assert!(origins(bad).is_err(), "{bad}");
    }

    let headers = |value: &str| set("TENTERHOOK_API_CORS_HEADERS", value);
    for good in ["", "*", "X-Tenant-ID, x-build"] {
        assert!(headers(good).is_ok(), "{good}");
    }
    for bad in ["x tenant", "x-*", "x-a,,x-b"] {
        assert!(headers(bad).is_err(), "{bad}");
    }

    let host = |value: &str| set("TENTERHOOK_POLICY_DEFAULT_HOST", value);
    assert!(host(&"h".repeat(253)).is_ok());
    assert!(host(&"h".repeat(254)).is_err());
    assert!(host("").is_err());
}

#[test]
fn e5_the_service_key_differs_from_all_other_keys_of_meta() {
    const NAME: &str = "TENTERHOOK_POLICY_V1_SERVICE_KEY";
    let set = |value: &str| load(Settings::default(), &environment(&[(NAME, value)])).map(|_| ());
    for good in ["service_name", "Webhook_ID", "retry", &"k".repeat(253)] {
        assert!(set(good).is_ok(), "{good}");
    }
    assert!(set(&"k".repeat(254)).is_err() && set("").is_err());
    for key in V1_META_KEYS {
        for given in [key.to_owned(), format!(" {key} ")] {
            let said = problems(&environment(&[(NAME, &given)]));
            let why = "but must not be another key of `meta` in payloads of version 1";
            assert_eq!(said, [format!("{NAME} is {given:?}, {why}")]);
        }
    }
}

#[test]
fn contradictions_name_both_settings() {
    let simulated = ("TENTERHOOK_CLOCK", "simulated");
    type Case<'a> = (&'a [(&'a str, &'a str)], [&'a str; 2]);
    let cases: [Case; 15] = [
        (
            &[("TENTERHOOK_API_RATE_PER_TOKEN", "1001")],
            ["api.rate_per_token", "api.rate_per_company"],
        ),
        (
            &[simulated, ("TENTERHOOK_LISTEN", "0.0.0.0:8080")],
            ["clock", "listen"],
        ),
        (
            &[("TENTERHOOK_JWT_SECRET_FILE", "a"), ("TENTERHOOK_JWKS", "b")],
            ["jwt_secret_file", "jwks"],
        ),
        (
            &[("TENTERHOOK_NOTICE_URL", "https://platform.example/notices")],
            ["notice_url", "notice_secret_file"],
        ),
        (
            &[("TENTERHOOK_NOTICE_SECRET_FILE", "a")],
            ["notice_url", "notice_secret_file"],
        ),
        (
            &[
                ("TENTERHOOK_NOTICE_URL", "https://user@platform.example/notices"),
                ("TENTERHOOK_NOTICE_SECRET_FILE", "a"),
            ],
            ["TENTERHOOK_NOTICE_URL", "credentials"],
        ),
        (
            &[
                ("TENTERHOOK_LEASE", "30s"),
                ("TENTERHOOK_POLICY_ATTEMPT_TIMEOUT", "10001ms"),
            ],
            ["policy.attempt_timeout", "lease"],
        ),
        (
            &[
                ("TENTERHOOK_JWT_SECRET_FILE", "a"),
                ("TENTERHOOK_JWT_SECRET", "b"),
            ],
            ["jwt_secret ", "jwt_secret_file"],
        ),
        (
            &[
                ("TENTERHOOK_SEALING_KEY_FILE", "a"),
                ("TENTERHOOK_SEALING_KEY", "b"),
            ],
            ["sealing_key ", "sealing_key_file"],
        ),
        (
            &[
                ("TENTERHOOK_IN_FLIGHT", "4"),
                ("TENTERHOOK_IN_FLIGHT_PER_WEBHOOK", "5"),
            ],
            ["in_flight_per_webhook", "in_flight"],
        ),
        (
            &[("TENTERHOOK_IN_FLIGHT_PER_HOST", "7")],
            ["in_flight_per_webhook", "in_flight_per_host"],
        ),
        (
            &[
                ("TENTERHOOK_POLICY_RESPONSE_EXCERPT", "1KiB"),
                ("TENTERHOOK_POLICY_SUCCESS_EXCERPT", "1025"),
            ],
            ["policy.success_excerpt", "policy.response_excerpt"],
        ),
        (
            &[
                ("TENTERHOOK_POLICY_IDEMPOTENCY_WINDOW", "25h"),
                ("TENTERHOOK_POLICY_HISTORY_RETENTION", "1d"),
            ],
            ["policy.idempotency_window", "policy.history_retention"],
        ),
        (
            &[("TENTERHOOK_POLICY_REMOVAL_WARNINGS", "1h,1h,2h")],
            ["policy.removal_warnings", "ascend"],
        ),
        (
            &[("TENTERHOOK_POLICY_REMOVAL_WINDOW", "71h")],
            ["policy.removal_warnings", "policy.removal_window"],
        ),
    ];
    for (variables, names) in cases {
        let said = problems(&environment(variables));
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(names.iter().all(|name| said[0].contains(name)), "{said:?}");
    }
    for fine in [
        vec![simulated, ("TENTERHOOK_LISTEN", "[::1]:0")],
        vec![("TENTERHOOK_IN_FLIGHT", "8")],
        vec![("TENTERHOOK_POLICY_SUCCESS_EXCERPT", "16KiB")],
        vec![("TENTERHOOK_POLICY_HISTORY_RETENTION", "1d")],
        vec![("TENTERHOOK_POLICY_REMOVAL_WINDOW", "PT71H0.001S")],
    ] {
        assert!(load(Settings::default(), &environment(&fine)).is_ok(), "{fine:?}");
    }
}
