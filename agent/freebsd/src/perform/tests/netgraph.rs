//! Netgraph switches: what is made, what is refused, and what stays untouched.

use cellblock_agent_core::host::Wanted;
use cellblock_agent_core::observed::{EtherSettings, Netgraph};
use cellblock_agent_core::op::{Eiface, Op};

use super::{Bench, mac};

const SWITCH: &str = "cbsw_aaaaaaaa_bbbbbbbbbb";

/// What an uplink needs: the NIC takes frames for others.
const OPEN: EtherSettings = EtherSettings {
    promiscuous: true,
    autosrc: false,
};

fn eiface() -> Eiface {
    Eiface {
        node: "cbif_aaaaaaaa_cccccccccc_ddddd".to_owned(),
        switch: SWITCH.to_owned(),
        hook: "link2".to_owned(),
        interface: "cbjail000000n".to_owned(),
        description: "cellblock:c1:jail-uid:jail:vnet0 www".to_owned(),
        mac: mac("02:cb:00:00:00:03"),
        mtu: 1450,
    }
}

fn create() -> Op {
    Op::CreateSwitch {
        switch: SWITCH.to_owned(),
    }
}

fn connect() -> Op {
    Op::ConnectUplink {
        switch: SWITCH.to_owned(),
        interface: "vtnet1".to_owned(),
    }
}

fn set_ether(settings: EtherSettings) -> Op {
    Op::SetEther {
        interface: "vtnet1".to_owned(),
        settings,
    }
}

fn shutdown(node: &str, kind: &'static str) -> Op {
    Op::ShutdownNode {
        node: node.to_owned(),
        kind,
    }
}

/// A switch with an uplink and an interface, from nothing to nothing.
pub(super) fn ops() -> Vec<Op> {
    let modules = ["ng_ether", "ng_bridge", "ng_eiface"];
    let mut ops: Vec<Op> = modules
        .map(|module| Op::LoadModule {
            module: module.to_owned(),
        })
        .to_vec();
    ops.extend([
        create(),
        set_ether(OPEN),
        connect(),
        Op::CreateEiface(eiface()),
        Op::DisconnectEiface {
            node: eiface().node,
        },
        Op::ConnectEiface {
            node: eiface().node,
            switch: SWITCH.to_owned(),
            hook: "link7".to_owned(),
        },
        Op::DisconnectUplink {
            switch: SWITCH.to_owned(),
            interface: "vtnet1".to_owned(),
        },
        connect(),
        shutdown(&eiface().node, "eiface"),
        shutdown(SWITCH, "bridge"),
        set_ether(EtherSettings::default()),
    ]);
    ops
}

impl Bench {
    fn netgraph() -> Self {
        let bench = Self::new();
        for module in ["ng_ether", "ng_bridge", "ng_eiface"] {
            bench.sh(&format!("kldload -n {module}"));
        }
        bench
    }

    fn nodes(&self) -> Netgraph {
        let mut wanted = Wanted::default();
        wanted.modules.insert("ng_bridge".to_owned());
        wanted.ether.insert("vtnet1".to_owned());
        use cellblock_agent_core::host::Host as _;
        let look = self.host.observe(&wanted);
        look.expect("the emulated host can be observed").netgraph
    }
}

#[test]
fn a_switch_stands_between_the_card_and_its_host() {
    let bench = Bench::netgraph();
    bench.do_twice(&create());
    bench.do_twice(&set_ether(OPEN));
    bench.do_twice(&connect());
    let nodes = bench.nodes();
    let switch = nodes.named(SWITCH).expect("the switch");
    let at = |hook: &str| {
        let peer = &switch.hooks[hook];
        (peer.node.as_str(), peer.hook.as_str())
    };
    assert_eq!(at("link0"), ("vtnet1", "lower"));
    assert_eq!(at("link1"), ("vtnet1", "upper"));
    let ether = nodes.named("vtnet1").expect("the card's node");
    assert_eq!(ether.ether, Some(OPEN));
    assert!(bench.interface("vtnet1").flags.contains("PROMISC"));
}

