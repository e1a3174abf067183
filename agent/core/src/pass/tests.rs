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
    }
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
