//! The servers of a world: those in this process can be started, stopped and crashed.

use anyhow::Context as _;
use futures_util::future::join_all;

use super::{Home, Household, OutageKind, World};
use crate::client::Client;
use crate::launch::Server;
use crate::realtime;
use crate::signature::Keyring;
use crate::wire::Authority;

impl World {
    /// How many servers there are.
    pub fn servers(&self) -> usize {
        match &self.home {
            Home::Here(household) => household.servers.len(),
            Home::There(_) => 1,
        }
    }

    /// Whether the world can start, stop and crash its servers.
    pub fn owns_servers(&self) -> bool {
        matches!(self.home, Home::Here(_))
    }

    /// Stops a server as SIGTERM does. The indices of the servers after it decrease by one.
    ///
    /// # Panics
    ///
    /// If the server does not stop, or the world does not own its servers.
    pub async fn stop(&mut self, server: usize) {
        self.note_outage(OutageKind::Stop);
        let stopped = self.household().servers.remove(server).stop().await;
        stopped.unwrap_or_else(|error| panic!("the server did not stop: {error:#}"));
    }

    /// Crashes all servers at once, as a power cut would.
    ///
    /// # Panics
    ///
    /// If the world does not own its servers.
    pub async fn crash(&mut self) {
        self.note_outage(OutageKind::Crash);
        let servers = self.household().servers.drain(..).map(Server::crash);
        join_all(servers).await;
    }

    /// Crashes one server. The indices of the servers after it decrease by one.
    ///
    /// # Panics
    ///
    /// If the world does not own its servers.
    pub async fn crash_one(&mut self, server: usize) {
        self.note_outage(OutageKind::Crash);
        self.household().servers.remove(server).crash().await;
    }

    /// Starts one more server on the same database: webhooks, events and everything else still exist.
    ///
    /// # Panics
    ///
    /// If it does not start, or the world does not own its servers.
    pub async fn launch(&mut self) {
        let household = self.household();
        // If no other server is running, the new one does not wait until the earlier ones count as dead.
        let alone = household.servers.is_empty();
        let started = Server::start(
            &household.options,
            &household.database_url,
            &household.time,
            alone,
        )
        .await;
        let started = started.unwrap_or_else(|error| panic!("the server did not start: {error:#}"));
        household.servers.push(started);
    }

    /// Crashes all servers, and starts the same number again.
    ///
    /// # Errors
    ///
    /// If the server is remote and the caller gave no way to restart it, or if it does not become ready.
    ///
    /// # Panics
    ///
    /// As [`World::launch`].
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        match &self.home {
            Home::Here(household) => {
                let servers = household.servers.len();
                self.crash().await;
                for _ in 0..servers {
                    self.launch().await;
                }
                Ok(())
            }
            Home::There(target) => {
                let restart = target.restart.as_ref();
                let restart = restart.context("no command restarts the server: give --restart-command")?;
                restart.run().await?;
                let url = target.url.clone();
                self.note_outage(OutageKind::Crash);
                let nobody = Client::new(&url, None, Keyring::default())?;
                // The server refuses connections until it listens again.
                realtime::eventually("the server is back", async || nobody.until_ready().await.is_ok()).await;
                Ok(())
            }
        }
    }

    /// Sets the targets that servers allow if they start from now on, see [`WorldBuilder::allowed_targets`].
    ///
    /// # Panics
    ///
    /// If the world does not own its servers.
    pub fn allow_targets(&mut self, cidrs: &[&str]) {
        self.household().options.allowed_targets = cidrs.iter().map(|cidr| (*cidr).to_owned()).collect();
    }

    /// Sets a setting of servers that start from now on, see [`WorldBuilder::set`](super::WorldBuilder::set).
    ///
    /// # Panics
    ///
    /// If the world does not own its servers.
    pub fn set(&mut self, setting: &'static str, value: &str) {
        let settings = &mut self.household().options.settings;
        settings.retain(|(name, _)| *name != setting);
        settings.push((setting, value.to_owned()));
    }

    /// The authority that the servers trust; see [`WorldBuilder::trusting`].
    ///
    /// # Panics
    ///
    /// If the world was built without one.
    pub fn authority(&self) -> &Authority {
        let trust = match &self.home {
            Home::Here(household) => household.trust.as_ref(),
            Home::There(_) => None,
        };
        trust.map_or_else(
            || panic!("no server of this world trusts the world's certificate authority"),
            |trust| &trust.authority,
        )
    }

    pub(super) fn household(&mut self) -> &mut Household {
        match &mut self.home {
            Home::Here(household) => household,
            Home::There(target) => panic!(
                "this world cannot start, stop or configure the server at {}, which it did not start",
                target.url
            ),
        }
    }
}
