//! Whether a controller would take the manifests: what it refuses of one is left out and told, so that what is written can be applied.

use cellblock_schemas::manifest;
use cellblock_schemas::violation::{Cause, Violation};
use serde_json::Value as Json;

use super::convert::{Document, Imported, Note, Verdict};
use crate::output;
use crate::render::offline;

/// Rounds: one for each mount of a jail that cannot be, and a few.
const ROUNDS_MAX: usize = 100;

/// Leaves out what would be refused.
///
/// # Errors
/// It comes to no end.
pub(super) fn judge(imported: &mut Imported) -> anyhow::Result<()> {
    let Imported { documents, notes } = imported;
    documents.retain_mut(|one| reads(one, notes));
    for _ in 0..ROUNDS_MAX {
        let mut text = String::new();
        for one in &*documents {
            text.push_str("---\n");
            text.push_str(&output::yaml(&one.value)?);
        }
        let (read, _) = manifest::read_files(&[manifest::File {
            name: "import",
            bytes: text.as_bytes(),
        }]);
        let refused = offline::admitted(&read)?.refused;
        if refused.is_empty() {
            return Ok(());
        }
        let mut gone = Vec::new();
        for (place, violations) in &refused {
            if let Some(one) = documents.get_mut(*place)
                && !mend(one, violations, notes)
            {
                gone.push(one.label.clone());
            }
        }
        documents.retain(|one| !gone.contains(&one.label));
    }
    anyhow::bail!(
        "what of the import a controller would take could not be found out in {ROUNDS_MAX} rounds"
    )
}

/// Whether a document has the form of a manifest, once what has not is left out.
fn reads(document: &mut Document, notes: &mut Vec<Note>) -> bool {
    for _ in 0..ROUNDS_MAX {
        let text = match output::yaml(&document.value) {
            Ok(text) => text,
            Err(_) => return false,
        };
        let found = match manifest::parse("import", &text) {
            Ok(documents) => manifest::check(&documents),
            Err(found) => found,
        };
        if found.is_empty() {
            return true;
        }
        let violations: Vec<Violation> = found
            .into_iter()
            .map(|one| Violation {
                field: one.field,
                message: one.message,
                help: one.help,
                cause: Cause::default(),
            })
            .collect();
        if !mend(document, &violations, notes) {
            return false;
        }
    }
    false
}

/// Takes out the fields that are refused; false where the object cannot be without one.
fn mend(document: &mut Document, violations: &[Violation], notes: &mut Vec<Note>) -> bool {
    let about = if document.origin.is_empty() {
        document.label.clone()
    } else {
        document.origin.clone()
    };
    let mut note = |verdict, violation: &Violation| {
        notes.push(Note {
            about: about.clone(),
            what: violation.field.clone(),
            place: String::new(),
            verdict,
            why: violation.message.clone(),
            help: violation.help.clone(),
        });
    };
    let spec = document.value.get_mut("spec");
    let Some(Json::Object(spec)) = spec else {
        return false;
    };
    let mut is_changed = false;
    let mut is_whole = true;
    for violation in violations {
        let field = violation.field.strip_prefix("spec.").unwrap_or_default();
        let entry = |list: &str| {
            let rest = field.strip_prefix(list)?.strip_prefix('[')?;
            rest.split_once(']').map(|(entry, _)| entry)
        };
        let is_gone = if let Some(name) = entry("parameters") {
            let parameters = spec.get_mut("parameters").and_then(Json::as_object_mut);
            let taken = parameters.and_then(|parameters| parameters.remove(name));
            // It may have been named by another violation already.
            Some(taken.is_some())
        } else if let Some(place) = entry("mounts") {
            // One in a round: places move.
            if is_changed {
                continue;
            }
            let mounts = spec.get_mut("mounts").and_then(Json::as_array_mut);
            let place = place.parse::<usize>().ok();
            mounts.zip(place).map(|(mounts, place)| {
                let is_there = place < mounts.len();
                if is_there {
                    mounts.remove(place);
                }
                is_there
            })
        } else if field == "mounts" || field == "dependsOn" || field.starts_with("dependsOn[") {
            let name = if field == "mounts" {
                "mounts"
            } else {
                "dependsOn"
            };
            Some(spec.remove(name).is_some())
        } else {
            None
        };
        match is_gone {
            Some(true) => {
                is_changed = true;
                note(Verdict::LeftOut, violation);
            }
            Some(false) if is_changed => {}
            Some(false) | None => {
                is_whole = false;
                note(Verdict::NoManifest, violation);
            }
        }
    }
    is_whole
}
