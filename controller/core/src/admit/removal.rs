//! Deletion: asked for at once, done when nothing holds the object any more.
//!
//! A jail that is bound is held by its host ([`crate::bind::FINALIZER`]) until the agent reports that nothing is left of it.
//! A network, image or host is always marked first and removed in a second step: whoever comes to depend on it compares it (a network
//! by its guard, which the mark writes), so everybody who still does is known once the mark is in the index.

use std::collections::BTreeMap;

use cellblock_schemas::{
    ConditionStatus, HostStatus, ImageStatus, Jail, Kind, NetworkStatus, Object, Uid, Warning,
};
use jiff::Timestamp;

use super::draft::Draft;
use super::{Admitted, IN_USE_FINALIZER, Now, Outcome, Propagation, Reason, Rejection, spec};
use crate::claim::Owner;
use crate::index::Index;
use crate::reconcile::dependents;
use crate::write::{Guard, Write};
use crate::{bind, conditions, kept, rules, sets};

/// The object that is meant, where its name alone does not say.
pub(super) struct Only<'a> {
    /// This incarnation.
    pub(super) uid: Option<&'a Uid>,
    /// This revision.
    pub(super) revision: Option<u64>,
}

pub(super) fn delete(
    index: &Index,
    kind: Kind,
    name: &str,
    only: &Only<'_>,
    propagation: Option<Propagation>,
    now: &Now,
) -> Result<Admitted, Rejection> {
    let before = index
        .get(kind, name)
        .ok_or_else(|| Rejection::not_found(kind, name))?;
    let conflict = |field: &str, message: String| {
        Err(Rejection::new(
            Reason::Conflict,
            kind,
            name,
            field,
            message,
            "look at it again, then repeat",
        ))
    };
    let was = before.object.metadata();
    if let Some(uid) = only.uid
        && *uid != was.uid
    {
        return conflict(
            "metadata.uid",
            format!(
                "the {kind} of that name is another one now, with uid {}",
                was.uid
            ),
        );
    }
    if let Some(revision) = only.revision
        && revision != before.revision
    {
        return conflict(
            "metadata.resourceVersion",
            format!(
                "the {kind} was changed meanwhile: it is at {}, not at {revision}",
                before.revision
            ),
        );
    }
    let mut draft = Draft::of(index, before);
    let metadata = draft.object.metadata_mut();
    let is_new = metadata.deletion_timestamp.is_none();
    dependents::propagate(kind, metadata, propagation, is_new);
    if is_new {
        metadata.deletion_timestamp = Some(now.timestamp);
        if matches!(kind, Kind::Host | Kind::Network | Kind::Image) {
            metadata.finalizers.push(IN_USE_FINALIZER.to_owned());
        }
        draft.count_generation();
        if kind == Kind::Network {
            // Jails that come to it compare its guard instead of it.
            let guard = Guard::Addresses(name.to_owned());
            let uid = was.uid.clone();
            draft.index.expect_guard(&mut draft.write, &guard, &uid);
        }
    }
    let dependents = (kind == Kind::Jail).then(|| spec::dependents(index, name));
    let warning = dependents.flatten().map(|dependents| Warning {
        field: String::new(),
        message: format!(
            "{dependents} on it: they run on, and are not started again before there is a jail of that name"
        ),
    });
    let mut admitted = draft.finish(warning.into_iter().collect())?;
    if admitted.outcome == Outcome::Unchanged {
        admitted.outcome = Outcome::Deleting;
    }
    Ok(admitted)
}

/// The deletion of a jail that its set makes again. Like an eviction of Kubernetes (`pkg/registry/core/pod/storage/eviction.go`)
/// it is put off while as many jails of the set are down as may be.
pub(super) fn evict(
    index: &Index,
    name: &str,
    uid: Option<&Uid>,
    now: &Now,
) -> Result<Admitted, Rejection> {
    let jail = index
        .jail(name)
        .ok_or_else(|| Rejection::not_found(Kind::Jail, name))?;
    if jail.metadata.deletion_timestamp.is_none() && uid.is_none_or(|uid| *uid == jail.metadata.uid)
    {
        sets::spare(index, jail, now.timestamp)?;
    }
    let only = Only {
        uid,
        revision: None,
    };
    delete(index, Kind::Jail, name, &only, None, now)
}

