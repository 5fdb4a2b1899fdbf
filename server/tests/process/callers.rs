//! Fixtures of the process tests: settings, callers, receivers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use tempfile::TempDir;
use tenterhook_harness::client::{Client, Delivery, NewEvent, NewWebhook};
use tenterhook_harness::keys::{self, SEALING_KEY};
use tenterhook_harness::realtime;
use tenterhook_harness::receiver::Receiver;
use tenterhook_harness::reply::Script;
use tenterhook_harness::signature::Keyring;
use tenterhook_harness::timekeeper::RealTime;
use tenterhook_harness::token::{Claims, TokenKey};
use tenterhook_harness::wire::{Behaviour, Listen, WireReceiver};
use tenterhook_harness::world::Tally;
use tenterhook_lab::process::{Process, Program};

pub const SECRET: &str = "the secret of the process tests, long enough";
pub const PASSWORD: &str = "a password that no log may show";

pub fn program() -> Program {
    Program::new(env!("CARGO_BIN_EXE_tenterhook")).setting("TENTERHOOK_LOG", "tenterhook=trace,info")
}

/// A folder that the user who runs Postgres can read too.
pub fn folder() -> TempDir {
    let open = fs::Permissions::from_mode(0o711);
    tempfile::Builder::new()
        .permissions(open)
        .tempdir()
        .expect("a temporary folder can be made")
}

/// A development server on a data folder.
pub fn development(data: &Path) -> Program {
    program().setting("TENTERHOOK_DATA_DIR", data)
}

/// A production server on this database, with its keys in `folder`.
pub fn production(folder: &Path, database: &str) -> Program {
    let file = |name: &str, key: &str| keys::file(folder, name, key).expect("a key file can be written");
    program()
        .argument("serve")
        .setting("DATABASE_URL", database)
        .setting("TENTERHOOK_JWT_SECRET_FILE", file("jwt", SECRET))
        .setting("TENTERHOOK_SEALING_KEY_FILE", file("sealing", SEALING_KEY))
        .setting("TENTERHOOK_ALLOWED_TARGETS", "127.0.0.0/8")
}

/// Clients of a process.
pub struct Callers<'a> {
    process: &'a Process,
    key: TokenKey,
}

impl<'a> Callers<'a> {
    pub fn new(process: &'a Process, secret: &str) -> Self {
        let name = || "tenterhook".to_owned();
        Self {
            process,
            key: TokenKey {
                secret: secret.to_owned(),
                issuer: name(),
                audience: name(),
            },
        }
    }

    pub fn of_development(process: &'a Process, data: &Path) -> Self {
        let secret = fs::read_to_string(data.join("jwt.key")).expect("development keeps its key there");
        Self::new(process, secret.trim())
    }

    pub fn token(&self, claims: &Claims) -> String {
        self.key.sign(claims, realtime::now())
    }

    pub fn with(&self, claims: &Claims) -> Client {
        let token = self.token(claims);
        self.process.caller(Some(token)).expect("a client can be made")
    }

    pub fn user(&self) -> Client {
        self.with(&Claims::user(1, 7, "regular"))
    }

    pub fn platform(&self) -> Client {
        self.with(&Claims::of_scope("platform"))
    }

    pub async fn advance(&self, by: &str) {
        let operator = self.with(&Claims::of_scope("operator"));
        let (status, body) = operator
            .post("/sim/clock/advance", json!({"by": by}))
            .await
            .expect("it answers");
        assert_eq!(status, 200, "{body}");
    }

    pub async fn tally(&self) -> Tally {
        let (_, metrics) = self.user().get("/metrics").await.expect("it answers");
        Tally::parse(&metrics).expect("the metrics state D7")
    }
}

pub fn deal_changed() -> NewEvent {
    NewEvent::new(1, "CHANGE", "deal", "8")
}

pub async fn receiver(script: impl Into<Script>) -> Receiver {
    Receiver::start(Arc::new(RealTime), Keyring::default(), script).await
}

pub async fn wire(behaviours: impl Fn(usize) -> Behaviour + Send + Sync + 'static) -> WireReceiver {
    let (time, keyring) = (Arc::new(RealTime), Keyring::default());
    WireReceiver::start(Listen::default(), time, keyring, Arc::new(behaviours))
        .await
        .expect("it can listen")
}

pub async fn create(caller: &Client, url: &str) -> String {
    let created = caller
        .create_webhook(NewWebhook::to(url).basic_auth("user", PASSWORD))
        .await;
    created.expect("the user may create a webhook").webhook.id
}

pub async fn deliveries(caller: &Client, webhook: &str) -> Vec<Delivery> {
    caller
        .deliveries(webhook)
        .await
        .expect("the user sees the webhook")
}
