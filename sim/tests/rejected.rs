//! Rules that pf does not take: they are those of their jail alone, which is closed; all others' are in force, nothing is loaded over and over, and once pf takes them they are loaded.

use std::net::IpAddr;

use cellblock_agent_core::names;
use cellblock_fakebsd::Release;
use cellblock_fakebsd::trace::{Origin, Place, Probe, Verdict};
use cellblock_schemas::condition::{Condition, ConditionStatus};
use cellblock_schemas::enforcement::member_filters;
use cellblock_schemas::host::SysctlValue;
use cellblock_schemas::ids::Uid;
use cellblock_schemas::jail::{Action, Firewall, PublicAddress, Publish, Rule};
use cellblock_schemas::net::{PortRange, Protocol};
use cellblock_schemas::report::HostReport;
use cellblock_schemas::view::{HostView, JailView};
use cellblock_sim::World;
use cellblock_sim::crash::Moment;
use cellblock_sim::views::{Sketch, build, emptied};

const ROUNDS_MAX: usize = 100;

/// Words of the rules of jail `b`, and of nobody else's, that this host's pfctl does not know.
const UNKNOWN: &str = "port 7777";

fn port(number: u16) -> PortRange {
    PortRange {
        first: number,
        last: number,
    }
}

fn published(number: u16) -> Publish {
    Publish {
        name: format!("p{number}"),
        protocol: Protocol::Tcp,
        ports: vec![port(number)],
        to: Some(80),
        uplink: "external".to_owned(),
        address: Some("main".to_owned()),
        network: None,
        shared: None,
        sticky: false,
    }
}

fn pass(number: u16) -> Rule {
    Rule {
        name: format!("p{number}"),
        action: Action::Pass,
        network: None,
        protocol: Some("tcp".to_owned()),
        ports: vec![port(number)],
        from: Vec::new(),
        to: Vec::new(),
        user: None,
        group: None,
    }
}

/// Jails `a`, `b` and `c` of one network, whose rules stand in one bucket; `b` and `c` have firewalls.
fn view(network: usize) -> HostView {
    let sketch = |index: usize| {
        (index < 3).then(|| Sketch {
            networks: vec![network],
            securelevel: -1,
            ..Sketch::default()
        })
    };
    let mut view = build(&Default::default(), &std::array::from_fn(sketch));
    let networks = view.networks.values();
    let filters: Vec<&str> = networks
        .flat_map(|network| member_filters(&network.spec))
        .collect();
    for oid in filters {
        view.host
            .sysctls
            .insert(oid.to_owned(), SysctlValue::Number(1));
    }
    let bucket = names::jail_anchor(&Uid("jail-a".to_owned()));
    let mut numbers = 0_u32..;
    let jails = std::mem::take(&mut view.jails);
    for (uid, mut jail) in jails {
        let is_there = |uid: &Uid| names::jail_anchor(uid) == bucket;
        let uid = Some(uid).filter(is_there).unwrap_or_else(|| {
            let mut uids = numbers.by_ref().map(|number| Uid(format!("jail-{number}")));
            uids.find(is_there).expect("one of 64")
        });
        jail.uid = uid.clone();
        jail.spec.publish = match jail.name.as_str() {
            "a" => vec![published(8000)],
            "b" => vec![published(8001)],
            _ => vec![published(8002)],
        };
        if jail.name != "a" {
            jail.spec.firewall = Some(Firewall {
                ingress: vec![pass(80)],
                egress: vec![pass(443)],
                default_ingress: Some(Action::Block),
                default_egress: Some(Action::Block),
                ..Firewall::default()
            });
        }
        view.jails.insert(uid, jail);
    }
    view
}

fn jail<'v>(view: &'v mut HostView, name: &str) -> &'v mut JailView {
    let mut jails = view.jails.values_mut();
    jails
        .find(|jail| jail.name == name)
        .expect("it is in the view")
}

/// `b` gets a rule that pf does not take.
fn spoil(view: &mut HostView) {
    let firewall = jail(view, "b").spec.firewall.as_mut();
    firewall.expect("it has one").egress.insert(0, pass(7777));
}

fn world() -> World {
    let world = World::new(Release::V15_1);
    world
        .host
        .emulator()
        .kernel
        .pf_lacks
        .insert(UNKNOWN.to_owned());
    world
}

fn take_all(world: &World) {
    world.host.emulator().kernel.pf_lacks.clear();
}

fn rest(world: &mut World) -> HostReport {
    let rest = world.converge(ROUNDS_MAX).expect("it comes to rest");
    rest.last.report
}

