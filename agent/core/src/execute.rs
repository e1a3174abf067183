//! Executes a plan: step by step, the ledger before the effect, one failure contained. Decides nothing.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};

use cellblock_schemas::ids::Uid;

use crate::host::{Host, HostError};
use crate::ledger::{Ledger, Owned, OwnedJail};
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
    /// How many steps were left out, because something before them had failed or there was no time left.
    pub skipped: usize,
}

/// Runs a plan on a host.
///
/// A step whose record cannot be synced does not run. After a failure every later step of the same subject, and of subjects that need it, is left out.
/// Once `enough` is true no further step begins; the first always does.
pub fn execute(
    plan: &Plan,
    host: &dyn Host,
    ledger: &mut Ledger,
    file: &mut dyn LedgerFile,
    enough: &dyn Fn() -> bool,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut failed = BTreeSet::new();
    for (position, step) in plan.steps.iter().enumerate() {
        if position > 0 && enough() {
            outcome.skipped += plan.steps.len() - position;
            break;
        }
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
    let mut undo = Vec::new();
    for record in &step.record {
        undo.extend(note(record, ledger));
    }
    if !undo.is_empty()
        && let Err(error) = file.save(ledger)
    {
        for undo in undo.into_iter().rev() {
            undo.apply(ledger);
        }
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

/// What takes one record out of the ledger again.
enum Undo<'a> {
    Owned(&'a Owned),
    Jail(&'a Uid, Option<Box<OwnedJail>>),
}

impl Undo<'_> {
    fn apply(self, ledger: &mut Ledger) {
        match self {
            Self::Owned(owned) => {
                ledger.owned.remove(owned);
            }
            Self::Jail(uid, Some(before)) => {
                ledger.jails.insert(uid.clone(), *before);
            }
            Self::Jail(uid, None) => {
                ledger.jails.remove(uid);
            }
        }
    }
}

/// Writes one record into the ledger; none if it stood there already.
fn note<'a>(record: &'a Record, ledger: &mut Ledger) -> Option<Undo<'a>> {
    match record {
        Record::Owned(owned) => ledger
            .owned
            .insert(owned.clone())
            .then_some(Undo::Owned(owned)),
        Record::Jail(uid, jail) => {
            let before = ledger.jails.insert(uid.clone(), jail.clone());
            (before.as_ref() != Some(jail)).then(|| Undo::Jail(uid, before.map(Box::new)))
        }
    }
}

/// The plan without irreversible steps that a second look did not ask for again, and without what depends on them.
///
/// `second` is the plan made from a second observation. Kernel state is read in several commands, so one look alone can be torn.
#[must_use]
pub fn agreed(first: &Plan, second: Plan) -> Plan {
    let irreversible = first.steps.iter().map(|step| &step.op);
    let irreversible = irreversible.filter(|op| op.is_irreversible());
    let all = LazyCell::new(|| irreversible.clone().collect::<BTreeSet<&Op>>());
    // Nearly always both plans have the same operations in the same order, and none has to be looked for.
    let mut next = irreversible.clone().peekable();
    let mut confirmed = |op: &Op| next.next_if(|next| *next == op).is_some() || all.contains(op);
    let mut dropped = BTreeSet::new();
    let steps = second
        .steps
        .into_iter()
        .filter(|step| {
            let drop = dropped.contains(&step.subject)
                || step.needs.iter().any(|need| dropped.contains(need))
                || (step.op.is_irreversible() && !confirmed(&step.op));
            if drop {
                dropped.insert(step.subject.clone());
            }
            !drop
        })
        .collect();
    Plan { steps, ..second }
}
