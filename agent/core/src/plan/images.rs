//! Roots made of images: what has to be fetched, unpacked and made before a jail can start, and what nothing is made of any more. What stands on the disk decides, never what was begun.

use std::collections::BTreeSet;

use cellblock_schemas::ids::Uid;
use cellblock_schemas::jail::Layout;
use cellblock_schemas::view::{HostView, ImageView, JailView};

use super::desired::DesiredJail;
use super::phase::Phase;
use super::roots::is_inside;
use super::{Planner, datasets, reason};
use crate::image::{
    self, BASE, ROOT, RootMark, STORAGE_MARK, TARBALL, image_dataset, image_folder, image_mark,
    root_dataset, root_folder, short, storage_mark,
};
use crate::ledger::{Ledger, Owned};
use crate::names;
use crate::observed::{Directory, ImageFolder, Observed, RootFolder, Storage};
use crate::op::{Op, Subject};

/// How long a tarball may take to come, in milliseconds: what fetch(1) is given, and a little.
const PREPARING_MS_MAX: u64 = 6 * 3_600_000;

/// The folder of images and roots that a Host declares, or the dataset that is mounted as one.
pub(super) fn storage(view: &HostView) -> Option<&str> {
    let storage = view.host.storage.as_ref()?;
    storage.path.as_deref().or(storage.dataset.as_deref())
}

/// The dataset that a Host declares.
pub(super) fn dataset(view: &HostView) -> Option<&str> {
    view.host.storage.as_ref()?.dataset.as_deref()
}

/// The storage, if it is the one that the Host's path has always led to.
pub(crate) fn sound<'o>(
    view: &HostView,
    observed: &'o Observed,
    ledger: &Ledger,
) -> Result<&'o Storage, String> {
    let Some(declared) = storage(view) else {
        return Err(format!(
            "spec.image: host `{}` has no spec.storage, where roots are made",
            view.host_name
        ));
    };
    let field = field(view);
    let refused = |why: String| {
        let host = &view.host_name;
        Err(format!("{field} of host `{host}`: `{declared}` {why}"))
    };
    if let Some(dataset) = dataset(view)
        && let Err(why) = datasets::check_top(observed, dataset)
    {
        return refused(why);
    }
    let Some(storage) = &observed.storage else {
        let why = match observed.directories.get(declared) {
            Some(Directory::Unknown(why)) => format!("cannot be looked at: {why}"),
            Some(Directory::At(_) | Directory::Absent) | None => "is no directory there".to_owned(),
        };
        return refused(format!("{why}; make it, or mount what is to be there"));
    };
    if let Some(why) = &storage.unread {
        return refused(format!("{why}; mend it there"));
    }
    let (path, found) = (&storage.path, storage.mark.as_deref());
    match known(ledger, declared) {
        Some(known) if found == Some(known) => Ok(storage),
        Some(known) => {
            let found = if found.is_none() {
                "is not there"
            } else {
                "says something else"
            };
            let line = known.trim_end();
            refused(format!(
                "is not what it was: its file `{STORAGE_MARK}` {found}; mount the disk that has it, or, where that is lost for good, say so with `echo {line} > {path}/{STORAGE_MARK}`"
            ))
        }
        None if found.is_none_or(|found| is_own_storage(view, found)) => Ok(storage),
        None => refused(format!(
            "is another host's, or another cluster's, by its file `{STORAGE_MARK}`; name another directory, or remove {path}/{STORAGE_MARK} if nobody else uses it"
        )),
    }
}

/// The field that names the storage.
pub(super) fn field(view: &HostView) -> &'static str {
    if dataset(view).is_some() {
        "spec.storage.dataset"
    } else {
        "spec.storage.path"
    }
}

/// By what a storage at that path is known.
fn known<'l>(ledger: &'l Ledger, declared: &str) -> Option<&'l str> {
    let mut owned = ledger.owned.iter();
    owned.find_map(|owned| {
        if let Owned::Storage { path, mark } = owned
            && path == declared
        {
            Some(mark.as_str())
        } else {
            None
        }
    })
}

