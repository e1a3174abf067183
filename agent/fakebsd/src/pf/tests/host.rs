//! A small host: interfaces with fixed addresses, files, one pf.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::pf::filter::{ACK, Icmp, SYN};
use crate::pf::rule::Direction;
use crate::pf::{
    Interface, InterfaceAddress, NetFacts, Output, Packet, Pf, Release, Verdict, pfctl,
};

/// What the recordings' host looked like to pf.
#[derive(Debug, Clone)]
pub(super) struct Host {
    pub(super) release: Release,
    pub(super) loaded: bool,
    pub(super) now: Duration,
    pub(super) files: BTreeMap<String, String>,
    pub(super) interfaces: Vec<Interface>,
}

fn address(text: &str) -> InterfaceAddress {
    let (address, prefix) = text.split_once('/').expect("a test address has a prefix");
    InterfaceAddress {
        address: address.parse().expect("a test address is an address"),
        prefix: prefix.parse().expect("a prefix is a number"),
        broadcast: None,
        peer: None,
    }
}

/// An interface with these addresses; `lo…` is a loopback.
pub(super) fn interface(name: &str, index: u32, addresses: &[&str]) -> Interface {
    let loopback = name.starts_with("lo");
    Interface {
        name: name.to_owned(),
        index,
        groups: if loopback {
            vec!["lo".to_owned()]
        } else {
            Vec::new()
        },
        loopback,
        broadcast: !loopback,
        point_to_point: false,
        addresses: addresses.iter().map(|text| address(text)).collect(),
    }
}

impl Host {
    pub(super) fn new() -> Self {
        Host {
            release: Release::V15,
            loaded: true,
            now: Duration::from_secs(7),
            files: BTreeMap::new(),
            interfaces: vec![
                interface("vtnet0", 1, &["10.0.2.15/24"]),
                interface("vtnet1", 2, &[]),
                interface("vtnet2", 3, &[]),
                interface("vtnet3", 4, &[]),
                interface("lo0", 5, &["127.0.0.1/8", "::1/128"]),
            ],
        }
    }
}

impl NetFacts for Host {
    fn release(&self) -> Release {
        self.release
    }
    fn pf_loaded(&self) -> bool {
        self.loaded
    }
    fn now(&self) -> Duration {
        self.now
    }
    fn fibs(&self) -> u32 {
        2
    }
    fn interface_names(&self) -> Vec<String> {
        self.interfaces
            .iter()
            .map(|interface| interface.name.clone())
            .collect()
    }
    fn interface(&self, name: &str) -> Option<Interface> {
        self.interfaces
            .iter()
            .find(|interface| interface.name == name)
            .cloned()
    }
    fn group_members(&self, group: &str) -> Vec<String> {
        let of = |interface: &&Interface| interface.groups.iter().any(|known| known == group);
        self.interfaces
            .iter()
            .filter(of)
            .map(|interface| interface.name.clone())
            .collect()
    }
    fn read_file(&self, path: &str) -> Option<String> {
        self.files.get(path).cloned()
    }
    fn user_id(&self, name: &str) -> Option<u32> {
        (name == "root").then_some(0)
    }
    fn group_id(&self, name: &str) -> Option<u32> {
        (name == "wheel").then_some(0)
    }
}

/// A host with its pf.
#[derive(Debug, Clone)]
pub(super) struct Rig {
    pub(super) host: Host,
    pub(super) pf: Pf,
}

impl Rig {
    pub(super) fn new() -> Self {
        Rig {
            host: Host::new(),
            pf: Pf::default(),
        }
    }

    /// A host with the recording's epair and the main ruleset that refers to our anchors.
    pub(super) fn with_anchors() -> Self {
        let mut rig = Rig::new();
        rig.host.interfaces.push(interface(
            "epair0a",
            6,
            &["203.0.113.1/24", "203.0.113.2/32"],
        ));
        rig.host.interfaces.push(interface(
            "lo1",
            7,
            &["192.0.2.1/28", "192.0.2.3/32", "192.0.2.4/32"],
        ));
        let text = "nat-anchor \"cellblock/*\"\nrdr-anchor \"cellblock/*\"\nbinat-anchor \"cellblock/*\"\nanchor \"cellblock/*\"\n";
        rig.load("", text);
        assert_eq!(rig.run(&["-e"], "").status, 0);
        rig
    }

    /// Runs `pfctl` with these arguments.
    pub(super) fn run(&mut self, arguments: &[&str], stdin: &str) -> Output {
        let argv: Vec<String> = std::iter::once("pfctl")
            .chain(arguments.iter().copied())
            .map(str::to_owned)
            .collect();
        pfctl(&mut self.pf, &self.host, &argv, stdin)
    }

    /// What `pfctl` prints.
    pub(super) fn print(&mut self, arguments: &[&str]) -> String {
        self.run(arguments, "").stdout
    }

    /// Loads a text, which must be accepted.
    pub(super) fn load(&mut self, anchor: &str, text: &str) {
        let arguments: &[&str] = if anchor.is_empty() {
            &["-f", "-"]
        } else {
            &["-a", anchor, "-f", "-"]
        };
        let output = self.run(arguments, text);
        assert_eq!((output.status, output.stderr.as_str()), (0, ""), "{text}");
    }

    pub(super) fn filter(&mut self, packet: &Packet) -> Verdict {
        self.pf.filter(&self.host, packet)
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("a test address is an address")
}

/// The first packet of a TCP connection.
pub(super) fn syn(
    direction: Direction,
    interface: &str,
    from: (&str, u16),
    to: (&str, u16),
) -> Packet {
    Packet {
        direction,
        interface: interface.to_owned(),
        protocol: 6,
        source: ip(from.0),
        destination: ip(to.0),
        source_port: from.1,
        destination_port: to.1,
        flags: SYN,
        icmp: None,
        fragment: false,
        user: None,
        group: None,
        length: 60,
        received_on: None,
        tag: None,
        unroutable_source: false,
    }
}

/// The answer to a packet, going the other way through the same interface.
pub(super) fn answer(packet: &Packet) -> Packet {
    let direction = if packet.direction == Direction::In {
        Direction::Out
    } else {
        Direction::In
    };
    let icmp = packet.icmp.map(|icmp| Icmp {
        icmp_type: if packet.protocol == 1 { 0 } else { 129 },
        ..icmp
    });
    Packet {
        direction,
        source: packet.destination,
        destination: packet.source,
        source_port: packet.destination_port,
        destination_port: packet.source_port,
        flags: SYN | ACK,
        icmp,
        fragment: false,
        ..packet.clone()
    }
}

/// An echo request of the addresses' family.
pub(super) fn ping(direction: Direction, interface: &str, from: &str, to: &str, id: u16) -> Packet {
    let (protocol, icmp_type) = if to.contains(':') { (58, 128) } else { (1, 8) };
    let icmp = Some(Icmp {
        icmp_type,
        code: 0,
        id,
    });
    Packet {
        protocol,
        flags: 0,
        icmp,
        fragment: false,
        ..syn(direction, interface, (from, 0), (to, 0))
    }
}
