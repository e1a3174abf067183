//! Mounts that a jail left behind.

use super::{Performer, effect};
use crate::command::{Command, Program};
use crate::error::Failure;
use crate::observe;
use crate::system::succeed;

impl Performer<'_> {
    /// `umount`, never by force: what is busy is busy for a reason that the message names.
    pub(super) fn unmount(&self, target: &str) -> Result<(), Failure> {
        if !target.starts_with('/') || target == "/" {
            return Err(Failure::Word {
                what: "the mount point",
                word: target.to_owned(),
            });
        }
        let before = self.mounts_on(target)?;
        if before == 0 {
            return Ok(());
        }
        self.change(&Command::new(Program::Umount, [target]))?;
        let after = self.mounts_on(target)?;
        effect(after < before, || format!("{target} is still mounted"))
    }

    fn mounts_on(&self, target: &str) -> Result<usize, Failure> {
        let command = Command::new(Program::Mount, ["-p"]);
        let mounts = observe::mount::parse(&succeed(self.system, &command)?.stdout);
        Ok(mounts.iter().filter(|mount| mount.target == target).count())
    }
}
