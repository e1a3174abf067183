//! Laggs and vlans: made, changed where they stand, and put back, each command only where it is needed.

use cellblock_agent_core::op::Op;

use super::Bench;

const LAGG: &str = "cblagg00000lg";
const LAGG_MARK: &str = "cellblock:c1:host-uid:lagg:wan wan";
const VLAN: &str = "cbvlan00000vl";
const VLAN_MARK: &str = "cellblock:c1:host-uid:vlan:office office";

fn create_lagg() -> Op {
    Op::CreateLagg {
        name: LAGG.to_owned(),
        description: LAGG_MARK.to_owned(),
    }
}

fn create_vlan() -> Op {
    Op::CreateVlan {
        name: VLAN.to_owned(),
        description: VLAN_MARK.to_owned(),
    }
}

fn set_lagg(protocol: &'static str, hash: Option<&str>, ports: &[&str], remove: &[&str]) -> Op {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Op::SetLagg {
        name: LAGG.to_owned(),
        protocol,
        hash: hash.map(str::to_owned),
        ports: owned(ports),
        remove: owned(remove),
    }
}

fn set_vlan(id: u16, parent: &str) -> Op {
    Op::SetVlan {
        name: VLAN.to_owned(),
        id,
        parent: parent.to_owned(),
    }
}

/// What changed something on the host, as commands.
fn changes(bench: &Bench, from: usize) -> Vec<String> {
    let emulator = bench.emulated.emulator();
    let logged = emulator.log.iter().skip(from);
    logged
        .filter(|logged| logged.changing)
        .map(|logged| logged.argv.join(" "))
        .collect()
}

fn done(bench: &Bench, op: &Op) -> Vec<String> {
    let from = bench.emulated.emulator().log.len();
    bench.do_twice(op);
    changes(bench, from)
}

#[test]
fn a_lagg_is_made_marked_and_then_given_its_ports() {
    let bench = Bench::new();
    assert_eq!(
        done(&bench, &create_lagg()),
        [format!(
            "ifconfig lagg create descr {LAGG_MARK} name {LAGG} up"
        )]
    );
    assert_eq!(
        done(
            &bench,
            &set_lagg("lacp", Some("l3,l4"), &["vtnet2", "vtnet1"], &[])
        ),
        [
            "laggproto lacp",
            "lagghash l3,l4",
            "laggport vtnet2",
            "laggport vtnet1"
        ]
        .iter()
        .flat_map(|words| {
            let port = words.strip_prefix("laggport ");
            let up = port.map(|port| format!("ifconfig {port} up"));
            [format!("ifconfig {LAGG} {words}")].into_iter().chain(up)
        })
        .collect::<Vec<_>>()
    );
    let lagg = bench.interface(LAGG).lagg.expect("it is one");
    assert_eq!(
        (lagg.protocol.as_str(), lagg.hash.as_str()),
        ("lacp", "l3,l4")
    );
    assert!(lagg.ports.keys().eq(["vtnet1", "vtnet2"]));
}

#[test]
fn another_master_is_left_alone_for_a_moment_and_the_lagg_is_never_empty() {
    let bench = Bench::new();
    done(&bench, &create_lagg());
    done(
        &bench,
        &set_lagg("failover", None, &["vtnet1", "vtnet2"], &[]),
    );
    let master = |bench: &Bench| {
        let lagg = bench.interface(LAGG).lagg.expect("it is one");
        lagg.master().map(str::to_owned)
    };
    assert_eq!(master(&bench).as_deref(), Some("vtnet1"));
    let commands = done(
        &bench,
        &set_lagg("failover", None, &["vtnet2", "vtnet1"], &[]),
    );
    assert_eq!(
        commands,
        [
            format!("ifconfig {LAGG} -laggport vtnet1"),
            format!("ifconfig {LAGG} laggport vtnet1")
        ]
    );
    assert_eq!(master(&bench).as_deref(), Some("vtnet2"));
    // One that is not in it yet joins before the others leave.
    let commands = done(
        &bench,
        &set_lagg("failover", None, &["vtnet3"], &["vtnet1", "vtnet2"]),
    );
    assert_eq!(
        commands,
        [
            format!("ifconfig {LAGG} laggport vtnet3"),
            "ifconfig vtnet3 up".to_owned(),
            format!("ifconfig {LAGG} -laggport vtnet1"),
            format!("ifconfig {LAGG} -laggport vtnet2")
        ]
    );
    assert_eq!(master(&bench).as_deref(), Some("vtnet3"));
}

#[test]
fn a_port_that_leaves_stays_up_and_has_its_own_address() {
    let bench = Bench::new();
    bench.sh("ifconfig vtnet2 mtu 1400");
    done(&bench, &create_lagg());
    done(
        &bench,
        &set_lagg("loadbalance", None, &["vtnet1", "vtnet2"], &[]),
    );
    let (first, second) = (bench.interface("vtnet1"), bench.interface("vtnet2"));
    assert_eq!((second.mac, second.mtu), (first.mac, 1500));
    let op = Op::RemovePort {
        lagg: LAGG.to_owned(),
        port: "vtnet2".to_owned(),
    };
    done(&bench, &op);
    let left = bench.interface("vtnet2");
    assert!(left.is_up() && left.mac != first.mac && left.mtu == 1500);
    // A port of no lagg at all.
    let gone = Op::RemovePort {
        lagg: "cbnosuch000lg".to_owned(),
        port: "vtnet2".to_owned(),
    };
    assert_eq!(done(&bench, &gone), Vec::<String>::new());
}

#[test]
fn a_vlan_changes_where_it_stands() {
    let bench = Bench::new();
    assert_eq!(
        done(&bench, &create_vlan()),
        [format!(
            "ifconfig vlan create descr {VLAN_MARK} name {VLAN} up"
        )]
    );
    let tag = |id, parent| format!("ifconfig {VLAN} vlan {id} vlandev {parent}");
    assert_eq!(done(&bench, &set_vlan(30, "vtnet1")), [tag(30, "vtnet1")]);
    assert_eq!(done(&bench, &set_vlan(40, "vtnet1")), [tag(40, "vtnet1")]);
    // Another parent is refused as long as it has one.
    let off = format!("ifconfig {VLAN} -vlandev vtnet1");
    assert_eq!(
        done(&bench, &set_vlan(40, "vtnet2")),
        [off, tag(40, "vtnet2")]
    );
    let unset = Op::UnsetVlan {
        name: VLAN.to_owned(),
    };
    assert_eq!(
        done(&bench, &unset),
        [format!("ifconfig {VLAN} -vlandev vtnet2")]
    );
    let vlan = bench.interface(VLAN).vlan.expect("it is one");
    assert_eq!((vlan.id, vlan.parent), (0, None));
}

#[test]
fn what_is_not_ours_or_no_lagg_is_refused() {
    let bench = Bench::new();
    bench.sh(&format!("ifconfig lagg create name {LAGG}"));
    bench.sh(&format!("ifconfig bridge create name {VLAN}"));
    for op in [create_lagg(), create_vlan(), set_vlan(30, "vtnet1")] {
        assert!(bench.perform(&op).is_err(), "{op:?}");
    }
    bench.sh("ifconfig lagg create laggport vtnet1");
    assert!(
        bench
            .perform(&set_lagg("lacp", None, &["vtnet1"], &[]))
            .is_err()
    );
    let option = set_lagg("lacp", None, &["-a"], &[]);
    assert!(bench.perform(&option).is_err());
}
