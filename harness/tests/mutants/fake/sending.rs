//! One attempt: the fake renders, signs and sends it, and records its end.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use tenterhook_harness::realtime;
use tokio::net::{TcpStream, UdpSocket};

use super::state::{Ending, Event, Flight, Hook, State};
use super::view::time;
use super::{Bend, Fake};

/// Time after which the next address of a name is tried.
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// Size from which the bend treats a body as long, in bytes.
const LONG: usize = 64 * 1024;

impl Fake {
    /// Sends the next attempt of a delivery.
    pub fn send(self: &Arc<Self>, state: &mut State, place: usize) {
        let delivery = &state.deliveries[place];
        let (hook, event) = (&state.hooks[delivery.hook], &state.events[delivery.event]);
        let number = delivery.number;
        let shown = if state.bends(Bend::AttemptStaysAtOne) {
            1
        } else {
            number
        };
        let mut id = event.id.clone();
        if state.bends(Bend::EventIdDiffersByAttempt) {
            id = format!("{id}-{number}");
        }
        let body = if hook.v1 {
            v1(hook, event, shown, state.bend)
        } else {
            v2(hook, event, &id, shown, state.bend)
        }
        .to_string();
        let signed = if state.bends(Bend::SignsAnotherBody) {
            "{}"
        } else {
            &body
        };
        let stamp = state.now.as_second();
        let mut mac = Hmac::<Sha256>::new_from_slice(&hook.secret).expect("HMAC takes a key of any length");
        mac.update(format!("{id}.{stamp}.{signed}").as_bytes());
        let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        let url = if state.bends(Bend::RetriesGoToTheOldUrl) {
            delivery.url.clone()
        } else {
            hook.url.clone()
        };
        let mut request = self
            .client
            .post(&url)
            .header("content-type", "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", stamp.to_string())
            .header("webhook-signature", signature)
            .header("tenterhook-webhook", hook.number.to_string())
            .header("tenterhook-attempt", shown.to_string())
            .body(body);
        let leaves_out = |user: &str| match state.bend {
            Some(Bend::NoCredentialsOnRetries) => number > 1,
            Some(Bend::EmptyUserSendsNoCredentials) => user.is_empty(),
            _ => false,
        };
        if let Some(user) = hook.auth_user.as_str()
            && !leaves_out(user)
        {
            request = request.basic_auth(user, hook.auth_password.as_str());
        }
        let (bend, fake) = (state.bend, Arc::clone(self));
        let named = named_host(&url);
        if named.is_some() {
            state.names.asked(state.now);
        }
        let looking_up = Arc::new(AtomicBool::new(named.is_some()));
        let looked_up = Arc::clone(&looking_up);
        let flight = Flight {
            name: (id, hook.number.to_string(), shown),
            target: target(&url),
            started: state.now,
            deadline: state.now + state.numbers.timeout,
            looking_up,
            work: realtime::spawn(async move {
                let mut request = request;
                if let Some((host, port)) = named {
                    let found = lookup(&host, fake.names).await;
                    {
                        let mut state = fake.lock();
                        let now = state.now;
                        state.names.answered(now);
                    }
                    looked_up.store(false, Ordering::SeqCst);
                    let reached = match reach(&found, port, bend).await {
                        Some(address) => through(request, bend, &host, address),
                        None => None,
                    };
                    request = match reached {
                        Some(request) => request,
                        None => return fake.landed(place, number, &Ending::failed("DNS")),
                    };
                }
                if bend == Some(Bend::SendsTwice)
                    && let Some(again) = request.try_clone()
                {
                    // The attempt is judged by the second response.
                    let _ = again.send().await;
                }
                let ending = exchange(request, bend).await;
                fake.landed(place, number, &ending);
            }),
        };
        state.flights.insert(place, flight);
    }
}

/// The client that makes the requests. Like a server's, it keeps no connections and accepts unusual headers (D1).
pub fn client(bend: Option<Bend>) -> reqwest::ClientBuilder {
    let redirects = match bend {
        Some(Bend::FollowsRedirects) => reqwest::redirect::Policy::limited(5),
        _ => reqwest::redirect::Policy::none(),
    };
    reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .pool_max_idle_per_host(0)
        .redirect(redirects)
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_ignore_invalid_headers_in_responses(true)
}

/// Host and port of a URL whose host is a name.
fn named_host(url: &str) -> Option<(String, u16)> {
    let url = reqwest::Url::parse(url).ok()?;
    let host = url.host_str()?;
    let named = host.trim_matches(['[', ']']).parse::<IpAddr>().is_err();
    named.then(|| (host.to_owned(), url.port_or_known_default().unwrap_or(0)))
}

