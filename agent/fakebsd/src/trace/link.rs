//! The link layer: whom a frame reaches over epairs, bridges, laggs, vlans and netgraph switches, by which way, and what keeps it
//! from others (sys/net/if_bridge.c, if_epair.c, if_lagg.c, if_vlan.c, sys/netgraph/ng_ether.c, ng_bridge.c).

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::stack::unscoped;
use crate::emulator::Emulator;
use crate::kernel::Kernel;
use crate::kernel::bridge::{Member, flag};
use crate::kernel::ifnet::{Driver, IfId, Mac, nd};
use crate::kernel::netgraph::{Hook, NodeType};
use crate::kernel::vnet::{HOST, VnetId};

/// Part of a frame's way that somebody may want to know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// From one end of an epair to the other.
    Epair { from: IfId, to: IfId },
    /// Over a bridge between two members.
    Bridged { bridge: IfId, from: IfId, to: IfId },
    /// From the bridge's own stack out of a member.
    FromBridge { bridge: IfId, to: IfId },
    /// From a member to the bridge's own stack, or to the stack's address on a member.
    ToBridge { bridge: IfId, from: IfId },
    /// Over an ng_bridge.
    Switched { node: String },
}

/// Where a frame ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// At the stack that has this interface.
    Station(IfId),
    /// On the wire behind a card, in a VLAN if it is tagged there.
    Wire(Wire),
}

/// The world behind a card, as far as frames with one tag or none reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wire {
    pub(super) card: IfId,
    pub(super) tag: Option<u16>,
}

impl Wire {
    /// The wire that an interface is on by itself, through its parent or through its first port that is up.
    pub(super) fn of(kernel: &Kernel, id: IfId) -> Option<Self> {
        match &kernel.ifnet(id).driver {
            Driver::Nic => Some(Self {
                card: id,
                tag: None,
            }),
            Driver::Vlan(softc) => {
                let tag = Some(softc.tag);
                Self::of(kernel, softc.parent?).map(|wire| Self { tag, ..wire })
            }
            Driver::Lagg(_) => Self::of(kernel, kernel.lagg_sender(id)?),
            Driver::Loopback | Driver::Epair { .. } | Driver::Bridge(_) | Driver::Eiface { .. } => {
                None
            }
        }
    }

    /// Whether both lead to one place: the switch behind the ports of a lagg is one.
    pub(super) fn is_same(self, other: Self, kernel: &Kernel) -> bool {
        let lagg = kernel.ifnet(self.card).lagg;
        let is_near =
            self.card == other.card || lagg.is_some() && lagg == kernel.ifnet(other.card).lagg;
        is_near && self.tag == other.tag
    }

    /// The card's name, or its driver's where a jail has it, with the tag as vlan(4) writes it.
    pub(super) fn name(self, kernel: &Kernel) -> String {
        let card = kernel.ifnet(self.card);
        let card = if card.vnet == HOST {
            &card.name
        } else {
            &card.driver_name
        };
        self.tag
            .map_or_else(|| card.clone(), |tag| format!("{card}.{tag}"))
    }
}

/// One of the ways of a frame.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) end: End,
    pub(super) steps: Vec<Step>,
}

/// Something that kept the frame from going on at an interface.
struct Obstacle {
    at: IfId,
    why: String,
}

/// Everywhere that a broadcast gets to.
pub(super) struct Survey<'a> {
    kernel: &'a Kernel,
    seen: BTreeSet<(bool, IfId, Option<u16>)>,
    ways: Vec<Way>,
    obstacles: Vec<Obstacle>,
}

/// Frames of ARP are discarded (`ether_demux`, sys/net/if_ethersubr.c).
const NOARP: u32 = 0x80;

