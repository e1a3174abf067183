//! Managed fields: who said what of an object, in Kubernetes' `FieldsV1` form. Which lists merge by which keys stands in the
//! kinds' schemas.

use cellblock_schemas::meta::{ManagedFieldsEntry, ObjectMeta};
use cellblock_schemas::{API_VERSION, Kind, Object, json_schema};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// The set of fields that a document states of labels, annotations and spec. `defaulted` is the same document with what
/// defaulting filled in: the keys of lists may stand only there.
pub(super) fn fields(kind: Kind, document: &Value, defaulted: &Value) -> Value {
    let root = json_schema(kind);
    let walk = Walk { root };
    let mut set = Map::new();
    let mut metadata = Map::new();
    for family in ["labels", "annotations"] {
        if let Some(Value::Object(stated)) = document
            .get("metadata")
            .and_then(|stated| stated.get(family))
        {
            let stated = stated.keys().map(|key| (format!("f:{key}"), json!({})));
            metadata.insert(format!("f:{family}"), Value::Object(stated.collect()));
        }
    }
    if !metadata.is_empty() {
        set.insert("f:metadata".to_owned(), Value::Object(metadata));
    }
    if let Some(spec) = document.get("spec").filter(|spec| !spec.is_null()) {
        let schema = &root["properties"]["spec"];
        set.insert(
            "f:spec".to_owned(),
            walk.value(schema, spec, defaulted.get("spec")),
        );
    }
    Value::Object(set)
}

/// Records what a manager said. An entry whose fields are the same keeps its time: repeating oneself is no change.
pub(super) fn record(
    metadata: &mut ObjectMeta,
    manager: &str,
    operation: &str,
    subresource: &str,
    fields: Value,
    now: Timestamp,
) {
    let entry = ManagedFieldsEntry {
        manager: manager.to_owned(),
        operation: operation.to_owned(),
        api_version: API_VERSION.to_owned(),
        time: Some(now),
        fields_v1: fields,
        subresource: subresource.to_owned(),
    };
    let present = metadata.managed_fields.iter_mut().find(|present| {
        present.manager == manager
            && present.operation == operation
            && present.subresource == subresource
    });
    match present {
        Some(present) if present.fields_v1 == entry.fields_v1 => {}
        Some(present) => *present = entry,
        None => metadata.managed_fields.push(entry),
    }
}

/// Whether two states of an object differ in anything that managers state.
pub(super) fn differs(before: &Object, after: &Object) -> bool {
    let stated = |object: &Object| {
        let mut value = object.to_value();
        let metadata = object.metadata();
        (
            value["spec"].take(),
            metadata.labels.clone(),
            metadata.annotations.clone(),
        )
    };
    stated(before) != stated(after)
}

struct Walk<'a> {
    root: &'a Value,
}

impl<'a> Walk<'a> {
    fn resolve(&self, mut schema: &'a Value) -> &'a Value {
        loop {
            let target = match (
                schema.get("$ref").and_then(Value::as_str),
                schema.get("anyOf"),
            ) {
                (Some(reference), _) => self.root.pointer(reference.trim_start_matches('#')),
                // An optional member: the alternative that is not `null`.
                (None, Some(Value::Array(alternatives))) => {
                    alternatives.iter().find(|one| one.get("$ref").is_some())
                }
                (None, _) => None,
            };
            match target {
                Some(target) => schema = target,
                None => return schema,
            }
        }
    }

    fn value(&self, schema: &'a Value, value: &Value, defaulted: Option<&Value>) -> Value {
        let schema = self.resolve(schema);
        match value {
            Value::Object(members) => {
                let members = members.iter().filter(|(_, value)| !value.is_null());
                let members = members.map(|(name, value)| {
                    let own = schema
                        .get("properties")
                        .and_then(|properties| properties.get(name));
                    let schema = own
                        .or_else(|| schema.get("additionalProperties"))
                        .unwrap_or(&Value::Null);
                    let defaulted = defaulted.and_then(|defaulted| defaulted.get(name));
                    (format!("f:{name}"), self.value(schema, value, defaulted))
                });
                Value::Object(members.collect())
            }
            Value::Array(items) => self.list(schema, items, defaulted),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => json!({}),
        }
    }

    fn list(&self, schema: &'a Value, items: &[Value], defaulted: Option<&Value>) -> Value {
        let own = schema.get("items").unwrap_or(&Value::Null);
        match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
            Some("set") => {
                let items = items.iter().map(|item| (format!("v:{item}"), json!({})));
                Value::Object(items.collect())
            }
            Some("map") => {
                let keys = schema["x-kubernetes-list-map-keys"].as_array();
                let keys: Vec<&str> = keys
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect();
                let items = items.iter().enumerate().map(|(place, item)| {
                    let defaulted = defaulted.and_then(|defaulted| defaulted.get(place));
                    let key: Map<String, Value> = keys
                        .iter()
                        .filter_map(|key| {
                            let value = item.get(*key).or_else(|| defaulted?.get(*key))?;
                            Some(((*key).to_owned(), value.clone()))
                        })
                        .collect();
                    let mut fields = self.value(own, item, defaulted);
                    if let Some(fields) = fields.as_object_mut() {
                        fields.insert(".".to_owned(), json!({}));
                    }
                    (format!("k:{}", Value::Object(key)), fields)
                });
                Value::Object(items.collect())
            }
            Some(_) | None => json!({}),
        }
    }
}
