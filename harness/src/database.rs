//! A database for each world, on one Postgres per process or on the Citus cluster that the environment names.
//!
//! A new database takes a few milliseconds, because it is copied from a template. It is dropped with its world. The
//! template of a world with a simulated clock also has the partitions that a server creates when it starts, because
//! creating them takes ten times as long as copying them. Postgres is managed in its own thread, because a test's
//! runtime ends with the test and Postgres must not. Postgres never outlives the process, however the process ends: the
//! server's supervisor ensures that.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::thread;

use anyhow::{Context, anyhow};
use jiff::Timestamp;
use tokio::sync::{OnceCell, mpsc, oneshot};
use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config};

use crate::citus::Citus;
use crate::connection::{connect, host, url};
use crate::launch::Postgres;
use crate::statement_counter::Upstream;

const TEMPLATE: &str = "world";

/// The Postgres of this process.
pub struct Cluster {
    orders: mpsc::UnboundedSender<Order>,
}

enum Order {
    /// The start time of the servers that will use it, if known.
    Create(Option<Timestamp>, oneshot::Sender<anyhow::Result<Config>>),
    Drop(String),
}

/// A database. Dropping this drops it.
pub struct Database {
    config: Config,
    orders: mpsc::UnboundedSender<Order>,
}

/// A database that accepts no connections.
pub struct Closed {
    /// A connection to another database of the same Postgres.
    beside: Client,
    name: String,
}

impl Closed {
    /// Lets it accept connections again.
    pub async fn open(self) -> anyhow::Result<()> {
        let open = format!("alter database {} allow_connections true", self.name);
        Ok(self.beside.batch_execute(&open).await?)
    }
}

impl Cluster {
    /// The Postgres of this process, which all worlds share. Started at the first call.
    pub async fn shared() -> anyhow::Result<&'static Self> {
        static SHARED: OnceCell<Cluster> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    async fn start() -> anyhow::Result<Self> {
        let (orders, queue) = mpsc::unbounded_channel();
        let (started, start) = oneshot::channel();
        thread::Builder::new()
            .name("postgres".to_owned())
            .spawn(move || keep(queue, started))?;
        start.await.context("the thread that runs Postgres has ended")??;
        Ok(Self { orders })
    }

    /// A new database with the server's schema and no rows.
    pub async fn database(&self) -> anyhow::Result<Database> {
        self.create(None).await
    }

    /// The same with the partitions that a server creates when it starts at this moment. Without them on Citus.
    pub async fn database_at(&self, start: Timestamp) -> anyhow::Result<Database> {
        self.create(Some(start)).await
    }

    async fn create(&self, start: Option<Timestamp>) -> anyhow::Result<Database> {
        let (reply, created) = oneshot::channel();
        let gone = || anyhow!("the thread that runs Postgres has ended");
        self.orders
            .send(Order::Create(start, reply))
            .map_err(|_| gone())?;
        let config = created.await.map_err(|_| gone())??;
        Ok(Database {
            config,
            orders: self.orders.clone(),
        })
    }
}

impl Database {
    /// The connection string for a server, direct or through a proxy at this address.
    pub fn url(&self, through: Option<SocketAddr>) -> String {
        url(&self.config, through)
    }

    /// The address of its Postgres.
    pub fn upstream(&self) -> Upstream {
        match self.config.get_hosts().first() {
            Some(Host::Unix(folder)) => Upstream::Socket(folder.join(".s.PGSQL.5432")),
            _ => Upstream::Address(host(&self.config)),
        }
    }

    /// Runs SQL without the servers' knowledge.
    pub async fn execute(&self, sql: &str) -> anyhow::Result<()> {
        Ok(connect(&self.config).await?.batch_execute(sql).await?)
    }

    /// Reads one number without the servers' knowledge.
    pub async fn number(&self, sql: &str) -> anyhow::Result<i64> {
        Ok(connect(&self.config)
            .await?
            .query_one(sql, &[])
            .await?
            .try_get(0)?)
    }

    /// Ends every connection to the database, and refuses new ones until it is [opened](Closed::open).
    pub async fn close(&self) -> anyhow::Result<Closed> {
        let name = self.name();
        let beside = connect(self.config.clone().dbname("postgres")).await?;
        // Two calls: in one call both would be one transaction, and new connections would be accepted until its end.
        for statement in [
            format!("alter database {name} allow_connections false"),
            format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"),
        ] {
            beside.batch_execute(&statement).await?;
        }
        Ok(Closed {
            beside,
            name: name.to_owned(),
        })
    }

    fn name(&self) -> &str {
        self.config.get_dbname().unwrap_or_default()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Fails only if Postgres has already ended, and the database with it.
        let _ = self.orders.send(Order::Drop(self.name().to_owned()));
    }
}

