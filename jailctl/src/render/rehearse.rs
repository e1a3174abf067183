//! What the agent would do to a host that nothing has been done to yet: the agent's own planner and adapter on an emulated host, with somebody who writes down what they do.
//!
//! What is of the host comes first, part by part, and then one jail after the other: in the order in which it is shown, so that the names that a kernel counts up (`epair0a`) are those that
//! whoever follows what is shown would get.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use cellblock_agent_core::Ledger;
use cellblock_agent_core::execute::{Outside, Unkept, execute};
use cellblock_agent_core::host::{Host, HostError, Performed, Wanted};
use cellblock_agent_core::observed::Observed;
use cellblock_agent_core::op::{Op, Plan, Step, Subject, Waiting};
use cellblock_agent_core::plan::{Settings, learn, plan, wanted};
use cellblock_fakebsd::Emulator;
use cellblock_freebsd::{Emulated, FreeBsd};
use cellblock_schemas::jail::ParameterValue;
use cellblock_schemas::view::{HostView, JailView};

use super::record::{Action, Beside, Recorder};
use super::section::{Interfaces, Section};
use super::whose::{self, Object};

/// The agent's folder on a host, unless its configuration says otherwise.
const FOLDER: &str = "/var/db/cellblock";

/// How many plans it may take. The sim's hosts come to rest within a fraction of it.
const ROUNDS_MAX: usize = 200;

/// The longest that anything is waited for, of virtual time: two dying jails in a row, of which a fresh host has none.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// Modules that bring sysctls of the emulated kernel with them.
const MODULES: [&str; 7] = [
    "if_bridge",
    "if_epair",
    "if_lagg",
    "if_vlan",
    "ng_bridge",
    "ng_eiface",
    "ng_ether",
];

/// What was done for one thing, in one part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The part.
    pub(super) section: Section,
    /// Whose it is: one object, or the jails that share an anchor.
    pub(super) of: Vec<Object>,
    /// What it is for, in words.
    pub(super) about: String,
    /// The anchor that was loaded, where it is one.
    pub(super) anchor: Option<String>,
    /// What was done.
    pub(super) actions: Vec<Action>,
}

/// Something that is to be said of an object beside what is done for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Told {
    /// Of which.
    pub(super) of: Object,
    /// `blocked`, `waits`, `failed`, or `note` where nothing is wrong.
    pub(super) word: &'static str,
    /// A code of `docs/reference/conditions.md`; empty where nothing is wrong.
    pub(super) reason: String,
    /// In words.
    pub(super) message: String,
}

/// The word of what is told and nothing is wrong with.
pub(super) const NOTE: &str = "note";

/// How it went.
#[derive(Debug)]
pub(super) struct Rehearsal {
    /// What was done, in the order in which it is shown.
    pub(super) entries: Vec<Entry>,
    /// What is to be said beside.
    pub(super) told: Vec<Told>,
    view: HostView,
    observed: Observed,
    ledger: Ledger,
    #[cfg(test)]
    recorder: Arc<Recorder>,
}

/// The view without probes, which nobody answers in a rehearsal: what depends on a jail would wait for ever.
fn taken_for_well(view: &HostView) -> HostView {
    let mut view = view.clone();
    for jail in view.jails.values_mut() {
        jail.spec.probes = None;
    }
    view
}

/// Rehearses a view on `emulator`, a host on which nothing has been done.
///
/// # Errors
/// The emulated host cannot be observed.
pub(super) fn rehearse(view: &HostView, emulator: Emulator) -> anyhow::Result<Rehearsal> {
    let view = &taken_for_well(view);
    let jails = view.jails.values();
    let beside = Beside {
        created: hooks(view),
        sysctls: unknown_sysctls(view, &emulator),
        parameters: jails
            .flat_map(|jail| jail.spec.parameters.keys().cloned())
            .collect(),
    };
    let recorder = Recorder::new(Emulated::new(emulator), beside);
    let recorder = Arc::new(recorder);
    let adapter = FreeBsd::new(recorder.clone(), FOLDER);
    let mut stage = Stage {
        view,
        interfaces: Interfaces::of(view),
        ledger: Ledger::new(),
        failed: BTreeMap::new(),
        entries: Vec::new(),
    };
    let (mut waited, mut pause) = (Duration::ZERO, Duration::from_secs(1));
    let mut last = stage.look(&adapter)?;
    for _ in 0..ROUNDS_MAX {
        let steps = stage.next(&last.1);
        if !steps.is_empty() {
            stage.perform(steps, &adapter, &recorder);
        } else if last.1.waiting.is_empty() || waited >= WAIT_MAX {
            break;
        } else {
            stage.wait(&last.1.waiting);
            recorder.advance(pause);
            waited += pause;
            pause *= 2;
        }
        last = stage.look(&adapter)?;
    }
    let (observed, plan) = last;
    let told = stage.told(&plan);
    let Stage {
        mut entries,
        ledger,
        ..
    } = stage;
    entries.sort_by(|a, b| place(a).cmp(&place(b)));
    Ok(Rehearsal {
        entries,
        told,
        view: view.clone(),
        observed,
        ledger,
        #[cfg(test)]
        recorder,
    })
}

