//! `jailctl explain`: a kind or a field in words, out of the schema that manifests are checked against.
//!
//! Needs no controller: it speaks of the manifests that this `jailctl` reads.

use anyhow::bail;
use cellblock_schemas::{API_VERSION, Kind, json_schema, suggest};
use serde_json::{Map, Value};

use crate::args::Explain;
use crate::printer::Printer;
use crate::target::{self, Usage};

#[cfg(test)]
mod tests;

/// How deep `--recursive` goes: no schema of ours is deeper.
const DEPTH_MAX: usize = 12;

/// Runs `explain`.
///
/// # Errors
/// There is no such kind or field, or the result could not be written.
pub fn run(arguments: &Explain, printer: &Printer) -> anyhow::Result<()> {
    for line in explain(&arguments.path, arguments.recursive)? {
        printer.line(&line)?;
    }
    Ok(())
}

fn explain(path: &str, recursive: bool) -> anyhow::Result<Vec<String>> {
    let mut words = path.split('.').filter(|word| !word.is_empty());
    let kind = target::kind(words.next().unwrap_or_default())?;
    let schema = json_schema(kind);
    let walk = Walk { root: schema };
    let mut at = schema;
    let mut passed = kind.as_str().to_owned();
    let mut rest: Vec<&str> = words.collect();
    rest.reverse();
    while let Some(word) = rest.pop() {
        // `networks[0]`, `networks[]`: the entry of a list is explained by its list.
        let name = word.split('[').next().unwrap_or(word);
        match walk.field(at, name) {
            Some(field) => at = field,
            None => {
                let entry = walk.map_value(at);
                let fields = entry.map(|entry| walk.names(entry)).unwrap_or_default();
                if let Some(entry) = entry {
                    if fields.is_empty() {
                        // A parameter's name has dots of its own: what is left is one key of a map.
                        at = entry;
                        rest.clear();
                        continue;
                    }
                    // `uplinks.scrub`, `uplinks.external.scrub`: with or without the name of an entry.
                    if let Some(field) = walk.field(entry, name) {
                        at = field;
                        passed = format!("{passed}.{name}");
                        continue;
                    }
                    if suggest::nearest(name, fields.iter().copied()).is_none() {
                        at = entry;
                        passed = format!("{passed}.{name}");
                        continue;
                    }
                }
                let names = walk.names(at);
                let help = suggest::help(name, &names, "it has");
                let help = if help.is_empty() {
                    "it has no fields".to_owned()
                } else {
                    help
                };
                bail!(Usage(format!("{passed} has no field `{name}`; {help}")));
            }
        }
        passed = format!("{passed}.{name}");
    }
    Ok(page(&walk, at, kind, path, recursive))
}

fn page(walk: &Walk<'_>, at: &Value, kind: Kind, path: &str, recursive: bool) -> Vec<String> {
    let mut lines = vec![format!("KIND:     {kind} ({API_VERSION})")];
    if path.contains('.') {
        let (_, path) = path.split_once('.').unwrap_or_default();
        lines.push(format!("FIELD:    {path} <{}>", walk.type_of(at)));
    }
    lines.push(String::new());
    lines.extend(description(walk, at).iter().cloned());
    let facts = walk.facts(at);
    if !facts.is_empty() {
        lines.push(String::new());
        lines.extend(facts);
    }
    if let Some(fields) = walk.fields(at) {
        lines.push(String::new());
        lines.push("FIELDS:".to_owned());
        walk.list(fields, walk.required(at), recursive, 1, &mut lines);
    }
    lines
}

/// What a field is for, and where that says more, what its type is.
fn description(walk: &Walk<'_>, at: &Value) -> Vec<String> {
    let own = at.get("description").and_then(Value::as_str);
    let of_type = walk
        .resolve(at)
        .get("description")
        .and_then(Value::as_str)
        .filter(|text| Some(*text) != own);
    [own, of_type]
        .into_iter()
        .flatten()
        .flat_map(str::lines)
        .map(str::to_owned)
        .collect()
}

/// A schema, to be walked.
struct Walk<'a> {
    root: &'a Value,
}

