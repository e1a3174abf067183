//! libxo(3)'s JSON, as the base tools print it.
//!
//! libxo escapes quotes, backslashes, line feeds and carriage returns, and nothing else (`xo_escape_json`, contrib/libxo/libxo/libxo.c): any other control character that a jail's root
//! put into its host name stands raw in a string, which JSON forbids. Such characters become blanks before the text is parsed, so that nobody can blind the agent.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::Failure;

/// Parses what `program` printed.
pub(crate) fn parse(program: &'static str, text: &str) -> Result<Value, Failure> {
    read(program, text)
}

/// Parses what `program` printed into a type that takes what it knows and passes over the rest.
pub(crate) fn read<T: DeserializeOwned>(program: &'static str, text: &str) -> Result<T, Failure> {
    // A line feed between two fields is JSON; libxo escapes those inside strings. Only other control characters need a cleaned copy.
    let read = if text.contains(|c: char| c.is_control() && c != '\n') {
        let clean: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        serde_json::from_str(&clean)
    } else {
        serde_json::from_str(text)
    };
    read.map_err(|error| Failure::Unreadable {
        program,
        what: error.to_string(),
    })
}

/// A scalar as text: libxo prints numbers with and without quotes, depending on the field.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Null => String::new(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Array(values) => values.iter().map(self::text).collect::<Vec<_>>().join(","),
        Value::Object(_) => value.to_string(),
    }
}

/// The field `key` of an object as text; empty if it is not there.
pub(crate) fn field(value: &Value, key: &str) -> String {
    value.get(key).map(text).unwrap_or_default()
}