/// Whether the interface answers for an address: ARP for what is configured on it, ND for what has passed DAD.
pub(super) fn holds(kernel: &Kernel, id: IfId, address: IpAddr) -> bool {
    let ifnet = kernel.ifnet(id);
    match unscoped(address) {
        IpAddr::V4(address) => {
            let mut entries = ifnet.inet.iter();
            ifnet.user_flags & NOARP == 0 && entries.any(|entry| entry.address == address)
        }
        IpAddr::V6(address) => {
            let usable = |entry: &&crate::kernel::addr::Inet6| {
                entry.address == address && !entry.tentative && !entry.duplicated
            };
            ifnet.nd & nd::IFDISABLED == 0 && ifnet.inet6.iter().any(|entry| usable(&entry))
        }
    }
}

impl Emulator {
    /// The wires that a broadcast from an interface's own stack gets to: the card, and the tag that it has there.
    pub(crate) fn wires_of(&self, id: IfId) -> Vec<(String, Option<u16>)> {
        let survey = Survey::from_stack(&self.kernel, id);
        let wires = survey.ways().iter().filter_map(|way| match way.end {
            End::Wire(wire) => Some((self.kernel.ifnet(wire.card).name.clone(), wire.tag)),
            End::Station(_) => None,
        });
        wires.collect()
    }

    /// The interfaces of other stacks that hear such a broadcast.
    pub(crate) fn stations_of(&self, id: IfId) -> Vec<IfId> {
        let survey = Survey::from_stack(&self.kernel, id);
        let stations = survey.ways().iter().filter_map(|way| match way.end {
            End::Station(station) => Some(station),
            End::Wire(_) => None,
        });
        stations.collect()
    }
}

impl Emulator {
    /// The MAC address that whoever answers for `address` on the wire of an interface tells it; none where the question or the answer gets lost, or nobody emulated answers.
    pub(crate) fn resolved(&self, id: IfId, address: IpAddr) -> Option<Mac> {
        let there = Survey::from_stack(&self.kernel, id);
        let End::Station(station) = there.towards(address)?.end else {
            return None;
        };
        let back = Survey::from_stack(&self.kernel, station);
        let mut ways = back.ways().iter();
        ways.find(|way| way.end == End::Station(id))?;
        self.kernel.ifnet(station).mac
    }
}

fn carries(member: &Member, tag: u16) -> bool {
    member.untagged == Some(tag) || is_tagged(member, tag)
}

fn is_tagged(member: &Member, tag: u16) -> bool {
    let within = |(low, high): &(u16, u16)| (*low..=*high).contains(&tag);
    member.tagged.iter().any(within)
}

impl<'a> Survey<'a> {
    fn new(kernel: &'a Kernel) -> Self {
        Self {
            kernel,
            seen: BTreeSet::new(),
            ways: Vec::new(),
            obstacles: Vec::new(),
        }
    }

    /// What the stack of `id` reaches when it sends through `id`.
    pub(super) fn from_stack(kernel: &'a Kernel, id: IfId) -> Self {
        let mut survey = Self::new(kernel);
        survey.leave(id);
        survey
    }

    /// What a machine on the wire reaches.
    pub(super) fn from_wire(kernel: &'a Kernel, wire: Wire) -> Self {
        let mut survey = Self::new(kernel);
        survey.seen.insert((false, wire.card, wire.tag));
        survey.arrive(wire.card, wire.tag, Vec::new());
        survey
    }

    /// The ways in the order they were found, the nearest first.
    pub(super) fn ways(&self) -> &[Way] {
        &self.ways
    }

    /// The way to whoever answers for `address`; otherwise out to the wire, where somebody may.
    pub(super) fn towards(&self, address: IpAddr) -> Option<&Way> {
        let answers = |way: &&Way| match way.end {
            End::Station(id) => holds(self.kernel, id, address),
            End::Wire(_) => false,
        };
        let wire = |way: &&Way| matches!(way.end, End::Wire(_));
        self.ways
            .iter()
            .find(answers)
            .or_else(|| self.ways.iter().find(wire))
    }

