//! `jailctl delete`: what was asked to go, users before what they lean on, and by default until it is gone.

use anyhow::bail;
use cellblock_schemas::Kind;

use crate::args::Delete;
use crate::client::{Client, Refused, Removal};
use crate::input;
use crate::printer::Printer;
use crate::target::{Targets, Usage, label};
use crate::wait::{self, Goal};

/// Runs `delete`.
///
/// # Errors
/// An object that was named does not exist, is not gone in time, or the controller did not answer.
pub async fn run(client: &mut Client, arguments: &Delete, printer: &Printer) -> anyhow::Result<()> {
    let mut targets: Vec<(Kind, String)> = match arguments.words.as_slice() {
        [] => Vec::new(),
        words => match Targets::read(words)? {
            Targets::Objects(objects) => objects,
            Targets::Kinds(kinds) => {
                let kinds: Vec<&str> = kinds.iter().map(|kind| kind.plural()).collect();
                bail!(Usage(format!(
                    "which {}? give their names, or -f with manifests",
                    kinds.join(", ")
                )));
            }
        },
    };
    let from_files = !arguments.files.filenames.is_empty();
    if from_files {
        let documents = input::read(&arguments.files.filenames, printer)?;
        targets.extend(documents.iter().map(|document| {
            (
                document.object.kind(),
                document.object.metadata().name.clone(),
            )
        }));
    }
    targets.sort_by_key(|(kind, _)| std::cmp::Reverse(*kind));
    let mut going = Vec::new();
    let mut failed = 0;
    let all = targets.len();
    for (place, (kind, name)) in targets.into_iter().enumerate() {
        let label = label(kind, &name);
        let removal = Removal {
            cascade: arguments.cascade,
            dry_run: arguments.dry_run,
            ..Removal::of(kind, &name)
        };
        match client.delete(&removal).await {
            Ok(gone) => {
                let dry = if arguments.dry_run { " (dry run)" } else { "" };
                printer.note(&format!(
                    "{label} {}{dry}",
                    if gone { "deleted" } else { "is going" }
                ));
                if !gone && !arguments.dry_run {
                    going.push((kind, name));
                }
            }
            // What a manifest names and is not there needs no deleting.
            Err(refused) if refused.reason == "NotFound" && from_files => {
                printer.note(&format!("{label} is not there"))
            }
            // What the controller did not decide it will not decide for the next one either.
            Err(refused) if !refused.is_decided() => {
                bail!(broken_off(&refused, &label, all - place - 1));
            }
            Err(refused) => {
                printer.error(&format!("{label}: {refused}"));
                failed += 1;
            }
        }
    }
    if failed > 0 {
        bail!("{failed} could not be deleted");
    }
    if arguments.no_wait || going.is_empty() {
        return Ok(());
    }
    wait::wait(
        client,
        &going,
        &Goal::Delete,
        arguments.timeout,
        printer,
        |_| {},
    )
    .await?;
    for (kind, name) in going {
        printer.note(&format!("{} deleted", label(kind, &name)));
    }
    Ok(())
}

/// What to end with when the controller did not answer for `asked`, with so many left to ask for: what is not known, and the way on.
fn broken_off(refused: &Refused, asked: &str, rest: usize) -> String {
    let fate = match (refused.is_unsent(), rest) {
        (true, 0) => format!("deleting {asked} was not asked for"),
        (true, rest) => format!("deleting {asked} and {rest} more was not asked for"),
        (false, 0) => format!("whether {asked} is being deleted is not known"),
        (false, rest) => format!(
            "whether {asked} is being deleted is not known, and for {rest} more it was not asked"
        ),
    };
    format!("{refused}\n{fate}; delete again what is left")
}
