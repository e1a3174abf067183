//! Mishaps of netgraph switches: what drifts under running jails, what is somebody else's, and what a jail's root does.

use std::time::Duration;

use cellblock_agent_core::names::{self, Node};
use cellblock_agent_core::plan::reason;
use cellblock_fakebsd::Release;
use cellblock_schemas::condition::{Condition, ConditionStatus};
use cellblock_schemas::report::HostReport;
use cellblock_schemas::view::HostView;
use cellblock_sim::World;
use cellblock_sim::views::{Sketch, build, emptied};

const ROUNDS_MAX: usize = 100;

/// Longer than any of these connections is kept.
const OPEN: Duration = Duration::from_secs(3600);

/// 9 × 75 s, in which a connection is kept whose other side does not close.
const FIN_WAIT_2_MS: u64 = 675_000;

/// The generated networks `graph` (inside the host) and `ether` (uplink vtnet2).
const GRAPH: usize = 6;
const ETHER: usize = 7;

/// The view of one jail, `a`.
fn one(networks: &[usize]) -> HostView {
    let sketch = Sketch {
        networks: networks.to_vec(),
        securelevel: -1,
        ..Sketch::default()
    };
    build(&Default::default(), &[Some(sketch), None, None, None])
}

fn up(view: &HostView) -> World {
    let mut world = World::new(Release::V15_1);
    world.take(view.clone());
    ready(&mut world);
    world
}

fn rest(world: &mut World) -> HostReport {
    let rest = world.converge(ROUNDS_MAX).expect("it comes to rest");
    rest.last.report
}

fn condition(report: &HostReport) -> &Condition {
    let mut conditions = report.jails[0].conditions.iter();
    conditions
        .find(|condition| condition.kind == "Ready")
        .expect("it is reported")
}

fn ready(world: &mut World) {
    let report = rest(world);
    let condition = condition(&report);
    assert_eq!(condition.status, ConditionStatus::True, "{condition:?}");
}

fn blocked(world: &mut World, reason: &str) {
    let report = rest(world);
    assert_eq!(
        condition(&report).reason,
        reason,
        "{:?}",
        condition(&report)
    );
}

fn jid(world: &World) -> u32 {
    world.observe().jail("a").expect("it runs").jid
}

fn switch(view: &HostView, network: &str) -> String {
    Node::switch(&view.networks[network].uid).name(&view.cluster)
}

fn link(view: &HostView, interface: &str) -> String {
    let uid = view.jails.keys().next().expect("the one jail");
    Node::link(uid, interface).name(&view.cluster)
}

fn reaches(world: &World, to: &str) -> bool {
    let from = cellblock_fakebsd::trace::Origin::Jail("a".to_owned());
    let to = to.parse().expect("an address");
    let probe = cellblock_fakebsd::trace::Probe::tcp(from, to, 80);
    world.host.emulator().trace(&probe).reached()
}

#[test]
fn what_is_disconnected_or_shut_down_comes_back_under_the_running_jail() {
    let view = one(&[ETHER, GRAPH]);
    let (ether, graph) = (switch(&view, "ether"), switch(&view, "graph"));
    let ours = link(&view, "ether0");
    let port = Node::port(&view.networks["graph"].uid).name(&view.cluster);
    for line in [
        format!("ngctl shutdown {ether}:"),
        format!("ngctl shutdown {graph}:"),
        format!("ngctl rmhook {ether}: link0"),
        "ngctl rmhook vtnet2: upper".to_owned(),
        format!("ngctl rmhook {ours}: ether"),
        format!("ngctl shutdown {ours}:"),
        format!("ngctl shutdown {port}:"),
        "ngctl msg vtnet2: setpromisc 0".to_owned(),
        "ngctl msg vtnet2: setautosrc 1".to_owned(),
        format!("ngctl msg {ether}: setconfig {{ loopTimeout=60 minStableAge=1 }}"),
        format!(
            "ifconfig {} mtu 1400",
            names::switch_port(&view.networks["graph"].uid)
        ),
        "ifconfig -j a ether0 name vtnet2".to_owned(),
        "ifconfig -j a ether0 down".to_owned(),
    ] {
        let mut world = up(&view);
        let (before, state) = (jid(&world), world.fingerprint());
        world.run(&line);
        ready(&mut world);
        assert_eq!(jid(&world), before, "{line}: the jail ran on");
        assert!(
            reaches(&world, "10.70.0.1") && reaches(&world, "10.60.0.1"),
            "{line}"
        );
        let generated = |line: &&String| !line.contains(" if ngeth");
        let lines = |state: &[String]| state.iter().filter(generated).count();
        assert_eq!(lines(&world.fingerprint()), lines(&state), "{line}");
        // A MAC address moves at once, and nobody's link is muted for it.
        for switch in [&ether, &graph] {
            let config = world.run(&format!("ngctl msg {switch}: getconfig"));
            assert!(
                config.contains("{ debugLevel=1 maxStaleness=900 }"),
                "{config}"
            );
        }
    }
}

