//! What the documents promise their readers.

use std::collections::BTreeSet;

use super::*;

const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];

/// Everything that `$ref` names below a value.
fn references<'a>(of: &'a Value, found: &mut Vec<&'a str>) {
    match of {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|one| references(one, found));
        }
        Value::Array(items) => items.iter().for_each(|one| references(one, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn all() -> Vec<(Edition, Value)> {
    let parsed = documents().values();
    let parsed = parsed.map(|one| serde_json::from_slice(&one.json).expect("JSON"));
    let threes = parsed.map(|document| (Edition::V3, document));
    threes.chain([(Edition::V2, swagger())]).collect()
}

#[test]
fn every_reference_leads_to_something_in_its_document() {
    for (edition, document) in all() {
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            let pointer = reference.trim_start_matches('#');
            assert!(
                document.pointer(pointer).is_some(),
                "{edition:?} {reference}"
            );
        }
    }
}

#[test]
fn what_is_in_braces_is_a_parameter_and_every_operation_has_a_name_of_its_own() {
    for (edition, document) in all() {
        let mut names = BTreeSet::new();
        let paths = document["paths"].as_object().expect("paths");
        for (path, item) in paths {
            let braces = path.split('/').filter_map(|part| part.strip_prefix('{'));
            let braces: BTreeSet<&str> = braces.map(|part| part.trim_end_matches('}')).collect();
            let declared = item["parameters"].as_array().into_iter().flatten();
            let declared: BTreeSet<&str> = declared
                .filter(|one| one["in"] == "path" && one["required"] == true)
                .filter_map(|one| one["name"].as_str())
                .collect();
            assert_eq!(braces, declared, "{edition:?} {path}");
            for method in METHODS {
                let Some(operation) = item.get(method) else {
                    continue;
                };
                let name = operation["operationId"].as_str().expect("a name");
                assert!(names.insert(name.to_owned()), "{edition:?} {name}");
                let takes = match edition {
                    Edition::V2 => {
                        let mut parameters =
                            operation["parameters"].as_array().into_iter().flatten();
                        parameters.any(|one| one["in"] == "body")
                    }
                    Edition::V3 => operation.get("requestBody").is_some(),
                };
                assert_eq!(takes, method != "get", "{edition:?} {method} {path}");
            }
        }
        for name in [
            "readCoreV1NamespacedEvent",
            "listCoreV1EventForAllNamespaces",
        ] {
            let is_core = paths.contains_key("/api/v1/events");
            assert_eq!(names.contains(name), is_core, "{names:?}");
        }
        if paths.contains_key("/apis/cellblock.dev/v1alpha1/jails") {
            for name in [
                "listCellblockDevV1alpha1Jail",
                "deleteCellblockDevV1alpha1CollectionJail",
                "replaceCellblockDevV1alpha1JailStatus",
                "readCellblockDevV1alpha1JailSetScale",
            ] {
                assert!(names.contains(name), "{name} of {names:?}");
            }
        }
    }
}

/// kubectl 1.20 checks what it applies against this: what has no type may be anything.
#[test]
fn in_version_2_what_may_be_a_list_is_not_said_to_be_a_text() {
    let document = swagger();
    let of = |name: &str| &document["definitions"][format!("dev.cellblock.v1alpha1.{name}")];
    for name in ["Jail.ParameterValue", "JailSet.ParameterValue"] {
        let schema = of(name);
        assert!(schema["description"].is_string(), "{schema}");
        assert_eq!(
            (
                schema.get("type"),
                schema.get("format"),
                schema.get("anyOf")
            ),
            (None, None, None)
        );
    }
    for name in ["Jail.PortRange", "Network.Fib", "Host.SysctlValue"] {
        let schema = of(name);
        assert_eq!(
            (&schema["type"], &schema["format"]),
            (&json!("string"), &json!("int-or-string")),
            "{name}"
        );
    }
}
