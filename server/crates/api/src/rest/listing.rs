//! The list of webhooks: oldest first, at most 500 at once. The rest of a longer list is read with `start` and `limit`.

use serde_json::json;
use url::form_urlencoded;

use super::RestCaller;
use super::answer::{Answer, Faults};
use super::shown::Shown;
use crate::context::Ask;
use crate::types::enums::WebhookType;
use crate::types::webhook::Webhook;
use crate::types::webhook::queries::{WebhookFilter, query};
use tenterhook_model::ids::WebhookKey;
use tenterhook_store::health::history;
use tenterhook_store::webhook_list;

/// Most webhooks in a response, and how many there are by default.
pub const MOST: u16 = 500;
/// Most webhooks before the first one of a response.
pub const FARTHEST: u32 = i32::MAX as u32;

/// Which webhooks to list.
#[derive(Debug, PartialEq, Eq)]
struct Parameters {
    start: u32,
    limit: u16,
    /// Whether the caller has asked for a page. Then the response says where the next one begins.
    is_paged: bool,
    kind: Kind,
}

/// A filter by type.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    All,
    Only(WebhookType),
    /// Pipedrive has this third type. Tenterhook has no webhooks of it.
    Automation,
}

/// The webhooks that the caller may see.
pub async fn list(caller: &RestCaller, parameters: &str) -> Result<Answer, Answer> {
    caller.session().reader()?;
    let Parameters {
        start,
        limit,
        is_paged,
        kind,
    } = Parameters::read(parameters)?;
    let kind = match kind {
        Kind::All => None,
        Kind::Only(kind) => Some(kind),
        Kind::Automation => return Ok(Answer::listed(&[], is_paged.then(|| page(start, limit, None)))),
    };
    let query = query(caller, kind, WebhookFilter::default())?;
    let mut conn = caller.services().store.conn().await?;
    let (found, has_more) = webhook_list::page_from(&mut conn, &query, start, limit).await?;
    let keys: Vec<WebhookKey> = found
        .iter()
        .map(|(webhook, _)| (webhook.lane, webhook.id))
        .collect();
    let mut past = history::read(&mut conn, &keys, caller.cutoffs().history).await?;
    drop(conn);
    let shown: Vec<Shown> = found
        .into_iter()
        .map(|state| {
            let past = past.remove(&state.0.id).unwrap_or_default();
            Shown::new(caller, &Webhook::new(caller, state), &past)
        })
        .collect::<Result<_, _>>()?;
    let next = has_more.then(|| start.saturating_add(shown.len().try_into().unwrap_or(u32::MAX)));
    let is_paged = is_paged || has_more;
    Ok(Answer::listed(&shown, is_paged.then(|| page(start, limit, next))))
}

fn page(start: u32, limit: u16, next: Option<u32>) -> serde_json::Value {
    json!({
        "start": start,
        "limit": limit,
        "more_items_in_collection": next.is_some(),
        "next_start": next,
    })
}

impl Parameters {
    /// Reads the parameters of a query string. Unknown ones are ignored.
    fn read(query: &str) -> Result<Self, Answer> {
        let mut read = Self {
            start: 0,
            limit: MOST,
            is_paged: false,
            kind: Kind::All,
        };
        let mut faults = Faults::default();
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let known = ["start", "limit", "type"].contains(&&*name);
            if known && seen.iter().any(|before| *before == name) {
                faults.add(&name, "is given twice");
                continue;
            }
            match &*name {
                "start" => match number(&value).filter(|start| *start <= FARTHEST) {
                    Some(start) => read.start = start,
                    None => faults.add("start", format!("must be a whole number from 0 to {FARTHEST}")),
                },
                "limit" => match number(&value).filter(|limit| (1..=u32::from(MOST)).contains(limit)) {
                    Some(limit) => read.limit = limit.try_into().unwrap_or(MOST),
                    None => faults.add("limit", format!("must be a whole number from 1 to {MOST}")),
                },
                "type" => match &*value {
                    "general" => read.kind = Kind::Only(WebhookType::General),
                    "application" => read.kind = Kind::Only(WebhookType::Application),
                    "automation" => read.kind = Kind::Automation,
                    _ => faults.add("type", "must be general, application or automation"),
                },
                _ => continue,
            }
            read.is_paged |= name != "type";
            seen.push(name.into_owned());
        }
        if faults.is_empty() {
            Ok(read)
        } else {
            Err(faults.into())
        }
    }
}

/// A number of digits only.
fn number(text: &str) -> Option<u32> {
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_within_their_bounds() {
        let read = |query| Parameters::read(query).expect("it is read");
        let all = Parameters {
            start: 0,
            limit: MOST,
            is_paged: false,
            kind: Kind::All,
        };
        for query in ["", "api_token=x&other=1&other=2"] {
            assert_eq!(read(query), all);
        }
        assert_eq!(
            read("start=0&limit=500&type=application"),
            Parameters {
                is_paged: true,
                kind: Kind::Only(WebhookType::Application),
                ..all
            }
        );
        assert_eq!(read("start=2147483647&limit=1").start, FARTHEST);
        assert_eq!(read("type=automation").kind, Kind::Automation);
    }

    #[test]
    fn parameters_out_of_bounds_are_refused_by_name() {
        for (query, name) in [
            ("limit=0", "limit"),
            ("limit=501", "limit"),
            ("limit=+1", "limit"),
            ("limit=", "limit"),
            ("start=-1", "start"),
            ("start=2147483648", "start"),
            ("start=1&start=1", "start"),
            ("type=GENERAL", "type"),
        ] {
            let found = Parameters::read(query).expect_err("it is refused").errors();
            assert!(found.starts_with(&format!("{{\"{name}\":[")), "{query}: {found}");
        }
    }
}
