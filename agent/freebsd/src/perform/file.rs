//! Files below the agent's folder, and nowhere else.

use super::{Performer, effect};
use crate::error::Failure;

/// How much of a console log is kept when it is emptied, in octets: what an operator reads after a jail has died, without the risk that a jail fills the disk.
const CONSOLE_KEPT_BYTES: u64 = 1 << 20;

impl Performer<'_> {
    /// A path below the folder, without a way out of it.
    fn path<'p>(&self, path: &'p str) -> Result<&'p str, Failure> {
        let below = path
            .strip_prefix(self.folder)
            .and_then(|rest| rest.strip_prefix('/'));
        let inside = below.is_some_and(|rest| {
            !rest.is_empty() && rest.split('/').all(|part| !matches!(part, "" | "." | ".."))
        });
        if inside {
            Ok(path)
        } else {
            Err(Failure::Word {
                what: "the path outside the agent's folder",
                word: path.to_owned(),
            })
        }
    }

    pub(super) fn write_file(&self, path: &str, content: &str) -> Result<(), Failure> {
        let path = self.path(path)?;
        self.system.write_file(path, content)?;
        let now = self.system.read_file(path)?;
        effect(now.as_deref() == Some(content), || {
            format!("{path} does not hold what was written")
        })
    }

    /// Keeps the end of a console log beside it, and empties it. The daemons of the jail have it open to append (`O_APPEND`, usr.sbin/jail/command.c): renaming it, as newsyslog(8) does, would
    /// leave them writing into a file that nobody bounds.
    pub(super) fn rotate_console(&self, path: &str) -> Result<(), Failure> {
        let path = self.path(path)?;
        let beside = format!("{path}.0");
        if self.system.file_size(path)?.is_none_or(|size| size == 0) {
            return Ok(());
        }
        self.system.rotate_file(path, &beside, CONSOLE_KEPT_BYTES)?;
        Ok(())
    }

    pub(super) fn remove_file(&self, path: &str) -> Result<(), Failure> {
        let path = self.path(path)?;
        self.system.remove_file(path)?;
        let gone = self.system.read_file(path)?.is_none();
        effect(gone, || format!("{path} is still there"))
    }
}