fn condition<'r>(view: &HostView, report: &'r HostReport, name: &str, kind: &str) -> &'r Condition {
    let uid = view.jails.values().find(|jail| jail.name == name);
    let uid = &uid.expect("a jail").uid;
    let jail = report.jails.iter().find(|jail| jail.uid == *uid);
    let mut conditions = jail.expect("it is reported").conditions.iter();
    let found = conditions.find(|condition| condition.kind == kind);
    found.expect("it is reported")
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Whether what comes for a port of the host reaches a jail.
fn comes_in(world: &World, port: u16) -> bool {
    let outside = Origin::Outside {
        interface: "vtnet0".to_owned(),
        source: address("10.0.2.2"),
    };
    let probe = Probe::tcp(outside, address("10.0.2.15"), port);
    let trace = world.host.emulator().send(&probe).trace;
    matches!(trace.verdict, Verdict::Reached { by, .. } if matches!(by.place, Place::Jail(_)))
}

/// Whether what comes for a port is dropped, and not the host's.
fn is_dropped(world: &World, public: &str, port: u16) -> bool {
    let outside = Origin::Outside {
        interface: "vtnet0".to_owned(),
        source: address("10.0.2.2"),
    };
    let probe = Probe::tcp(outside, address(public), port);
    let trace = world.host.emulator().send(&probe).trace;
    matches!(trace.verdict, Verdict::Blocked { .. })
}

fn goes_out(world: &World, jail: &str) -> bool {
    let probe = Probe::tcp(Origin::Jail(jail.to_owned()), address("10.0.2.2"), 443);
    world.host.emulator().send(&probe).trace.reached()
}

fn states(world: &World, port: u16) -> usize {
    let states = world.run("pfctl -ss");
    states.matches(&format!("10.0.2.15:{port}")).count()
}

/// How often rules were loaded into the buckets.
fn loads(world: &World) -> usize {
    let emulator = world.host.emulator();
    let loads = emulator.log.iter().filter(|logged| {
        let line = logged.argv.join(" ");
        line.contains("cellblock/") && line.contains(" -f ") && !line.contains(" -n ")
    });
    loads.count()
}

#[test]
fn a_rule_that_pf_rejects_closes_its_jail_and_no_other() {
    for network in [0, 2, 4] {
        let mut world = world();
        let before = world.settled();
        let mut good = view(network);
        world.take(good.clone());
        rest(&mut world);
        for port in [8000, 8001, 8002] {
            assert!(comes_in(&world, port), "{network} {port}");
        }
        assert!(goes_out(&world, "b"), "{network}");
        let states_of = [8000, 8001, 8002].map(|port| states(&world, port));
        let mut bad = good.clone();
        spoil(&mut bad);
        jail(&mut bad, "c").spec.publish.push(published(8003));
        world.take(bad.clone());
        let report = rest(&mut world);
        for kind in ["Ready", "FirewallReady", "PublishReady"] {
            let found = condition(&bad, &report, "b", kind);
            assert_eq!(found.reason, "RuleRejected", "{network} {found:?}");
            assert!(found.message.contains("syntax error"), "{found:?}");
            assert!(found.message.contains(UNKNOWN), "{found:?}");
            for other in ["a", "c"] {
                if kind == "FirewallReady" && other == "a" {
                    continue;
                }
                let found = condition(&bad, &report, other, kind);
                assert_eq!(found.status, ConditionStatus::True, "{network} {found:?}");
            }
        }
        let effective = report.conditions.iter();
        let mut effective = effective.filter(|found| found.kind == "PfEffective");
        let effective = effective.next().expect("it is reported");
        assert_eq!(effective.reason, "RuleRejected");
        assert!(effective.message.contains(" b,"), "{effective:?}");
        // Its connections have ended, the others' have not.
        assert_eq!(states(&world, 8000), states_of[0], "{network}");
        assert_eq!(states(&world, 8001), 0, "{network}");
        assert_eq!(states(&world, 8002), states_of[2], "{network}");
        for (port, comes) in [(8000, true), (8001, false), (8002, true), (8003, true)] {
            assert_eq!(comes_in(&world, port), comes, "{network} {port}");
        }
        for (name, goes) in [("a", true), ("b", false), ("c", true)] {
            assert_eq!(goes_out(&world, name), goes, "{network} {name}");
        }
        assert!(is_dropped(&world, "10.0.2.15", 8001), "{network}");
        // Nothing is loaded over and over, and what somebody takes away comes back, closed.
        let loaded = loads(&world);
        for _ in 0..5 {
            world.sleep(60_000);
            rest(&mut world);
        }
        assert_eq!(loads(&world), loaded, "{network}");
        let bucket = names::egress_anchor(&Uid("jail-a".to_owned()));
        world.run(&format!("pfctl -a {bucket} -F rules"));
        rest(&mut world);
        assert!(!goes_out(&world, "b"), "{network}");
        // A new release of pfctl takes them.
        take_all(&world);
        let report = rest(&mut world);
        assert_eq!(
            condition(&bad, &report, "b", "Ready").status,
            ConditionStatus::True
        );
        assert!(comes_in(&world, 8001) && goes_out(&world, "b"), "{network}");
        good.mark.generation.0 += 2;
        world.take(emptied(&good));
        rest(&mut world);
        assert_eq!(world.settled(), before, "{network}");
        assert!(
            world.ledger().owned.is_empty(),
            "{:#?}",
            world.ledger().owned
        );
    }
}

