//! Patching keeps what is unknown.

use serde_json::json;

use super::*;

#[test]
fn members_that_this_release_does_not_know_stay() {
    let mut raw = json!({"spec": {"known": 1, "later": {"a": 1}}, "beyond": true});
    patch(
        &mut raw,
        &json!({"spec": {"known": 1}}),
        &json!({"spec": {"known": 2, "new": [1]}}),
    );
    assert_eq!(
        raw,
        json!({"spec": {"known": 2, "later": {"a": 1}, "new": [1]}, "beyond": true})
    );
}

#[test]
fn members_that_are_known_and_no_longer_said_go() {
    let mut raw = json!({"status": {"jid": 7, "later": 1}});
    patch(
        &mut raw,
        &json!({"status": {"jid": 7}}),
        &json!({"status": {}}),
    );
    assert_eq!(raw, json!({"status": {"later": 1}}));
}

#[test]
fn a_stored_document_has_no_resource_version_and_a_served_one_has() {
    let document = json!({"metadata": {"name": "a", "resourceVersion": "3"}});
    assert_eq!(stored(&document), r#"{"metadata":{"name":"a"}}"#);
    assert_eq!(
        served(&document, 7),
        r#"{"metadata":{"name":"a","resourceVersion":"7"}}"#
    );
}
