//! One pass of the loop: observe, plan, agree, execute, observe again, verify. The shell calls it when something may have changed, and on a timer.
//!
//! Everything here is level-triggered: a pass knows nothing of why it was called. It remembers failures, to space them out, and what the last
//! look came to, so that a host that is as it was is not planned again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cellblock_schemas::host::HostSpec;
use cellblock_schemas::ids::Uid;
use cellblock_schemas::report::HostReport;
use cellblock_schemas::view::HostView;

use crate::execute::{LedgerFile, Outcome, Outside, agreed, execute};
use crate::guard::settle;
use crate::host::{Host, HostError, Retry};
use crate::ledger::{Change, Ledger};
use crate::mark::Mark;
use crate::observed::{Neighbour, Observed};
use crate::op::{Plan, Step, Subject, Waiting};
use crate::plan::memory::Remembered;
use crate::plan::{self, Settings, reason};
use crate::probe::{self, Health, Probed};
use crate::verify::{Evidence, verify};
use basis::Basis;

mod basis;

/// The first pause after a failure, in milliseconds; each further failure of the same subject doubles it.
const PAUSE_MS_FIRST: u64 = 1_000;

/// The longest pause between two tries of what keeps failing, in milliseconds.
const PAUSE_MS_MAX: u64 = 60_000;

/// How soon to look again at what becomes possible by itself, in milliseconds.
const LOOK_AGAIN_MS: u64 = 1_000;

/// How soon to look again after progress, in milliseconds: at once.
const PROGRESS_MS: u64 = 0;

/// How long a pass goes on beginning operations, in milliseconds. What is left is the next pass's: in between the host is reported as it is, and a newer view is taken, one that pauses the host
/// among them. Several times what a look takes at a thousand jails, so that most of the time goes into work.
const PASS_MS_MAX: u64 = 10_000;

/// How many times as long as it has looked a pass may work in any case. A look at a busy or slow host can take longer than the whole of the above, and the host would then be looked at anew for each
/// single operation.
const WORK_PER_LOOK: u64 = 4;

/// Why the agent observes and does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// `jailctl host pause`
    Paused,
    /// The host had jails, bridges or epairs of somebody else at the first run, and nobody has approved yet.
    NotApproved,
    /// `jailctl host forget`
    Forgotten,
}

impl Held {
    fn reason(self) -> (&'static str, &'static str) {
        match self {
            Self::Paused => (
                "Paused",
                "the Host is paused (spec.paused); `jailctl host resume` lets the agent act again",
            ),
            Self::Forgotten => (
                "Forgotten",
                "this host was given up (`jailctl host forget`), so what runs here may run elsewhere too; read what would be taken away (`jailctl describe host`), then `jailctl host approve`",
            ),
            Self::NotApproved => (
                "NotApproved",
                "this host had jails or interfaces of somebody else when the agent first ran; read the plan (`jailctl describe host`), then `jailctl host approve`",
            ),
        }
    }
}

/// What an agent remembers from one pass to the next. It may be forgotten at any time, as it is when the agent dies.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// What failed.
    pub failures: Failures,
    /// What the last look came to.
    pub last: Remembered,
    /// What the probes of jails have come to by now.
    pub health: BTreeMap<Uid, Health>,
}

/// Failures by subject, so that what keeps failing is tried less and less often while everything else goes on.
#[derive(Clone, Debug, Default)]
pub struct Failures {
    by_subject: BTreeMap<Subject, Failure>,
}

#[derive(Clone, Debug)]
struct Failure {
    error: HostError,
    count: u32,
    not_before_ms: u64,
}

