//! A FreeBSD host as the core sees it.

use std::path::Path;
use std::sync::{Arc, Mutex};

use cellblock_agent_core::host::{Host, HostError, Wanted};
use cellblock_agent_core::observed::Observed;
use cellblock_agent_core::op::Op;

use crate::observe;
use crate::perform::Performer;
use crate::system::System;

/// A host, driven by FreeBSD's own tools.
///
/// Every changing command is logged at `debug` with its words and what it read.
pub struct FreeBsd {
    system: Arc<dyn System>,
    folder: String,
    pf: Mutex<()>,
}

impl FreeBsd {
    /// The host of `system`, with the agent's files below `folder`, an absolute path such as `/var/db/cellblock`.
    #[must_use]
    pub fn new(system: Arc<dyn System>, folder: impl AsRef<Path>) -> Self {
        let folder = folder.as_ref().to_string_lossy();
        Self {
            system,
            folder: folder.trim_end_matches('/').to_owned(),
            pf: Mutex::new(()),
        }
    }

    /// What runs the commands.
    #[must_use]
    pub fn system(&self) -> &Arc<dyn System> {
        &self.system
    }
}

impl Host for FreeBsd {
    fn observe(&self, wanted: &Wanted) -> Result<Observed, HostError> {
        observe::look(self.system.as_ref(), &self.folder, wanted).map_err(HostError::from)
    }

    fn perform(&self, op: &Op) -> Result<(), HostError> {
        let performer = Performer {
            system: self.system.as_ref(),
            folder: &self.folder,
            pf: &self.pf,
        };
        performer.perform(op).map_err(HostError::from)
    }
}
