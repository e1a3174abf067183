//! The manifests of `examples/jails/`, each brought up on an emulated host by the real controller core and the real agent, changed, and taken away. `deaths.rs` kills the agent at every effect of each.

use std::path::Path;

use cellblock_fakebsd::Release;
use cellblock_schemas::condition::{Condition, ConditionStatus};
use cellblock_sim::World;
use cellblock_sim::fleet::Fleet;

mod import;
mod limits;
mod live;
mod order;
mod probes;

/// How many passes a host may take to come to rest.
const ROUNDS_MAX: usize = 200;

/// The Host of every example.
const HOST: &str = "fbsd-01";

/// One example on its host.
struct Row {
    fleet: Fleet,
    world: World,
    manifest: String,
}

impl Row {
    /// The example's manifest, realised.
    fn up(path: &str) -> Self {
        Self::on(Release::V15_1, path)
    }

    fn on(release: Release, path: &str) -> Self {
        let mut row = Self::in_world(World::new(release), path);
        row.rest();
        row
    }

    /// The example's manifest, given to a host on which nothing has been done yet.
    fn in_world(mut world: World, path: &str) -> Self {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/jails");
        let manifest = std::fs::read_to_string(examples.join(path)).expect("the example is there");
        let mut fleet = Fleet::default();
        fleet.apply(&manifest).expect("it is admitted");
        for jail in fleet.index.jails_of_host(HOST) {
            let root = &jail.spec.root.as_ref().expect("a root").path;
            let mut emulator = world.host.emulator();
            let files = &mut emulator.files;
            files
                .create_directories(&format!("{root}/dev"))
                .expect("an empty file tree takes directories");
        }
        world.take(fleet.view(HOST).expect("the example has its host"));
        Self {
            fleet,
            world,
            manifest,
        }
    }

    /// Passes until nothing is left to do.
    fn rest(&mut self) {
        if let Err(stuck) = self.world.converge(ROUNDS_MAX) {
            panic!("{stuck:#?}");
        }
    }

    /// The manifest with `from` replaced by `to`, applied and realised.
    fn change(&mut self, from: &str, to: &str) {
        assert!(self.manifest.contains(from), "{from}");
        self.manifest = self.manifest.replacen(from, to, 1);
        self.fleet.apply(&self.manifest).expect("it is admitted");
        self.world
            .take(self.fleet.view(HOST).expect("the host is there"));
        self.rest();
    }

    /// What the host prints for a command line.
    fn run(&self, line: &str) -> String {
        self.world.host.emulator().sh(line).stdout.trim().to_owned()
    }

    /// The lines of commands that have run since `from`, of programs whose words begin with `words`.
    fn ran(&self, from: usize, words: &str) -> Vec<String> {
        let emulator = self.world.host.emulator();
        let lines = emulator.log.iter().skip(from).map(|run| run.argv.join(" "));
        lines.filter(|line| line.starts_with(words)).collect()
    }

    /// How many commands have run.
    fn now(&self) -> usize {
        self.world.host.emulator().log.len()
    }

    /// A condition of a jail, as it is reported now.
    fn condition(&mut self, jail: &str, kind: &str) -> Condition {
        let rest = self.world.converge(ROUNDS_MAX).expect("it comes to rest");
        let view = self.fleet.view(HOST).expect("the host is there");
        let mut views = view.jails.values();
        let uid = &views
            .find(|view| view.name == jail)
            .expect("it is there")
            .uid;
        let mut jails = rest.last.report.jails.iter();
        let report = jails.find(|report| report.uid == *uid);
        let conditions = &report.expect("it is reported").conditions;
        let found = conditions.iter().find(|condition| condition.kind == kind);
        found.expect("it is reported").clone()
    }

    fn is_ready(&mut self, jail: &str) -> bool {
        self.condition(jail, "Ready").status == ConditionStatus::True
    }
}