#[test]
fn an_interface_moved_to_somebody_elses_switch_comes_back() {
    let view = one(&[GRAPH]);
    let mut world = up(&view);
    world.run("ngctl mkpeer eiface a ether");
    world.run("ngctl mkpeer ngeth2: bridge ether link5");
    world.run("ngctl name ngeth2:ether theirs");
    let ours = link(&view, "graph0");
    world.run(&format!("ngctl rmhook {ours}: ether"));
    world.run(&format!("ngctl connect {ours}: theirs: ether link6"));
    ready(&mut world);
    let nodes = world.observe().netgraph;
    let node = nodes.named(&ours).expect("our node");
    assert_eq!(node.hooks["ether"].node, switch(&view, "graph"));
    let theirs = nodes.named("theirs").expect("their switch");
    assert_eq!(theirs.hooks.len(), 1, "what is theirs stays: {theirs:?}");
}

#[test]
fn a_root_that_called_its_interface_like_a_card_takes_nothing_along() {
    let view = one(&[ETHER]);
    let mut world = up(&view);
    world.run("ifconfig -j a ether0 name vtnet1");
    world.run("ifconfig -j a vtnet1 ether 02:de:ad:00:00:01");
    world.run("jail -R a");
    ready(&mut world);
    world.take(emptied(&view));
    rest(&mut world);
    let observed = world.observe();
    for card in ["vtnet0", "vtnet1", "vtnet2", "vtnet3"] {
        assert_eq!(observed.interfaces_named(card).count(), 1, "{card}");
    }
}

#[test]
fn what_somebody_connected_to_our_switch_keeps_it() {
    let view = one(&[GRAPH]);
    let mut world = up(&view);
    let graph = switch(&view, "graph");
    world.run(&format!("ngctl mkpeer {graph}: eiface link99 ether"));
    world.take(emptied(&view));
    let lines = rest(&mut world);
    let nodes = world.observe().netgraph;
    let kept = nodes.named(&graph).expect("it stays");
    assert_eq!(kept.hooks.len(), 1, "{kept:?} {lines:?}");
    world.run(&format!("ngctl rmhook {graph}: link99"));
    rest(&mut world);
    assert!(world.observe().netgraph.named(&graph).is_none());
    assert!(world.observe().netgraph.named("ngeth2").is_some());
}

#[test]
fn a_card_that_was_renamed_is_missed_until_it_has_its_name_again() {
    let view = one(&[ETHER]);
    let mut world = World::new(Release::V15_1);
    let untouched = world.fork().settled();
    world.take(view.clone());
    ready(&mut world);
    let before = jid(&world);
    world.run("ifconfig vtnet2 name lan0");
    blocked(&mut world, reason::UPLINK_MISSING);
    assert_eq!(jid(&world), before, "it runs on");
    world.run("ifconfig lan0 name vtnet2");
    ready(&mut world);
    assert_eq!(jid(&world), before);
    assert!(reaches(&world, "10.70.0.1"));
    world.take(emptied(&view));
    rest(&mut world);
    assert_eq!(world.settled(), untouched, "down and as it was");
    assert!(world.ledger().owned.is_empty());
}

#[test]
fn an_uplink_that_becomes_another_card() {
    let view = one(&[ETHER]);
    let mut world = up(&view);
    let before = jid(&world);
    let mut moved = view.clone();
    let uplink = moved.host.uplinks.get_mut("third").expect("an uplink");
    uplink.interface = Some("vtnet3".to_owned());
    world.take(moved);
    ready(&mut world);
    let nodes = world.observe().netgraph;
    assert!(nodes.named("vtnet2").expect("its node").hooks.is_empty());
    assert_eq!(nodes.named("vtnet3").expect("its node").hooks.len(), 2);
    assert_eq!(jid(&world), before, "the jail ran on");
    assert!(
        !world
            .observe()
            .interface("vtnet2")
            .expect("the card")
            .is_up()
    );
}

#[test]
fn cards_that_are_not_taken() {
    for (prepare, reason) in [
        (
            "ifconfig bridge create name theirbr addm vtnet2",
            reason::UPLINK_IN_USE,
        ),
        (
            "ngctl mkpeer vtnet2: bridge lower link0",
            reason::UPLINK_IN_USE,
        ),
        ("ngctl name vtnet2: mine", reason::NOT_CAPABLE),
        // More than an ng_eiface(4) can have.
        ("ifconfig vtnet2 mtu 9019", reason::NOT_CAPABLE),
        (
            "ifconfig vtnet2 inet 198.51.100.9/24",
            reason::UPLINK_HAS_ADDRESSES,
        ),
        (
            "ifconfig vtnet2 inet6 2001:db8:51::9/64",
            reason::UPLINK_HAS_ADDRESSES,
        ),
        (
            "route add -net 203.0.113.0/24 -iface vtnet2",
            reason::UPLINK_HAS_ADDRESSES,
        ),
        (
            "ifconfig vlan create vlan 9 vlandev vtnet2 inet 10.9.0.2/24",
            reason::UPLINK_HAS_ADDRESSES,
        ),
    ] {
        let mut world = World::new(Release::V15_1);
        world.run(prepare);
        // But for the ports that the Host closes, which go on.
        let others = |world: &World| -> Vec<String> {
            let lines = world.fingerprint().into_iter();
            lines.filter(|line| !line.contains(" pf ")).collect()
        };
        let before = others(&world);
        world.take(one(&[ETHER]));
        blocked(&mut world, reason);
        assert_eq!(others(&world), before, "{prepare}");
    }
    let mut world = World::new(Release::V15_1);
    let mut view = one(&[ETHER]);
    let uplink = view.host.uplinks.get_mut("third").expect("an uplink");
    uplink.interface = Some("vtnet0".to_owned());
    world.take(view);
    blocked(&mut world, reason::UPLINK_HAS_ADDRESSES);
}