fn is_own_storage(view: &HostView, mark: &str) -> bool {
    mark.starts_with(storage_mark(&view.cluster, &view.host_uid, "").trim_end())
}

/// Whether that storage is to be remembered: as long as a root may be in it.
pub(super) fn needs_storage(view: &HostView, path: &str) -> bool {
    let mut jails = view.jails.values();
    storage(view) == Some(path) && jails.any(|jail| jail.spec.image.is_some())
}

/// The storage of which the ledger does not know yet.
pub(super) fn storage_to_know(
    view: &HostView,
    observed: &Observed,
    ledger: &Ledger,
) -> Option<Owned> {
    let (path, storage) = (storage(view)?, observed.storage.as_ref()?);
    let mark = storage.mark.as_ref()?;
    let is_new = known(ledger, path).is_none() && is_own_storage(view, mark);
    (is_new && needs_storage(view, path)).then(|| Owned::Storage {
        path: path.to_owned(),
        mark: mark.clone(),
    })
}

/// Whether a path is where the root of that jail is made, in whichever storage.
pub(super) fn is_made_root(path: &str, uid: &Uid) -> bool {
    path.ends_with(&format!("{}/{ROOT}", root_folder("", uid)))
}

/// Whether anything stands where a jail's root is made, or that is not known.
pub(crate) fn may_have_root(
    view: &HostView,
    observed: &Observed,
    ledger: &Ledger,
    uid: &Uid,
) -> bool {
    match sound(view, observed, ledger) {
        Ok(storage) => {
            storage.roots.contains_key(uid.as_str())
                || storage.unknown.contains_key(uid.as_str())
                || datasets::may_have_root(view, observed, uid)
        }
        Err(_) => {
            let jail = view.jails.get(uid);
            storage(view).is_some() && jail.is_some_and(|jail| jail.spec.image.is_some())
        }
    }
}

/// The mark of a jail's root that is whole.
pub(crate) fn made<'o>(
    view: &HostView,
    observed: &'o Observed,
    uid: &Uid,
) -> Option<(&'o RootFolder, RootMark)> {
    let folder = observed.storage.as_ref()?.roots.get(uid.as_str())?;
    let mark = folder.owner()?;
    let is_ours = mark.cluster == view.cluster && mark.jail == *uid;
    (is_ours && folder.entries.contains(ROOT)).then_some((folder, mark))
}

/// The basejail of a jail that has one: that of the image that its root was made of, or else will be.
pub(super) fn base(view: &HostView, observed: &Observed, jail: &JailView) -> Option<String> {
    let (spec, image) = (jail.spec.image.as_ref()?, jail.image.as_ref()?);
    let storage = observed.storage.as_ref()?;
    let (layout, digest) = match made(view, observed, &jail.uid) {
        Some((_, mark)) => (mark.layout, mark.digest),
        None => (spec.layout, image.release.sha256.clone()),
    };
    let folder = image_folder(&storage.path, &digest);
    (layout == Layout::Thin).then(|| format!("{folder}/{BASE}"))
}

/// Whether a folder of an image is ours, or nobody's yet.
fn is_our_image(view: &HostView, folder: &ImageFolder) -> bool {
    match &folder.mark {
        Some(mark) => *mark == image_mark(&view.cluster),
        None => image::is_empty(folder.entries.iter()),
    }
}

/// Whether a folder of a root is the jail's, or nobody's yet.
pub(super) fn is_own_root(view: &HostView, folder: &RootFolder, uid: &Uid) -> bool {
    match folder.owner() {
        Some(mark) => mark.cluster == view.cluster && mark.jail == *uid,
        None => folder.mark.is_none() && image::is_empty(folder.entries.iter()),
    }
}

