//! The emulated file tree: directories, regular files and symbolic links, without owners or modes.
//!
//! Mounts are not looked at here (see `mount`); a nullfs mount shows its source because [`crate::Emulator`] resolves the path first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Why a file operation failed, with the text of errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// ENOENT.
    #[error("No such file or directory")]
    NotFound,
    /// ENOTDIR.
    #[error("Not a directory")]
    NotADirectory,
    /// EISDIR.
    #[error("Is a directory")]
    IsADirectory,
    /// ENOTEMPTY.
    #[error("Directory not empty")]
    NotEmpty,
    /// EEXIST.
    #[error("File exists")]
    Exists,
    /// ENOSPC.
    #[error("No space left on device")]
    NoSpace,
    /// EPERM.
    #[error("Operation not permitted")]
    NotPermitted,
    /// EROFS.
    #[error("Read-only file system")]
    ReadOnly,
    /// ELOOP.
    #[error("Too many levels of symbolic links")]
    TooManyLinks,
    /// EIO.
    #[error("Input/output error")]
    Io,
    /// ENAMETOOLONG.
    #[error("File name too long")]
    NameTooLong,
}

/// One entry of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A directory; its children are the longer paths.
    Directory,
    /// A regular file with its bytes.
    File(Vec<u8>),
    /// A symbolic link with its target as written.
    Symlink(String),
}

/// All files of the host by absolute path. Survives a reboot, except what is below `/tmp` (a tmpfs in the recordings).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileTree {
    entries: BTreeMap<String, Entry>,
    /// Files and directories with the flag schg or uchg.
    immutable: BTreeSet<String>,
    /// What cannot be read because the disk is broken there.
    unreadable: BTreeSet<String>,
    full: bool,
    /// When a file was changed, where a test has said so.
    changed: BTreeMap<String, Duration>,
}

/// How many symbolic links one path may lead through (MAXSYMLINKS, sys/sys/param.h).
const LINKS_MAX: usize = 32;

/// Octets of one component of a path (NAME_MAX, sys/sys/syslimits.h).
const NAME_MAX: usize = 255;

/// The directories every host has.
const BASE_DIRECTORIES: &[&str] = &[
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/libexec",
    "/mnt",
    "/payload",
    "/root",
    "/sbin",
    "/tmp",
    "/usr",
    "/usr/bin",
    "/usr/local",
    "/usr/local/etc",
    "/usr/sbin",
    "/var",
    "/var/cache",
    "/var/db",
    "/var/log",
    "/var/run",
];

impl Default for FileTree {
    fn default() -> Self {
        let entries = BASE_DIRECTORIES
            .iter()
            .map(|path| ((*path).to_owned(), Entry::Directory))
            .collect();
        Self {
            entries,
            immutable: BTreeSet::new(),
            unreadable: BTreeSet::new(),
            full: false,
            changed: BTreeMap::new(),
        }
    }
}

impl FileTree {
    /// Has a file be changed at that time.
    pub fn touch(&mut self, path: &str, at: Duration) {
        self.changed.insert(normalize(path), at);
    }

    /// When a file was changed, where that was said.
    pub fn changed_at(&self, path: &str) -> Option<Duration> {
        self.changed.get(&normalize(path)).copied()
    }
}

/// The path without doubled and trailing slashes and without `.` and `..`.
pub fn normalize(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn split(path: &str) -> Vec<String> {
    path.split('/').map(str::to_owned).collect()
}

fn parent(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(at) => &path[..at],
    }
}

impl FileTree {
    /// The entry at `path`, symbolic links in the last component not followed.
    pub fn entry(&self, path: &str) -> Option<&Entry> {
        self.entries.get(&normalize(path))
    }

    /// Whether anything is at `path`.
    pub fn exists(&self, path: &str) -> bool {
        self.entry(path).is_some()
    }

    /// Whether a directory is at `path`.
    pub fn is_directory(&self, path: &str) -> bool {
        matches!(self.entry(path), Some(Entry::Directory))
    }

