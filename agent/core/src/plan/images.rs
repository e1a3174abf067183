//! Roots made of images: what has to be fetched, unpacked and made before a jail can start, and what nothing is made of any more. What stands on the disk decides, never what was begun.

use std::collections::BTreeSet;

use cellblock_schemas::ids::Uid;
use cellblock_schemas::jail::Layout;
use cellblock_schemas::view::{HostView, ImageView, JailView};

use super::desired::DesiredJail;
use super::phase::Phase;
use super::roots::is_inside;
use super::{Planner, reason};
use crate::image::{
    self, BASE, ROOT, RootMark, TARBALL, image_folder, image_mark, root_folder, short,
};
use crate::observed::{ImageFolder, Observed, RootFolder, Storage};
use crate::op::{Op, Subject};

/// How long a tarball may take to come, in milliseconds: what fetch(1) is given, and a little.
const PREPARING_MS_MAX: u64 = 6 * 3_600_000;

/// The folder of images and roots that a Host declares.
pub(super) fn storage(view: &HostView) -> Option<&str> {
    view.host.storage.as_ref()?.path.as_deref()
}

/// Whether anything stands where a jail's root is made.
pub(crate) fn has_root(observed: &Observed, uid: &Uid) -> bool {
    let storage = observed.storage.as_ref();
    storage.is_some_and(|storage| storage.roots.contains_key(uid.as_str()))
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
        None => folder.entries.is_empty(),
    }
}

/// Whether a folder of a root is the jail's, or nobody's yet.
pub(super) fn is_own_root(view: &HostView, folder: &RootFolder, uid: &Uid) -> bool {
    match folder.owner() {
        Some(mark) => mark.cluster == view.cluster && mark.jail == *uid,
        None => folder.mark.is_none() && folder.entries.is_empty(),
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
        let folder = image_folder(&storage.path, digest);
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
                "image `{}`: {why}; correct spec.release of the Image, or put right what is there and remove {folder}/{}",
                image.name,
                image::REFUSED
            );
            self.block(&subject, reason::IMAGE_REFUSED, message);
            return false;
        }
        if let Some(message) = working(storage, &[digest, view.uid.as_str()]) {
            self.wait(&subject, reason::IMAGE_PREPARING, message, PREPARING_MS_MAX);
            return false;
        }
        let of_image = Subject::image(digest);
        let (whose, op) = if !has(TARBALL) {
            let op = Op::FetchImage {
                folder,
                mark: image_mark(&self.view.cluster),
                tarball: image.release.tarball.clone(),
                digest: digest.to_owned(),
            };
            (of_image, op)
        } else if layout == Layout::Thin && !has(BASE) {
            let digest = digest.to_owned();
            (of_image, Op::UnpackBase { folder, digest })
        } else {
            let mark = RootMark {
                cluster: self.view.cluster.clone(),
                jail: view.uid.clone(),
                layout,
                digest: digest.to_owned(),
            };
            let op = Op::MakeRoot {
                folder: root_folder(&storage.path, &view.uid),
                mark,
                image: folder,
            };
            (subject.clone(), op)
        };
        let message = format!("its root: {op}");
        self.wait(&subject, reason::IMAGE_PREPARING, message, PREPARING_MS_MAX);
        if !self.steps.iter().any(|(_, step)| step.op == op) {
            self.step(Phase::MakeRoot, &whose, op);
        }
        false
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
        let Some(storage) = &self.observed.storage else {
            if let Some(path) = self::storage(self.view) {
                let message = format!(
                    "spec.storage.path of the Host: `{path}` is not there, and the jail's root may be in it; mount it, or make the directory if it is lost"
                );
                self.block(&subject, reason::STORAGE_MISSING, message);
            }
            return;
        };
        let Some(found) = storage.roots.get(jail.uid.as_str()) else {
            return;
        };
        let folder = root_folder(&storage.path, &jail.uid);
        if !is_own_root(self.view, found, &jail.uid) {
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
        let ours = self.ledger.jails.get(&jail.uid);
        let mounts = self.observed.mounts.iter();
        let mut mounts = mounts
            .filter(|mount| is_inside(&mount.target, &folder))
            .peekable();
        if mounts.peek().is_some() {
            let stranger =
                mounts.find(|mount| ours.is_none_or(|ours| !ours.mounts.contains(&mount.target)));
            if let Some(mount) = stranger {
                let message = format!(
                    "`{}` is mounted below the jail's root and was not mounted by us; unmount it: nothing is removed over a mount",
                    mount.target
                );
                self.block(&subject, reason::ROOT_BUSY, message);
            }
            return;
        }
        let op = Op::RemoveRoot {
            folder,
            jail: jail.uid.clone(),
            mark: found.owner(),
        };
        self.step(Phase::RemoveRoot, &subject, op);
    }

    /// Images of ours that no jail of the view is made of, and no root stands on.
    pub(super) fn plan_leftover_images(&mut self) {
        let Some(storage) = &self.observed.storage else {
            return;
        };
        let staying = self.view.jails.values().filter(|jail| !jail.deleting);
        let asked = staying.filter_map(|jail| Some(jail.image.as_ref()?.release.sha256.as_str()));
        let stood_on: Vec<RootMark> = storage
            .roots
            .values()
            .filter_map(RootFolder::owner)
            .filter(|mark| mark.layout == Layout::Thin)
            .collect();
        let stood_on_by = stood_on.iter().map(|mark| mark.digest.as_str());
        let used: BTreeSet<&str> = asked.chain(stood_on_by).collect();
        for (digest, found) in &storage.images {
            if used.contains(digest.as_str())
                || !image::is_digest(digest)
                || !is_our_image(self.view, found)
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
            let op = Op::RemoveImage {
                folder,
                digest: digest.clone(),
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
