//! `jailctl apply`: manifests to the controller, one line per object, every refusal with its place in the file.

use anyhow::bail;
use cellblock_proto::v1 as wire;
use cellblock_proto::v1::apply_result::Outcome;
use cellblock_schemas::manifest::Document;
use cellblock_schemas::violation::{Cause, Violation};

use crate::applyset::{self, ApplySet};
use crate::args::{Apply, Terms};
use crate::client::{Client, Refused, Stored};
use crate::input;
use crate::output;
use crate::printer::Printer;
use crate::target;

#[cfg(test)]
mod tests;

/// How large objects may be that are tried together, in octets of JSON: what a controller takes in one message, less its envelope. Ten thousand jails have six million.
const TOGETHER_BYTES_MAX: usize = 15 << 20;

/// What became of the objects beside one that was refused in a trial.
const NOTHING: &str = "; nothing was applied";

/// Runs `apply`.
///
/// # Errors
/// A manifest has a mistake (then nothing was sent), the controller refused an object, or did not answer.
pub async fn run(client: &mut Client, arguments: &Apply, printer: &Printer) -> anyhow::Result<()> {
    let mut documents = input::read(&arguments.files.filenames, printer)?;
    let set = match &arguments.applyset {
        Some(parent) => Some(ApplySet::of(client, parent).await?),
        None => None,
    };
    if let Some(set) = &set {
        set.join(client, &mut documents).await?;
    }
    let members = documents.clone();
    if let Some(set) = set.as_ref().filter(|_| !arguments.dry_run) {
        documents.sort_by_key(|document| document.object.kind());
        attempt(client, &documents, &arguments.terms, NOTHING, printer).await?;
        let left = set.left_over(client, &members).await?;
        set.announce(client, &members, &left).await?;
    }
    let applied = apply(
        client,
        documents,
        &arguments.terms,
        arguments.dry_run,
        printer,
    )
    .await?;
    match &set {
        Some(set) if arguments.dry_run => {
            let left = set.left_over(client, &members).await?;
            for member in &left {
                let label = target::label(member.kind, &member.name);
                printer.note(&format!("{label} pruned (dry run)"));
            }
            applyset::warn_of_users(client, &left, &applied, printer).await?;
        }
        Some(set) => {
            let left = set.left_over(client, &members).await?;
            applyset::warn_of_users(client, &left, &applied, printer).await?;
            set.prune(client, &members, printer).await?;
        }
        None => {}
    }
    if let Some(format) = &arguments.output {
        output::show(&applied, format, applied.len() == 1, printer)?;
    }
    Ok(())
}

/// Applies documents in the order of their kinds: what others refer to comes first. Everything is tried before anything is written, so
/// that one object that is refused keeps all of them from being applied.
///
/// # Errors
/// The controller refused an object, or did not answer.
pub async fn apply(
    client: &mut Client,
    mut documents: Vec<Document>,
    terms: &Terms,
    dry_run: bool,
    printer: &Printer,
) -> anyhow::Result<Vec<Stored>> {
    documents.sort_by_key(|document| document.object.kind());
    let tried = attempt(client, &documents, terms, NOTHING, printer).await?;
    let mut applied = Vec::new();
    if dry_run {
        for (document, result) in documents.iter().zip(&tried) {
            applied.extend(told(client, document, result, " (dry run)", printer)?);
        }
        return Ok(applied);
    }
    let mut results = Vec::with_capacity(documents.len());
    // One by one, so that of each it is known what became of it when the controller dies in between.
    for document in &documents {
        let answer = match answered(client, vec![object(document)], terms, false).await? {
            Ok(mut answer) => answer.remove(0),
            Err(refused) => bail!(broken_off(&refused, &documents, &results)),
        };
        applied.extend(told(client, document, &answer, "", printer)?);
        results.push(answer);
    }
    // Only when somebody else wrote between the trial and the writing.
    verdict(&results, &format!("; {}", left_behind(&results)))?;
    Ok(applied)
}

/// Tells what became of a document; the object as it is now, if the controller has it.
fn told(
    client: &Client,
    document: &Document,
    result: &wire::ApplyResult,
    dry: &str,
    printer: &Printer,
) -> anyhow::Result<Option<Stored>> {
    for warning in &result.warnings {
        printer.warning(&format!("{}: {warning}", label(document)));
    }
    if result.outcome() == Outcome::Refused {
        refusal(document, result, printer);
        return Ok(None);
    }
    let word = word(result.outcome());
    printer.note(&format!("{} {word}{dry}", label(document)));
    let object = result.object.as_ref();
    Ok(object.map(|object| client.stored(object)).transpose()?)
}

