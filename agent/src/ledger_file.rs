//! The ledger on disk: replaced whole, synced before it counts, held by one agent at a time.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use cellblock_agent_core::execute::LedgerFile;
use cellblock_agent_core::host::{HostError, Retry};
use cellblock_agent_core::ledger::{LEDGER_VERSION, Ledger};
use sha2::{Digest as _, Sha256};

/// How much is written at once, in octets.
const BUFFER: usize = 64 << 10;

/// A digest of the file's bytes.
type Digest = [u8; 32];

/// The ledger's file and the lock beside it.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    /// The digest of what is on disk, so that equal bytes are not written again; none where nothing of ours is.
    written: Option<Digest>,
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
        Ok(Self {
            path: state_dir.join("ledger.json"),
            written: None,
            _lock: lock,
        })
    }

    /// Reads the ledger; an empty one where there is none yet.
    ///
    /// # Errors
    /// It is damaged, or of a newer agent.
    pub fn load(&mut self) -> anyhow::Result<Ledger> {
        let path = self.path.display().to_string();
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Ledger::new()),
            Err(error) => {
                return Err(error).with_context(|| format!("the ledger {path} could not be read"));
            }
        };
        let ledger: Ledger = serde_json::from_slice(&bytes).with_context(|| {
            format!("the ledger {path} is damaged; move it away, and the agent will observe, report and wait for `jailctl host approve`")
        })?;
        if ledger.version > LEDGER_VERSION {
            bail!(
                "the ledger {path} is of form {}, this agent knows {LEDGER_VERSION}; run the newer agent",
                ledger.version
            );
        }
        self.written = Some(Sha256::digest(&bytes).into());
        Ok(Ledger {
            version: LEDGER_VERSION,
            ..ledger
        })
    }

    /// Writes the ledger beside the old one, and in its place unless it says the same. The text is never in memory as a whole: a host of a
    /// thousand jails has some megabytes of it.
    fn replace(&self, ledger: &Ledger) -> std::io::Result<Digest> {
        let temporary = self.path.with_extension("json.new");
        let file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&temporary)?;
        let sink = Sink {
            file,
            digest: Sha256::new(),
        };
        let mut writer = BufWriter::with_capacity(BUFFER, sink);
        serde_json::to_writer(&mut writer, ledger)?;
        writer.flush()?;
        let sink = writer.into_inner().map_err(|error| error.into_error())?;
        let digest = sink.digest.finalize().into();
        if self.written == Some(digest) {
            std::fs::remove_file(&temporary)?;
            return Ok(digest);
        }
        sink.file.sync_all()?;
        std::fs::rename(&temporary, &self.path)?;
        let folder = self.path.parent().unwrap_or_else(|| Path::new("."));
        std::fs::File::open(folder)?.sync_all()?;
        Ok(digest)
    }
}

/// A file that is digested while it is written. It stands behind the buffer, so that neither meets the hundred thousand words of a ledger one by one.
struct Sink {
    file: std::fs::File,
    digest: Sha256,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let length = self.file.write(bytes)?;
        self.digest.update(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl LedgerFile for File {
    fn save(&mut self, ledger: &Ledger) -> Result<(), HostError> {
        let written = self.replace(ledger).map_err(|error| {
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
        })?;
        self.written = Some(written);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
