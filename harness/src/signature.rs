//! Standard Webhooks signatures (E7), checked as a receiver would, and independently of the server.
//!
//! The scheme is that of <https://www.standardwebhooks.com>: `v1` is HMAC-SHA256 over `id.timestamp.body`, any of
//! several signatures may match, and a timestamp more than five minutes from the given clock is refused. This module
//! does not sign.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use sha2::Sha256;

/// Largest difference between a request's timestamp and the receiver's clock.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// A signing secret, written `whsec_` and base64.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl FromStr for Secret {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let encoded = text
            .strip_prefix("whsec_")
            .ok_or_else(|| anyhow::anyhow!("a signing secret starts with `whsec_`"))?;
        Ok(Self(STANDARD.decode(encoded)?))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

/// A receiver's verdict on a request's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// One of the signatures is right.
    Valid,
    /// The receiver knows no secret of this webhook, and cannot tell.
    NoSecret,
    /// The request must be refused for this reason.
    Invalid(Flaw),
}

/// Why a signature is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// A header is absent.
    Missing(&'static str),
    /// `webhook-timestamp` is not a whole number of seconds.
    Timestamp(String),
    /// `webhook-timestamp` differs from the receiver's clock by this span.
    Stale(SignedDuration),
    /// None of the `v1` signatures is right: another secret, or a changed request.
    Mismatch,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Valid => f.write_str("valid"),
            Self::NoSecret => f.write_str("not checked, because no secret is given"),
            Self::Invalid(Flaw::Missing(header)) => write!(f, "INVALID: no {header} header"),
            Self::Invalid(Flaw::Timestamp(text)) => {
                write!(
                    f,
                    "INVALID: webhook-timestamp {text:?} is not a number of seconds"
                )
            }
            Self::Invalid(Flaw::Stale(by)) => {
                let by = SignedDuration::from_secs(by.as_secs());
                write!(f, "INVALID: webhook-timestamp is off by {by:#}")
            }
            Self::Invalid(Flaw::Mismatch) => f.write_str(
                "INVALID: no signature matches; the secret is another, or the request was changed",
            ),
        }
    }
}

/// The signed parts of a request.
pub struct Signed<'a> {
    /// `webhook-id`.
    pub id: Option<&'a str>,
    /// `webhook-timestamp`.
    pub timestamp: Option<&'a str>,
    /// `webhook-signature`.
    pub signature: Option<&'a str>,
    /// The body as received.
    pub body: &'a [u8],
}

impl Signed<'_> {
    /// Checks whether one of `secrets` signed this request, when the receiver's clock shows `now`.
    pub fn verify(&self, secrets: &[Secret], now: Timestamp) -> Verdict {
        match self.flaw(secrets, now) {
            None => Verdict::Valid,
            Some(flaw) => Verdict::Invalid(flaw),
        }
    }

    fn flaw(&self, secrets: &[Secret], now: Timestamp) -> Option<Flaw> {
        let Some(id) = self.id else {
            return Some(Flaw::Missing("webhook-id"));
        };
        let Some(stamp) = self.timestamp else {
            return Some(Flaw::Missing("webhook-timestamp"));
        };
        let Some(signatures) = self.signature else {
            return Some(Flaw::Missing("webhook-signature"));
        };
        let sent = stamp
            .parse()
            .ok()
            .and_then(|seconds| Timestamp::from_second(seconds).ok());
        let Some(sent) = sent else {
            return Some(Flaw::Timestamp(stamp.to_owned()));
        };
        let off = now.duration_since(sent).abs();
        if off > TOLERANCE {
            return Some(Flaw::Stale(off));
        }
        let content = [id.as_bytes(), b".", stamp.as_bytes(), b".", self.body].concat();
        let matches = |signature: &str| {
            let Some(Ok(tag)) = signature.strip_prefix("v1,").map(|s| STANDARD.decode(s)) else {
                return false;
            };
            secrets.iter().any(|secret| {
                let mut mac =
                    Hmac::<Sha256>::new_from_slice(&secret.0).expect("HMAC takes a key of any length");
                mac.update(&content);
                mac.verify_slice(&tag).is_ok()
            })
        };
        if signatures.split(' ').any(matches) {
            None
        } else {
            Some(Flaw::Mismatch)
        }
    }
}

