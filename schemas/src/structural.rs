//! The structural check: a JSON document against the schema of its kind, all mistakes at once, each with its field path.
//!
//! This is the only place that refuses unknown fields. The types themselves pass over what they do not know, so that an
//! object in the store that a newer version wrote survives being read. A document that passes here can always be read into
//! the types ([`read`]). What goes beyond one field's shape is [`crate::validate()`]'s.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::json_schema::json_schema;
use crate::object::{Kind, Object};
use crate::path::FieldPath;
use crate::suggest;
use crate::violation::{Cause, Findings, Violation};

pub(crate) mod format;
mod partial;
#[cfg(test)]
mod tests;

pub use partial::{Mistakes, read_partly};

/// Entries of one list. Lists are checked pairwise by later rules and end up in one command or one file on a host; nothing
/// that a jail or network has comes near this.
pub const LIST_ENTRIES_MAX: usize = 1024;

/// How the advice to quote a number begins. The manifest's reader ends it with the number as it was written.
pub(crate) const QUOTE_HELP: &str = "put it in quotes: ";

/// Above this length a value is cut in messages: a message is a line, not a copy of the manifest.
const SHOWN_CHARS_MAX: usize = 60;

/// Everything in `document` that does not fit the schema of `kind`.
///
/// `status` is not looked into ([`check_status`] does that): it is the system's, and what `jailctl get -o yaml` printed can be applied again whatever
/// version printed it. An absent or empty `apiVersion` or `kind` is left to defaulting.
#[must_use]
pub fn check(kind: Kind, document: &Value) -> Vec<Violation> {
    examine(kind, document, false)
}

/// Everything in a part of a document that does not fit: as [`check`], but only what tells list entries apart must be there.
#[must_use]
pub fn check_part(kind: Kind, document: &Value) -> Vec<Violation> {
    examine(kind, document, true)
}

/// Everything in a status that does not fit, as a part of one or as the whole; an absent one fits.
#[must_use]
pub fn check_status(kind: Kind, status: &Value, is_part: bool) -> Vec<Violation> {
    let schema = json_schema(kind);
    let mut walk = Walk {
        root: schema,
        is_part,
        findings: Findings::default(),
    };
    if !status.is_null() {
        let path = FieldPath::new("status");
        let status_schema = &schema["properties"]["status"];
        walk.value(status_schema, status, &path, kind.as_str());
    }
    walk.findings.0
}

fn examine(kind: Kind, document: &Value, is_part: bool) -> Vec<Violation> {
    let schema = json_schema(kind);
    let mut walk = Walk {
        root: schema,
        is_part,
        findings: Findings::default(),
    };
    let Value::Object(map) = document else {
        let message = format!(
            "must be an object with apiVersion, kind, metadata and spec, but is {}",
            shown(document)
        );
        walk.findings
            .add_as(Cause::TypeInvalid, &FieldPath::root(), message, "");
        return walk.findings.0;
    };
    let properties = schema["properties"]
        .as_object()
        .expect("every kind's schema has properties");
    let owner = kind.as_str();
    let path = FieldPath::root();
    for (name, value) in map {
        let at = path.field(name);
        match (properties.get(name), name.as_str()) {
            (None, _) => walk.unknown(&at, name, owner, properties),
            (Some(_), "status") => {}
            (Some(_), "apiVersion" | "kind") if value.is_null() || value == "" => {}
            (Some(_), "spec") if value.is_null() => {}
            (Some(field), _) => walk.value(field, value, &at, owner),
        }
    }
    if !map.contains_key("metadata") {
        walk.missing(&path.field("metadata"), "metadata");
    }
    walk.findings.0
}

/// Checks a document and reads it into the types. `status` is dropped, explicit nulls count as absent.
///
/// # Errors
/// Everything that does not fit the schema.
pub fn read(kind: Kind, mut document: Value) -> Result<Object, Vec<Violation>> {
    let violations = check(kind, &document);
    if !violations.is_empty() {
        return Err(violations);
    }
    if let Value::Object(map) = &mut document {
        map.remove("status");
    }
    prune_nulls(&mut document);
    // The schema is made from the types, so this cannot fail for a reason that `check` did not give; should the two ever
    // disagree, the operator still gets a sentence instead of a panic.
    Object::from_value(kind, document).map_err(|error| {
        vec![Violation {
            field: String::new(),
            message: format!("cannot be read as a {kind}: {error}"),
            help: String::new(),
            cause: Cause::Invalid,
        }]
    })
}

