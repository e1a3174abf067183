//! Set-ups and mishaps that generated views do not meet: one host thing that fails beside others, an uplink that becomes another NIC, names that came back from a jail.

use cellblock_agent_core::observed::{JailMeta, ObservedJail};
use cellblock_agent_core::plan::{owner_of, reason};
use cellblock_fakebsd::Release;
use cellblock_schemas::condition::{Condition, ConditionStatus};
use cellblock_schemas::jail::{Mount, ParameterValue, RunPolicy};
use cellblock_schemas::report::HostReport;
use cellblock_schemas::view::{HostView, JailView};
use cellblock_sim::World;
use cellblock_sim::trouble::Trouble;
use cellblock_sim::views::{Sketch, build, emptied};

const ROUNDS_MAX: usize = 100;

/// The view of one jail, `a`.
fn one(networks: &[usize], published: bool) -> HostView {
    let sketch = Sketch {
        networks: networks.to_vec(),
        published: published.then_some((8000, Some(80))),
        securelevel: -1,
        ..Sketch::default()
    };
    build(&Default::default(), &[Some(sketch), None, None, None])
}

fn jail(view: &mut HostView) -> &mut JailView {
    view.jails.values_mut().next().expect("the one jail")
}

fn rest(world: &mut World) -> HostReport {
    let rest = world.converge(ROUNDS_MAX).expect("it comes to rest");
    rest.last.report
}

fn condition<'a>(report: &'a HostReport, kind: &str) -> &'a Condition {
    let mut conditions = report.jails[0].conditions.iter();
    conditions
        .find(|condition| condition.kind == kind)
        .expect("it is reported")
}

fn is_up(world: &World, interface: &str) -> bool {
    world
        .observe()
        .interface(interface)
        .expect("it is there")
        .is_up()
}

#[test]
fn a_sysctl_that_cannot_be_set_keeps_neither_rules_nor_removals() {
    let mut world = World::new(Release::V15_1);
    let mut view = one(&[0], true);
    let settings = serde_json::json!({ "hw.machine": "vax" });
    view.host.sysctls = serde_json::from_value(settings).expect("a sysctl");
    world.take(view.clone());
    // The sysctl is tried again and again, so there is no rest.
    world.converge(20).expect_err("it cannot be set");
    let report = world.pass().expect("a pass").report;
    assert_eq!(condition(&report, "Ready").status, ConditionStatus::True);
    assert_eq!(
        condition(&report, "PublishReady").status,
        ConditionStatus::True
    );

    jail(&mut view).deleting = true;
    world.take(view);
    world.converge(20).expect_err("it cannot be set");
    let report = world.pass().expect("a pass").report;
    assert!(report.jails[0].gone, "{:#?}", report.jails[0]);
}

#[test]
fn the_alias_of_a_running_jail_follows_its_uplink() {
    let mut world = World::new(Release::V15_1);
    let mut view = one(&[1], false);
    world.take(view.clone());
    rest(&mut world);
    let uplink = view.host.uplinks.get_mut("external").expect("an uplink");
    uplink.interface = Some("vtnet1".to_owned());
    world.take(view);
    let report = rest(&mut world);
    assert_eq!(condition(&report, "Ready").status, ConditionStatus::True);
    let observed = world.observe();
    for address in ["10.0.2.50", "fd00:2::50"].map(|text| text.parse().expect("an address")) {
        let on = |name| {
            let interface = observed.interface(name).expect("a NIC");
            interface.address(address).is_some()
        };
        assert!(!on("vtnet0") && on("vtnet1"), "{address}");
    }
}

#[test]
fn a_host_end_in_another_bridge_comes_back() {
    let mut world = World::new(Release::V15_1);
    let view = one(&[2], false);
    world.take(view.clone());
    rest(&mut world);
    let (uid, jail) = view.jails.first_key_value().expect("the one jail");
    let interface = &jail.binding.attachments[0].interface;
    let host_end = cellblock_agent_core::names::epair_host_end(uid, interface);
    let ours = cellblock_agent_core::names::bridge(&view.networks["switch"].uid);
    world.run("ifconfig bridge create name theirbr");
    world.run(&format!("ifconfig {ours} deletem {host_end}"));
    world.run(&format!("ifconfig theirbr addm {host_end}"));
    rest(&mut world);
    let observed = world.observe();
    let bridge = observed.interface(&ours).expect("the bridge");
    assert!(bridge.members.contains_key(&host_end));
}

#[test]
fn a_jail_in_a_jail_is_never_ours_whatever_its_meta_says() {
    let mut world = World::new(Release::V15_1);
    world.take(one(&[], false));
    rest(&mut world);
    let observed = world.observe();
    let ours = observed.jail("a").expect("it runs").clone();
    let child = ObservedJail {
        name: "a.child".to_owned(),
        jid: 99,
        meta: Some(JailMeta {
            hash: "forged".to_owned(),
            ..ours.meta.clone().expect("15 has meta")
        }),
        ..ours.clone()
    };
    let owner = |jail| owner_of(&world.view, &observed, world.ledger(), jail);
    assert!(owner(&ours).is_some());
    assert_eq!(owner(&child), None);
}

