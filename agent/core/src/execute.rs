//! Executes a plan: step by step, the ledger before the effect, one failure contained. Decides nothing.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::guard::{Guarded, Lifeline, Unguarded, guarded};
use crate::host::{Host, HostError, Performed};
use crate::ledger::{Change, Ledger, Owned};
use crate::op::{Op, Plan, Record, Step, Subject};

/// Where the ledger is kept.
///
/// # Guarantees
/// After an error the next call writes the whole of its `ledger` anew: the memory may have gone on without the file.
pub trait LedgerFile {
    /// Writes changes to a ledger, all or none, synced: when it returns, a power failure does not lose them. `ledger` is the ledger without them.
    ///
    /// # Errors
    /// They could not be written: what is on disk is the ledger from before, or, where the failure left that open, the one with them.
    fn append(&mut self, ledger: &Ledger, changes: &[Change]) -> Result<(), HostError>;
}

/// No file: for plans that are only shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unkept;

impl LedgerFile for Unkept {
    fn append(&mut self, _: &Ledger, _: &[Change]) -> Result<(), HostError> {
        Ok(())
    }
}

/// What a plan is executed on.
#[derive(Clone, Copy)]
pub struct Outside<'a> {
    /// The host.
    pub host: &'a dyn Host,
    /// What is beside it for steps that could cut it off.
    pub lifeline: &'a dyn Lifeline,
}

impl<'a> Outside<'a> {
    /// A host without guard: no step that needs one begins.
    #[must_use]
    pub fn unguarded(host: &'a dyn Host) -> Self {
        Self {
            host,
            lifeline: &Unguarded,
        }
    }
}

/// What came of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// How many steps ran and succeeded.
    pub done: usize,
    /// The first error of each subject that failed.
    pub failed: BTreeMap<Subject, HostError>,
    /// Subjects of which a step was begun and not seen to end.
    pub begun: BTreeSet<Subject>,
    /// Subjects of which a step has to wait for others that are under way.
    pub postponed: BTreeSet<Subject>,
    /// How many steps were left out, because something before them had failed or not ended, or there was no time left.
    pub skipped: usize,
}

/// Runs a plan on a host.
///
/// A step whose record cannot be synced does not run. After a failure, and after a step that was not seen to end, every later step of the same subject, and of subjects that need it, is left out.
/// Once `enough` is true no further step begins; the first always does, unless the agent is to end.
pub fn execute(
    plan: &Plan,
    outside: Outside<'_>,
    ledger: &mut Ledger,
    file: &mut dyn LedgerFile,
    enough: &dyn Fn() -> bool,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut unfinished = BTreeSet::new();
    for (position, step) in plan.steps.iter().enumerate() {
        if position > 0 && enough() || outside.lifeline.is_ending() {
            outcome.skipped += plan.steps.len() - position;
            break;
        }
        if unfinished.contains(&step.subject)
            || step.needs.iter().any(|need| unfinished.contains(need))
        {
            outcome.skipped += 1;
            continue;
        }
        match run(step, outside, ledger, file) {
            Ok(Performed::Done) => {
                outcome.done += 1;
                continue;
            }
            Ok(Performed::Begun) => {
                outcome.begun.insert(step.subject.clone());
            }
            // What is planned from this is another thing, at once.
            Ok(Performed::Rejected(_)) => {
                outcome.begun.insert(step.subject.clone());
            }
            Ok(Performed::Postponed) => {
                outcome.postponed.insert(step.subject.clone());
            }
            Err(error) => {
                outcome.failed.entry(step.subject.clone()).or_insert(error);
            }
        }
        unfinished.insert(step.subject.clone());
    }
    outcome
}

fn run(
    step: &Step,
    outside: Outside<'_>,
    ledger: &mut Ledger,
    file: &mut dyn LedgerFile,
) -> Result<Performed, HostError> {
    let record = step.record.iter().cloned().map(Record::noted).collect();
    let performed = match &step.guard {
        Some(guard) => {
            let op = &step.op;
            guarded(Guarded { op, guard, record }, outside, ledger, file)?;
            Performed::Done
        }
        None => {
            ledger.commit(record, file)?;
            outside.host.perform(&step.op)?
        }
    };
    if let (Performed::Rejected(said), Op::LoadAnchor { anchor, parts, .. }) =
        (&performed, &step.op)
    {
        let rejected = said.iter().filter_map(|(jail, said)| {
            let rules = parts.get(jail)?.clone();
            Some(Change::Own(Owned::Rejected {
                jail: jail.clone(),
                anchor: anchor.clone(),
                rules,
                said: said.clone(),
            }))
        });
        let known = ledger.owned.iter();
        let former = known.filter(|owned| {
            matches!(owned, Owned::Rejected { jail, anchor: of, .. } if of == anchor && said.contains_key(jail))
        });
        let former: Vec<Change> = former.cloned().map(Change::Disown).collect();
        let changes = former.into_iter().chain(rejected).collect();
        ledger.commit(changes, file)?;
    }
    if performed == Performed::Done {
        let forget = step.forget.iter().cloned().map(Record::forgotten).collect();
        ledger.commit(forget, file)?;
    }
    Ok(performed)
}

impl Record {
    /// The change that writes it.
    #[must_use]
    pub fn noted(self) -> Change {
        match self {
            Self::Owned(owned) => Change::Own(owned),
            Self::Jail(uid, jail) => Change::KnowJail(uid, jail),
        }
    }

    /// The change that forgets it.
    #[must_use]
    pub fn forgotten(self) -> Change {
        match self {
            Self::Owned(owned) => Change::Disown(owned),
            Self::Jail(uid, _) => Change::ForgetJail(uid),
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