/// Removes fields that are explicitly null: `spec.host:` without a value says the same as no `spec.host`.
pub fn prune_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(prune_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(prune_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

struct Walk<'a> {
    root: &'a Value,
    /// Fields may be missing: somebody else states them.
    is_part: bool,
    findings: Findings,
}

impl<'a> Walk<'a> {
    /// The schema behind `$ref`, and the name of its type.
    fn resolve(&self, mut schema: &'a Value) -> (&'a Value, Option<&'a str>) {
        let mut name = None;
        while let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let Some(target) = self.root.pointer(reference.trim_start_matches('#')) else {
                break;
            };
            name = reference.rsplit('/').next();
            schema = target;
        }
        (schema, name)
    }

    fn value(&mut self, schema: &'a Value, value: &Value, path: &FieldPath, owner: &str) {
        let (schema, name) = self.resolve(schema);
        let owner = name.unwrap_or(owner);
        if let Some(alternatives) = schema.get("anyOf").and_then(Value::as_array) {
            return self.any_of(alternatives, value, path, owner);
        }
        let Some(wanted) = schema.get("type").and_then(Value::as_str) else {
            // Without a type anything goes (`managedFields[].fieldsV1`).
            return;
        };
        match (wanted, value) {
            ("object", Value::Object(map)) => self.object(schema, map, path, owner),
            ("array", Value::Array(items)) => self.list(schema, items, path, owner),
            ("string", Value::String(text)) => self.text(schema, text, path),
            ("boolean", Value::Bool(_)) => {}
            ("integer", Value::Number(number)) if !number.is_f64() => {
                if let Err(refusal) = format::integer(schema, number) {
                    self.findings.check(path, Err(refusal));
                }
            }
            _ => {
                let message = format!("must be {}, but is {}", type_name(wanted), shown(value));
                self.findings.add_as(
                    Cause::TypeInvalid,
                    path,
                    message,
                    type_help(&[wanted], value),
                );
            }
        }
    }

    /// One of several types, such as a port: a number, or a range as text.
    fn any_of(&mut self, alternatives: &'a [Value], value: &Value, path: &FieldPath, owner: &str) {
        let mut wanted = Vec::new();
        for alternative in alternatives {
            let (resolved, _) = self.resolve(alternative);
            let Some(name) = resolved.get("type").and_then(Value::as_str) else {
                continue;
            };
            if type_fits(name, value) {
                return self.value(alternative, value, path, owner);
            }
            wanted.push(name);
        }
        let names: Vec<&str> = wanted.iter().map(|name| type_name(name)).collect();
        let message = format!("must be {}, but is {}", names.join(" or "), shown(value));
        self.findings
            .add_as(Cause::TypeInvalid, path, message, type_help(&wanted, value));
    }

    fn object(
        &mut self,
        schema: &'a Value,
        map: &Map<String, Value>,
        path: &FieldPath,
        owner: &str,
    ) {
        if let Some(values) = schema.get("additionalProperties") {
            for (key, value) in map {
                self.value(values, value, &path.key(key), owner);
            }
            return;
        }
        let none = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object);
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        for (name, value) in map {
            let at = path.field(name);
            match properties.and_then(|properties| properties.get(name)) {
                None => self.unknown(&at, name, owner, properties.unwrap_or(&none)),
                Some(_) if value.is_null() && !required.contains(&name.as_str()) => {}
                Some(field) => self.value(field, value, &at, owner),
            }
        }
        if self.is_part && path.as_str() != "metadata" {
            return;
        }
        for name in required.into_iter().filter(|name| !map.contains_key(*name)) {
            self.missing(&path.field(name), name);
        }
    }

    fn list(&mut self, schema: &'a Value, items: &[Value], path: &FieldPath, owner: &str) {
        if items.len() > LIST_ENTRIES_MAX {
            let message = format!(
                "has {} entries, but a list has at most {LIST_ENTRIES_MAX}",
                items.len()
            );
            self.findings.add_as(
                Cause::TooMany,
                path,
                message,
                "split it over several objects",
            );
            return;
        }
        if items.is_empty() && schema.get("minItems").is_some() {
            let message = "names nobody and nothing, and without it all are meant";
            let help = "name at least one, or leave the field out if all are meant";
            self.findings.add(path, message, help);
        }
        if let Some(item) = schema.get("items") {
            for (index, value) in items.iter().enumerate() {
                self.value(item, value, &path.index(index), owner);
            }
        }
        match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
            Some("set") => self.unique(items, path, |item| Some(item.to_string()), "entry"),
            Some("map") => {
                let keys: Vec<&str> = schema["x-kubernetes-list-map-keys"]
                    .as_array()
                    .map(|keys| keys.iter().filter_map(Value::as_str).collect())
                    .unwrap_or_default();
                if self.is_part {
                    self.keys(items, path, &keys);
                }
                let what = keys.join(" and ");
                let key_of = |item: &Value| {
                    let values: Option<Vec<String>> = keys
                        .iter()
                        .map(|key| item.get(key).map(Value::to_string))
                        .collect();
                    values.map(|values| values.join(" "))
                };
                self.unique(items, path, key_of, &what);
            }
            Some(_) | None => {}
        }
    }

    /// Entries of lists that merge by key have their keys.
    fn keys(&mut self, items: &[Value], path: &FieldPath, keys: &[&str]) {
        for (index, item) in items
            .iter()
            .enumerate()
            .filter(|(_, item)| item.is_object())
        {
            for key in keys.iter().filter(|key| item.get(**key).is_none()) {
                self.missing(&path.index(index).field(key), key);
            }
        }
    }

    /// Lists that merge by key hold every key once.
    fn unique(
        &mut self,
        items: &[Value],
        path: &FieldPath,
        key_of: impl Fn(&Value) -> Option<String>,
        what: &str,
    ) {
        let mut seen = BTreeMap::new();
        for (index, item) in items.iter().enumerate() {
            let Some(key) = key_of(item) else { continue };
            if let Some(first) = seen.get(&key) {
                let message = format!("has the same {what} as {}", path.index(*first));
                self.findings.add_as(
                    Cause::Duplicate,
                    &path.index(index),
                    message,
                    "remove one of the two, or give it another",
                );
            } else {
                seen.insert(key, index);
            }
        }
    }

    fn text(&mut self, schema: &'a Value, text: &str, path: &FieldPath) {
        if let Some(allowed) = schema.get("enum").and_then(Value::as_array) {
            let names: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
            if !names.contains(&text) {
                let message = format!("`{}` is not one of the allowed values", cut(text));
                let mut help = format!("allowed: {}", names.join(", "));
                if let Some(near) = suggest::nearest(text, names.iter().copied()) {
                    help = format!("did you mean `{near}`? {help}");
                }
                self.findings
                    .add_as(Cause::NotSupported, path, message, help);
            }
        }
        if let Some(name) = schema.get("format").and_then(Value::as_str)
            && let Err(refusal) = format::text(name, text)
        {
            self.findings.check(path, Err(refusal));
        }
    }

    fn unknown(
        &mut self,
        path: &FieldPath,
        name: &str,
        owner: &str,
        properties: &Map<String, Value>,
    ) {
        let names: Vec<&str> = properties.keys().map(String::as_str).collect();
        let help = match (owner, name) {
            ("ObjectMeta", "namespace") => {
                "objects of Cellblock belong to the whole fleet: remove it".to_owned()
            }
            _ => suggest::help(name, &names, "the fields here are"),
        };
        self.findings.add_as(
            Cause::Unknown,
            path,
            format!("unknown field `{}`", cut(name)),
            help,
        );
    }

    fn missing(&mut self, path: &FieldPath, name: &str) {
        self.findings.add_as(
            Cause::Required,
            path,
            format!("the field `{name}` is required"),
            "add it",
        );
    }
}