    /// The path without symbolic links, as realpath(3) finds it; none if something on the way is missing.
    pub fn real_path(&self, path: &str) -> Result<Option<String>, FileError> {
        let mut rest: Vec<String> = split(path);
        rest.reverse();
        let mut at = String::new();
        let mut links = 0;
        while let Some(part) = rest.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    at.truncate(at.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            if part.len() > NAME_MAX {
                return Err(FileError::NameTooLong);
            }
            let next = format!("{at}/{part}");
            match self.entries.get(&next) {
                None => return Ok(None),
                Some(Entry::Directory | Entry::File(_)) => at = next,
                Some(Entry::Symlink(target)) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(FileError::TooManyLinks);
                    }
                    if target.starts_with('/') {
                        at.clear();
                    }
                    rest.extend(split(target).into_iter().rev());
                }
            }
        }
        Ok(Some(if at.is_empty() { "/".to_owned() } else { at }))
    }

    /// The bytes of the file at `path`.
    pub fn read(&self, path: &str) -> Result<&[u8], FileError> {
        match self.entry(path) {
            Some(Entry::File(bytes)) => Ok(bytes),
            Some(Entry::Directory) => Err(FileError::IsADirectory),
            Some(Entry::Symlink(target)) => {
                let target = if target.starts_with('/') {
                    target.clone()
                } else {
                    format!("{}/{target}", parent(&normalize(path)))
                };
                match self.entry(&target) {
                    Some(Entry::File(bytes)) => Ok(bytes),
                    Some(Entry::Directory) => Err(FileError::IsADirectory),
                    Some(Entry::Symlink(_)) | None => Err(FileError::NotFound),
                }
            }
            None => Err(FileError::NotFound),
        }
    }

    /// The file at `path` as text; bytes that are not UTF-8 are replaced.
    pub fn read_text(&self, path: &str) -> Result<String, FileError> {
        self.read(path)
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// Creates or replaces the file at `path`. The directory must exist.
    pub fn write(&mut self, path: &str, bytes: impl AsRef<[u8]>) -> Result<(), FileError> {
        let path = normalize(path);
        if !self.is_directory(parent(&path)) {
            return Err(FileError::NotFound);
        }
        if self.is_directory(&path) {
            return Err(FileError::IsADirectory);
        }
        self.check_flags(&path, !self.exists(&path))?;
        if self.full {
            return Err(FileError::NoSpace);
        }
        self.entries
            .insert(path, Entry::File(bytes.as_ref().to_vec()));
        Ok(())
    }

    /// Appends to the file at `path`, creating it when it is absent.
    pub fn append(&mut self, path: &str, bytes: impl AsRef<[u8]>) -> Result<(), FileError> {
        let mut all = match self.read(path) {
            Ok(bytes) => bytes.to_vec(),
            Err(FileError::NotFound) => Vec::new(),
            Err(error) => return Err(error),
        };
        all.extend_from_slice(bytes.as_ref());
        self.write(path, all)
    }

    /// Makes one symbolic link.
    pub fn symlink(&mut self, target: &str, path: &str) -> Result<(), FileError> {
        let path = normalize(path);
        if self.exists(&path) {
            return Err(FileError::Exists);
        }
        if !self.is_directory(parent(&path)) {
            return Err(FileError::NotFound);
        }
        self.check_flags(&path, true)?;
        if self.full {
            return Err(FileError::NoSpace);
        }
        self.entries.insert(path, Entry::Symlink(target.to_owned()));
        Ok(())
    }

    /// Makes the directory and all its missing parents, like `mkdir -p`.
    pub fn create_directories(&mut self, path: &str) -> Result<(), FileError> {
        let path = normalize(path);
        let mut at = String::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            at.push('/');
            at.push_str(part);
            match self.entries.get(&at) {
                Some(Entry::Directory) => {}
                Some(Entry::Symlink(_)) => {}
                Some(Entry::File(_)) => return Err(FileError::NotADirectory),
                None if self.full => return Err(FileError::NoSpace),
                None => {
                    self.check_flags(&at, true)?;
                    self.entries.insert(at.clone(), Entry::Directory);
                }
            }
        }
        Ok(())
    }

    /// Removes a file, a link or an empty directory.
    pub fn remove(&mut self, path: &str) -> Result<(), FileError> {
        let path = normalize(path);
        match self.entries.get(&path) {
            None => return Err(FileError::NotFound),
            Some(Entry::Directory) if self.list(&path)?.next().is_some() => {
                return Err(FileError::NotEmpty);
            }
            Some(_) => {}
        }
        self.check_flags(&path, true)?;
        self.entries.remove(&path);
        Ok(())
    }

    /// EPERM where the file has a flag, or where its name is made, taken away or changed in a directory with one (`ufs_access`, `ufs_remove`, `ufs_rmdir`, `ufs_rename`, sys/ufs/ufs/ufs_vnops.c).
    fn check_flags(&self, path: &str, is_named: bool) -> Result<(), FileError> {
        if self.immutable.contains(path) || is_named && self.immutable.contains(parent(path)) {
            return Err(FileError::NotPermitted);
        }
        Ok(())
    }

    /// Removes `path` and everything below it, like `rm -r`; an absent path is no error. What has the flag schg stays, with the directories that it is in.
    pub fn remove_tree(&mut self, path: &str) {
        let path = normalize(path);
        let below = format!("{}/", path.trim_end_matches('/'));
        let immutable = &self.immutable;
        let stays = |at: &String| {
            let inside = format!("{at}/");
            let mut kept = immutable.range(at.clone()..);
            immutable.contains(parent(at))
                || kept
                    .next()
                    .is_some_and(|kept| kept == at || kept.starts_with(&inside))
        };
        self.entries
            .retain(|at, _| at != &path && !at.starts_with(&below) || stays(at));
    }

    /// Makes what is at `path` unreadable, or readable again.
    pub fn set_unreadable(&mut self, path: &str, is_unreadable: bool) {
        if is_unreadable {
            self.unreadable.insert(normalize(path));
        } else {
            self.unreadable.remove(&normalize(path));
        }
    }

    /// Sets or clears the flag schg of a file or directory.
    pub fn set_immutable(&mut self, path: &str, is_immutable: bool) {
        let path = normalize(path);
        if is_immutable {
            self.immutable.insert(path);
        } else {
            self.immutable.remove(&path);
        }
    }

    /// Whether exactly what is at `path` has the flag schg.
    pub(crate) fn is_immutable(&self, path: &str) -> bool {
        self.immutable.contains(path)
    }

    /// Whether anything at `path` or below has the flag schg.
    pub fn has_immutable(&self, path: &str) -> bool {
        let path = normalize(path);
        let below = format!("{path}/");
        let mut found = self.immutable.iter();
        found.any(|at| *at == path || at.starts_with(&below))
    }

    /// Renames a file, replacing what is at the new path, like rename(2).
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), FileError> {
        let (from, to) = (normalize(from), normalize(to));
        if !self.is_directory(parent(&to)) {
            return Err(FileError::NotFound);
        }
        self.check_flags(&from, true)?;
        self.check_flags(&to, true)?;
        let entry = self.entries.remove(&from).ok_or(FileError::NotFound)?;
        if entry == Entry::Directory {
            let below = format!("{from}/");
            let moved: Vec<String> = self
                .entries
                .range(below.clone()..)
                .map(|(at, _)| at.clone())
                .take_while(|at| at.starts_with(&below))
                .collect();
            for at in moved {
                if self.immutable.remove(&at) {
                    self.immutable
                        .insert(format!("{to}/{}", &at[below.len()..]));
                }
                if let Some(child) = self.entries.remove(&at) {
                    self.entries
                        .insert(format!("{to}/{}", &at[below.len()..]), child);
                }
            }
        }
        self.entries.insert(to, entry);
        Ok(())
    }

    /// The names directly inside the directory at `path`, sorted.
    pub fn list(&self, path: &str) -> Result<impl Iterator<Item = &str> + use<'_>, FileError> {
        let path = normalize(path);
        if self.unreadable.contains(&path) {
            return Err(FileError::Io);
        }
        match self.entries.get(&path) {
            Some(Entry::Directory) => {}
            Some(Entry::File(_) | Entry::Symlink(_)) => return Err(FileError::NotADirectory),
            None => return Err(FileError::NotFound),
        }
        let below = if path == "/" {
            path
        } else {
            format!("{path}/")
        };
        let skip = below.len();
        Ok(self
            .entries
            .range(below.clone()..)
            .map(|(at, _)| at.as_str())
            .take_while(move |at| at.starts_with(&below))
            .filter_map(move |at| {
                let name = &at[skip..];
                (!name.is_empty() && !name.contains('/')).then_some(name)
            }))
    }

    /// Every entry with its path, sorted by path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries
            .iter()
            .map(|(path, entry)| (path.as_str(), entry))
    }

    /// Whether every write fails with ENOSPC.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// From now on every write fails with ENOSPC (`true`), or no longer does (`false`).
    pub fn set_full(&mut self, full: bool) {
        self.full = full;
    }
}
