//! lagg(4) and vlan(4) beyond what the recordings have: as sys/net/if_lagg.c, sys/net/if_vlan.c and their halves of sbin/ifconfig say.

use super::{done, host, run_all};
use crate::emulator::Emulator;

fn refused(host: &mut Emulator, line: &str, why: &str) {
    let output = host.sh(line);
    assert_eq!(
        (output.status, output.stderr.as_str()),
        (1, format!("ifconfig: {why}\n").as_str()),
        "{line}"
    );
}

fn ports(host: &mut Emulator) -> Vec<String> {
    let shown = done(host, "ifconfig lagg0");
    let lines = shown.lines().filter(|line| line.starts_with("\tlagg"));
    lines.map(|line| line.trim().to_owned()).collect()
}

#[test]
fn ports_stand_in_the_order_of_their_numbers_and_the_first_to_join_is_the_master() {
    let mut host = host();
    run_all(
        &mut host,
        &[
            "ifconfig vtnet2 mtu 1400",
            "ifconfig lagg create laggproto failover lagghash l2,l3 laggport vtnet2 laggport vtnet1 up",
        ],
    );
    assert_eq!(
        ports(&mut host),
        [
            "laggproto failover lagghash l2,l3",
            "laggport: vtnet1 flags=0<>",
            "laggport: vtnet2 flags=5<MASTER,ACTIVE>"
        ]
    );
    // The first port's MTU and MAC address are the lagg's and with it every port's.
    let shown = done(&mut host, "ifconfig vtnet1");
    assert!(
        shown.contains("mtu 1400")
            && shown.contains("\tether 52:54:00:12:34:58\n\thwaddr 52:54:00:12:34:57\n"),
        "{shown}"
    );
    refused(
        &mut host,
        "ifconfig vtnet1 mtu 1300",
        "ioctl SIOCSIFMTU (set mtu): Invalid argument",
    );
    done(&mut host, "ifconfig lagg0 mtu 9000");
    assert!(done(&mut host, "ifconfig vtnet2").contains("mtu 9000"));
    // The master leaves: the next one is it, under its own address.
    done(&mut host, "ifconfig lagg0 -laggport vtnet2");
    assert_eq!(
        ports(&mut host)[1..],
        ["laggport: vtnet1 flags=5<MASTER,ACTIVE>"]
    );
    let shown = done(&mut host, "ifconfig vtnet2");
    assert!(
        shown.contains("<UP,")
            && shown.contains("mtu 9000")
            && shown.contains("\tether 52:54:00:12:34:58\n\tmedia"),
        "{shown}"
    );
    assert!(done(&mut host, "ifconfig lagg0").contains("ether 52:54:00:12:34:57"));
}

#[test]
fn which_port_is_active_goes_by_the_protocol() {
    let mut host = host();
    run_all(
        &mut host,
        &[
            "ifconfig lagg create laggproto failover laggport vtnet1 laggport vtnet2 up",
            "ifconfig vtnet1 down",
        ],
    );
    assert_eq!(
        ports(&mut host)[1..],
        [
            "laggport: vtnet1 flags=1<MASTER>",
            "laggport: vtnet2 flags=4<ACTIVE>"
        ]
    );
    for protocol in ["loadbalance", "roundrobin"] {
        done(&mut host, &format!("ifconfig lagg0 laggproto {protocol}"));
        assert_eq!(
            ports(&mut host)[1..],
            [
                "laggport: vtnet1 flags=0<>",
                "laggport: vtnet2 flags=4<ACTIVE>"
            ]
        );
    }
    done(&mut host, "ifconfig lagg0 laggproto lacp");
    assert_eq!(
        ports(&mut host)[1..],
        [
            "laggport: vtnet1 flags=0<>",
            "laggport: vtnet2 flags=1c<ACTIVE,COLLECTING,DISTRIBUTING>"
        ]
    );
    refused(
        &mut host,
        "ifconfig lagg0 laggproto foo",
        "Invalid aggregation protocol: foo",
    );
    refused(
        &mut host,
        "ifconfig lagg0 lagghash l2,lx",
        "Invalid lagghash option: lx",
    );
}

#[test]
fn what_is_no_port_is_refused_as_the_kernel_does() {
    let mut host = host();
    run_all(
        &mut host,
        &[
            "ifconfig lagg create",
            "ifconfig lagg create",
            "ifconfig bridge create",
            "ifconfig lagg1 laggport vtnet3",
        ],
    );
    let cases = [
        ("lo0", "Protocol not supported"),
        ("bridge0", "Protocol not supported"),
        ("lagg1", "Invalid argument"),
        ("lagg0", "Invalid argument"),
        ("vtnet3", "Device busy"),
    ];
    for (port, why) in cases {
        refused(
            &mut host,
            &format!("ifconfig lagg0 laggport {port}"),
            &format!("lagg0 {port}: SIOCSLAGGPORT: {why}"),
        );
    }
    refused(
        &mut host,
        "ifconfig lagg0 -laggport nosuch0",
        "SIOCSLAGGDELPORT: Invalid argument",
    );
    refused(
        &mut host,
        "ifconfig lagg0 -laggport vtnet1",
        "SIOCSLAGGDELPORT: No such file or directory",
    );
    refused(
        &mut host,
        "ifconfig bridge0 addm vtnet3",
        "BRDGADD vtnet3: Invalid argument (Unsupported interface type)",
    );
    // A member of a bridge is taken all the same.
    run_all(
        &mut host,
        &[
            "ifconfig bridge0 addm vtnet2",
            "ifconfig lagg0 laggport vtnet2",
        ],
    );
}

