//! Roots made of images: the image is there to stay, and the host has a place for them.

use cellblock_schemas::{Host, Jail};

use super::{Problem, named};
use crate::index::Index;

/// An image that is going is nothing to make a new root of. One that does not exist yet is passed over: the jail waits for it.
pub(super) fn of_jail(index: &Index, jail: &Jail) -> Option<Problem> {
    let name = &jail.spec.image.as_ref()?.name;
    let image = index.image(name)?;
    (image.metadata.deletion_timestamp.is_some() && jail.binding().is_none()).then(|| {
        Problem::new(
            "ImageDeleting",
            "spec.image.name",
            format!("image {name} is being deleted"),
            "wait until it is gone and apply it anew, or name another",
        )
    })
}

/// A host without storage has no place for a root.
pub(super) fn of_jail_on(host: &Host, jail: &Jail) -> Option<Problem> {
    (jail.spec.image.is_some() && host.spec.storage.is_none()).then(|| {
        Problem::new(
            "StorageMissing",
            "spec.image",
            format!(
                "host {} has no place for roots that are made of images",
                host.metadata.name
            ),
            "say where in its spec.storage, or name a directory of the host in spec.root.path",
        )
    })
}

/// Roots stay where they were made.
pub(super) fn of_host(index: &Index, host: &Host, before: Option<&Host>) -> Option<Problem> {
    let before = before?;
    if before.spec.storage.is_none() || before.spec.storage == host.spec.storage {
        return None;
    }
    let name = &host.metadata.name;
    let jails: Vec<&Jail> = index
        .jails_of_host(name)
        .filter(|jail| jail.spec.image.is_some())
        .filter(|jail| jail.binding().is_some_and(|binding| binding.host == *name))
        .collect();
    (!jails.is_empty()).then(|| {
        Problem::new(
            "StorageInUse",
            "spec.storage",
            format!(
                "the roots of {} jails are there: {}",
                jails.len(),
                named(&jails)
            ),
            "leave it as it is, or delete these jails first",
        )
    })
}
