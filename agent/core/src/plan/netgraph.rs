//! Netgraph switches: their uplinks, the host's own interfaces at them, and the interfaces of jails, made, mended and taken away.
//!
//! A node is ours by its name (`names::Node`), which no jail can give. An ng_eiface stays, without a hook, when its switch goes (recording `06`), and its interface goes with the
//! node wherever it is (`ng_eiface_rmnode`, sys/netgraph/ng_eiface.c): so it is taken away by its node, whatever a jail's root called the interface.

mod leftover;
mod room;
mod uplink;

use cellblock_schemas::ids::Uid;

use super::desired::{DesiredEiface, DesiredJail, DesiredLink};
use super::networks::Standing;
use super::phase::Phase;
use super::teardown::DYING_MS_MAX;
use super::{Planner, reason};
use crate::names::{self, ETHER};
use crate::observed::{Interface, Node, ObservedJail, SwitchSettings};
use crate::op::{Eiface, Op, Subject};
pub(super) use room::RECVSPACE;
pub(crate) use room::may_be_switched;
pub(super) use uplink::{has_card, is_uplink};

/// The first hook of a switch that is not for the uplink. Gaps are allowed; a hook is `link` and a number without leading zeros (`ng_bridge_newhook`, sys/netgraph/ng_bridge.c).
const FIRST_LINK: u32 = 2;

/// What an ng_eiface(4) can have as its MTU, in octets (`NG_EIFACE_MTU_MIN` and `NG_EIFACE_MTU_MAX`, sys/netgraph/ng_eiface.h).
pub(super) const EIFACE_MTU: std::ops::RangeInclusive<u32> = 72..=9018;

/// How our switches are configured: an address moves to the link that it was last seen on, at once. With the kernel's `minStableAge` of 1 an address that moves twice within a second has the link
/// where it belongs forget its addresses and drop everything for `loopTimeout`, 60 s (`ng_bridge_put`, sys/netgraph/ng_bridge.c): the root of any jail could mute the uplink, or the host, by sending
/// under its address. So it can still draw frames for others to itself, as at a bridge(4), but nobody's are dropped. The rest is as the kernel has it.
const SWITCH: SwitchSettings = SwitchSettings {
    debug_level: 1,
    loop_timeout_s: 0,
    max_staleness_s: 900,
    min_stable_age_s: 0,
};

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
                    settings: SWITCH,
                };
                self.step(Phase::CreateInterface, &subject, op);
                self.nodes += 1;
            }
            if let Some(present) = present {
                if present.switch != Some(SWITCH) {
                    let op = Op::SetSwitch {
                        switch: name.clone(),
                        settings: SWITCH,
                    };
                    self.step(Phase::ShapeInterface, &subject, op);
                }
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
            // Of our node, as `standing_eiface` saw to.
            Standing::Ours(interface) => {
                self.plan_connection(subject, port, node);
                if interface.mac != Some(port.mac) {
                    let op = Op::SetMac {
                        interface: port.interface.clone(),
                        mac: port.mac,
                    };
                    self.step(Phase::ShapeInterface, subject, op);
                }
                if interface.mtu != port.mtu {
                    let op = Op::SetMtu {
                        interface: port.interface.clone(),
                        mtu: port.mtu,
                    };
                    self.step(Phase::ShapeInterface, subject, op);
                }
                if !interface.is_up() {
                    let op = Op::SetUp {
                        interface: port.interface.clone(),
                        up: true,
                    };
                    self.step(Phase::ShapeInterface, subject, op);
                }
                Some(interface)
            }
            Standing::Nothing => {
                if !self.plan_new_eiface(subject, port, node, Phase::CreateInterface) {
                    return;
                }
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

    /// Whether a node of ours is the interface of that jail, or may be while the host's netgraph cannot be read.
    pub(super) fn has_eiface(&self, uid: &Uid) -> bool {
        if self.observed.netgraph.unread.is_some() {
            return may_be_switched(self.view, uid);
        }
        let cluster = &self.view.cluster;
        let mut nodes = self.observed.netgraph.nodes.iter();
        nodes.any(|node| {
            let named = names::Node::parse(&node.name, cluster);
            node.kind == "eiface" && named.is_some_and(|named| named.is_of_jail(uid))
        })
    }

    /// Waits for the kernel to let go of a removed jail, and with it of the interface that it holds. A node that is shut down detaches its interface in whatever stack that is, which may be going at
    /// that moment: `ng_eiface_rmnode` makes it the current one, and goes on to `ether_ifdetach`, without `ifnet_detach_sxlock` (sys/netgraph/ng_eiface.c), under which `vnet_destroy` takes a stack
    /// apart before it frees it (sys/net/vnet.c); only `if_detach`, later, takes that lock (sys/net/if.c). So unlike an epair's it stays until the jail is gone, and the jail that follows, whose
    /// node has the same name, waits for it.
    pub(super) fn wait_for_eiface(&mut self, uid: &Uid) {
        // Then the block says what is waited for, see `plan_unread`.
        if self.observed.netgraph.unread.is_some() || !self.waits_for_dying.insert(uid.clone()) {
            return;
        }
        let message = "the jail was removed and the kernel still holds it, as for an open TCP connection (jls -d shows it); its netgraph interface cannot be taken from it before it is gone".to_owned();
        let subject = Subject::Jail(uid.clone());
        self.wait(&subject, reason::DYING, message, DYING_MS_MAX);
    }

    /// An ng_eiface made anew, if there is room for it.
    fn plan_new_eiface(
        &mut self,
        subject: &Subject,
        eiface: &DesiredEiface,
        node: Option<&Node>,
        phase: Phase,
    ) -> bool {
        if node.is_some() {
            self.plan_shutdown_eiface(subject, &eiface.node);
        } else if !self.has_room(subject, &eiface.switch) {
            return false;
        }
        let hook = self.free_hook(&eiface.switch);
        self.step(phase, subject, Op::CreateEiface(eiface.at(hook)));
        self.nodes += 1;
        true
    }

    fn plan_shutdown_eiface(&mut self, subject: &Subject, node: &str) {
        let op = Op::ShutdownNode {
            node: node.to_owned(),
            kind: "eiface",
        };
        self.step(Phase::DestroyEpair, subject, op);
        self.nodes = self.nodes.saturating_sub(1);
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
                if !self.plan_new_eiface(subject, eiface, node, Phase::CreateEpair) {
                    return;
                }
            }
        }
        self.plan_move(subject, name, link);
        self.plan_inside(subject, name, link, None, vnet);
    }
}
