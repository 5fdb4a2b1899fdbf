//! What opens, what does not, and the format that must never change.

use proptest::prelude::*;

use super::*;
use crate::policy::samples;

/// The credentials `aladdin`, `open sesame`, as the first release sealed them.
const FROZEN: &str =
    "AY3A7UVS9Gc2Yjj9Zw4jBLFULHAoff3LXKz1qPrm57+Y9QQTjkrsCcD1TjiEIlzmjuAONs6E+eqrmo42tqeccCnL50P+Eg==";
const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1F";

fn key() -> SealingKey {
    SealingKey::parse(HEX).unwrap()
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
    let bytes = hex(HEX).unwrap();
    for text in [
        HEX.to_owned(),
        format!(" {}\n", HEX.to_uppercase()),
        format!("{}\r\n", BASE64_STANDARD.encode(&bytes)),
        BASE64_STANDARD_NO_PAD.encode(&bytes),
    ] {
        assert_eq!(
            SealingKey::parse(&text).unwrap().0.expose_secret()[..],
            bytes[..],
            "{text:?}"
        );
    }
}

#[test]
fn what_is_no_key_is_refused() {
    let long = format!("{HEX}00");
    for text in [
        "",
        "secret",
        &HEX[..62],
        &HEX[..63],
        &long,
        &HEX.replace("0f", "0g"),
        &BASE64_STANDARD.encode([1; 31]),
    ] {
        assert_eq!(SealingKey::parse(text).err(), Some(InvalidKey::Form), "{text:?}");
    }
    for weak in [
        &"00".repeat(32),
        &"ff".repeat(32),
        &BASE64_STANDARD.encode([b'a'; 32]),
    ] {
        assert_eq!(SealingKey::parse(weak).err(), Some(InvalidKey::Weak), "{weak:?}");
    }
}

/// Rows are stored in this format: a release that cannot open this has lost everybody's secrets.
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
    let other = SealingKey::parse(&HEX.replace("00", "99")).unwrap();
    assert_eq!(
        other.open_secret(webhook(), &sealed).err(),
        Some(OpenError::OtherKey)
    );
}

#[test]
fn a_later_format_is_told_from_damage() {
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
fn w11_an_absent_password_is_not_an_empty_one_but_is_sent_as_one() {
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
fn w11_the_key_does_not_show_in_debug_output() {
    assert_eq!(format!("{:?}", key()), "SealingKey");
}

proptest! {
    #[test]
    fn w11_credentials_come_back_as_they_were(user: String, password: Option<String>) {
        let auth = auth(&user, password.as_deref());
        let opened = key().open_auth(webhook(), &key().seal_auth(webhook(), &auth)).unwrap();
        prop_assert_eq!(plain(&opened), (user, password));
    }

    #[test]
    fn no_changed_bit_and_no_missing_byte_goes_unnoticed(bit in 0..8_u32, at: prop::sample::Index, cut: prop::sample::Index) {
        let sealed = key().seal_secret(webhook(), &SigningSecret::generate());
        let mut changed = sealed.clone();
        changed.0[at.index(sealed.0.len())] ^= 1_u8 << bit;
        prop_assert!(key().open_secret(webhook(), &changed).is_err());
        let mut shorter = sealed.clone();
        shorter.0.truncate(cut.index(sealed.0.len()));
        prop_assert!(key().open_secret(webhook(), &shorter).is_err());
    }
}
