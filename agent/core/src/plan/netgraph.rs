//! Netgraph switches: their uplinks, the host's own interfaces at them, and the interfaces of jails, made, mended and taken away.
//!
//! A node is ours by its name (`names::Node`), which no jail can give. An ng_eiface stays, without a hook, when its switch goes (recording `06`), and its interface goes with the
//! node wherever it is (`ng_eiface_rmnode`, sys/netgraph/ng_eiface.c): so it is taken away by its node, whatever a jail's root called the interface.

mod leftover;

use cellblock_schemas::ids::Uid;

use super::desired::{DesiredEiface, DesiredJail, DesiredLink};
use super::networks::Standing;
use super::phase::Phase;
use super::teardown::DYING_MS_MAX;
use super::{Planner, reason};
use crate::ledger::Owned;
use crate::names::{self, ETHER, LOWER, LOWER_LINK, UPPER, UPPER_LINK};
use crate::observed::{EtherSettings, Interface, Node, ObservedJail};
use crate::op::{Eiface, Op, Record, Subject};

/// The first hook of a switch that is not for the uplink. Gaps are allowed; a hook is `link` and a number without leading zeros (`ng_bridge_newhook`, sys/netgraph/ng_bridge.c).
const FIRST_LINK: u32 = 2;

/// Whether one of the uplink's hooks of a switch leads to the interface.
pub(super) fn is_uplink(switch: &Node, interface: &str) -> bool {
    let ether = names::ether_node(interface);
    [LOWER_LINK, UPPER_LINK].into_iter().any(|hook| {
        let peer = switch.hooks.get(hook);
        peer.is_some_and(|peer| peer.kind == "ether" && peer.node == ether)
    })
}

/// Whether both hooks of the interface's ng_ether(4) are connected to the switch as they shall be.
fn is_connected(switch: &Node, interface: &str) -> bool {
    let ether = names::ether_node(interface);
    [(LOWER_LINK, LOWER), (UPPER_LINK, UPPER)]
        .into_iter()
        .all(|(link, hook)| {
            let peer = switch.hooks.get(link);
            peer.is_some_and(|peer| peer.node == ether && peer.hook == hook)
        })
}

impl DesiredEiface {
    fn at(&self, hook: String) -> Eiface {
        Eiface {
            node: self.node.clone(),
            switch: self.switch.clone(),
            hook,
            interface: self.interface.clone(),
            description: self.description.clone(),
            mac: self.mac,
            mtu: self.mtu,
        }
    }

    /// Whether the node's interface is on the host as it was made.
    fn is_fresh(&self, node: &Node, interface: Option<&Interface>) -> bool {
        node.interface.as_ref() == Some(&self.interface)
            && interface.is_some_and(|interface| {
                interface.mac == Some(self.mac) && interface.mtu == self.mtu
            })
    }
}

impl<'a> Planner<'a> {
    pub(super) fn plan_netgraph(&mut self) {
        let switches = std::mem::take(&mut self.desired.switches);
        if !switches.is_empty() {
            self.plan_module("ng_bridge");
            self.plan_module("ng_eiface");
        }
        if switches.values().any(|switch| switch.uplink.is_some()) {
            self.plan_module("ng_ether");
        }
        for (name, switch) in &switches {
            let subject = Subject::Network(switch.network.uid.clone());
            let present = self.index.node(name);
            if present.is_some_and(|node| node.kind != "bridge") {
                let message = format!(
                    "a netgraph node called `{name}` exists and is no ng_bridge; shut it down (ngctl shutdown {name}:)"
                );
                self.block(&subject, reason::NAME_TAKEN, message);
                continue;
            }
            if present.is_none() {
                let op = Op::CreateSwitch {
                    switch: name.clone(),
                };
                self.step(Phase::CreateInterface, &subject, op);
            }
            if let Some(present) = present {
                self.plan_old_uplinks(&subject, present, switch.uplink.as_deref());
            }
            if let Some(uplink) = &switch.uplink {
                self.plan_switch_uplink(&subject, name, uplink, switch.settings);
            }
            if let Some(port) = &switch.port {
                self.plan_port(&subject, port, &switch.addresses);
            }
        }
        self.desired.switches = switches;
    }

    /// Uplinks that we connected and that are no longer the uplink.
    fn plan_old_uplinks(&mut self, subject: &Subject, switch: &Node, wanted: Option<&str>) {
        let ledger = self.ledger;
        for owned in &ledger.owned {
            if let Owned::NgUplink {
                switch: ours,
                interface,
            } = owned
                && *ours == switch.name
                && wanted != Some(interface)
                && is_uplink(switch, interface)
            {
                let op = Op::DisconnectUplink {
                    switch: ours.clone(),
                    interface: interface.clone(),
                };
                self.step(Phase::RemoveMember, subject, op)
                    .forget
                    .push(Record::Owned(owned.clone()));
            }
        }
    }