impl Failures {
    fn note(&mut self, outcome: &Outcome, plan: &Plan, now_ms: u64) {
        let undecided = |subject| {
            outcome.failed.contains_key(subject)
                || outcome.begun.contains(subject)
                || outcome.postponed.contains(subject)
        };
        for step in &plan.steps {
            if outcome.skipped == 0 && !undecided(&step.subject) {
                self.by_subject.remove(&step.subject);
            }
        }
        for (subject, error) in &outcome.failed {
            let count = self
                .by_subject
                .get(subject)
                .map_or(0, |failure| failure.count)
                + 1;
            let failure = Failure {
                error: error.clone(),
                count,
                not_before_ms: now_ms + pause_ms(count),
            };
            self.by_subject.insert(subject.clone(), failure);
        }
    }

    /// Forgets failures of what `after` asks for in another way than `before` did: it may work now. What a view does not change for keeps its pace,
    /// however many views come in.
    pub fn view_changed(&mut self, before: &HostView, after: &HostView) {
        self.by_subject
            .retain(|subject, _| Basis::of(before, subject) == Basis::of(after, subject));
    }

    /// The plan without the steps that are not due.
    fn due(&self, mut plan: Plan, now_ms: u64) -> Plan {
        plan.steps.retain(|step| self.is_due(step, now_ms));
        plan
    }

    fn has_due(&self, plan: &Plan, now_ms: u64) -> bool {
        plan.steps.iter().any(|step| self.is_due(step, now_ms))
    }

    /// Whether neither the step nor what it needs has failed too short a time ago.
    fn is_due(&self, step: &Step, now_ms: u64) -> bool {
        self.holding(step)
            .all(|failure| failure.not_before_ms <= now_ms)
    }

    /// The failures of what the step concerns and of what it needs.
    fn holding(&self, step: &Step) -> impl Iterator<Item = &Failure> {
        std::iter::once(&step.subject)
            .chain(&step.needs)
            .filter_map(|subject| self.by_subject.get(subject))
    }

    fn outcome(&self, done: usize) -> Outcome {
        let failed = self
            .by_subject
            .iter()
            .map(|(subject, failure)| (subject.clone(), failure.told()))
            .collect();
        Outcome {
            done,
            failed,
            ..Outcome::default()
        }
    }

    /// How long until the next step becomes due. A failure whose pause is over says nothing as long as what its steps need is not due.
    fn next_ms(&self, plan: &Plan, now_ms: u64) -> Option<u64> {
        let due_ms = |step: &Step| {
            let retried = self
                .holding(step)
                .all(|failure| failure.error.retry != Retry::Never);
            let holding = self.holding(step).filter(|_| retried);
            holding.map(|failure| failure.not_before_ms).max()
        };
        plan.steps
            .iter()
            .filter_map(due_ms)
            .filter_map(|due_ms| due_ms.checked_sub(now_ms))
            .filter(|pause| *pause > 0)
            .min()
    }

    /// Forgets failures of what nothing is left to do for. What has to wait before it can be done is not done, least of all a jail that is busy: its start may be the next to fail. Only one whose
    /// addresses are being probed has started.
    fn retain_unfinished(&mut self, plan: &Plan) {
        if self.by_subject.is_empty() {
            return;
        }
        let planned = plan.steps.iter().map(|step| &step.subject);
        let waiting = plan.waiting.iter();
        let waiting = waiting.filter(|waiting| waiting.reason != reason::ADDRESS_TENTATIVE);
        let unfinished: BTreeSet<&Subject> = planned
            .chain(waiting.map(|waiting| &waiting.subject))
            .collect();
        self.by_subject
            .retain(|subject, _| unfinished.contains(subject));
    }
}

impl Failure {
    /// The error as it is reported: from the second time on with how often it came and how long the next try is waited for. At the longest pause the words stay the same, so that what fails for days
    /// is not reported anew every minute.
    fn told(&self) -> HostError {
        let mut error = self.error.clone();
        if self.count > 1 && error.retry != Retry::Never {
            let pause_ms = pause_ms(self.count);
            let times = if pause_ms == PAUSE_MS_MAX {
                "again and again".to_owned()
            } else {
                format!("{} times", self.count)
            };
            let pause = pause_ms / 1_000;
            error.message = format!(
                "{} (failed {times}; tried again {pause} s after it failed)",
                error.message
            );
        }
        error
    }
}

