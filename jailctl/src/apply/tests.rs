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

#[test]
fn what_the_controller_decided_is_known() {
    let manifest = "apiVersion: cellblock.dev/v1alpha1\nkind: Network\nmetadata: {name: a}\nspec: {bridge: {}}\n---\napiVersion: cellblock.dev/v1alpha1\nkind: Network\nmetadata: {name: b}\nspec: {bridge: {}}\n";
    let documents = cellblock_schemas::manifest::parse("manifest", manifest).expect("it is one");
    for (reason, expected) in [
        // A store without room: gRPC's code, as the controller gives no other word for it.
        (
            "ResourceExhausted",
            "network/a was not written, and 1 more were not sent",
        ),
        (
            "Unavailable",
            "whether network/a was written is not known, and 1 more",
        ),
        ("Unreachable", "network/a was not sent, and 1 more"),
    ] {
        let refused = Refused {
            reason: reason.to_owned(),
            message: "why".to_owned(),
            violations: Vec::new(),
        };
        let text = broken_off(&refused, &documents, &[]);
        assert!(text.contains(expected), "{reason}: {text}");
        assert!(text.contains("apply the same manifests again"), "{text}");
    }
}
