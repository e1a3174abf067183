//! Owner references: what belongs to an object goes when the object is gone (background), before it goes (foreground), or
//! stays without it (orphan), as in Kubernetes. For objects of any kind.

use std::sync::Arc;

use cellblock_schemas::meta::{ObjectMeta, OwnerReference};
use cellblock_schemas::{Jail, Kind, Uid};
use jiff::Timestamp;

use super::Item;
use crate::admit::Propagation;
use crate::admit::draft::Draft;
use crate::index::{Entry, Index};
use crate::write::Write;

pub(crate) use cellblock_schemas::meta::{FOREGROUND, ORPHAN};

/// What becomes of an object because of its owners.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It goes.
    Goes,
    /// It no longer names the owners that are gone or leave without it.
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
            metadata
                .owner_references
                .retain(|owner| Hold::of(index, owner) == Hold::Keeps);
            draft.finish(Vec::new()).ok()?.write
        }
    }
}

/// Writes into the finalizers what becomes of what belongs to an object whose deletion is asked for. As in kube-apiserver
/// (`pkg/registry/generic/registry/store.go`, `deletionFinalizersForGarbageCollection`) the request counts before the finalizers
/// that the object has, these before what is usual for its kind, and whoever asks again may say otherwise.
pub(crate) fn propagate(
    kind: Kind,
    metadata: &mut ObjectMeta,
    asked: Option<Propagation>,
    is_new: bool,
) {
    let has = |wanted: &str| metadata.finalizers.iter().any(|one| one == wanted);
    let policy = match asked {
        Some(policy) => policy,
        None if has(ORPHAN) => Propagation::Orphan,
        None if has(FOREGROUND) => Propagation::Foreground,
        None if is_new && kind == Kind::JailSet => Propagation::Foreground,
        None => Propagation::Background,
    };
    let of_ours = |one: &String| [FOREGROUND, ORPHAN].contains(&one.as_str());
    let wanted = match policy {
        Propagation::Background => None,
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Orphan => Some(ORPHAN),
    };
    metadata
        .finalizers
        .retain(|one| !of_ours(one) || wanted == Some(one.as_str()));
    if let Some(wanted) = wanted
        && !metadata.finalizers.iter().any(|one| one == wanted)
    {
        metadata.finalizers.push(wanted.to_owned());
    }
}

/// How many of the jails that use an object belong to it and are not asked to go before it is gone.
pub(crate) fn awaiting(metadata: &ObjectMeta, users: &[&Jail]) -> usize {
    let is_first = metadata.finalizers.iter().any(|one| one == FOREGROUND);
    let waits = users.iter().filter(|jail| {
        let mut owners = jail.metadata.owner_references.iter();
        !is_first
            && jail.metadata.deletion_timestamp.is_none()
            && owners.any(|owner| owner.uid == metadata.uid)
    });
    waits.count()
}

/// The deletion of an object, as if somebody had asked for it. What goes before its owner goes after its own, as in Kubernetes
/// (`pkg/controller/garbagecollector/garbagecollector.go`, `attemptToDeleteItem`).
pub(crate) fn ask_to_go(index: &Index, entry: &Arc<Entry>, now: Timestamp) -> Option<Write> {
    let now = crate::admit::Now {
        timestamp: now,
        new_uid: Uid::default(),
    };
    let metadata = entry.object.metadata();
    let mut owners = metadata.owner_references.iter();
    let is_awaited = owners.any(|owner| is_leaving(index, &owner.uid, FOREGROUND))
        && index.dependents(&metadata.uid).next().is_some();
    let request = crate::admit::Request::Delete {
        kind: entry.object.kind(),
        name: entry.name().to_owned(),
        uid: Some(entry.object.metadata().uid.clone()),
        revision: None,
        propagation: is_awaited.then_some(Propagation::Foreground),
    };
    crate::admit::admit(index, request, &now).ok()?.write
}

/// What one owner means for an object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// It is there, or nobody can tell whether it is.
    Keeps,
    /// It leaves, and leaves the object behind.
    Orphans,
    /// It is gone, or leaves after the object.
    Lost,
}

impl Hold {
    fn of(index: &Index, owner: &OwnerReference) -> Self {
        if is_leaving(index, &owner.uid, ORPHAN) {
            Self::Orphans
        } else if index.is_gone(owner) || is_leaving(index, &owner.uid, FOREGROUND) {
            Self::Lost
        } else {
            Self::Keeps
        }
    }
}

fn fate(index: &Index, entry: &Entry) -> Option<Fate> {
    let metadata = entry.object.metadata();
    let owners = metadata.owner_references.iter();
    let holds: Vec<Hold> = owners.map(|owner| Hold::of(index, owner)).collect();
    let is_lost = holds.contains(&Hold::Lost);
    if holds.contains(&Hold::Orphans) || (is_lost && holds.contains(&Hold::Keeps)) {
        return Some(Fate::Stays);
    }
    (is_lost && metadata.deletion_timestamp.is_none()).then_some(Fate::Goes)
}

fn is_leaving(index: &Index, owner: &Uid, how: &str) -> bool {
    let owner = index.by_uid(owner).map(|owner| owner.object.metadata());
    owner.is_some_and(|owner| {
        owner.deletion_timestamp.is_some() && owner.finalizers.iter().any(|one| one == how)
    })
}

/// Whether what leaves waits, itself or by way of others, for the object of that uid: in a circle nobody would ever go.
fn waits_for(index: &Index, entry: &Entry, uid: &Uid) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    let mut next = vec![entry.object.metadata().uid.clone()];
    while let Some(one) = next.pop() {
        if one == *uid {
            return true;
        }
        if is_leaving(index, &one, FOREGROUND) && seen.insert(one.clone()) {
            let dependents = index.dependents(&one);
            next.extend(dependents.map(|entry| entry.object.metadata().uid.clone()));
        }
    }
    false
}

/// Takes the finalizers of this module off an object whose deletion was asked for, once nothing of it is left to wait for.
pub(crate) fn let_go(index: &Index, draft: &mut Draft<'_>) {
    let metadata = draft.object.metadata_mut();
    let uid = metadata.uid.clone();
    let holds = |how: &str| {
        index.dependents(&uid).any(|entry| {
            let mut owners = entry.object.metadata().owner_references.iter();
            let is_held = |owner: &OwnerReference| how == ORPHAN || owner.block_owner_deletion;
            owners.any(|owner| owner.uid == uid && is_held(owner))
                && (how == ORPHAN || !waits_for(index, entry, &uid))
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

#[cfg(test)]
mod tests;
