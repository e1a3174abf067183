//! The ledger's file in the state folder: the system calls under the journal of `agent/core`, its errors in an operator's words, and the lock that lets one agent hold it at a time.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cellblock_agent_core::execute::LedgerFile;
use cellblock_agent_core::host::{HostError, Retry};
use cellblock_agent_core::ledger::journal::{Disk, Journal, LoadError, Unreadable};
use cellblock_agent_core::ledger::{Change, Ledger};

/// The ledger's file and the lock beside it.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    journal: Journal<StateFolder>,
    /// Held for the agent's life; the kernel lets go of it when the process ends, however it ends.
    _lock: std::fs::File,
}

impl File {
    /// Opens the ledger in `state_dir` for this process alone.
    ///
    /// # Errors
    /// Another agent holds it, or the folder cannot be written.
    pub fn open(state_dir: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(state_dir).with_context(|| {
            format!("the state folder {} could not be made", state_dir.display())
        })?;
        let lock_path = state_dir.join("agent.lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .with_context(|| format!("{} could not be opened", lock_path.display()))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .with_context(|| {
                format!(
                    "another agent runs with the state folder {}; there can be one per host",
                    state_dir.display()
                )
            })?;
        let path = state_dir.join("ledger.json");
        let folder = StateFolder { path: path.clone() };
        Ok(Self {
            path,
            journal: Journal::new(folder),
            _lock: lock,
        })
    }

    /// Reads the ledger; an empty one where there is none yet.
    ///
    /// # Errors
    /// It is damaged, or of a newer agent.
    pub fn load(&mut self) -> anyhow::Result<Ledger> {
        let path = self.path.display();
        let loaded = self.journal.load();
        let advice = match &loaded {
            Ok(_) => "",
            Err(LoadError::Disk(_)) => "could not be read",
            Err(LoadError::Unreadable(Unreadable::Newer(_) | Unreadable::Unknown { .. })) => {
                "was written by a newer agent and cannot be read by this one; run the newer agent, and leave the file where it is"
            }
            Err(LoadError::Unreadable(Unreadable::Damaged { .. })) => {
                "is damaged; pause the host (`jailctl host pause`), move the file away, start the agent, read its plan (`jailctl describe host`), and resume"
            }
        };
        let loaded = loaded.with_context(|| format!("the ledger {path} {advice}"))?;
        if loaded.torn > 0 {
            tracing::warn!(
                octets = loaded.torn,
                "the end of the ledger {path} was never written to the end, and nothing was done that it speaks of; left out"
            );
        }
        Ok(loaded.ledger)
    }
}

impl LedgerFile for File {
    fn append(&mut self, ledger: &Ledger, changes: &[Change]) -> Result<(), HostError> {
        self.journal.append(ledger, changes).map_err(|error| {
            let full = error.kind() == std::io::ErrorKind::StorageFull;
            HostError {
                reason: if full { "DiskFull" } else { "LedgerNotWritten" },
                message: format!(
                    "the ledger {} could not be written ({error}), so nothing that it would have to remember is done{}",
                    self.path.display(),
                    if full { "; make room on that file system" } else { "" }
                ),
                retry: Retry::After,
            }
        })
    }
}

/// The state folder, as a journal needs it.
#[derive(Debug)]
struct StateFolder {
    /// The file that counts.
    path: PathBuf,
}

impl StateFolder {
    fn beside(&self) -> PathBuf {
        self.path.with_extension("json.new")
    }

    fn sync_folder(&self) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or_else(|| Path::new("."));
        std::fs::File::open(folder)?.sync_all()
    }
}

impl Disk for StateFolder {
    type File = std::fs::File;

    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut file = match std::fs::File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        file.sync_all()?;
        self.sync_folder()?;
        Ok(Some(bytes))
    }

    fn open(&mut self) -> io::Result<std::fs::File> {
        OpenOptions::new().append(true).open(&self.path)
    }

    fn begin(&mut self) -> io::Result<std::fs::File> {
        OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(self.beside())
    }

    /// By fsync(2), not fdatasync(2): that "does not guarantee that \[…\] metadata necessary to access the file are committed" (lib/libsys/fsync.2), and on UFS it does not: `ffs_syncvnode`
    /// (sys/ufs/ffs/ffs_vnops.c) looks for a changed size in `i_flags` where `i_flag` has it.
    fn sync(&mut self, file: &mut std::fs::File) -> io::Result<()> {
        file.sync_all()
    }

    fn replace(&mut self) -> io::Result<()> {
        std::fs::rename(self.beside(), &self.path)?;
        self.sync_folder()
    }

    fn is_in_place(&mut self, file: &std::fs::File, length: u64) -> bool {
        let (Ok(ours), Ok(there)) = (file.metadata(), std::fs::metadata(&self.path)) else {
            return false;
        };
        (ours.dev(), ours.ino(), ours.len()) == (there.dev(), there.ino(), length)
    }

    fn cut(&mut self, file: &mut std::fs::File, length: u64) {
        if let Err(error) = file.set_len(length) {
            tracing::debug!("room under the ledger could not be given back: {error}");
        }
    }
}

#[cfg(test)]
mod tests;