/// The thread's main function: starts Postgres, creates the template, and then executes orders one by one.
fn keep(mut queue: mpsc::UnboundedReceiver<Order>, started: oneshot::Sender<anyhow::Result<()>>) {
    let work = async move {
        let mut source = match Source::prepare().await {
            Ok(ready) => ready,
            Err(error) => return drop(started.send(Err(error))),
        };
        let _ = started.send(Ok(()));
        let mut made = 0_u32;
        while let Some(order) = queue.recv().await {
            match order {
                Order::Create(start, reply) => {
                    made += 1;
                    let created = source.create(&format!("world_{made}"), start).await;
                    // An error means that the caller no longer waits.
                    let _ = reply.send(created);
                }
                Order::Drop(name) => {
                    if let Err(error) = source.drop(&name).await {
                        eprintln!("the database of a world could not be dropped: {error}");
                    }
                }
            }
        }
    };
    // Diesel's migrations block their thread, which a single-threaded runtime does not allow.
    match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => eprintln!("no runtime for Postgres: {error}"),
    }
}

/// The source of databases.
enum Source {
    /// A Postgres of this process.
    Here(Box<Here>),
    /// A cluster that was started elsewhere.
    There(Citus),
}

/// A Postgres of this process, whose databases are copied from templates.
struct Here {
    postgres: Postgres,
    /// The connection that copies them.
    admin: Client,
    /// The days of a server's start for which there is a template.
    days: BTreeSet<String>,
}

impl Here {
    /// The template for servers that start at this moment.
    async fn template_at(&mut self, start: Timestamp) -> anyhow::Result<String> {
        let day = start.strftime("%Y%m%d").to_string();
        let template = format!("{TEMPLATE}_on_{day}");
        if !self.days.contains(&day) {
            self.copy(TEMPLATE, &template).await?;
            self.postgres.make_partitions(&template, start).await?;
            self.days.insert(day);
        }
        Ok(template)
    }

    /// With FILE_COPY instead of the default, which copies through the WAL: nothing is durable here, so no WAL is
    /// needed.
    async fn copy(&self, template: &str, name: &str) -> anyhow::Result<()> {
        let statement = format!("create database {name} template {template} strategy file_copy");
        Ok(self.admin.batch_execute(&statement).await?)
    }
}

impl Source {
    async fn prepare() -> anyhow::Result<Self> {
        if let Some(citus) = Citus::of_environment().await? {
            return Ok(Self::There(citus));
        }
        let postgres = Postgres::start().await?;
        let admin = connect(&postgres.config("postgres")?).await?;
        admin
            .batch_execute(&format!("create database {TEMPLATE}"))
            .await?;
        postgres.migrate(TEMPLATE).await?;
        Ok(Self::Here(Box::new(Here {
            postgres,
            admin,
            days: BTreeSet::new(),
        })))
    }

    async fn create(&mut self, name: &str, start: Option<Timestamp>) -> anyhow::Result<Config> {
        let here = match self {
            Self::Here(here) => here,
            Self::There(citus) => return citus.create(name).await,
        };
        let template = match start {
            Some(start) => here.template_at(start).await?,
            None => TEMPLATE.to_owned(),
        };
        here.copy(&template, name).await?;
        here.postgres.config(name)
    }

    async fn drop(&self, name: &str) -> anyhow::Result<()> {
        match self {
            Self::Here(here) => {
                let drop = format!("drop database {name} with (force)");
                Ok(here.admin.batch_execute(&drop).await?)
            }
            Self::There(citus) => citus.drop(name).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement_counter::StatementCounter;

    async fn connect(url: &str) -> Client {
        crate::connection::connect(&url.parse().unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn a_closed_database_has_no_connections_until_it_is_opened() {
        let database = Cluster::shared().await.unwrap().database().await.unwrap();
        let client = connect(&database.url(None)).await;
        let closed = database.close().await.unwrap();
        assert!(client.batch_execute("select 1").await.is_err());
        assert!(database.execute("select 1").await.is_err());
        closed.open().await.unwrap();
        database.execute("select 1").await.unwrap();
    }

    #[tokio::test]
    async fn each_database_has_the_schema_and_nothing_of_another() {
        let cluster = Cluster::shared().await.unwrap();
        let (one, other) = (
            cluster.database().await.unwrap(),
            cluster.database().await.unwrap(),
        );
        let (in_one, in_other) = (connect(&one.url(None)).await, connect(&other.url(None)).await);
        in_one
            .execute("insert into settings values ('mine', '1')", &[])
            .await
            .unwrap();
        let count = "select count(*) from settings where key = 'mine'";
        assert_eq!(in_one.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 1);
        assert_eq!(in_other.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 0);
    }

    #[tokio::test]
    async fn the_meter_counts_statements_and_changes_nothing() {
        let database = Cluster::shared().await.unwrap().database().await.unwrap();
        let counter = StatementCounter::start(database.upstream()).await.unwrap();
        let client = connect(&database.url(Some(counter.address()))).await;
        assert_eq!(counter.statements(), 0);
        client.batch_execute("select 1").await.unwrap();
        let statement = client.prepare("select $1::bigint").await.unwrap();
        for n in 0..3_i64 {
            assert_eq!(
                client
                    .query_one(&statement, &[&n])
                    .await
                    .unwrap()
                    .get::<_, i64>(0),
                n
            );
        }
        assert_eq!(counter.statements(), 4);
    }
}