#[test]
fn a_jail_whose_rules_pf_rejects_does_not_start_and_starts_once_they_are_others() {
    let mut world = world();
    let good = view(0);
    let mut bad = good.clone();
    spoil(&mut bad);
    world.take(bad.clone());
    let report = rest(&mut world);
    assert!(world.observe().jail("b").is_none());
    assert_eq!(
        condition(&bad, &report, "b", "Ready").reason,
        "RuleRejected"
    );
    for other in ["a", "c"] {
        let ready = condition(&bad, &report, other, "Ready");
        assert_eq!(ready.status, ConditionStatus::True, "{ready:?}");
    }
    let mut mended = good;
    mended.mark.generation.0 += 1;
    jail(&mut mended, "b").generation.0 += 1;
    world.take(mended.clone());
    let report = rest(&mut world);
    let ready = condition(&mended, &report, "b", "Ready");
    assert_eq!(ready.status, ConditionStatus::True, "{ready:?}");
    let rejected = format!("{:?}", world.ledger().owned);
    assert!(!rejected.contains("Rejected"), "{rejected}");
}

fn newer(view: &mut HostView, name: &str) {
    view.mark.generation.0 += 1;
    jail(view, name).generation.0 += 1;
}

/// All is well, and the ledger has nothing of what was refused.
fn assert_forgotten(world: &mut World, view: &HostView) {
    let report = rest(world);
    for name in ["a", "b", "c"] {
        let ready = condition(view, &report, name, "Ready");
        assert_eq!(ready.status, ConditionStatus::True, "{name} {ready:?}");
    }
    let owned = format!("{:?}", world.ledger().owned);
    assert!(!owned.contains("Rejected"), "{owned}");
}

#[test]
fn a_jail_whose_mended_rules_are_those_that_close_it_is_well() {
    let mut world = world();
    let mut mended = view(0);
    let b = jail(&mut mended, "b");
    b.spec.publish.clear();
    let firewall = b.spec.firewall.as_mut().expect("it has one");
    firewall.ingress.clear();
    firewall.egress.clear();
    let mut bad = mended.clone();
    spoil(&mut bad);
    world.take(bad.clone());
    let report = rest(&mut world);
    assert_eq!(
        condition(&bad, &report, "b", "Ready").reason,
        "RuleRejected"
    );
    newer(&mut mended, "b");
    world.take(mended.clone());
    assert_forgotten(&mut world, &mended);
}

#[test]
fn rules_that_are_taken_back_before_their_jail_is_closed_leave_nothing() {
    let mut world = world();
    let mut good = view(0);
    world.take(good.clone());
    rest(&mut world);
    let mut bad = good.clone();
    spoil(&mut bad);
    newer(&mut bad, "b");
    world.take(bad);
    world.pass().expect("a pass");
    let owned = format!("{:?}", world.ledger().owned);
    assert!(owned.contains("Rejected"), "{owned}");
    newer(&mut good, "b");
    newer(&mut good, "b");
    world.take(good.clone());
    assert_forgotten(&mut world, &good);
    assert!(comes_in(&world, 8001) && goes_out(&world, "b"));
}

#[test]
fn a_refused_port_that_becomes_a_shared_one_leaves_nothing() {
    let mut world = world();
    let mut bad = view(0);
    let own = jail(&mut bad, "a").uid.clone();
    let lacks = format!("port 8000 tag \"cellblock:{own}:");
    world.host.emulator().kernel.pf_lacks.insert(lacks);
    world.take(bad.clone());
    let report = rest(&mut world);
    let found = condition(&bad, &report, "a", "PublishReady");
    assert_eq!(found.reason, "RuleRejected", "{found:?}");
    let mut mended = bad;
    jail(&mut mended, "a").spec.publish[0].shared = Some("web".to_owned());
    newer(&mut mended, "a");
    world.take(mended.clone());
    assert_forgotten(&mut world, &mended);
    assert!(comes_in(&world, 8000));
}

