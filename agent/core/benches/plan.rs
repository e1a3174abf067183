//! What planning costs: a host of 1,000 jails with two interfaces each, at rest and from nothing, and how that grows up to 10,000.
//!
//! At rest an agent compares what it found with what it found last time, all of it, and plans only if something differs ("nothing to do").
//! The same host seen for the first time, or with one byte changed, is planned in full ("nothing to do, planned anew").
//!
//! Criterion measures time on the wall; the table below it has the CPU time beside it, and the fitted exponents.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "a benchmark looks at clocks and prints what they say"
)]
#![expect(
    clippy::cast_precision_loss,
    reason = "three points of a fit fit into any float"
)]
#[path = "../tests/scale/mod.rs"]
mod scale;

use std::sync::Arc;
use std::time::Duration;

use cellblock_agent_core::execute::{Outcome, Unkept, agreed};
use cellblock_agent_core::observed::Observed;
use cellblock_agent_core::op::Plan;
use cellblock_agent_core::plan::memory::Remembered;
use cellblock_agent_core::plan::{learn, plan};
use cellblock_agent_core::verify::{Evidence, verify};
use cellblock_agent_core::{Ledger, plan::Settings};
use cellblock_schemas::view::HostView;
use criterion::{Criterion, criterion_group};
use scale::Kind;
use scale::growth::{Took, best_of, exponent};

/// The size that the goals speak of, in jails.
const JAILS: u32 = 1_000;

/// The sizes that growth is fitted over.
const SIZES: [u32; 3] = [100, 1_000, 10_000];

/// How often each size is measured; the best counts.
const RUNS: u32 = 7;

/// What the goals say of a host of [`JAILS`] jails, in CPU time. The wall is printed and judged by nobody, because machines are shared.
const CPU_MAX: [(&str, Duration); 2] = [
    ("plan, nothing to do", Duration::from_millis(2)),
    ("plan, everything to do", Duration::from_millis(50)),
];

/// The largest exponent that passes. A scan per jail gives 2.
const EXPONENT_MAX: f64 = 1.1;

fn criterion_benches(criterion: &mut Criterion) {
    for (kind, name) in [(Kind::Vnet, "vnet"), (Kind::Shared, "shared-ip")] {
        let view = scale::view(kind, JAILS);
        let settings = scale::settings();
        let (observed, ledger) = scale::at_rest(&view);
        let shared = Arc::new(view.clone());
        let mut looks = TwoLooks::new(&observed);
        let mut remembered = Remembered::default();
        criterion.bench_function(
            &format!("plan/{name}/{JAILS} jails/nothing to do"),
            |bencher| {
                bencher.iter(|| remembered.plan(&shared, looks.next(), &ledger, &settings));
            },
        );
        criterion.bench_function(
            &format!("plan/{name}/{JAILS} jails/nothing to do, planned anew"),
            |bencher| {
                bencher.iter(|| plan(&view, &observed, &ledger, &settings));
            },
        );
        let (observed, ledger) = scale::empty(&view);
        criterion.bench_function(
            &format!("plan/{name}/{JAILS} jails/everything to do"),
            |bencher| {
                bencher.iter(|| plan(&view, &observed, &ledger, &settings));
            },
        );
    }
}

/// Two looks at one host that share no memory, in turns: nothing can be told equal by its address.
struct TwoLooks {
    looks: [Arc<Observed>; 2],
    turn: usize,
}

impl TwoLooks {
    fn new(observed: &Observed) -> Self {
        Self {
            looks: [Arc::new(observed.clone()), Arc::new(observed.clone())],
            turn: 0,
        }
    }

    fn next(&mut self) -> &Arc<Observed> {
        self.turn = 1 - self.turn;
        &self.looks[self.turn]
    }
}

struct Sample {
    view: HostView,
    nothing: HostView,
    settings: Settings,
    at_rest: (Observed, Ledger),
    empty: (Observed, Ledger),
    away: Plan,
}

