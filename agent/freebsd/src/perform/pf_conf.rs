//! The host's pf.conf, where its operator has asked for our block in it, and the main ruleset that is loaded from it.

use std::collections::BTreeSet;

use cellblock_agent_core::observed::AnchorReference;
use cellblock_agent_core::pf_conf;

use super::{Performer, effect};
use crate::command::{Command, Program};
use crate::error::Failure;
use crate::observe::{self, pf};
use crate::system::succeed;

impl Performer<'_> {
    /// The operator's pf.conf and main ruleset: nothing is written that pfctl(8) has not taken, and nothing over what somebody has written since. What is loaded is read back by the references
    /// to our anchors.
    pub(super) fn set_pf_conf(
        &self,
        path: &str,
        from: Option<&str>,
        to: Option<&str>,
        put_back: Option<&str>,
    ) -> Result<(), Failure> {
        let _one_at_a_time = self.lock();
        let is_loaded = self.is_pf_loaded(None)?;
        let read = || {
            let read = observe::pf_conf::read(self.system, path);
            read.map_err(|why| Failure::Changed(format!("{path}: {why}")))
        };
        let present = read()?;
        let beside = observe::pf_conf::beside(path).unwrap_or_default();
        if self.system.file_size(&beside)?.is_some() {
            self.system.remove_file(&beside)?;
        }
        if present.as_deref() != to && present.as_deref() == from {
            if let (true, None, Some(text)) = (is_loaded, put_back, to) {
                succeed(self.system, &observe::pf_conf::check(text))?;
            }
            match to {
                Some(text) => self.system.replace_file(path, &beside, text)?,
                None => self.system.remove_file(path)?,
            }
            effect(read()?.as_deref() == to, || {
                format!("{path} does not say what was written")
            })?;
        } else if present.as_deref() != to && put_back.is_none() {
            return Err(Failure::Changed(format!(
                "somebody has changed {path} just now"
            )));
        }
        if !is_loaded {
            return Ok(());
        }
        let load = match (put_back, to) {
            (Some(rules), _) => observe::pf_conf::put_back(rules, false),
            (None, Some(_)) => Command::new(Program::Pfctl, ["-f", path]),
            (None, None) => Command::new(Program::Pfctl, ["-f", "-"]).stdin(""),
        };
        let output = self.try_load(&load)?;
        if !output.is_success() {
            return Err(Failure::refused(&load, &output));
        }
        if put_back.is_none() && to.is_some_and(pf_conf::has_block) {
            let mut refers = BTreeSet::new();
            for what in ["-sn", "-sr"] {
                let shown = succeed(self.system, &Command::pfctl(None, [what]))?;
                refers.extend(pf::parse_references(&shown.stdout));
            }
            let mut all = AnchorReference::ALL.iter();
            effect(all.all(|one| refers.contains(one)), || {
                format!("{path} was loaded, and pf's main ruleset does not refer to our anchors")
            })?;
        }
        Ok(())
    }
}
