//! The ZFS datasets of a storage that is one: which of them are ours, whether each is where it was, and what has to go. What is made in them, and when, is `images`' matter.
//!
//! A dataset is ours by its mark and by its place; one that the ledger knows, by its guid as well. Only what is all of that is ever destroyed, and never with what stands below it.

use cellblock_schemas::ids::Uid;
use cellblock_schemas::jail::Layout;
use cellblock_schemas::view::{HostView, JailView};

use super::images::{self, dataset, made};
use super::phase::Phase;
use super::roots::is_inside;
use super::teardown::DYING_MS_MAX;
use super::{Planner, reason};
use crate::image::{
    BASE, IMAGES, ROOTS, RootMark, image_dataset, image_folder, image_owner, root_dataset,
    root_folder, snapshot, snapshot_owner,
};
use crate::ledger::{Ledger, Owned};
use crate::observed::{Dataset, Observed, Storage, Zfs};
use crate::op::{Op, Subject};

/// Why a dataset cannot be worked with.
type Refused = (&'static str, String);

/// What a file system is for.
#[derive(Clone, Copy)]
pub(super) enum Purpose<'a> {
    /// The image with that digest.
    Image(&'a str),
    /// The root of that jail.
    Root(&'a Uid),
}

impl Purpose<'_> {
    fn name(self, top: &str) -> String {
        match self {
            Self::Image(digest) => image_dataset(top, digest),
            Self::Root(uid) => root_dataset(top, uid),
        }
    }

    fn folder(self, storage: &str) -> String {
        match self {
            Self::Image(digest) => image_folder(storage, digest),
            Self::Root(uid) => root_folder(storage, uid),
        }
    }

    fn parent(self) -> &'static str {
        match self {
            Self::Image(_) => IMAGES,
            Self::Root(_) => ROOTS,
        }
    }

    fn is_marked(self, view: &HostView, found: &Dataset) -> bool {
        let Some(owner) = &found.owner else {
            return false;
        };
        match self {
            Self::Image(digest) => *owner == image_owner(&view.cluster, digest),
            Self::Root(uid) => RootMark::parse(owner)
                .is_some_and(|mark| mark.cluster == view.cluster && mark.jail == *uid),
        }
    }
}

/// Why the dataset that the Host names cannot be the storage.
pub(super) fn check_top(observed: &Observed, name: &str) -> Result<(), String> {
    let pool_name = name.split('/').next().unwrap_or(name);
    let Some(zfs) = &observed.zfs else {
        return Err("was not looked at".to_owned());
    };
    if let Some(pool) = zfs.pool.as_ref().filter(|pool| !pool.is_usable()) {
        return Err(format!(
            "is in pool `{pool_name}`, which is {}; see `zpool status {pool_name}`",
            pool.health
        ));
    }
    if let Some(why) = &zfs.unread {
        return Err(format!(
            "cannot be looked at: {why}{}",
            if why.contains("Failed to load") {
                "; ZFS has to be on the host: load the module (`kldload zfs`, and `zfs_load=\"YES\"` in loader.conf), or name a directory in spec.storage.path"
            } else {
                ""
            }
        ));
    }
    let Some(pool) = &zfs.pool else {
        return Err(format!(
            "is in pool `{pool_name}`, which is not on the host; import it (`zpool import {pool_name}`; `zfs_enable=\"YES\"` in rc.conf does so at boot), or correct the name"
        ));
    };
    if pool.read_only {
        return Err(format!(
            "is in pool `{pool_name}`, which was imported for reading alone; export it and import it without `-o readonly=on`"
        ));
    }
    let Some(top) = zfs.datasets.get(name) else {
        return Err(format!(
            "is no dataset there; make it (`zfs create -p {name}`)"
        ));
    };
    if top.kind != "filesystem" {
        return Err(format!("is a {}; name a file system", top.kind));
    }
    if top.mountpoint == "/" {
        return Err(format!(
            "is the host's root file system; name a dataset of its own (`zfs create -p {pool_name}/cellblock`)"
        ));
    }
    if top.read_only {
        return Err(format!(
            "is for reading alone; `zfs set readonly=off {name}`"
        ));
    }
    if !top.mountpoint.starts_with('/') {
        return Err(format!(
            "has the mountpoint `{}`; give it a path (`zfs set mountpoint=/usr/local/cellblock {name}`)",
            top.mountpoint
        ));
    }
    let own = (name.to_owned(), top.mountpoint.clone());
    let parents = [IMAGES, ROOTS].map(|parent| {
        let place = format!("{}/{parent}", top.mountpoint);
        (format!("{name}/{parent}"), place)
    });
    for (dataset, place) in [own].into_iter().chain(parents) {
        // zfs(8) makes what is above a dataset, mounts that, and comes to make the dataset.
        let is_begun = dataset != name && zfs.below(&dataset).next().is_none();
        if let Some(found) = zfs.datasets.get(&dataset)
            && (found.mounted || found.mountpoint != place || !is_begun)
            && let Some(why) = elsewhere(observed, name, &dataset, found, &place)
        {
            return Err(format!("cannot be used: {why}"));
        }
    }
    Ok(())
}

