//! How long it takes to refuse an attack, over each transport: from sending it until its response is read. For a live
//! connection this includes opening it.

use criterion::Criterion;
use tenterhook_harness::attacks::{self, Way};
use tenterhook_harness::world::World;
use tokio::runtime::Runtime;

/// Samples of each attack. More would show nothing new, because a refusal takes much less time than its bound.
const SAMPLES: usize = 30;

fn refusals(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime can be made");
    let world = runtime.block_on(World::start());
    // An operator, who has no rate limit.
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
    // On the runtime to which its connections belong.
    runtime.block_on(async { drop(world) });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    refusals(&mut criterion);
    criterion.final_summary();
}
