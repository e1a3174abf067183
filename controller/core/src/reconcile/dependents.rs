//! Owner references: what belongs to an object goes when the object is gone (background), before it goes (foreground), or
//! stays without it (orphan), as in Kubernetes. For objects of any kind.

use std::sync::Arc;

use cellblock_schemas::{Kind, Uid};
use jiff::Timestamp;

use super::Item;
use crate::admit::draft::Draft;
use crate::index::{Entry, Index};
use crate::write::Write;

/// On an object that goes after what belongs to it, where `blockOwnerDeletion` says so.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";

/// On an object that leaves behind what belongs to it.
pub(crate) const ORPHAN: &str = "orphan";

/// What becomes of an object because of its owners.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It goes.
    Goes,
    /// It no longer names the owners that leave it behind.
    Stays,
}

/// Every object with something to do because of its owners.
pub(super) fn due(index: &Index) -> Vec<Item> {
    let mut found = std::collections::BTreeSet::new();
    let owners = index.owners().filter(|owner| {
        index
            .by_uid(owner)
            .is_none_or(|owner| owner.object.metadata().deletion_timestamp.is_some())
    });
    for owner in owners {
        for entry in index.dependents(owner) {
            if fate(index, entry).is_some() {
                found.insert((entry.object.kind(), entry.name().to_owned()));
            }
        }
    }
    let items = found.into_iter();
    items
        .map(|(kind, name)| Item::Dependent(kind, name))
        .collect()
}

/// Does it.
pub(super) fn step(index: &Index, kind: Kind, name: &str, now: Timestamp) -> Option<Write> {
    let entry = index.get(kind, name)?;
    match fate(index, entry)? {
        Fate::Goes => ask_to_go(index, entry, now),
        Fate::Stays => {
            let mut draft = Draft::of(index, entry);
            let metadata = draft.object.metadata_mut();
            let stays = |owner: &Uid| !is_leaving(index, owner, ORPHAN);
            metadata.owner_references.retain(|owner| stays(&owner.uid));
            draft.finish(Vec::new()).ok()?.write
        }
    }
}

/// The deletion of an object, as if somebody had asked for it.
pub(crate) fn ask_to_go(index: &Index, entry: &Arc<Entry>, now: Timestamp) -> Option<Write> {
    let now = crate::admit::Now {
        timestamp: now,
        new_uid: Uid::default(),
    };
    let request = crate::admit::Request::Delete {
        kind: entry.object.kind(),
        name: entry.name().to_owned(),
        uid: Some(entry.object.metadata().uid.clone()),
        revision: None,
    };
    crate::admit::admit(index, request, &now).ok()?.write
}

fn fate(index: &Index, entry: &Entry) -> Option<Fate> {
    let metadata = entry.object.metadata();
    let owners = &metadata.owner_references;
    let mut uids = owners.iter().map(|owner| &owner.uid);
    if uids.clone().any(|owner| is_leaving(index, owner, ORPHAN)) {
        return Some(Fate::Stays);
    }
    let goes = metadata.deletion_timestamp.is_none()
        && !owners.is_empty()
        && uids.all(|owner| index.by_uid(owner).is_none() || is_leaving(index, owner, FOREGROUND));
    goes.then_some(Fate::Goes)
}

fn is_leaving(index: &Index, owner: &Uid, how: &str) -> bool {
    let owner = index.by_uid(owner).map(|owner| owner.object.metadata());
    owner.is_some_and(|owner| {
        owner.deletion_timestamp.is_some() && owner.finalizers.iter().any(|one| one == how)
    })
}

/// Takes the finalizers of this module off an object whose deletion was asked for, once nothing of it is left to wait for.
pub(crate) fn let_go(index: &Index, draft: &mut Draft<'_>) {
    let metadata = draft.object.metadata_mut();
    let uid = metadata.uid.clone();
    let holds = |how: &str| {
        index.dependents(&uid).any(|entry| {
            let mut owners = entry.object.metadata().owner_references.iter();
            owners.any(|owner| owner.uid == uid && (how == ORPHAN || owner.block_owner_deletion))
        })
    };
    metadata
        .finalizers
        .retain(|one| ![FOREGROUND, ORPHAN].contains(&one.as_str()) || holds(one));
}

/// What is left to do for an object that nothing but this module holds.
pub(crate) fn finish(index: &Index, entry: &Arc<Entry>) -> Option<Write> {
    let mut draft = Draft::of(index, entry);
    let_go(index, &mut draft);
    draft.finish(Vec::new()).ok()?.write
}