/// How long after so many failures the next try comes.
fn pause_ms(count: u32) -> u64 {
    PAUSE_MS_FIRST
        .saturating_mul(1 << (count.max(1) - 1).min(10))
        .min(PAUSE_MS_MAX)
}

/// What came of a pass.
#[derive(Clone, Debug)]
pub struct Passed {
    /// What to report.
    pub report: HostReport,
    /// What was planned from the last look; empty when the host is as it shall be.
    pub plan: Plan,
    /// The last look.
    pub observed: Arc<Observed>,
    /// How many operations succeeded.
    pub done: usize,
    /// What failed in this pass, by subject; earlier failures that are waited for are in the report alone.
    pub failed: BTreeMap<Subject, HostError>,
    /// The jails to be probed from here on.
    pub probed: BTreeMap<Uid, Probed>,
    /// When to pass again without being asked, in milliseconds; none: at the next resync.
    pub again_ms: Option<u64>,
}

/// Runs one pass. `clock` tells milliseconds that never go back.
///
/// # Errors
/// The host could not be observed, the ledger could not be written, or a change under guard is not closed yet. Nothing was done that the ledger does not know.
pub fn pass(
    view: &Arc<HostView>,
    ledger: &mut Ledger,
    outside: Outside<'_>,
    file: &mut dyn LedgerFile,
    settings: &Settings,
    memory: &mut Memory,
    clock: &dyn Fn() -> u64,
) -> Result<Passed, HostError> {
    let Memory {
        failures,
        last,
        health,
    } = memory;
    let Outside { host, lifeline } = outside;
    let mut known = Known {
        health,
        neighbours: None,
    };
    let mut look = |ledger: &mut Ledger, file: &mut dyn LedgerFile| {
        look(view, ledger, host, file, settings, last, &mut known)
    };
    let now_ms = clock();
    settle(host, lifeline, ledger, file)?;
    let (observed, first) = look(ledger, file)?;
    let held = held(view, &observed, ledger, file)?;
    if held.is_some() || !failures.has_due(&first, now_ms) {
        failures.retain_unfinished(&first);
        let outcome = failures.outcome(0);
        let again_ms = if held.is_some() {
            None
        } else {
            again(&first, failures, now_ms)
        };
        let evidence = Evidence {
            view,
            observed: &observed,
            ledger,
            plan: &first,
            outcome: &outcome,
            held: held.map(Held::reason),
        };
        return Ok(Passed {
            report: verify(evidence),
            probed: probe::probed(view, &observed, ledger),
            plan: first,
            done: 0,
            failed: BTreeMap::new(),
            again_ms,
            observed,
        });
    }
    // A look and a plan are as large as the host; neither is kept longer than it is needed, and none twice.
    drop(observed);
    let due = failures.due(first, now_ms);
    let agreed_plan = if due.steps.iter().any(|step| step.op.is_irreversible()) {
        let (_, second) = look(ledger, file)?;
        agreed(&due, failures.due(second, now_ms))
    } else {
        due
    };
    let looked_ms = clock().saturating_sub(now_ms);
    let budget_ms = PASS_MS_MAX.max(looked_ms.saturating_mul(1 + WORK_PER_LOOK));
    let enough = || clock().saturating_sub(now_ms) >= budget_ms;
    let outcome = execute(&agreed_plan, outside, ledger, file, &enough);
    let now_ms = clock();
    failures.note(&outcome, &agreed_plan, now_ms);
    let (observed, mut plan) = look(ledger, file)?;
    let progress = outcome.done > 0 || !outcome.begun.is_empty();
    let has_due = failures.has_due(&plan, now_ms);
    plan.waiting.extend(queued(&outcome, &plan));
    failures.retain_unfinished(&plan);
    let known = failures.outcome(outcome.done);
    let again_ms = if progress && has_due {
        Some(PROGRESS_MS)
    } else {
        again(&plan, failures, now_ms)
    };
    let evidence = Evidence {
        view,
        observed: &observed,
        ledger,
        plan: &plan,
        outcome: &known,
        held: None,
    };
    Ok(Passed {
        report: verify(evidence),
        probed: probe::probed(view, &observed, ledger),
        plan,
        observed,
        done: outcome.done,
        failed: outcome.failed,
        again_ms,
    })
}