/// Looks up the IPv4 addresses of a name. Waits for the answer without a limit.
async fn lookup(host: &str, server: SocketAddr) -> Vec<IpAddr> {
    let mut query = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in host.split('.') {
        query.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    let mut answer = [0; 512];
    let ask = async {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        socket.send_to(&query, server).await?;
        socket.recv(&mut answer).await
    };
    let Ok(length) = ask.await else {
        return Vec::new();
    };
    // The harness's name server writes records in this form: the full name, ten bytes that end with the length 4, the
    // address.
    let record = query[12..query.len() - 4].len() + 10;
    let records = answer[query.len().min(length)..length].chunks_exact(record + 4);
    records
        .filter_map(|bytes| <[u8; 4]>::try_from(&bytes[record..]).ok())
        .map(IpAddr::from)
        .collect()
}

/// The first of these addresses that accepts a connection (D2).
async fn reach(addresses: &[IpAddr], port: u16, bend: Option<Bend>) -> Option<SocketAddr> {
    let most = if bend == Some(Bend::TriesEightAddresses) {
        8
    } else {
        usize::MAX
    };
    for address in addresses.iter().take(most) {
        let address = SocketAddr::from((*address, port));
        if let Some(Ok(_)) = realtime::within(NEXT_ADDRESS, TcpStream::connect(address)).await {
            return Some(address);
        }
    }
    let first = addresses.first().filter(|_| addresses.len() <= most);
    first.map(|address| (*address, port).into())
}

/// The request, sent to this address of its host.
fn through(
    request: reqwest::RequestBuilder,
    bend: Option<Bend>,
    host: &str,
    address: SocketAddr,
) -> Option<reqwest::RequestBuilder> {
    let client = client(bend).resolve(host, address).build().ok()?;
    let request = request.build().ok()?;
    Some(reqwest::RequestBuilder::from_parts(client, request))
}

/// Host and port of a URL.
fn target(url: &str) -> String {
    let url = reqwest::Url::parse(url).ok();
    let part = |url: reqwest::Url| Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?));
    url.and_then(part).unwrap_or_default()
}

async fn exchange(request: reqwest::RequestBuilder, bend: Option<Bend>) -> Ending {
    let again = request
        .try_clone()
        .filter(|_| bend == Some(Bend::ResendsAfterAClose));
    let mut sent = request.send().await;
    if let Some(again) = again
        && sent.as_ref().is_err_and(|error| !error.is_connect())
    {
        sent = again.send().await;
    }
    let mut answer = match sent {
        Ok(answer) => answer,
        Err(error) if bend == Some(Bend::GarbageIsASuccess) && !error.is_connect() => {
            return Ending {
                status: Some(200),
                class: None,
                retry_after: None,
            };
        }
        Err(error) => return Ending::failed(if error.is_connect() { "CONNECT" } else { "RESET" }),
    };
    let status = Some(answer.status().as_u16());
    let header = answer
        .headers()
        .get("retry-after")
        .and_then(|value| value.to_str().ok());
    let retry_after = header
        .and_then(|text| text.parse().ok())
        .map(SignedDuration::from_secs);
    if bend == Some(Bend::LongBodyFails) {
        let mut read = 0;
        while let Ok(Some(chunk)) = answer.chunk().await {
            read += chunk.len();
            if read > LONG {
                return Ending::failed("PROTOCOL");
            }
        }
    }
    Ending {
        status,
        class: None,
        retry_after,
    }
}