/// Why a file system below the dataset `top` of the storage is not what is seen where it shall be, and what puts it there.
fn elsewhere(
    observed: &Observed,
    top: &str,
    name: &str,
    found: &Dataset,
    place: &str,
) -> Option<String> {
    moved(name, found, place).or_else(|| covered(observed, top, name, place))
}

/// Why a file system is not where it shall be, and what puts it there.
fn moved(name: &str, found: &Dataset, place: &str) -> Option<String> {
    if found.mountpoint != place {
        return Some(format!(
            "dataset `{name}` has the mountpoint `{}`, and `{place}` is where it was made for; put it back (`zfs inherit mountpoint {name}`)",
            found.mountpoint
        ));
    }
    (!found.mounted).then(|| {
        format!("dataset `{name}` is not mounted at `{place}`; mount it (`zfs mount {name}`; one that is encrypted needs `zfs load-key` before, one with `canmount=off` needs `zfs inherit canmount`, and `zfs_enable=\"YES\"` in rc.conf mounts all at boot)")
    })
}

/// The path at which the kernel has what is below the storage's mount point, where that leads through a symbolic link.
fn real(observed: &Observed, top: &str, place: &str) -> String {
    let storage = observed.storage.as_ref();
    let zfs = observed.zfs.as_ref();
    let top = zfs.and_then(|zfs| zfs.datasets.get(top));
    let below = top.and_then(|top| place.strip_prefix(&top.mountpoint));
    match storage.zip(below) {
        Some((storage, below)) => format!("{}{below}", storage.path),
        None => place.to_owned(),
    }
}

/// What stands at the path of a mounted file system instead of it: whatever was mounted there, or above, after it. `zfs receive` of a copy does that, and `overlay=on` lets it (recording `10`).
fn covered(observed: &Observed, top: &str, name: &str, place: &str) -> Option<String> {
    let place = real(observed, top, place);
    let mut mounts = observed.mounts.iter();
    let last = mounts.rfind(|mount| mount.target == place || is_inside(&place, &mount.target))?;
    if last.target == place && last.source == name && last.fs_type == "zfs" {
        return None;
    }
    Some(format!(
        "dataset `{name}` is to be seen at `{place}`, and `{}`, mounted on `{}`, is what stands there; unmount that, and give it another mountpoint",
        last.source, last.target
    ))
}

fn known<'l>(ledger: &'l Ledger, asked: &str) -> Option<&'l str> {
    let first = Owned::Dataset {
        name: asked.to_owned(),
        guid: String::new(),
    };
    if let Owned::Dataset { name, guid } = ledger.owned.range(first..).next()?
        && name == asked
    {
        Some(guid)
    } else {
        None
    }
}

