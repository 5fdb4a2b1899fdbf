//! The form in which HTTP basic credentials are sealed: user and password as a JSON array.

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use tenterhook_model::secret::BasicAuth;

pub(super) fn to_bytes(auth: &BasicAuth) -> Zeroizing<Vec<u8>> {
    let password = auth.password.as_ref().map(|password| password.expose_secret());
    Zeroizing::new(serde_json::to_vec(&(&auth.user, password)).expect("two strings have a JSON form"))
}

pub(super) fn from_bytes(bytes: &[u8]) -> Option<BasicAuth> {
    let (user, password): (String, Option<String>) = serde_json::from_slice(bytes).ok()?;
    Some(BasicAuth {
        user,
        password: password.map(SecretString::from),
    })
}
