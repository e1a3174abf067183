//! The evidence by whom it concerns, so that verifying a host costs as much as the host is large and no more. Answers only; what it means for a jail is the parent's to say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cellblock_schemas::ids::Uid;
use cellblock_schemas::view::JailView;

use crate::host::{HostError, STARTING};
use crate::ledger::{Ledger, Owned};
use crate::mark::{Mark, Role};
use crate::names::{self, Node};
use crate::observed::ObservedJail;
use crate::op::{Blocked, Op, Subject, Waiting};
use crate::plan::index::Index;
use crate::plan::netgraph::may_be_switched;
use crate::plan::reason;
use crate::render::pf::jail_of_label;

use super::Evidence;

/// The evidence by whom it concerns.
pub(super) struct Findings<'a> {
    pub(super) evidence: Evidence<'a>,
    pub(super) index: Index<'a>,
    /// The first block that says that pf has no effect.
    pub(super) pf: Option<&'a Blocked>,
    blocked: BTreeMap<&'a Subject, Vec<(usize, &'a Blocked)>>,
    waiting: BTreeMap<&'a Subject, (usize, &'a Waiting)>,
    planned: BTreeSet<&'a Subject>,
    loading: BTreeSet<&'a str>,
    /// Whose own pf a step changes.
    filtered: BTreeSet<&'a Subject>,
    aliases: BTreeSet<IpAddr>,
    /// Anchors beside their own in which ports of jails stand, by uid.
    shared: BTreeMap<&'a str, BTreeSet<&'a str>>,
    host_ends: BTreeSet<String>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(evidence: Evidence<'a>) -> Self {
        let Evidence {
            view,
            observed,
            ledger,
            plan,
            ..
        } = evidence;
        let mut blocked: BTreeMap<&Subject, Vec<(usize, &Blocked)>> = BTreeMap::new();
        for (position, found) in plan.blocked.iter().enumerate() {
            let of_subject = blocked.entry(&found.subject).or_default();
            of_subject.push((position, found));
        }
        let mut waiting = BTreeMap::new();
        for (position, found) in plan.waiting.iter().enumerate() {
            waiting.entry(&found.subject).or_insert((position, found));
        }
        let is_pf = |found: &&Blocked| found.reason == reason::PF_NOT_EFFECTIVE;
        Self {
            evidence,
            index: Index::new(view, observed, ledger),
            pf: plan.blocked.iter().find(is_pf),
            blocked,
            waiting,
            planned: plan.steps.iter().map(|step| &step.subject).collect(),
            loading: plan
                .steps
                .iter()
                .filter_map(|step| loaded(&step.op))
                .collect(),
            filtered: plan
                .steps
                .iter()
                .filter(|step| is_filter_inside(&step.op))
                .map(|step| &step.subject)
                .collect(),
            aliases: ledger.owned.iter().filter_map(Owned::alias).collect(),
            shared: shared(ledger),
            host_ends: if view.jails.values().any(|jail| jail.deleting) {
                host_ends(evidence)
            } else {
                BTreeSet::new()
            },
        }
    }

    /// The anchors beside its own in which ports of the jail stand, or stood and their connections are not ended yet.
    pub(super) fn shared_anchors(&self, jail: &Uid) -> impl Iterator<Item = &'a str> {
        self.shared
            .get(jail.as_str())
            .into_iter()
            .flatten()
            .copied()
    }

    /// The first block of any of these subjects, in the plan's order.
    pub(super) fn blocked(&self, subjects: &[Subject]) -> Option<&'a Blocked> {
        let found = subjects
            .iter()
            .filter_map(|subject| self.blocked.get(subject)?.first());
        found
            .min_by_key(|(position, _)| *position)
            .map(|(_, blocked)| *blocked)
    }

    /// The first block of the subject for that reason.
    pub(super) fn blocked_for(&self, subject: &Subject, reason: &str) -> Option<&'a Blocked> {
        let mut found = self.blocked.get(subject)?.iter();
        found
            .find(|(_, blocked)| blocked.reason == reason)
            .map(|(_, blocked)| *blocked)
    }

    /// The first failure of any of these subjects, in their order.
    pub(super) fn failed(&self, subjects: &[Subject]) -> Option<&'a HostError> {
        let failed = &self.evidence.outcome.failed;
        subjects
            .iter()
            .filter_map(|subject| failed.get_key_value(subject))
            .min_by_key(|(subject, _)| *subject)
            .map(|(_, error)| error)
    }

    /// Whether a start of the jail is under way after one that failed.
    pub(super) fn is_tried_again(&self, jail: &Uid, name: &str) -> bool {
        let mut verbs = self.evidence.observed.busy.get(name).into_iter();
        verbs.any(|verb| verb == STARTING) && self.has_failed(jail)
    }

    /// Whether the last thing that was tried with the jail failed.
    pub(super) fn has_failed(&self, jail: &Uid) -> bool {
        let failed = &self.evidence.outcome.failed;
        failed.contains_key(&Subject::Jail(jail.clone()))
    }

    /// What any of these subjects waits for, the first in the plan's order.
    pub(super) fn waiting(&self, subjects: &[Subject]) -> Option<&'a Waiting> {
        subjects
            .iter()
            .filter_map(|subject| self.waiting.get(subject))
            .min_by_key(|(position, _)| *position)
            .map(|(_, waiting)| *waiting)
    }

    /// Whether a step concerns any of these subjects.
    pub(super) fn is_planned(&self, subjects: &[Subject]) -> bool {
        subjects
            .iter()
            .any(|subject| self.planned.contains(subject))
    }

    /// Whether a step loads that pf anchor.
    pub(super) fn is_loading(&self, anchor: &str) -> bool {
        self.loading.contains(anchor)
    }

    /// Whether a step changes the own pf of a jail.
    pub(super) fn is_loading_inside(&self, jail: &Subject) -> bool {
        self.filtered.contains(jail)
    }

    /// Addresses of a jail that still stand on the host and must not: those that it had before, and where it does not run all of them.
    pub(super) fn unreleased(&self, jail: &Uid, runs: bool) -> Vec<IpAddr> {
        let Some(ours) = self.evidence.ledger.jails.get(jail) else {
            return Vec::new();
        };
        let own = ours.addresses.iter().filter(|_| !runs);
        ours.former
            .iter()
            .chain(own)
            .filter(|address| self.aliases.contains(address))
            .copied()
            .collect()
    }

    /// Addresses that a running jail was started with, has still, and shall have no more: it waits for its restart.
    pub(super) fn given_up(&self, jail: &JailView, running: &ObservedJail) -> Vec<IpAddr> {
        let Some(ours) = self.evidence.ledger.jails.get(&jail.uid) else {
            return Vec::new();
        };
        let is_bound = |address: &IpAddr| {
            let attachments = jail.binding.attachments.iter();
            let mut bound = attachments.flat_map(|attachment| &attachment.addresses);
            bound.any(|bound| bound.address == *address)
        };
        let inside = self.evidence.observed.vnets.get(&running.jid);
        let has = |address: &IpAddr| {
            let mut interfaces = inside.into_iter().flat_map(|vnet| &vnet.interfaces);
            running.ip4.contains(address)
                || running.ip6.contains(address)
                || interfaces.any(|interface| interface.address(*address).is_some())
        };
        let started_with = ours.addresses.iter();
        let given_up = started_with.filter(|address| !is_bound(address) && has(address));
        given_up.copied().collect()
    }

    /// Why an address that is to go could not be taken off, if that was tried.
    pub(super) fn release_failed(&self, of: IpAddr) -> Option<&'a HostError> {
        let owned = self.evidence.ledger.owned.iter();
        let subjects = owned.filter_map(|owned| match owned {
            Owned::Alias { interface, address } if *address == of => {
                Some(Subject::address(interface, of))
            }
            Owned::Alias { .. }
            | Owned::BroughtUp { .. }
            | Owned::Inet6Enabled { .. }
            | Owned::LinkLocal { .. }
            | Owned::Member { .. }
            | Owned::NgUplink { .. }
            | Owned::NgEther { .. }
            | Owned::LaggPort { .. }
            | Owned::Redirect { .. }
            | Owned::Firewall { .. }
            | Owned::Rejected { .. }
            | Owned::Unchecked { .. }
            | Owned::UncheckedNetwork { .. }
            | Owned::Route { .. }
            | Owned::TableRoute(_)
            | Owned::Limit { .. }
            | Owned::Sysctl { .. }
            | Owned::Nic(_)
            | Owned::Translation { .. }
            | Owned::PfConf { .. }
            | Owned::Storage { .. }
            | Owned::Dataset { .. } => None,
        });
        let failed = &self.evidence.outcome.failed;
        subjects
            .into_iter()
            .find_map(|subject| failed.get(&subject))
    }

    /// The anchors of a jail's networks, where what leaves by them is translated and marked.
    pub(super) fn network_anchors(&self, jail: &JailView) -> impl Iterator<Item = String> {
        let networks = &self.evidence.view.networks;
        let attachments = jail.binding.attachments.iter();
        let attached = attachments.filter_map(|attachment| networks.get(&attachment.network));
        attached.map(|network| names::network_anchor(&network.uid))
    }

    /// Whether the ledger has the address as an alias of ours.
    pub(super) fn is_alias(&self, address: IpAddr) -> bool {
        self.aliases.contains(&address)
    }

    /// Whether an interface is marked as the host end of an epair of that jail, which is being deleted, or a netgraph node is named as its interface.
    pub(super) fn has_end(&self, uid: &Uid) -> bool {
        let cluster = &self.evidence.view.cluster;
        let netgraph = &self.evidence.observed.netgraph;
        if netgraph.unread.is_some() && may_be_switched(self.evidence.view, uid) {
            return true;
        }
        let mut nodes = netgraph.nodes.iter();
        self.host_ends.contains(uid.as_str())
            || nodes.any(|node| {
                let named = Node::parse(&node.name, cluster);
                node.kind == "eiface" && named.is_some_and(|node| node.is_of_jail(uid))
            })
    }
}

fn shared(ledger: &Ledger) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut shared: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for owned in &ledger.owned {
        if let Owned::Redirect { anchor, label } = owned
            && let Some(jail) = jail_of_label(label)
        {
            shared.entry(jail).or_default().insert(anchor);
        }
    }
    shared
}

fn is_filter_inside(op: &Op) -> bool {
    matches!(
        op,
        Op::LoadAnchorInVnet { .. }
            | Op::RaiseInVnet { .. }
            | Op::KillUnpermitted {
                inside: Some(_),
                ..
            }
    )
}

fn loaded(op: &Op) -> Option<&str> {
    if let Op::LoadAnchor { anchor, .. } = op {
        Some(anchor)
    } else {
        None
    }
}

/// The uids of jails that an epair's host end is marked with.
fn host_ends(evidence: Evidence<'_>) -> BTreeSet<String> {
    let interfaces = evidence.observed.interfaces.iter();
    interfaces
        .filter_map(|interface| Mark::parse(interface.description.as_deref()?))
        .filter(|mark| {
            mark.cluster == evidence.view.cluster && matches!(mark.role, Role::HostEnd(_))
        })
        .map(|mark| mark.uid.0)
        .collect()
}
