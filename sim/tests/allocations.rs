//! What one more allocation costs: no more where there are many already, by what is searched and written and by the time that it takes, and not where every second one is gone again either. A jail
//! of this test has six of them: two addresses, a MAC number, user ids, its name and its root.
//!
//! `CELLBLOCK_ALLOCATIONS` says up to how many (`cargo xtask nightly` and `bench`: 100,000; otherwise a hundredth of that).

use std::time::{Duration, Instant};

use cellblock_controller_core::admit::{Now, Request, admit};
use cellblock_controller_core::fold_report;
use cellblock_controller_core::index::{Event, Index, Session};
use cellblock_controller_core::reconcile::{self, Item};
use cellblock_schemas::net::AddressRange;
use cellblock_schemas::report::JailReport;
use cellblock_schemas::{ClusterUid, HostReport, Kind, Uid};
use jiff::Timestamp;
use serde_json::{Value, json};

/// How many allocations one jail has.
const OF_JAIL: usize = 6;

/// How many of the last jails are looked at: a time is the shortest of them, as what else the machine does only makes it longer; what is
/// searched and written is counted, and the middle of them.
const WINDOW: usize = 100;

/// The largest exponent of what is searched and written for one more.
const WORK_EXPONENT_MAX: f64 = 0.02;

/// The largest exponent of the time of one more: 0 is flat, 1 is a look at everything for each. What is searched in trees, and a
/// processor's caches, cost a little.
const EXPONENT_MAX: f64 = 0.4;

fn allocations() -> usize {
    match std::env::var("CELLBLOCK_ALLOCATIONS") {
        Ok(text) => text.parse().expect("CELLBLOCK_ALLOCATIONS is a number"),
        Err(_) => 1_000,
    }
}

/// How many intervals of addresses may be passed over in looking for a free one, however many are taken: the edge of the subnet, and what is taken, which is in one piece.
const PASSED_MAX: usize = 4;

struct World {
    index: Index,
    made: u64,
    /// Comparisons and changes of the last write.
    operations: usize,
}

impl World {
    /// How many intervals were passed over to find the next free address of the network.
    fn passed(&self) -> usize {
        let whole = ("10.0.0.0", "10.255.255.255");
        let range = AddressRange {
            first: whole.0.parse().expect("an address"),
            last: whole.1.parse().expect("an address"),
        };
        let edge = AddressRange {
            last: range.first,
            ..range
        };
        let busy = self
            .index
            .claims()
            .busy("lan", None)
            .expect("some are taken");
        let (found, passed) = busy.next_free_counted(&range, &[edge]);
        assert!(found.is_some());
        passed
    }

    /// Every second jail goes; what it had is kept.
    fn thin_out(&mut self, jails: usize) {
        for number in (0..jails).step_by(2) {
            let jail = self.index.jail(&format!("j{number}")).expect("it is there");
            let uid = jail.metadata.uid.clone();
            let asked = Request::Delete {
                kind: Kind::Jail,
                name: format!("j{number}"),
                uid: None,
                revision: None,
                propagation: None,
            };
            let now = Now {
                timestamp: Timestamp::UNIX_EPOCH,
                new_uid: Uid::default(),
            };
            let admitted = admit(&self.index, asked, &now).expect("it may go");
            self.index.rehearse(admitted.write.expect("it goes"));
            let report = HostReport {
                jails: vec![JailReport {
                    uid,
                    gone: true,
                    ..JailReport::default()
                }],
                ..HostReport::default()
            };
            for write in fold_report(&self.index, "a", &report, Timestamp::UNIX_EPOCH) {
                self.index.rehearse(write);
            }
        }
    }
}

impl World {
    fn new() -> Self {
        let mut index = Index::new(ClusterUid("c1".to_owned()));
        let session = Session {
            key_fingerprint: "key".to_owned(),
            address: "192.0.2.1:1".to_owned(),
            controller: "one".to_owned(),
            process: "first".to_owned(),
            former: Vec::new(),
        };
        let value = serde_json::to_vec(&session).expect("string keys only");
        let heard = Event::Put {
            key: index.keys().session("a"),
            value: value.into(),
            modified: 1,
        };
        index.apply(1, [heard]);
        let mut world = Self {
            index,
            made: 0,
            operations: 0,
        };
        let head = |kind: &str, name: &str| json!({"apiVersion": "cellblock.dev/v1alpha1", "kind": kind, "metadata": {"name": name}});
        let mut host = head("Host", "a");
        host["spec"] = json!({"uplinks": {"external": {"interface": "igb0", "publicAddresses": {"main": "203.0.113.1"}}}});
        world.create(Kind::Host, host);
        let now = Now {
            timestamp: Timestamp::UNIX_EPOCH,
            new_uid: Uid::default(),
        };
        let heard = reconcile::step(&world.index, &Item::Heard("a".to_owned()), &now);
        world.index.rehearse(heard.expect("its agent is connected"));
        let mut network = head("Network", "lan");
        network["spec"] = json!({"bridge": {}, "scope": "fleet", "subnets": [{"cidr": "10.0.0.0/8"}, {"cidr": "fd00:30::/64"}]});
        world.create(Kind::Network, network);
        world
    }

