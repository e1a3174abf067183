//! What apply says of the objects that were not refused.

use super::*;

fn results(outcomes: &[Outcome]) -> Vec<wire::ApplyResult> {
    outcomes
        .iter()
        .map(|outcome| wire::ApplyResult {
            outcome: (*outcome).into(),
            ..wire::ApplyResult::default()
        })
        .collect()
}

#[test]
fn others_were_applied_only_if_they_were() {
    for (outcomes, expected) in [
        (&[Outcome::Refused][..], "and nothing was applied"),
        (
            &[Outcome::Refused, Outcome::Refused],
            "and nothing was applied",
        ),
        (
            &[Outcome::Refused, Outcome::Unchanged],
            "and nothing else was to be changed",
        ),
        (
            &[Outcome::Created, Outcome::Refused, Outcome::Unchanged],
            "and one other was applied",
        ),
        (
            &[Outcome::Created, Outcome::Refused, Outcome::Configured],
            "and 2 others were applied",
        ),
    ] {
        let text = left_behind(&results(outcomes));
        assert!(text.ends_with(expected), "{outcomes:?}: {text}");
    }
}
