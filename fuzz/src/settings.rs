//! The settings file, with arbitrary text.
//!
//! Properties: Nothing panics. Every problem has a line, and none shows a secret of the file. Accepted settings do not
//! contradict each other. Their printed form is accepted again with the same values, except for secrets.

use std::path::Path;

use tenterhook_settings::Settings;
use tenterhook_settings::sources::{Loaded, Sources, load};
use tenterhook_settings::table::TABLE;

const SECRET: &str = "hunter2hunter2";

/// Loads the text after a line with a secret.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let text = format!("database_url = '{SECRET}'\n{text}");
    let once = text.matches(SECRET).count() == 1;
    let sources = Sources {
        file: Some((Path::new("t.toml"), &text)),
        ..Sources::default()
    };
    match load(Settings::default(), &sources) {
        Err(error) => {
            assert!(!error.0.is_empty() && error.0.iter().all(|line| !line.is_empty()));
            assert!(!once || !error.to_string().contains(SECRET), "{error}");
        }
        Ok(loaded) => taken(&loaded),
    }
}

fn taken(
    Loaded {
        settings,
        origins,
        service_links,
        retired,
    }: &Loaded,
) {
    assert!(retired.iter().all(|line| line.contains("is retired")));
    assert!(service_links.is_empty(), "a file has no variables");
    assert_eq!(settings.contradictions(), Vec::<String>::new());
    assert!(!format!("{settings:?}").contains(SECRET));
    let shown = TABLE.iter().filter(|entry| !entry.is_secret());
    let environment = shown.map(|entry| (entry.variable().into(), entry.value(settings).into()));
    let sources = Sources {
        environment: environment.collect(),
        ..Sources::default()
    };
    let again = load(Settings::default(), &sources).expect("what is shown can be read back");
    for entry in TABLE.iter().filter(|entry| !entry.is_secret()) {
        assert_eq!(
            entry.value(&again.settings),
            entry.value(settings),
            "{}",
            entry.key
        );
    }
    assert!(
        origins
            .keys()
            .all(|key| TABLE.iter().any(|entry| entry.key == *key))
    );
}
