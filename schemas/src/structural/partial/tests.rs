//! Reading what is there of a document with mistakes.

use serde_json::{Value, json};

use super::{parent, read_partly};
use crate::object::Kind;
use crate::validate::validate;

/// The fields of all mistakes: the schema's, then those that the rules find in the rest.
fn fields(kind: Kind, document: Value) -> Vec<String> {
    let (object, mistakes) = read_partly(kind, document);
    let rules = object.map(|object| validate(&object)).unwrap_or_default();
    let rules = rules
        .into_iter()
        .filter(|found| mistakes.leave(&found.field));
    let violations = mistakes.violations.clone().into_iter().chain(rules);
    violations.map(|violation| violation.field).collect()
}

fn jail(spec: Value) -> Value {
    json!({"apiVersion": "cellblock.dev/v1alpha1", "kind": "Jail", "metadata": {"name": "www"}, "spec": spec})
}

#[test]
fn a_mistake_of_form_does_not_hide_mistakes_of_rules() {
    let document = jail(json!({
        "hots": "a", "jailName": "12", "root": {"path": "relative"},
        "publish": [{"name": "web", "ports": [80], "uplink": "external", "to": "eighty"}],
    }));
    assert_eq!(
        fields(Kind::Jail, document),
        [
            "spec.hots",
            "spec.publish[0].to",
            "spec.jailName",
            "spec.root.path"
        ]
    );
}

#[test]
fn what_follows_from_a_cut_is_not_said() {
    // Without its root a jail would be told to have one.
    assert_eq!(
        fields(Kind::Jail, jail(json!({"root": {"path": 5}}))),
        ["spec.root.path"]
    );
    assert_eq!(
        fields(Kind::Jail, jail(json!({"rot": {"path": "/a"}}))),
        ["spec.rot"]
    );
    // An element takes its list along, so that nothing is said of the wrong one.
    let networks = json!([{"interface": "a"}, {"network": "Not A Label"}]);
    let document = jail(json!({"root": {"path": "/a"}, "jailName": "1.2", "networks": networks}));
    assert_eq!(
        fields(Kind::Jail, document),
        ["spec.networks[0].network", "spec.jailName"]
    );
}

#[test]
fn a_document_without_a_name_cannot_be_read() {
    for document in [
        json!([]),
        json!({"spec": {}}),
        json!({"metadata": {"name": 3}}),
    ] {
        let (object, mistakes) = read_partly(Kind::Host, document);
        assert!(object.is_none() && !mistakes.is_empty());
    }
}

#[test]
fn the_parent_of_a_path() {
    for (field, expected) in [
        ("spec.a[0].b", "spec.a[0]"),
        ("spec.a[0]", "spec.a"),
        ("spec.p[exec.start]", "spec.p"),
        ("spec", ""),
        ("", ""),
    ] {
        assert_eq!(parent(field), expected);
    }
}
