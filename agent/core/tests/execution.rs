//! Executing a plan: the ledger before the effect, one failure contained, irreversible steps only on two agreeing looks, and failures spaced out.

#[path = "scale/mod.rs"]
#[expect(dead_code, reason = "hosts without the clocks")]
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::cast_precision_loss,
    reason = "a test may look at clocks"
)]
mod scale;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use cellblock_agent_core::Ledger;
use cellblock_agent_core::execute::{LedgerFile, Outside, agreed, execute};
use cellblock_agent_core::host::{Host, HostError, Performed, Retry, Wanted};
use cellblock_agent_core::ledger::{Change, Contents, Owned, OwnedJail};
use cellblock_agent_core::observed::Observed;
use cellblock_agent_core::op::{Op, Plan, Record, Step, Subject};
use cellblock_agent_core::pass::{Memory, Passed, pass};
use cellblock_schemas::ids::Uid;
use cellblock_schemas::jail::ParameterValue;
use cellblock_schemas::view::HostView;
use scale::Kind;

/// A host and a disk that note what is done to them, in one list.
#[derive(Default)]
struct Fake {
    log: RefCell<Vec<String>>,
    failing: BTreeSet<String>,
    /// What of it takes long, and what would have to wait for that.
    slow: BTreeSet<String>,
    crowded: BTreeSet<String>,
    full: bool,
    observed: Observed,
}

fn error(reason: &'static str) -> HostError {
    HostError {
        reason,
        message: reason.to_owned(),
        retry: Retry::After,
    }
}

impl Host for Fake {
    fn observe(&self, _: &Wanted) -> Result<Observed, HostError> {
        Ok(self.observed.clone())
    }

    fn perform(&self, op: &Op) -> Result<Performed, HostError> {
        self.log.borrow_mut().push(op.to_string());
        let has = |ops: &BTreeSet<String>| ops.contains(&op.to_string());
        if has(&self.failing) {
            Err(error("CommandFailed"))
        } else if has(&self.slow) {
            Ok(Performed::Begun)
        } else if has(&self.crowded) {
            Ok(Performed::Postponed)
        } else {
            Ok(Performed::Done)
        }
    }
}

struct Disk<'a>(&'a Fake);

impl LedgerFile for Disk<'_> {
    fn append(&mut self, _: &Ledger, changes: &[Change]) -> Result<(), HostError> {
        if self.0.full {
            return Err(error("DiskFull"));
        }
        let words = changes.iter().map(|change| match change {
            Change::TakeView(..) => "view",
            Change::Approve => "approved",
            Change::EnterBoot(_) => "boot",
            Change::Own(_) => "owned",
            Change::Disown(_) => "disowned",
            Change::KnowJail(..) => "jail",
            Change::ForgetJail(_) => "jail forgotten",
            Change::Judge(..) => "rolled back",
            Change::Acquit(_) => "acquitted",
        });
        let line = format!("save {}", words.collect::<Vec<_>>().join(", "));
        self.0.log.borrow_mut().push(line);
        Ok(())
    }
}

fn module(name: &str) -> Op {
    Op::LoadModule {
        module: name.to_owned(),
    }
}

fn step(subject: &Subject, op: Op) -> Step {
    Step {
        subject: subject.clone(),
        needs: Vec::new(),
        record: Vec::new(),
        op,
        forget: Vec::new(),
        guard: None,
    }
}

fn jail(name: &str) -> Subject {
    Subject::Jail(Uid(name.to_owned()))
}

fn plan(steps: Vec<Step>) -> Plan {
    Plan {
        steps,
        ..Plan::default()
    }
}

fn owned(interface: &str) -> Owned {
    Owned::BroughtUp {
        interface: interface.to_owned(),
    }
}

/// What was only begun has no effect yet: nothing is forgotten for it, and nothing that leans on it is done.
#[test]
fn what_was_only_begun_is_neither_done_nor_failed() {
    let stop = |uid: &str| Step {
        record: vec![Record::Jail(Uid(uid.to_owned()), OwnedJail::default())],
        forget: vec![Record::Jail(Uid(uid.to_owned()), OwnedJail::default())],
        ..step(&jail(uid), module(&format!("stop {uid}")))
    };
    let leaning = Step {
        needs: vec![jail("a")],
        ..step(&jail("d"), module("lean on a"))
    };
    let plan = plan(vec![
        stop("a"),
        step(&jail("a"), module("go on with a")),
        leaning,
        stop("b"),
        stop("c"),
    ]);
    let words = |op: &str| BTreeSet::from([module(op).to_string()]);
    let fake = Fake {
        slow: words("stop a"),
        crowded: words("stop b"),
        ..Fake::default()
    };
    let outcome = execute(
        &plan,
        Outside::unguarded(&fake),
        &mut Ledger::new(),
        &mut Disk(&fake),
        &|| false,
    );
    assert_eq!((outcome.done, outcome.skipped), (1, 2));
    assert_eq!(outcome.begun, BTreeSet::from([jail("a")]));
    assert_eq!(outcome.postponed, BTreeSet::from([jail("b")]));
    assert!(outcome.failed.is_empty(), "{:?}", outcome.failed);
    assert_eq!(
        *fake.log.borrow(),
        [
            "save jail",
            "load module stop a",
            "save jail",
            "load module stop b",
            "save jail",
            "load module stop c",
            "save jail forgotten"
        ]
    );
}

