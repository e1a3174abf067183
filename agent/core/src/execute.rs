//! Executes a plan: step by step, the ledger before the effect, one failure contained. Decides nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::host::{Host, HostError};
use crate::ledger::Ledger;
use crate::op::{Op, Plan, Record, Step, Subject};

/// Where the ledger is kept.
pub trait LedgerFile {
    /// Writes the ledger, whole and synced: when it returns, a power failure does not lose it.
    ///
    /// # Errors
    /// It could not be written; the ledger on disk is the one from before.
    fn save(&mut self, ledger: &Ledger) -> Result<(), HostError>;
}

/// What came of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// How many steps ran and succeeded.
    pub done: usize,
    /// The first error of each subject that failed.
    pub failed: BTreeMap<Subject, HostError>,
    /// How many steps were left out because something before them had failed.
    pub skipped: usize,
}

/// Runs a plan on a host.
///
/// A step whose record cannot be synced does not run. After a failure every later step of the same subject, and of subjects that need it, is left out.
pub fn execute(
    plan: &Plan,
    host: &dyn Host,
    ledger: &mut Ledger,
    file: &mut dyn LedgerFile,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut failed = BTreeSet::new();
    for step in &plan.steps {
        if failed.contains(&step.subject) || step.needs.iter().any(|need| failed.contains(need)) {
            outcome.skipped += 1;
            continue;
        }
        match run(step, host, ledger, file) {
            Ok(()) => outcome.done += 1,
            Err(error) => {
                failed.insert(step.subject.clone());
                outcome.failed.entry(step.subject.clone()).or_insert(error);
            }
        }
    }
    outcome
}

fn run(
    step: &Step,
    host: &dyn Host,
    ledger: &mut Ledger,
    file: &mut dyn LedgerFile,
) -> Result<(), HostError> {
    let before = (!step.record.is_empty()).then(|| ledger.clone());
    for record in &step.record {
        match record {
            Record::Owned(owned) => {
                ledger.owned.insert(owned.clone());
            }
            Record::Jail(uid, jail) => {
                ledger.jails.insert(uid.clone(), jail.clone());
            }
        }
    }
    if let Some(before) = before
        && *ledger != before
        && let Err(error) = file.save(ledger)
    {
        *ledger = before;
        return Err(error);
    }
    host.perform(&step.op)?;
    if step.forget.is_empty() {
        return Ok(());
    }
    for record in &step.forget {
        match record {
            Record::Owned(owned) => {
                ledger.owned.remove(owned);
            }
            Record::Jail(uid, _) => {
                ledger.jails.remove(uid);
            }
        }
    }
    file.save(ledger)
}

/// The plan without irreversible steps that a second look did not ask for again, and without what depends on them.
///
/// `second` is the plan made from a second observation. Kernel state is read in several commands, so one look alone can be torn.
#[must_use]
pub fn agreed(first: &Plan, second: Plan) -> Plan {
    let confirmed: Vec<&Op> = first.steps.iter().map(|step| &step.op).collect();
    let mut dropped = BTreeSet::new();
    let steps = second
        .steps
        .into_iter()
        .filter(|step| {
            let drop = dropped.contains(&step.subject)
                || step.needs.iter().any(|need| dropped.contains(need))
                || (step.op.is_irreversible() && !confirmed.contains(&&step.op));
            if drop {
                dropped.insert(step.subject.clone());
            }
            !drop
        })
        .collect();
    Plan { steps, ..second }
}
