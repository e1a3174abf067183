//! The ledger on a disk: one file, to which changes are appended, and which is written anew beside itself when it has outgrown what it says.
//!
//! ```text
//! ledger.json   {"version":3,"snapshot":{…},"sum":"…"}     everything, as it was when the file was begun
//!               {"changes":[…],"sum":"…"}                  each commit since: one line, synced before it counts
//! ledger.json.new                                          the next file while it is written; it counts once it was renamed
//! ```
//!
//! How a line is written and read is `text`; which file is touched when, and what is trusted after a failure, is here. Only one rule makes that safe: **a file is
//! appended to only while everything that was done to it went well.** After any failure, whatever it left, the next commit begins a new file out of the memory. So what is not
//! whole can stand at the end of the file that counts and nowhere else, and reading leaves it out.
//!
//! The disk comes in as [`Disk`]: the agent's folder, or a fake that fails and loses what was not synced.

use std::fmt;
use std::io::{self, BufWriter, Write as _};

use super::record::Written;
use super::{Change, LEDGER_VERSION, Ledger};
use text::{BUFFER, Chain};

mod text;

pub use text::Unreadable;

/// How much is appended to a file at least before it is written anew, in octets: below this the file is small, and syncing it costs more than writing it.
const SLACK_MIN: u64 = 256 << 10;

/// The file of a journal, and the one beside it that is to take its place. One process uses it at a time.
pub trait Disk {
    /// An open file; what is written goes to its end.
    type File: io::Write + fmt::Debug;

    /// The octets of the file that counts, synced, with its folder: what was read does not vanish any more. None where there is none.
    ///
    /// # Errors
    /// It could not be read or synced.
    fn read(&mut self) -> io::Result<Option<Vec<u8>>>;

    /// Opens the file that counts.
    ///
    /// # Errors
    /// It could not be opened for writing.
    fn open(&mut self) -> io::Result<Self::File>;

    /// Makes the file beside it, empty, whatever stood there.
    ///
    /// # Errors
    /// It could not be made.
    fn begin(&mut self) -> io::Result<Self::File>;

    /// Brings what was written to the disk, with the file's length.
    ///
    /// # Errors
    /// It is not known what of it is on the disk.
    fn sync(&mut self, file: &mut Self::File) -> io::Result<()>;

    /// Puts the file beside in the place of the one that counts, at once and for good: a power failure finds one or the other, and after it returned the new one.
    ///
    /// # Errors
    /// Either of them may count.
    fn replace(&mut self) -> io::Result<()>;

    /// Whether `file` is the one that counts and has this length: nobody has moved it away or written into it.
    fn is_in_place(&mut self, file: &Self::File, length: u64) -> bool;

    /// Gives back the room of what was written beyond `length`, as far as that can be done.
    fn cut(&mut self, file: &mut Self::File, length: u64);
}

/// What a disk had of a ledger.
#[derive(Debug)]
pub struct Loaded {
    /// The ledger; an empty one where there was no file.
    pub ledger: Ledger,
    /// How many octets at the end were left out: a commit that was cut short by the end of the agent or of the power, and that nobody was told had succeeded.
    pub torn: u64,
}