#[test]
fn devfs_needs_its_ruleset_however_it_is_asked_for() {
    for asked in [
        ParameterValue::Flag(true),
        ParameterValue::Number(1),
        ParameterValue::Text("true".to_owned()),
    ] {
        let mut world = World::new(Release::V15_1);
        let mut view = one(&[], false);
        let parameters = &mut jail(&mut view).spec.parameters;
        parameters.insert("mount.devfs".to_owned(), asked);
        parameters.insert("devfs_ruleset".to_owned(), ParameterValue::Number(77));
        world.take(view);
        let report = rest(&mut world);
        assert_eq!(
            condition(&report, "Ready").reason,
            reason::DEVFS_RULESET_MISSING
        );
    }
}

#[test]
fn what_an_operator_mounted_after_a_reboot_stays() {
    let mut world = World::new(Release::V15_1);
    let mut view = one(&[], false);
    let parameters = &mut jail(&mut view).spec.parameters;
    parameters.insert("mount.devfs".to_owned(), ParameterValue::Flag(true));
    world.take(view.clone());
    rest(&mut world);
    world.host.emulator().reboot();
    world.start(None);
    world.run("mount -t devfs devfs /jails/a/dev");
    jail(&mut view).spec.run_policy = RunPolicy::Stopped;
    world.take(view);
    rest(&mut world);
    let mounts = world.observe().mounts;
    assert!(mounts.iter().any(|mount| mount.target == "/jails/a/dev"));
}

#[test]
fn an_uplink_whose_name_came_back_from_a_jail_as_well_is_left_alone() {
    let mut world = World::new(Release::V15_1);
    for line in [
        "jail -c name=rogue vnet persist path=/",
        "ifconfig epair create",
        "ifconfig epair0b vnet rogue",
        "ifconfig -j rogue epair0b name vtnet1",
        "jail -R rogue",
    ] {
        world.run(line);
    }
    // The kernel takes a network stack apart when its jail is long gone.
    world.sleep(5_000);
    assert_eq!(world.observe().interfaces_named("vtnet1").count(), 2);
    world.take(one(&[3], false));
    let report = rest(&mut world);
    assert_eq!(
        condition(&report, "Ready").reason,
        reason::AMBIGUOUS_INTERFACE
    );
    assert!(world.ledger().owned.is_empty());
    world.run("ifconfig epair0a destroy");
    let report = rest(&mut world);
    assert_eq!(condition(&report, "Ready").status, ConditionStatus::True);
}

#[test]
fn a_nic_that_somebody_has_come_to_use_is_not_put_down() {
    for used in [false, true] {
        let mut world = World::new(Release::V15_1);
        world.run("ifconfig vtnet1 down");
        let view = one(&[3], false);
        world.take(view.clone());
        rest(&mut world);
        assert!(is_up(&world, "vtnet1"));
        if used {
            world.run("ifconfig vtnet1 inet 198.51.100.9/24 alias");
        }
        world.take(emptied(&view));
        rest(&mut world);
        assert_eq!(is_up(&world, "vtnet1"), used);
    }
}

#[test]
fn a_former_uplink_that_somebody_has_come_to_use_is_not_put_down() {
    for line in [
        None,
        Some("ifconfig vtnet1 inet 198.51.100.9/24 alias"),
        Some("ifconfig vlan7 create vlan 7 vlandev vtnet1"),
    ] {
        let mut world = World::new(Release::V15_1);
        world.run("ifconfig vtnet1 down");
        world.run("ifconfig vtnet2 down");
        world.take(one(&[3], false));
        rest(&mut world);
        assert!(is_up(&world, "vtnet1"));
        if let Some(line) = line {
            world.run(line);
        }
        let mut moved = one(&[3], false);
        let lan = moved.networks.get_mut("lan").expect("its network");
        let bridge = lan.spec.bridge.as_mut().expect("a bridge");
        bridge.uplink = Some("third".to_owned());
        world.take(moved);
        rest(&mut world);
        assert!(is_up(&world, "vtnet2"));
        assert_eq!(is_up(&world, "vtnet1"), line.is_some(), "{line:?}");
    }
}

#[test]
fn what_a_failed_stop_left_mounted_is_taken_away_before_the_jail_starts_without_it() {
    for release in [Release::V15_1, Release::V14_3] {
        let mut world = World::new(release);
        let mut view = one(&[2], false);
        jail(&mut view).spec.mounts = vec![tmpfs()];
        world.take(view);
        rest(&mut world);
        // The first effect of the change is `jail -r`.
        world.start_troubled([(0, Trouble::Refused)].into());
        world.take(one(&[0], false));
        rest(&mut world);
        let observed = world.observe();
        let mut mounts = observed.mounts.iter();
        let left = mounts.any(|mount| mount.target == "/jails/a/tmp");
        assert!(!left, "{:#?}", world.changes());
    }
}

fn tmpfs() -> Mount {
    Mount {
        target: "/tmp".to_owned(),
        fs_type: "tmpfs".to_owned(),
        source: None,
        options: Vec::new(),
    }
}