#[test]
fn an_eiface_is_marked_and_has_its_mac_address_before_it_moves() {
    let bench = Bench::netgraph();
    bench.sh("ngctl mkpeer eiface a ether");
    bench.do_twice(&create());
    bench.do_twice(&Op::CreateEiface(eiface()));
    let made = bench.interface(&eiface().interface);
    assert_eq!(made.description, Some(eiface().description));
    assert_eq!((made.mac, made.mtu), (Some(eiface().mac), 1450));
    let nodes = bench.nodes();
    let node = nodes.named(&eiface().node).expect("its node");
    assert_eq!(node.interface, Some(eiface().interface));
    assert_eq!(node.hooks["ether"].node, SWITCH);
    // Somebody else's stays what it was.
    assert!(bench.has("ngeth0") && nodes.named("ngeth0").is_some());
}

#[test]
fn a_node_takes_its_interface_out_of_the_jail_that_renamed_it() {
    let bench = Bench::netgraph();
    bench.do_twice(&create());
    bench.do_twice(&Op::CreateEiface(eiface()));
    bench.sh("jail -c name=www vnet persist path=/");
    bench.sh(&format!("ifconfig {} vnet www", eiface().interface));
    bench.sh(&format!(
        "ifconfig -j www {} name vtnet3",
        eiface().interface
    ));
    let interface = bench.nodes().named(&eiface().node).cloned();
    let interface = interface.and_then(|node| node.interface);
    assert_eq!(interface.as_deref(), Some("vtnet3"));
    bench.do_twice(&shutdown(&eiface().node, "eiface"));
    assert_eq!(bench.sh("ifconfig -j www -l").trim(), "lo0");
    assert!(bench.has("vtnet3"), "the host's own card stays");
}

#[test]
fn a_name_on_a_node_of_another_type_is_somebody_elses() {
    let bench = Bench::netgraph();
    bench.sh("ngctl mkpeer eiface a ether");
    bench.sh(&format!("ngctl name ngeth0: {SWITCH}"));
    for op in [create(), shutdown(SWITCH, "bridge"), connect()] {
        let error = bench.perform(&op).expect_err("it is no bridge");
        assert_eq!(error.reason, "NameTaken", "{op:?}: {}", error.message);
    }
    assert!(bench.has("ngeth0"));
}

#[test]
fn a_hook_that_somebody_took_leaves_the_card_as_it_was() {
    let bench = Bench::netgraph();
    bench.do_twice(&create());
    bench.sh(&format!("ngctl connect vtnet2: {SWITCH}: upper link1"));
    let before = bench.emulated.emulator().fingerprint();
    let error = bench.perform(&connect()).expect_err("link1 is taken");
    assert_eq!(error.reason, "CommandFailed", "{}", error.message);
    assert_eq!(bench.emulated.emulator().fingerprint(), before);
}

#[test]
fn a_card_whose_name_another_node_has_is_not_taken_for_it() {
    let bench = Bench::netgraph();
    bench.do_twice(&create());
    bench.sh("ngctl name vtnet1: mine");
    bench.sh("ngctl name vtnet2: vtnet1");
    let error = bench.perform(&connect()).expect_err("it is vtnet2's node");
    assert_eq!(error.reason, "Changed", "{}", error.message);
}

#[test]
fn words_that_ngctl_would_read_as_something_else() {
    let bench = Bench::netgraph();
    for name in [
        "",
        ".",
        "a b",
        "a:b",
        "a.b",
        "[1]",
        "-n",
        "x\ny",
        "a234567890123456789012345678901X",
    ] {
        let op = Op::CreateSwitch {
            switch: name.to_owned(),
        };
        let error = bench.perform(&op).expect_err("it is no name");
        assert_eq!(error.reason, "BadWord", "{name:?}");
    }
    let odd = Eiface {
        hook: "link2 ether".to_owned(),
        ..eiface()
    };
    bench.do_twice(&create());
    let error = bench.perform(&Op::CreateEiface(odd));
    assert_eq!(error.expect_err("it is no hook").reason, "BadWord");
}
