//! Which values open, which do not, and the format, which must never change.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use proptest::prelude::*;
use secrecy::{ExposeSecret, SecretString};

use super::key::{LEAST_VARIETY, hex};
use super::*;
use crate::samples;

/// The credentials `aladdin`, `open sesame`, as sealed by the first release.
const FROZEN: &str =
    "AY3A7UVS9Gc2Yjj9Zw4jBLFULHAoff3LXKz1qPrm57+Y9QQTjkrsCcD1TjiEIlzmjuAONs6E+eqrmo42tqeccCnL50P+Eg==";
const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1F";

/// Random, like an operator's keys.
const OLD: &str = "8f3c1b9e5d7204a6e1c8437b90fa2d56be04d8137ca9f2605e81b4c7392d6fa0";
const NEW: &str = "27d1e09a4cb85f36f0a7c2e8196db3440e9b5a71c683df12ab94e0573c8f2d6b";

/// A keyring with only the key of [`HEX`]. No operator may have this key, because it counts up.
fn key() -> Keyring {
    let bytes = hex(HEX).unwrap().try_into().unwrap();
    let key = SealingKey::of(bytes);
    Keyring {
        keys: vec![(key.id(), key)],
    }
}

fn ring(keys: &[&str]) -> Keyring {
    Keyring::parse(&keys.join("\n")).unwrap()
}

fn webhook() -> WebhookId {
    samples::webhook().id
}

fn auth(user: &str, password: Option<&str>) -> BasicAuth {
    BasicAuth {
        user: user.to_owned(),
        password: password.map(SecretString::from),
    }
}

fn plain(auth: &BasicAuth) -> (String, Option<String>) {
    (
        auth.user.clone(),
        auth.password
            .as_ref()
            .map(|password| password.expose_secret().to_owned()),
    )
}

#[test]
fn a_key_file_may_be_hexadecimal_or_base64_and_end_in_a_newline() {
    let bytes = hex(OLD).unwrap();
    let ids = |text: &str| Keyring::parse(text).unwrap().ids().collect::<Vec<_>>();
    for text in [
        format!(" {}\n", OLD.to_uppercase()),
        format!("{}\r\n", BASE64_STANDARD.encode(&bytes)),
        BASE64_STANDARD_NO_PAD.encode(&bytes),
    ] {
        assert_eq!(ids(&text), ids(OLD), "{text:?}");
    }
    for both in [
        format!("{OLD}\n\n{NEW}\n"),
        format!("{OLD},{NEW}"),
        format!("{OLD} {NEW}"),
    ] {
        assert_eq!(ids(&both), [ids(OLD), ids(NEW)].concat());
    }
}

#[test]
fn invalid_keys_are_refused() {
    let long = format!("{OLD}00");
    for text in [
        "secret",
        &OLD[..62],
        &OLD[..63],
        &long,
        &OLD.replace("0f", "0g"),
        &BASE64_STANDARD.encode([1; 31]),
    ] {
        assert_eq!(Keyring::parse(text).err(), Some(InvalidKey::Form), "{text:?}");
    }
    for nothing in ["", " \n,"] {
        assert_eq!(Keyring::parse(nothing).err(), Some(InvalidKey::None));
    }
    assert_eq!(
        Keyring::parse(&format!("{OLD}\n{NEW}\n{}", OLD.to_uppercase())).err(),
        Some(InvalidKey::Twice)
    );
}

#[test]
fn keys_that_can_be_guessed_are_refused() {
    for weak in [
        HEX,
        &"00".repeat(32),
        &"ff".repeat(32),
        &"5ea1".repeat(16),
        &OLD[..32].repeat(2),
        &BASE64_STANDARD.encode([b'a'; 32]),
        &BASE64_STANDARD.encode(b"correct horse battery staple 123"),
    ] {
        assert_eq!(Keyring::parse(weak).err(), Some(InvalidKey::Weak), "{weak:?}");
    }
}