/// The dataset that an image or a root has; none: it has none yet.
pub(super) fn find<'o>(
    view: &HostView,
    observed: &'o Observed,
    ledger: &Ledger,
    purpose: Purpose<'_>,
) -> Result<Option<(String, &'o Dataset)>, Refused> {
    let found = ours(view, observed, ledger, purpose)?;
    let (Some(top), Some((name, found, place))) = (dataset(view), found) else {
        return Ok(None);
    };
    match elsewhere(observed, top, &name, found, &place) {
        Some(why) => Err((reason::DATASET_MOVED, why)),
        None => Ok(Some((name, found))),
    }
}

/// The images that there are datasets of.
pub(super) fn images<'o>(
    view: &HostView,
    observed: &'o Observed,
) -> impl Iterator<Item = &'o str> + use<'o> {
    let below = dataset(view).map(|top| format!("{top}/{IMAGES}/"));
    let names = observed
        .zfs
        .iter()
        .flat_map(|zfs| zfs.datasets.keys().map(String::as_str));
    names
        .filter_map(move |name| name.strip_prefix(below.as_deref()?))
        .filter(|digest| crate::image::is_digest(digest))
}

/// What all roots are made of that are datasets, whatever they are called and whether they can be looked into or not.
pub(super) fn roots(observed: &Observed) -> Vec<RootMark> {
    let datasets = observed.zfs.iter().flat_map(|zfs| zfs.datasets.values());
    datasets
        .filter_map(|found| RootMark::parse(found.owner.as_deref()?))
        .collect()
}

/// Whether a root that was made here, of a jail that is there, is nowhere to be found, so that nobody knows what it stands on.
pub(super) fn misses_root(view: &HostView, observed: &Observed, ledger: &Ledger) -> bool {
    let (Some(top), Some(zfs)) = (dataset(view), &observed.zfs) else {
        return false;
    };
    let mut jails = view.jails.keys();
    jails.any(|uid| {
        let name = root_dataset(top, uid);
        known(ledger, &name).is_some_and(|guid| zfs.named(guid).is_none())
    })
}

/// Likewise, wherever it is mounted, with where it should be.
fn ours<'o>(
    view: &HostView,
    observed: &'o Observed,
    ledger: &Ledger,
    purpose: Purpose<'_>,
) -> Result<Option<(String, &'o Dataset, String)>, Refused> {
    let (Some(top), Some(zfs)) = (dataset(view), &observed.zfs) else {
        return Ok(None);
    };
    let place = zfs.datasets.get(top).map(|found| &found.mountpoint);
    let place = purpose.folder(place.map_or("", String::as_str));
    let name = purpose.name(top);
    let known = known(ledger, &name);
    let Some(found) = zfs.datasets.get(&name) else {
        if let Some(other) = known.and_then(|guid| zfs.named(guid)) {
            let message = format!(
                "dataset `{name}` is called `{other}` now; give it its name back (`zfs rename {other} {name}`)"
            );
            return Err((reason::DATASET_MOVED, message));
        }
        return match (purpose, known) {
            (Purpose::Root(_), Some(guid)) => {
                let message = format!(
                    "dataset `{name}` (guid {guid}), in which the jail's root was made, is not there any more, and no other one is made in its place; put it back, or delete the Jail and make it anew"
                );
                Err((reason::ROOT_LOST, message))
            }
            (Purpose::Root(_) | Purpose::Image(_), _) => Ok(None),
        };
    };
    if known.is_some_and(|known| known != found.guid && !is_adopted(zfs, known, found)) {
        let message = format!(
            "dataset `{name}` is not the one any more that was made under that name (its guid is {0}); move it away (`zfs rename`), and put back what was there; or, where that is lost and this is a copy of it with its properties (`zfs send -p`), say so with `zfs set cellblock:adopt={0} {name}`",
            found.guid
        );
        return Err((reason::DATASET_TAKEN, message));
    }
    if found.kind != "filesystem" || !purpose.is_marked(view, found) {
        let message = format!(
            "`{name}` is there and was not made by us; move it away (`zfs rename`), or give the Host another spec.storage"
        );
        return Err((reason::DATASET_TAKEN, message));
    }
    Ok(Some((name, found, place)))
}

