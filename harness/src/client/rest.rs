//! Creating, listing and deleting webhooks through the REST routes, written from `docs/rest.md`.
//!
//! Guarantees:
//!
//! - The results have the types of the GraphQL client, so that a scenario judges both APIs alike.
//! - Every value that REST returns is the value that the scenario judges. An operator reads through GraphQL only what REST does
//!   not return: the global id, the app, the time of the last change, whether there is a password, and the removed webhook after
//!   a deletion.
//! - A response with another status, header, key or form than the documentation says is a [`Refusal::Rest`] that stands for no
//!   code, which breaks a scenario.
//! - The calls take turns in the two paths and in the places of the token.

mod refusal;
mod webhook;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

pub use self::refusal::RestRefusal;
use super::raw::Exchange;
use super::webhook::WEBHOOK;
use super::{Client, Created, NewWebhook, Refusal, Webhook, WebhookList};

/// The paths of the list. A webhook's path has its number after it.
const PATHS: [&str; 2] = ["/v1/webhooks", "/api/v1/webhooks"];
/// The header that every response has.
const LINK: &str = "</graphql>; rel=\"service\"";
/// The media type of every response.
const JSON: &str = "application/json";

/// A place of the token in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TokenPlace {
    Authorization,
    Header,
    Query,
}

/// The places that every server accepts, and then the one that an operator must allow.
const PLACES: [TokenPlace; 3] = [TokenPlace::Authorization, TokenPlace::Header, TokenPlace::Query];

/// What clients of a world need to call the REST routes. Clones count their calls together.
#[derive(Clone)]
pub struct RestAccess {
    /// The token with which an operator reads what REST does not return.
    operator: String,
    places: &'static [TokenPlace],
    calls: Arc<AtomicUsize>,
}

impl RestAccess {
    /// Access with an operator token. `in_query` says whether the server accepts tokens in query strings.
    pub fn new(operator: String, in_query: bool) -> Self {
        Self {
            operator,
            places: if in_query { &PLACES } else { &PLACES[..2] },
            calls: Arc::default(),
        }
    }

    /// Number of requests to the REST routes.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Counts a call. Returns its path and the place of its token.
    fn next(&self) -> (&'static str, TokenPlace) {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let (path, place) = (call % PATHS.len(), call / PATHS.len() % self.places.len());
        (PATHS[path], self.places[place])
    }
}

impl WebhookList {
    /// The company to which REST's list has to be reduced, if any. `None` if the list has a filter that REST does not offer.
    pub(super) fn rest_company(&self) -> Option<Option<&str>> {
        let Some(filter) = &self.filter else {
            return Some(None);
        };
        let fields = filter.as_object()?;
        let company = fields.get("companyId")?.as_str()?;
        (fields.len() == 1).then_some(Some(company))
    }
}

impl Client {
    /// Creates a webhook through REST.
    pub(super) async fn create_by_rest(
        &self,
        rest: &RestAccess,
        new: &NewWebhook,
    ) -> Result<Created, Refusal> {
        let exchange = self
            .ask_rest(rest, "POST", "", &[], Some(webhook::body(new)))
            .await?;
        let body = refusal::accepted(&exchange, 201)?;
        let data = &body["data"];
        let secret = body["additional_data"]["signing_secret"]
            .as_str()
            .unwrap_or_default();
        let whole = json!({
            "status": "ok", "success": true, "data": data, "additional_data": {"signing_secret": secret},
        });
        refusal::exactly(&exchange, &body, &whole)?;
        let known = self.by_operator(rest, &data["id"].to_string()).await?;
        let known = known.context("no webhook has the id");
        let read = known.and_then(|known| webhook::read(data, &known));
        Ok(Created {
            webhook: read.map_err(|error| RestRefusal::breach(&exchange, &error))?,
            signing_secret: secret.to_owned(),
        })
    }

    /// The webhooks that the caller sees through REST, of this company if one is given. Newest first, as in GraphQL.
    pub(super) async fn list_by_rest(
        &self,
        rest: &RestAccess,
        kind: Option<&str>,
        company: Option<&str>,
    ) -> Result<Vec<Webhook>, Refusal> {
        let mut webhooks = Vec::new();
        let mut next = Some(0);
        while let Some(start) = next {
            let mut query: Vec<(&str, String)> = Vec::new();
            if let Some(kind) = kind {
                query.push(("type", kind.to_lowercase()));
            }
            if start > 0 {
                query.push(("start", start.to_string()));
            }
            let exchange = self.ask_rest(rest, "GET", "", &query, None).await?;
            let body = refusal::accepted(&exchange, 200)?;
            let shown = page(&exchange, &body, start)?;
            next = body
                .pointer("/additional_data/pagination/next_start")
                .and_then(Value::as_u64);
            let is_of = |data: &Value, id: &str| id.parse::<u64>().is_ok_and(|id| data["company_id"] == id);
            let is_wanted = |data: &&Value| company.is_none_or(|id| is_of(data, id));
            let wanted: Vec<&Value> = shown.iter().filter(is_wanted).collect();
            let known = self.known(rest, &wanted).await?;
            for data in wanted {
                let known = known.get(&data["id"].to_string());
                let read = known.context("an id of a webhook that nobody created");
                let read = read.and_then(|known| webhook::read(data, known));
                webhooks.push(read.map_err(|error| RestRefusal::breach(&exchange, &error))?);
            }
        }
        webhooks.reverse();
        Ok(webhooks)
    }