#[test]
fn a_key_has_at_least_sixteen_different_bytes() {
    let with = |variety: usize| {
        let different: Vec<u8> = (0..variety as u8).map(|n| n.wrapping_mul(89) ^ 0x80).collect();
        let bytes: Vec<u8> = (0..32).map(|n| different[(n + n / variety) % variety]).collect();
        BASE64_STANDARD.encode(bytes)
    };
    assert_eq!(
        Keyring::parse(&with(LEAST_VARIETY - 1)).err(),
        Some(InvalidKey::Weak)
    );
    assert!(Keyring::parse(&with(LEAST_VARIETY)).is_ok());
}

#[test]
fn a_keyring_has_at_most_eight_keys() {
    let digits = |n: usize| format!("{n:x}{}", &OLD[1..]);
    let keys = |count: usize| (1..=count).map(digits).collect::<Vec<_>>().join("\n");
    assert_eq!(Keyring::parse(&keys(MOST_KEYS)).unwrap().ids().count(), MOST_KEYS);
    assert_eq!(
        Keyring::parse(&keys(MOST_KEYS + 1)).err(),
        Some(InvalidKey::TooMany)
    );
}

/// How a key is replaced: both keys open, the first seals, and when all values are resealed the old one can be removed.
#[test]
fn the_first_key_seals_and_all_open() {
    let secret = SigningSecret::generate();
    let sealed = ring(&[OLD]).seal_secret(webhook(), &secret);
    let both = ring(&[NEW, OLD]);
    assert_eq!(
        both.open_secret(webhook(), &sealed).unwrap().bytes(),
        secret.bytes()
    );
    let old = ring(&[OLD]).ids().next().unwrap();
    assert_eq!(
        ring(&[NEW]).open_secret(webhook(), &sealed).err(),
        Some(OpenError::OtherKey(old))
    );
    let anew = both
        .reseal(webhook(), Field::SigningSecret, &sealed)
        .unwrap()
        .unwrap();
    assert_eq!(anew.0[..PREFIX_LENGTH], both.prefix());
    assert_eq!(
        ring(&[NEW]).open_secret(webhook(), &anew).unwrap().bytes(),
        secret.bytes()
    );
    assert_eq!(both.reseal(webhook(), Field::SigningSecret, &anew), Ok(None));
    assert_eq!(
        both.reseal(webhook(), Field::BasicAuth, &sealed).err(),
        Some(OpenError::Damaged)
    );
}

#[test]
fn a_sealed_value_has_the_id_of_its_key() {
    let keyring = ring(&[OLD]);
    let sealed = keyring.seal_auth(webhook(), &auth("aladdin", None));
    assert_eq!(key_of(&sealed.0), Ok(keyring.ids().next().unwrap()));
    assert_eq!(key_of(&sealed.0[..PREFIX_LENGTH]), key_of(&sealed.0));
    assert_eq!(key_of(&sealed.0[..PREFIX_LENGTH - 1]), Err(OpenError::Damaged));
    assert_eq!(key_of(&[]), Err(OpenError::Damaged));
    assert_eq!(key_of(b"\x02abcd"), Err(OpenError::Format));
}

/// Rows are stored in this format: with a release that cannot open it, all secrets are lost.
#[test]
fn the_format_is_frozen() {
    let sealed = Sealed(BASE64_STANDARD.decode(FROZEN).unwrap());
    let opened = key().open_auth(webhook(), &sealed).unwrap();
    assert_eq!(
        plain(&opened),
        ("aladdin".to_owned(), Some("open sesame".to_owned()))
    );
}

