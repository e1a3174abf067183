//! A look grows no faster than the host, and asks no more of it than a fixed number of commands for each jail: gates that CI can hold on any machine. Absolute times are `cargo xtask bench`'s.
//!
//! The margin of the exponent is wide (1.35, where the goal is 1.1 and a scan per jail gives 2), as in `agent/core/tests/growth.rs`.
#![expect(
    clippy::cast_precision_loss,
    reason = "three points of a fit fit into any float"
)]

mod scale;

use std::sync::Arc;
use std::time::Duration;

use scale::Crowd;
use scale::growth::{best_of, exponent};

/// How large the hosts are, in jails.
const SIZES: [u32; 3] = [100, 400, 1_600];

/// How often each is looked at; the best counts.
const RUNS: u32 = 5;

/// The largest exponent that passes.
const EXPONENT_MAX: f64 = 1.35;

#[test]
fn a_look_grows_with_the_host() {
    let points = SIZES.map(|size| {
        let host = Arc::new(Crowd::new(size));
        (size, best_of(RUNS, || host.observe()).cpu)
    });
    let fitted = exponent(&points);
    assert!(
        fitted <= EXPONENT_MAX,
        "a look grows with exponent {fitted:.2}: {points:?}"
    );
}

#[test]
fn a_scan_for_each_jail_would_be_noticed() {
    let points = SIZES.map(|size| (size, Duration::from_nanos(u64::from(size * size))));
    let fitted = exponent(&points);
    assert!(fitted > EXPONENT_MAX, "{fitted:.2}");
}
