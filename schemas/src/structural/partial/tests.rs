//! Reading what is there of a document with mistakes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Mistakes, parent, read_partly};
use crate::object::Kind;
use crate::validate::validate;
use crate::violation::{Cause, Violation};

/// The fields of all mistakes: the schema's, then those that the rules find in the rest.
fn fields(kind: Kind, document: Value) -> Vec<String> {
    let (object, mistakes) = read_partly(kind, document);
    let rules = object.map(|object| validate(&object)).unwrap_or_default();
    let rules = mistakes.judge(rules);
    let violations = mistakes.violations.into_iter().chain(rules);
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
}

#[test]
fn an_element_that_cannot_be_read_hides_no_other() {
    let networks = json!([
        {"interface": "a"},
        {"network": "Not A Label", "addresses": [5, "10.0.0.0.1", "10.0.0.300"]},
        {"interface": "b"},
        {"network": "x", "interface": "1"},
        {"network": "y", "interface": "far-too-long-a-name"},
    ]);
    let document = jail(json!({"root": {"path": "/a"}, "jailName": "1.2", "networks": networks}));
    let mut found = fields(Kind::Jail, document);
    found.sort();
    assert_eq!(
        found,
        [
            "spec.jailName",
            "spec.networks[0].network",
            "spec.networks[1].addresses[0]",
            "spec.networks[1].addresses[1]",
            "spec.networks[1].addresses[2]",
            "spec.networks[1].network",
            "spec.networks[2].network",
            "spec.networks[3].interface",
            "spec.networks[4].interface",
        ]
    );
}

#[test]
fn an_entry_that_is_there_twice_is_judged_all_the_same() {
    let mounts = json!([
        {"target": "/a", "type": "tmpfs"},
        {"target": "/a", "type": "no such type!", "source": "relative"},
    ]);
    let document = jail(json!({"root": {"path": "/a"}, "mounts": mounts}));
    let found = fields(Kind::Jail, document);
    assert_eq!(found[0], "spec.mounts[1]");
    assert!(found.len() > 1, "{found:?}");
    assert!(
        found[1..]
            .iter()
            .all(|field| field.starts_with("spec.mounts[1].")),
        "{found:?}"
    );
}

#[test]
fn messages_speak_in_the_numbers_of_the_document() {
    let mistakes = Mistakes {
        gaps: BTreeMap::from([
            ("spec.a".to_owned(), BTreeSet::from([0, 2])),
            ("spec.a[3].b".to_owned(), BTreeSet::from([0, 1])),
        ]),
        ..Mistakes::default()
    };
    let violation = Violation {
        field: "spec.a[1].b[0].c".to_owned(),
        message: "like spec.a[0] and spec.a[7], unlike spec.ab[0], spec.a[x] and spec.a["
            .to_owned(),
        help: String::new(),
        cause: Cause::Invalid,
    };
    let judged = mistakes.judge(vec![violation]);
    assert_eq!(judged[0].field, "spec.a[3].b[2].c");
    assert_eq!(
        judged[0].message,
        "like spec.a[1] and spec.a[9], unlike spec.ab[0], spec.a[x] and spec.a["
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
