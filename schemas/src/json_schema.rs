//! The JSON Schema of every kind, made from the types.
//!
//! What schemars makes is brought into the form that Kubernetes asks of a structural schema: no `null` beside a type (an
//! absent field is left out), enumerations as one `enum`, the kind's own `apiVersion` and `kind` fixed. The committed files
//! in `schemas/json` are written from here by the example `write_schemas`; the structural check walks the same documents.

use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use crate::host::Host;
use crate::image::Image;
use crate::jail::Jail;
use crate::jail_set::JailSet;
use crate::network::Network;
use crate::object::Kind;

#[cfg(test)]
mod tests;

/// The JSON Schema (2020-12) of one kind, with `x-kubernetes-list-type` on every list.
#[must_use]
pub fn json_schema(kind: Kind) -> &'static Value {
    static SCHEMAS: [OnceLock<Value>; Kind::ALL.len()] =
        [const { OnceLock::new() }; Kind::ALL.len()];
    let (slot, make): (usize, fn() -> schemars::Schema) = match kind {
        Kind::Host => (0, || schemars::schema_for!(Host)),
        Kind::Network => (1, || schemars::schema_for!(Network)),
        Kind::Image => (2, || schemars::schema_for!(Image)),
        Kind::Jail => (3, || schemars::schema_for!(Jail)),
        Kind::JailSet => (4, || schemars::schema_for!(JailSet)),
    };
    SCHEMAS[slot].get_or_init(|| {
        let mut schema = make().to_value();
        tidy(&mut schema);
        fix_type(&mut schema, kind);
        schema
    })
}

/// The file of a kind's schema in `schemas/json`, and its text.
#[must_use]
pub fn schema_file(kind: Kind) -> (String, String) {
    let text = serde_json::to_string_pretty(json_schema(kind))
        .expect("a JSON value always has a JSON text");
    (
        format!("{}.json", kind.as_str().to_lowercase()),
        text + "\n",
    )
}

/// Brings schemars' output into structural form, from the leaves up.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            for value in map.values_mut() {
                tidy(value);
            }
            drop_null(map);
            join_constants(map);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `X or null` becomes `X`: an absent optional field is left out, and the structural check passes over an explicit null.
fn drop_null(map: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = map.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            map.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(alternatives)) = map.get_mut("anyOf") {
        alternatives
            .retain(|alternative| alternative.get("type").is_none_or(|name| name != "null"));
        if let [Value::Object(only)] = alternatives.as_slice() {
            let only = only.clone();
            map.remove("anyOf");
            for (key, value) in only {
                map.entry(key).or_insert(value);
            }
        }
    }
}

/// A `oneOf` of described constants becomes one `enum`; the descriptions move into that of the whole.
fn join_constants(map: &mut Map<String, Value>) {
    let Some(Value::Array(alternatives)) = map.get("oneOf") else {
        return;
    };
    let mut names = Vec::new();
    let mut lines = String::new();
    for alternative in alternatives {
        let one = alternative.get("const").map(|name| vec![name.clone()]);
        let several = alternative.get("enum").and_then(Value::as_array).cloned();
        let Some(found) = one.or(several) else { return };
        let text = alternative
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default();
        for name in &found {
            lines += &format!("\n- {}: {text}", name.as_str().unwrap_or_default());
        }
        names.extend(found);
    }
    let description = map
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    map.remove("oneOf");
    map.insert(
        "description".to_owned(),
        Value::String(description + &lines),
    );
    map.insert("type".to_owned(), json!("string"));
    map.insert("enum".to_owned(), Value::Array(names));
}

/// Fixes `apiVersion` and `kind`, and names the kind for Kubernetes' tools.
fn fix_type(schema: &mut Value, kind: Kind) {
    let (group, version) = crate::API_VERSION
        .split_once('/')
        .expect("the constant is written as group/version");
    for (name, value) in [("apiVersion", crate::API_VERSION), ("kind", kind.as_str())] {
        let field = &mut schema["properties"][name];
        if let Value::Object(map) = field {
            map.remove("default");
            map.insert("enum".to_owned(), json!([value]));
        }
    }
    if let Value::Object(map) = &mut schema["properties"]["spec"] {
        map.remove("default");
    }
    schema["required"] = json!(["apiVersion", "kind", "metadata"]);
    schema["x-kubernetes-group-version-kind"] =
        json!([{ "group": group, "version": version, "kind": kind.as_str() }]);
}
