//! A host whose netgraph ngctl(8) cannot be told of, because the answers have no room in net.graph.recvspace: what is not on netgraph goes on, and what is stays as it is.

use cellblock_agent_core::names::Node;
use cellblock_agent_core::plan::reason;
use cellblock_fakebsd::Release;
use cellblock_schemas::condition::{Condition, ConditionStatus};
use cellblock_schemas::ids::Uid;
use cellblock_schemas::report::HostReport;
use cellblock_schemas::view::HostView;
use cellblock_sim::World;
use cellblock_sim::views::{Sketch, build};

const ROUNDS_MAX: usize = 100;

/// The generated networks `switch` (bridge) and `graph` (netgraph), both inside the host.
const SWITCH: usize = 2;
const GRAPH: usize = 6;

/// How many hooks and nodes have room in the default of 20,480 octets, ngctl's own node counted.
const HOOKS_MAX: usize = 149;
const NODES_MAX: usize = 283;

/// A view of jails `a`, `b` …, each on one network.
fn jails(networks: &[usize]) -> HostView {
    let sketches = [0, 1, 2, 3].map(|index| {
        let network = networks.get(index)?;
        Some(Sketch {
            networks: vec![*network],
            securelevel: -1,
            ..Sketch::default()
        })
    });
    build(&Default::default(), &sketches)
}

fn up(view: &HostView) -> World {
    let mut world = World::new(Release::V15_1);
    world.take(view.clone());
    let report = rest(&mut world);
    for jail in &report.jails {
        let ready = ready(&report, jail.uid.as_str());
        assert_eq!(ready.status, ConditionStatus::True, "{ready:?}");
    }
    world
}

fn rest(world: &mut World) -> HostReport {
    let rest = world.converge(ROUNDS_MAX).expect("it comes to rest");
    rest.last.report
}

fn ready<'r>(report: &'r HostReport, uid: &str) -> &'r Condition {
    let mut jails = report.jails.iter();
    let jail = jails.find(|jail| jail.uid.as_str() == uid);
    let mut conditions = jail.expect("it is reported").conditions.iter();
    conditions
        .find(|condition| condition.kind == "Ready")
        .expect("it is reported")
}

fn jid(world: &World, name: &str) -> Option<u32> {
    world.observe().jail(name).map(|jail| jail.jid)
}

fn switch(view: &HostView) -> String {
    Node::switch(&view.networks["graph"].uid).name(&view.cluster)
}

/// The nodes of ours on the host.
fn netgraph(world: &World) -> Vec<String> {
    let lines = world.fingerprint().into_iter();
    let ours = ["cbsw_", "cbhp_", "cbif_"].map(|prefix| format!("host netgraph {prefix}"));
    lines
        .filter(|line| ours.iter().any(|prefix| line.starts_with(prefix)))
        .collect()
}

#[test]
fn other_jails_go_on_and_those_of_switches_stay() {
    let view = jails(&[GRAPH, SWITCH]);
    let mut world = up(&view);
    let (state, before) = (world.settled(), jid(&world, "a"));
    world.run("sysctl net.graph.recvspace=400");
    world.run("jail -R b");
    let report = rest(&mut world);
    assert_eq!(ready(&report, "jail-b").status, ConditionStatus::True);
    let blocked = ready(&report, "jail-a");
    assert_eq!(blocked.reason, reason::NETGRAPH_UNREAD, "{blocked:?}");
    assert!(
        blocked.message.contains("raise that in spec.sysctls")
            && blocked.message.contains("net.graph.recvspace"),
        "{blocked:?}"
    );
    assert_eq!(jid(&world, "a"), before, "it runs on");
    world.run("sysctl net.graph.recvspace=20480");
    rest(&mut world);
    assert_eq!(world.settled(), state);
}

#[test]
fn what_is_to_go_waits_until_it_can_be_seen() {
    let view = jails(&[GRAPH, SWITCH]);
    let mut world = up(&view);
    let nodes = netgraph(&world);
    world.run("sysctl net.graph.recvspace=400");
    let mut going = view.clone();
    for jail in going.jails.values_mut() {
        jail.deleting = true;
    }
    world.take(going);
    let report = rest(&mut world);
    let is_gone =
        |report: &HostReport| -> Vec<bool> { report.jails.iter().map(|jail| jail.gone).collect() };
    assert_eq!(is_gone(&report), [false, true]);
    assert_eq!(ready(&report, "jail-a").reason, reason::NETGRAPH_UNREAD);
    assert_eq!(netgraph(&world), nodes, "nothing is taken away unseen");
    assert!(world.ledger().jails.contains_key(&Uid("jail-a".to_owned())));
    world.run("sysctl net.graph.recvspace=20480");
    assert_eq!(is_gone(&rest(&mut world)), [true, true]);
    assert!(world.ledger().jails.is_empty());
    assert!(world.observe().netgraph.named(&switch(&view)).is_none());
}

#[test]
fn a_hook_too_many_is_not_made() {
    let mut view = jails(&[GRAPH]);
    let mut world = up(&view);
    let ours = switch(&view);
    let has = |world: &World| {
        let nodes = world.observe().netgraph;
        assert_eq!(nodes.unread, None);
        nodes.named(&ours).expect("our switch").hooks.len()
    };
    for hook in has(&world)..HOOKS_MAX {
        world.run(&format!(
            "ngctl mkpeer {ours}: eiface link{} ether",
            hook + 100
        ));
    }
    let full = jails(&[GRAPH, GRAPH]);
    world.take(full.clone());
    let report = rest(&mut world);
    assert_eq!(ready(&report, "jail-a").status, ConditionStatus::True);
    let blocked = ready(&report, "jail-b");
    assert_eq!(blocked.reason, reason::NETGRAPH_FULL, "{blocked:?}");
    assert_eq!(has(&world), HOOKS_MAX);
    view = full;
    let space = serde_json::from_str("65536").expect("a value");
    let sysctls = &mut view.host.sysctls;
    sysctls.insert("net.graph.recvspace".to_owned(), space);
    world.take(view);
    let report = rest(&mut world);
    assert_eq!(ready(&report, "jail-b").status, ConditionStatus::True);
    assert_eq!(has(&world), HOOKS_MAX + 1);
}

#[test]
fn a_node_too_many_is_not_made() {
    let view = jails(&[GRAPH]);
    let mut world = up(&view);
    let nodes = |world: &World| world.observe().netgraph.nodes.len();
    // Some room is left for sockets and cards.
    while nodes(&world) < NODES_MAX - 16 {
        world.run("ngctl mkpeer eiface a ether");
    }
    let before = nodes(&world);
    world.take(jails(&[GRAPH, GRAPH, SWITCH]));
    let report = rest(&mut world);
    assert_eq!(ready(&report, "jail-a").status, ConditionStatus::True);
    assert_eq!(ready(&report, "jail-b").reason, reason::NETGRAPH_FULL);
    assert_eq!(ready(&report, "jail-c").status, ConditionStatus::True);
    assert!(nodes(&world) < before + 16);
}

#[test]
fn a_space_that_no_socket_can_have_is_named_as_the_cause() {
    let view = jails(&[GRAPH]);
    let mut world = up(&view);
    world.run("sysctl net.graph.recvspace=4000000");
    let report = rest(&mut world);
    let blocked = ready(&report, "jail-a");
    assert_eq!(blocked.reason, reason::NETGRAPH_UNREAD, "{blocked:?}");
    assert!(
        blocked.message.contains("kern.ipc.maxsockbuf"),
        "{blocked:?}"
    );
}