impl<'a> Walk<'a> {
    /// What a reference refers to.
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let Some(name) = schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|reference| reference.strip_prefix("#/$defs/"))
        else {
            return schema;
        };
        self.root
            .get("$defs")
            .and_then(|defs| defs.get(name))
            .unwrap_or(schema)
    }

    /// The object's schema that a field's fields stand in: its own, its list's entries' or its map's values'.
    fn object(&self, schema: &'a Value) -> &'a Value {
        let resolved = self.resolve(schema);
        match resolved.get("items") {
            Some(items) => self.object(items),
            None => resolved,
        }
    }

    fn fields(&self, schema: &'a Value) -> Option<&'a Map<String, Value>> {
        let object = self.object(schema);
        if let Some(properties) = object.get("properties") {
            return properties.as_object().filter(|map| !map.is_empty());
        }
        // A map of objects: what an entry of it has.
        let value = object.get("additionalProperties")?;
        value.is_object().then(|| self.fields(value)).flatten()
    }

    fn field(&self, schema: &'a Value, name: &str) -> Option<&'a Value> {
        let object = self.object(schema);
        object.get("properties")?.get(name)
    }

    fn map_value(&self, schema: &'a Value) -> Option<&'a Value> {
        let value = self.object(schema).get("additionalProperties")?;
        value.is_object().then_some(value)
    }

    fn names(&self, schema: &'a Value) -> Vec<&'a str> {
        let fields = self.fields(schema);
        fields
            .into_iter()
            .flat_map(Map::keys)
            .map(String::as_str)
            .collect()
    }

    fn required(&self, schema: &'a Value) -> Vec<&'a str> {
        let required = self
            .object(schema)
            .get("required")
            .and_then(Value::as_array);
        required
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    }

    /// `string`, `list of object`, `map of string`, `boolean or integer` …
    fn type_of(&self, schema: &'a Value) -> String {
        let resolved = self.resolve(schema);
        if let Some(items) = resolved.get("items") {
            return format!("list of {}", self.type_of(items));
        }
        let value = resolved.get("additionalProperties");
        if let Some(value) = value.filter(|value| value.is_object()) {
            return format!("map of {}", self.type_of(value));
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(choices) = resolved.get(key).and_then(Value::as_array) {
                let mut types: Vec<String> =
                    choices.iter().map(|choice| self.type_of(choice)).collect();
                types.dedup();
                return types.join(" or ");
            }
        }
        match resolved.get("type") {
            Some(Value::String(name)) => name.clone(),
            _ => "value".to_owned(),
        }
    }

    /// The values that may stand there, and what stands there unless said.
    fn facts(&self, schema: &'a Value) -> Vec<String> {
        let resolved = self.resolve(schema);
        let mut lines = Vec::new();
        if let Some(values) = resolved.get("enum").and_then(Value::as_array) {
            let values: Vec<String> = values.iter().map(plain).collect();
            lines.push(format!("ONE OF:   {}", values.join(", ")));
        }
        if let Some(default) = schema.get("default").or_else(|| resolved.get("default")) {
            lines.push(format!("DEFAULT:  {}", plain(default)));
        }
        if let Some(pattern) = resolved.get("pattern").and_then(Value::as_str) {
            lines.push(format!("PATTERN:  {pattern}"));
        }
        lines
    }

    fn list(
        &self,
        fields: &'a Map<String, Value>,
        required: Vec<&str>,
        recursive: bool,
        depth: usize,
        lines: &mut Vec<String>,
    ) {
        let indent = "  ".repeat(depth);
        for (name, field) in fields {
            let required = if required.contains(&name.as_str()) {
                " -required-"
            } else {
                ""
            };
            lines.push(format!(
                "{indent}{name} <{}>{required}",
                self.type_of(field)
            ));
            if recursive {
                if let Some(inner) = self.fields(field).filter(|_| depth < DEPTH_MAX) {
                    self.list(inner, self.required(field), true, depth + 1, lines);
                }
                continue;
            }
            let text = description(self, field);
            let first = text.first().map(String::as_str).unwrap_or_default();
            if !first.is_empty() {
                lines.push(format!("{indent}    {first}"));
            }
        }
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