/// Why nothing may be done now. Approval is written into the ledger once it is there, or not needed: the host had no strangers.
fn held(
    view: &HostView,
    observed: &Observed,
    ledger: &mut Ledger,
    file: &mut dyn LedgerFile,
) -> Result<Option<Held>, HostError> {
    if view.fenced {
        return Ok(Some(Held::Forgotten));
    }
    if !ledger.approved && (view.host.approved || strangers(observed).is_empty()) {
        ledger.commit(vec![Change::Approve], file)?;
    }
    Ok(if view.host.paused {
        Some(Held::Paused)
    } else {
        (!ledger.approved).then_some(Held::NotApproved)
    })
}

/// What a host has that an agent without a ledger did not make, in words: jails, bridges, epairs, netgraph switches and their interfaces, marked or not, and marked laggs and vlans.
///
/// Marks count too: where there are marks and no ledger, the ledger was lost, and only the operator can say that they are this agent's.
#[must_use]
pub fn strangers(observed: &Observed) -> Vec<String> {
    let jails = observed
        .jails
        .iter()
        .map(|jail| format!("jail {} (jid {})", jail.name, jail.jid));
    let interfaces = observed
        .interfaces
        .iter()
        .filter(|interface| {
            let description = interface.description.as_deref();
            let is_marked = description.and_then(Mark::parse).is_some();
            let made = interface.lagg.is_some() || interface.vlan.is_some();
            interface.groups.contains("bridge")
                || interface.groups.contains("epair")
                || made && is_marked
        })
        .map(|interface| format!("interface {}", interface.name));
    let nodes = observed
        .netgraph
        .nodes
        .iter()
        .filter(|node| matches!(node.kind.as_str(), "bridge" | "eiface"))
        .map(|node| format!("netgraph node {} ({})", node.name, node.kind));
    let unread = observed.netgraph.unread.iter();
    let unread = unread.map(|_| "netgraph nodes that cannot be listed".to_owned());
    jails.chain(interfaces).chain(nodes).chain(unread).collect()
}

/// What a pass knows before it looks, or since it has first.
struct Known<'a> {
    health: &'a BTreeMap<Uid, Health>,
    neighbours: Option<Vec<Neighbour>>,
}

fn look(
    view: &Arc<HostView>,
    ledger: &mut Ledger,
    host: &dyn Host,
    file: &mut dyn LedgerFile,
    settings: &Settings,
    last: &mut Remembered,
    known: &mut Known<'_>,
) -> Result<(Arc<Observed>, Plan), HostError> {
    let mut wanted = plan::wanted(view, ledger);
    // Each that does not answer takes its time, and jails' roots have that in their hands: a pass asks once.
    if known.neighbours.is_some() {
        wanted.neighbours.clear();
    }
    let mut observed = host.observe(&wanted)?;
    match &known.neighbours {
        Some(neighbours) => observed.neighbours.clone_from(neighbours),
        None => known.neighbours = Some(observed.neighbours.clone()),
    }
    observed.health.clone_from(known.health);
    let observed = Arc::new(observed);
    plan::learn(view, &observed, ledger, file)?;
    let plan = last.plan(view, &observed, ledger, settings);
    Ok((observed, plan))
}

