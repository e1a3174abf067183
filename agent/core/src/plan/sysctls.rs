//! The sysctls that the Host declares: set while they are declared, and afterwards put back to what they were, if the value is still ours (docs/design/0001-ownership.md).

use std::collections::BTreeSet;

use cellblock_schemas::view::HostView;

use super::phase::Phase;
use super::{Planner, reason, tables};
use crate::ledger::{Ledger, Owned};
use crate::observed::Observed;
use crate::op::{Op, Record, Step, Subject};

/// Whose oids come with a module that we may load (`docs/design/0001-ownership.md`, what stays behind): the policy of bridge(4) towards pf is declared before there is a bridge.
const MODULES: [(&str, &str); 3] = [
    ("net.graph.", "ng_socket"),
    ("net.link.bridge.", "if_bridge"),
    ("net.link.epair.", "if_epair"),
];

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
        let op = Op::SetSysctl {
            oid: oid.to_owned(),
            value: previous.to_owned(),
        };
        self.step(Phase::Restore, &Subject::sysctl(oid), op)
            .forget
            .extend(entries_of(ledger, oid).cloned().map(Record::Owned));
    }
}

fn entries_of<'l>(ledger: &'l Ledger, of: &str) -> impl Iterator<Item = &'l Owned> {
    ledger
        .owned
        .iter()
        .filter(move |owned| matches!(owned, Owned::Sysctl { oid, .. } if oid == of))
}
