//! A flood of attacks leaves nothing in memory. Reads the process's memory use, which only Linux reports.

use tenterhook_harness::attacks::{self, Attack, Way};
use tenterhook_harness::client::Client;
use tenterhook_harness::database::Cluster;
use tenterhook_harness::token::Claims;

use super::callers::{Callers, SECRET, deal_changed, folder, production};

/// Number of rounds until everything that is kept for reuse exists: threads, connections, the allocator's memory.
const WARM_UP: usize = 10;
/// Number of rounds; each sends every attack in every way.
const ROUNDS: usize = 100;
/// How much the peak may rise, in bytes. All rounds together send more than a hundred times as much, and would leave
/// that behind if one of the larger attacks leaked its body once per round.
const MOST_GROWTH: u64 = 32 * 1024 * 1024;

/// Sends all attacks in every way, one after the other, `rounds` times.
async fn flood(caller: &Client, attacks: &[Attack], rounds: usize) {
    for _ in 0..rounds {
        for way in Way::ALL {
            for attack in attacks {
                let refused = attack.send(way, caller).await;
                let code = refused.unwrap_or_else(|error| panic!("{} over {way:?}: {error:#}", attack.name));
                assert_eq!(code, attack.expected(way), "{} over {way:?}", attack.name);
            }
        }
    }
}

/// During a flood of attacks the process stays alive, and its memory does not grow with the number of attacks.
#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_grow_in_a_flood_of_attacks() {
    let (cluster, keys) = (Cluster::shared().await.unwrap(), folder());
    let database = cluster.database().await.unwrap();
    let program = production(keys.path(), &database.url(None)).setting("TENTERHOOK_LOG", "info");
    let process = program.serve().await.unwrap();
    let callers = Callers::new(&process, SECRET);
    // Operators have no rate limit.
    let operator = callers.with(&Claims::of_scope("operator"));
    let attacks = attacks::all();
    flood(&operator, &attacks, WARM_UP).await;
    let before = process.peak_memory().unwrap();
    flood(&operator, &attacks, ROUNDS).await;
    let after = process.peak_memory().unwrap();
    assert!(
        after - before <= MOST_GROWTH,
        "grew from {before} to {after} bytes"
    );
    callers.platform().publish_one(deal_changed()).await.unwrap();
}