    /// Why nobody answers for `address`: what stands before the interface that has it, if one is near.
    pub(super) fn why_nobody(&self, address: IpAddr) -> Option<String> {
        let behind = |id: IfId| match self.kernel.ifnet(id).driver {
            Driver::Epair { peer } => holds(self.kernel, peer, address),
            Driver::Nic
            | Driver::Loopback
            | Driver::Bridge(_)
            | Driver::Lagg(_)
            | Driver::Vlan(_)
            | Driver::Eiface { .. } => false,
        };
        let near = |one: &&Obstacle| holds(self.kernel, one.at, address) || behind(one.at);
        let found = self.obstacles.iter().find(near);
        let only = self.obstacles.first().filter(|_| self.ways.is_empty());
        found.or(only).map(|one| one.why.clone())
    }

    fn name(&self, id: IfId) -> &'a str {
        &self.kernel.ifnet(id).name
    }

    fn stop(&mut self, at: IfId, why: String) {
        self.obstacles.push(Obstacle { at, why });
    }

    /// The node of ng_ether(4) for an interface, and the hook's peer if it has that hook.
    fn ether_hook(&self, id: IfId, hook: &str) -> Option<(u32, String)> {
        let node = self.kernel.ether_node_of(id)?;
        let entry = node.hooks.iter().find(|entry| entry.name == hook)?;
        Some((entry.peer, entry.peer_hook.clone()))
    }

    /// ether_output of the stack: netgraph's `upper` hook comes first, then the bridge of a member (bridge_output).
    fn leave(&mut self, id: IfId) {
        let ifnet = self.kernel.ifnet(id);
        if !ifnet.up {
            return self.stop(id, format!("{} is down", ifnet.name));
        }
        if let Some((peer, hook)) = self.ether_hook(id, "upper") {
            return self.node(ifnet.vnet, peer, &hook, None, Vec::new());
        }
        match ifnet.bridge.filter(|bridge| self.kernel.ifnet(*bridge).up) {
            Some(bridge) => self.members_out(bridge, None, &[]),
            None => self.medium(id, None, Vec::new()),
        }
    }

    /// A frame of the stack itself goes to every member.
    fn members_out(&mut self, bridge: IfId, tag: Option<u16>, path: &[Step]) {
        let Some(softc) = self.kernel.bridge(bridge) else {
            return;
        };
        for member in &softc.members {
            let step = Step::FromBridge {
                bridge,
                to: member.id,
            };
            self.member_out(softc.vlan_filter, member, tag, [path, &[step]].concat());
        }
    }

    /// bridge_vfilter_out and bridge_enqueue: out of one member, without the tag if the member carries that VLAN untagged.
    fn member_out(
        &mut self,
        vlan_filter: bool,
        member: &Member,
        tag: Option<u16>,
        path: Vec<Step>,
    ) {
        if vlan_filter && !tag.is_some_and(|tag| carries(member, tag)) {
            let vlan = tag.map_or("untagged frames".to_owned(), |tag| format!("VLAN {tag}"));
            return self.stop(
                member.id,
                format!("member {} does not carry {vlan}", self.name(member.id)),
            );
        }
        self.medium(
            member.id,
            tag.filter(|tag| member.untagged != Some(*tag)),
            path,
        );
    }

    /// A frame goes onto the medium of an interface.
    fn medium(&mut self, id: IfId, tag: Option<u16>, mut path: Vec<Step>) {
        if !self.seen.insert((false, id, tag)) {
            return;
        }
        let ifnet = self.kernel.ifnet(id);
        if !ifnet.up {
            return self.stop(id, format!("{} is down", ifnet.name));
        }
        match &ifnet.driver {
            Driver::Nic => self.ways.push(Way {
                end: End::Wire(Wire { card: id, tag }),
                steps: path,
            }),
            Driver::Epair { peer } => {
                path.push(Step::Epair {
                    from: id,
                    to: *peer,
                });
                self.arrive(*peer, tag, path);
            }
            Driver::Bridge(_) => self.members_out(id, tag, &path),
            Driver::Lagg(_) => match self.kernel.lagg_sender(id) {
                Some(port) => self.medium(port, tag, path),
                None => self.stop(id, format!("{} has no port that is active", ifnet.name)),
            },
            Driver::Vlan(softc) => match softc.parent {
                Some(parent) => self.medium(parent, Some(softc.tag), path),
                None => self.stop(id, format!("{} has no parent interface", ifnet.name)),
            },
            Driver::Eiface { .. } => {
                let home = self.kernel.netgraph(ifnet.home);
                let node = home
                    .nodes
                    .values()
                    .find(|node| node.interface == Some(id) && node.kind == NodeType::Eiface);
                let hook = node.and_then(|node| node.hooks.first());
                match hook {
                    Some(hook) => self.node(ifnet.home, hook.peer, &hook.peer_hook, tag, path),
                    None => self.stop(id, format!("{} has no netgraph switch", ifnet.name)),
                }
            }
            Driver::Loopback => {}
        }
    }

    /// A frame comes in from the medium: lagg, netgraph's `lower` hook, bridge, vlan, then the stack (ether_input_internal).
    fn arrive(&mut self, id: IfId, tag: Option<u16>, path: Vec<Step>) {
        if !self.seen.insert((true, id, tag)) {
            return;
        }
        let ifnet = self.kernel.ifnet(id);
        if !ifnet.up {
            return self.stop(id, format!("{} is down", ifnet.name));
        }
        if let Some(lagg) = ifnet.lagg {
            if !self.kernel.lagg_takes(lagg, id) {
                let why = format!("{} takes nothing in by {}", self.name(lagg), ifnet.name);
                return self.stop(id, why);
            }
            return self.arrive(lagg, tag, path);
        }
        if let Some((peer, hook)) = self.ether_hook(id, "lower") {
            return self.lower(id, (ifnet.vnet, peer, &hook), tag, path);
        }
        let vlans = &self.kernel.vnet(ifnet.vnet).vlans;
        let vlan = tag.and_then(|tag| vlans.get(&(id, tag)));
        // Where any vlan stands upon a member, the bridge leaves it all frames with a tag (`bridge_input`, sys/net/if_bridge.c).
        let is_trunk = vlans.range((id, 0)..=(id, u16::MAX)).next().is_some();
        let bridge = ifnet.bridge.filter(|bridge| self.kernel.ifnet(*bridge).up);
        let bridge = bridge.filter(|_| tag.is_none() || !is_trunk);
        match (vlan, bridge) {
            (Some(vlan), _) => self.arrive(*vlan, None, path),
            (None, Some(bridge)) => self.bridge_input(bridge, id, tag, path),
            (None, None) => self.station(id, tag, path),
        }
    }

    /// ng_ether_input: a frame from the wire goes into netgraph. A card that is not promiscuous takes in what is for its own MAC address only (`setpromisc`, ng_ether(4)).
    fn lower(&mut self, id: IfId, to: (VnetId, u32, &str), tag: Option<u16>, path: Vec<Step>) {
        let first = self.ways.len();
        self.node(to.0, to.1, to.2, tag, path);
        let ifnet = self.kernel.ifnet(id);
        if !matches!(ifnet.driver, Driver::Nic) || ifnet.promiscuous > 0 {
            return;
        }
        for way in self.ways.split_off(first) {
            match way.end {
                End::Station(other) if other != id => {
                    let why = format!(
                        "{} takes in no frame for the MAC address of {}: it is not promiscuous",
                        ifnet.name,
                        self.name(other)
                    );
                    self.stop(other, why);
                }
                End::Station(_) | End::Wire(_) => self.ways.push(way),
            }
        }
    }

    /// bridge_input: to the bridge's own stack, to the addresses on its members, and to the other members.
    fn bridge_input(&mut self, bridge: IfId, from: IfId, tag: Option<u16>, path: Vec<Step>) {
        let Some(softc) = self.kernel.bridge(bridge) else {
            return;
        };
        let Some(source) = softc.members.iter().find(|member| member.id == from) else {
            return;
        };
        let accepted = match tag {
            None if softc.vlan_filter => source.untagged.is_some(),
            None => true,
            Some(tag) => !softc.vlan_filter || is_tagged(source, tag),
        };
        if !accepted {
            return self.stop(
                from,
                format!(
                    "member {} accepts no such frames: VLAN filtering",
                    self.name(from)
                ),
            );
        }
        let tag = tag.or(source.untagged);
        let inward = [path.as_slice(), &[Step::ToBridge { bridge, from }]].concat();
        self.station(bridge, tag, inward.clone());
        let member_addresses =
            self.kernel.sysctl_number("net.link.bridge.member_ifaddrs") != Some(0);
        for member in &softc.members {
            let ifnet = self.kernel.ifnet(member.id);
            if member_addresses && !(ifnet.inet.is_empty() && ifnet.inet6.is_empty()) {
                self.ways.push(Way {
                    end: End::Station(member.id),
                    steps: inward.clone(),
                });
            }
        }
        for member in softc.members.iter().filter(|member| member.id != from) {
            if source.flags & member.flags & flag::PRIVATE != 0 {
                let why = format!(
                    "{} and {} are both private members of {}",
                    self.name(from),
                    self.name(member.id),
                    self.name(bridge)
                );
                self.stop(member.id, why);
                continue;
            }
            let step = Step::Bridged {
                bridge,
                from,
                to: member.id,
            };
            self.member_out(
                softc.vlan_filter,
                member,
                tag,
                [path.as_slice(), &[step]].concat(),
            );
        }
    }

    /// A frame comes to a stack; a tagged one needs a vlan(4) there.
    fn station(&mut self, id: IfId, tag: Option<u16>, path: Vec<Step>) {
        let vnet = self.kernel.ifnet(id).vnet;
        match tag {
            None => self.ways.push(Way {
                end: End::Station(id),
                steps: path,
            }),
            Some(tag) => {
                if let Some(vlan) = self.kernel.vnet(vnet).vlans.get(&(id, tag)) {
                    self.arrive(*vlan, None, path);
                }
            }
        }
    }

    /// The failover lagg to whose stack one of two links of a switch leads, and the other does not lead to its ports, where that is a way on which frames are lost.
    fn deaf_between(&self, vnet: VnetId, from: &Hook, to: &Hook) -> Option<IfId> {
        let (stack, other) = match (from.peer_hook.as_str(), to.peer_hook.as_str()) {
            ("upper", _) => (from, to),
            (_, "upper") => (to, from),
            _ => return None,
        };
        let node = self.kernel.netgraph(vnet).nodes.get(&stack.peer)?;
        let lagg = node.interface.filter(|_| other.peer != stack.peer)?;
        let softc = self.kernel.lagg(lagg)?;
        (self.kernel.failover_is_deaf && softc.protocol == "failover").then_some(lagg)
    }

    /// A frame comes to a netgraph node by a hook.
    fn node(&mut self, vnet: VnetId, id: u32, by: &str, tag: Option<u16>, path: Vec<Step>) {
        let Some(node) = self.kernel.netgraph(vnet).nodes.get(&id) else {
            return;
        };
        let interface = node
            .interface
            .filter(|id| self.kernel.ifs.all.contains_key(id));
        match (node.kind, interface) {
            (NodeType::Bridge, _) => {
                let name = if node.name.is_empty() {
                    format!("[{:x}]", node.id)
                } else {
                    node.name.clone()
                };
                let path = [path.as_slice(), &[Step::Switched { node: name }]].concat();
                let from = node.hooks.iter().find(|hook| hook.name == by);
                for hook in node.hooks.iter().filter(|hook| hook.name != by) {
                    let lost = from.and_then(|from| self.deaf_between(vnet, from, hook));
                    if let Some(lagg) = lost {
                        let why = format!(
                            "{} is a failover lagg, which loses what goes between it and other links of the switch",
                            self.name(lagg)
                        );
                        self.stop(lagg, why);
                        continue;
                    }
                    self.node(vnet, hook.peer, &hook.peer_hook, tag, path.clone());
                }
            }
            (NodeType::Ether, Some(interface)) if by == "lower" => {
                self.medium(interface, tag, path)
            }
            (NodeType::Ether, Some(interface)) => self.station(interface, tag, path),
            (NodeType::Eiface, Some(interface)) => self.arrive(interface, tag, path),
            (NodeType::Ether | NodeType::Eiface, None) | (NodeType::Socket, _) => {}
        }
    }
}
