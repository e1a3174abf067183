use serde_json::Value;

use super::{json_schema, schema_file};
use crate::object::Kind;

/// Every schema below `schema` that describes a list, with its place.
fn lists<'a>(schema: &'a Value, place: &str, found: &mut Vec<(String, &'a Value)>) {
    match schema {
        Value::Object(map) => {
            if map.get("type").is_some_and(|name| name == "array") {
                found.push((place.to_owned(), schema));
            }
            for (key, value) in map {
                lists(value, &format!("{place}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                lists(value, &format!("{place}/{index}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What a reference stands for.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let target = schema["$ref"].as_str();
    let target = target.and_then(|target| root.pointer(target.trim_start_matches('#')));
    target.unwrap_or(schema)
}

/// Whether entries can be told from each other by values of it.
fn is_scalar(root: &Value, schema: &Value) -> bool {
    let schema = resolved(root, schema);
    if let Some(Value::Array(any)) = schema.get("anyOf") {
        return any.iter().all(|one| is_scalar(root, one));
    }
    let word = schema["type"].as_str();
    matches!(word, Some("string" | "integer" | "number" | "boolean"))
}

/// As Kubernetes demands it of resource definitions (apiextensions-apiserver, `pkg/apis/apiextensions/validation`): sets are of scalars,
/// and the keys of a map are scalars that every entry has.
#[test]
fn every_list_says_how_it_merges() {
    for kind in Kind::ALL {
        let schema = json_schema(kind);
        let mut found = Vec::new();
        lists(schema, kind.as_str(), &mut found);
        assert!(found.len() > 3, "{kind}: the walk finds the lists");
        for (place, list) in found {
            let merge = list["x-kubernetes-list-type"].as_str();
            assert!(
                matches!(merge, Some("atomic" | "set" | "map")),
                "{place} has no x-kubernetes-list-type"
            );
            if merge == Some("set") {
                assert!(
                    is_scalar(schema, &list["items"]),
                    "{place}: a set of what is no scalar"
                );
            }
            if merge != Some("map") {
                continue;
            }
            let keys = list["x-kubernetes-list-map-keys"]
                .as_array()
                .expect("a map list names its keys");
            assert!(!keys.is_empty(), "{place}: no keys");
            let item = list["items"]["$ref"]
                .as_str()
                .expect("a map list has a named item type");
            let item = schema
                .pointer(item.trim_start_matches('#'))
                .expect("references resolve");
            for key in keys {
                let key = key.as_str().expect("a key is a name");
                assert!(
                    item["properties"].get(key).is_some(),
                    "{place}: items have no field `{key}`"
                );
                let field = &item["properties"][key];
                assert!(is_scalar(schema, field), "{place}: `{key}` is no scalar");
                // `default::default_keys` makes it of the network's name, for parts too, before anything is compared.
                let is_made = place.ends_with("JailSpec/properties/networks") && key == "interface";
                let mut required = item["required"].as_array().into_iter().flatten();
                let is_there = required.any(|name| name == key) || field.get("default").is_some();
                assert!(
                    is_there || is_made,
                    "{place}: an entry may lack its key `{key}`"
                );
            }
        }
    }
}

#[test]
fn nothing_in_a_schema_is_nullable() {
    for kind in Kind::ALL {
        let (_, text) = schema_file(kind);
        assert!(!text.contains("\"null\""), "{kind}");
        assert!(!text.contains("\"oneOf\""), "{kind}");
    }
}

#[test]
fn every_field_is_described() {
    fn walk(value: &Value, place: &str) {
        if let Some(Value::Object(properties)) = value.get("properties") {
            for (name, property) in properties {
                assert!(
                    property.get("description").is_some(),
                    "{place}.{name} has no description"
                );
            }
        }
    }
    for kind in Kind::ALL {
        let schema = json_schema(kind);
        walk(schema, kind.as_str());
        for (name, definition) in schema["$defs"].as_object().expect("types have definitions") {
            walk(definition, name);
        }
    }
}

#[test]
fn enumerations_keep_the_description_of_each_value() {
    let policy = &json_schema(Kind::Jail)["$defs"]["RunPolicy"];
    assert_eq!(
        policy["enum"],
        serde_json::json!(["Running", "Stopped", "Once"])
    );
    assert!(
        policy["description"]
            .as_str()
            .is_some_and(|text| text.contains("- Once: It runs until it ends."))
    );
}
