//! Hostile URLs over the API: each gets the expected result, and no connection is made to a forbidden target.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tenterhook_harness::client::NewWebhook;
use tenterhook_harness::dns_server::NameServer;
use tenterhook_harness::hostile::{self, Hostile};
use tenterhook_harness::realtime::{eventually, spawn};
use tenterhook_harness::world::World;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// General webhooks that one user may have (W3).
const PER_USER: usize = 40;
/// The company whose events are delivered, and one without events, whose webhooks have public targets.
const COMPANIES: [u64; 2] = [1, 2];

/// Listens on every address of this machine, of both families if it has both, and counts connections.
struct Door {
    port: u16,
    knocks: Arc<AtomicUsize>,
    listening: JoinHandle<()>,
}

impl Door {
    async fn open() -> Self {
        let listener = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).await {
            Ok(both) => both,
            Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))
                .await
                .expect("a free port"),
        };
        let port = listener.local_addr().expect("a listener has an address").port();
        let knocks: Arc<AtomicUsize> = Arc::default();
        let count = knocks.clone();
        let listening = spawn(async move {
            while listener.accept().await.is_ok() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self {
            port,
            knocks,
            listening,
        }
    }

    /// Connects once to each address and waits until it has counted that. Connections are counted in order, so all
    /// earlier ones are counted by then.
    async fn has_counted_nothing_but_us(&self) {
        let mut ours = 0;
        for address in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
            let knock = TcpStream::connect(SocketAddr::new(address, self.port)).await;
            ours += usize::from(knock.is_ok());
        }
        assert!(ours > 0, "this door cannot be found");
        eventually("the door has heard us", async || {
            self.knocks.load(Ordering::SeqCst) >= ours
        })
        .await;
        assert_eq!(
            self.knocks.load(Ordering::SeqCst),
            ours,
            "somebody else was at port {}",
            self.port
        );
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// W10: each hostile URL has the result in the table, and none of them causes a connection to this machine.
#[tokio::test(flavor = "multi_thread")]
async fn every_hostile_url_has_its_verdict_and_none_is_connected_to() {
    let doors = [Door::open().await, Door::open().await, Door::open().await];
    let names = NameServer::start().await;
    hostile::say(&names, false);
    let world = World::builder()
        .allowed_targets(&[])
        .platform_hosts(&["api.platform.example"])
        .names(&names)
        .start()
        .await;
    let mut wrong = Vec::new();
    let mut accepted = Vec::new();
    for (index, hostile) in hostile::urls(&doors.each_ref().map(|door| door.port))
        .into_iter()
        .enumerate()
    {
        let is_delivered = matches!(hostile.code.as_str(), "BLOCKED_ADDRESS" | "DNS");
        let company = COMPANIES[usize::from(!is_delivered)];
        let user = world.company(company).user(1 + (index / PER_USER) as u64);
        let created = user.create_webhook(NewWebhook::to(&hostile.url)).await;
        let code = created
            .as_ref()
            .map_or_else(|refusal| refusal.code(), |_| "TAKEN");
        let expected = if is_delivered {
            "TAKEN"
        } else {
            hostile.code.as_str()
        };
        if code != expected {
            wrong.push(format!("{hostile:?} is {code}"));
        } else if let (true, Ok(created)) = (is_delivered, created) {
            accepted.push((hostile, user, created.webhook.id));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!accepted.is_empty());

    hostile::say(&names, true);
    let published = world.company(COMPANIES[0]).publish().await.unwrap();
    assert_eq!(published.delivery_count, u32::try_from(accepted.len()).unwrap());
    world.settle().await;
    for (Hostile { code, url, .. }, user, webhook) in accepted {
        let delivery = user.last_delivery(&webhook).await.unwrap();
        let class = delivery.attempts[0].error_class.as_deref();
        assert_eq!(class, Some(code.as_str()), "{url}: {delivery:?}");
    }
    for door in &doors {
        door.has_counted_nothing_but_us().await;
    }
    world.verify().await;
}

/// W10: the same URLs in updates of a webhook.
#[tokio::test(flavor = "multi_thread")]
async fn no_webhook_is_changed_to_a_hostile_url() {
    let names = NameServer::start().await;
    hostile::say(&names, false);
    let world = World::builder()
        .allowed_targets(&[])
        .platform_hosts(&["api.platform.example"])
        .names(&names)
        .start()
        .await;
    let user = world.company(COMPANIES[1]).user(7);
    let created = user
        .create_webhook(NewWebhook::to("https://93.184.215.14/"))
        .await
        .unwrap();
    let id = created.webhook.id;
    for Hostile { code, url, .. } in hostile::urls(&[9]) {
        if matches!(code.as_str(), "FORBIDDEN_ADDRESS" | "INVALID_URL") {
            let change = serde_json::json!({ "subscriptionUrl": url });
            let refusal = user.update_webhook(&id, change).await.unwrap_err();
            assert_eq!(refusal.code(), code, "{url:?}");
        }
    }
    let webhook = user.webhook(&id).await.unwrap().unwrap();
    assert_eq!(webhook.subscription_url, "https://93.184.215.14/");
}
