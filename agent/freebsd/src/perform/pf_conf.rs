//! The host's pf.conf, where its operator has asked for our block in it, and what of pf's main ruleset refers to our anchors.

use cellblock_agent_core::op::PfMain;
use cellblock_agent_core::pf_conf::MainRuleset;

use super::{Performer, effect};
use crate::error::Failure;
use crate::observe::pf_conf::{self as conf, Unread};
use crate::system::succeed;

/// `Op::SetPfConf`.
#[derive(Clone, Copy)]
pub(super) struct Change<'a> {
    pub(super) path: &'a str,
    pub(super) from: Option<&'a str>,
    pub(super) to: Option<&'a str>,
    pub(super) main: Option<&'a PfMain>,
}

impl Performer<'_> {
    /// Nothing is written that pfctl(8) has not taken, and nothing over what somebody has written or loaded since. Whatever fails before the file or the rules are another is [`Failure::NotBegun`].
    pub(super) fn set_pf_conf(&self, change: &Change<'_>) -> Result<(), Failure> {
        let _one_at_a_time = self.lock();
        let Change {
            path,
            from,
            to,
            main,
        } = *change;
        let unbegun = |error: Failure| Failure::NotBegun(error.to_string());
        let changed = || Failure::NotBegun(format!("somebody has changed {path} just now"));
        let present = self
            .text(path)
            .map_err(|why| Failure::NotBegun(format!("{path}: {why}")))?;
        if present.as_deref() != from && present.as_deref() != to {
            return Err(changed());
        }
        self.remove_beside(path).map_err(unbegun)?;
        let load = match main {
            Some(main) if self.is_pf_loaded(None).map_err(unbegun)? => {
                let now = conf::main_ruleset(self.system).map_err(unbegun)?;
                if now.digest() != main.others {
                    let why = "somebody has loaded other rules just now";
                    return Err(Failure::NotBegun(why.to_owned()));
                }
                let wanted = now.with(&main.references);
                succeed(self.system, &conf::load(&wanted, true)).map_err(unbegun)?;
                (now != wanted).then_some((now, wanted))
            }
            Some(_) | None => None,
        };
        if present.as_deref() != to {
            if let (Some(text), Some(_)) = (to, &load) {
                succeed(self.system, &conf::check(text)).map_err(unbegun)?;
            }
            if let Err(error) = self.write_text(path, to) {
                // It is written whole or not at all.
                let is_before = self.text(path).is_ok_and(|text| text.as_deref() == from);
                return Err(if is_before { unbegun(error) } else { error });
            }
        }
        match load {
            Some((now, wanted)) => self.load_main(&now, &wanted),
            None => Ok(()),
        }
    }

    /// The rules first: a file that cannot be written is no reason to leave the host cut off. Of both, what somebody has changed since is his.
    pub(super) fn put_pf_conf_back(&self, change: &Change<'_>) -> Result<(), Failure> {
        let _one_at_a_time = self.lock();
        let rules = change.main.map_or(Ok(()), |main| self.put_main_back(main));
        let file = self.put_text_back(change);
        rules.and(file)
    }

    fn put_main_back(&self, main: &PfMain) -> Result<(), Failure> {
        if !self.is_pf_loaded(None)? {
            return Ok(());
        }
        let now = conf::main_ruleset(self.system)?;
        let wanted = now.with(&main.references);
        if now.digest() != main.others || now == wanted {
            return Ok(());
        }
        self.load_main(&now, &wanted)
    }

    fn put_text_back(&self, change: &Change<'_>) -> Result<(), Failure> {
        let Change { path, from, to, .. } = *change;
        let present = match self.text(path) {
            Ok(present) => present,
            Err(Unread::Unfit(_)) => return Ok(()),
            Err(error @ Unread::Failed(_)) => {
                return Err(Failure::EffectMissing(format!("{path}: {error}")));
            }
        };
        self.remove_beside(path)?;
        if present.as_deref() == from && from != to {
            self.write_text(path, to)?;
        }
        Ok(())
    }

    /// Loads, and looks whether that is what is in force then; if not, it is again what it was.
    fn load_main(&self, now: &MainRuleset, wanted: &MainRuleset) -> Result<(), Failure> {
        let load = conf::load(wanted, false);
        let output = self.try_load(&load)?;
        if !output.is_success() {
            return Err(Failure::refused(&load, &output));
        }
        let is_so = conf::main_ruleset(self.system)? == *wanted;
        if !is_so {
            self.try_load(&conf::load(now, false))?;
        }
        effect(is_so, || {
            "pf does not show the main ruleset that was loaded, and what was loaded before was loaded again".to_owned()
        })
    }

    fn text(&self, path: &str) -> Result<Option<String>, Unread> {
        Ok(conf::read(self.system, path)?.map(|file| file.text))
    }

    fn write_text(&self, path: &str, text: Option<&str>) -> Result<(), Failure> {
        let beside = conf::beside(path).unwrap_or_default();
        match text {
            Some(text) => self.system.replace_file(path, &beside, text)?,
            None => self.system.remove_file(path)?,
        }
        let is_so = self.text(path).is_ok_and(|now| now.as_deref() == text);
        effect(is_so, || format!("{path} does not say what was written"))
    }

    fn remove_beside(&self, path: &str) -> Result<(), Failure> {
        let beside = conf::beside(path).unwrap_or_default();
        if self.system.file_size(&beside)?.is_some() {
            self.system.remove_file(&beside)?;
        }
        Ok(())
    }
}
