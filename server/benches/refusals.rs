//! How long it takes until an attack has been refused, over each way that leads to the graph: from before it is sent
//! until its answer is read, with the connection's opening where it is a live one.

use criterion::Criterion;
use tenterhook_harness::attacks::{self, Way};
use tenterhook_harness::world::World;
use tokio::runtime::Runtime;

/// Of each attack: more would tell nothing new of what takes so much less than its bound.
const SAMPLES: usize = 30;

fn refusals(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime can be made");
    let world = runtime.block_on(World::start());
    // An operator, whom no rate limits.
    let operator = world.operator();
    for way in Way::ALL {
        let mut group = criterion.benchmark_group(way.name());
        group.sample_size(SAMPLES);
        for attack in attacks::all() {
            let expected = attack.expected(way);
            group.bench_function(attack.name, |bencher| {
                bencher.to_async(&runtime).iter(async || {
                    let code = attack.send(way, &operator).await.expect("it is refused");
                    assert_eq!(code, expected, "with its code");
                });
            });
        }
        group.finish();
    }
    // On the runtime that its connections live on.
    runtime.block_on(async { drop(world) });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    refusals(&mut criterion);
    criterion.final_summary();
}
