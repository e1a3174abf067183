//! What is changed in a jail that runs: parameters that the kernel takes for a living jail, because the manifest has others now or because somebody has changed them by hand.
//!
//! The table of them is `schemas::change::parameters`. A change goes in one jail_set(2) with the jail's mark. What a module refuses of it is refused after the kernel has
//! set the rest (`PR_METHOD_SET` in `kern_jail_set`, sys/kern/kern_jail.c), so a failed one may be made in part; the next look tells. The ledger has the names before it is made, and the values with the
//! jail's file, which is written after it: until then they count as changed, whatever the manifest says meanwhile. One that the jail's own root may change is set when the manifest
//! changes, and not again; a securelevel is raised again, which only the host can have lowered.

use std::collections::{BTreeMap, BTreeSet};

use cellblock_schemas::change::parameters::{self, Effect, Kernel};
use cellblock_schemas::ids::Uid;
use cellblock_schemas::jail::{JailSpec, ParameterValue};
use cellblock_schemas::validate::parameters::{self as words, Owner, Takes};

use super::Planner;
use super::desired::DesiredJail;
use super::phase::Phase;
use crate::ledger::OwnedJail;
use crate::observed::{JailMeta, ObservedJail};
use crate::op::{Op, Record, Subject};

const HOSTNAME: &str = "host.hostname";
const SECURELEVEL: &str = "securelevel";

fn level(text: Option<&String>) -> Option<i64> {
    text?.parse().ok()
}

/// The parameters of a jail that a look must take in.
pub(super) fn observed<'s>(
    spec: &'s JailSpec,
    changing: Option<&'s BTreeSet<String>>,
) -> impl Iterator<Item = String> + 's {
    let names = spec.parameters.keys().chain(changing.into_iter().flatten());
    let kernel = names.filter(|name| kernel(name).is_some() && *name != HOSTNAME);
    kernel.cloned()
}

fn kernel(name: &str) -> Option<Kernel> {
    match parameters::effect(name) {
        Effect::Kernel(kernel) => Some(kernel),
        Effect::File | Effect::Restart => None,
    }
}

/// A value as jls(8) prints it; none for one that admission has refused.
fn printed(name: &str, value: &ParameterValue) -> Option<String> {
    let takes = match words::owner(name)? {
        Owner::Free(takes) => takes,
        Owner::Field(_) | Owner::Reserved(_) => return None,
    };
    match takes {
        Takes::Boolean => words::as_bool(value).map(|flag| flag.to_string()),
        Takes::Integer(..) => words::as_number(value).map(|number| number.to_string()),
        Takes::Word(_) | Takes::Text | Takes::Short(_) | Takes::List => match value {
            ParameterValue::Text(text) => Some(text.clone()),
            ParameterValue::Number(number) => Some(number.to_string()),
            ParameterValue::Flag(_) | ParameterValue::List(_) => None,
        },
    }
}

impl<'a> Planner<'a> {
    /// Changes what differs. `changed` are the parameters in which the manifest differs from what the jail has been given.
    pub(super) fn plan_live(
        &mut self,
        uid: &Uid,
        jail: &DesiredJail<'a>,
        running: &ObservedJail,
        changed: &BTreeSet<String>,
    ) {
        let spec = &jail.view.spec;
        let stated = spec.parameters.keys().map(String::as_str);
        let names: BTreeSet<&str> = stated.chain(changed.iter().map(String::as_str)).collect();
        let set_hostname = spec.parameters.get("allow.set_hostname");
        let hosts_own = set_hostname.and_then(words::as_bool) == Some(false);
        let (mut set, mut begun) = (BTreeMap::new(), BTreeSet::new());
        for name in names {
            let Some(kernel) = kernel(name) else {
                continue;
            };
            let is_changed = changed.contains(name);
            let wanted = match spec.parameters.get(name) {
                Some(value) => printed(name, value),
                None if name == HOSTNAME => Some(jail.view.jail_name().to_owned()),
                None => kernel.default.map(str::to_owned),
            };
            let present = if name == HOSTNAME {
                Some(&running.hostname)
            } else {
                running.parameters.get(name)
            };
            if kernel.is_jails_own && !is_changed {
                // One that was given up on the host: the jail's root can only raise it.
                let is_lowered = name == SECURELEVEL && level(present) < level(wanted.as_ref());
                let is_mended = is_lowered || name.starts_with("host.") && hosts_own;
                if present.is_none() || !is_mended {
                    continue;
                }
            }
            let differs = present.map_or(is_changed, |present| Some(present) != wanted.as_ref());
            if let Some(wanted) = wanted.filter(|_| differs) {
                begun.extend(is_changed.then(|| name.to_owned()));
                set.insert(name.to_owned(), wanted);
            }
        }
        let mark = running.meta.as_ref().and_then(|meta| {
            let mark = JailMeta {
                hash: jail.conf.digest.clone(),
                ..meta.clone()
            };
            (mark != *meta).then(|| mark.text())
        });
        if !set.is_empty() || mark.is_some() {
            let op = Op::SetJail {
                name: running.name.clone(),
                jid: running.jid,
                parameters: set,
                mark,
            };
            let ours = self.ledger.jails.get(uid);
            let record = ours.filter(|ours| !ours.changing.is_superset(&begun));
            let record = record.map(|ours| {
                let changing = ours.changing.union(&begun).cloned().collect();
                Record::Jail(
                    uid.clone(),
                    OwnedJail {
                        changing,
                        ..ours.clone()
                    },
                )
            });
            let step = self.step(Phase::SetJail, &Subject::Jail(uid.clone()), op);
            step.record.extend(record);
        }
    }

    /// What the ledger has of a running jail, brought up to what the jail has been changed to; none: it is so already.
    pub(super) fn entry_of_change(&self, uid: &Uid, jail: &DesiredJail<'_>) -> Option<OwnedJail> {
        let ours = self.ledger.jails.get(uid)?;
        let (hash, fields) = (jail.conf.digest.clone(), jail.fields());
        if ours.hash == hash && ours.fields == fields && ours.changing.is_empty() {
            return None;
        }
        Some(OwnedJail {
            hash,
            fields,
            changing: BTreeSet::new(),
            attachments: jail.view.binding.attachments.clone(),
            ..ours.clone()
        })
    }
}
