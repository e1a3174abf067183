//! Revisions of a set's template: their names, and which are kept.

use std::collections::BTreeSet;

use cellblock_schemas::jail_set::{JailTemplate, REVISION_CHARS, Revision};
use cellblock_schemas::{JailSet, JailSetStatus};
use data_encoding::BASE32_NOPAD;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// How many bytes all templates of a history have together: with the set's own they stay well below what one document may have.
const HISTORY_BYTES_MAX: usize = 512 * 1024;

/// The name of the set's template: the one that it was recorded by, which another release may have made of other words, or
/// else a new one.
pub(super) fn of(set: &JailSet) -> String {
    let history = set
        .status
        .as_ref()
        .map_or(&[][..], |status| &status.history);
    let mut newest_first = history.iter().rev();
    newest_first
        .find(|revision| revision.template == set.spec.template)
        .map_or_else(|| name(&set.spec.template), |found| found.name.clone())
}

/// The name of a template, by what it says.
pub(super) fn name(template: &JailTemplate) -> String {
    let text = serde_json::to_vec(template).expect("a template has string keys only");
    let digest = BASE32_NOPAD.encode(&Sha256::digest(text)).to_lowercase();
    digest[..REVISION_CHARS].to_owned()
}

/// The template of that revision, as long as it is kept.
pub(super) fn template<'a>(set: &'a JailSet, name: &str) -> Option<&'a JailTemplate> {
    let history = set.status.as_ref().map(|status| &status.history)?;
    let found = history.iter().find(|revision| revision.name == name)?;
    Some(&found.template)
}

/// Puts the set's template at the end of the history, and takes out what is too old: never what a jail has, nor what an
/// update could be undone to.
pub(super) fn record(
    status: &mut JailSetStatus,
    set: &JailSet,
    used: &BTreeSet<&str>,
    now: Timestamp,
) {
    let update = of(set);
    if status.history.last().is_none_or(|last| last.name != update) {
        let newest = status.history.iter().map(|revision| revision.number).max();
        status.history.retain(|revision| revision.name != update);
        status.history.push(Revision {
            name: update.clone(),
            number: newest.unwrap_or(0) + 1,
            since: Some(now),
            template: set.spec.template.clone(),
        });
    }
    let current = status.current_revision.clone();
    let is_kept = |revision: &Revision| {
        let name = revision.name.as_str();
        name == update || name == current || used.contains(name)
    };
    let spare = status.history.iter().filter(|one| !is_kept(one)).count();
    let mut surplus = spare.saturating_sub(set.spec.history());
    status.history.retain(|revision| {
        let goes = surplus > 0 && !is_kept(revision);
        surplus -= usize::from(goes);
        !goes
    });
    let is_needed = |revision: &Revision| [&update, &current].contains(&&revision.name);
    shrink(&mut status.history, &is_kept);
    shrink(&mut status.history, &is_needed);
}

/// Takes out the oldest revisions that need not be kept until the rest is not too large.
fn shrink(history: &mut Vec<Revision>, is_kept: &dyn Fn(&Revision) -> bool) {
    let bytes = |revision: &Revision| {
        serde_json::to_vec(&revision.template).map_or(0, |template| template.len())
    };
    let mut all: usize = history.iter().map(bytes).sum();
    history.retain(|revision| {
        let goes = all > HISTORY_BYTES_MAX && !is_kept(revision);
        all -= if goes { bytes(revision) } else { 0 };
        !goes
    });
}