/// The body in version 2 (E4).
fn v2(hook: &Hook, event: &Event, id: &str, attempt: u8, bend: Option<Bend>) -> Value {
    let input = &event.input;
    let (action, _) = event.actions;
    let last = &input["previous"];
    let (data, previous) = match action {
        "create" if bend == Some(Bend::EveryChangeHasBothStates) => (input["data"].clone(), json!({})),
        "delete" if bend == Some(Bend::EveryChangeHasBothStates) => (json!({}), last.clone()),
        "create" => (input["data"].clone(), Value::Null),
        "delete" => (Value::Null, last.clone()),
        _ if bend == Some(Bend::PreviousIsWhole) => (input["data"].clone(), last.clone()),
        _ if bend == Some(Bend::NestedPreviousIsWhole) => {
            (input["data"].clone(), changed(last, &input["data"], &[]))
        }
        _ => (
            input["data"].clone(),
            changed(last, &input["data"], &["custom_fields"]),
        ),
    };
    let mut meta = json!({
        "action": action, "entity": input["object"], "company_id": input["companyId"],
        "correlation_id": event.correlation, "entity_id": input["objectId"], "id": id,
        "is_bulk_edit": input["isBulkEdit"].as_bool().unwrap_or(false), "timestamp": time(occurred(event)),
        "type": type_of(hook), "user_id": input["userId"],
        "version": "2.0", "webhook_id": hook.number.to_string(), "webhook_owner_id": hook.owner,
        "change_source": source(input), "attempt": attempt, "host": host(input),
    });
    if input["object"] != "user" || bend == Some(Bend::UsersSayWhoSeesThem) {
        let everyone = || json!(["*"]);
        let named = input["permittedUserIds"].as_array();
        meta["permitted_user_ids"] = named.map_or_else(everyone, |ids| json!(ids));
    }
    if let Some((key, other)) = &event.merge {
        meta[*key] = json!(other);
    }
    json!({"meta": meta, "data": data, "previous": previous})
}

/// The body in version 1 (E5).
fn v1(hook: &Hook, event: &Event, attempt: u8, bend: Option<Bend>) -> Value {
    let input = &event.input;
    let object_id = if bend == Some(Bend::IdsAreStringsInVersion1) {
        input["objectId"].clone()
    } else {
        number(&input["objectId"])
    };
    let (_, action) = event.actions;
    let object = input["object"].as_str().unwrap_or_default();
    let permitted = match input["permittedUserIds"].as_array() {
        Some(ids) => ids.iter().map(number).collect(),
        None if bend == Some(Bend::EveryoneIsAStarInVersion1) => vec![json!("*")],
        None => Vec::new(),
    };
    let mut body = json!({
        "v": 1, "matches_filters": null,
        "meta": {
            "v": 1, "type": type_of(hook), "action": action, "object": object, "id": object_id,
            "company_id": number(&input["companyId"]), "user_id": number(&input["userId"]), "host": host(input),
            "timestamp": occurred(event).as_second(), "timestamp_micro": occurred(event).as_microsecond(),
            "permitted_user_ids": permitted,
            "trans_pending": false, "is_bulk_update": input["isBulkEdit"].as_bool().unwrap_or(false),
            "pipedrive_service_name": false, "matches_filters": null, "change_source": source(input),
            "webhook_id": hook.number,
        },
        "retry": attempt - 1, "event": format!("{action}.{object}"),
        "current": if action == "deleted" { &Value::Null } else { &input["data"] },
        "previous": if action == "added" { &Value::Null } else { &input["previous"] },
    });
    if bend == Some(Bend::NoTypeInVersion1)
        && let Some(meta) = body["meta"].as_object_mut()
    {
        meta.remove("type");
    }
    body
}

fn type_of(hook: &Hook) -> &'static str {
    if hook.app.is_some() {
        "application"
    } else {
        "general"
    }
}

/// The previous values of the fields that have changed; null for fields that did not exist. The fields in `nested` are
/// compared one level deeper. If one side is not an object, the whole previous value.
fn changed(last: &Value, data: &Value, nested: &[&str]) -> Value {
    let (Some(last), Some(data)) = (last.as_object(), data.as_object()) else {
        return last.clone();
    };
    let mut changes = Map::new();
    for name in last.keys().chain(data.keys()) {
        let change = match (last.get(name), data.get(name)) {
            (last, data) if last == data => continue,
            (Some(last), Some(data)) if nested.contains(&name.as_str()) => changed(last, data, &[]),
            (last, _) => last.cloned().unwrap_or_default(),
        };
        changes.insert(name.clone(), change);
    }
    Value::Object(changes)
}

fn occurred(event: &Event) -> Timestamp {
    let given = event.input["occurredAt"]
        .as_str()
        .and_then(|text| text.parse().ok());
    given.unwrap_or(event.accepted)
}

fn source(input: &Value) -> &'static str {
    if input["changeSource"] == "API" {
        "api"
    } else {
        "app"
    }
}

fn host(input: &Value) -> &str {
    input["host"].as_str().unwrap_or("fake.example")
}

/// In version 1 decimal ids are numbers.
fn number(id: &Value) -> Value {
    let decimal = |text: &&str| !text.starts_with('0');
    let number = id
        .as_str()
        .filter(decimal)
        .and_then(|text| text.parse::<u64>().ok());
    number.map_or_else(|| id.clone(), Value::from)
}
