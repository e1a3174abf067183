//! What a look costs the agent beside the commands themselves: reading what they print of 100, 1,000 and 10,000 jails with two interfaces each, and how that grows.
#![expect(clippy::print_stdout, reason = "a benchmark prints what clocks say")]
#![expect(
    clippy::cast_precision_loss,
    reason = "three points of a fit fit into any float"
)]
#[path = "../tests/scale/mod.rs"]
mod scale;

use std::sync::Arc;

use scale::Crowd;
use scale::growth::{best_of, exponent};

/// The sizes that growth is fitted over.
const SIZES: [u32; 3] = [100, 1_000, 10_000];

/// The largest exponent that passes, as in `agent/core/benches/plan.rs`. A scan per jail gives 2.
const EXPONENT_MAX: f64 = 1.1;

/// How often each size is measured; the best counts.
const RUNS: u32 = 7;

fn main() {
    let took = SIZES.map(|size| {
        let host = Arc::new(Crowd::new(size));
        best_of(RUNS, || host.observe())
    });
    let points = [0, 1, 2].map(|index| (SIZES[index], took[index].cpu));
    let fitted = exponent(&points);
    println!(
        "\n{:<44} {:>24} {:>24} {:>24}  exponent of CPU time",
        "best of 7: wall / CPU", "100 jails", "1,000 jails", "10,000 jails"
    );
    let [a, b, c] = took.map(|took| format!("{:.3?} / {:.3?}", took.wall, took.cpu));
    println!(
        "{:<44} {a:>24} {b:>24} {c:>24}  {fitted:.2}",
        "observe, without the commands"
    );
    assert!(
        fitted <= EXPONENT_MAX,
        "a look grows with exponent {fitted:.2}, at most {EXPONENT_MAX}"
    );
}