    /// The settings come first: from the moment on that the hooks are connected, frames go as they shall.
    fn plan_switch_uplink(
        &mut self,
        subject: &Subject,
        name: &str,
        uplink: &str,
        settings: EtherSettings,
    ) {
        let ether = self.index.node(&names::ether_node(uplink));
        let present = ether.and_then(|node| node.ether).unwrap_or_default();
        if present != settings {
            let known = self.ledger.owned.iter().any(
                |owned| matches!(owned, Owned::NgEther { interface, .. } if interface == uplink),
            );
            let op = Op::SetEther {
                interface: uplink.to_owned(),
                settings,
            };
            let step = self.step(Phase::AddUplink, subject, op);
            if !known {
                step.record.push(Record::Owned(Owned::NgEther {
                    interface: uplink.to_owned(),
                    promiscuous: present.promiscuous,
                    autosrc: present.autosrc,
                }));
            }
        }
        let switch = self.index.node(name);
        if switch.is_none_or(|switch| !is_connected(switch, uplink)) {
            let going = |owned: &Owned| matches!(owned, Owned::NgUplink { switch, interface } if switch == name && interface != uplink);
            let taken = switch.and_then(|switch| stranger_at(switch, uplink));
            if let Some((hook, peer)) = taken.filter(|_| !self.ledger.owned.iter().any(going)) {
                let message = format!(
                    "hook {hook} of switch `{name}` is for the uplink and is connected to `{peer}`, not by us; disconnect it (ngctl rmhook {name}: {hook})"
                );
                return self.block(subject, reason::UPLINK_IN_USE, message);
            }
            let op = Op::ConnectUplink {
                switch: name.to_owned(),
                interface: uplink.to_owned(),
            };
            self.step(Phase::AddUplink, subject, op)
                .record
                .push(Record::Owned(Owned::NgUplink {
                    switch: name.to_owned(),
                    interface: uplink.to_owned(),
                }));
        }
        self.plan_uplink_up(subject, uplink);
    }

    /// The host's own interface at a switch, with the gateways.
    fn plan_port(
        &mut self,
        subject: &Subject,
        port: &DesiredEiface,
        gateways: &[(std::net::IpAddr, u8)],
    ) {
        let node = self.index.node(&port.node);
        let present = match self.standing_eiface(subject, port, node) {
            Standing::Taken => return,
            Standing::Ours(interface)
                if node.is_some_and(|node| port.is_fresh(node, Some(interface))) =>
            {
                self.plan_connection(subject, port, node);
                if !interface.is_up() {
                    let op = Op::SetUp {
                        interface: port.interface.clone(),
                        up: true,
                    };
                    self.step(Phase::ShapeInterface, subject, op);
                }
                Some(interface)
            }
            Standing::Ours(_) | Standing::Nothing => {
                self.plan_new_eiface(subject, port, node, Phase::CreateInterface);
                let op = Op::SetUp {
                    interface: port.interface.clone(),
                    up: true,
                };
                self.step(Phase::ShapeInterface, subject, op);
                None
            }
        };
        self.plan_gateways(subject, &port.interface, gateways, present);
    }

