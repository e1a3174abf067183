//! What keeps an object from the state that is waited for.

use serde_json::json;

use super::*;

fn going(kind: Kind, status: Value) -> Stored {
    Stored {
        kind,
        name: "x".to_owned(),
        revision: 1,
        value: json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": status}),
    }
}

#[test]
fn a_deletion_names_what_holds_it() {
    let used = json!({"conditions": [
        {"type": "Heard", "status": "False", "reason": "SessionLost", "message": "nothing was heard"},
        {"type": "InUse", "status": "True", "reason": "JailsAttached",
         "message": "goes when the last of 2 jails is gone: dick, tom"}]});
    let paused = json!({"binding": {"host": "h"}, "conditions": [
        {"type": "Ready", "status": "False", "reason": "Paused", "message": "the Host is paused"}]});
    for (object, expected) in [
        (
            going(Kind::Host, used.clone()),
            "still there (goes when the last of 2 jails is gone: dick, tom)",
        ),
        (
            going(Kind::Network, used),
            "still there (goes when the last of 2 jails is gone: dick, tom)",
        ),
        (
            going(Kind::Jail, paused),
            "still there (Paused: the Host is paused)",
        ),
        (going(Kind::Network, json!({})), "still there"),
    ] {
        let reason = Goal::Delete
            .reached(Some(&object))
            .expect_err("it is there");
        assert_eq!(reason, expected);
    }
}

#[test]
fn a_deletion_that_nobody_asked_for_blames_no_host() {
    let mut object = going(Kind::Jail, json!({"binding": {"host": "h"}}));
    let reason = |object: &Stored| Goal::Delete.reached(Some(object)).expect_err("it is there");
    assert!(reason(&object).contains("host h has not confirmed"));
    object.value["metadata"] = json!({});
    assert_eq!(
        reason(&object),
        "still there, and nobody has asked for its deletion"
    );
}

#[test]
fn a_deletion_that_only_others_hold_names_them() {
    let status = json!({"binding": {"host": "h"}, "conditions": [
        {"type": "Ready", "status": "False", "reason": "Deleting", "message": "being taken away"}]});
    let mut object = going(Kind::Jail, status);
    let reason = |object: &Stored| Goal::Delete.reached(Some(object)).expect_err("it is there");
    object.value["metadata"]["finalizers"] = json!(["example.org/mine", "cellblock.dev/host"]);
    assert_eq!(reason(&object), "still there (Deleting: being taken away)");
    object.value["metadata"]["finalizers"] = json!(["example.org/mine", "foregroundDeletion"]);
    assert_eq!(
        reason(&object),
        "still there (held by the finalizers of others: example.org/mine, foregroundDeletion)"
    );
}

fn jail(status: Value) -> Stored {
    let mut object = going(Kind::Jail, status);
    object.value["metadata"] = json!({"generation": 2});
    object
}

fn goal(text: &str) -> Goal {
    text.parse().expect(text)
}

#[test]
fn the_condition_that_is_waited_for_tells_its_own_reason() {
    let object = jail(json!({"conditions": [
        {"type": "Scheduled", "status": "True", "reason": "Bound", "observedGeneration": 2},
        {"type": "PublishReady", "status": "Unknown", "reason": "Waiting", "message": "not looked yet", "observedGeneration": 2},
        {"type": "NetworkReady", "status": "False", "reason": "UplinkMissing", "message": "no igb0", "observedGeneration": 2},
        {"type": "Ready", "status": "False", "reason": "RootMissing", "message": "no /jails/x", "observedGeneration": 2}]}));
    for (text, expected) in [
        (
            "condition=Ready",
            "Ready is False (RootMissing: no /jails/x)",
        ),
        (
            "condition=NetworkReady",
            "NetworkReady is False (UplinkMissing: no igb0)",
        ),
        ("condition=Scheduled=False", "Scheduled is True (Bound)"),
        (
            "condition=Raedy",
            "Raedy is not reported (UplinkMissing: no igb0); it has Scheduled, PublishReady, NetworkReady, Ready",
        ),
    ] {
        let reason = goal(text).reached(Some(&object)).expect_err(text);
        assert_eq!(reason, expected, "{text}");
    }
}

#[test]
fn an_image_is_ready_by_being_there() {
    let image = going(Kind::Image, json!({}));
    assert_eq!(goal("condition=Ready").reached(Some(&image)), Ok(()));
    assert!(goal("condition=Ready").reached(None).is_err());
    assert!(goal("condition=InUse").reached(Some(&image)).is_err());
}

#[test]
fn a_condition_of_an_earlier_spec_does_not_count_and_says_so() {
    let object = jail(json!({"binding": {"host": "h"}, "conditions": [
        {"type": "Ready", "status": "True", "observedGeneration": 1}]}));
    let reason = goal("condition=Ready")
        .reached(Some(&object))
        .expect_err("it is old");
    assert!(reason.contains("earlier generation"), "{reason}");
    assert!(reason.contains("`jailctl describe host h`"), "{reason}");
}

#[test]
fn a_field_is_waited_for_as_kubectl_does() {
    let object = jail(json!({"phase": "Running", "jid": 3, "conditions": [
        {"type": "Ready", "status": "True"}]}));
    for text in [
        "jsonpath={.status.phase}=Running",
        "jsonpath={.status.phase}=\"Running\"",
        "jsonpath=.status.phase=Running",
        "jsonpath={.status.jid}=3",
        "jsonpath={.status.jid}",
        "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}=True",
    ] {
        assert_eq!(goal(text).reached(Some(&object)), Ok(()), "{text}");
    }
    for (text, expected) in [
        (
            "jsonpath={.status.phase}=Stopped",
            "{.status.phase} is `Running`",
        ),
        (
            "jsonpath={.status.nothing}",
            "{.status.nothing} is not there",
        ),
    ] {
        let reason = goal(text).reached(Some(&object)).expect_err(text);
        assert_eq!(reason, expected, "{text}");
    }
    for text in [
        "jsonpath={.status.phase",
        "jsonpath={.a}x",
        "jsonpath={.a}=",
    ] {
        assert!(text.parse::<Goal>().is_err(), "{text}");
    }
}