/// The secrets that a receiver knows, by webhook number. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Keyring(Arc<Mutex<Secrets>>);

#[derive(Debug, Default)]
struct Secrets {
    by_webhook: HashMap<String, Vec<Secret>>,
    of_any: Vec<Secret>,
}

impl Keyring {
    /// Accepts signatures by `secret` from the webhook with this number.
    pub fn add(&self, webhook_number: &str, secret: Secret) {
        self.lock()
            .by_webhook
            .entry(webhook_number.to_owned())
            .or_default()
            .push(secret);
    }

    /// Accepts signatures by `secret` from any webhook.
    pub fn add_for_all(&self, secret: Secret) {
        self.lock().of_any.push(secret);
    }

    /// The verdict on a request whose header says that it comes from `webhook_number`.
    pub fn judge(&self, webhook_number: Option<&str>, request: &Signed<'_>, now: Timestamp) -> Verdict {
        let secrets = self.lock();
        let mut known = secrets.of_any.clone();
        known.extend(
            webhook_number
                .and_then(|n| secrets.by_webhook.get(n))
                .into_iter()
                .flatten()
                .cloned(),
        );
        if known.is_empty() {
            Verdict::NoSecret
        } else {
            request.verify(&known, now)
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Secrets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const TAG: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    /// The published test vector of the Standard Webhooks libraries.
    fn vector() -> Signed<'static> {
        Signed {
            id: Some("msg_p5jXN8AQM9LWM0D4loKWxJek"),
            timestamp: Some("1614265330"),
            signature: Some(TAG),
            body: BODY,
        }
    }

    fn secret() -> Secret {
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_published_vector_is_valid_for_five_minutes_either_way() {
        for second in [1_614_265_330, 1_614_265_330 - 300, 1_614_265_330 + 300] {
            assert_eq!(vector().verify(&[secret()], at(second)), Verdict::Valid);
        }
        for second in [1_614_265_330 - 301, 1_614_265_330 + 301] {
            let by = SignedDuration::from_secs(301);
            assert_eq!(
                vector().verify(&[secret()], at(second)),
                Verdict::Invalid(Flaw::Stale(by))
            );
        }
    }

    #[test]
    fn any_of_several_signatures_may_match() {
        let both = format!("v1,AAAA v1a,AAAA {TAG}");
        let request = Signed {
            signature: Some(&both),
            ..vector()
        };
        assert_eq!(request.verify(&[secret()], at(1_614_265_330)), Verdict::Valid);
    }

    #[test]
    fn any_change_makes_the_signature_invalid() {
        let other: Secret = "whsec_AAAA".parse().unwrap();
        let now = at(1_614_265_330);
        assert_eq!(vector().verify(&[other], now), Verdict::Invalid(Flaw::Mismatch));
        for changed in [
            Signed {
                id: Some("msg_2"),
                ..vector()
            },
            Signed {
                timestamp: Some("1614265331"),
                ..vector()
            },
            Signed {
                body: b"{}",
                ..vector()
            },
            Signed {
                signature: Some("v1,g0hM9SsE"),
                ..vector()
            },
        ] {
            assert_eq!(changed.verify(&[secret()], now), Verdict::Invalid(Flaw::Mismatch));
        }
        let unsigned = Signed {
            signature: None,
            ..vector()
        };
        assert_eq!(
            unsigned.verify(&[secret()], now),
            Verdict::Invalid(Flaw::Missing("webhook-signature"))
        );
        let timeless = Signed {
            timestamp: Some("yesterday"),
            ..vector()
        };
        let flaw = Flaw::Timestamp("yesterday".to_owned());
        assert_eq!(timeless.verify(&[secret()], now), Verdict::Invalid(flaw));
    }

    #[test]
    fn a_webhook_whose_secret_is_unknown_is_not_judged() {
        let keyring = Keyring::default();
        let now = at(1_614_265_330);
        assert_eq!(keyring.judge(Some("1"), &vector(), now), Verdict::NoSecret);
        keyring.add("1", secret());
        assert_eq!(keyring.judge(Some("1"), &vector(), now), Verdict::Valid);
        assert_eq!(keyring.judge(Some("2"), &vector(), now), Verdict::NoSecret);
    }
}
