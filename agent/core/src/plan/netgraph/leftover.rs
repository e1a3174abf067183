//! Netgraph nodes of ours that nothing needs any more, and what the host's own interfaces were before.

use std::collections::{BTreeMap, BTreeSet};

use cellblock_schemas::ids::Uid;

use super::is_uplink;
use crate::ledger::Owned;
use crate::names::{self, ETHER};
use crate::observed::{EtherSettings, Node, Peer};
use crate::op::{Op, Record, Subject};
use crate::plan::desired::Attach;
use crate::plan::phase::Phase;
use crate::plan::teardown::Life;
use crate::plan::{Planner, reason};

/// The jails and networks that we know, by what stands of them in a node's name.
struct Known {
    jails: BTreeMap<String, Uid>,
    /// Networks of the view, and whether a jail leans on one, blocked or not, or something of such a jail is still there.
    networks: BTreeMap<String, (Uid, bool)>,
}

impl Known {
    fn network(&self, node: &names::Node) -> Option<&(Uid, bool)> {
        match node {
            names::Node::Switch(hash) | names::Node::Port(hash) => self.networks.get(hash),
            names::Node::Link(..) => None,
        }
    }
}

impl Planner<'_> {
    /// Interfaces of jails first, then the host's own, then switches: a switch goes when nothing of ours is at it.
    pub(in crate::plan) fn plan_leftover_nodes(&mut self) {
        let observed = self.observed;
        if let Some(unread) = &observed.netgraph.unread {
            return self.plan_unread(unread);
        }
        let cluster = &self.view.cluster;
        let ours: Vec<(names::Node, &Node)> = observed
            .netgraph
            .nodes
            .iter()
            .filter_map(|node| Some((names::Node::parse(&node.name, cluster)?, node)))
            .collect();
        let kind = |(named, node): &&(names::Node, &Node)| match named {
            names::Node::Switch(_) => node.kind == "bridge",
            names::Node::Port(_) | names::Node::Link(..) => node.kind == "eiface",
        };
        if ours.is_empty() {
            return self.plan_leftover_ether();
        }
        let known = self.known();
        for (named, node) in ours.iter().filter(kind) {
            if let names::Node::Link(jail, _) = named {
                self.plan_leftover_link(known.jails.get(jail), node);
            }
        }
        for (named, node) in ours.iter().filter(kind) {
            if let names::Node::Port(_) = named {
                self.plan_leftover_port(known.network(named), node);
            }
        }
        for (named, node) in ours.iter().filter(kind) {
            if let names::Node::Switch(_) = named {
                self.plan_leftover_switch(known.network(named), node);
            }
        }
        self.plan_leftover_ether();
    }

    /// What is to go and may have an interface at a switch waits until the netgraph can be read.
    fn plan_unread(&mut self, unread: &str) {
        let ledger = self.ledger;
        for uid in ledger.jails.keys() {
            if !self.shall_run(uid) && self.has_eiface(uid) {
                let message = format!(
                    "whether an interface of it is still at a netgraph switch cannot be told: {unread}"
                );
                self.block(
                    &Subject::Jail(uid.clone()),
                    reason::NETGRAPH_UNREAD,
                    message,
                );
            }
        }
    }

    fn known(&self) -> Known {
        let running = self.observed.jails.iter();
        let running = running.filter_map(|jail| Some(Uid(self.index.owner_of(jail)?.to_owned())));
        let jails = self.view.jails.keys().chain(self.ledger.jails.keys());
        let jails = jails.cloned().chain(running);
        let used = self.used_networks();
        Known {
            jails: jails.map(|uid| (names::Node::hash_of(&uid), uid)).collect(),
            networks: self
                .view
                .networks
                .values()
                .map(|network| {
                    let is_used = used.contains(network.name.as_str());
                    let hash = names::Node::hash_of(&network.uid);
                    (hash, (network.uid.clone(), is_used))
                })
                .collect(),
        }
    }

    fn plan_leftover_link(&mut self, uid: Option<&Uid>, node: &Node) {
        let Some(uid) = uid else {
            // No jail of ours is known that it could be of, alive or dying.
            let subject = Subject::HostPart(format!("netgraph node {}", node.name));
            return self.plan_shutdown_eiface(&subject, &node.name);
        };
        let desired = self.desired.jails.get(uid);
        let wanted = desired.is_some_and(|jail| {
            let mut links = jail.links().iter();
            links.any(|link| match &link.attach {
                Attach::Switched(eiface) => eiface.node == node.name,
                Attach::Bridged { .. } | Attach::Routed { .. } | Attach::Passed(_) => false,
            })
        });
        if wanted || (self.shall_run(uid) && desired.is_none()) {
            return;
        }
        let waits_for_stop = match self.life(uid) {
            Life::Alive(jail) => jail.vnet && !self.shall_run(uid),
            Life::Busy => {
                self.wait_for_own_hooks(uid);
                true
            }
            Life::Dying | Life::Gone => false,
        };
        if waits_for_stop {
            return;
        }
        if self.has_dying(uid) {
            self.wait_for_eiface(uid);
        } else {
            self.plan_shutdown_eiface(&Subject::Jail(uid.clone()), &node.name);
        }
    }

    /// Whether the switch of that network shall stand.
    fn has_switch(&self, network: &Uid) -> bool {
        let switch = names::Node::switch(network).name(&self.view.cluster);
        self.desired.switches.contains_key(&switch)
    }

    /// The host's own interfaces at switches of networks that are used and blocked: they stay as they are, with their addresses.
    pub(in crate::plan) fn staying_ports(&self) -> BTreeSet<String> {
        let networks = self.view.networks.values();
        let mut blocked = networks
            .filter(|network| network.spec.netgraph.is_some() && !self.has_switch(&network.uid))
            .peekable();
        if blocked.peek().is_none() {
            return BTreeSet::new();
        }
        let used = self.used_networks();
        blocked
            .filter(|network| used.contains(network.name.as_str()))
            .map(|network| names::switch_port(&network.uid))
            .collect()
    }

    fn plan_leftover_port(&mut self, network: Option<&(Uid, bool)>, node: &Node) {
        let mut switches = self.desired.switches.values();
        let wanted = switches.any(|switch| {
            switch
                .port
                .as_ref()
                .is_some_and(|port| port.node == node.name)
        });
        // Used, and its network blocked: it stays as it is.
        let stays = network.is_some_and(|(uid, is_used)| *is_used && !self.has_switch(uid));
        if wanted || stays || self.are_ports_held() {
            return;
        }
        let subject = network_subject(network, node);
        let interface = node.interface.as_deref();
        let kept: Vec<String> = interface
            .and_then(|name| self.index.interface(name))
            .into_iter()
            .flat_map(|interface| {
                interface
                    .addresses
                    .iter()
                    .map(move |entry| (interface, entry))
            })
            .filter(|(interface, entry)| {
                entry.scope.is_none() && !self.is_owned_address(&interface.name, entry.address)
            })
            .map(|(_, entry)| entry.address.to_string())
            .collect();
        if !kept.is_empty() {
            let message = format!(
                "`{}` is no longer needed, but somebody put {} on it; take it off",
                interface.unwrap_or_default(),
                kept.join(", ")
            );
            return self.block(&subject, reason::ADDRESS_TAKEN, message);
        }
        self.plan_shutdown_eiface(&subject, &node.name);
    }

    fn plan_leftover_switch(&mut self, network: Option<&(Uid, bool)>, node: &Node) {
        if self.desired.switches.contains_key(&node.name)
            || network.is_some_and(|(_, is_used)| *is_used)
        {
            return;
        }
        let subject = network_subject(network, node);
        let cluster = &self.view.cluster;
        let is_ours =
            |peer: &Peer| peer.hook == ETHER && names::Node::parse(&peer.node, cluster).is_some();
        let uplinks = self.owned_uplinks(node);
        let is_uplink = |peer: &Peer| {
            uplinks
                .iter()
                .any(|(interface, _)| peer.node == names::ether_node(interface))
        };
        if node
            .hooks
            .values()
            .any(|peer| is_ours(peer) && !self.going.contains(&peer.node))
        {
            return;
        }
        let stranger = node
            .hooks
            .iter()
            .find(|(_, peer)| !is_ours(peer) && !is_uplink(peer));
        if let Some((hook, peer)) = stranger {
            let message = format!(
                "netgraph switch `{0}` is no longer needed, but somebody connected `{1}` to it; disconnect it (ngctl rmhook {0}: {hook})",
                node.name, peer.node
            );
            return self.block(&subject, reason::UPLINK_IN_USE, message);
        }
        let forget = uplinks.into_iter().map(|(_, owned)| Record::Owned(owned));
        let forget: Vec<Record> = forget.collect();
        let op = Op::ShutdownNode {
            node: node.name.clone(),
            kind: "bridge",
        };
        self.step(Phase::DestroyInterface, &subject, op)
            .forget
            .extend(forget);
    }

    /// The uplinks of a switch that we connected, with what the ledger has of them.
    fn owned_uplinks(&self, node: &Node) -> Vec<(String, Owned)> {
        let owned = self.ledger.owned.iter();
        owned
            .filter_map(|owned| {
                let Owned::NgUplink { switch, interface } = owned else {
                    return None;
                };
                let is_here = *switch == node.name && is_uplink(node, interface);
                is_here.then(|| (interface.clone(), owned.clone()))
            })
            .collect()
    }

    /// Settings of interfaces that no switch of ours stands at any more. Between the two the agent may have died.
    fn plan_leftover_ether(&mut self) {
        let ledger = self.ledger;
        for owned in &ledger.owned {
            let Owned::NgEther {
                interface,
                promiscuous,
                autosrc,
            } = owned
            else {
                continue;
            };
            // One that was renamed has its node under another name until it has its own again.
            let node = self.index.node(&names::ether_node(interface));
            if self.is_switch_uplink(interface) || node.is_none_or(|node| node.kind != "ether") {
                continue;
            }
            let op = Op::SetEther {
                interface: interface.clone(),
                settings: EtherSettings {
                    promiscuous: *promiscuous,
                    autosrc: *autosrc,
                },
            };
            let subject = Subject::HostPart(format!("interface {interface}"));
            self.step(Phase::Restore, &subject, op)
                .forget
                .push(Record::Owned(owned.clone()));
        }
    }

    /// Whether a switch of ours stands at the interface, or shall.
    pub(in crate::plan) fn is_switch_uplink(&self, interface: &str) -> bool {
        let mut wanted = self.desired.switches.values();
        let cluster = &self.view.cluster;
        let mut nodes = self.observed.netgraph.nodes.iter();
        let mut ledger = self.ledger.owned.iter();
        let unread = self.observed.netgraph.unread.is_some();
        unread
            && ledger.any(
                |owned| matches!(owned, Owned::NgUplink { interface: of, .. } if of == interface),
            )
            || wanted.any(|switch| switch.uplink.as_deref() == Some(interface))
            || nodes.any(|node| {
                node.kind == "bridge"
                    && is_uplink(node, interface)
                    && names::Node::parse(&node.name, cluster).is_some()
            })
    }
}

fn network_subject(network: Option<&(Uid, bool)>, node: &Node) -> Subject {
    match network {
        Some((uid, _)) => Subject::Network(uid.clone()),
        None => Subject::HostPart(format!("netgraph node {}", node.name)),
    }
}
