//! Roots of jails that are links, that others have, or that no jail may have.

use cellblock_agent_core::plan::reason;
use cellblock_fakebsd::Release;
use cellblock_schemas::condition::{Condition, ConditionStatus};
use cellblock_schemas::jail::{ParameterValue, RunPolicy};
use cellblock_schemas::report::HostReport;
use cellblock_schemas::view::{HostView, JailView};
use cellblock_sim::World;
use cellblock_sim::views::{Sketch, build};

const ROUNDS_MAX: usize = 100;

/// Jails `a`, `b` … without networks, with these roots.
fn view(roots: &[&str]) -> HostView {
    let sketch = Sketch {
        devfs: true,
        securelevel: -1,
        ..Sketch::default()
    };
    let mut view = build(
        &Default::default(),
        &std::array::from_fn(|index| roots.get(index).map(|_| sketch.clone())),
    );
    for (jail, root) in view.jails.values_mut().zip(roots) {
        set_root(jail, root);
    }
    view
}

fn set_root(jail: &mut JailView, path: &str) {
    let root = jail.spec.root.as_mut().expect("it has one");
    path.clone_into(&mut root.path);
}

fn first(view: &mut HostView) -> &mut JailView {
    view.jails.values_mut().next().expect("a jail")
}

fn rest(world: &mut World) -> HostReport {
    let rest = world.converge(ROUNDS_MAX).expect("it comes to rest");
    rest.last.report
}

fn ready(report: &HostReport, jail: usize) -> &Condition {
    let mut conditions = report.jails[jail].conditions.iter();
    let found = conditions.find(|condition| condition.kind == "Ready");
    found.expect("it is reported")
}

fn assert_ready(report: &HostReport, jail: usize) {
    let ready = ready(report, jail);
    assert_eq!(ready.status, ConditionStatus::True, "{ready:?}");
}

fn assert_refused(report: &HostReport, jail: usize, reason: &str, word: &str) {
    let ready = ready(report, jail);
    assert_eq!(ready.reason, reason, "{ready:?}");
    assert!(ready.message.contains(word), "{ready:?}");
}

fn directory(world: &World, path: &str) {
    let files = &mut world.host.emulator().files;
    files
        .create_directories(path)
        .expect("it takes a directory");
}

/// `path` leads to `target` from now on.
fn link(world: &World, path: &str, target: &str) {
    let files = &mut world.host.emulator().files;
    let _ = files.remove(path);
    files.symlink(target, path).expect("it takes a link");
}

#[test]
fn a_root_behind_a_link_is_known_by_where_it_leads() {
    for release in [Release::V15_1, Release::V14_3] {
        let mut world = World::new(release);
        directory(&world, "/pool/a/dev");
        link(&world, "/jails/current", "/pool/a");
        let before = world.fingerprint();
        let mut asked = view(&["/jails/current"]);
        world.take(asked.clone());
        assert_ready(&rest(&mut world), 0);
        let running = world.observe();
        let jail = running.jail("a").expect("it runs");
        assert_eq!(jail.path, "/pool/a", "{release:?}");
        // The agent loses what it has in memory, and knows the jail again.
        world.start(None);
        let changing = world.changing_commands();
        assert_ready(&rest(&mut world), 0);
        assert_eq!(world.changing_commands(), changing, "{release:?}");
        // Killed, it leaves its mounts behind, under their real path.
        world.run("jail -R a");
        first(&mut asked).spec.run_policy = RunPolicy::Stopped;
        world.take(asked.clone());
        rest(&mut world);
        let mounts = world.observe().mounts;
        let left = mounts
            .iter()
            .find(|mount| mount.target.starts_with("/pool"));
        assert_eq!(left, None, "{release:?}");
        asked.jails.clear();
        world.take(asked);
        rest(&mut world);
        assert_eq!(world.fingerprint(), before, "{release:?}");
    }
}

