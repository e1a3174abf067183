//! `jailctl import`: manifests for jails that a host has by jail.conf(5), and what of them no manifest says.
//!
//! ```text
//! files ──► conf (read as jail(8) does) ──► convert (table of parameters, networks, mounts) ──► judge (admitted as a controller would) ──► YAML, notes
//! ```
//!
//! Nothing is asked of a controller and nothing changed on a host. What the manifests render back to is what stood in the file, but for what the notes say.

pub mod conf;
pub mod convert;
mod disk;
mod judge;
mod mounts;
mod network;

use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::args::{Encoding, Import};
use crate::output;
use crate::printer::{Printer, visible};
use conf::{Files as _, Missing};
use convert::{Document, Imported, Note, Options, Verdict};
use disk::Disk;

#[cfg(test)]
mod tests;

/// Octets of one file. A jail.conf(5) of a thousand jails has a few hundred thousand.
const FILE_BYTES_MAX: u64 = 10 * 1024 * 1024;

/// Reads files and prints manifests and notes; whether every jail has a manifest.
///
/// # Errors
/// A file cannot be read, has a mistake by which jail(8) would do nothing, or names no jail; or the manifests could not be written.
pub fn run(arguments: &Import, printer: &Printer) -> anyhow::Result<bool> {
    let disk = Disk::new(arguments.root.clone());
    let mut jails = Vec::new();
    let mut mistakes = Vec::new();
    let mut is_refused = false;
    for file in &arguments.files {
        let (name, bytes) = source(file, &disk)?;
        let read = conf::read(&name, bytes, &disk);
        is_refused |= read.is_refused;
        jails.extend(read.jails);
        mistakes.extend(read.mistakes);
    }
    for mistake in &mistakes {
        printer.rendered(&mistake.render(printer.is_interactive()));
    }
    if is_refused {
        bail!("jail(8) would read no jail of this; nothing was imported");
    }
    if jails.is_empty() && mistakes.is_empty() {
        bail!("no jail is defined there; wildcards and parameters alone make none");
    }
    let options = Options {
        host: arguments.host.clone(),
        interface: arguments.interface.clone(),
    };
    let mut imported = convert::convert(&jails, &disk, &options);
    judge::judge(&mut imported)?;
    match arguments.output {
        Some(Encoding::Json) => printer.raw(&format!("{:#}\n", document(&imported)))?,
        Some(Encoding::Yaml) | None => {
            for note in &imported.notes {
                printer.note(&sentence(note));
            }
            printer.raw(&yaml(&imported)?)?;
        }
    }
    let without = imported
        .notes
        .iter()
        .filter(|note| note.verdict == Verdict::NoManifest);
    Ok(mistakes.is_empty() && without.count() == 0)
}

/// A file's name and what it holds.
fn source(file: &Path, disk: &Disk) -> anyhow::Result<(String, Vec<u8>)> {
    if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        let mut stdin = std::io::Read::take(std::io::stdin(), FILE_BYTES_MAX + 1);
        std::io::Read::read_to_end(&mut stdin, &mut bytes).context("standard input")?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            bail!("standard input has more than {FILE_BYTES_MAX} octets");
        }
        return Ok(("-".to_owned(), bytes));
    }
    let name = file
        .to_str()
        .context("a name of a file that is not UTF-8")?;
    if file.is_dir() {
        bail!(
            "{name} is a directory: name its files, as in {name}/*.conf; each is read as jail -f FILE reads it"
        );
    }
    let bytes = disk.read(name);
    let bytes = bytes.map_err(|Missing(why)| anyhow::anyhow!("{name}: {why}"))?;
    Ok((name.to_owned(), bytes))
}

/// The manifests, each with its notes before it.
///
/// # Errors
/// An object has no YAML form.
pub fn yaml(imported: &Imported) -> anyhow::Result<String> {
    let mut text = String::new();
    for one in &imported.documents {
        text.push_str("---\n");
        for note in imported.notes.iter().filter(|note| is_about(note, one)) {
            let sentence = sentence(note);
            text.push_str(&format!("# {}\n", visible(&sentence)));
        }
        text.push_str(&output::yaml(&one.value)?);
    }
    let stray = imported
        .notes
        .iter()
        .filter(|note| !imported.documents.iter().any(|one| is_about(note, one)));
    for note in stray {
        text.push_str(&format!("# {}\n", visible(&sentence(note))));
    }
    Ok(text)
}

fn is_about(note: &Note, document: &Document) -> bool {
    note.about == document.label || !document.origin.is_empty() && note.about == document.origin
}

/// A note in one line.
fn sentence(note: &Note) -> String {
    let mut text = format!("{}: {}", note.about, note.verdict.words());
    if !note.what.is_empty() {
        text.push_str(&format!(": {}", note.what));
    }
    if !note.place.is_empty() {
        text.push_str(&format!(" ({})", note.place));
    }
    text.push_str(&format!(": {}", note.why));
    if !note.help.is_empty() {
        text.push_str(&format!(" ({})", note.help));
    }
    text
}

/// Everything as one document.
fn document(imported: &Imported) -> Value {
    let manifests = imported.documents.iter().map(|one| one.value.clone());
    let notes = imported.notes.iter().map(|note| {
        json!({
            "about": note.about,
            "what": note.what,
            "place": note.place,
            "verdict": note.verdict.words(),
            "why": note.why,
            "help": note.help,
        })
    });
    json!({
        "manifests": manifests.collect::<Vec<_>>(),
        "notes": notes.collect::<Vec<_>>(),
    })
}
