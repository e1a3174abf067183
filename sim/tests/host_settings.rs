//! What the agent does to a host beside its jails: sysctls that the Host declares, modules that they come with, and the logs that jails write.

use cellblock_fakebsd::Release;
use cellblock_schemas::condition::ConditionStatus;
use cellblock_schemas::report::HostReport;
use cellblock_schemas::view::HostView;
use cellblock_sim::World;
use cellblock_sim::views::{Sketch, build};
use cellblock_sim::world::FOLDER;

const ROUNDS_MAX: usize = 100;

fn declaring(sysctls: serde_json::Value) -> HostView {
    let mut view = build(&Default::default(), &[None, None, None, None]);
    view.host.sysctls = serde_json::from_value(sysctls).expect("sysctls");
    view
}

fn rest(world: &mut World) -> HostReport {
    let rest = world.converge(ROUNDS_MAX).expect("it comes to rest");
    rest.last.report
}

fn run(world: &World, line: &str) -> String {
    world.run(line).trim().to_owned()
}

const OID: &str = "net.link.bridge.pfil_member";

fn set(world: &World, value: u8) {
    run(world, &format!("sysctl {OID}={value}"));
}

fn value(world: &World) -> String {
    run(world, &format!("sysctl -n {OID}"))
}

#[test]
fn a_withdrawn_sysctl_goes_back_to_what_it_was() {
    let mut world = World::new(Release::V15_1);
    set(&world, 0);
    world.take(declaring(serde_json::json!({ OID: 1 })));
    rest(&mut world);
    assert_eq!(value(&world), "1");
    // Declared otherwise, changed by somebody while it is declared, set again: what was before stays known.
    world.take(declaring(serde_json::json!({ OID: 0 })));
    rest(&mut world);
    world.take(declaring(serde_json::json!({ OID: 1 })));
    rest(&mut world);
    set(&world, 0);
    rest(&mut world);
    assert_eq!(value(&world), "1");
    world.take(declaring(serde_json::json!({})));
    rest(&mut world);
    assert_eq!(value(&world), "0");
    assert!(
        world.ledger().owned.is_empty(),
        "{:?}",
        world.ledger().owned
    );
}

#[test]
fn a_withdrawn_sysctl_that_somebody_changed_is_left_alone() {
    let mut world = World::new(Release::V15_1);
    let oid = "net.inet.tcp.msl";
    let before: u32 = run(&world, &format!("sysctl -n {oid}"))
        .parse()
        .expect("a number");
    world.take(declaring(serde_json::json!({ oid: before + 1 })));
    rest(&mut world);
    run(&world, &format!("sysctl {oid}={}", before + 2));
    // The agent does not look between the operator's hand and the withdrawal.
    world.take(declaring(serde_json::json!({})));
    rest(&mut world);
    assert_eq!(
        run(&world, &format!("sysctl -n {oid}")),
        (before + 2).to_string()
    );
    assert!(
        world.ledger().owned.is_empty(),
        "{:?}",
        world.ledger().owned
    );
}

#[test]
fn a_sysctl_of_a_module_is_set_once_the_module_is_loaded() {
    let mut world = World::new(Release::V15_1);
    run(&world, "kldunload if_bridge");
    world.take(declaring(
        serde_json::json!({ OID: 0, "net.link.bridge.pfil_bridge": 0 }),
    ));
    let report = rest(&mut world);
    let ready = report
        .conditions
        .iter()
        .find(|condition| condition.kind == "Ready");
    assert_eq!(ready.expect("it is reported").status, ConditionStatus::True);
    assert_eq!(value(&world), "0");
    // An oid that comes with no module says so.
    world.take(declaring(
        serde_json::json!({ "net.link.bridge.nosuch": 0 }),
    ));
    let report = rest(&mut world);
    let ready = report
        .conditions
        .iter()
        .find(|condition| condition.kind == "Ready");
    assert_eq!(ready.expect("it is reported").reason, "NotCapable");
}

#[test]
fn a_console_log_is_bounded_and_goes_with_its_jail() {
    let mut world = World::new(Release::V15_1);
    let before = world.fingerprint();
    let sketch = Sketch {
        securelevel: -1,
        ..Sketch::default()
    };
    let view = build(&Default::default(), &[Some(sketch), None, None, None]);
    world.take(view.clone());
    rest(&mut world);
    let log = format!("{FOLDER}/jails/a.console");
    let size = |world: &World, path: &str| {
        let emulator = world.host.emulator();
        emulator.files.read(path).map_or(0, <[u8]>::len)
    };
    for _ in 0..3 {
        let line = b"the same line again and again\n".repeat(100_000);
        let written = world.host.emulator().files.append(&log, line);
        written.expect("it takes lines");
        rest(&mut world);
        assert_eq!(size(&world, &log), 0);
        assert_eq!(size(&world, &format!("{log}.0")), 1 << 20);
    }
    world.take(HostView {
        jails: Default::default(),
        ..view
    });
    rest(&mut world);
    assert_eq!(world.fingerprint(), before, "both are gone");
}