/// Why there is no ledger to be had.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The disk.
    #[error("it could not be read")]
    Disk(#[source] io::Error),
    /// The text.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

/// A ledger's file.
#[derive(Debug)]
pub struct Journal<D: Disk> {
    disk: D,
    slack_min: u64,
    /// What may be appended to; none: the next commit begins a new file.
    tail: Option<Tail<D::File>>,
}

/// The end of a file of which everything is known.
#[derive(Debug)]
struct Tail<F> {
    file: F,
    chain: Chain,
    length: u64,
    /// A file of this length is written anew.
    length_max: u64,
}

impl<D: Disk> Journal<D> {
    /// The journal on `disk`, not read yet.
    pub fn new(disk: D) -> Self {
        Self::with_slack(disk, SLACK_MIN)
    }

    /// One that is written anew after `slack_min` octets, for small files.
    pub fn with_slack(disk: D, slack_min: u64) -> Self {
        Self {
            disk,
            slack_min,
            tail: None,
        }
    }

    /// Reads the ledger.
    ///
    /// # Errors
    /// It cannot be read, is damaged, or of a newer agent. Nothing was changed.
    pub fn load(&mut self) -> Result<Loaded, LoadError> {
        self.tail = None;
        let Some(bytes) = self.disk.read().map_err(LoadError::Disk)? else {
            return Ok(Loaded {
                ledger: Ledger::new(),
                torn: 0,
            });
        };
        let text = text::read(&bytes)?;
        if text.version == LEDGER_VERSION && text.torn == 0 {
            // Where it cannot be opened a new one is begun, and that says why it cannot be.
            self.tail = self.disk.open().ok().map(|file| Tail {
                file,
                chain: text.chain,
                length: text.length,
                length_max: self.length_max(text.snapshot),
            });
        }
        Ok(Loaded {
            ledger: text.contents.into(),
            torn: text.torn,
        })
    }

    /// Writes changes to `ledger`, which is the ledger without them.
    ///
    /// # Errors
    /// They may be on the disk or not, and everything from before is.
    pub fn append(&mut self, ledger: &Ledger, changes: &[Change]) -> io::Result<()> {
        // It is put back when all went well.
        let Some(mut tail) = self.tail.take() else {
            return self.begin(ledger, changes);
        };
        if !self.disk.is_in_place(&tail.file, tail.length) {
            return self.begin(ledger, changes);
        }
        if tail.length >= tail.length_max {
            let begun = self.begin(ledger, changes);
            if begun.is_ok() || !self.disk.is_in_place(&tail.file, tail.length) {
                return begun;
            }
            // There is no room for a second file. The first is as good as it was, and is written anew when it has grown as much again.
            tail.length_max = tail.length.saturating_mul(2);
        }
        let written = self.write_changes(&mut tail, ledger, changes);
        if written.is_ok() {
            self.tail = Some(tail);
        } else {
            self.disk.cut(&mut tail.file, tail.length);
        }
        written
    }

    fn write_changes(
        &mut self,
        tail: &mut Tail<D::File>,
        ledger: &Ledger,
        changes: &[Change],
    ) -> io::Result<()> {
        let mut writer = BufWriter::with_capacity(BUFFER, UntilError::new(&mut tail.file));
        let written = Written::all(ledger, changes);
        let (chain, length) = text::write_changes(tail.chain, &written, &mut writer)?;
        writer.flush()?;
        drop(writer);
        self.disk.sync(&mut tail.file)?;
        tail.chain = chain;
        tail.length += length;
        Ok(())
    }

    /// Begins a new file with all of `ledger`, followed by the changes, and puts it in the place of the old one.
    fn begin(&mut self, ledger: &Ledger, changes: &[Change]) -> io::Result<()> {
        let mut file = self.disk.begin()?;
        match self.fill(&mut file, ledger, changes) {
            Ok((chain, length, length_max)) => {
                self.disk.replace()?;
                self.tail = Some(Tail {
                    file,
                    chain,
                    length,
                    length_max,
                });
                Ok(())
            }
            Err(error) => {
                self.disk.cut(&mut file, 0);
                Err(error)
            }
        }
    }

    fn fill(
        &mut self,
        file: &mut D::File,
        ledger: &Ledger,
        changes: &[Change],
    ) -> io::Result<(Chain, u64, u64)> {
        let mut writer = BufWriter::with_capacity(BUFFER, UntilError::new(&mut *file));
        let (mut chain, snapshot) = text::write_snapshot(ledger, &mut writer)?;
        let mut length = snapshot;
        if !changes.is_empty() {
            let written = Written::all(ledger, changes);
            let (after, more) = text::write_changes(chain, &written, &mut writer)?;
            chain = after;
            length += more;
        }
        writer.flush()?;
        drop(writer);
        self.disk.sync(file)?;
        // With a first commit as large as everything before it the next snapshot says more than this one.
        Ok((chain, length, self.length_max(length)))
    }

    /// How long a file may become whose first `content` octets say everything: twice that, so that all that is ever written is in proportion to what was appended.
    fn length_max(&self, content: u64) -> u64 {
        content.saturating_add(content.max(self.slack_min))
    }
}

/// A file into which nothing is written any more after one write has failed. A buffer writes what it still holds when it is dropped, and what has failed may be there already.
#[derive(Debug)]
struct UntilError<W> {
    to: W,
    has_failed: bool,
}

impl<W> UntilError<W> {
    fn new(to: W) -> Self {
        Self {
            to,
            has_failed: false,
        }
    }
}

impl<W: io::Write> io::Write for UntilError<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if self.has_failed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let written = self.to.write(octets);
        let ends = |error: &io::Error| error.kind() != io::ErrorKind::Interrupted;
        self.has_failed = written.as_ref().is_err_and(ends);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
