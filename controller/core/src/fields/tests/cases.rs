//! Golden cases.

use cellblock_schemas::Kind;
use cellblock_schemas::meta::ManagedFieldsEntry;
use serde_json::json;

use super::{Operation, State, said, who};
use crate::fields::{Element, Managers, Path, Set, place};

#[test]
fn nested_fields_are_owned_by_their_leaves_and_entries_by_their_keys() {
    let mut state = State::new(Kind::Jail);
    let stated = json!({
        "metadata": {"labels": {"a": "1"}, "finalizers": ["x/y"]},
        "spec": {"root": {"path": "/j"}, "networks": [{"network": "lan", "interface": "lan0", "addresses": ["10.0.0.1"]}]},
    });
    state.apply("m", &stated, false).expect("alone");
    assert_eq!(
        state.owned("m"),
        json!({
            "f:metadata": {"f:finalizers": {"v:\"x/y\"": {}}, "f:labels": {"f:a": {}}},
            "f:spec": {
                "f:networks": {"k:{\"interface\":\"lan0\"}": {".": {}, "f:addresses": {}, "f:interface": {}, "f:network": {}}},
                "f:root": {"f:path": {}},
            },
        })
    );
}

#[test]
fn a_field_that_is_no_longer_applied_goes() {
    let mut state = State::new(Kind::Jail);
    let first = json!({"spec": {"root": {"path": "/j"}, "publish": [{"name": "a", "ports": [1]}, {"name": "b", "ports": [2]}]}});
    state.apply("m", &first, false).expect("alone");
    let second =
        json!({"spec": {"root": {"path": "/j"}, "publish": [{"name": "b", "ports": [2]}]}});
    state.apply("m", &second, false).expect("alone");
    assert_eq!(state.live, second);
    state
        .apply("m", &json!({"spec": {"root": {"path": "/j"}}}), false)
        .expect("alone");
    assert_eq!(state.live, json!({"spec": {"root": {"path": "/j"}}}));
}

#[test]
fn a_shared_field_stays_until_the_last_owner_lets_go() {
    let mut state = State::new(Kind::Host);
    let labels = json!({"metadata": {"labels": {"zone": "a"}}});
    state.apply("one", &labels, false).expect("first");
    state.apply("two", &labels, false).expect("shares");
    state.apply("one", &json!({}), false).expect("lets go");
    assert_eq!(state.live, labels);
    assert_eq!(state.owned("one"), json!({}));
    state.apply("two", &json!({}), false).expect("lets go");
    assert_eq!(state.live, json!({}));
}

#[test]
fn conflicts_name_every_owner_and_field() {
    let mut state = State::new(Kind::Jail);
    let with = |port: u16, name: &str| json!({"metadata": {"labels": {"a": name}}, "spec": {"publish": [{"name": "web", "ports": [port]}]}});
    state.apply("one", &with(80, "x"), false).expect("first");
    state.apply("two", &with(80, "x"), false).expect("shares");
    let refused = state.apply("three", &with(81, "y"), false);
    assert_eq!(
        said(refused),
        [
            r#""one" .metadata.labels.a"#,
            r#""one" .spec.publish[name="web"].ports"#,
            r#""two" .metadata.labels.a"#,
            r#""two" .spec.publish[name="web"].ports"#,
        ]
    );
    state
        .apply("three", &with(81, "y"), true)
        .expect("by force");
    assert_eq!(
        state.owned("one"),
        json!({"f:spec": {"f:publish": {"k:{\"name\":\"web\"}": {".": {}, "f:name": {}}}}})
    );
}

