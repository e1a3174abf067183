//! The words of a table.

use super::*;
use crate::ids::Generation;

fn condition(kind: &str, status: ConditionStatus, reason: &str) -> Condition {
    Condition {
        kind: kind.to_owned(),
        status,
        reason: reason.to_owned(),
        message: String::new(),
        observed_generation: Generation::default(),
        last_transition_time: None,
    }
}

#[test]
fn what_is_not_ready_says_why() {
    let bound = condition("Scheduled", ConditionStatus::True, "Bound");
    let running = condition("Ready", ConditionStatus::True, "Running");
    let busy = condition("Ready", ConditionStatus::False, "Busy");
    let said = |conditions: &[Condition]| ready(conditions);
    let words = |status: &str, reason: &str| (status.to_owned(), reason.to_owned());
    assert_eq!(said(&[]), words("Unknown", ""));
    assert_eq!(
        said(std::slice::from_ref(&bound)),
        words("Unknown", "Bound")
    );
    assert_eq!(said(&[bound.clone(), running]), words("True", ""));
    assert_eq!(said(&[bound, busy]), words("False", "Busy"));
}

#[test]
fn an_age_is_said_in_its_largest_unit_and_is_never_negative() {
    let now = Timestamp::from_second(1_800_000_000).expect("a time");
    let ago = |seconds: i64| Timestamp::from_second(1_800_000_000 - seconds).ok();
    for (seconds, said) in [
        (-5, "0s"),
        (119, "119s"),
        (120, "2m"),
        (7_200, "2h"),
        (172_800, "2d"),
    ] {
        assert_eq!(age(ago(seconds), now), said);
    }
    assert_eq!(age(None, now), "");
}
