//! ZFS: pools, datasets, snapshots, their properties and what they hold (module/zfs of OpenZFS, as far as names and refusals go).
//!
//! Space is counted only roughly: a dataset refers to a fixed amount and to its files' bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::files::Entry;

/// Files by path relative to the dataset's root, and whether each has the flag schg.
pub(crate) type Files = Vec<(String, Entry, bool)>;

/// What a fresh file system refers to, in bytes (recording `10`).
pub(crate) const EMPTY_BYTES: u64 = 24_576;

/// One file system or snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Dataset {
    pub(crate) name: String,
    /// Values set here, by property.
    pub(crate) local: BTreeMap<String, String>,
    pub(crate) mounted: bool,
    /// The snapshot this is a clone of.
    pub(crate) origin: Option<String>,
    pub(crate) holds: BTreeMap<String, u64>,
    pub(crate) guid: u64,
    pub(crate) txg: u64,
    pub(crate) created_s: u64,
    /// The jail it is delegated to.
    pub(crate) jailed_to: Option<i32>,
    /// A snapshot's files, or those of a file system that is not mounted.
    pub(crate) content: Arc<Files>,
}

impl Dataset {
    pub(crate) fn is_snapshot(&self) -> bool {
        self.name.contains('@')
    }

    /// The file system's name, without `@snapshot`.
    pub(crate) fn filesystem(&self) -> &str {
        self.name.split('@').next().unwrap_or(&self.name)
    }
}

/// One pool.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub(crate) vdev: String,
    pub(crate) size_bytes: u64,
    pub(crate) guid: u64,
    /// Exported: its datasets are there, but nobody sees them.
    pub(crate) exported: bool,
    /// Imported with `-o readonly=on`.
    pub(crate) read_only: bool,
}

impl Pool {
    fn is_memory_disk(&self) -> bool {
        self.vdev.starts_with("md")
    }
}

/// All pools of the host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Zfs {
    pub(crate) pools: BTreeMap<String, Pool>,
    datasets: BTreeMap<String, Dataset>,
    pub(crate) txg: u64,
    /// zfs(8) dies between the two things that it does next: it has made a file system and not mounted it, or has unmounted it and not destroyed it.
    pub(crate) dies_halfway: bool,
    /// Sizes of memory disks by unit.
    pub(crate) memory_disks: BTreeMap<u32, u64>,
}

