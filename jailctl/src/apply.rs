//! `jailctl apply`: manifests to the controller, one line per object, every refusal with its place in the file.

use anyhow::bail;
use cellblock_proto::v1 as wire;
use cellblock_proto::v1::apply_result::Outcome;
use cellblock_schemas::manifest::Document;
use cellblock_schemas::violation::Violation;

use crate::args::Apply;
use crate::client::{Client, Stored};
use crate::input;
use crate::output;
use crate::printer::Printer;

/// Objects per request: what one message holds easily.
const BATCH: usize = 100;

/// Runs `apply`.
///
/// # Errors
/// A manifest has a mistake (then nothing was sent), the controller refused an object, or did not answer.
pub async fn run(client: &mut Client, arguments: &Apply, printer: &Printer) -> anyhow::Result<()> {
    let documents = input::read(&arguments.files.filenames, printer)?;
    let applied = apply(
        client,
        documents,
        &arguments.field_manager,
        arguments.dry_run,
        printer,
    )
    .await?;
    if let Some(format) = &arguments.output {
        output::show(&applied, format, applied.len() == 1, printer)?;
    }
    Ok(())
}

/// Applies documents in the order of their kinds: what others refer to comes first.
///
/// # Errors
/// The controller refused an object, or did not answer.
pub async fn apply(
    client: &mut Client,
    mut documents: Vec<Document>,
    field_manager: &str,
    dry_run: bool,
    printer: &Printer,
) -> anyhow::Result<Vec<Stored>> {
    documents.sort_by_key(|document| document.object.kind());
    let mut applied = Vec::new();
    let mut diagnostics = Vec::new();
    for batch in documents.chunks(BATCH) {
        let objects = batch.iter().map(object).collect();
        let results = client.apply(objects, field_manager, dry_run).await?;
        for (document, result) in batch.iter().zip(results) {
            for warning in &result.warnings {
                printer.warning(&format!("{}: {warning}", label(document)));
            }
            if result.outcome() == Outcome::Refused {
                diagnostics.extend(result.violations.iter().map(|violation| {
                    document.diagnostic(&Violation {
                        field: violation.field.clone(),
                        message: violation.message.clone(),
                        help: violation.help.clone(),
                    })
                }));
                continue;
            }
            let dry = if dry_run { " (dry run)" } else { "" };
            printer.note(&format!(
                "{} {}{dry}",
                label(document),
                word(result.outcome())
            ));
            if let Some(object) = &result.object {
                applied.push(client.stored(object)?);
            }
        }
    }
    if diagnostics.is_empty() {
        return Ok(applied);
    }
    for diagnostic in &diagnostics {
        printer.rendered(&diagnostic.render(printer.is_interactive()));
    }
    bail!(
        "the controller refused {} of {} objects; the others were applied",
        documents.len() - applied.len(),
        documents.len()
    )
}

fn object(document: &Document) -> wire::Object {
    wire::Object {
        kind: document.object.kind().to_string(),
        name: document.object.metadata().name.clone(),
        revision: 0,
        json: document.value.to_string().into_bytes().into(),
    }
}

fn label(document: &Document) -> String {
    let kind = document.object.kind().as_str().to_ascii_lowercase();
    format!("{kind}/{}", document.object.metadata().name)
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Created => "created",
        Outcome::Configured => "configured",
        Outcome::Unchanged => "unchanged",
        Outcome::Refused => "refused",
        Outcome::Unspecified => "answered",
    }
}