#[test]
fn an_interface_is_not_taken_from_a_jail_that_the_kernel_holds() {
    let view = one(&[GRAPH]);
    let ours = link(&view, "graph0");
    let held = |release| {
        let mut world = World::new(release);
        world.take(view.clone());
        ready(&mut world);
        world.host.emulator().open_tcp("a", OPEN);
        world
    };
    let has_node = |world: &World| world.observe().netgraph.named(&ours).is_some();
    let waits = |world: &mut World| {
        for _ in 0..10 {
            world.pass().expect("the host can be observed");
        }
        let passed = world.pass().expect("the host can be observed");
        assert!(passed.plan.is_empty(), "{:?}", passed.plan.lines());
        assert_eq!(passed.plan.waiting[0].reason, reason::DYING);
        assert!(has_node(world));
    };
    for release in [Release::V15_1, Release::V14_3] {
        // Started again after it died by itself.
        let mut world = held(release);
        world.run("jail -R a");
        waits(&mut world);
        world.sleep(FIN_WAIT_2_MS);
        ready(&mut world);
        // Deleted, with its Host, so that only the ledger knows whose node it is.
        let mut world = held(release);
        world.take(emptied(&view));
        waits(&mut world);
        world.sleep(FIN_WAIT_2_MS);
        rest(&mut world);
        assert!(!has_node(&world), "{release:?}");
        assert!(world.ledger().jails.is_empty(), "{release:?}");
    }
}

#[test]
fn a_reboot_takes_everything_and_the_agent_brings_it_back() {
    let view = one(&[ETHER, GRAPH]);
    let mut world = up(&view);
    world.host.emulator().reboot();
    world.start(None);
    for line in [
        "kldload -n pf",
        "sysctl net.inet.ip.forwarding=1",
        "pfctl -e -f /etc/pf.conf",
    ] {
        world.run(line);
    }
    ready(&mut world);
    assert!(reaches(&world, "10.70.0.1") && reaches(&world, "10.60.0.1"));
}

#[test]
fn an_address_that_a_card_gets_at_its_switch_stays_until_the_card_leaves_it() {
    let view = one(&[ETHER]);
    let mut world = up(&view);
    world.run("ifconfig vtnet2 inet 198.51.100.9/24");
    ready(&mut world);
    world.run(&format!("ngctl shutdown {}:", switch(&view, "ether")));
    blocked(&mut world, reason::UPLINK_HAS_ADDRESSES);
    world.run("ifconfig vtnet2 inet 198.51.100.9 -alias");
    ready(&mut world);
}

#[test]
fn after_a_reboot_nothing_is_put_back_that_the_reboot_took() {
    let view = one(&[ETHER]);
    let mut world = up(&view);
    world.host.emulator().reboot();
    world.start(None);
    world.take(emptied(&view));
    rest(&mut world);
    assert!(world.ledger().owned.is_empty());
    // Nor is what the kernel forgot with the card's node.
    let mut world = up(&view);
    let switch = switch(&view, "ether");
    world.run(&format!("ngctl shutdown {switch}:"));
    world.run("ngctl name vtnet2: mine");
    world.take(emptied(&view));
    rest(&mut world);
    assert!(world.ledger().owned.is_empty());
}

#[test]
fn an_interface_of_the_hosts_own_is_mended_and_not_made_again() {
    let view = one(&[GRAPH]);
    let mut world = up(&view);
    let name = names::switch_port(&view.networks["graph"].uid);
    let port = Node::port(&view.networks["graph"].uid).name(&view.cluster);
    let node = |world: &World| world.run(&format!("ngctl show -n {port}:"));
    let (before, state) = (node(&world), world.settled());
    world.run(&format!("ifconfig {name} mtu 1400"));
    world.run(&format!("ifconfig {name} ether 02:00:00:00:00:01"));
    ready(&mut world);
    assert_eq!(node(&world), before);
    assert_eq!(world.settled(), state);
}

#[test]
fn a_lost_ledger_leaves_the_switch_and_its_jails_as_they_are() {
    let view = one(&[ETHER]);
    let mut world = up(&view);
    let before = world.fingerprint();
    world.disk.wipe();
    world.start(None);
    for _ in 0..3 {
        let report = world.pass().expect("a pass").report;
        assert_eq!(condition(&report).reason, "NotApproved");
    }
    assert_eq!(world.fingerprint(), before);
}
