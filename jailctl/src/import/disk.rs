//! Files of this machine, or of a copy of a host's below a directory.

use std::path::PathBuf;

use super::FILE_BYTES_MAX;
use super::conf::{Files, Missing};

/// Where absolute paths lead.
pub(super) struct Disk {
    root: Option<PathBuf>,
}

impl Disk {
    pub(super) fn new(root: Option<PathBuf>) -> Self {
        Self { root }
    }

    fn path(&self, path: &str) -> PathBuf {
        match (&self.root, path.strip_prefix('/')) {
            // A file that was named with the directory before it includes others beside it.
            (Some(root), Some(_)) if PathBuf::from(path).starts_with(root) => PathBuf::from(path),
            (Some(root), Some(below)) => root.join(below),
            (Some(_), None) | (None, _) => PathBuf::from(path),
        }
    }
}

impl Files for Disk {
    fn read(&self, path: &str) -> Result<Vec<u8>, Missing> {
        let path = self.path(path);
        let size = std::fs::metadata(&path)
            .map_err(|error| Missing(error.to_string()))?
            .len();
        if size > FILE_BYTES_MAX {
            return Err(Missing(format!(
                "it has {size} octets, and {FILE_BYTES_MAX} are read at most"
            )));
        }
        std::fs::read(&path).map_err(|error| Missing(error.to_string()))
    }

    fn list(&self, path: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(path))
            .into_iter()
            .flatten()
            .flatten();
        let names = entries.map(|entry| entry.file_name().into_string());
        names.filter_map(Result::ok).collect()
    }
}
