//! Jails that run, would have to be started again for what the manifest has now, and are not: because it says so, or because they could not start. They keep what they have. So does a jail that is to
//! stop, while one that depends on it has not stopped.
//!
//! What such a jail is attached to is the ledger's to say, and so are the rules of pf that go by it. A network that no other jail of the view needs is in the view no more: what stands of it is
//! known by the jail that is at it.

use std::collections::{BTreeMap, BTreeSet};

use cellblock_schemas::ids::Uid;
use cellblock_schemas::jail::{BoundAttachment, RestartPolicy, RunPolicy};
use cellblock_schemas::view::HostView;

use super::desired::DesiredJail;
use super::teardown::Life;
use super::{Planner, reason};
use crate::firewall::At;
use crate::ledger::Ledger;
use crate::mark::{Mark, Role};
use crate::names;
use crate::observed::Interface;
use crate::op::Subject;
use crate::render::digest;

/// Why jails are not started again: a reason and a message.
pub(super) type Held = BTreeMap<Uid, (&'static str, String)>;

/// The view with these jails attached as they were when they were started.
pub(super) fn as_they_run<'u>(
    view: &HostView,
    ledger: &Ledger,
    held: impl Iterator<Item = &'u Uid>,
) -> HostView {
    let mut view = view.clone();
    for uid in held {
        let Some(jail) = view.jails.get_mut(uid) else {
            continue;
        };
        // One that is to stop, and does not yet.
        jail.deleting = false;
        jail.spec.run_policy = RunPolicy::Running;
        let ours = ledger.jails.get(uid);
        // An older agent started it.
        let Some(ours) = ours.filter(|ours| !ours.attachments.is_empty()) else {
            continue;
        };
        jail.binding.attachments.clone_from(&ours.attachments);
    }
    view
}

impl<'a> Planner<'a> {
    pub(super) fn find_held(&self) -> Held {
        let mut held = Held::new();
        let mut restarting = BTreeMap::new();
        let mut revived = Vec::new();
        for (uid, jail) in &self.desired.jails {
            let Life::Alive(running) = self.life(uid) else {
                continue;
            };
            let is_busy = self.observed.busy.contains_key(&running.name);
            if is_busy || self.is_half_made(running) {
                continue;
            }
            let revival = self.revival(uid, jail, running);
            let is_revived = revival.is_some();
            revived.extend(revival.clone().map(|cause| (uid, cause)));
            let cause = revival.or_else(|| self.changes_of(uid, jail, running).err());
            if let Some(cause) = cause {
                match self.refuses_restart(uid, jail, &cause, is_revived) {
                    Some(refused) => _ = held.insert(uid.clone(), refused),
                    None => _ = restarting.insert(uid, cause),
                }
            }
        }
        self.hold_in_order(restarting, &mut held);
        self.bound_revivals(revived, &mut held);
        held
    }

    /// Why a running jail is not started again.
    fn refuses_restart(
        &self,
        uid: &Uid,
        jail: &DesiredJail<'a>,
        cause: &str,
        is_revived: bool,
    ) -> Option<(&'static str, String)> {
        let word = jail.fields().remove(digest::RESTART_FIELD);
        let ours = self.ledger.jails.get(uid);
        let is_told = word.is_some()
            && ours.is_some_and(|ours| ours.fields.get(digest::RESTART_FIELD) != word.as_ref());
        let policy = match jail.view.spec.restart_policy {
            RestartPolicy::Always => None,
            RestartPolicy::OnFailure => Some("OnFailure"),
            RestartPolicy::Never => Some("Never"),
        };
        if let Some(policy) = policy.filter(|_| !is_told && !is_revived) {
            let message = format!(
                "the change needs a restart ({cause}), and spec.restartPolicy is {policy}: `jailctl restart jail {}` restarts it",
                jail.view.name
            );
            return Some((reason::RESTART_NEEDED, message));
        }
        let mut aliases = jail.aliases.iter();
        let mut links = jail.links().iter();
        let message = aliases
            .find_map(|alias| self.stranger_at(alias))
            .or_else(|| links.find_map(|link| self.stranger_beside(link)))?;
        Some((reason::ADDRESS_TAKEN, message))
    }

