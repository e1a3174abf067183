//! Folding of reports: what an agent observed becomes the status of its Host and of its Jails.
//!
//! Only what is different is written. A report is believed about jails that are bound to the reporting host and about
//! nothing else; the binding itself is never taken from a report.

use cellblock_schemas::host::JailCount;
use cellblock_schemas::jail::JailStatus;
use cellblock_schemas::report::JailReport;
use cellblock_schemas::{
    Condition, ConditionStatus, Generation, HostReport, HostStatus, Jail, Kind, Object, Uid,
};
use jiff::Timestamp;
use std::collections::BTreeMap;

use crate::admit::draft::Draft;
use crate::bind;
use crate::conditions::{self, READY};
use crate::index::Index;
use crate::kept;
use crate::write::Write;

/// The phase of a jail that is not meant to run and does not.
const STOPPED: &str = "Stopped";

/// What a report changes, one write per object, each independent of the others.
#[must_use]
pub fn fold_report(index: &Index, host: &str, report: &HostReport, now: Timestamp) -> Vec<Write> {
    let jails = report
        .jails
        .iter()
        .filter_map(|jail| fold_jail(index, host, jail, now));
    jails.chain(fold_host(index, host, report, now)).collect()
}

fn fold_jail(index: &Index, host: &str, report: &JailReport, now: Timestamp) -> Option<Write> {
    let entry = index.by_uid(&report.uid)?;
    let jail = entry
        .jail()
        .filter(|jail| jail.binding().is_some_and(|binding| binding.host == host))?;
    let mut draft = Draft::of(index, entry);
    let gone = report.gone && jail.metadata.deletion_timestamp.is_some();
    if let Object::Jail(after) = &mut draft.object {
        let status = after.status.get_or_insert_with(JailStatus::default);
        status.observed_generation = report.observed_generation;
        status.phase.clone_from(&report.phase);
        status.jid = report.jid;
        status.interfaces.clone_from(&report.interfaces);
        let was = ready_at(&status.conditions, after.metadata.generation);
        fold_conditions(&mut status.conditions, &report.conditions, now);
        if !after.metadata.owner_references.is_empty() {
            let is = ready_at(&status.conditions, after.metadata.generation);
            let since = status.ready_since.filter(|_| was).unwrap_or(now);
            status.ready_since = is.then_some(since);
        }
        if gone {
            status.binding = None;
            after
                .metadata
                .finalizers
                .retain(|finalizer| finalizer != bind::FINALIZER);
        }
    }
    if gone {
        kept::keep(index, jail, &mut draft.write, now);
        if !draft.object.metadata().finalizers.is_empty() {
            bind::release(index, jail, &mut draft.write);
        }
    } else {
        confirm(index, jail, report, &mut draft.write);
        // A report speaks of every jail of its host, and of most it says what is known: their documents need not be made to see that.
        let is_known = matches!(&draft.object, Object::Jail(after) if after.status == jail.status);
        if is_known && draft.write == Write::default() {
            return None;
        }
    }
    draft.finish(Vec::new()).ok()?.write
}

/// Whether a jail is said to be ready with the spec of that generation.
fn ready_at(conditions: &[Condition], generation: Generation) -> bool {
    conditions::find(conditions, READY).is_some_and(|ready| {
        ready.status == ConditionStatus::True && ready.observed_generation == generation
    })
}

/// Gives back what the jail had given up, once its host has realised the spec that gave it up.
fn confirm(index: &Index, jail: &Jail, report: &JailReport, write: &mut Write) {
    // Addresses, too: rules that redirect a port, and the jail itself where it waits for its restart, may have what was given up when the new addresses are long there.
    let realised = realised(report);
    for (resource, claim) in index.claims().of(&jail.metadata.uid) {
        if claim
            .retired
            .is_some_and(|retired| realised >= Some(retired))
        {
            write.delete(index.keys().claim(resource));
        }
    }
}

/// The newest generation of which the host said that the jail is ready, or that it does not run.
fn realised(report: &JailReport) -> Option<Generation> {
    let ready = report
        .conditions
        .iter()
        .filter(|condition| condition.status == ConditionStatus::True && condition.kind == READY);
    let stopped = (report.phase == STOPPED).then_some(report.observed_generation);
    ready
        .map(|condition| condition.observed_generation)
        .chain(stopped)
        .max()
}

fn fold_host(index: &Index, host: &str, report: &HostReport, now: Timestamp) -> Option<Write> {
    let entry = index.get(Kind::Host, host)?;
    let jails = count(index, host, report);
    let mut draft = Draft::of(index, entry);
    if let Object::Host(host) = &mut draft.object {
        let status = host.status.get_or_insert_with(HostStatus::default);
        status.observed_generation = report.host_generation;
        status.facts = Some(report.facts.clone());
        status.view = Some(report.view);
        status.pending_plan.clone_from(&report.pending_plan);
        status.jails = jails;
        status.networks.clone_from(&report.networks);
        fold_conditions(&mut status.conditions, &report.conditions, now);
    }
    draft.finish(Vec::new()).ok()?.write
}

/// How many jails the host has and how many of them are ready, this report included.
fn count(index: &Index, host: &str, report: &HostReport) -> JailCount {
    let reported: BTreeMap<&Uid, &JailReport> =
        report.jails.iter().map(|jail| (&jail.uid, jail)).collect();
    let mut count = JailCount::default();
    for jail in index
        .jails_of_host(host)
        .filter(|jail| jail.binding().is_some())
    {
        let known = jail
            .status
            .as_ref()
            .map_or(&[][..], |status| &status.conditions);
        let conditions = match reported.get(&jail.metadata.uid) {
            Some(report) if report.gone && jail.metadata.deletion_timestamp.is_some() => continue,
            Some(report) => &report.conditions,
            None => known,
        };
        let ready = conditions::find(conditions, READY)
            .is_some_and(|ready| ready.status == ConditionStatus::True);
        count.bound += 1;
        count.ready += u32::from(ready);
    }
    count
}

/// Takes the agent's conditions over; those that the controller itself sets stay as they are.
fn fold_conditions(known: &mut Vec<Condition>, reported: &[Condition], now: Timestamp) {
    let is_own = |condition: &Condition| conditions::OWN.contains(&condition.kind.as_str());
    known.retain(|condition| {
        is_own(condition) || conditions::find(reported, &condition.kind).is_some()
    });
    for condition in reported.iter().filter(|condition| !is_own(condition)) {
        conditions::set(known, condition.clone(), now);
    }
}

#[cfg(test)]
mod tests;