impl<'a> Planner<'a> {
    /// Whether the jail's root is there; what is not is made next, and waited for.
    pub(super) fn plan_root(&mut self, jail: &DesiredJail<'a>) -> bool {
        let view = jail.view;
        let (Some(spec), Some(image), Some(storage)) =
            (&view.spec.image, &view.image, &self.observed.storage)
        else {
            return true;
        };
        let made = made(self.view, self.observed, &view.uid).map(|(_, mark)| mark);
        let (layout, digest) = match &made {
            Some(mark) => (mark.layout, mark.digest.as_str()),
            None => (spec.layout, image.release.sha256.as_str()),
        };
        let stands = storage.images.get(digest);
        let has = |name: &str| stands.is_some_and(|folder| folder.entries.contains(name));
        if made.is_some() && (layout == Layout::Thick || has(BASE)) {
            return true;
        }
        let subject = Subject::Jail(view.uid.clone());
        if storage.mark.is_none() {
            self.mark_storage(&subject, storage);
            return false;
        }
        let folder = image_folder(&storage.path, digest);
        if let Some(why) = storage.unknown.get(digest) {
            let message = format!("`{folder}` {why}; mend it there");
            self.block(&subject, reason::ROOT_REFUSED, message);
            return false;
        }
        if stands.is_some_and(|stands| !is_our_image(self.view, stands)) {
            let message = format!(
                "`{folder}` is there and was not put there by us; move it away, or give the Host another spec.storage"
            );
            self.block(&subject, reason::ROOT_REFUSED, message);
            return false;
        }
        if digest != image.release.sha256 && !has(TARBALL) && !has(BASE) {
            let message = format!(
                "the root was made of image `{}` as it was before ({}), whose base is not on the host any more; give the Image that digest again, or delete the jail and make it anew",
                image.name,
                short(digest)
            );
            self.block(&subject, reason::IMAGE_REFUSED, message);
            return false;
        }
        if let Some(why) = self.refusal(stands, image).filter(|_| !has(TARBALL)) {
            let message = format!(
                "image `{}`: {why}; correct spec.release of the Image, or put right what is there: it is fetched again in an hour at the latest",
                image.name
            );
            self.block(&subject, reason::IMAGE_REFUSED, message);
            return false;
        }
        if let Some(message) = working(storage, &[digest, view.uid.as_str()]) {
            self.wait(&subject, reason::IMAGE_PREPARING, message, PREPARING_MS_MAX);
            return false;
        }
        let of_image = Subject::image(digest);
        let wanted = RootMark {
            cluster: self.view.cluster.clone(),
            jail: view.uid.clone(),
            layout,
            digest: digest.to_owned(),
        };
        let of_dataset = dataset(self.view).map(|top| image_dataset(top, digest));
        let is_zfs = of_dataset.is_some();
        let prepared = match self.make_image_dataset(storage, digest) {
            Ok(prepared) => prepared,
            Err((reason, message)) => {
                self.block(&subject, reason, message);
                return false;
            }
        };
        let (whose, op) = if let Some(op) = prepared {
            (of_image, op)
        } else if !has(TARBALL) {
            let op = Op::FetchImage {
                folder,
                mark: image_mark(&self.view.cluster),
                tarball: image.release.tarball.clone(),
                digest: digest.to_owned(),
                dataset: of_dataset,
            };
            (of_image, op)
        } else if (layout == Layout::Thin || is_zfs) && !has(BASE) {
            let op = Op::UnpackBase {
                folder,
                digest: digest.to_owned(),
                dataset: of_dataset,
            };
            (of_image, op)
        } else if let Some(op) = match self.take_snapshot(digest) {
            Ok(taken) => taken,
            Err((reason, message)) => {
                self.block(&subject, reason, message);
                return false;
            }
        } {
            (of_image, op)
        } else {
            let (prepared, cloned) = match self.make_root_dataset(storage, &wanted) {
                Ok(prepared) => prepared,
                Err((reason, message)) => {
                    self.block(&subject, reason, message);
                    return false;
                }
            };
            let op = prepared.unwrap_or_else(|| Op::MakeRoot {
                folder: root_folder(&storage.path, &view.uid),
                mark: wanted,
                image: folder,
                cloned,
                dataset: dataset(self.view).map(|top| root_dataset(top, &view.uid)),
            });
            (subject.clone(), op)
        };
        let message = format!("its root: {op}");
        self.wait(&subject, reason::IMAGE_PREPARING, message, PREPARING_MS_MAX);
        if !self.steps.iter().any(|(_, step)| step.op == op) {
            self.step(Phase::MakeRoot, &whose, op);
        }
        false
    }