/// Where an entry is shown: by parts; jails one after the other by their names, and anchors by those whose they are: in what order they are loaded makes no difference.
fn place(entry: &Entry) -> (Section, Option<&Object>) {
    let is_by_object = matches!(entry.section, Section::Jail | Section::Pf);
    (entry.section, entry.of.first().filter(|_| is_by_object))
}

impl Rehearsal {
    /// The host as it is now.
    #[cfg(test)]
    pub(super) fn host(&self) -> Emulator {
        self.recorder.host()
    }

    /// What these jails alone have in an anchor that others have rules in too.
    pub(super) fn own_rules(&self, jails: &BTreeSet<&str>, anchor: &str) -> Option<String> {
        let mut view = self.view.clone();
        view.jails
            .retain(|_, found| jails.contains(found.name.as_str()));
        let settings = settings();
        let plan = plan(&view, &self.observed, &self.ledger, &settings);
        plan.steps.into_iter().find_map(|step| {
            if let Op::LoadAnchor {
                anchor: loaded,
                rules,
                ..
            } = step.op
                && loaded == anchor
            {
                return Some(rules);
            }
            None
        })
    }
}

fn settings() -> Settings {
    Settings {
        folder: FOLDER.to_owned(),
    }
}

/// The sysctls that a Host declares and the emulated kernel never has, whatever is loaded into it.
fn unknown_sysctls(view: &HostView, emulator: &Emulator) -> Vec<String> {
    let declared = view.host.sysctls.keys();
    let mut whole = emulator.clone();
    for module in MODULES {
        whole.sh(&format!("kldload -n {module}"));
    }
    let unknown = declared.filter(|oid| {
        let words = ["sysctl", "-i", oid.as_str()].map(str::to_owned);
        whole.run(&words, "").stdout.is_empty()
    });
    unknown.cloned().collect()
}

/// How many `exec.created` each jail.conf has from its operator.
fn hooks(view: &HostView) -> BTreeMap<String, usize> {
    let settings = settings();
    let jails = view.jails.values();
    let counted = jails.filter_map(|jail| {
        let count = match jail.spec.parameters.get("exec.created")? {
            ParameterValue::List(list) => list.len(),
            ParameterValue::Text(_) | ParameterValue::Flag(_) | ParameterValue::Number(_) => 1,
        };
        Some((settings.conf(jail.jail_name()), count))
    });
    counted.collect()
}

/// A rehearsal on its way.
struct Stage<'a> {
    view: &'a HostView,
    interfaces: Interfaces,
    ledger: Ledger,
    /// What did not work is not tried again.
    failed: BTreeMap<Subject, HostError>,
    entries: Vec<Entry>,
}

