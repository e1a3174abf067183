//! Every operation against the emulated host: it does what it says, twice is as good as once, killed at any of its commands it can be performed again, and strangers stay as they were.

mod crash;
mod netgraph;
mod network;
mod nic;
mod own_pf;
mod refused;
mod runs;
mod uplinks;
mod zfs;

use std::sync::Arc;

use cellblock_agent_core::host::{Host as _, HostError, Wanted};
use cellblock_agent_core::observed::{Interface, Observed};
use cellblock_agent_core::op::{Epair, Op};
use cellblock_fakebsd::{Emulator, HardwareProfile, Release};
use cellblock_schemas::net::Mac;

use crate::{Emulated, FreeBsd};

/// The agent's folder.
const FOLDER: &str = "/var/db/cellblock";

/// An emulated host and its adapter.
struct Bench {
    emulated: Emulated,
    host: FreeBsd,
}

impl Bench {
    fn new() -> Self {
        Self::of(Release::V15_1)
    }

    fn of(release: Release) -> Self {
        Self::around(Emulator::new(release, HardwareProfile::recorded()))
    }

    fn around(emulator: Emulator) -> Self {
        let emulated = Emulated::new(emulator);
        let host = FreeBsd::new(Arc::new(emulated.clone()), FOLDER);
        Self { emulated, host }
    }

    /// Runs a line on the host itself; it must succeed.
    fn sh(&self, line: &str) -> String {
        let output = self.emulated.emulator().sh(line);
        assert!(output.is_success(), "{line}: {output:?}");
        output.stdout
    }

    fn perform(&self, op: &Op) -> Result<(), HostError> {
        self.host.perform(op).map(drop)
    }

    /// Performs twice: the second time nothing may change.
    fn do_twice(&self, op: &Op) {
        self.perform(op)
            .unwrap_or_else(|error| panic!("{op:?}: {error:?}"));
        let once = self.emulated.emulator().fingerprint();
        self.perform(op)
            .unwrap_or_else(|error| panic!("again {op:?}: {error:?}"));
        assert_eq!(
            self.emulated.emulator().fingerprint(),
            once,
            "{op:?} changed something the second time"
        );
    }

    fn observe(&self) -> Observed {
        self.host
            .observe(&Wanted::default())
            .expect("the emulated host can be observed")
    }

    fn interface(&self, name: &str) -> Interface {
        self.observe()
            .interface(name)
            .cloned()
            .unwrap_or_else(|| panic!("no interface {name}"))
    }

    fn has(&self, name: &str) -> bool {
        self.observe().interfaces_named(name).next().is_some()
    }

    fn write(&self, path: &str, text: &str) {
        let parent = path.rsplit_once('/').map_or("/", |(parent, _)| parent);
        let files = &mut self.emulated.emulator().files;
        files
            .create_directories(parent)
            .expect("the emulated disk has room");
        files.write(path, text).expect("the emulated disk has room");
    }

    /// pf with the four references and nothing else.
    fn start_pf(&self) {
        self.write(
            "/etc/pf.conf",
            "nat-anchor \"cellblock/*\"\nrdr-anchor \"cellblock/*\"\nbinat-anchor \"cellblock/*\"\nanchor \"cellblock/*\"\npass\n",
        );
        self.sh("kldload -n pf");
        self.sh("pfctl -e -f /etc/pf.conf");
    }
}

fn mac(text: &str) -> Mac {
    text.parse().expect("a MAC address")
}

const BRIDGE: &str = "cbbridge00br";
const BRIDGE_MARK: &str = "cellblock:c1:net-uid:bridge lan";

fn bridge() -> Op {
    Op::CreateBridge {
        name: BRIDGE.to_owned(),
        description: BRIDGE_MARK.to_owned(),
        mac: mac("0a:cb:00:00:00:01"),
    }
}

fn epair() -> Epair {
    Epair {
        host_end: "cbjail000000a".to_owned(),
        host_description: "cellblock:c1:jail-uid:host:vnet0 www".to_owned(),
        host_mac: mac("06:cb:00:00:00:02"),
        jail_end: "cbjail000000b".to_owned(),
        jail_description: "cellblock:c1:jail-uid:jail:vnet0 www".to_owned(),
        jail_mac: mac("02:cb:00:00:00:02"),
        mtu: 1450,
    }
}

fn add_member() -> Op {
    Op::AddMember {
        bridge: BRIDGE.to_owned(),
        member: epair().host_end,
    }
}
