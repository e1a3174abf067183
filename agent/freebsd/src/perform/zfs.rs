//! Datasets of images and roots: made, cloned, snapshotted and destroyed by zfs(8), one at a time and never with what stands below them. What is in them is `storage`'s matter.
//!
//! zfs(8) takes a dataset's name, and what was looked at was the dataset of a guid, so that is looked at again just before. A mark and a mount are read back: `zfs create -p` succeeds for what is there already.

use std::time::Duration;

use cellblock_agent_core::image::{OWNER, STORAGE_MARK, snapshot};
use cellblock_agent_core::observed::Dataset;

use super::{Performer, effect};
use crate::command::{Command, Program, words};
use crate::error::Failure;
use crate::observe;

/// How long zfs(8) may take, which waits for the disks to have it.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What zfs(8) says of a dataset that something else stands upon (`zfs_standard_error`, lib/libzfs/libzfs_util.c; `zfs_do_destroy`, cmd/zfs/zfs_main.c; recording `10`).
const BUSY: [&str; 5] = [
    "is busy",
    "has dependent clones",
    "has children",
    "it's being held",
    "snapshot is cloned",
];

impl Performer<'_> {
    /// A dataset with our mark, empty or a clone, mounted at `folder`.
    pub(super) fn create_dataset(
        &self,
        name: &str,
        owner: &str,
        folder: &str,
        origin: Option<(&str, &str)>,
    ) -> Result<(), Failure> {
        check_name(name)?;
        if let Some((snapshot, guid)) = origin {
            self.check_guid(snapshot, guid)?;
        }
        let origin = origin.map(|(snapshot, _)| snapshot);
        self.check_mounted_storage(folder)?;
        let is_ours = |found: &Dataset| {
            found.owner.as_deref() == Some(owner) && found.origin.as_deref() == origin
        };
        match self.dataset(name)? {
            // zfs(8) mounts what it made in a second step.
            Some(found) if is_ours(&found) && found.mounted => {}
            Some(found) if is_ours(&found) => self.zfs(words!["mount", name])?,
            Some(_) => {
                return Err(Failure::NameTaken {
                    what: "dataset",
                    name: name.to_owned(),
                });
            }
            None => {
                let parent = name.rsplit_once('/').map_or(name, |(parent, _)| parent);
                if self.dataset(parent)?.is_some_and(|found| !found.mounted) {
                    self.zfs(words!["mount", parent])?;
                }
                let verb = if origin.is_some() { "clone" } else { "create" };
                let mut words = words![verb, "-p", "-o", format!("{OWNER}={owner}")];
                words.extend(origin.map(str::to_owned));
                words.push(name.to_owned());
                self.zfs(words)?;
            }
        }
        let found = self.dataset(name)?;
        effect(found.as_ref().is_some_and(is_ours), || {
            format!("dataset {name} is not there as it was made")
        })?;
        let mounted = found.filter(|found| found.mounted);
        let mounted = match mounted {
            Some(found) => self.system.real_path(&found.mountpoint)?,
            None => None,
        };
        effect(mounted.as_deref() == Some(folder), || {
            format!("dataset {name} is not mounted at {folder}")
        })
    }

    /// The snapshot of an image that is whole.
    pub(super) fn snapshot_dataset(
        &self,
        name: &str,
        guid: &str,
        owner: &str,
    ) -> Result<(), Failure> {
        check_name(name)?;
        let whole = snapshot(name);
        self.check_guid(name, guid)?;
        if self.dataset(&whole)?.is_none() {
            self.zfs(words!["snapshot", "-o", format!("{OWNER}={owner}"), &whole])?;
        }
        let taken = self.dataset(&whole)?;
        let is_ours = taken.is_some_and(|taken| taken.owner.as_deref() == Some(owner));
        effect(is_ours, || {
            format!("snapshot {whole} is not there as it was taken")
        })
    }

    /// A dataset and its snapshot of the whole image, and nothing else.
    pub(super) fn destroy_dataset(
        &self,
        name: &str,
        guid: &str,
        owner: &str,
        folder: &str,
        whole: Option<&str>,
    ) -> Result<(), Failure> {
        check_name(name)?;
        self.check_unmounted(folder)?;
        self.check_unused(folder)?;
        let found = observe::zfs::below(self.system, name)?;
        let Some(dataset) = found.get(name) else {
            return Ok(());
        };
        if dataset.guid != guid || dataset.owner.as_deref() != Some(owner) {
            return Err(changed(name));
        }
        if let Some(other) = found
            .iter()
            .find(|(other, found)| *other != name && Some(found.guid.as_str()) != whole)
            .map(|(other, _)| other)
        {
            return Err(Failure::DatasetBusy(format!(
                "{other} stands below dataset {name}, and nothing is destroyed with what is not ours"
            )));
        }
        if let Some(whole) = found.keys().find(|other| *other != name) {
            self.zfs(words!["destroy", whole])?;
            self.check_guid(name, guid)?;
        }
        self.zfs(words!["destroy", name])?;
        effect(self.dataset(name)?.is_none(), || {
            format!("dataset {name} is still there")
        })
    }

    fn dataset(&self, name: &str) -> Result<Option<Dataset>, Failure> {
        Ok(observe::zfs::below(self.system, name)?.remove(name))
    }

    fn check_guid(&self, name: &str, guid: &str) -> Result<(), Failure> {
        match self.dataset(name)? {
            Some(found) if found.guid == guid => Ok(()),
            Some(_) | None => Err(changed(name)),
        }
    }

    /// The storage's own dataset is mounted: its mark stands there.
    fn check_mounted_storage(&self, folder: &str) -> Result<(), Failure> {
        let storage = folder.rsplitn(3, '/').nth(2).unwrap_or_default();
        let path = format!("{storage}/{STORAGE_MARK}");
        if self.system.read_file(&path)?.is_some() {
            return Ok(());
        }
        Err(Failure::Changed(format!("{path} is not there any more")))
    }

    fn zfs(&self, words: Vec<String>) -> Result<(), Failure> {
        let command = Command::new(Program::Zfs, words).timeout(TIMEOUT);
        let output = self.run(&command)?;
        if output.is_success() {
            return Ok(());
        }
        let failure = Failure::refused(&command, &output);
        if BUSY.iter().any(|busy| output.stderr.contains(busy)) {
            return Err(Failure::DatasetBusy(failure.to_string()));
        }
        Err(failure)
    }
}

fn changed(name: &str) -> Failure {
    Failure::Changed(format!(
        "dataset {name} is not the one any more that was looked at"
    ))
}

/// No option, no snapshot, and nothing but a file system of a pool.
fn check_name(name: &str) -> Result<(), Failure> {
    let is_plain = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':'))
    };
    if name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.split('/').count() > 2
        && name.split('/').all(is_plain)
    {
        return Ok(());
    }
    Err(Failure::Word {
        what: "the dataset",
        word: name.to_owned(),
    })
}
