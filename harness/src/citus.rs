//! A Citus cluster that was started elsewhere. Worlds get databases on it, distributed as `tenterhook distribute` does.
//!
//! A world on it sees the same as on plain Postgres: an empty database with the server's schema. Creating one takes
//! seconds, because a database has to be created on every machine. This module starts and stops no Postgres.

use anyhow::Context as _;
use futures_util::future::try_join_all;
use tokio_postgres::{Client, Config};

use crate::connection::{connect, host, url};
use crate::launch;

/// The variable with the coordinator's address and a user who may create databases. Its database has the extension and
/// lists the workers.
pub const VARIABLE: &str = "CITUS_URL";
/// Few, because each day's partitions are three tables in every shard, but more than one per worker.
const SHARDS: u16 = 4;

/// The machines of the cluster, the coordinator first.
pub(crate) struct Citus {
    machines: Vec<Config>,
}

impl Citus {
    /// The cluster in the environment, if there is one.
    pub(crate) async fn of_environment() -> anyhow::Result<Option<Self>> {
        match std::env::var(VARIABLE) {
            Ok(named) => Ok(Some(Self::of(&named).await.context(VARIABLE)?)),
            Err(_) => Ok(None),
        }
    }

    async fn of(named: &str) -> anyhow::Result<Self> {
        let coordinator: Config = named.parse()?;
        let workers =
            "select nodename, nodeport from pg_dist_node where groupid <> 0 and noderole = 'primary'";
        let workers = connect(&coordinator).await?.query(workers, &[]).await?;
        let mut machines = vec![coordinator.clone()];
        for worker in workers {
            let (host, port): (String, i32) = (worker.get(0), worker.get(1));
            let mut machine = Config::new();
            machine.host(host).port(port.try_into()?);
            machine.user(coordinator.get_user().unwrap_or("postgres"));
            if let Some(password) = coordinator.get_password() {
                machine.password(password);
            }
            machines.push(machine);
        }
        Ok(Self { machines })
    }

    /// Creates a distributed database with the server's schema.
    pub(crate) async fn create(&self, name: &str) -> anyhow::Result<Config> {
        // Left over from an earlier run.
        self.drop(name).await?;
        self.everywhere("postgres", &format!("create database {name}"))
            .await?;
        let made = self.everywhere(name, "create extension citus").await?;
        let (coordinator, workers) = self
            .machines
            .split_first()
            .context("a cluster has a coordinator")?;
        let client = made.first().context("a cluster has a coordinator")?;
        let (host, port) = address(coordinator);
        client
            .execute("select citus_set_coordinator_host($1, $2)", &[&host, &port])
            .await?;
        for worker in workers {
            let (host, port) = address(worker);
            client
                .execute("select citus_add_node($1, $2)", &[&host, &port])
                .await?;
        }
        let mut config = coordinator.clone();
        config.dbname(name);
        launch::distribute(&url(&config, None), SHARDS).await?;
        Ok(config)
    }

    /// Drops the database on every machine.
    pub(crate) async fn drop(&self, name: &str) -> anyhow::Result<()> {
        let drop = format!("drop database if exists {name} with (force)");
        self.everywhere("postgres", &drop).await?;
        Ok(())
    }

    /// Runs a statement in this database on every machine. Returns the connections.
    async fn everywhere(&self, database: &str, statement: &str) -> anyhow::Result<Vec<Client>> {
        let run = async |machine: &Config| {
            let client = connect(machine.clone().dbname(database)).await?;
            client.batch_execute(statement).await?;
            anyhow::Ok(client)
        };
        try_join_all(self.machines.iter().map(run)).await
    }
}

fn address(machine: &Config) -> (String, i32) {
    let (host, port) = host(machine);
    (host, i32::from(port))
}