#[test]
fn a_port_loses_ipv6_when_it_joins_and_goes_down_with_its_lagg() {
    let mut host = host();
    run_all(
        &mut host,
        &[
            "ifconfig vtnet1 inet6 -ifdisabled up",
            "ifconfig lagg create laggport vtnet1 up",
        ],
    );
    assert!(!done(&mut host, "ifconfig vtnet1").contains("inet6"));
    // One that joins a lagg which is up is not brought up by it.
    done(&mut host, "ifconfig lagg0 laggport vtnet2");
    assert!(!done(&mut host, "ifconfig vtnet2").contains("<UP,"));
    run_all(&mut host, &["ifconfig lagg0 down", "ifconfig lagg0 up"]);
    assert!(done(&mut host, "ifconfig vtnet2").contains("<UP,"));
    done(&mut host, "ifconfig lagg0 destroy");
    assert!(done(&mut host, "ifconfig vtnet1").starts_with("vtnet1: flags=1008802<BROADCAST,"));
}

#[test]
fn a_vlan_takes_another_tag_where_it_stands_and_another_parent_only_without_one() {
    let mut host = host();
    run_all(
        &mut host,
        &["ifconfig vtnet1 mtu 9000", "ifconfig vlan create name dmz"],
    );
    assert!(
        done(&mut host, "ifconfig dmz")
            .contains("\tvlan: 0 vlanproto: 0x0000 vlanpcp: 0 parent interface: <none>\n")
    );
    refused(
        &mut host,
        "ifconfig dmz vlan 10",
        "both vlan and vlandev must be specified",
    );
    refused(
        &mut host,
        "ifconfig dmz vlan 10 vlandev nosuch0",
        "SIOCSETVLAN: No such file or directory",
    );
    refused(
        &mut host,
        "ifconfig dmz vlan 0 vlandev vtnet1",
        "SIOCSETVLAN: Invalid argument",
    );
    run_all(
        &mut host,
        &[
            "ifconfig dmz vlan 10 vlandev vtnet1",
            "ifconfig dmz vlan 11 vlandev vtnet1",
        ],
    );
    refused(
        &mut host,
        "ifconfig dmz mtu 9001",
        "ioctl SIOCSIFMTU (set mtu): Invalid argument",
    );
    refused(
        &mut host,
        "ifconfig dmz vlan 11 vlandev vtnet2",
        "SIOCSETVLAN: Device busy",
    );
    run_all(
        &mut host,
        &["ifconfig vlan create vlan 12 vlandev vtnet1 name lab"],
    );
    refused(
        &mut host,
        "ifconfig dmz vlan 12 vlandev vtnet1",
        "SIOCSETVLAN: File exists",
    );
    // The vlan has its parent's address; a bridge of it asks the parent for all frames.
    run_all(
        &mut host,
        &[
            "ifconfig vtnet1 ether 02:00:00:00:00:09",
            "ifconfig bridge create addm dmz",
        ],
    );
    assert!(
        done(&mut host, "ifconfig dmz").contains("mtu 9000")
            && done(&mut host, "ifconfig lab").contains("ether 02:00:00:00:00:09")
    );
    assert!(done(&mut host, "ifconfig vtnet1").contains("PROMISC"));
    run_all(
        &mut host,
        &[
            "ifconfig dmz -vlandev vtnet1",
            "ifconfig dmz vlan 11 vlandev vtnet2",
        ],
    );
    assert!(done(&mut host, "ifconfig bridge0").contains("member: dmz"));
    refused(
        &mut host,
        "ifconfig vlan create vlan 5 vlandev lo0",
        "SIOCIFCREATE2 (vlan): Protocol not supported",
    );
    refused(
        &mut host,
        "ifconfig vlan create vlan 5 vlandev nosuch0",
        "SIOCIFCREATE2 (vlan): Device not configured",
    );
    // Its parent goes.
    run_all(
        &mut host,
        &[
            "ifconfig lagg create laggport vtnet3 up",
            "ifconfig dmz -vlandev",
            "ifconfig dmz vlan 11 vlandev lagg0",
            "ifconfig lagg0 destroy",
        ],
    );
    assert!(
        done(&mut host, "ifconfig dmz").contains("mtu 1500")
            && done(&mut host, "ifconfig dmz").contains("<none>")
    );
}