    fn create(&mut self, kind: Kind, document: Value) {
        self.made += 1;
        let now = Now {
            timestamp: Timestamp::UNIX_EPOCH,
            new_uid: Uid(format!("uid-{}", self.made)),
        };
        let request = Request::Create {
            kind,
            document,
            manager: "jailctl".to_owned(),
        };
        let admitted = admit(&self.index, request, &now).expect("it is right");
        let write = admitted.write.expect("it is new");
        self.operations = write.compares.len() + write.changes.len();
        self.index.rehearse(write);
    }

    /// One more jail, and how long that takes: the decision, and the index afterwards.
    fn one_more(&mut self, number: usize) -> Duration {
        let document = json!({
            "apiVersion": "cellblock.dev/v1alpha1", "kind": "Jail",
            "metadata": {"name": format!("j{number}")},
            "spec": {"root": {"path": format!("/jails/j{number}")}, "networks": [{"network": "lan"}], "userIds": {"count": 10}},
        });
        let began = Instant::now();
        self.create(Kind::Jail, document);
        began.elapsed()
    }
}

fn shortest(times: &[Duration]) -> Duration {
    times.iter().copied().min().unwrap_or_default()
}

fn median(counts: &[usize]) -> usize {
    let mut counts = counts.to_vec();
    counts.sort_unstable();
    counts.get(counts.len() / 2).copied().unwrap_or_default()
}

/// The slope of a line through points, by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "there are a handful of points")]
    let count = points.len() as f64;
    let x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
    let rise: f64 = points.iter().map(|(px, py)| (px - x) * (py - y)).sum();
    let run: f64 = points.iter().map(|(px, _)| (px - x).powi(2)).sum();
    rise / run
}

#[test]
#[expect(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "the measured times are what the nightly run is for; counts stay far below 2^52"
)]
fn one_more_allocation_takes_as_long_as_the_first() {
    let most = allocations() / OF_JAIL;
    let mut world = World::new();
    let sizes = [most / 4, most / 2, most];
    let mut times = Vec::with_capacity(most);
    let mut points = Vec::new();
    let mut operations = Vec::with_capacity(most);
    let mut work = Vec::with_capacity(most);
    let mut work_points = Vec::new();
    for number in 0..most {
        times.push(world.one_more(number));
        operations.push(world.operations);
        let passed = world.passed();
        assert!(passed <= PASSED_MAX, "after {number} jails");
        work.push(world.operations + passed);
        if sizes.contains(&times.len()) {
            let from = times.len().saturating_sub(WINDOW);
            let time = shortest(&times[from..]);
            let held = world.index.claims().len();
            let steps = median(&work[from..]);
            println!(
                "{held} allocations: one more jail takes {steps} steps and {} µs",
                time.as_micros()
            );
            work_points.push(((held as f64).ln(), (steps as f64).ln()));
            points.push(((held as f64).ln(), time.as_secs_f64().ln()));
        }
    }
    assert_eq!(world.index.unsettled().count(), 0, "every jail has its own");
    assert!(world.index.claims().len() >= most * OF_JAIL);
    // The first makes the guard and the bridge's number besides; all others cost the same.
    assert!(operations[2..].iter().all(|one| *one == operations[1]));
    let exponent = slope(&points);
    let of_work = slope(&work_points);
    println!("exponent of the work {of_work:.3}, of the time {exponent:.3}");
    assert!(
        of_work < WORK_EXPONENT_MAX,
        "the work grows with the number: exponent {of_work:.3}"
    );
    assert!(
        exponent < EXPONENT_MAX,
        "the time grows with the number: exponent {exponent:.3}"
    );
}

#[test]
fn what_is_kept_for_others_is_passed_over_in_one_step() {
    let jails = 200;
    let mut world = World::new();
    for number in 0..jails {
        world.one_more(number);
    }
    world.thin_out(jails);
    assert_eq!(world.index.kept_count(), jails / 2);
    assert!(world.passed() <= PASSED_MAX, "{}", world.passed());
    world.one_more(jails);
    assert!(world.passed() <= PASSED_MAX, "{}", world.passed());
}
