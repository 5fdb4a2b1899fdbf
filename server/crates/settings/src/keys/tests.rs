//! Which files and secrets are accepted, and which are created.

use std::fs::Permissions;

use rstest::rstest;

use super::*;

/// A secret of the minimum length.
const SHORTEST: &str = "a0b1c2d3e4f5a6b7c8d9e0f1a2b3c4d5";

/// A file that only its owner can access.
fn file(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("secret");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

fn secret(keys: &Keys) -> &str {
    match &keys.tokens {
        TokenKeys::Secret(secret) => secret.expose_secret(),
        TokenKeys::Jwks(_) => panic!("a secret was expected"),
    }
}

#[test]
fn development_keys_are_made_once_and_only_we_can_read_them() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("new/folder");
    let first = Keys::load_or_make(&Settings::development(), &data_dir).unwrap();
    let second = Keys::load_or_make(&Settings::development(), &data_dir).unwrap();
    assert_eq!(secret(&first), secret(&second));
    assert_eq!(first.sealing.expose_secret(), second.sealing.expose_secret());
    assert_ne!(secret(&first), first.sealing.expose_secret());
    let mut names: Vec<_> = fs::read_dir(&data_dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, [JWT_KEY, SEALING_KEY]);
    for name in names {
        let mode = fs::metadata(data_dir.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn a_key_that_is_set_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = file(folder.path(), &format!("  {SHORTEST}\n"));
    let data_dir = folder.path().join("data");
    let settings = Settings {
        jwt_secret_file: Some(file),
        ..Settings::development()
    };
    let keys = Keys::load_or_make(&settings, &data_dir).unwrap();
    assert_eq!(secret(&keys), SHORTEST);
    assert!(!data_dir.join(JWT_KEY).exists());
    assert!(data_dir.join(SEALING_KEY).exists());
}

#[test]
fn a_secret_has_at_least_32_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), &format!("{}\n", &SHORTEST[..SHORTEST_SECRET - 1]));
    let error = token_secret_in(&path).unwrap_err();
    assert!(matches!(error, KeyError::TooShort { length: 31, .. }), "{error}");
    file(folder.path(), SHORTEST);
    assert!(token_secret_in(&path).is_ok());
    assert!(matches!(
        token_secret_in(&folder.path().join("none")),
        Err(KeyError::File { doing: "read", .. })
    ));
}

#[test]
fn a_secret_that_can_be_guessed_is_refused() {
    for (secret, taken) in [
        (SHORTEST, true),
        ("abcdefghabcdefghabcdefghhgfedcba", true),
        ("abcdefgabcdefgabcdefgabcdefggfedcba", false),
        ("@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_", false),
        (&"s".repeat(SHORTEST_SECRET), false),
        (&"change-me!".repeat(4), false),
    ] {
        let settings = Settings {
            jwt_secret: Some(secret.into()),
            ..Settings::default()
        };
        match token_secret(&settings) {
            Ok(_) => assert!(taken, "{secret}"),
            Err(error) => {
                assert!(!taken && matches!(error, KeyError::Weak { .. }), "{error}");
                let told = error.to_string();
                assert!(
                    told.contains("TENTERHOOK_JWT_SECRET") && !told.contains(secret),
                    "{told}"
                );
            }
        }
    }
}

#[rstest]
#[case(0o600, true)]
#[case(0o640, true)]
#[case(0o644, false)]
#[case(0o602, false)]
fn a_file_that_everybody_can_get_at_is_refused(#[case] mode: u32, #[case] taken: bool) {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), SHORTEST);
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for path in [&path, &link] {
        match read(path) {
            Ok(_) => assert!(taken),
            Err(error) => assert!(!taken && matches!(error, KeyError::Open { .. }), "{error}"),
        }
    }
}

#[test]
fn a_file_is_no_larger_than_a_key_needs() {
    let folder = tempfile::tempdir().unwrap();
    let largest = usize::try_from(LARGEST_FILE).unwrap();
    let path = file(folder.path(), &"k".repeat(largest));
    assert_eq!(read(&path).unwrap().expose_secret().len(), largest);
    file(folder.path(), &"k".repeat(largest + 1));
    assert!(matches!(read(&path), Err(KeyError::TooLarge { .. })));
}

#[test]
fn keys_in_the_settings_need_no_file() {
    let settings = Settings {
        jwt_secret: Some(SHORTEST.into()),
        sealing_key: Some("sealing".into()),
        ..Settings::default()
    };
    let keys = Keys::load(&settings).unwrap();
    assert_eq!(secret(&keys), SHORTEST);
    assert_eq!(keys.sealing.expose_secret(), "sealing");
    let folder = tempfile::tempdir().unwrap();
    Keys::load_or_make(&settings, folder.path()).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn production_makes_no_keys() {
    let missing = Keys::load(&Settings::default()).unwrap_err().to_string();
    assert_eq!(missing, "TENTERHOOK_JWT_SECRET_FILE is not set");
}

#[test]
fn the_secrets_of_notices_come_from_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notices");
    let settings = Settings {
        notice_secret_file: Some(file.clone()),
        ..Settings::development()
    };
    let load = || Keys::load_or_make(&settings, folder.path());
    assert!(matches!(load(), Err(KeyError::File { doing: "read", .. })));
    fs::write(&file, "one\n\ntwo\n").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(load(), Err(KeyError::Open { .. })));
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let keys = load().unwrap();
    assert_eq!(keys.notices.as_ref().unwrap().expose_secret(), "one\n\ntwo");
    assert!(!format!("{keys:?}").contains("two"));
}

#[test]
fn debug_output_shows_no_secret() {
    let keys = Keys::random();
    let shown = format!("{keys:?}");
    assert!(
        !shown.contains(secret(&keys)) && !shown.contains(keys.sealing.expose_secret()),
        "{shown}"
    );
}