#[test]
fn a_link_that_leads_elsewhere_moves_no_running_jail() {
    let mut world = World::new(Release::V15_1);
    for path in ["/pool/a/dev", "/pool/b/dev"] {
        directory(&world, path);
    }
    link(&world, "/jails/current", "/pool/a");
    let mut asked = view(&["/jails/current"]);
    world.take(asked.clone());
    rest(&mut world);
    let before = world.observe().jail("a").expect("it runs").jid;
    link(&world, "/jails/current", "/pool/b");
    let report = rest(&mut world);
    assert_refused(&report, 0, reason::ROOT_CHANGED, "/pool/b");
    let running = world.observe();
    assert_eq!(running.jail("a").expect("it runs on").jid, before);
    // Stopped and started by the operator, it moves.
    first(&mut asked).spec.run_policy = RunPolicy::Stopped;
    world.take(asked.clone());
    rest(&mut world);
    first(&mut asked).spec.run_policy = RunPolicy::Running;
    world.take(asked.clone());
    assert_ready(&rest(&mut world), 0);
    assert_eq!(world.observe().jail("a").expect("it runs").path, "/pool/b");
    // Another root in the manifest is a restart like any other.
    set_root(first(&mut asked), "/pool/a");
    world.take(asked);
    assert_ready(&rest(&mut world), 0);
    assert_eq!(world.observe().jail("a").expect("it runs").path, "/pool/a");
}

#[test]
fn no_jail_has_the_hosts_root_nor_the_agents_folder() {
    let mut world = World::new(Release::V15_1);
    link(&world, "/jails/all", "/");
    for (root, word) in [
        ("/", "host's own root"),
        ("/jails/all", "host's own root"),
        ("/var", "agent's folder"),
        ("/var/db/cellblock/jails", "agent's folder"),
    ] {
        world.take(view(&[root]));
        assert_refused(&rest(&mut world), 0, reason::ROOT_REFUSED, word);
    }
}

#[test]
fn no_two_jails_have_one_root() {
    let mut world = World::new(Release::V15_1);
    link(&world, "/jails/other", "/jails/a");
    let mut asked = view(&["/jails/a", "/jails/other"]);
    world.take(asked.clone());
    let report = rest(&mut world);
    assert_ready(&report, 0);
    assert_refused(&report, 1, reason::ROOT_IN_USE, "`a`");
    // Whoever runs there stays, whatever the order of names.
    let (uid, a) = asked.jails.pop_first().expect("jail a");
    first(&mut asked)
        .spec
        .parameters
        .insert("osreldate".to_owned(), ParameterValue::Number(1_400_000));
    world.take(asked.clone());
    assert_ready(&rest(&mut world), 0);
    asked.jails.insert(uid, a);
    world.take(asked);
    let report = rest(&mut world);
    assert_refused(&report, 0, reason::ROOT_IN_USE, "`b`");
    assert_ready(&report, 1);
}

#[test]
fn no_root_lies_inside_another_jails() {
    let mut world = World::new(Release::V15_1);
    for path in ["/jails/a/inner/dev", "/jails/b/theirs", "/jails/c/x/dev"] {
        directory(&world, path);
    }
    world.take(view(&["/jails/a/inner", "/jails/a"]));
    let report = rest(&mut world);
    assert_refused(&report, 0, reason::ROOT_REFUSED, "root of jail `b`");
    assert_ready(&report, 1);
    // Strangers' jails, inside and outside; one of the host's own root is in nobody's way.
    world.run("jail -c name=theirs persist path=/jails/b/theirs");
    world.run("jail -c name=outer persist path=/jails/c");
    world.run("jail -c name=service persist path=/");
    world.take(view(&["/jails/b", "/jails/c/x", "/jails/d"]));
    let report = rest(&mut world);
    assert_refused(&report, 0, reason::ROOT_REFUSED, "`theirs`");
    assert_refused(&report, 1, reason::ROOT_REFUSED, "`outer`");
    assert_ready(&report, 2);
}

#[test]
fn a_root_that_cannot_be_looked_at_is_its_jails_trouble_alone() {
    let mut world = World::new(Release::V15_1);
    link(&world, "/jails/round", "/jails/round");
    world.take(view(&["/jails/round", "/jails/b"]));
    let report = rest(&mut world);
    assert_refused(&report, 0, reason::ROOT_MISSING, "symbolic links");
    assert_ready(&report, 1);
}
