//! A fake server: the contract's core in memory, driven by the reference model, with at most one changed rule.
//!
//! It implements the core of the documented API (webhooks, publishing, apps, users, REST, `/sim/…`, `/metrics`) and sends
//! real requests to receivers, so that scenarios judge it like a server. It does not check addresses, and keeps no log
//! of headers and bodies. A restart only drops what a bend loses in it.

mod bend;
mod caller;
mod document;
mod http;
mod json;
mod live;
mod platform;
mod queue;
mod rest;
mod sending;
mod state;
mod view;
mod webhooks;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};
use tenterhook_harness::dns_server::NameServer;
use tenterhook_harness::realtime;
use tenterhook_harness::token::TokenKey;
use tenterhook_harness::world::{AppSees, Restart};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

pub use self::bend::Bend;
use self::caller::Caller;
use self::document::Refused;
use self::state::State;

/// The initial time of every fake.
const BEGINNING: Timestamp = Timestamp::constant(1_770_112_800, 0);

/// The key of the tokens that every fake accepts.
pub fn key() -> TokenKey {
    TokenKey {
        secret: "of servers that exist only for a test".to_owned(),
        issuer: "harness".to_owned(),
        audience: "harness".to_owned(),
    }
}

pub struct Fake {
    state: Mutex<State>,
    /// Notified whenever an attempt ends or is stalled.
    changed: Notify,
    /// Locked while time moves.
    moving: tokio::sync::Mutex<()>,
    client: reqwest::Client,
    names: SocketAddr,
}

/// A fake that is listening. Dropping it stops it.
pub struct Running {
    pub url: String,
    /// The name server that it asks for the hosts of webhooks.
    pub names: Arc<NameServer>,
    fake: Arc<Fake>,
    work: JoinHandle<()>,
}

impl Running {
    /// Starts a fake on a free port. Its apps see this much (W4).
    pub async fn start(bend: Option<Bend>, app_sees: AppSees) -> anyhow::Result<Self> {
        // Fails only if another provider is installed, which works as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let names = Arc::new(NameServer::start().await);
        let fake = Arc::new(Fake {
            state: Mutex::new(State {
                bend,
                numbers: Bend::numbers(bend),
                app_sees,
                now: BEGINNING,
                hooks: Vec::new(),
                events: Vec::new(),
                deliveries: Vec::new(),
                flights: HashMap::new(),
                stalled: HashSet::new(),
                stalled_targets: HashSet::new(),
                apps: BTreeMap::new(),
                installed: HashSet::new(),
                users: HashSet::new(),
                gone: HashSet::new(),
                keys: HashMap::new(),
                names: Default::default(),
                spoilt: 0,
            }),
            changed: Notify::new(),
            moving: tokio::sync::Mutex::default(),
            client: sending::client(bend).build()?,
            names: names.address(),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let serve = axum::serve(listener, http::router(fake.clone()));
        // An error here also fails the scenario that uses the fake.
        let work = realtime::spawn(async move { drop(serve.await) });
        Ok(Self {
            url,
            names,
            fake,
            work,
        })
    }

    /// A restart, as far as a caller can tell.
    pub fn restart(&self) -> Restart {
        let fake = Arc::clone(&self.fake);
        Restart::by(move || {
            fake.lock().restart();
            Box::pin(async { Ok(()) })
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.work.abort();
    }
}

impl Fake {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves a root field, with all its fields.
    fn resolve(self: &Arc<Self>, caller: &Caller, field: &str, arguments: &Value) -> Result<Value, Refused> {
        let mut state = self.lock();
        if state
            .gone
            .contains(&(caller.company.clone(), caller.user.clone()))
        {
            return Err(Refused::new("UNAUTHENTICATED", "the user was removed"));
        }
        state.users.insert((caller.company.clone(), caller.user.clone()));
        let caller = &caller.with_bent_scopes(state.bend);
        let input = &arguments["input"];
        match field {
            "viewer" => {
                Ok(json!({"userId": caller.user, "companyId": caller.company, "scopes": caller.scopes}))
            }
            "webhook" => state.read_webhook(caller, &arguments["id"]),
            "webhooks" => state.list_webhooks(caller, arguments),
            "webhookQuota" => state.quota(caller, arguments),
            "createWebhook" => state.create_webhook(caller, input),
            "updateWebhook" | "deleteWebhook" | "pauseWebhook" | "resumeWebhook" | "restoreWebhook" => {
                state.change_webhook(caller, field, input)
            }
            "publishEvents" => {
                let published = state.publish(caller, input);
                self.pump(&mut state);
                published
            }
            "registerApp" | "removeApp" | "installApp" | "uninstallApp" | "upsertUsers" | "removeUser" => {
                state.keep_users_and_apps(caller, field, input)
            }
            _ => Err(Refused::new(
                "GRAPHQL_VALIDATION_FAILED",
                format!("there is no field {field}"),
            )),
        }
    }
}