    pub(super) fn hold(&mut self, held: Held) {
        for (uid, (reason, message)) in held {
            self.desired.jails.remove(&uid);
            let subject = Subject::Jail(uid.clone());
            // That the view lacks what it is attached to says nothing new.
            self.blocked.forget_of(&subject);
            self.block(&subject, reason, message);
            self.held.insert(uid);
        }
    }

    /// Whether a held jail is at that bridge, or has an address on that loopback.
    pub(super) fn is_held_switch(&self, interface: &Interface) -> bool {
        if self.held.is_empty() {
            return false;
        }
        let mut members = interface.members.keys();
        let mut addresses = interface.addresses.iter();
        members.any(|member| {
            let mut named = self.index.interfaces_named(member);
            named.any(|end| {
                let owner = self.host_end(end);
                owner.is_some_and(|(uid, _)| self.held.contains(&uid))
            })
        }) || addresses.any(|entry| {
            let mut tenants = self.index.tenants(&entry.address);
            tenants.any(|jail| {
                let owner = self.index.owner_of(jail);
                owner.is_some_and(|uid| self.held.contains(&Uid(uid.to_owned())))
            })
        })
    }

    /// The switches' interfaces on the host that held jails are at, the view knowing of them or not: they keep their addresses.
    pub(super) fn held_interfaces(&self) -> BTreeSet<String> {
        let observed = self.observed;
        let interfaces = observed.interfaces.iter();
        // What stands on a loopback, a lagg or a vlan is jails' own, and of those that run it stays by itself.
        let marked = interfaces.filter(|found| {
            let mark = found.description.as_deref().and_then(Mark::parse);
            mark.is_some_and(|mark| {
                !matches!(mark.role, Role::Loopback | Role::Lagg(_) | Role::Vlan(_))
            })
        });
        let switches = marked.filter(|found| self.is_held_switch(found));
        let mut held: BTreeSet<String> = switches.map(|found| found.name.clone()).collect();
        if self.are_ports_held() {
            let cluster = &self.view.cluster;
            let ports = observed.netgraph.nodes.iter().filter(|node| {
                let named = names::Node::parse(&node.name, cluster);
                matches!(named, Some(names::Node::Port(_)))
            });
            held.extend(ports.filter_map(|node| node.interface.clone()));
        }
        held
    }

    /// Whether a held jail has an interface at a netgraph switch: none loses the host's place at it then.
    pub(super) fn are_ports_held(&self) -> bool {
        let mut held = self.held.iter();
        held.any(|uid| self.has_eiface(uid))
    }

    /// Where the traffic of a held jail passes pf whose network the view has no more.
    pub(super) fn held_place(&self, uid: &Uid, bound: &BoundAttachment) -> Option<At> {
        if !self.held.contains(uid) {
            return None;
        }
        let host_end = names::epair_host_end(uid, &bound.interface);
        if self.index.interfaces_named(&host_end).next().is_none() {
            return Some(At::Stack);
        }
        let bridge = self.index.bridge_of(&host_end);
        Some(match bridge {
            Some(bridge) => At::Member {
                host_end,
                bridge: Some(bridge.name.clone()),
            },
            None => At::HostEnd(host_end),
        })
    }

    /// Whether these are the rules of a network that the view has no more and a held jail may be on.
    pub(super) fn is_held_anchor(&self, anchor: &str) -> bool {
        let rest = anchor.strip_prefix(names::ANCHOR_ROOT);
        let is_networks =
            rest.is_some_and(|rest| rest.starts_with("/n") || rest.starts_with("/hn"));
        let mut networks = self.view.networks.values();
        !self.held.is_empty()
            && is_networks
            && !networks.any(|network| {
                anchor == names::network_anchor(&network.uid)
                    || anchor == names::isolation_anchor(&network.uid)
            })
    }
}
