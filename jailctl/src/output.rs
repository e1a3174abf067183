//! `-o`: how objects are shown.

use std::str::FromStr;

use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};

use crate::args::Encoding;
use crate::client::Stored;
use crate::jsonpath::Template;
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
    JsonPath(Template),
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
        Format::JsonPath(path) => picked(path, &listed(objects, single), printer)?,
    }
    Ok(())
}

/// Shows what a template makes of a document. A last line that the template does not end is ended, which kubectl does not do; where it makes
/// nothing, nothing is printed, so that a loop over the lines has none.
///
/// # Errors
/// The template asks for what the document cannot have, or the result could not be written.
pub fn picked(path: &Template, document: &Value, printer: &Printer) -> anyhow::Result<()> {
    let mut text = path.render(document).map_err(|error| anyhow!(error))?;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(printer.raw(&text)?)
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
