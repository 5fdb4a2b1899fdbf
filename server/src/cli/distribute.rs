//! `tenterhook distribute`: distributes the tables over a Citus cluster, or prints how it would.
//!
//! Changes nothing unless all of it can be done: if the extension is missing, migrations are pending or a server is
//! running, it says so. Servers of this release may not work on a distributed database: some of their statements
//! cannot cover several shards yet, so the command needs an explicit flag.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use clap::Args;
use secrecy::ExposeSecret;

use tenterhook_engine::LeaseTimings;
use tenterhook_model::ids::{LANES, NodeId};
use tenterhook_settings::Settings;
use tenterhook_store::distribution::{self, Plan};
use tenterhook_store::{Conn, Limits, Sessions, Store, migrations, nodes};

/// Default number of shards. Each day's partitions have three tables per shard.
const SHARDS: u16 = 32;
/// An id that no server has.
const NOBODY: NodeId = NodeId(0);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Prints the statements and changes nothing; works on any database.
    #[arg(long)]
    dry_run: bool,
    /// Distributes, even though no server of this release can use the result (docs/scale.md).
    #[arg(long)]
    experimental: bool,
    /// Number of shards: at least as many as there will ever be workers. It cannot be changed later.
    #[arg(long, value_name = "NUMBER", default_value_t = SHARDS, value_parser = clap::value_parser!(u16).range(1..=i64::from(LANES)))]
    shards: u16,
}

pub(super) async fn run(settings: &Settings, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let url = settings.database_url.as_ref();
    let url = url.context("DATABASE_URL is not set: it says which Citus coordinator to use")?;
    let sessions = Sessions {
        limits: Limits::long(settings.database_long_timeout),
        reads: false,
    };
    let store = Store::open(url.expose_secret(), 1, sessions, Arc::default())?;
    let mut conn = store.conn().await?;
    let obstacle = obstacle(&mut conn, url.expose_secret(), settings, arguments)
        .await
        .err();
    let placed = if distribution::has_citus(&mut conn).await? {
        distribution::placed(&mut conn).await?
    } else {
        Vec::new()
    };
    let plan = Plan::new(&placed, arguments.shards);
    if arguments.dry_run {
        super::write_stdout(&told(&plan))?;
        eprintln!(
            "nothing was changed{}",
            obstacle.map_or_else(String::new, |why| format!(
                "; without --dry-run this would fail: {why:#}"
            ))
        );
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(why) = obstacle {
        return Err(why.context("nothing was changed"));
    }
    if plan.is_empty() {
        eprintln!("nothing to do: every table is already distributed");
        return Ok(ExitCode::SUCCESS);
    }
    distribution::carry_out(&mut conn, &plan).await?;
    super::write_stdout(&told(&plan))?;
    eprintln!("done: the tables are distributed over the cluster");
    Ok(ExitCode::SUCCESS)
}

/// The reason why the tables cannot be distributed, as an error.
async fn obstacle(
    conn: &mut Conn,
    url: &str,
    settings: &Settings,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    if !distribution::has_citus(conn).await? {
        bail!(
            "this database is not a Citus cluster, because the extension is missing. Install Citus on the coordinator and the \
             workers, `create extension citus`, and add the workers with `citus_add_node`"
        );
    }
    let pending = migrations::pending(url, settings.database_timeout).await?;
    ensure!(
        pending == 0,
        "{pending} migration(s) pending: run `tenterhook migrate` first"
    );
    let dead_after = LeaseTimings::of(settings.lease).dead_after().as_secs_f64();
    let alive = nodes::others(conn, NOBODY, dead_after).await?.len();
    ensure!(
        alive == 0,
        "{alive} server(s) are running: stop them first, because this command locks every table"
    );
    ensure!(
        arguments.experimental,
        "servers of this release cannot use a distributed database yet, and this cannot be undone: to try it on a copy of \
         the database, pass --experimental"
    );
    Ok(())
}

fn told(plan: &Plan) -> String {
    let transaction = [
        &["begin".to_owned()],
        plan.placing.as_slice(),
        &["commit".to_owned()],
    ]
    .concat();
    let statements = transaction.iter().chain(&plan.emptying);
    if plan.is_empty() {
        return String::new();
    }
    statements.map(|statement| format!("{statement};\n")).collect()
}
