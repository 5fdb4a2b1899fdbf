//! Removes credentials from what a receiver returns (W11): many receivers repeat the request in their response.
//!
//! Guarantees: neither the password nor the value of the `authorization` header is recorded as it was sent, not even where
//! an excerpt was cut in the middle of it. Not found: credentials that the receiver has encoded in another way, and those
//! shorter than [`SHORTEST`], which would match anywhere.

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use super::sealing::BasicAuth;
use tenterhook_model::attempt::Outcome;

/// The minimum length in bytes of a text that is searched for.
pub const SHORTEST: usize = HIDDEN.len();
/// Recorded instead. It is no longer than the text that it replaces, so that no limit is exceeded.
const HIDDEN: &str = "[hidden]";

/// Removes the credentials from everything that the receiver sent.
pub fn hide(auth: &BasicAuth, outcome: &mut Outcome) {
    let header = Zeroizing::new(auth.header());
    let encoded = header.trim_start_matches("Basic ");
    let password = auth.password.as_ref().map(SecretString::expose_secret);
    // The encoded header never contains the password as text, so the order does not matter.
    let secrets = [Some(encoded), password].into_iter().flatten();
    let secrets: Vec<&str> = secrets.filter(|secret| secret.len() >= SHORTEST).collect();
    for (name, value) in &mut outcome.response_headers {
        *name = hidden(name, &secrets, false);
        *value = hidden(value, &secrets, false);
    }
    let truncated = outcome.response_truncated;
    for text in [&mut outcome.response_body, &mut outcome.error_message] {
        *text = text.take().map(|text| hidden(&text, &secrets, truncated));
    }
}

fn hidden(text: &str, secrets: &[&str], truncated: bool) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        text = text.replace(secret, HIDDEN);
        let begins = |length: &usize| secret.is_char_boundary(*length) && text.ends_with(&secret[..*length]);
        let cut = (SHORTEST..secret.len()).rev().find(begins);
        if let Some(length) = cut.filter(|_| truncated) {
            text.truncate(text.len() - length);
            text.push_str(HIDDEN);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenterhook_model::attempt::Timings;

    const PASSWORD: &str = "öpen-sesame";

    fn auth(password: &str) -> BasicAuth {
        BasicAuth {
            user: "aladdin".to_owned(),
            password: Some(password.into()),
        }
    }

    fn said(header: &str, body: &str, truncated: bool) -> Outcome {
        Outcome {
            status: Some(200),
            error_class: None,
            error_message: None,
            timings: Timings::default(),
            response_headers: vec![("x-echo".to_owned(), header.to_owned())],
            response_body: Some(body.to_owned()),
            response_truncated: truncated,
        }
    }

    #[test]
    fn w11_credentials_repeated_in_a_response_are_hidden() {
        let auth = auth(PASSWORD);
        let header = auth.header();
        let body = format!("{{\"authorization\":\"{header}\",\"password\":\"{PASSWORD}\",\"n\":1}}");
        let mut outcome = said(&header, &body, false);
        hide(&auth, &mut outcome);
        assert_eq!(outcome.response_headers[0].1, "Basic [hidden]");
        assert_eq!(
            outcome.response_body.unwrap(),
            "{\"authorization\":\"Basic [hidden]\",\"password\":\"[hidden]\",\"n\":1}"
        );
    }

    #[test]
    fn w11_credentials_cut_off_at_the_end_of_an_excerpt_are_hidden() {
        let auth = auth(PASSWORD);
        for length in (0..=PASSWORD.len()).filter(|length| PASSWORD.is_char_boundary(*length)) {
            let body = format!("it is {}", &PASSWORD[..length]);
            let mut outcome = said("", &body, true);
            hide(&auth, &mut outcome);
            let kept = outcome.response_body.unwrap();
            let expected = if length >= SHORTEST {
                "it is [hidden]"
            } else {
                body.as_str()
            };
            assert_eq!(kept, expected, "{length}");
            assert!(kept.len() <= body.len());
        }
        // A complete body is not cut in the middle of anything.
        let body = format!("it is {}", &PASSWORD[..SHORTEST]);
        let mut outcome = said("", &body, false);
        hide(&auth, &mut outcome);
        assert_eq!(outcome.response_body.unwrap(), body);
    }

    #[test]
    fn passwords_shorter_than_eight_bytes_are_not_hidden() {
        for (password, kept) in [("1234567", "say 1234567"), ("12345678", "say [hidden]")] {
            let mut outcome = said("", &format!("say {password}"), false);
            hide(&auth(password), &mut outcome);
            assert_eq!(outcome.response_body.unwrap(), kept);
        }
    }
}
