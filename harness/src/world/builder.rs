//! Options of a world, chosen before it starts.

use std::sync::Mutex;

use jiff::Timestamp;

use super::time::TimeDriver;
use super::{Home, Household, IdRange, Trust, World};
use crate::client::CallLog;
use crate::database::Cluster;
use crate::dns_server::NameServer;
use crate::face::Face;
use crate::keys;
use crate::launch::{AppSees, NoticeOptions, Server, ServerOptions, SimulatedTime};
use crate::receiver::Receiver;
use crate::signature::Keyring;
use crate::statement_counter::StatementCounter;
use crate::token::TokenKey;
use crate::webhook_type::WebhookType;

/// The initial time of every world: an ordinary moment, far from midnight.
const BEGINNING: Timestamp = Timestamp::constant(1_770_112_800, 0);

/// Options of a world.
#[derive(Debug, Clone)]
pub struct WorldBuilder {
    servers: usize,
    options: ServerOptions,
    beginning: Timestamp,
    metered: bool,
    trusting: bool,
    notice_secrets: Option<String>,
    named: bool,
    face: Face,
}

impl WorldBuilder {
    /// One server that may call receivers on this machine.
    pub(super) fn new() -> Self {
        let options = ServerOptions {
            allowed_targets: vec!["127.0.0.0/8".to_owned()],
            platform_hosts: Vec::new(),
            app_sees: AppSees::Application,
            dns_servers: Vec::new(),
            key: TokenKey {
                secret: "of a world that exists only for a test".to_owned(),
                issuer: "harness".to_owned(),
                audience: "harness".to_owned(),
            },
            sealing_key: keys::SEALING_KEY.to_owned(),
            extra_ca_file: None,
            notices: None,
            settings: Vec::new(),
            rest_query_token: false,
        };
        Self {
            servers: 1,
            options,
            beginning: BEGINNING,
            metered: false,
            trusting: false,
            notice_secrets: None,
            named: false,
            face: Face::GraphQl,
        }
    }

    /// Number of server processes on one database and clock.
    pub fn servers(self, servers: usize) -> Self {
        Self { servers, ..self }
    }

    /// Targets that webhooks may have although they are not public. By default loopback, where receivers listen.
    pub fn allowed_targets(mut self, cidrs: &[&str]) -> Self {
        self.options.allowed_targets = cidrs.iter().map(|cidr| (*cidr).to_owned()).collect();
        self
    }

    /// The platform's own hosts, which webhooks may not call (W10).
    pub fn platform_hosts(mut self, hosts: &[&str]) -> Self {
        self.options.platform_hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        self
    }

    /// What an app sees besides its own webhooks (W4). By default nothing.
    pub fn app_sees(mut self, sees: AppSees) -> Self {
        self.options.app_sees = sees;
        self
    }

    /// Another value of a setting, such as `policy.everyone_v1`, written as on the command line.
    pub fn set(mut self, setting: &'static str, value: &str) -> Self {
        self.options.settings.push((setting, value.to_owned()));
        self
    }

    /// The name server that the servers ask.
    pub fn names(mut self, names: &NameServer) -> Self {
        self.options.dns_servers = vec![names.address()];
        self
    }

    /// Gives the world a name server of its own: [`World::names`].
    pub fn named(self) -> Self {
        Self { named: true, ..self }
    }

    /// An initial time that is not the default of worlds.
    pub fn beginning(self, at: Timestamp) -> Self {
        Self {
            beginning: at,
            ..self
        }
    }

    /// Counts the servers' SQL statements: [`World::statements`].
    pub fn metered(self) -> Self {
        Self {
            metered: true,
            ..self
        }
    }

    /// Gives the world an authority that its servers trust in addition to the public ones: [`World::authority`].
    pub fn trusting(self) -> Self {
        Self {
            trusting: true,
            ..self
        }
    }

    /// The API through which callers create, list and delete webhooks.
    pub fn face(self, face: Face) -> Self {
        Self { face, ..self }
    }

    /// Lets REST requests carry their token in the query string.
    pub fn rest_query_token(mut self) -> Self {
        self.options.rest_query_token = true;
        self
    }

    /// Lets the servers deliver notices to an endpoint of the platform, signed with these secrets:
    /// [`World::notice_endpoint`].
    pub fn notifying(self, secrets: &[&str]) -> Self {
        Self {
            notice_secrets: Some(secrets.join("\n")),
            ..self
        }
    }

    /// Starts the world.
    ///
    /// # Panics
    ///
    /// If there is no Postgres, or a server does not start.
    pub async fn start(self) -> World {
        self.try_start()
            .await
            .unwrap_or_else(|error| panic!("the world did not start: {error:?}"))
    }

    /// As [`WorldBuilder::start`], with an error instead of the panic.
    ///
    /// # Errors
    ///
    /// If there is no Postgres, or a server does not start.
    pub async fn try_start(mut self) -> anyhow::Result<World> {
        if self.face == Face::Rest {
            self = self.rest_query_token();
        }
        let database = Cluster::shared().await?.database_at(self.beginning).await?;
        let counter = if self.metered {
            Some(StatementCounter::start(database.upstream()).await?)
        } else {
            None
        };
        let url = database.url(counter.as_ref().map(StatementCounter::address));
        let trust = if self.trusting { Some(Trust::new()?) } else { None };
        self.options.extra_ca_file = trust.as_ref().map(|trust| trust.file.path().to_owned());
        let time = SimulatedTime::starting_at(self.beginning)?;
        let driver = TimeDriver::Here(time.clone());
        let mut names = None;
        if self.named {
            let server = NameServer::start().await;
            self = self.names(&server);
            names = Some(server);
        }
        let mut notice_endpoint = None;
        if let Some(secrets) = self.notice_secrets {
            // A separate keyring, because no webhook's secret may sign a notice.
            let endpoint = Receiver::start(driver.time(), Keyring::default(), 200).await;
            self.options.notices = Some(NoticeOptions {
                url: endpoint.url(),
                secrets,
            });
            notice_endpoint = Some(endpoint);
        }
        let mut servers = Vec::new();
        for number in 0..self.servers {
            servers.push(Server::start(&self.options, &url, &time, number == 0).await?);
        }
        let mut world = World {
            began: driver.now(),
            log: CallLog::new(driver.time()),
            driver,
            key: self.options.key.clone(),
            keyring: Keyring::default(),
            journals: Mutex::default(),
            ids: IdRange::whole(),
            webhook_type: WebhookType::General,
            rest: None,
            outages: Vec::new(),
            home: Home::Here(Box::new(Household {
                servers,
                counter,
                options: self.options,
                database_url: url,
                time,
                trust,
                notice_endpoint,
                names,
                database,
            })),
        };
        world.call_through(self.face);
        Ok(world)
    }
}