/// Whether the operator says of a dataset that it takes the place of one that is not there any more.
fn is_adopted(zfs: &Zfs, known: &str, found: &Dataset) -> bool {
    found.adopt.as_ref() == Some(&found.guid) && zfs.named(known).is_none()
}

/// Whether anything stands under the name of a root's dataset, or its dataset was made for that jail.
pub(super) fn may_have_root(view: &HostView, observed: &Observed, uid: &Uid) -> bool {
    let (Some(top), Some(zfs)) = (dataset(view), &observed.zfs) else {
        return false;
    };
    zfs.datasets.contains_key(&root_dataset(top, uid))
}

/// Whether anything stands under the name of an image's dataset.
pub(super) fn has_image(view: &HostView, observed: &Observed, digest: &str) -> bool {
    let (Some(top), Some(zfs)) = (dataset(view), &observed.zfs) else {
        return false;
    };
    zfs.datasets.contains_key(&image_dataset(top, digest))
}

/// Whether a dataset of the ledger is still to be known: a root that is gone as long as the view has its jail, whatever else as long as it is there.
pub(super) fn is_known(view: &HostView, observed: &Observed, name: &str, guid: &str) -> bool {
    let Some(top) = dataset(view).filter(|top| is_inside(name, top)) else {
        return false;
    };
    let Some(zfs) = observed.zfs.as_ref().filter(|zfs| is_read(zfs, top)) else {
        return true;
    };
    let last = name.rsplit('/').next().unwrap_or_default();
    let uid = Uid(last.to_owned());
    let mut is_root = root_dataset(top, &uid) == name && view.jails.contains_key(&uid);
    if let Some(found) = zfs.datasets.get(name) {
        is_root &= !is_adopted(zfs, guid, found);
    }
    is_root || zfs.named(guid).is_some()
}

/// Whether what is not among the datasets is not there.
fn is_read(zfs: &Zfs, top: &str) -> bool {
    zfs.unread.is_none() && zfs.datasets.contains_key(top)
}

/// Datasets of ours of which the ledger does not know yet: those of images, and of roots once these are whole. One in which a root is only being made may be made anew.
pub(super) fn to_know(
    view: &HostView,
    observed: &Observed,
    ledger: &Ledger,
) -> impl Iterator<Item = Owned> {
    let own = |purpose: Purpose<'_>| {
        let top = dataset(view)?;
        let name = purpose.name(top);
        let zfs = observed.zfs.as_ref()?;
        let found = zfs.datasets.get(&name)?;
        let is_unknown = known(ledger, &name)
            .is_none_or(|known| known != found.guid && is_adopted(zfs, known, found));
        let is_new = is_unknown && purpose.is_marked(view, found);
        is_new.then(|| Owned::Dataset {
            name,
            guid: found.guid.clone(),
        })
    };
    let storage = observed.storage.as_ref();
    let images = storage.into_iter().flat_map(|storage| &storage.images);
    // One that is not whole may be made anew.
    let images = images
        .filter(|(_, folder)| folder.entries.contains(BASE))
        .map(|(digest, _)| digest);
    let roots = view.jails.keys();
    let roots = roots.filter(|uid| made(view, observed, uid).is_some());
    let mut new: Vec<Owned> = images
        .filter_map(|digest| own(Purpose::Image(digest)))
        .collect();
    new.extend(roots.filter_map(|uid| own(Purpose::Root(uid))));
    new.into_iter()
}

