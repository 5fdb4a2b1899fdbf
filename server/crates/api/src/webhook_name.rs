//! How a caller names a webhook: by its global id, or by the number that payloads carry.
//!
//! Only this module reads such a text. A text is never both: a number has only digits, and a global id begins with a letter.
//! A number is looked up in the caller's company; an operator has none, so its numbers are looked up in all of them. Whether
//! the caller may see the webhook is decided afterwards, in the same way for both.

use crate::context::Services;
use crate::error::Result;
use crate::global_id::GlobalId;
use tenterhook_model::access::Caller;
use tenterhook_model::ids::{WebhookKey, WebhookNumber};
use tenterhook_store::webhooks::number;

/// A webhook's name. It is not known whether the webhook exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookName {
    /// Read from its global id.
    Key(WebhookKey),
    /// The number that payloads carry.
    Number(WebhookNumber),
}

impl WebhookName {
    /// Reads a name; `None` if the text is neither an id nor a number.
    pub fn parse(text: &str) -> Option<Self> {
        match text.parse() {
            Ok(number) => Some(Self::Number(number)),
            Err(_) => GlobalId::webhook(text).map(Self::Key),
        }
    }

    /// The webhook's key; `None` for a number that no webhook of the caller's company has.
    pub async fn key(self, services: &Services, caller: &Caller) -> Result<Option<WebhookKey>> {
        let number = match self {
            Self::Key(key) => return Ok(Some(key)),
            Self::Number(number) => number,
        };
        let company = match caller {
            Caller::User(user) => Some(user.company),
            Caller::Platform | Caller::Operator => None,
        };
        Ok(number::key(&mut *services.store.conn().await?, number, company).await?)
    }
}

/// The key of the webhook that this text names; `None` if it names none.
pub async fn key_of(services: &Services, caller: &Caller, text: &str) -> Result<Option<WebhookKey>> {
    match WebhookName::parse(text) {
        Some(name) => name.key(services, caller).await,
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use tenterhook_model::ids::{Lane, MAX_DECIMAL_ID, WebhookId};

    #[test]
    fn no_text_is_both_an_id_and_a_number() {
        for lane in Lane::all() {
            let key = (lane, WebhookId::new(Timestamp::UNIX_EPOCH));
            let id = GlobalId::Webhook(key.0, key.1).to_id();
            assert_eq!(WebhookName::parse(&id), Some(WebhookName::Key(key)));
            assert!(
                id.starts_with(|first: char| first.is_ascii_alphabetic()),
                "{}",
                *id
            );
        }
        // Of the length of an id too, which base64 would read.
        for number in ["1", "17", "9007199254740991", "123456789012345678901234"] {
            assert_eq!(GlobalId::parse(number), None, "{number}");
        }
        let largest = WebhookNumber::new(MAX_DECIMAL_ID).unwrap();
        let named = WebhookName::parse(&MAX_DECIMAL_ID.to_string());
        assert_eq!(named, Some(WebhookName::Number(largest)));
        for neither in ["", "0", "017", "+17", "-1", " 17", "1.0", "9007199254740992", "x"] {
            assert_eq!(WebhookName::parse(neither), None, "{neither:?}");
        }
    }
}
