//! The committed JSON Schemas (`schemas/json`) against what the types say.
//!
//! The types are the source; the files are committed so that editors and other tools can use them without building
//! anything, and so that a change of the API is seen in review. The example `write_schemas` of `cellblock-schemas` makes
//! them; here they are only compared.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{printer, run};

#[cfg(test)]
mod tests;

/// A folder's files by name.
type Files = BTreeMap<OsString, Vec<u8>>;

/// Writes the schemas to `schemas/json`.
///
/// # Errors
///
/// When they cannot be made or written.
pub(crate) fn write() -> Result<()> {
    let folder = committed();
    // Made elsewhere first: a failing generator must not leave the committed folder half written.
    let fresh = read(&generate()?)?;
    let old = read(&folder)?;
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    for name in old.keys().filter(|name| !fresh.contains_key(*name)) {
        let file = folder.join(name);
        std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    for (name, text) in &fresh {
        let file = folder.join(name);
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    printer::result(&format!("{} schemas in {}", fresh.len(), folder.display()));
    Ok(())
}

/// Fails if the committed schemas are not what the types say.
///
/// # Errors
///
/// The names of the files that differ, and what to do.
pub(crate) fn check() -> Result<()> {
    let fresh = read(&generate()?)?;
    if fresh.is_empty() {
        bail!("the types gave no schema at all");
    }
    let differences = differences(&read(&committed())?, &fresh);
    if !differences.is_empty() {
        bail!(
            "schemas/json is not what the types say:\n  {}\nrun `cargo xtask schemas` and commit the result",
            differences.join("\n  ")
        );
    }
    printer::result(&format!("{} schemas are what the types say", fresh.len()));
    Ok(())
}

fn committed() -> PathBuf {
    run::root().join("schemas").join("json")
}

/// Lets the types write their schemas into a fresh folder below the target folder.
fn generate() -> Result<PathBuf> {
    let folder = run::target().join("xtask").join("schemas");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let example = [
        "run",
        "--quiet",
        "--package",
        "cellblock-schemas",
        "--example",
        "write_schemas",
        "--",
    ];
    run::run(run::cargo(example).arg(&folder))?;
    Ok(folder)
}

/// Reads a flat folder; one that is not there is empty.
fn read(folder: &Path) -> Result<Files> {
    let mut files = Files::new();
    if !folder.exists() {
        return Ok(files);
    }
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", folder.display()))?;
        let path = entry.path();
        if path.is_file() {
            let bytes =
                std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            files.insert(entry.file_name(), bytes);
        }
    }
    Ok(files)
}

/// One line per file that is missing, left over or different, in the order of their names.
fn differences(committed: &Files, fresh: &Files) -> Vec<String> {
    let names: std::collections::BTreeSet<&OsString> =
        committed.keys().chain(fresh.keys()).collect();
    names
        .into_iter()
        .filter_map(|name| {
            let shown = name.to_string_lossy();
            match (committed.get(name), fresh.get(name)) {
                (Some(old), Some(new)) if old == new => None,
                (Some(_), Some(_)) => Some(format!("{shown}: differs")),
                (Some(_), None) => Some(format!("{shown}: no type makes it any more")),
                (None, _) => Some(format!("{shown}: not committed")),
            }
        })
        .collect()
}