#[test]
fn the_public_address_of_a_closed_jail_is_not_the_hosts_meanwhile() {
    for (network, ports) in [
        (0, vec![]),
        (0, vec![port(9000)]),
        (2, vec![]),
        (2, vec![port(9000)]),
    ] {
        let mut world = world();
        let mut good = view(network);
        world.add_public_addresses(&good.host);
        let uids: Vec<String> = good.jails.keys().map(ToString::to_string).collect();
        jail(&mut good, "b").spec.public_addresses = vec![PublicAddress {
            name: "own".to_owned(),
            uplink: "external".to_owned(),
            address: "own-b".to_owned(),
            network: None,
            ports: ports.clone(),
            protocol: None,
        }];
        jail(&mut good, "b")
            .spec
            .firewall
            .as_mut()
            .expect("it has one")
            .ingress
            .push(pass(9000));
        world.take(good.clone());
        rest(&mut world);
        let bucket = names::jail_anchor(&Uid(uids[0].clone()));
        let own = jail(&mut good, "b").uid.clone();
        let tagged = format!("tagged \"cellblock:{own}:");
        let tagged = [tagged.clone(), tagged.replace('"', "")];
        assert!(
            !is_dropped(&world, "10.0.2.102", 9000),
            "{network} {ports:?}"
        );
        let mut bad = good.clone();
        spoil(&mut bad);
        newer(&mut bad, "b");
        world.take(bad.clone());
        let report = rest(&mut world);
        assert_eq!(
            condition(&bad, &report, "b", "Ready").reason,
            "RuleRejected"
        );
        assert!(
            is_dropped(&world, "10.0.2.102", 9000),
            "{network} {ports:?}\n{}",
            world.run(&format!("pfctl -a {bucket} -sr"))
        );
        assert!(!goes_out(&world, "b"), "{network} {ports:?}");
        // The translation stands in the anchor of the network, and may stand there still when this one is loaded.
        let egress = world.run(&format!("pfctl -a {} -sr", names::egress_anchor(&own)));
        let is_closed = |line: &str| {
            line.starts_with("block drop out")
                && line.contains("10.0.2.102")
                && tagged.iter().any(|tag| line.contains(tag))
        };
        assert!(network != 0 || egress.lines().any(is_closed), "{egress}");
    }
}

#[test]
fn shared_ports_lead_to_who_is_left_and_never_to_the_host() {
    for waits in [false, true] {
        let mut world = world();
        let mut good = view(0);
        for name in ["a", "b"] {
            let mut publish = published(8000);
            publish.shared = Some("web".to_owned());
            jail(&mut good, name).spec.publish = vec![publish];
        }
        let mut bad = good;
        // `a` is behind the port and never up, or not there.
        if waits {
            jail(&mut bad, "a").spec.depends_on = vec!["nobody".to_owned()];
        } else {
            jail(&mut bad, "a").spec.publish.clear();
        }
        world.take(bad.clone());
        rest(&mut world);
        assert!(comes_in(&world, 8000));
        spoil(&mut bad);
        newer(&mut bad, "b");
        world.take(bad.clone());
        let report = rest(&mut world);
        assert_eq!(
            condition(&bad, &report, "b", "Ready").reason,
            "RuleRejected"
        );
        let bucket = names::pool_anchor("web");
        let rules = world.run(&format!("pfctl -a {bucket} -sr"));
        let translations = world.run(&format!("pfctl -a {bucket} -sn"));
        assert!(!comes_in(&world, 8000));
        assert_eq!(is_dropped(&world, "10.0.2.15", 8000), !waits, "{rules}");
        assert_eq!(translations.contains("rdr"), waits, "{translations}");
        take_all(&world);
        rest(&mut world);
        assert!(comes_in(&world, 8000));
    }
}

#[test]
fn an_agent_that_dies_at_any_moment_closes_the_jail_all_the_same() {
    let good = view(0);
    let mut bad = good.clone();
    spoil(&mut bad);
    let mut reference = world();
    reference.take(good.clone());
    rest(&mut reference);
    let standing = reference.fork();
    reference.start(None);
    reference.take(bad.clone());
    rest(&mut reference);
    let without_states = |world: &mut World| {
        let mut settled = world.settled();
        settled.retain(|line| !line.contains(" pf state "));
        settled
    };
    let wanted = without_states(&mut reference);
    for number in 0..reference.effects() {
        let mut world = standing.fork();
        world.start(Some(Moment::After(number)));
        world.take(bad.clone());
        rest(&mut world);
        assert!(!goes_out(&world, "b"), "{number}");
        assert!(goes_out(&world, "c"), "{number}");
        assert!(without_states(&mut world) == wanted, "{number}");
    }
}