    /// Deletes a webhook through REST. Returns it as removed.
    pub(super) async fn delete_by_rest(&self, rest: &RestAccess, id: &str) -> Result<Webhook, Refusal> {
        let known = self.by_operator(rest, id).await?;
        let number = known.map_or_else(|| id.to_owned(), |webhook| webhook.number);
        let exchange = self
            .ask_rest(rest, "DELETE", &format!("/{number}"), &[], None)
            .await?;
        let body = refusal::accepted(&exchange, 200)?;
        refusal::exactly(&exchange, &body, &json!({"status": "ok", "success": true}))?;
        let removed = self.by_operator(rest, id).await?;
        let removed = removed.filter(|webhook| webhook.removed_at.is_some());
        let removed = removed.context("the webhook is not removed");
        removed.map_err(|error| RestRefusal::breach(&exchange, &error))
    }

    /// A webhook as an operator reads it through GraphQL, by its global id or its number.
    async fn by_operator(&self, rest: &RestAccess, id: &str) -> Result<Option<Webhook>, Refusal> {
        self.operator(rest).webhook(id).await
    }

    /// The webhooks of the companies of these ones, by number, as an operator reads them through GraphQL.
    async fn known(&self, rest: &RestAccess, shown: &[&Value]) -> Result<BTreeMap<String, Webhook>, Refusal> {
        let companies: BTreeSet<String> = shown.iter().map(|data| data["company_id"].to_string()).collect();
        let mut known = BTreeMap::new();
        for company in companies {
            let list = WebhookList {
                kind: None,
                filter: Some(json!({"companyId": company, "includeRemoved": true})),
            };
            let webhooks = self.operator(rest).list::<Webhook>(list, WEBHOOK).await?;
            known.extend(
                webhooks
                    .into_iter()
                    .map(|webhook| (webhook.number.clone(), webhook)),
            );
        }
        Ok(known)
    }

    fn operator(&self, rest: &RestAccess) -> Self {
        Self {
            rest: None,
            ..self.with_token(Some(rest.operator.clone()))
        }
    }

    /// Sends a request to a REST route with the caller's token, if it has one.
    async fn ask_rest(
        &self,
        rest: &RestAccess,
        method: &str,
        rest_of_path: &str,
        query: &[(&str, String)],
        body: Option<Value>,
    ) -> Result<Exchange, Refusal> {
        let (path, place) = rest.next();
        let mut headers = Vec::new();
        let mut query = query.to_vec();
        if let Some(token) = &self.token {
            match place {
                TokenPlace::Authorization => {
                    headers.push(("authorization".to_owned(), format!("Bearer {token}")));
                }
                TokenPlace::Header => headers.push(("x-api-token".to_owned(), token.clone())),
                TokenPlace::Query => query.push(("api_token", token.clone())),
            }
        }
        if body.is_some() {
            headers.push(("content-type".to_owned(), JSON.to_owned()));
        }
        // Tokens, numbers and the names of types need no escapes.
        let pairs: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mark = if pairs.is_empty() { "" } else { "?" };
        let path = format!("{path}{rest_of_path}{mark}{}", pairs.join("&"));
        let body = body.map(|body| body.to_string());
        Ok(self.exchange(method, &path, &headers, body).await?)
    }
}

/// The webhooks of a page that begins at `start`, oldest first. `additional_data` must say where the next page begins.
fn page<'b>(exchange: &Exchange, body: &'b Value, start: u64) -> Result<&'b [Value], Refusal> {
    let read = || {
        let shown = body["data"].as_array().context("`data` is not a list")?;
        let times: Vec<&str> = shown
            .iter()
            .filter_map(|data| data["add_time"].as_str())
            .collect();
        ensure!(times.is_sorted(), "the oldest is not first");
        let mut whole = json!({"status": "ok", "success": true, "data": shown});
        if let Some(given) = body.get("additional_data") {
            let limit = given["pagination"]["limit"].as_u64().context("no limit")?;
            let more = given["pagination"]["more_items_in_collection"] == true;
            let next = start + u64::try_from(shown.len())?;
            ensure!(!more || next > start, "there is more, but this page is empty");
            let next = more.then_some(next);
            whole["additional_data"] = json!({"pagination": {
                "start": start, "limit": limit, "more_items_in_collection": more, "next_start": next,
            }});
        }
        ensure!(*body == whole, "not of the form {whole}");
        Ok(shown.as_slice())
    };
    read().map_err(|error: anyhow::Error| RestRefusal::breach(exchange, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_use_each_path_with_each_place_of_the_token() {
        for (in_query, places) in [(false, 2), (true, 3)] {
            let rest = RestAccess::new(String::new(), in_query);
            let used: BTreeSet<String> = (0..PATHS.len() * places)
                .map(|_| format!("{:?}", rest.next()))
                .collect();
            assert_eq!(used.len(), PATHS.len() * places, "{used:?}");
            assert_eq!(used.iter().any(|call| call.contains("Query")), in_query);
            assert_eq!(rest.calls(), PATHS.len() * places);
        }
    }

    #[test]
    fn only_filters_that_rest_offers_go_through_rest() {
        let company = |filter: Option<Value>| {
            let list = WebhookList { kind: None, filter };
            list.rest_company().map(|company| company.map(str::to_owned))
        };
        assert_eq!(company(None), Some(None));
        assert_eq!(
            company(Some(json!({"companyId": "7"}))),
            Some(Some("7".to_owned()))
        );
        assert_eq!(company(Some(json!({"includeRemoved": true}))), None);
        assert_eq!(
            company(Some(json!({"companyId": "7", "includeRemoved": true}))),
            None
        );
    }
}
