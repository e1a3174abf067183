use cellblock_schemas::ids::Uid;

use super::*;
use crate::op::Op;

fn step(subject: Subject, needs: Vec<Subject>) -> Step {
    Step {
        subject,
        needs,
        record: Vec::new(),
        op: Op::RemoveFile {
            path: "/x".to_owned(),
        },
        forget: Vec::new(),
        guard: None,
    }
}

fn failed(subjects: &[(&Subject, Retry)]) -> Outcome {
    let error = |retry| HostError {
        reason: "CommandFailed",
        message: String::new(),
        retry,
    };
    Outcome {
        done: 0,
        failed: subjects
            .iter()
            .map(|(subject, retry)| ((*subject).clone(), error(*retry)))
            .collect(),
        skipped: 1,
        ..Outcome::default()
    }
}

/// A start that takes longer than anybody waits for it is begun, is busy, and fails: the next one comes later and later all the same, and what is reported does not change meanwhile.
#[test]
fn a_start_that_was_only_begun_takes_no_failure_back() {
    let jail = Subject::Jail(Uid("j".to_owned()));
    let planned = Plan {
        steps: vec![step(jail.clone(), Vec::new())],
        ..Plan::default()
    };
    let waiting = |reason| Plan {
        waiting: vec![Waiting {
            subject: jail.clone(),
            reason,
            message: String::new(),
            wait_ms_max: 1,
        }],
        ..Plan::default()
    };
    let begun = Outcome {
        begun: BTreeSet::from([jail.clone()]),
        ..Outcome::default()
    };
    let postponed = Outcome {
        postponed: BTreeSet::from([jail.clone()]),
        ..Outcome::default()
    };
    let mut failures = Failures::default();
    let mut now_ms = 0;
    let mut told = Vec::new();
    for _ in 0..8 {
        failures.note(&postponed, &planned, now_ms);
        failures.note(&begun, &planned, now_ms);
        let before = failures.outcome(0).failed;
        failures.retain_unfinished(&waiting(reason::BUSY));
        assert_eq!(failures.outcome(0).failed, before, "nothing is known yet");
        failures.note(&failed(&[(&jail, Retry::After)]), &planned, now_ms);
        let pause_ms = failures.next_ms(&planned, now_ms);
        let message = failures.outcome(0).failed[&jail].message.clone();
        told.push((pause_ms, message));
        now_ms += pause_ms.expect("it has just failed");
    }
    let pauses: Vec<u64> = told.iter().filter_map(|(pause_ms, _)| *pause_ms).collect();
    let doubled = [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000];
    assert_eq!(pauses, doubled);
    assert_eq!(told[0].1, "", "once is no series");
    assert_eq!(
        told[2].1,
        " (failed 3 times; tried again 4 s after it failed)"
    );
    assert_eq!(told[6].1, told[7].1, "nothing new to report");

    let mut started = failures.clone();
    started.retain_unfinished(&waiting(reason::ADDRESS_TENTATIVE));
    assert!(started.outcome(0).failed.is_empty(), "it has started");
    failures.note(&Outcome::default(), &planned, now_ms);
    assert!(
        failures.outcome(0).failed.is_empty(),
        "it was seen to succeed"
    );
}

/// As many jails are being started as may be: the next one waits, without a failure, and is looked at again.
#[test]
fn who_waits_his_turn_has_not_failed() {
    let jail = Subject::Jail(Uid("j".to_owned()));
    let mut planned = Plan {
        steps: vec![step(jail.clone(), Vec::new())],
        ..Plan::default()
    };
    let postponed = Outcome {
        postponed: BTreeSet::from([jail.clone()]),
        ..Outcome::default()
    };
    let failures = Failures::default();
    planned.waiting.extend(queued(&postponed, &planned));
    assert_eq!(planned.waiting[0].reason, reason::BUSY);
    assert_eq!(again(&planned, &failures, 0), Some(LOOK_AGAIN_MS));
    assert!(queued(&postponed, &Plan::default()).is_empty());
}

/// The jail's own pause is over long before that of its network, which is what its steps wait for.
#[test]
fn nobody_is_woken_before_a_step_is_due() {
    let network = Subject::Network(Uid("n".to_owned()));
    let jail = Subject::Jail(Uid("j".to_owned()));
    let plan = Plan {
        steps: vec![
            step(network.clone(), Vec::new()),
            step(jail.clone(), vec![network.clone()]),
        ],
        ..Plan::default()
    };
    let mut failures = Failures::default();
    assert_eq!(failures.next_ms(&plan, 0), None, "everything is due");
    for _ in 0..3 {
        failures.note(&failed(&[(&network, Retry::After)]), &plan, 0);
    }
    failures.note(&failed(&[(&jail, Retry::After)]), &plan, 0);
    assert_eq!(failures.next_ms(&plan, 0), Some(4_000));
    assert_eq!(failures.next_ms(&plan, 1_500), Some(2_500));
    assert_eq!(failures.next_ms(&plan, 4_000), None);
    assert!(failures.due(plan.clone(), 3_999).steps.is_empty());
    assert_eq!(failures.due(plan.clone(), 4_000).steps.len(), 2);

    failures.note(&failed(&[(&network, Retry::Never)]), &plan, 4_000);
    assert_eq!(
        failures.next_ms(&plan, 4_000),
        None,
        "there is no other try"
    );
}
