//! The contexts of sandboxes while they run: one small file each, in a folder beside the configuration file, which is the operator's own.
//!
//! A sandbox holds a lock on its file, so that one that was killed and left its file is told from one that runs.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::{ConfigFile, ContextEntry};

/// The name of a sandbox's context; of further ones that run beside it, with a number.
const NAME: &str = "sandbox";

/// How many sandboxes may run beside each other. More on one machine are a loop gone wild.
const LENT_MAX: usize = 64;

/// The extension of the folder, in place of the configuration file's own.
const FOLDER: &str = "sandboxes";

/// A context that lasts as long as its sandbox.
#[derive(Debug)]
pub struct Lent {
    name: String,
    path: PathBuf,
    /// Locked until it is closed.
    _file: File,
    /// The folders that were made for it, the innermost first.
    folders: Vec<PathBuf>,
}

impl Lent {
    /// Takes the first name that neither the operator nor a sandbox that runs has, and writes `entry` there.
    pub(super) fn claim(
        config: &Path,
        own: &ConfigFile,
        entry: &ContextEntry,
    ) -> anyhow::Result<Self> {
        let folder = config.with_extension(FOLDER);
        let missing = folder.ancestors().take_while(|folder| {
            // The empty path is where a relative one begins.
            !folder.as_os_str().is_empty() && !folder.exists()
        });
        let mut folders: Vec<PathBuf> = missing.map(Path::to_path_buf).collect();
        // Whoever made it, it is of no use to anybody when the last sandbox has ended.
        if folders.is_empty() {
            folders.push(folder.clone());
        }
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("{} could not be made", folder.display()))?;
        let text = toml::to_string(entry).context("a context has no TOML form")?;
        for number in 1..=LENT_MAX {
            let name = match number {
                1 => NAME.to_owned(),
                number => format!("{NAME}-{number}"),
            };
            if own.contexts.contains_key(&name) {
                continue;
            }
            let path = folder.join(format!("{name}.toml"));
            let taken = take(&path, &text)
                .with_context(|| format!("{} could not be written", path.display()))?;
            if let Some(file) = taken {
                return Ok(Self {
                    name,
                    path,
                    _file: file,
                    folders,
                });
            }
        }
        bail!("{LENT_MAX} sandboxes run already; end one")
    }

    /// What the context is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether another has the name that the first sandbox gets.
    #[must_use]
    pub fn is_further(&self) -> bool {
        self.name != NAME
    }

    /// The file that it is in.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes it away again, with the folders that were made for it and hold nothing else.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn give_back(self) -> anyhow::Result<()> {
        std::fs::remove_file(&self.path)
            .with_context(|| format!("{} could not be removed", self.path.display()))?;
        for folder in &self.folders {
            // Another sandbox, or the operator, may have put something there meanwhile: then it stays.
            if std::fs::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// Writes a file that no sandbox holds; none if one does.
fn take(path: &Path, text: &str) -> std::io::Result<Option<File>> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // The sandbox that held it may have removed it between the opening and the locking: then the name is somebody else's to take.
    let is_there = std::fs::metadata(path)
        .is_ok_and(|there| file.metadata().is_ok_and(|ours| there.ino() == ours.ino()));
    if !is_there {
        return Ok(None);
    }
    file.set_len(0)?;
    file.write_all(text.as_bytes())?;
    Ok(Some(file))
}

/// The context of that name, if a sandbox made one.
pub(super) fn find(config: &Path, name: &str) -> anyhow::Result<Option<ContextEntry>> {
    if !names(config).iter().any(|known| known == name) {
        return Ok(None);
    }
    let path = config.with_extension(FOLDER).join(format!("{name}.toml"));
    match std::fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text)
            .map(Some)
            .with_context(|| format!("in {}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} could not be read", path.display())),
    }
}

/// The names of all contexts of sandboxes; none where the folder cannot be read.
pub(super) fn names(config: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(config.with_extension(FOLDER)) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_suffix(".toml").map(str::to_owned)
        })
        .collect();
    names.sort();
    names
}
