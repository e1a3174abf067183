//! The sysctls that the Host declares: set while they are declared, and afterwards put back to what they were, if the value is still ours (docs/design/0001-ownership.md).

use std::collections::BTreeSet;

use cellblock_schemas::net::Family;
use cellblock_schemas::view::HostView;

use super::phase::Phase;
use super::{Planner, reason, tables};
use crate::ledger::{Ledger, Owned};
use crate::observed::{Interface, Observed, Route};
use crate::op::{Op, Record, Step, Subject};

/// Whose oids come with a module that we may load (`docs/design/0001-ownership.md`, what stays behind): the policy of bridge(4) towards pf is declared before there is a bridge.
const MODULES: [(&str, &str); 3] = [
    ("net.graph.", "ng_socket"),
    ("net.link.bridge.", "if_bridge"),
    ("net.link.epair.", "if_epair"),
];

/// Whether the host forwards IPv6.
const FORWARDING6: &str = "net.inet6.ip6.forwarding";

/// Whether it takes a default route from router advertisements all the same: one that forwards forgets its router with the next advertisement otherwise (`nd6_ra_input`, sys/netinet6/nd6_rtr.c).
const TAKES_ROUTERS: &str = "net.inet6.ip6.rfc6204w3";

/// What the planner must know beside the sysctls themselves that it may change.
pub(super) fn beside(oid: &str) -> Option<&'static str> {
    match oid {
        FORWARDING6 => Some(TAKES_ROUTERS),
        TAKES_ROUTERS => Some(FORWARDING6),
        _ => None,
    }
}

/// The sysctls that the ledger has: oid, value before, and the value that we set.
pub(super) fn set_by_us(ledger: &Ledger) -> impl Iterator<Item = (&str, &str, Option<&str>)> {
    ledger.owned.iter().filter_map(|owned| {
        if let Owned::Sysctl {
            oid,
            previous,
            value,
        } = owned
        {
            Some((oid.as_str(), previous.as_str(), value.as_deref()))
        } else {
            None
        }
    })
}

/// Entries of sysctls that are declared no more and that somebody has changed since we set them: they are left as they are.
pub(super) fn changed_since<'l>(
    view: &HostView,
    observed: &Observed,
    ledger: &'l Ledger,
) -> impl Iterator<Item = &'l Owned> {
    let ours: BTreeSet<&str> = set_by_us(ledger)
        .filter(|(oid, _, value)| {
            let present = observed.sysctls.get(*oid);
            // Not asked for in this look: nothing is known.
            present.is_none_or(|present| present.is_some() && present.as_deref() == *value)
        })
        .map(|(oid, _, _)| oid)
        .collect();
    let changed: BTreeSet<String> = set_by_us(ledger)
        .map(|(oid, _, _)| oid)
        .filter(|oid| !view.host.sysctls.contains_key(*oid) && !ours.contains(oid))
        .map(str::to_owned)
        .collect();
    ledger
        .owned
        .iter()
        .filter(move |owned| matches!(owned, Owned::Sysctl { oid, .. } if changed.contains(oid)))
}

