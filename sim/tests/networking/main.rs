//! The manifests of `examples/networking/`, each brought up on an emulated host by the real controller core and the real agent, checked by packet trace, changed, and taken away.
//!
//! Each row says what must reach what, and what must not. What must not has first been let through with the rule taken away: a check that could not fail would prove nothing.
//! `deaths.rs` kills the agent at every effect of each.

use std::path::Path;

use cellblock_fakebsd::Release;
use cellblock_fakebsd::trace::{Origin, Place, Probe, Trace, Verdict};
use cellblock_schemas::Kind;
use cellblock_schemas::condition::ConditionStatus;
use cellblock_sim::World;
use cellblock_sim::fleet::Fleet;

mod bridge;
mod dynamic;
mod firewall;
mod host_on_bridge;
mod isolation;
mod lagg;
mod netgraph;
mod one_to_one;
mod own_pf;
mod pf_conf;
mod routed;
mod routed_hosts;
mod safe_changes;
mod securelevel;
mod shared_ip;
mod shared_ports;
mod six_modes;
mod tables;

/// How many passes a host may take to come to rest.
const ROUNDS_MAX: usize = 200;

/// The Host of every example.
const HOST: &str = "fbsd-01";

/// One example on its host.
struct Row {
    fleet: Fleet,
    world: World,
    before: Vec<String>,
}

impl Row {
    /// The example's manifest, given to a host on which nothing has been done yet.
    fn new(path: &str) -> Self {
        Self::of(&manifest(path))
    }

    /// The same with any manifest.
    fn of(manifest: &str) -> Self {
        let mut fleet = Fleet::default();
        fleet.apply(manifest).expect("it is admitted");
        let mut world = World::new(Release::V15_1);
        for jail in fleet.index.jails_of_host(HOST) {
            let root = &jail.spec.root.as_ref().expect("a root").path;
            let mut emulator = world.host.emulator();
            emulator
                .files
                .create_directories(&format!("{root}/dev"))
                .expect("an empty file tree takes directories");
        }
        let view = fleet.view(HOST).expect("the example has its host");
        world.add_public_addresses(&view.host);
        let before = world.fork().settled();
        world.take(view);
        Self {
            fleet,
            world,
            before,
        }
    }

    /// The example's manifest, realised.
    fn up(path: &str) -> Self {
        let mut row = Self::new(path);
        row.rest();
        row
    }

    /// Until nothing is left to do; every jail must be ready then.
    fn rest(&mut self) {
        let rest = self.world.converge(ROUNDS_MAX).expect("it comes to rest");
        for jail in &rest.last.report.jails {
            for condition in &jail.conditions {
                let fine = condition.status == ConditionStatus::True;
                assert!(fine || jail.gone, "{:?} {condition:?}", jail.uid);
            }
        }
        let report = rest.last.report;
        self.fleet.hear(HOST, &report).expect("it is folded");
    }

    /// Applies more, and waits until it is so.
    fn change(&mut self, manifest: &str) {
        self.fleet.apply(manifest).expect("it is admitted");
        self.take();
    }

    fn take(&mut self) {
        let view = self.fleet.view(HOST).expect("the host is still there");
        self.world.take(view);
        self.rest();
    }

    /// Deletes every jail; nothing of the example may be left on the host.
    fn take_away(mut self) {
        let jails = self.fleet.index.jails_of_host(HOST);
        let jails: Vec<String> = jails.map(|jail| jail.metadata.name.clone()).collect();
        for jail in &jails {
            self.fleet.delete(Kind::Jail, jail).expect("it may go");
        }
        self.take();
        self.take();
        assert_eq!(self.fleet.index.jails_of_host(HOST).count(), 0);
        let after = self.world.settled();
        let gained: Vec<_> = after
            .iter()
            .filter(|line| !self.before.contains(line))
            .collect();
        // What the Host declares stays while the Host does.
        let gained: Vec<_> = gained
            .iter()
            .filter(|line| !line.starts_with("sysctl"))
            .collect();
        assert!(gained.is_empty(), "left behind: {gained:#?}");
    }

    fn tcp(&self, from: &Origin, to: &str, port: u16) -> Trace {
        self.trace(&Probe::tcp(
            from.clone(),
            to.parse().expect("an address"),
            port,
        ))
    }

    fn trace(&self, probe: &Probe) -> Trace {
        self.world.host.emulator().trace(probe)
    }

    /// `from` reaches `place`, which sees the source `seen`.
    fn reaches(&self, from: &Origin, to: &str, port: u16, place: &Place, seen: &str) {
        reached(&self.tcp(from, to, port), place, seen);
    }

    /// It gets nowhere, and no rule says so.
    fn lost(&self, from: &Origin, to: &str, port: u16) {
        let trace = self.tcp(from, to, port);
        assert!(matches!(trace.verdict, Verdict::Lost { .. }), "{trace}");
    }

    fn blocked(&self, from: &Origin, to: &str, port: u16) {
        let trace = self.tcp(from, to, port);
        assert!(matches!(trace.verdict, Verdict::Blocked { .. }), "{trace}");
    }
}

fn manifest(path: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/networking");
    std::fs::read_to_string(folder.join(path)).expect("examples are committed")
}

fn reached(trace: &Trace, place: &Place, seen: &str) {
    let Verdict::Reached { by, source } = &trace.verdict else {
        panic!("{trace}");
    };
    assert_eq!(
        (&by.place, source.to_string().as_str()),
        (place, seen),
        "{trace}"
    );
}

fn jail(name: &str) -> Origin {
    Origin::Jail(name.to_owned())
}

fn in_jail(name: &str) -> Place {
    Place::Jail(name.to_owned())
}

fn outside(interface: &str, source: &str) -> Origin {
    Origin::Outside {
        interface: interface.to_owned(),
        source: source.parse().expect("an address"),
    }
}

fn behind(interface: &str) -> Place {
    Place::Outside(interface.to_owned())
}
