//! Files below the agent's folder, and nowhere else.

use super::{Performer, effect};
use crate::error::Failure;

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

    pub(super) fn remove_file(&self, path: &str) -> Result<(), Failure> {
        let path = self.path(path)?;
        self.system.remove_file(path)?;
        let gone = self.system.read_file(path)?.is_none();
        effect(gone, || format!("{path} is still there"))
    }
}
