use serde_json::{Value, json};

use super::validate_update;
use crate::default::default_object;
use crate::object::{Kind, Object};

fn object(kind: Kind, metadata: &Value, spec: &Value, status: &Value) -> Object {
    let mut document =
        json!({ "metadata": { "name": "x", "uid": "u1" }, "spec": spec, "status": status });
    for (name, value) in metadata.as_object().expect("fields") {
        document["metadata"][name.as_str()] = value.clone();
    }
    crate::structural::prune_nulls(&mut document);
    let mut object = Object::from_value(kind, document).expect("the shape is right");
    default_object(&mut object);
    object
}

fn fields(kind: Kind, old: &Value, new: &Value) -> Vec<String> {
    let of = |spec| object(kind, &json!({}), spec, &Value::Null);
    validate_update(&of(old), &of(new))
        .into_iter()
        .map(|violation| violation.field)
        .collect()
}

#[test]
fn identity_stays() {
    let old = object(
        Kind::Host,
        &json!({ "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a"] }),
        &json!({}),
        &Value::Null,
    );
    let new = object(
        Kind::Host,
        &json!({ "name": "y", "uid": "u2", "finalizers": ["b"] }),
        &json!({}),
        &Value::Null,
    );
    let fields: Vec<String> = validate_update(&old, &new)
        .into_iter()
        .map(|violation| violation.field)
        .collect();
    assert_eq!(
        fields,
        [
            "metadata.name",
            "metadata.uid",
            "metadata.deletionTimestamp",
            "metadata.finalizers"
        ]
    );
    assert!(validate_update(&old, &old).is_empty());
    let jail = object(Kind::Jail, &json!({}), &json!({}), &Value::Null);
    assert!(!validate_update(&old, &jail).is_empty());
}

#[test]
fn the_jails_name_in_jls_stays() {
    assert_eq!(
        fields(Kind::Jail, &json!({}), &json!({ "jailName": "y" })),
        ["spec.jailName"]
    );
    assert_eq!(
        fields(Kind::Jail, &json!({}), &json!({ "jailName": "x" })),
        [""; 0]
    );
}

#[test]
fn a_bound_jail_does_not_move() {
    let bound = json!({ "binding": { "host": "a" } });
    let old = object(Kind::Jail, &json!({}), &json!({}), &bound);
    let check = |host: &str| {
        validate_update(
            &old,
            &object(Kind::Jail, &json!({}), &json!({ "host": host }), &bound),
        )
        .len()
    };
    assert_eq!(check("a"), 0);
    assert_eq!(check("b"), 1);
    assert_eq!(
        fields(
            Kind::Jail,
            &json!({ "host": "typo" }),
            &json!({ "host": "a" })
        ),
        [""; 0]
    );
}

#[test]
fn a_network_keeps_its_mode_and_its_prefixes() {
    assert_eq!(
        fields(
            Kind::Network,
            &json!({ "bridge": {} }),
            &json!({ "routed": {} })
        ),
        ["spec.routed", "spec.scope"]
    );
    assert_eq!(
        fields(
            Kind::Network,
            &json!({ "bridge": {} }),
            &json!({ "bridge": { "uplink": "x" } })
        ),
        ["spec.bridge", "spec.scope"]
    );
    let with = |cidrs: &[&str]| json!({ "bridge": {}, "subnets": cidrs.iter().map(|cidr| json!({ "cidr": cidr })).collect::<Vec<_>>() });
    let before = with(&["10.0.0.0/24"]);
    assert_eq!(
        fields(Kind::Network, &before, &with(&["10.0.0.0/23"])),
        ["spec.subnets[0].cidr"]
    );
    assert_eq!(
        fields(
            Kind::Network,
            &before,
            &with(&["10.1.0.0/24", "10.0.0.0/24"])
        ),
        [""; 0]
    );
    assert_eq!(
        fields(Kind::Network, &before, &with(&["10.1.0.0/24"])),
        [""; 0],
        "whether jails still have addresses there, the index knows"
    );
}
