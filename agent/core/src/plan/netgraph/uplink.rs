//! The card of a switch: its ng_ether(4) hooks and settings.

use crate::ledger::Owned;
use crate::names::{self, LOWER, LOWER_LINK, UPPER, UPPER_LINK};
use crate::observed::{EtherSettings, Node};
use crate::op::{Op, Record, Subject};
use crate::plan::phase::Phase;
use crate::plan::{Planner, reason};

/// Whether one of the uplink's hooks of a switch leads to the interface.
pub(in crate::plan) fn is_uplink(switch: &Node, interface: &str) -> bool {
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

/// Whether a card is connected to the uplink's hooks of a switch. Its node takes its new name when it is renamed (`ng_ether_ifnet_arrival_event`, sys/netgraph/ng_ether.c).
pub(in crate::plan) fn has_card(switch: Option<&Node>) -> bool {
    [LOWER_LINK, UPPER_LINK].into_iter().any(|hook| {
        let peer = switch.and_then(|switch| switch.hooks.get(hook));
        peer.is_some_and(|peer| peer.kind == "ether")
    })
}

impl Planner<'_> {
    /// Uplinks that we connected and that are no longer the uplink.
    pub(super) fn plan_old_uplinks(
        &mut self,
        subject: &Subject,
        switch: &Node,
        wanted: Option<&str>,
    ) {
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
    pub(super) fn plan_switch_uplink(
        &mut self,
        subject: &Subject,
        name: &str,
        uplink: &str,
        settings: EtherSettings,
    ) {
        // Up before its hooks are connected: `ng_ether_newhook` takes checksums from the hardware (sys/netgraph/ng_ether.c), and a driver that is brought up after that gives them back to it
        // (`vtnet_reinit`, sys/dev/virtio/network/if_vtnet.c; `iflib_init_locked`, sys/net/iflib.c).
        self.plan_uplink_up(subject, uplink);
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
            let going = |owned: &Owned| {
                matches!(owned, Owned::NgUplink { switch: of, interface }
                    if of == name && interface != uplink && switch.is_some_and(|switch| is_uplink(switch, interface)))
            };
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