    fn mark_storage(&mut self, subject: &Subject, storage: &Storage) {
        let which = names::storage(&storage.path, &self.observed.boot_id);
        let op = Op::MarkStorage {
            folder: storage.path.clone(),
            mark: storage_mark(&self.view.cluster, &self.view.host_uid, &which),
        };
        let message = format!("its root: {op}");
        self.wait(subject, reason::IMAGE_PREPARING, message, PREPARING_MS_MAX);
        if !self.steps.iter().any(|(_, step)| step.op == op) {
            self.step(Phase::MakeRoot, subject, op);
        }
    }

    /// Why a tarball was refused. A file of the host costs little to be looked at again.
    fn refusal(&self, stands: Option<&'a ImageFolder>, image: &ImageView) -> Option<&'a str> {
        let text = stands?.refused.as_deref()?;
        image::refused(text, image).filter(|_| image::is_remote(&image.release.tarball))
    }

    /// Roots of jails that are to go, once the jail is over and nothing is mounted below. One whose jail the view does not know is left alone: it may hold what nobody has elsewhere.
    pub(super) fn plan_leftover_roots(&mut self) {
        let view = self.view;
        let going = view.jails.values().filter(|jail| jail.deleting);
        for jail in going.filter(|jail| jail.spec.image.is_some()) {
            self.plan_remove_root(jail);
        }
    }

    fn plan_remove_root(&mut self, jail: &'a JailView) {
        let subject = Subject::Jail(jail.uid.clone());
        let storage = match sound(self.view, self.observed, self.ledger) {
            Ok(storage) => storage,
            Err(message) => {
                if self::storage(self.view).is_some() {
                    self.block(&subject, reason::STORAGE_MISSING, message);
                }
                return;
            }
        };
        if let Some(why) = storage.unknown.get(jail.uid.as_str()) {
            let folder = root_folder(&storage.path, &jail.uid);
            let message = format!("`{folder}`, where the jail's root is, {why}; mend it there");
            return self.block(&subject, reason::ROOT_REFUSED, message);
        }
        let has_dataset = datasets::may_have_root(self.view, self.observed, &jail.uid);
        let nothing = RootFolder::default();
        let found = match storage.roots.get(jail.uid.as_str()) {
            Some(found) => found,
            None if has_dataset => &nothing,
            None => return,
        };
        let folder = root_folder(&storage.path, &jail.uid);
        if !has_dataset && !is_own_root(self.view, found, &jail.uid) {
            let message = format!(
                "`{folder}` is not this jail's by what stands in its file `{}`; move it away",
                image::MARK
            );
            return self.block(&subject, reason::ROOT_REFUSED, message);
        }
        if !self.is_over(&jail.uid) {
            return;
        }
        if let Some(message) = working(storage, &[jail.uid.as_str()]) {
            return self.wait(&subject, reason::BUSY, message, PREPARING_MS_MAX);
        }
        // A dying one has no process in it any more.
        let mut jails = self.observed.jails.iter().filter(|found| !found.dying);
        if let Some(found) = jails.find(|found| is_inside(&found.path, &folder)) {
            let message = format!(
                "jail `{}` (jid {}) has the root `{}`; stop it: nothing is removed under a jail",
                found.name, found.jid, found.path
            );
            return self.block(&subject, reason::ROOT_BUSY, message);
        }
        let ours = self.ledger.jails.get(&jail.uid);
        let mounts = self.observed.mounts.iter();
        let mut mounts = mounts
            .filter(|mount| is_inside(&mount.target, &folder) || is_inside(&mount.source, &folder))
            .peekable();
        if mounts.peek().is_some() {
            let stranger =
                mounts.find(|mount| ours.is_none_or(|ours| !ours.mounts.contains(&mount.target)));
            if let Some(mount) = stranger {
                let message = format!(
                    "`{}` is mounted on `{}`, below the jail's root or from it, and was not mounted by us; unmount it: nothing is removed over a mount",
                    mount.source, mount.target
                );
                self.block(&subject, reason::ROOT_BUSY, message);
            }
            return;
        }
        if self.plan_destroy_root(jail, storage) {
            return;
        }
        if let Some(message) = self.is_mount_point(&folder) {
            return self.block(&subject, reason::ROOT_BUSY, message);
        }
        let op = Op::RemoveRoot {
            folder,
            jail: jail.uid.clone(),
            mark: found.owner(),
        };
        self.step(Phase::RemoveRoot, &subject, op);
    }

    /// Why a folder cannot be removed on which something is mounted: what is seen in it is not what we made in it.
    fn is_mount_point(&self, folder: &str) -> Option<String> {
        let mut mounts = self.observed.mounts.iter();
        let mount = mounts.rfind(|mount| mount.target == folder)?;
        Some(format!(
            "`{folder}` is to be removed, and `{}` is mounted on it; unmount that: nothing in it is touched",
            mount.source
        ))
    }

    /// Images of ours that no jail of the view is made of, and no root stands on.
    pub(super) fn plan_leftover_images(&mut self) {
        // What is made of an image may be among what is not known.
        let Some(storage) = sound(self.view, self.observed, self.ledger)
            .ok()
            .filter(|storage| storage.unknown.is_empty())
        else {
            return;
        };
        let staying = self.view.jails.values().filter(|jail| !jail.deleting);
        let asked = staying.filter_map(|jail| Some(jail.image.as_ref()?.release.sha256.as_str()));
        let stood_on: Vec<RootMark> = storage
            .roots
            .values()
            .filter_map(RootFolder::owner)
            .filter(|mark| mark.layout == Layout::Thin || dataset(self.view).is_some())
            .collect();
        // A root that is not mounted, or has another name, stands on its image all the same.
        if datasets::misses_root(self.view, self.observed, self.ledger) {
            return;
        }
        let unseen = datasets::roots(self.observed);
        let stood_on_by = stood_on.iter().chain(&unseen);
        let stood_on_by = stood_on_by.map(|mark| mark.digest.as_str());
        let used: BTreeSet<&str> = asked.chain(stood_on_by).collect();
        let nothing = ImageFolder::default();
        let folders = storage.images.keys().map(String::as_str);
        let all: BTreeSet<&str> = folders
            .chain(datasets::images(self.view, self.observed))
            .collect();
        for digest in all {
            let found = storage.images.get(digest).unwrap_or(&nothing);
            let has_dataset = datasets::has_image(self.view, self.observed, digest);
            if used.contains(digest)
                || !image::is_digest(digest)
                || !has_dataset && !is_our_image(self.view, found)
            {
                continue;
            }
            let subject = Subject::image(digest);
            let folder = image_folder(&storage.path, digest);
            if let Some(message) = working(storage, &[digest]) {
                self.wait(&subject, reason::BUSY, message, PREPARING_MS_MAX);
                continue;
            }
            let mut mounts = self.observed.mounts.iter();
            let mount = mounts.find(|mount| {
                is_inside(&mount.source, &folder) || is_inside(&mount.target, &folder)
            });
            if let Some(mount) = mount {
                let message = format!(
                    "image {} is not needed any more, and `{}` is mounted on `{}`; unmount it",
                    short(digest),
                    mount.source,
                    mount.target
                );
                self.block(&subject, reason::ROOT_BUSY, message);
                continue;
            }
            if self.plan_destroy_image(digest, storage) {
                continue;
            }
            if let Some(message) = self.is_mount_point(&folder) {
                self.block(&subject, reason::ROOT_BUSY, message);
                continue;
            }
            let op = Op::RemoveImage {
                folder,
                digest: digest.to_owned(),
                mark: found.mark.clone(),
            };
            self.step(Phase::RemoveRoot, &subject, op);
        }
    }
}

/// What goes on in the storage, which `of` waits for; none: nothing does.
fn working(storage: &Storage, of: &[&str]) -> Option<String> {
    let work = storage.work.as_ref()?;
    Some(if of.contains(&work.of.as_str()) {
        work.doing.clone()
    } else {
        format!("its turn comes after: {}", work.doing)
    })
}