/// Nothing is mounted over what stands in a plain directory, as one of a storage that was none has it.
fn check_room(
    view: &HostView,
    observed: &Observed,
    storage: &Storage,
    purpose: Purpose<'_>,
) -> Result<(), Refused> {
    let (Some(top), Some(zfs)) = (dataset(view), &observed.zfs) else {
        return Ok(());
    };
    let parent = purpose.parent();
    let (holds_any, holds_own) = match purpose {
        Purpose::Image(digest) => (
            !storage.images.is_empty(),
            storage.images.get(digest).map(|found| &found.entries),
        ),
        Purpose::Root(uid) => (
            !storage.roots.is_empty(),
            storage.roots.get(uid.as_str()).map(|found| &found.entries),
        ),
    };
    let has_parent = zfs.datasets.contains_key(&format!("{top}/{parent}"));
    let plain = if !has_parent && (holds_any || !storage.unknown.is_empty()) {
        format!("{}/{parent}", storage.path)
    } else if holds_own.is_some_and(|entries| !entries.is_empty()) {
        purpose.folder(&storage.path)
    } else {
        return Ok(());
    };
    let message = format!(
        "`{plain}` is a directory with something in it, where a dataset is to be mounted; move it away"
    );
    Err((reason::DATASET_TAKEN, message))
}