#[test]
fn a_sealed_value_opens_only_for_its_webhook_as_its_field_with_its_key() {
    let secret = SigningSecret::generate();
    let sealed = key().seal_secret(webhook(), &secret);
    assert_eq!(
        key().open_secret(webhook(), &sealed).unwrap().bytes(),
        secret.bytes()
    );
    let other = WebhookId(uuid::Uuid::nil());
    assert_eq!(key().open_secret(other, &sealed).err(), Some(OpenError::Damaged));
    assert_eq!(
        key().open_auth(webhook(), &sealed).err(),
        Some(OpenError::Damaged)
    );
    let counted = key().ids().next().unwrap();
    assert_eq!(
        ring(&[OLD]).open_secret(webhook(), &sealed).err(),
        Some(OpenError::OtherKey(counted))
    );
}

#[test]
fn an_unknown_format_is_distinguished_from_damage() {
    let mut sealed = key().seal_auth(webhook(), &auth("aladdin", None));
    sealed.0[0] = 2;
    assert_eq!(key().open_auth(webhook(), &sealed).err(), Some(OpenError::Format));
    assert_eq!(
        key().open_auth(webhook(), &Sealed(vec![])).err(),
        Some(OpenError::Damaged)
    );
}

#[test]
fn sealing_twice_gives_different_bytes() {
    let auth = auth("aladdin", Some("open sesame"));
    assert_ne!(
        key().seal_auth(webhook(), &auth),
        key().seal_auth(webhook(), &auth)
    );
}

#[test]
fn w11_an_absent_password_is_kept_but_sent_as_an_empty_one() {
    for (password, header) in [
        (None, "Basic YTo="),
        (Some(""), "Basic YTo="),
        (Some("b"), "Basic YTpi"),
    ] {
        let auth = auth("a", password);
        let opened = key()
            .open_auth(webhook(), &key().seal_auth(webhook(), &auth))
            .unwrap();
        assert_eq!(plain(&opened), plain(&auth));
        assert_eq!(opened.header(), header);
    }
}

#[test]
fn w11_debug_output_shows_only_the_ids_of_keys() {
    let shown = format!("{:?}", ring(&[OLD, NEW]));
    assert!(
        !shown.to_lowercase().contains(&OLD[..8]) && !shown.contains(&NEW[..8]),
        "{shown}"
    );
    assert_eq!(shown.matches("KeyId").count(), 2);
}

proptest! {
    #[test]
    fn w11_credentials_come_back_as_they_were(user: String, password: Option<String>) {
        let auth = auth(&user, password.as_deref());
        let opened = key().open_auth(webhook(), &key().seal_auth(webhook(), &auth)).unwrap();
        prop_assert_eq!(plain(&opened), (user, password));
    }

    #[test]
    fn changed_bits_and_missing_bytes_are_detected(bit in 0..8_u32, at: prop::sample::Index, cut: prop::sample::Index) {
        let sealed = key().seal_secret(webhook(), &SigningSecret::generate());
        let mut changed = sealed.clone();
        changed.0[at.index(sealed.0.len())] ^= 1_u8 << bit;
        prop_assert!(key().open_secret(webhook(), &changed).is_err());
        let mut shorter = sealed.clone();
        shorter.0.truncate(cut.index(sealed.0.len()));
        prop_assert!(key().open_secret(webhook(), &shorter).is_err());
    }
}

#[test]
fn a_fingerprint_matches_one_value_and_needs_its_key() {
    let (old, both) = (ring(&[OLD]), ring(&[NEW, OLD]));
    let print = old.fingerprint(b"secret");
    assert_eq!(print, old.fingerprint(b"secret"));
    for ring in [&old, &both] {
        assert_eq!(ring.is_of(&print, b"secret"), Ok(true));
        assert_eq!(ring.is_of(&print, b"secres"), Ok(false));
        assert_eq!(ring.is_of(&print[..20], b"secret"), Ok(false));
    }
    assert_ne!(both.fingerprint(b"secret"), print);
    assert_eq!(
        ring(&[NEW]).is_of(&print, b"secret"),
        Err(OpenError::OtherKey(old.ids().next().unwrap()))
    );
    assert_eq!(old.is_of(b"", b"secret"), Err(OpenError::Damaged));
    assert!(!print.windows(6).any(|bytes| bytes == b"secret"));
}