    /// What stands on the host under the name of the interface of `eiface`.
    fn standing_eiface(
        &mut self,
        subject: &Subject,
        eiface: &DesiredEiface,
        node: Option<&'a Node>,
    ) -> Standing<'a> {
        if node.is_some_and(|node| node.kind != "eiface") {
            let message = format!(
                "a netgraph node called `{0}` exists and is no ng_eiface; shut it down (ngctl shutdown {0}:)",
                eiface.node
            );
            self.block(subject, reason::NAME_TAKEN, message);
            return Standing::Taken;
        }
        let standing = self.standing(subject, &eiface.interface, &eiface.description);
        let is_of_node =
            node.is_some_and(|node| node.interface.as_ref() == Some(&eiface.interface));
        if matches!(standing, Standing::Ours(_)) && !is_of_node {
            let message = format!(
                "an interface called `{}` exists, with our mark and without our netgraph node: somebody made it, or it came back from a jail; rename or destroy it",
                eiface.interface
            );
            self.block(subject, reason::NAME_TAKEN, message);
            return Standing::Taken;
        }
        standing
    }

    /// Whether a node of ours is the interface of that jail.
    pub(super) fn has_eiface(&self, uid: &Uid) -> bool {
        let cluster = &self.view.cluster;
        let mut nodes = self.observed.netgraph.nodes.iter();
        nodes.any(|node| {
            let named = names::Node::parse(&node.name, cluster);
            node.kind == "eiface" && named.is_some_and(|named| named.is_of_jail(uid))
        })
    }

    /// Waits for the kernel to let go of a removed jail, and with it of the interface that it holds. A node that is shut down detaches its interface in whatever stack that is, and nothing keeps
    /// the stack from going meanwhile (`ng_eiface_rmnode` takes no `ifnet_detach_sxlock`, sys/netgraph/ng_eiface.c, which `vnet_destroy` relies on, sys/net/vnet.c). So unlike an epair's it stays
    /// until the jail is gone, and the jail that follows, whose node has the same name, waits for it.
    pub(super) fn wait_for_eiface(&mut self, uid: &Uid) {
        if !self.waits_for_dying.insert(uid.clone()) {
            return;
        }
        let message = "the jail was removed and the kernel still holds it, as for an open TCP connection (jls -d shows it); its netgraph interface cannot be taken from it before it is gone".to_owned();
        let subject = Subject::Jail(uid.clone());
        self.wait(&subject, reason::DYING, message, DYING_MS_MAX);
    }

    /// An ng_eiface made anew.
    fn plan_new_eiface(
        &mut self,
        subject: &Subject,
        eiface: &DesiredEiface,
        node: Option<&Node>,
        phase: Phase,
    ) {
        if node.is_some() {
            self.plan_shutdown_eiface(subject, &eiface.node);
        }
        let hook = self.free_hook(&eiface.switch);
        self.step(phase, subject, Op::CreateEiface(eiface.at(hook)));
    }

    fn plan_shutdown_eiface(&mut self, subject: &Subject, node: &str) {
        let op = Op::ShutdownNode {
            node: node.to_owned(),
            kind: "eiface",
        };
        self.step(Phase::DestroyEpair, subject, op);
    }

    /// The `ether` hook of an ng_eiface that is there: connected to its switch and to no other.
    fn plan_connection(&mut self, subject: &Subject, eiface: &DesiredEiface, node: Option<&Node>) {
        let peer = node.and_then(|node| node.hooks.get(ETHER));
        match peer {
            Some(peer) if peer.node == eiface.switch => return,
            Some(_) => {
                let op = Op::DisconnectEiface {
                    node: eiface.node.clone(),
                };
                self.step(Phase::RemoveMember, subject, op);
            }
            None => {}
        }
        let hook = self.free_hook(&eiface.switch);
        let op = Op::ConnectEiface {
            node: eiface.node.clone(),
            switch: eiface.switch.clone(),
            hook,
        };
        self.step(Phase::AddMember, subject, op);
    }

    /// The lowest hook of a switch that is free, or will be because its node goes, and that no step so far takes.
    fn free_hook(&mut self, switch: &str) -> String {
        let present = self.index.node(switch);
        let taken = |link: u32| {
            let peer = present.and_then(|node| node.hooks.get(&format!("link{link}")));
            peer.is_some_and(|peer| !self.going.contains(&peer.node))
                || self.hooks.contains(&(switch.to_owned(), link))
        };
        let link = (FIRST_LINK..)
            .find(|link| !taken(*link))
            .expect("there are more numbers than hooks");
        self.hooks.insert((switch.to_owned(), link));
        format!("link{link}")
    }

    /// The ng_eiface of a jail that does not run: whole and fresh on the host, at its switch.
    pub(super) fn plan_new_switched(&mut self, subject: &Subject, eiface: &DesiredEiface) {
        let node = self.index.node(&eiface.node);
        match self.standing_eiface(subject, eiface, node) {
            Standing::Taken => {}
            Standing::Ours(interface)
                if node.is_some_and(|node| eiface.is_fresh(node, Some(interface))) =>
            {
                self.plan_connection(subject, eiface, node);
            }
            Standing::Ours(_) | Standing::Nothing => {
                self.plan_new_eiface(subject, eiface, node, Phase::CreateEpair);
            }
        }
    }

    /// The ng_eiface of a running jail: mended from outside, without a restart. Its node says what its root calls the interface now.
    pub(super) fn plan_running_switched(
        &mut self,
        subject: &Subject,
        jail: &DesiredJail<'a>,
        link: &DesiredLink,
        eiface: &DesiredEiface,
        running: &'a ObservedJail,
    ) {
        let observed = self.observed;
        let Some(vnet) = observed.vnets.get(&running.jid) else {
            return;
        };
        let node = self.index.node(&eiface.node);
        let name = jail.view.jail_name();
        let called = node.and_then(|node| node.interface.as_deref());
        let inside = vnet
            .interfaces
            .iter()
            .find(|interface| Some(interface.name.as_str()) == called);
        if let Some(inside) = inside {
            self.plan_connection(subject, eiface, node);
            if inside.name != link.interface {
                let op = Op::RenameInVnet {
                    jail: name.to_owned(),
                    from: inside.name.clone(),
                    to: link.interface.clone(),
                };
                self.step(Phase::RepairVnet, subject, op);
            }
            return self.plan_inside(subject, name, link, Some(inside), vnet);
        }
        match self.standing_eiface(subject, eiface, node) {
            Standing::Taken => return,
            Standing::Ours(interface)
                if node.is_some_and(|node| eiface.is_fresh(node, Some(interface))) =>
            {
                self.plan_connection(subject, eiface, node);
            }
            Standing::Ours(_) | Standing::Nothing => {
                self.plan_new_eiface(subject, eiface, node, Phase::CreateEpair);
            }
        }
        self.plan_move(subject, name, link);
        self.plan_inside(subject, name, link, None, vnet);
    }
}

/// A hook of the uplink's that leads somewhere else than to the interface.
fn stranger_at<'n>(switch: &'n Node, uplink: &str) -> Option<(&'static str, &'n str)> {
    let ether = names::ether_node(uplink);
    [LOWER_LINK, UPPER_LINK].into_iter().find_map(|hook| {
        let peer = switch.hooks.get(hook).filter(|peer| peer.node != ether)?;
        Some((hook, peer.node.as_str()))
    })
}