#[test]
fn the_ledger_is_synced_before_the_effect_and_forgets_after_it() {
    let fake = Fake::default();
    let mut making = step(&jail("a"), module("make"));
    making.record = vec![
        Record::Owned(owned("x")),
        Record::Jail(Uid("a".to_owned()), OwnedJail::default()),
    ];
    let mut taking = step(&jail("a"), module("take"));
    taking.forget = vec![Record::Owned(owned("x"))];
    let mut ledger = Ledger::new();
    let plan = plan(vec![making, taking]);
    let outcome = execute(
        &plan,
        Outside::unguarded(&fake),
        &mut ledger,
        &mut Disk(&fake),
        &|| false,
    );
    assert_eq!(outcome.done, 2);
    assert_eq!(
        *fake.log.borrow(),
        [
            "save owned, jail",
            "load module make",
            "load module take",
            "save disowned"
        ]
    );
}

#[test]
fn what_the_ledger_has_already_is_not_written_again() {
    let fake = Fake::default();
    let mut again = step(&jail("a"), module("again"));
    again.record = vec![Record::Owned(owned("x"))];
    let mut ledger = Ledger::from(Contents {
        owned: [owned("x")].into(),
        ..Contents::default()
    });
    execute(
        &plan(vec![again]),
        Outside::unguarded(&fake),
        &mut ledger,
        &mut Disk(&fake),
        &|| false,
    );
    assert_eq!(*fake.log.borrow(), ["load module again"]);
}

#[test]
fn a_step_whose_record_cannot_be_synced_does_not_run() {
    let fake = Fake {
        full: true,
        ..Fake::default()
    };
    let before = OwnedJail {
        jid: 3,
        ..OwnedJail::default()
    };
    let mut ledger = Ledger::from(Contents {
        jails: [(Uid("a".to_owned()), before)].into(),
        ..Contents::default()
    });
    let kept = ledger.clone();
    let mut making = step(&jail("a"), module("make"));
    making.record = vec![
        Record::Owned(owned("x")),
        Record::Jail(Uid("a".to_owned()), OwnedJail::default()),
        Record::Jail(Uid("b".to_owned()), OwnedJail::default()),
    ];
    let free = step(&jail("b"), module("free"));
    let outcome = execute(
        &plan(vec![making, free]),
        Outside::unguarded(&fake),
        &mut ledger,
        &mut Disk(&fake),
        &|| false,
    );
    assert_eq!(*fake.log.borrow(), ["load module free"]);
    assert_eq!(outcome.failed[&jail("a")].reason, "DiskFull");
    assert_eq!(ledger, kept, "memory says what the disk says");
}

#[test]
fn a_failure_stops_its_subject_and_who_needs_it_and_nobody_else() {
    let fake = Fake {
        failing: ["load module bad".to_owned()].into(),
        ..Fake::default()
    };
    let network = Subject::Network(Uid("n".to_owned()));
    let mut leaning = step(&jail("leaning"), module("leaning"));
    leaning.needs = vec![network.clone()];
    let steps = vec![
        step(&network, module("bad")),
        step(&network, module("later")),
        leaning,
        step(&jail("other"), module("other")),
    ];
    let outcome = execute(
        &plan(steps),
        Outside::unguarded(&fake),
        &mut Ledger::new(),
        &mut Disk(&fake),
        &|| false,
    );
    assert_eq!(*fake.log.borrow(), ["load module bad", "load module other"]);
    assert_eq!((outcome.done, outcome.skipped), (1, 2));
    assert_eq!(outcome.failed.keys().collect::<Vec<_>>(), [&network]);
}

#[test]
fn what_there_is_no_time_for_is_left_out_but_never_everything() {
    let fake = Fake::default();
    let steps = || {
        let named = ["one", "two", "three"].map(|name| step(&jail(name), module(name)));
        plan(named.into())
    };
    let mut ledger = Ledger::new();
    let outcome = execute(
        &steps(),
        Outside::unguarded(&fake),
        &mut ledger,
        &mut Disk(&fake),
        &|| true,
    );
    assert_eq!((outcome.done, outcome.skipped), (1, 2));
    assert_eq!(*fake.log.borrow(), ["load module one"]);
    let asked = RefCell::new(0);
    let second = || {
        *asked.borrow_mut() += 1;
        *asked.borrow() > 1
    };
    let outcome = execute(
        &steps(),
        Outside::unguarded(&fake),
        &mut ledger,
        &mut Disk(&fake),
        &second,
    );
    assert_eq!((outcome.done, outcome.skipped), (2, 1));
}

