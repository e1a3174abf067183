//! Parts of objects.

use serde_json::json;

use super::{drop_unknown, read};
use crate::object::Kind;

#[test]
fn a_part_need_not_be_whole_and_gets_its_keys() {
    let part = json!({
        "metadata": {"name": "www", "labels": null},
        "spec": {"networks": [{"network": "lan"}, {"network": "lan", "interface": null}],
            "publish": [{"name": "web", "ports": ["80", "81-81", 443]}]},
    });
    let read = read(Kind::Jail, part).expect("nothing in it is wrong");
    assert_eq!(
        read,
        json!({
            "metadata": {"name": "www"},
            "spec": {"networks": [
                    {"network": "lan", "interface": "lan"},
                    {"network": "lan", "interface": "lan-2"}],
                "publish": [{"name": "web", "ports": [80, 81, 443]}]},
        })
    );
}

#[test]
fn what_tells_entries_apart_is_written_as_the_types_write_it() {
    let part = json!({
        "metadata": {"name": "lan"},
        "spec": {"subnets": [{"cidr": "2001:DB8:30:0::/64", "reserve": ["2001:DB8:30::1"]}]},
    });
    let read = read(Kind::Network, part).expect("nothing in it is wrong");
    assert_eq!(
        read["spec"]["subnets"],
        json!([{"cidr": "2001:db8:30::/64", "reserve": ["2001:db8:30::1"]}])
    );
}

#[test]
fn an_entry_without_its_key_and_an_object_without_its_name_are_refused() {
    let part = json!({"metadata": {}, "spec": {"publish": [{"ports": [80]}]}});
    let violations = read(Kind::Jail, part).expect_err("two things are missing");
    let fields: Vec<_> = violations.iter().map(|one| one.field.as_str()).collect();
    assert_eq!(fields, ["metadata.name", "spec.publish[0].name"]);
}

#[test]
fn unknown_fields_are_taken_out_and_named() {
    let mut document = json!({
        "metadata": {"name": "www", "colour": "red", "labels": {"any": "key"}},
        "spec": {"hots": "a", "networks": [{"network": "lan", "speed": 1}]},
        "status": {"later": true},
    });
    let dropped = drop_unknown(Kind::Jail, &mut document);
    assert_eq!(
        dropped,
        ["metadata.colour", "spec.hots", "spec.networks[0].speed"]
    );
    assert_eq!(
        document,
        json!({
            "metadata": {"name": "www", "labels": {"any": "key"}},
            "spec": {"networks": [{"network": "lan"}]},
            "status": {"later": true},
        })
    );
}

#[test]
fn of_many_unknown_fields_all_are_taken_out_and_some_are_named() {
    let many = (0..200_000).map(|n| (format!("x{n}"), json!(n)));
    let spec: serde_json::Map<_, _> = many.collect();
    let mut document = json!({"metadata": {"name": "www"}, "spec": spec});
    let dropped = drop_unknown(Kind::Jail, &mut document);
    assert_eq!((dropped.len(), dropped[0].as_str()), (100, "spec.x0"));
    assert_eq!(document["spec"], json!({}));
}