/// Whether a value has a schema's type.
fn type_fits(wanted: &str, value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(_) => wanted == "boolean",
        Value::Number(number) => wanted == "integer" && !number.is_f64(),
        Value::String(_) => wanted == "string",
        Value::Array(_) => wanted == "array",
        Value::Object(_) => wanted == "object",
    }
}

/// A schema's type in words.
fn type_name(name: &str) -> &str {
    match name {
        "object" => "a set of fields",
        "array" => "a list",
        "string" => "text",
        "integer" => "a whole number",
        "boolean" => "true or false",
        other => other,
    }
}

/// What to do about a value of the wrong type, where experience with YAML knows.
fn type_help(wanted: &[&str], value: &Value) -> String {
    let text = |value: &Value| match value {
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    };
    if wanted.contains(&"string")
        && !(value.is_boolean() && wanted.len() > 1)
        && let Some(plain) = text(value)
    {
        return format!("{QUOTE_HELP}\"{plain}\"");
    }
    if let Value::String(word) = value {
        match word.to_lowercase().as_str() {
            "yes" | "on" | "y" if wanted.contains(&"boolean") => {
                return "YAML 1.2 reads it as text; write true".to_owned();
            }
            "no" | "off" | "n" if wanted.contains(&"boolean") => {
                return "YAML 1.2 reads it as text; write false".to_owned();
            }
            "true" | "false" if wanted.contains(&"boolean") => {
                return "write it without quotes".to_owned();
            }
            number if wanted.contains(&"integer") && number.parse::<i64>().is_ok() => {
                return "write it without quotes".to_owned();
            }
            _ => {}
        }
    }
    if value.is_null() {
        return "give it a value, or remove the line".to_owned();
    }
    if wanted.contains(&"array") && !value.is_object() && !value.is_array() {
        return format!(
            "write it as a list: [{}]",
            value.as_str().map_or_else(|| value.to_string(), cut)
        );
    }
    String::new()
}

/// A value as a message shows it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "empty".to_owned(),
        Value::Bool(flag) => format!("`{flag}`"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text `{}`", cut(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a set of fields".to_owned(),
    }
}

/// Text cut to what a message can hold, control characters made visible.
pub(crate) fn cut(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(SHOWN_CHARS_MAX)
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect()
            } else {
                vec![c]
            }
        })
        .collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}