#[test]
fn who_updates_takes_over_and_is_in_the_way_of_who_applies() {
    let mut state = State::new(Kind::Host);
    let stated = json!({"metadata": {"labels": {"zone": "a"}}});
    state.apply("m", &stated, false).expect("alone");
    state.update("hand", json!({"metadata": {"labels": {"zone": "b"}}}));
    assert_eq!(state.owned("m"), serde_json::Value::Null);
    assert_eq!(
        said(state.apply("m", &stated, false)),
        [r#""hand" using cellblock.dev/v1alpha1 .metadata.labels.zone"#]
    );
    state.update("hand", json!({}));
    state.apply("m", &stated, false).expect("nobody has it now");
}

#[test]
fn an_entry_that_somebody_else_adds_to_stays_with_what_is_theirs() {
    let mut state = State::new(Kind::Jail);
    state
        .apply(
            "one",
            &json!({"spec": {"networks": [{"interface": "lan0", "network": "lan"}]}}),
            false,
        )
        .expect("first");
    state
        .apply(
            "two",
            &json!({"spec": {"networks": [{"interface": "lan0", "defaultRoute": true}]}}),
            false,
        )
        .expect("adds");
    state.apply("one", &json!({}), false).expect("lets go");
    assert_eq!(
        state.live,
        json!({"spec": {"networks": [{"interface": "lan0", "defaultRoute": true}]}})
    );
}

#[test]
fn what_nobody_applied_below_an_entry_goes_with_the_entry() {
    let mut state = State::new(Kind::Jail);
    let stated = json!({"spec": {"networks": [{"interface": "lan0", "network": "lan"}]}});
    state.apply("m", &stated, false).expect("first");
    // As defaulting does: a field without an owner.
    state.live["spec"]["networks"][0]["addressing"] = json!("allocate");
    state.apply("m", &json!({}), false).expect("lets go");
    assert_eq!(state.live, json!({}));
}

#[test]
fn atomic_values_have_one_owner_as_a_whole() {
    let mut state = State::new(Kind::Jail);
    let selector = |zone: &str| json!({"spec": {"hostSelector": {"matchLabels": {"zone": zone}}, "tolerations": [{"key": zone}]}});
    state.apply("one", &selector("a"), false).expect("first");
    assert_eq!(
        state.owned("one"),
        json!({"f:spec": {"f:hostSelector": {}, "f:tolerations": {}}})
    );
    assert_eq!(
        said(state.apply("two", &selector("b"), false)),
        [r#""one" .spec.hostSelector"#, r#""one" .spec.tolerations"#]
    );
}

#[test]
fn sets_are_owned_entry_by_entry() {
    let mut state = State::new(Kind::Jail);
    state
        .apply("one", &json!({"spec": {"dependsOn": ["a", "b"]}}), false)
        .expect("first");
    state
        .apply("two", &json!({"spec": {"dependsOn": ["b", "c"]}}), false)
        .expect("shares one");
    state.apply("one", &json!({}), false).expect("lets go");
    assert_eq!(state.live, json!({"spec": {"dependsOn": ["b", "c"]}}));
}

#[test]
fn who_applies_gives_the_order_and_others_stay_between() {
    let mut state = State::new(Kind::Jail);
    let publish = |names: &[&str]| {
        let entries: Vec<_> = names.iter().map(|name| json!({"name": name})).collect();
        json!({"spec": {"publish": entries}})
    };
    state
        .apply("one", &publish(&["a", "b", "c"]), false)
        .expect("first");
    state.apply("two", &publish(&["x"]), false).expect("adds");
    state
        .apply("one", &publish(&["c", "a", "b"]), false)
        .expect("reorders");
    // As structured-merge-diff: what only the object has comes as soon as nothing stated has to come before it.
    assert_eq!(state.live, publish(&["c", "x", "a", "b"]));
    state
        .apply("one", &publish(&["c", "n", "b"]), false)
        .expect("replaces");
    assert_eq!(state.live, publish(&["c", "x", "n", "b"]));
}

#[test]
fn an_object_stated_empty_stays_when_its_last_member_goes() {
    let mut state = State::new(Kind::Network);
    state
        .apply("m", &json!({"spec": {"bridge": {"uplink": "dmz"}}}), false)
        .expect("first");
    state
        .apply("m", &json!({"spec": {"bridge": {}}}), false)
        .expect("now internal");
    assert_eq!(state.live, json!({"spec": {"bridge": {}}}));
}

#[test]
fn an_object_without_records_is_put_down_to_whoever_was_before() {
    let mut state = State::new(Kind::Host);
    state.live = json!({"metadata": {"labels": {"zone": "a"}}});
    state.managers = Managers::default().before_first_apply(Kind::Host, &state.live);
    let refused = state.apply("m", &json!({"metadata": {"labels": {"zone": "b"}}}), false);
    assert_eq!(
        said(refused),
        [r#""before-first-apply" using cellblock.dev/v1alpha1 .metadata.labels.zone"#]
    );
}

#[test]
fn repeating_oneself_changes_no_record_and_no_time() {
    let mut state = State::new(Kind::Host);
    let stated = json!({"metadata": {"labels": {"zone": "a"}}});
    state.apply("m", &stated, false).expect("alone");
    let recorded = state.managers.clone().write();
    state.apply("m", &stated, false).expect("again");
    assert_eq!(state.managers.clone().write(), recorded);
    state.update("hand", stated);
    assert_eq!(state.managers.clone().write(), recorded);
}

#[test]
fn many_names_for_updates_are_put_together() {
    let mut state = State::new(Kind::Host);
    for number in 0..40 {
        let mut after = state.live.clone();
        after["metadata"]["labels"][format!("l{number}")] = json!("x");
        state.update(&format!("m{number}"), after);
    }
    let recorded = state.managers.clone().write();
    assert_eq!(recorded.len(), 10);
    assert_eq!(recorded.last().expect("ten").manager, "m39");
    let owned = recorded
        .iter()
        .map(|entry| Set::from_fields_v1(&entry.fields_v1).expect("written here"))
        .fold(Set::default(), |all, one| all.union(&one));
    let label = |number: u32| {
        ["metadata", "labels", &format!("l{number}")]
            .map(|name| Element::Field(name.to_owned()))
            .to_vec()
    };
    assert!((0..40).all(|number| owned.contains(&label(number))));
    let ancient = who("ancient-changes", Operation::Update);
    assert!(
        state
            .managers
            .fields_of(&ancient)
            .expect("there")
            .contains(&label(0))
    );
}

#[test]
fn records_that_cannot_be_read_own_nothing() {
    let entry = |operation: &str, version: &str, fields| ManagedFieldsEntry {
        manager: "m".to_owned(),
        operation: operation.to_owned(),
        api_version: version.to_owned(),
        time: None,
        fields_type: "FieldsV1".to_owned(),
        fields_v1: fields,
        subresource: String::new(),
    };
    let current = cellblock_schemas::API_VERSION;
    let unreadable = [
        entry("Guess", current, json!({"f:spec": {}})),
        entry("Apply", "cellblock.dev/v0", json!({"f:spec": {}})),
        entry("Apply", current, json!(["f:spec"])),
        entry("Apply", current, json!({"spec": {}})),
        entry("Apply", current, json!({"k:{": {}})),
    ];
    assert_eq!(Managers::read(&unreadable), Managers::default());
}

#[test]
fn a_field_has_a_place_in_the_document_that_states_it() {
    let document = json!({"spec": {"publish": [{"name": "a"}, {"name": "b", "ports": [1]}]},
        "metadata": {"labels": {"a.b/c": "x"}}});
    let mut set = Set::default();
    let field = |name: &str| Element::Field(name.to_owned());
    set.insert(&[
        field("spec"),
        field("publish"),
        Element::Key(r#"{"name":"b"}"#.to_owned()),
        field("ports"),
    ]);
    set.insert(&[field("metadata"), field("labels"), field("a.b/c")]);
    let places: Vec<_> = set
        .paths()
        .iter()
        .map(|path| place(Kind::Jail, &document, path))
        .collect();
    assert_eq!(
        places,
        [r#"metadata.labels["a.b/c"]"#, "spec.publish[1].ports"]
    );
    let gone = Path(vec![
        field("spec"),
        field("publish"),
        Element::Key(r#"{"name":"z"}"#.to_owned()),
    ]);
    assert_eq!(place(Kind::Jail, &document, &gone), "spec.publish");
}