impl Stage<'_> {
    fn look(&mut self, adapter: &FreeBsd) -> anyhow::Result<(Observed, Plan)> {
        let mut wanted = wanted(self.view, &self.ledger);
        // A jail that has just been started has what it was started with, and of what modules bring this host's jls(8) knows nothing.
        wanted.parameters.clear();
        let observed = adapter
            .observe(&wanted)
            .context("the host that is rendered for cannot be observed")?;
        learn(self.view, &observed, &mut self.ledger, &mut Unkept)?;
        let plan = plan(self.view, &observed, &self.ledger, &settings());
        Ok((observed, plan))
    }

    /// What is to be done next, in order: everything of the host before anything of a jail.
    fn next(&self, plan: &Plan) -> Vec<Step> {
        let can = |step: &&Step| {
            let mut concerned = std::iter::once(&step.subject).chain(&step.needs);
            concerned.all(|subject| !self.failed.contains_key(subject))
        };
        let steps: Vec<Step> = plan.steps.iter().filter(can).cloned().collect();
        let is_jails = |step: &Step| {
            let mut needs = step.needs.iter();
            self.interfaces.section(step) == Section::Jail
                || needs.any(|need| matches!(need, Subject::Jail(_)))
        };
        let (mut late, mut early): (Vec<_>, Vec<_>) = steps.into_iter().partition(is_jails);
        if early.is_empty() {
            late.sort_by_key(|step| self.jail_of(&step.subject).map(|jail| jail.name.clone()));
            // What only needs a jail comes behind all of them.
            late.sort_by_key(|step| !matches!(step.subject, Subject::Jail(_)));
            return late;
        }
        // What the host has for itself comes in the order of the plan, and then one network and one jail after the other.
        let object = |step: &Step| match &step.subject {
            Subject::Host | Subject::HostPart(_) => None,
            Subject::Network(_) | Subject::Jail(_) => whose::of(self.view, &step.subject).0.pop(),
        };
        early.sort_by_cached_key(|step| (self.interfaces.section(step), object(step)));
        early
    }

    fn jail_of(&self, subject: &Subject) -> Option<&JailView> {
        match subject {
            Subject::Jail(uid) => self.view.jails.get(uid),
            Subject::Host | Subject::HostPart(_) | Subject::Network(_) => None,
        }
    }

    fn perform(&mut self, steps: Vec<Step>, adapter: &FreeBsd, recorder: &Recorder) {
        let plan = Plan {
            steps,
            ..Plan::default()
        };
        let listener = Listener {
            adapter,
            recorder,
            steps: &plan.steps,
            done: RefCell::default(),
        };
        let outside = Outside::unguarded(&listener);
        let outcome = execute(&plan, outside, &mut self.ledger, &mut Unkept, &|| false);
        self.failed.extend(outcome.failed);
        for (place, actions) in listener.done.into_inner() {
            if let Some(step) = plan.steps.get(place) {
                self.note(step, actions);
            }
        }
    }

    /// Puts down what was done in one step, beside what was done for the same thing before.
    fn note(&mut self, step: &Step, actions: Vec<Action>) {
        if actions.is_empty() {
            return;
        }
        let section = self.interfaces.section(step);
        let anchor = if let Op::LoadAnchor { anchor, .. } = &step.op {
            Some(anchor.clone())
        } else {
            None
        };
        if let Some(anchor) = &anchor {
            // Loaded anew, it holds nothing of what it held.
            let is_same = |entry: &Entry| entry.anchor.as_ref() == Some(anchor);
            self.entries.retain(|entry| !is_same(entry));
        }
        self.add(section, &step.subject, anchor, actions);
    }

    /// Puts down what is waited for before anything else can be done.
    fn wait(&mut self, waiting: &[Waiting]) {
        for waiting in waiting {
            let section = match &waiting.subject {
                Subject::Jail(_) => Section::Jail,
                Subject::Host | Subject::HostPart(_) | Subject::Network(_) => Section::Interfaces,
            };
            let wait = Action::Wait {
                message: waiting.message.clone(),
            };
            let mut entries = self.entries.iter();
            // As long as it is waited for, it is said once.
            if !entries.any(|entry| entry.actions.last() == Some(&wait)) {
                self.add(section, &waiting.subject, None, vec![wait]);
            }
        }
    }

    fn add(
        &mut self,
        section: Section,
        subject: &Subject,
        anchor: Option<String>,
        actions: Vec<Action>,
    ) {
        let (of, about) = whose::of(self.view, subject);
        let entry = Entry {
            section,
            of,
            about,
            anchor,
            actions,
        };
        let same = self.entries.iter_mut().rev().find(|known| {
            known.section == section && known.anchor.is_none() && entry.anchor.is_none()
        });
        match same {
            Some(known) if known.of == entry.of && known.about == entry.about => {
                known.actions.extend(entry.actions);
            }
            Some(_) | None => self.entries.push(entry),
        }
    }

    /// What is left to be said when nothing is left to be done.
    fn told(&self, plan: &Plan) -> Vec<Told> {
        let mut told = BTreeSet::new();
        let mut tell = |subject: &Subject, word, reason: &str, message: String| {
            for of in whose::of(self.view, subject).0 {
                told.insert(Told {
                    of,
                    word,
                    reason: reason.to_owned(),
                    message: message.clone(),
                });
            }
        };
        for blocked in &plan.blocked {
            tell(
                &blocked.subject,
                "blocked",
                blocked.reason,
                blocked.message.clone(),
            );
        }
        for waiting in &plan.waiting {
            tell(
                &waiting.subject,
                "waits",
                waiting.reason,
                waiting.message.clone(),
            );
        }
        for (subject, error) in &self.failed {
            tell(subject, "failed", error.reason, error.message.clone());
        }
        told.into_iter().collect()
    }
}

/// The host as the plan is executed on it, with what each step did.
struct Listener<'a> {
    adapter: &'a FreeBsd,
    recorder: &'a Recorder,
    steps: &'a [Step],
    done: RefCell<Vec<(usize, Vec<Action>)>>,
}

impl Host for Listener<'_> {
    fn observe(&self, wanted: &Wanted) -> Result<Observed, HostError> {
        self.adapter.observe(wanted)
    }

    /// A step that fails has done nothing that is worth keeping, but for a jail's start: what a jail lacks on an emulated host it may have on a real one.
    fn perform(&self, op: &Op) -> Result<Performed, HostError> {
        let mut steps = self.steps.iter();
        let place = steps.position(|step| std::ptr::eq(&step.op, op));
        self.recorder.heard();
        let performed = self.adapter.perform(op);
        let mut actions = self.recorder.heard();
        if performed.is_err() {
            let is_start = matches!(op, Op::StartJail { .. });
            actions.truncate(usize::from(is_start));
        }
        if let Some(place) = place {
            self.done.borrow_mut().push((place, actions));
        }
        performed
    }
}