impl Planner<'_> {
    /// What is to be done for the dataset of an image before anything is put into it; none: nothing.
    pub(super) fn make_image_dataset(
        &self,
        storage: &Storage,
        digest: &str,
    ) -> Result<Option<Op>, Refused> {
        if dataset(self.view).is_none() {
            return Ok(None);
        }
        let purpose = Purpose::Image(digest);
        let owner = image_owner(&self.view.cluster, digest);
        self.create(storage, purpose, owner)
    }

    /// What is to be done once the base of an image is whole.
    pub(super) fn take_snapshot(&self, digest: &str) -> Result<Option<Op>, Refused> {
        let (Some(zfs), Some(top)) = (&self.observed.zfs, dataset(self.view)) else {
            return Ok(None);
        };
        let name = image_dataset(top, digest);
        let Some(found) = zfs.datasets.get(&name) else {
            return Ok(None);
        };
        let owner = snapshot_owner(&self.view.cluster, digest);
        if let Some(taken) = zfs.datasets.get(&snapshot(&name)) {
            if taken.owner.as_ref() == Some(&owner) {
                return Ok(None);
            }
            let message = format!(
                "snapshot `{0}` is there and was not taken by us; give it another name (`zfs rename {0} {name}@mine`)",
                snapshot(&name)
            );
            return Err((reason::DATASET_TAKEN, message));
        }
        // A second one would stand in the way of the first.
        if let Some(origin) = &found.origin {
            let message = format!(
                "image `{name}` is a clone of `{origin}`, as somebody promoted that; give it its snapshot back (`zfs promote {name}`)"
            );
            return Err((reason::DATASET_MOVED, message));
        }
        Ok(Some(Op::SnapshotDataset {
            guid: found.guid.clone(),
            name,
            owner,
        }))
    }

    /// What is to be done for the dataset of a root before it is made in there, and whether that is a clone.
    pub(super) fn make_root_dataset(
        &self,
        storage: &Storage,
        mark: &RootMark,
    ) -> Result<(Option<Op>, bool), Refused> {
        let Some(top) = dataset(self.view) else {
            return Ok((None, false));
        };
        let purpose = Purpose::Root(&mark.jail);
        let owner = mark.to_string().trim_end().to_owned();
        let origin = snapshot(&image_dataset(top, &mark.digest));
        let is_clone = mark.layout == Layout::Thick;
        let Some((name, found)) = self.find_or_mount(purpose)? else {
            if !is_clone {
                let made = self.create(storage, purpose, owner)?;
                return Ok((made, false));
            }
            check_room(self.view, self.observed, storage, purpose)?;
            let op = Op::CloneDataset {
                name: purpose.name(top),
                owner,
                folder: purpose.folder(&storage.path),
                guid: self.guid(&origin).unwrap_or_default(),
                snapshot: origin,
            };
            return Ok((Some(op), true));
        };
        // Made for something else, and never used.
        let is_right = found.owner.as_ref() == Some(&owner)
            && (!is_clone || found.origin.as_ref() == Some(&origin));
        if is_right {
            return Ok((None, is_clone));
        }
        if known(self.ledger, &name).is_some() {
            let message = format!(
                "dataset `{name}` had the jail's root once, and has none now; put back the folder `root` in it, or delete the Jail and make it anew"
            );
            return Err((reason::ROOT_LOST, message));
        }
        let folder = purpose.folder(&storage.path);
        self.check_alone(&name, &folder, None)?;
        Ok((Some(destroy(name, found, folder, None)), is_clone))
    }

    fn guid(&self, name: &str) -> Option<String> {
        let found = self.observed.zfs.as_ref()?.datasets.get(name)?;
        Some(found.guid.clone())
    }

    /// As [`find`], but one that zfs(8) made and did not come to mount is none yet: an image's, or a root's that was never whole.
    fn find_or_mount(&self, purpose: Purpose<'_>) -> Result<Option<(String, &Dataset)>, Refused> {
        if let Some((name, found, place)) = ours(self.view, self.observed, self.ledger, purpose)? {
            let is_image = matches!(purpose, Purpose::Image(_));
            let is_begun = is_image || known(self.ledger, &name).is_none();
            if is_begun && !found.mounted && found.mountpoint == place {
                return Ok(None);
            }
        }
        find(self.view, self.observed, self.ledger, purpose)
    }

    fn create(
        &self,
        storage: &Storage,
        purpose: Purpose<'_>,
        owner: String,
    ) -> Result<Option<Op>, Refused> {
        if self.find_or_mount(purpose)?.is_some() {
            return Ok(None);
        }
        check_room(self.view, self.observed, storage, purpose)?;
        let top = dataset(self.view).unwrap_or_default();
        Ok(Some(Op::CreateDataset {
            name: purpose.name(top),
            owner,
            folder: purpose.folder(&storage.path),
        }))
    }

    /// Nothing stands below a dataset but our own snapshot of an image, without clones.
    fn check_alone(&self, name: &str, folder: &str, whole: Option<&str>) -> Result<(), Refused> {
        let zfs = self.observed.zfs.iter();
        let mut below = zfs.flat_map(|zfs| zfs.below(name));
        let refused = below.find_map(|(found, dataset)| {
            if let Some(clone) = dataset.clones.first() {
                return Some(format!(
                    "`{clone}` is a clone of `{found}` (`zfs promote {clone}` gives it that)"
                ));
            }
            if whole != Some(dataset.guid.as_str()) {
                return Some(format!("`{found}` stands below it"));
            }
            None
        });
        if let Some(why) = refused {
            let pool = name.split('/').next().unwrap_or(name);
            let message = format!(
                "dataset `{name}` is to be destroyed, and {why}; destroy that (and stop what takes snapshots of this dataset), or keep all of it and let go of the name (`zfs rename {name} {pool}/kept`)"
            );
            return Err((reason::DATASET_BUSY, message));
        }
        let mut mounts = self.observed.mounts.iter();
        match mounts
            .find(|mount| is_inside(&mount.target, folder) || is_inside(&mount.source, folder))
        {
            Some(mount) => Err((
                reason::ROOT_BUSY,
                format!(
                    "dataset `{name}` is to be destroyed, and `{}` is mounted on `{}`; unmount it",
                    mount.source, mount.target
                ),
            )),
            None => Ok(()),
        }
    }

    /// Plans that the dataset of a root goes, whose jail is over and in which nothing is mounted; whether the root has one.
    pub(super) fn plan_destroy_root(&mut self, jail: &JailView, storage: &Storage) -> bool {
        let purpose = Purpose::Root(&jail.uid);
        let subject = Subject::Jail(jail.uid.clone());
        let (name, found, place) = match ours(self.view, self.observed, self.ledger, purpose) {
            Ok(Some(found)) => found,
            // One that has another name now was meant to be kept.
            Ok(None) | Err((reason::ROOT_LOST | reason::DATASET_MOVED, _)) => return false,
            Err((reason, message)) => {
                self.block(&subject, reason, message);
                return true;
            }
        };
        let top = dataset(self.view).unwrap_or_default();
        let elsewhere = elsewhere(self.observed, top, &name, found, &place);
        if let Some(message) = elsewhere.filter(|_| found.mounted) {
            self.block(&subject, reason::DATASET_MOVED, message);
            return true;
        }
        let folder = purpose.folder(&storage.path);
        let mut jails = self.observed.jails.iter();
        // ZFS unmounts nothing that a dying jail holds (recording `10`).
        if let Some(dying) = jails.find(|jail| jail.dying && is_inside(&jail.path, &folder)) {
            let message = format!(
                "dataset `{name}` goes once jail `{}` (jid {}) has died",
                dying.name, dying.jid
            );
            self.wait(&subject, reason::DYING, message, DYING_MS_MAX);
            return true;
        }
        match self.check_alone(&name, &folder, None) {
            Ok(()) => {
                let op = destroy(name, found, folder, None);
                self.step(Phase::RemoveRoot, &subject, op);
            }
            Err((reason, message)) => self.block(&subject, reason, message),
        }
        true
    }

    /// Plans that the dataset of an image goes that nothing is made of any more; whether the image has one.
    pub(super) fn plan_destroy_image(&mut self, digest: &str, storage: &Storage) -> bool {
        let purpose = Purpose::Image(digest);
        let subject = Subject::image(digest);
        let (name, found, place) = match ours(self.view, self.observed, self.ledger, purpose) {
            Ok(Some(found)) => found,
            Ok(None) => return false,
            // Not ours, or somebody has a use for it.
            Err(_) => return true,
        };
        let top = dataset(self.view).unwrap_or_default();
        let is_elsewhere = found.mountpoint != place
            || found.mounted && covered(self.observed, top, &name, &place).is_some();
        if is_elsewhere {
            return true;
        }
        let folder = purpose.folder(&storage.path);
        let owner = snapshot_owner(&self.view.cluster, digest);
        let zfs = self.observed.zfs.as_ref();
        let whole = zfs
            .and_then(|zfs| zfs.datasets.get(&snapshot(&name)))
            .filter(|found| found.owner.as_ref() == Some(&owner))
            .map(|found| found.guid.clone());
        match self.check_alone(&name, &folder, whole.as_deref()) {
            Ok(()) => {
                let op = destroy(name, found, folder, whole);
                self.step(Phase::RemoveRoot, &subject, op);
            }
            Err((reason, message)) => self.block(&subject, reason, message),
        }
        true
    }
}

fn destroy(name: String, found: &Dataset, folder: String, whole: Option<String>) -> Op {
    Op::DestroyDataset {
        name,
        guid: found.guid.clone(),
        owner: found.owner.clone().unwrap_or_default(),
        folder,
        whole,
    }
}

/// Whether the root of a jail has a dataset that it can be used in.
pub(super) fn check_root(
    view: &HostView,
    observed: &Observed,
    ledger: &Ledger,
    jail: &JailView,
) -> Result<(), Refused> {
    find(view, observed, ledger, Purpose::Root(&jail.uid))?;
    let digest = match images::made(view, observed, &jail.uid) {
        Some((_, mark)) if mark.layout == Layout::Thin => mark.digest,
        Some(_) | None => return Ok(()),
    };
    find(view, observed, ledger, Purpose::Image(&digest)).map(|_| ())
}
