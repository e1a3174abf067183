//! `-o`: how objects are shown.

use std::str::FromStr;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::args::Encoding;
use crate::client::Stored;
use crate::printer::Printer;
use crate::table::{self, Room};
use crate::target::label;

/// How objects are shown.
#[derive(Clone, Debug)]
pub enum Format {
    /// A table that fits a terminal.
    Table,
    /// A table with more columns.
    Wide,
    /// YAML documents.
    Yaml,
    /// A JSON document.
    Json,
    /// kind/name
    Name,
    /// Values picked out of the JSON document.
    JsonPath(JsonPath),
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "table" => Ok(Self::Table),
            "wide" => Ok(Self::Wide),
            "yaml" => Ok(Self::Yaml),
            "json" => Ok(Self::Json),
            "name" => Ok(Self::Name),
            _ => match text.strip_prefix("jsonpath=") {
                Some(expression) => expression.parse().map(Self::JsonPath),
                None => Err(
                    "there are table, wide, yaml, json, name and jsonpath=EXPRESSION".to_owned(),
                ),
            },
        }
    }
}

/// kubectl's JSONPath template: text, and expressions in braces.
#[derive(Clone, Debug)]
pub struct JsonPath(Vec<Piece>);

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Path(serde_json_path::JsonPath),
}

impl FromStr for JsonPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        // kubectl takes a bare expression too.
        let braced = if text.contains('{') {
            text.to_owned()
        } else {
            format!("{{{text}}}")
        };
        let mut rest = braced.as_str();
        while let Some(open) = rest.find('{') {
            if open > 0 {
                pieces.push(Piece::Text(rest[..open].to_owned()));
            }
            let close = closing(&rest[open..])
                .ok_or_else(|| format!("`{text}`: a brace is not closed"))?
                + open;
            pieces.push(piece(rest[open + 1..close].trim())?);
            rest = &rest[close + 1..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }
}

/// Where the brace that opens `text` is closed, quoted text passed over.
#[must_use]
pub fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    for (index, character) in text.char_indices() {
        match (quote, character) {
            (None, '}') => return Some(index),
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            (None | Some(_), _) => {}
        }
    }
    None
}

fn piece(expression: &str) -> Result<Piece, String> {
    if let Some(text) = expression
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    {
        return Ok(Piece::Text(text.replace("\\n", "\n").replace("\\t", "\t")));
    }
    let rooted = match expression.strip_prefix('$') {
        Some(_) => expression.to_owned(),
        None if expression.starts_with('.') || expression.starts_with('[') => {
            format!("${expression}")
        }
        None => format!("$.{expression}"),
    };
    // RFC 9535 writes a filter without kubectl's parentheses as well as with them.
    serde_json_path::JsonPath::parse(&rooted)
        .map(Piece::Path)
        .map_err(|error| format!("`{expression}`: {error}"))
}

impl JsonPath {
    /// What the template makes of a document.
    #[must_use]
    pub fn render(&self, value: &Value) -> String {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Path(path) => path
                    .query(value)
                    .all()
                    .into_iter()
                    .map(bare)
                    .collect::<Vec<_>>()
                    .join(" "),
            })
            .collect()
    }
}

/// A string without quotes, anything else as JSON.
fn bare(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Shows objects. `single`: one was asked for by name, so JSON shows it alone and not in a list.
///
/// # Errors
/// An object has no YAML form, or the result could not be written.
pub fn show(
    objects: &[Stored],
    format: &Format,
    single: bool,
    printer: &Printer,
) -> anyhow::Result<()> {
    match format {
        Format::Table => printer.raw(&table::render(objects, printer.room(), true))?,
        Format::Wide => printer.raw(&table::render(objects, Room::Wide, true))?,
        Format::Yaml => {
            let documents: Vec<String> = objects
                .iter()
                .map(|object| yaml(&object.value))
                .collect::<Result<_, _>>()?;
            printer.raw(&documents.join("---\n"))?;
        }
        Format::Json => {
            let text =
                serde_json::to_string_pretty(&listed(objects, single)).context("no JSON form")?;
            printer.raw(&format!("{text}\n"))?;
        }
        Format::Name => {
            for object in objects {
                printer.line(&label(object.kind, &object.name))?;
            }
        }
        Format::JsonPath(path) => {
            printer.raw(&format!("{}\n", path.render(&listed(objects, single))))?
        }
    }
    Ok(())
}

/// Shows something that is no object.
///
/// # Errors
/// It has no YAML form, or could not be written.
pub fn document(value: &Value, encoding: Encoding, printer: &Printer) -> anyhow::Result<()> {
    match encoding {
        Encoding::Json => printer.raw(&format!("{value:#}\n"))?,
        Encoding::Yaml => printer.raw(&yaml(value)?)?,
    }
    Ok(())
}

fn listed(objects: &[Stored], single: bool) -> Value {
    match objects {
        [object] if single => object.value.clone(),
        _ => json!({
            "apiVersion": cellblock_schemas::API_VERSION,
            "kind": "List",
            "items": objects.iter().map(|object| object.value.clone()).collect::<Vec<_>>(),
        }),
    }
}

/// A YAML document.
///
/// # Errors
/// The value has no YAML form.
pub fn yaml(value: &Value) -> anyhow::Result<String> {
    serde_saphyr::to_string(value).context("an object has no YAML form")
}

#[cfg(test)]
mod tests;
