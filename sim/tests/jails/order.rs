//! The order of jails: they start after those that they depend on, also with no controller, and stop before them.

use cellblock_schemas::Kind;
use cellblock_sim::world::FOLDER;

use super::*;

const EXAMPLE: &str = "order/order.yaml";

impl Row {
    /// The jails that jail(8) was told to start (`-c`) or to stop (`-r`) since `from`, in order.
    fn jails(&self, from: usize, flag: &str) -> Vec<String> {
        let ran = self.ran(from, "jail -");
        let words = ran.iter().filter_map(|line| line.split_once(flag));
        words.map(|(_, name)| name.trim().to_owned()).collect()
    }

    fn is_running(&self, jail: &str) -> bool {
        self.run("jls name").lines().any(|name| name == jail)
    }

    /// Applies what the manifest has become, and passes until nothing is left to do.
    fn apply(&mut self, manifest: &str) {
        self.fleet.apply(manifest).expect("it is admitted");
        let view = self.fleet.view(HOST).expect("the host is there");
        self.world.take(view);
        self.rest();
    }
}

#[test]
fn jails_start_after_those_that_they_depend_on_and_stop_before_them() {
    let mut row = Row::up(EXAMPLE);
    assert_eq!(row.jails(0, " -c "), ["db", "app", "web"]);
    for jail in ["db", "app", "web"] {
        assert!(row.is_ready(jail), "{jail}");
    }
    // All of them at once.
    let from = row.now();
    let stop = "exec.start: /bin/sh /etc/rc\n";
    let changed = row
        .manifest
        .replace(stop, "exec.start: /bin/sh /etc/rc -v\n");
    row.apply(&changed);
    assert_eq!(row.jails(from, " -r "), ["web", "app", "db"]);
    assert_eq!(row.jails(from, " -c "), ["db", "app", "web"]);
    // One of them: nobody else is stopped for it.
    let from = row.now();
    let changed = changed.replace(
        "root: {path: /jails/db}\n",
        "root: {path: /jails/db}\n  restart: now\n",
    );
    row.apply(&changed);
    assert_eq!(row.jails(from, " -r "), ["db"]);
    assert_eq!(row.jails(from, " -c "), ["db"]);
    // After a boot, from what the ledger has.
    row.world.host.emulator().reboot();
    let from = row.now();
    row.world.start(None);
    row.rest();
    assert_eq!(row.jails(from, " -c "), ["db", "app", "web"]);
    // Deleted together.
    let from = row.now();
    for jail in ["db", "app", "web"] {
        row.fleet.delete(Kind::Jail, jail).expect("it may go");
    }
    row.world
        .take(row.fleet.view(HOST).expect("the host is there"));
    row.rest();
    assert_eq!(row.jails(from, " -r "), ["web", "app", "db"]);
}

#[test]
fn a_jail_says_what_it_waits_for() {
    let mut row = Row::up(EXAMPLE);
    row.change("dependsOn: [db]", "dependsOn: [cache]");
    // One that runs goes on.
    assert!(row.is_ready("app"));
    // A restart would only stop it.
    row.change("dependsOn: [cache]", "dependsOn: [cache]\n  restart: now");
    assert!(row.is_running("app"));
    let ready = row.condition("app", "Ready");
    assert_eq!(ready.reason, "DependencyMissing");
    assert!(ready.message.contains("`cache`"), "{}", ready.message);
    let from = row.now();
    row.run("jail -r app");
    row.rest();
    assert_eq!(row.condition("app", "Ready").reason, "DependencyMissing");
    assert!(row.is_running("web"));
    assert_eq!(row.jails(from, " -c "), [""; 0]);
    // What it depends on may come later, and be stopped.
    let cache = row
        .manifest
        .split("---")
        .last()
        .expect("the last jail")
        .replace("db", "cache");
    row.world
        .host
        .emulator()
        .files
        .create_directories("/jails/cache/dev")
        .expect("a folder");
    let stopped = cache.replace(
        "  host: fbsd-01\n",
        "  host: fbsd-01\n  runPolicy: Stopped\n",
    );
    row.apply(&stopped);
    assert_eq!(row.condition("app", "Ready").reason, "DependencyNotReady");
    row.apply(&cache);
    assert_eq!(row.jails(from, " -c "), ["cache", "app"]);
    assert!(row.is_ready("app"));
}

/// While the first to start has not come to the end of its hooks, and after it has failed.
#[test]
fn a_start_that_takes_its_time_or_fails_is_waited_for() {
    let mut row = Row::in_world(World::new(cellblock_fakebsd::Release::V15_1), EXAMPLE);
    row.world.take_time();
    let slow = row.manifest.replace(
        "root: {path: /jails/db}\n  parameters:\n    exec.start: /bin/sh /etc/rc",
        "root: {path: /jails/db}\n  parameters:\n    exec.start: sleep 30",
    );
    assert_ne!(slow, row.manifest);
    row.fleet.apply(&slow).expect("it is admitted");
    row.world
        .take(row.fleet.view(HOST).expect("the host is there"));
    for _ in 0..5 {
        row.world.pass().expect("a pass");
    }
    assert_eq!(row.jails(0, " -c "), ["db"]);
    let passed = row.world.pass().expect("a pass");
    let conditions = passed.report.jails.iter().flat_map(|jail| &jail.conditions);
    let mut reasons: Vec<&str> = conditions
        .map(|found| found.reason.as_str())
        .filter(|reason| *reason != "Bound")
        .collect();
    reasons.sort_unstable();
    assert_eq!(
        reasons,
        ["Busy", "DependencyNotReady", "DependencyNotReady"]
    );
    let mut waiting = passed.plan.waiting.iter().map(ToString::to_string);
    let told = "it depends on jail `app`, which is not up yet".to_owned();
    assert!(waiting.any(|found| found == told), "{:?}", passed.plan);
    row.rest();
    assert_eq!(row.jails(0, " -c "), ["db", "app", "web"]);
}

/// What is to be repaired at a jail that runs keeps nobody waiting: it may fail for ever.
#[test]
fn a_repair_of_one_that_runs_keeps_nobody_waiting() {
    let mut row = Row::up(EXAMPLE);
    let from = row.now();
    let conf = format!("{FOLDER}/jails/db.conf");
    row.run("jail -r app");
    {
        let mut emulator = row.world.host.emulator();
        let files = &mut emulator.files;
        files.write(&conf, "somebody's").expect("a file");
        files.set_immutable(&conf, true);
    }
    row.world.pass().expect("a pass");
    assert_eq!(row.jails(from, " -c "), ["app"]);
    // Nor is one stopped for a restart that does not start again.
    let changed = row
        .manifest
        .replace("dependsOn: [db]\n", "dependsOn: [db]\n  restart: now\n");
    row.fleet.apply(&changed).expect("it is admitted");
    row.world
        .take(row.fleet.view(HOST).expect("the host is there"));
    for _ in 0..3 {
        row.world.pass().expect("a pass");
    }
    assert_eq!(row.jails(from, " -c "), ["app", "app"]);
    let emulator = row.world.host.emulator();
    assert_eq!(
        emulator.files.read_text(&conf).expect("a file"),
        "somebody's"
    );
}
