//! What a flood of attacks leaves behind: nothing. Looks at the process's memory, which only Linux tells.

use tenterhook_harness::attacks::{self, Attack, Way};
use tenterhook_harness::client::Client;
use tenterhook_harness::database::Cluster;
use tenterhook_harness::token::Claims;

use super::cast::{Callers, SECRET, deal_changed, folder, production};

/// Rounds after which what is kept for later use is there: threads, connections, the allocator's own.
const WARM_UP: usize = 10;
/// Rounds of every attack over every way.
const ROUNDS: usize = 100;
/// Bytes by which the peak may rise meanwhile. What all those rounds send is a hundred times as much and more, and so is
/// what they would leave behind if any of the larger ones left its body once.
const MOST_GROWTH: u64 = 32 * 1024 * 1024;

/// Sends all of them over every way, one after the other, so often.
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

/// Issue 4, Shows: memory flat, process alive.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_attacks_takes_no_memory_that_stays() {
    let (cluster, keys) = (Cluster::shared().await.unwrap(), folder());
    let database = cluster.database().await.unwrap();
    let program = production(keys.path(), &database.url(None)).setting("TENTERHOOK_LOG", "info");
    let process = program.serve().await.unwrap();
    let callers = Callers::new(&process, SECRET);
    // Whom no rate limits.
    let operator = callers.with(&Claims::of_scope("operator"));
    let attacks = attacks::all();
    flood(&operator, &attacks, WARM_UP).await;
    let before = process.peak_memory().unwrap();
    flood(&operator, &attacks, ROUNDS).await;
    let after = process.peak_memory().unwrap();
    assert!(
        after - before <= MOST_GROWTH,
        "from {before} to {after} bytes at the most"
    );
    callers.platform().publish_one(deal_changed()).await.unwrap();
}