/// Does what is left to do for an object whose deletion was asked for: takes the controller's own finalizer off when nobody
/// uses the object any more, and with it the object if that was the last one; otherwise says in its status who does. None if
/// there is nothing to do.
#[must_use]
pub fn finish(index: &Index, kind: Kind, name: &str, now: Timestamp) -> Option<Write> {
    let before = index.get(kind, name)?;
    before.object.metadata().deletion_timestamp?;
    let own = match &before.object {
        // Never bound, so there is no host that could have anything to take away.
        Object::Jail(jail) if jail.binding().is_none() => bind::FINALIZER,
        // Its host is given up: nobody there will ever say that it is gone.
        Object::Jail(jail) if bind::is_forgotten(index, jail) => bind::FINALIZER,
        Object::Jail(_) | Object::JailSet(_) => return dependents::finish(index, before),
        Object::Host(_) | Object::Network(_) | Object::Image(_) => IN_USE_FINALIZER,
    };
    let mut draft = Draft::of(index, before);
    let users = users(index, &before.object);
    if let Object::Jail(jail) = &mut draft.object
        && bind::is_forgotten(index, jail)
    {
        // What is removed gives everything back by itself.
        let stays = jail.metadata.finalizers.iter().any(|one| one != own);
        let mut released = Write::default();
        bind::leave(index, jail, true, &mut released);
        if stays {
            draft.write = released;
        }
        if let Object::Jail(before) = &before.object {
            kept::keep(index, before, &mut draft.write, now);
        }
    }
    dependents::let_go(index, &mut draft);
    if users.is_empty() {
        draft
            .object
            .metadata_mut()
            .finalizers
            .retain(|finalizer| finalizer != own);
    } else {
        tell(&mut draft.object, &users, now);
    }
    draft.finish(Vec::new()).ok()?.write
}

/// Says in an object's status who uses it.
fn tell(object: &mut Object, users: &[&Jail], now: Timestamp) {
    let mut message = format!(
        "goes when the last of {} jails is gone: {}",
        users.len(),
        rules::named(users)
    );
    // They wait for it, and it for them.
    let own = dependents::awaiting(object.metadata(), users);
    if own > 0 {
        message += &format!(
            "; {own} of them belong to it and stay as long as it does: delete it with --cascade foreground"
        );
    }
    let generation = object.metadata().generation;
    let condition = conditions::new(
        conditions::IN_USE,
        ConditionStatus::True,
        "JailsAttached",
        message,
        generation,
    );
    let list = match object {
        Object::Host(host) => {
            &mut host
                .status
                .get_or_insert_with(HostStatus::default)
                .conditions
        }
        Object::Network(network) => {
            &mut network
                .status
                .get_or_insert_with(NetworkStatus::default)
                .conditions
        }
        Object::Image(image) => {
            &mut image
                .status
                .get_or_insert_with(ImageStatus::default)
                .conditions
        }
        Object::Jail(_) | Object::JailSet(_) => return,
    };
    conditions::set(list, condition, now);
}

/// The jails that still use an object, by name: those bound to a host, those attached to a network or with an address of it that their host may have, those whose root is made of an image.
pub(crate) fn users<'a>(index: &'a Index, object: &Object) -> Vec<&'a Jail> {
    let name = &object.metadata().name;
    match object {
        Object::Host(_) => {
            let jails = index.jails_of_host(name);
            jails
                .filter(|jail| jail.binding().is_some_and(|binding| binding.host == *name))
                .collect()
        }
        Object::Network(_) => {
            let bound = index.jails_of_network(name).filter(|jail| {
                let attachments = jail.binding().map(|binding| &binding.attachments);
                let mut attachments = attachments.into_iter().flatten();
                attachments.any(|bound| bound.network == *name)
            });
            // What a jail has given up its host may still have.
            let holders = index.claims().addresses(name);
            let holders = holders.filter_map(|(_, claim)| match &claim.owner {
                Owner::Jail { name, uid } => {
                    index.jail(name).filter(|jail| jail.metadata.uid == *uid)
                }
                Owner::Bridge { .. } | Owner::Network { .. } | Owner::Slice { .. } => None,
            });
            let users = bound.chain(holders);
            let users: BTreeMap<_, _> = users.map(|jail| (&jail.metadata.name, jail)).collect();
            users.into_values().collect()
        }
        Object::Image(_) => index.jails_of_image(name).collect(),
        Object::Jail(_) | Object::JailSet(_) => Vec::new(),
    }
}
