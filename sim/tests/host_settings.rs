//! What the agent does to a host beside its jails: sysctls that the Host declares, modules that they come with, and the logs that jails write.

use cellblock_fakebsd::Release;
use cellblock_fakebsd::outside::Router;
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

/// A host that lives by what a router advertises, and its default route.
fn by_advertisement(world: &mut World) -> String {
    let router = Router {
        link_local: "fe80::1".parse().expect("an address"),
        prefix: "2001:db8:7::".parse().expect("a prefix"),
    };
    world.host.emulator().add_router("vtnet0", None, router);
    run(world, "sysctl net.inet6.ip6.forwarding=0");
    run(world, "ifconfig vtnet0 inet6 -ifdisabled accept_rtadv");
    world.sleep(2_000);
    world.host.emulator().advertise();
    default_route(world)
}

fn default_route(world: &World) -> String {
    let routes = run(world, "netstat -rn -6");
    let mut lines = routes.lines();
    let line = lines.find(|line| line.starts_with("default"));
    line.unwrap_or_default().to_owned()
}

fn host_trouble(report: &HostReport) -> String {
    let conditions = report.conditions.iter();
    let told = conditions.filter(|condition| condition.reason == "RouterWouldBeLost");
    told.map(|condition| condition.message.clone()).collect()
}

#[test]
fn a_host_that_lives_by_a_router_does_not_lose_it_by_forwarding() {
    let (forwarding, takes) = ("net.inet6.ip6.forwarding", "net.inet6.ip6.rfc6204w3");
    let mut world = World::new(Release::V15_1);
    let route = by_advertisement(&mut world);
    assert!(route.contains("fe80::1%vtnet0"), "{route}");
    // Alone it is refused: the next advertisement would take the route away, as it does when an operator does it by hand.
    world.take(declaring(serde_json::json!({ forwarding: 1 })));
    let told = host_trouble(&rest(&mut world));
    assert!(
        told.contains("declare net.inet6.ip6.rfc6204w3: 1"),
        "{told}"
    );
    assert_eq!(run(&world, &format!("sysctl -n {forwarding}")), "0");
    run(&world, &format!("sysctl {forwarding}=1"));
    world.host.emulator().advertise();
    assert_eq!(default_route(&world), "");
    run(&world, &format!("sysctl {forwarding}=0"));
    world.host.emulator().advertise();
    assert_eq!(default_route(&world), route);
    // With the other it is set, in the order that keeps the route.
    let both = serde_json::json!({ forwarding: 1, takes: 1 });
    world.take(declaring(both));
    assert_eq!(host_trouble(&rest(&mut world)), "");
    world.host.emulator().advertise();
    assert_eq!(default_route(&world), route);
    assert_eq!(run(&world, &format!("sysctl -n {forwarding}")), "1");
    // The other alone is not taken back while the host forwards.
    world.take(declaring(serde_json::json!({ forwarding: 1 })));
    let told = host_trouble(&rest(&mut world));
    assert!(
        told.contains("net.inet6.ip6.rfc6204w3=0 is not set"),
        "{told}"
    );
    assert_eq!(run(&world, &format!("sysctl -n {takes}")), "1");
    world.take(declaring(serde_json::json!({})));
    assert_eq!(host_trouble(&rest(&mut world)), "");
    assert_eq!(
        run(&world, &format!("sysctl -n {forwarding} {takes}")),
        "0\n0"
    );
    world.host.emulator().advertise();
    assert_eq!(default_route(&world), route);
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