impl Zfs {
    fn visible(&self, name: &str) -> bool {
        let pool = name.split(['/', '@']).next().unwrap_or(name);
        self.pools.get(pool).is_some_and(|pool| !pool.exported)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Dataset> {
        self.datasets.get(name).filter(|_| self.visible(name))
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Dataset> {
        if self.visible(name) {
            self.datasets.get_mut(name)
        } else {
            None
        }
    }

    pub(crate) fn insert(&mut self, dataset: Dataset) {
        self.datasets.insert(dataset.name.clone(), dataset);
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<Dataset> {
        self.datasets.remove(name)
    }

    /// Every visible dataset in zfs_compare's order: by name, a file system's snapshots right behind it, oldest first.
    pub(crate) fn sorted(&self) -> Vec<&Dataset> {
        Self::sort(
            self.datasets
                .values()
                .filter(|dataset| self.visible(&dataset.name))
                .collect(),
        )
    }

    fn sort(mut found: Vec<&Dataset>) -> Vec<&Dataset> {
        found.sort_by(|a, b| {
            (a.filesystem(), a.is_snapshot(), a.txg).cmp(&(b.filesystem(), b.is_snapshot(), b.txg))
        });
        found
    }

    /// `name` and everything below it, snapshots too.
    pub(crate) fn below(&self, name: &str) -> Vec<String> {
        if !self.visible(name) {
            return Vec::new();
        }
        let from = self.datasets.range(name.to_owned()..);
        let near = from.take_while(|(at, _)| at.starts_with(name));
        let inside = near
            .filter(|(at, _)| matches!(at.as_bytes().get(name.len()), None | Some(b'/' | b'@')));
        let found = inside.map(|(_, dataset)| dataset).collect();
        Self::sort(found)
            .into_iter()
            .map(|dataset| dataset.name.clone())
            .collect()
    }

    /// The snapshots of one file system, oldest first.
    pub(crate) fn snapshots(&self, filesystem: &str) -> Vec<&Dataset> {
        let prefix = format!("{filesystem}@");
        let from = self.datasets.range(prefix.clone()..);
        let found = from
            .take_while(|(at, _)| at.starts_with(&prefix))
            .map(|(_, dataset)| dataset);
        Self::sort(found.collect())
    }

    /// The clones of a snapshot.
    pub(crate) fn clones(&self, snapshot: &str) -> Vec<String> {
        if !snapshot.contains('@') {
            return Vec::new();
        }
        self.sorted()
            .into_iter()
            .filter(|dataset| dataset.origin.as_deref() == Some(snapshot))
            .map(|dataset| dataset.name.clone())
            .collect()
    }

    /// Whether the pool of a dataset was imported for reading alone.
    pub(crate) fn is_read_only(&self, name: &str) -> bool {
        let pool = name.split(['/', '@']).next().unwrap_or(name);
        self.pools.get(pool).is_some_and(|pool| pool.read_only)
    }

    fn has_local(&self, name: &str, property: &str) -> bool {
        let dataset = self.datasets.get(name);
        dataset.is_some_and(|dataset| dataset.local.contains_key(property))
    }

    /// A property's value and where it comes from: `local`, `inherited from NAME`, or `None` if nobody set it.
    pub(crate) fn inherited(&self, name: &str, property: &str) -> Option<(&str, String)> {
        let mut at = name;
        if let Some((filesystem, _)) = name.split_once('@')
            && !self.has_local(name, property)
        {
            at = filesystem;
        }
        loop {
            if let Some(value) = self
                .datasets
                .get(at)
                .and_then(|dataset| dataset.local.get(property))
            {
                let source = if at == name {
                    "local".to_owned()
                } else {
                    format!("inherited from {at}")
                };
                return Some((value, source));
            }
            at = &at[..at.rfind('/')?];
        }
    }

    /// Where a file system is to be mounted, and the source of that; `none` if nowhere.
    pub(crate) fn mountpoint(&self, name: &str) -> (String, String) {
        match self.inherited(name, "mountpoint") {
            None => (format!("/{name}"), "default".to_owned()),
            Some((value, source)) if source == "local" || matches!(value, "none" | "legacy") => {
                (value.to_owned(), source)
            }
            Some((value, source)) => {
                let from = source.trim_start_matches("inherited from ");
                (
                    format!("{}{}", value.trim_end_matches('/'), &name[from.len()..]),
                    source,
                )
            }
        }
    }

    /// Renames a file system and everything below it; clones follow their origin.
    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        let moved = self.below(from);
        let rewrite = |name: &str| format!("{to}{}", &name[from.len()..]);
        for name in &moved {
            if let Some(mut dataset) = self.datasets.remove(name) {
                dataset.name = rewrite(name);
                self.datasets.insert(dataset.name.clone(), dataset);
            }
        }
        for dataset in self.datasets.values_mut() {
            if let Some(origin) = dataset.origin.as_mut()
                && moved.contains(origin)
            {
                *origin = rewrite(origin);
            }
        }
    }

    /// Bytes that a dataset refers to when it holds `files`.
    pub(crate) fn bytes_of(files: &Files) -> u64 {
        let content = files.iter().map(|(_, entry, _)| match entry {
            Entry::File(bytes) => bytes.len() as u64,
            Entry::Directory | Entry::Symlink(_) => 0,
        });
        EMPTY_BYTES + content.sum::<u64>()
    }

    /// What a reboot leaves: pools on real disks, mounted nowhere, delegated to nobody.
    pub(crate) fn reboot(mut self) -> Self {
        let volatile: Vec<String> = self
            .pools
            .iter()
            .filter(|(_, pool)| pool.is_memory_disk())
            .map(|(name, _)| name.clone())
            .collect();
        for pool in volatile {
            self.datasets
                .retain(|name, _| name.split(['/', '@']).next() != Some(pool.as_str()));
            self.pools.remove(&pool);
        }
        self.memory_disks.clear();
        for dataset in self.datasets.values_mut() {
            dataset.jailed_to = None;
        }
        self
    }

    /// One line per dataset for the fingerprint.
    pub(crate) fn fingerprint(&self) -> Vec<String> {
        let datasets = self.sorted().into_iter().map(|dataset| {
            let place = if dataset.is_snapshot() {
                String::new()
            } else {
                format!(
                    " {} mounted={}",
                    self.mountpoint(&dataset.name).0,
                    dataset.mounted
                )
            };
            format!(
                "dataset {}{place} {:?} {:?} {:?} {:?}",
                dataset.name, dataset.local, dataset.origin, dataset.holds, dataset.jailed_to
            )
        });
        datasets
            .chain(self.pools.iter().map(|(name, pool)| {
                format!("pool {name} {} exported={}", pool.vdev, pool.exported)
            }))
            .collect()
    }
}
