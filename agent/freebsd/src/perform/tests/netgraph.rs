//! Netgraph switches: what is made, what is refused, and what stays untouched.

use std::sync::{Arc, Mutex};

use cellblock_agent_core::host::{Host as _, Wanted};
use cellblock_agent_core::observed::{EtherSettings, Netgraph, SwitchSettings};
use cellblock_agent_core::op::{Eiface, Op};

use super::{Bench, FOLDER, mac};
use crate::command::{Command, Output};
use crate::system::{System, SystemError};
use crate::{Emulated, FreeBsd};

const SWITCH: &str = "cbsw_aaaaaaaa_bbbbbbbbbb";

/// What an uplink needs: the NIC takes frames for others.
const OPEN: EtherSettings = EtherSettings {
    promiscuous: true,
    autosrc: false,
};

/// Addresses move at once.
const CALM: SwitchSettings = SwitchSettings {
    debug_level: 1,
    loop_timeout_s: 0,
    max_staleness_s: 900,
    min_stable_age_s: 0,
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
        settings: CALM,
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
        Op::SetSwitch {
            switch: SWITCH.to_owned(),
            settings: SwitchSettings::default(),
        },
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
            settings: CALM,
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

#[test]
fn a_switch_is_configured_before_it_stays() {
    let bench = Bench::netgraph();
    bench.do_twice(&create());
    let settings = |bench: &Bench| bench.nodes().named(SWITCH).and_then(|node| node.switch);
    assert_eq!(settings(&bench), Some(CALM));
    for wanted in [SwitchSettings::default(), CALM] {
        bench.do_twice(&Op::SetSwitch {
            switch: SWITCH.to_owned(),
            settings: wanted,
        });
        assert_eq!(settings(&bench), Some(wanted));
    }
}

/// A host on which somebody is faster: runs these lines just before the first script of ngctl.
struct Beaten {
    inner: Emulated,
    lines: Mutex<Vec<String>>,
}

impl System for Beaten {
    fn run(&self, command: &Command) -> Result<Output, SystemError> {
        if command.line().contains("ngctl -f") {
            for line in std::mem::take(&mut *self.lines.lock().expect("no other thread")) {
                let output = self.inner.emulator().sh(&line);
                assert!(output.is_success(), "{line}: {output:?}");
            }
        }
        self.inner.run(command)
    }
    fn read_file(&self, path: &str) -> Result<Option<String>, SystemError> {
        self.inner.read_file(path)
    }
    fn write_file(&self, path: &str, content: &str) -> Result<(), SystemError> {
        self.inner.write_file(path, content)
    }
    fn remove_file(&self, path: &str) -> Result<(), SystemError> {
        self.inner.remove_file(path)
    }
    fn list_dir(&self, path: &str) -> Result<Option<Vec<String>>, SystemError> {
        self.inner.list_dir(path)
    }
    fn real_path(&self, path: &str) -> Result<Option<String>, SystemError> {
        self.inner.real_path(path)
    }
    fn file_size(&self, path: &str) -> Result<Option<u64>, SystemError> {
        self.inner.file_size(path)
    }
    fn rotate_file(&self, path: &str, beside: &str, bytes_max: u64) -> Result<(), SystemError> {
        self.inner.rotate_file(path, beside, bytes_max)
    }
}

/// Makes the interface while somebody is faster with `lines`; returns what is then there.
fn beaten(lines: &[String]) -> Netgraph {
    let bench = Bench::netgraph();
    bench.do_twice(&create());
    let system = Beaten {
        inner: bench.emulated.clone(),
        lines: Mutex::new(lines.to_vec()),
    };
    let host = FreeBsd::new(Arc::new(system), FOLDER);
    let error = host.perform(&Op::CreateEiface(eiface()));
    let error = error.expect_err("somebody was faster");
    assert_eq!(error.reason, "CommandFailed", "{}", error.message);
    bench.nodes()
}

#[test]
fn an_interface_that_somebody_put_at_the_hook_stays() {
    let hook = eiface().hook;
    let nodes = beaten(&[format!("ngctl mkpeer {SWITCH}: eiface {hook} ether")]);
    assert!(nodes.named("ngeth0").is_some(), "it is theirs: {nodes:?}");
    let switch = nodes.named(SWITCH).expect("the switch");
    assert_eq!(switch.hooks[&hook].node, "ngeth0");
}

#[test]
fn an_interface_whose_name_somebody_took_is_taken_back() {
    let name = eiface().node;
    let nodes = beaten(&[
        "ngctl mkpeer eiface a ether".to_owned(),
        format!("ngctl name ngeth0: {name}"),
    ]);
    assert!(nodes.named(&name).is_some(), "it is theirs: {nodes:?}");
    assert!(nodes.named("ngeth1").is_none(), "ours is gone: {nodes:?}");
    assert!(nodes.named(SWITCH).expect("the switch").hooks.is_empty());
}