impl Planner<'_> {
    pub(super) fn plan_sysctls(&mut self) {
        let view = self.view;
        for (oid, value) in &view.host.sysctls {
            self.plan_declared(oid, value.to_string());
        }
        self.plan_fibs();
    }

    /// More routing tables. The kernel lets their number grow only (recording `04`), so that there is nothing to remember.
    fn plan_fibs(&mut self) {
        let Some(wanted) = self.view.host.fibs else {
            return;
        };
        let present = self.observed.sysctls.get(tables::FIBS);
        let present = present.and_then(|present| present.as_ref()?.parse::<u16>().ok());
        if present.is_some_and(|present| present < wanted) {
            let op = Op::SetSysctl {
                oid: tables::FIBS.to_owned(),
                value: wanted.to_string(),
            };
            self.step(Phase::Sysctl, &Subject::sysctl(tables::FIBS), op);
        }
    }

    /// Sysctls that are declared no more. On a host that nothing is left for they go last: not while a jail is still to be stopped, which may lean on them.
    pub(super) fn plan_withdrawn_sysctls(&mut self) {
        let stops = |(phase, _): &(Phase, Step)| *phase == Phase::StopJail;
        if self.view.jails.is_empty() && self.steps.iter().any(stops) {
            return;
        }
        let (view, ledger) = (self.view, self.ledger);
        let withdrawn: BTreeSet<&str> = set_by_us(ledger)
            .map(|(oid, _, _)| oid)
            .filter(|oid| !view.host.sysctls.contains_key(*oid))
            .collect();
        for oid in withdrawn {
            self.plan_withdrawn(oid);
        }
    }

    fn plan_declared(&mut self, oid: &str, value: String) {
        let ledger = self.ledger;
        match self.observed.sysctls.get(oid) {
            Some(Some(present)) if *present == value => {}
            Some(Some(_)) if !self.keeps_router(oid, &value) => {}
            Some(Some(present)) => {
                let before = set_by_us(ledger).find(|(ours, _, _)| *ours == oid);
                let record = Owned::Sysctl {
                    oid: oid.to_owned(),
                    previous: before
                        .map_or(present.as_str(), |(_, previous, _)| previous)
                        .to_owned(),
                    value: Some(value.clone()),
                };
                let op = Op::SetSysctl {
                    oid: oid.to_owned(),
                    value,
                };
                let step = self.step(Phase::Sysctl, &Subject::sysctl(oid), op);
                step.forget.extend(
                    entries_of(ledger, oid)
                        .filter(|owned| *owned != &record)
                        .cloned()
                        .map(Record::Owned),
                );
                step.record.push(Record::Owned(record));
            }
            Some(None) | None => self.plan_missing(oid),
        }
    }

    /// The kernel has no such sysctl: it comes with its module, or not at all.
    fn plan_missing(&mut self, oid: &str) {
        let module = MODULES
            .into_iter()
            .find(|(prefix, _)| oid.starts_with(prefix))
            .map(|(_, module)| module)
            .filter(|module| !self.observed.modules.contains(*module));
        if let Some(module) = module {
            return self.plan_module(module);
        }
        let message = format!(
            "spec.sysctls: this kernel has no sysctl `{oid}`; load the module that brings it, or take the line out of the Host"
        );
        self.block(&Subject::Host, reason::NOT_CAPABLE, message);
    }

    fn plan_withdrawn(&mut self, oid: &str) {
        let ledger = self.ledger;
        let present = self.observed.sysctls.get(oid).and_then(Option::as_deref);
        let ours = set_by_us(ledger)
            .find(|(ours, _, value)| *ours == oid && value.is_some() && *value == present);
        let Some((_, previous, _)) = ours else { return };
        if !self.keeps_router(oid, previous) {
            return;
        }
        let op = Op::SetSysctl {
            oid: oid.to_owned(),
            value: previous.to_owned(),
        };
        self.step(Phase::Restore, &Subject::sysctl(oid), op)
            .forget
            .extend(entries_of(ledger, oid).cloned().map(Record::Owned));
    }

    /// Whether the host keeps the router that it lives by when `oid` becomes `value`. What takes it away is refused, unless the other sysctl is on its way.
    fn keeps_router(&mut self, oid: &str, value: &str) -> bool {
        let now = |name: &str| {
            let present = self.observed.sysctls.get(name);
            present.is_some_and(|present| present.as_deref().is_some_and(|value| value != "0"))
        };
        let then = |name: &str| if name == oid { value != "0" } else { now(name) };
        let (forwards, takes) = (then(FORWARDING6), then(TAKES_ROUTERS));
        let is_change = !now(FORWARDING6) || now(TAKES_ROUTERS);
        if beside(oid).is_none() || !forwards || takes || !is_change {
            return true;
        }
        let Some(route) = self.route_by_advertisement() else {
            return true;
        };
        if oid == FORWARDING6 && self.view.host.declares_on(TAKES_ROUTERS) {
            return false;
        }
        let message = format!(
            "spec.sysctls: {oid}={value} is not set: this host has its IPv6 default route ({} by {}) from router advertisements, and a host that forwards loses it with the next one; declare {TAKES_ROUTERS}: 1 with it, or give the host a default route of its own (ipv6_defaultrouter in rc.conf)",
            route.gateway, route.interface
        );
        self.block(&Subject::Host, reason::ROUTER_WOULD_BE_LOST, message);
        false
    }

    /// The IPv6 default route, if a router advertisement brought it: nobody made it (`S`), and its interface listens to them.
    fn route_by_advertisement(&self) -> Option<&Route> {
        let listens = |name: &str| {
            self.index
                .interfaces_named(name)
                .any(Interface::accepts_rtadv)
        };
        let mut routes = self.observed.routes.get(&0)?.iter();
        routes.find(|route| {
            route.family == Family::Ipv6
                && route.destination == "default"
                && !route.flags.contains('S')
                && listens(&route.interface)
        })
    }
}

fn entries_of<'l>(ledger: &'l Ledger, of: &str) -> impl Iterator<Item = &'l Owned> {
    ledger
        .owned
        .iter()
        .filter(move |owned| matches!(owned, Owned::Sysctl { oid, .. } if oid == of))
}