impl Sample {
    fn new(kind: Kind, size: u32) -> Self {
        let (view, nothing, settings) = (
            scale::view(kind, size),
            scale::view(kind, 0),
            scale::settings(),
        );
        let at_rest = scale::at_rest(&view);
        Self {
            away: plan(&nothing, &at_rest.0, &at_rest.1, &settings),
            empty: scale::empty(&view),
            view,
            nothing,
            settings,
            at_rest,
        }
    }

    fn measure(&self, what: &str) -> Took {
        let (observed, ledger) = &self.at_rest;
        match what {
            "plan, nothing to do" => {
                let (view, look) = (Arc::new(self.view.clone()), Arc::new(observed.clone()));
                let mut remembered = Remembered::default();
                let _ = remembered.plan(&view, &look, ledger, &self.settings);
                let mut looks = TwoLooks::new(observed);
                best_of(RUNS, || {
                    remembered.plan(&view, looks.next(), ledger, &self.settings)
                })
            }
            "plan, nothing to do, planned anew" => {
                best_of(RUNS, || plan(&self.view, observed, ledger, &self.settings))
            }
            "plan, everything to do" => best_of(RUNS, || {
                plan(&self.view, &self.empty.0, &self.empty.1, &self.settings)
            }),
            "plan, everything to go" => best_of(RUNS, || {
                plan(&self.nothing, observed, ledger, &self.settings)
            }),
            "learn" => {
                let mut ledger = ledger.clone();
                best_of(RUNS, || {
                    learn(&self.view, observed, &mut ledger, &mut Unkept)
                })
            }
            "agree on everything to go" => best_of(RUNS, || agreed(&self.away, self.away.clone())),
            _ => {
                let (plan, outcome) = (Plan::default(), Outcome::default());
                let evidence = Evidence {
                    view: &self.view,
                    observed,
                    ledger,
                    plan: &plan,
                    outcome: &outcome,
                    held: None,
                };
                best_of(RUNS, || verify(evidence))
            }
        }
    }
}

/// Prints the table, and returns what of it is missed.
fn print_growth() -> Vec<String> {
    let mut missed = Vec::new();
    println!(
        "\n{:<44} {:>24} {:>24} {:>24}  exponent of CPU time",
        "best of 7: wall / CPU", "100 jails", "1,000 jails", "10,000 jails"
    );
    for (kind, name) in [(Kind::Vnet, "vnet"), (Kind::Shared, "shared-ip")] {
        let samples = SIZES.map(|size| Sample::new(kind, size));
        for what in [
            "plan, nothing to do",
            "plan, nothing to do, planned anew",
            "plan, everything to do",
            "plan, everything to go",
            "learn",
            "agree on everything to go",
            "verify",
        ] {
            let took = samples.each_ref().map(|sample| sample.measure(what));
            let points: Vec<(u32, Duration)> = SIZES
                .iter()
                .zip(&took)
                .map(|(size, took)| (*size, took.cpu))
                .collect();
            let fitted = exponent(&points);
            if fitted > EXPONENT_MAX {
                missed.push(format!(
                    "{name}: {what} grows with exponent {fitted:.2}, at most {EXPONENT_MAX}"
                ));
            }
            for (of, max) in CPU_MAX {
                let (_, cpu) = points[1];
                if of == what && cpu > max {
                    missed.push(format!(
                        "{name}: {what} takes {cpu:.3?} of CPU time with {JAILS} jails, at most {max:?}"
                    ));
                }
            }
            let [a, b, c] = took.map(|took| format!("{:.3?} / {:.3?}", took.wall, took.cpu));
            println!(
                "{:<44} {a:>24} {b:>24} {c:>24}  {fitted:.2}",
                format!("{name}: {what}")
            );
        }
    }
    missed
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3));
    targets = criterion_benches
}

fn main() {
    benches();
    let missed = print_growth();
    Criterion::default().configure_from_args().final_summary();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
