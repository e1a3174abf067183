//! `jailctl diff`: what applying manifests would change, as a unified diff, without changing anything.
//!
//! The controller says what it would write (a trial of the very apply), and how it stands; only the comparison is made here. What the
//! system keeps itself (status, revisions, managed fields) is left out on both sides.

use cellblock_proto::v1::apply_result::Outcome;
use cellblock_schemas::Kind;
use cellblock_schemas::manifest::Document;
use serde_json::Value;
use similar::TextDiff;

use crate::apply;
use crate::args::Diff;
use crate::client::{Client, Stored};
use crate::input;
use crate::output;
use crate::printer::Printer;
use crate::target::label;

#[cfg(test)]
mod tests;

/// Unchanged lines around a change.
const CONTEXT_LINES: usize = 3;

/// What the system keeps in `metadata`, and no manifest says.
const KEPT: [&str; 3] = ["resourceVersion", "generation", "creationTimestamp"];

/// Runs `diff`: whether anything would change.
///
/// # Errors
/// A manifest has a mistake, the controller would refuse an object, or did not answer.
pub async fn run(client: &mut Client, arguments: &Diff, printer: &Printer) -> anyhow::Result<bool> {
    let mut documents = input::read(&arguments.files.filenames, printer)?;
    documents.sort_by_key(|document| document.object.kind());
    let results = apply::attempt(client, &documents, &arguments.terms, "", printer).await?;
    let mut differs = false;
    for (document, result) in documents.iter().zip(&results) {
        if result.outcome() == Outcome::Unchanged {
            continue;
        }
        let (kind, name) = identity(document);
        let live = live(client, kind, &name).await?;
        let after = match &result.object {
            Some(object) => client.stored(object)?.value,
            None => continue,
        };
        let text = unified(live.as_ref().map(|live| &live.value), &after, kind, &name)?;
        if text.is_empty() {
            continue;
        }
        differs = true;
        for line in text.lines() {
            printer.line(&painted(line, printer))?;
        }
        for warning in &result.warnings {
            printer.warning(&format!("{}: {warning}", label(kind, &name)));
        }
    }
    Ok(differs)
}

fn identity(document: &Document) -> (Kind, String) {
    (
        document.object.kind(),
        document.object.metadata().name.clone(),
    )
}

/// The object as it stands; none if there is none.
async fn live(client: &mut Client, kind: Kind, name: &str) -> anyhow::Result<Option<Stored>> {
    match client.get(kind, name).await {
        Ok(stored) => Ok(Some(stored)),
        Err(refused) if refused.reason == "NotFound" => Ok(None),
        Err(refused) => Err(refused.into()),
    }
}

/// The unified diff of two documents as YAML; empty if nothing that a manifest can say differs.
fn unified(
    before: Option<&Value>,
    after: &Value,
    kind: Kind,
    name: &str,
) -> anyhow::Result<String> {
    let old = match before {
        Some(before) => output::yaml(&stated(before))?,
        None => String::new(),
    };
    let mut after = stated(after);
    if before.is_none() {
        // A trial makes up a uid that nothing will ever have.
        if let Some(metadata) = after.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("uid");
        }
    }
    let new = output::yaml(&after)?;
    if old == new {
        return Ok(String::new());
    }
    let label = label(kind, name);
    Ok(TextDiff::from_lines(&old, &new)
        .unified_diff()
        .context_radius(CONTEXT_LINES)
        .header(&format!("live/{label}"), &format!("applied/{label}"))
        .to_string())
}

/// The document without what the system keeps.
fn stated(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(map) = value.as_object_mut() {
        map.remove("status");
    }
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        for key in KEPT {
            metadata.remove(key);
        }
    }
    value
}

fn painted(line: &str, printer: &Printer) -> String {
    let code = match line.as_bytes() {
        [b'-', b'-', b'-', ..] | [b'+', b'+', b'+', ..] => "1",
        [b'-', ..] => "31",
        [b'+', ..] => "32",
        [b'@', ..] => "36",
        _ => return line.to_owned(),
    };
    printer.paint(code, line)
}
