//! What is kept for the names of jails that are gone, by name and by age.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::Index;
use crate::kept::Kept;

/// Everything that is kept, each with the revision of its key.
#[derive(Clone, Debug, Default)]
pub(super) struct KeptNames {
    by_name: BTreeMap<String, (Kept, u64)>,
    by_age: BTreeSet<(Timestamp, String)>,
}

impl KeptNames {
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.by_name.keys()
    }
}

impl Index {
    /// What is kept for a jail of that name.
    #[must_use]
    pub fn kept(&self, jail: &str) -> Option<&Kept> {
        let (kept, _) = self.kept.by_name.get(jail)?;
        Some(kept)
    }

    /// The revision of the key of what is kept for a name.
    #[must_use]
    pub fn kept_revision(&self, jail: &str) -> Option<u64> {
        let (_, revision) = self.kept.by_name.get(jail)?;
        Some(*revision)
    }

    /// For how many names something is kept.
    #[must_use]
    pub fn kept_count(&self) -> usize {
        self.kept.by_name.len()
    }

    /// What is kept, with the names, the oldest first.
    pub fn kept_by_age(&self) -> impl Iterator<Item = (&str, &Kept)> {
        let names = self.kept.by_age.iter();
        names.filter_map(|(_, name)| Some((name.as_str(), self.kept(name)?)))
    }

    pub(super) fn put_kept(&mut self, name: String, kept: Kept, modified: u64) {
        self.remove_kept(&name);
        for resource in kept.resources() {
            self.claims.keep(resource, kept.since, &name);
        }
        self.kept.by_age.insert((kept.since, name.clone()));
        self.kept.by_name.insert(name, (kept, modified));
    }

    pub(super) fn remove_kept(&mut self, name: &str) {
        let Some((kept, _)) = self.kept.by_name.remove(name) else {
            return;
        };
        for resource in kept.resources() {
            self.claims.forget(&resource, kept.since, name);
        }
        self.kept.by_age.remove(&(kept.since, name.to_owned()));
    }
}