/// What waits until fewer jails are being started or stopped.
fn queued(outcome: &Outcome, plan: &Plan) -> Vec<Waiting> {
    let planned: BTreeSet<&Subject> = plan.steps.iter().map(|step| &step.subject).collect();
    let waiting = outcome.postponed.iter();
    let waiting = waiting.filter(|subject| planned.contains(subject));
    waiting
        .map(|subject| Waiting {
            subject: subject.clone(),
            reason: reason::BUSY,
            message:
                "its turn comes when one of the jails that are being started or stopped is through"
                    .to_owned(),
            wait_ms_max: plan::BUSY_MS_MAX,
        })
        .collect()
}

fn again(plan: &Plan, failures: &Failures, now_ms: u64) -> Option<u64> {
    // What a jail depends on is looked at for its own sake: it is busy, waits itself, or is tried again when its pause is over.
    let mut waiting = plan.waiting.iter();
    let waiting = waiting.any(|waiting| waiting.reason != reason::DEPENDENCY_NOT_READY);
    let waiting = waiting.then_some(LOOK_AGAIN_MS);
    [waiting, failures.next_ms(plan, now_ms)]
        .into_iter()
        .flatten()
        .min()
}

/// The view of a host whose Host object was deleted: nothing is declared for it, and nothing shall be there. One of a host that was given up stays as it is, which says that nobody may act.
///
/// A Host goes after its jails, so a view with one that is to stay contradicts the deletion. None then: it is left alone.
#[must_use]
pub fn withdrawn(view: &HostView) -> Option<HostView> {
    if view.fenced || view.jails.values().any(|jail| !jail.deleting) {
        return None;
    }
    Some(HostView {
        // Where images are is all that is still needed to be told: what nothing is made of any more goes.
        host: HostSpec {
            storage: view.host.storage.clone(),
            ..HostSpec::default()
        },
        networks: BTreeMap::new(),
        jails: BTreeMap::new(),
        ..view.clone()
    })
}

/// Why a view is not accepted (law 9).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewRefused {
    /// It belongs to another cluster.
    #[error("the view is of cluster {offered}, this host belongs to {ours}")]
    OtherCluster {
        /// What was offered.
        offered: String,
        /// What the ledger has.
        ours: String,
    },
    /// It is older than the one in the ledger.
    #[error(
        "the view (epoch {offered_epoch}, generation {offered}) is older than the one this host has (epoch {epoch}, generation {generation})"
    )]
    Stale {
        /// What was offered.
        offered_epoch: u64,
        /// What was offered.
        offered: u64,
        /// What the ledger has.
        epoch: u64,
        /// What the ledger has.
        generation: u64,
    },
    /// The store was restored or migrated; only the operator can say that it is the right one.
    #[error(
        "the controller speaks of epoch {offered}, this host is at {epoch}: the store was restored or migrated; if that is right, stop the agent and move its ledger away (docs/operations/stores.md)"
    )]
    NewEpoch {
        /// What was offered.
        offered: u64,
        /// What the ledger has.
        epoch: u64,
    },
}

/// Whether the ledger may take `view`.
///
/// # Errors
/// It belongs to another cluster, is older, or opens a new epoch.
pub fn accept(ledger: &Ledger, view: &HostView) -> Result<(), ViewRefused> {
    let Some(ours) = &ledger.view else {
        return Ok(());
    };
    if ours.cluster != view.cluster {
        let (offered, ours) = (view.cluster.0.clone(), ours.cluster.0.clone());
        return Err(ViewRefused::OtherCluster { offered, ours });
    }
    let (epoch, generation) = (ours.mark.epoch, ours.mark.generation.0);
    if view.mark.epoch > epoch {
        return Err(ViewRefused::NewEpoch {
            offered: view.mark.epoch,
            epoch,
        });
    }
    if view.mark < ours.mark {
        return Err(ViewRefused::Stale {
            offered_epoch: view.mark.epoch,
            offered: view.mark.generation.0,
            epoch,
            generation,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