/// What to end with when the controller did not answer while `documents` were being written: what is known, what is not, and the way on.
fn broken_off(refused: &Refused, documents: &[Document], results: &[wire::ApplyResult]) -> String {
    let Some(asked) = documents.get(results.len()) else {
        return refused.to_string();
    };
    let asked = label(asked);
    let (done, all) = (results.len(), documents.len());
    let rest = all - done - 1;
    let before = match done {
        0 => String::new(),
        done => format!("{done} of {all} objects were answered, each with its line above; "),
    };
    let own = if refused.is_unsent() {
        format!("{asked} was not sent")
    } else if refused.is_decided() {
        // As where the store has no room left.
        format!("{asked} was not written")
    } else {
        format!("whether {asked} was written is not known")
    };
    let others = match rest {
        0 => String::new(),
        rest => format!(", and {rest} more were not sent"),
    };
    let fate = format!("{own}{others}");
    format!(
        "{refused}\n{before}{fate}; apply the same manifests again: what is written already stays as it is"
    )
}

/// Tries documents, in the order in which they are given, and writes nothing. One request, because the controller judges each object as if those before it in the request
/// were written. `others`: what an error says beyond the refusal.
///
/// # Errors
/// The controller would refuse an object, or did not answer.
pub async fn attempt(
    client: &mut Client,
    documents: &[Document],
    terms: &Terms,
    others: &str,
    printer: &Printer,
) -> anyhow::Result<Vec<wire::ApplyResult>> {
    let objects: Vec<wire::Object> = documents.iter().map(object).collect();
    let bytes: usize = objects.iter().map(|object| object.json.len()).sum();
    if bytes > TOGETHER_BYTES_MAX {
        bail!(
            "the {} objects have {bytes} octets, and at most {TOGETHER_BYTES_MAX} can be applied together; apply them in several parts, networks and hosts first",
            objects.len()
        );
    }
    let tried = answered(client, objects, terms, true).await??;
    for (document, result) in documents.iter().zip(&tried) {
        refusal(document, result, printer);
    }
    verdict(&tried, others)?;
    Ok(tried)
}

/// Sends one request. The outer error is a broken answer, the inner one a refusal.
async fn answered(
    client: &mut Client,
    objects: Vec<wire::Object>,
    terms: &Terms,
    dry_run: bool,
) -> anyhow::Result<Result<Vec<wire::ApplyResult>, Refused>> {
    let sent = objects.len();
    let results = match client.apply(objects, terms, dry_run).await {
        Ok(results) => results,
        Err(refused) => return Ok(Err(refused)),
    };
    if results.len() != sent {
        bail!(
            "the controller answered {} of {sent} objects",
            results.len()
        );
    }
    Ok(Ok(results))
}

/// What became of the objects that were not refused, after a trial that refused none.
fn left_behind(results: &[wire::ApplyResult]) -> String {
    let count = |wanted: &[Outcome]| {
        let found = results
            .iter()
            .filter(|result| wanted.contains(&result.outcome()));
        found.count()
    };
    let written = count(&[Outcome::Created, Outcome::Configured]);
    let unchanged = count(&[Outcome::Unchanged]);
    let rest = match (written, unchanged) {
        (0, 0) => "nothing was applied".to_owned(),
        (0, _) => "nothing else was to be changed".to_owned(),
        (1, _) => "one other was applied".to_owned(),
        (written, _) => format!("{written} others were applied"),
    };
    format!("somebody else changed something meanwhile, and {rest}")
}

/// Prints why an object was refused, if it was, with the place in the manifest.
fn refusal(document: &Document, result: &wire::ApplyResult, printer: &Printer) {
    if result.outcome() != Outcome::Refused {
        return;
    }
    let violations = result.violations.iter().map(|violation| Violation {
        field: violation.field.clone(),
        message: violation.message.clone(),
        help: violation.help.clone(),
        cause: Cause::default(),
    });
    input::refusal(document, &violations.collect::<Vec<_>>(), printer);
}

/// `Err` if an object was refused, with what became of the others.
fn verdict(results: &[wire::ApplyResult], others: &str) -> anyhow::Result<()> {
    let refused = results
        .iter()
        .filter(|result| result.outcome() == Outcome::Refused)
        .count();
    match (refused, results.len()) {
        (0, _) => Ok(()),
        (1, 1) => bail!("the controller refused the object{others}"),
        (refused, all) => bail!("the controller refused {refused} of {all} objects{others}"),
    }
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
    target::label(document.object.kind(), &document.object.metadata().name)
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
