//! Manifests from files, directories and standard input.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use cellblock_schemas::Violation;
use cellblock_schemas::manifest::{self, Diagnostic, Document, File, MANIFEST_BYTES_MAX};

use crate::printer::Printer;

#[cfg(test)]
mod tests;

/// Reads manifests and prints everything that is wrong with them.
///
/// # Errors
/// A file cannot be read, or a manifest has a mistake; then nothing may be applied.
pub fn read(filenames: &[PathBuf], printer: &Printer) -> anyhow::Result<Vec<Document>> {
    read_for(filenames, "applied", printer)
}

/// [`read`] for something else than being applied, as a participle.
///
/// # Errors
/// As of [`read`].
pub fn read_for(
    filenames: &[PathBuf],
    what: &str,
    printer: &Printer,
) -> anyhow::Result<Vec<Document>> {
    if filenames.is_empty() {
        bail!("no manifest is named; give -f FILE, -f DIRECTORY, or -f - for standard input");
    }
    let mut contents: Vec<(String, Vec<u8>)> = Vec::new();
    let mut diagnostics = Vec::new();
    for filename in filenames {
        for path in expand(filename)? {
            let name = path.display().to_string();
            match load(&path)? {
                Ok(bytes) => contents.push((name, bytes)),
                Err(bytes) => diagnostics.push(manifest::too_large(&name, bytes)),
            }
        }
    }
    let files: Vec<File<'_>> = contents
        .iter()
        .map(|(name, bytes)| File { name, bytes })
        .collect();
    let (documents, found) = judge(&files);
    diagnostics.extend(found);
    if !diagnostics.is_empty() {
        bail!(failed(&diagnostics, what, printer));
    }
    if documents.is_empty() {
        bail!(
            "there is no object in {}{}",
            names(filenames),
            below(filenames)
        );
    }
    Ok(documents)
}

/// The documents that can be read, and everything that is wrong in any of them, in the order of the files and their lines.
fn judge(files: &[File<'_>]) -> (Vec<Document>, Vec<Diagnostic>) {
    let (documents, mut diagnostics) = manifest::read_files(files);
    diagnostics.extend(manifest::check(&documents));
    let place = |name: &str| files.iter().position(|file| file.name == name);
    diagnostics.sort_by_cached_key(|found| (place(&found.file), found.line, found.column));
    (documents, diagnostics)
}

/// Prints why an object was refused, each reason with its place in the manifest.
pub fn refusal(document: &Document, violations: &[Violation], printer: &Printer) {
    for violation in violations {
        let diagnostic = document.diagnostic(violation);
        printer.rendered(&diagnostic.render(printer.is_interactive()));
    }
}

/// Prints diagnostics; what to end with.
fn failed(diagnostics: &[Diagnostic], what: &str, printer: &Printer) -> String {
    for diagnostic in diagnostics {
        printer.rendered(&diagnostic.render(printer.is_interactive()));
    }
    let errors = if diagnostics.len() == 1 {
        "1 error".to_owned()
    } else {
        format!("{} errors", diagnostics.len())
    };
    format!("{errors} in the manifests; nothing was {what}")
}

fn names(filenames: &[PathBuf]) -> String {
    filenames
        .iter()
        .map(|name| {
            if name == Path::new("-") {
                "standard input".to_owned()
            } else if name.is_dir() {
                format!("{} (*.yaml, *.yml, *.json)", name.display())
            } else {
                name.display().to_string()
            }
        })
        .collect::<Vec<_>>()
        .join(", ")
}

/// That the folders in directories were passed over, where that may be why nothing was found.
fn below(filenames: &[PathBuf]) -> String {
    let mut folders: Vec<PathBuf> = filenames
        .iter()
        .filter_map(|name| std::fs::read_dir(name).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    match folders.first() {
        None => String::new(),
        Some(first) => format!(
            "; folders in a directory are not descended into, name each that is meant, such as {}",
            first.display()
        ),
    }
}

/// A directory's manifests in order of names, subdirectories left out; anything else is itself.
///
/// # Errors
/// The directory cannot be read.
pub fn expand(filename: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if filename == Path::new("-") || !filename.is_dir() {
        return Ok(vec![filename.to_path_buf()]);
    }
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(filename)
        .with_context(|| format!("{} could not be read", filename.display()))?
    {
        let path = entry
            .with_context(|| format!("{} could not be read", filename.display()))?
            .path();
        let extension = path
            .extension()
            .and_then(|extension| extension.to_str())
            .unwrap_or_default();
        if path.is_file() && matches!(extension, "yaml" | "yml" | "json") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// A file's content, or its size if it is too large to be a manifest.
fn load(path: &Path) -> anyhow::Result<Result<Vec<u8>, u64>> {
    let limit = MANIFEST_BYTES_MAX as u64;
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(limit + 1)
            .read_to_end(&mut bytes)
            .context("standard input could not be read")?;
    } else {
        let file = std::fs::File::open(path)
            .with_context(|| format!("{} could not be read", path.display()))?;
        let size = file
            .metadata()
            .with_context(|| format!("{} could not be read", path.display()))?
            .len();
        if size > limit {
            return Ok(Err(size));
        }
        file.take(limit + 1)
            .read_to_end(&mut bytes)
            .with_context(|| format!("{} could not be read", path.display()))?;
    }
    Ok(if bytes.len() as u64 > limit {
        Err(bytes.len() as u64)
    } else {
        Ok(bytes)
    })
}