#[test]
fn an_irreversible_step_runs_only_if_a_second_look_asks_for_it_too() {
    let destroy = |name: &str| Op::DestroyInterface {
        name: name.to_owned(),
        description: "mark".to_owned(),
    };
    let mut leaning = step(&jail("leaning"), module("leaning"));
    leaning.needs = vec![jail("torn")];
    let first = plan(vec![step(&jail("sure"), destroy("sure0"))]);
    let second = plan(vec![
        step(&jail("new"), module("new")),
        step(&jail("sure"), destroy("sure0")),
        step(&jail("torn"), destroy("torn0")),
        step(&jail("torn"), module("after")),
        leaning,
        step(&jail("sure"), module("after")),
    ]);
    let steps: Vec<String> = agreed(&first, second)
        .steps
        .iter()
        .map(|step| step.op.to_string())
        .collect();
    assert_eq!(
        steps,
        [
            "load module new",
            "destroy sure0 (mark)",
            "load module after"
        ]
    );
    let other = Op::DestroyInterface {
        name: "sure0".to_owned(),
        description: "another mark".to_owned(),
    };
    let changed = plan(vec![step(&jail("sure"), other)]);
    assert!(
        agreed(&first, changed).is_empty(),
        "the same name with another mark is another thing"
    );
}

/// The operation that fails on the host of `failing_jail`.
const START: &str = "start jail jail-00000 (/var/db/cellblock/jails/jail-00000.conf)";

/// A view of one jail without networks, and a host on which it cannot be started.
fn failing_jail() -> (HostView, Fake) {
    let mut view = scale::view(Kind::Shared, 1);
    let jail = view.jails.values_mut().next().expect("one jail");
    jail.binding.attachments.clear();
    jail.spec.publish.clear();
    let (observed, _) = scale::empty(&view);
    let fake = Fake {
        failing: [START.to_owned()].into(),
        observed,
        ..Fake::default()
    };
    (view, fake)
}

/// Passes once over a host on which nothing of `view` stands and jails cannot be started.
fn pass_at(fake: &Fake, view: &HostView, memory: &mut Memory, now_ms: u64) -> Passed {
    let mut ledger = Ledger::from(Contents {
        approved: true,
        ..Contents::default()
    });
    pass(
        &Arc::new(view.clone()),
        &mut ledger,
        Outside::unguarded(fake),
        &mut Disk(fake),
        &scale::settings(),
        memory,
        &|| now_ms,
    )
    .expect("a fake host can be observed")
}

#[test]
fn what_keeps_failing_is_tried_less_and_less_often_until_something_changes() {
    let (view, fake) = failing_jail();
    let tries = || {
        let log = fake.log.borrow();
        log.iter().filter(|line| *line == START).count()
    };
    let mut memory = Memory::default();
    let (mut now_ms, mut pauses) = (0, Vec::new());
    for round in 1..=9 {
        let passed = pass_at(&fake, &view, &mut memory, now_ms);
        assert_eq!(tries(), round);
        let report = &passed.report.jails[0].conditions[0];
        assert_eq!(report.reason, "CommandFailed", "{report:?}");
        assert_eq!(passed.failed.len(), 1, "each try is told of");
        let early = pass_at(&fake, &view, &mut memory, now_ms);
        assert!(early.failed.is_empty(), "{:?}", early.failed);
        let pause = early.again_ms.expect("it is tried again");
        assert_eq!(tries(), round, "not before its time");
        pauses.push(pause);
        now_ms += pause;
    }
    assert_eq!(
        pauses,
        [
            1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000
        ]
    );
    // Another jail, another host setting: nothing that this one follows from.
    let early = now_ms - 60_000;
    let mut elsewhere = view.clone();
    let mut other = view.jails.values().next().expect("one jail").clone();
    other.uid = Uid("another".to_owned());
    elsewhere.jails.insert(other.uid.clone(), other);
    elsewhere.host.unschedulable = true;
    elsewhere.mark.generation.0 += 1;
    memory.failures.view_changed(&view, &elsewhere);
    pass_at(&fake, &view, &mut memory, early);
    assert_eq!(tries(), 9, "it keeps its pace");
    let mut changed = view.clone();
    let jail = changed.jails.values_mut().next().expect("one jail");
    let timeout = ParameterValue::Number(2);
    jail.spec
        .parameters
        .insert("exec.timeout".to_owned(), timeout);
    memory.failures.view_changed(&view, &changed);
    pass_at(&fake, &changed, &mut memory, early);
    assert_eq!(tries(), 10, "a changed jail is tried at once");
    let again = pass_at(&fake, &changed, &mut memory, early);
    assert_eq!(again.again_ms, Some(1_000), "and begins anew");
}

#[test]
fn a_failure_is_forgotten_when_nothing_is_to_do_for_its_subject() {
    let (view, fake) = failing_jail();
    let mut memory = Memory::default();
    pass_at(&fake, &view, &mut memory, 0);
    let nothing = HostView {
        jails: Default::default(),
        ..view.clone()
    };
    assert_eq!(
        pass_at(&fake, &nothing, &mut memory, 0).again_ms,
        None,
        "nobody waits for it"
    );
}
