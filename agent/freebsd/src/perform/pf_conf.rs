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
    /// Nothing is written that pfctl(8) has not taken, and nothing over what somebody has written or loaded since, also while it was checked: file and rules are read again right before each step. Whatever fails before the file or the rules are another is [`Failure::NotBegun`].
    pub(super) fn set_pf_conf(&self, change: &Change<'_>) -> Result<(), Failure> {
        let _one_at_a_time = self.lock();
        let Change {
            path,
            from,
            to,
            main,
        } = *change;
        let unbegun = |error: Failure| Failure::NotBegun(error.to_string());
        let present = self
            .text(path)
            .map_err(|why| Failure::NotBegun(format!("{path}: {why}")))?;
        if present.as_deref() != from && present.as_deref() != to {
            return Err(rewritten(path));
        }
        self.remove_beside(path).map_err(unbegun)?;
        let load = match main {
            Some(main) if self.is_pf_loaded(None).map_err(unbegun)? => {
                let now = conf::main_ruleset(self.system).map_err(unbegun)?;
                if now.digest() != main.others {
                    return Err(reloaded());
                }
                let wanted = now.with(&main.references);
                succeed(self.system, &conf::load(&wanted, true)).map_err(unbegun)?;
                (now != wanted).then_some((now, wanted))
            }
            Some(_) | None => None,
        };
        let is_written = present.as_deref() == to;
        if let (false, Some(text), Some(_)) = (is_written, to, &load) {
            succeed(self.system, &conf::check(text)).map_err(unbegun)?;
        }
        if let Some((now, _)) = &load {
            self.still_loaded(now).map_err(unbegun)?;
        }
        self.still_written(path, present.as_deref())?;
        if !is_written && let Err(error) = self.write_text(path, to) {
            // It is written whole or not at all.
            let is_before = self.text(path).is_ok_and(|text| text.as_deref() == from);
            return Err(if is_before { unbegun(error) } else { error });
        }
        let Some((now, wanted)) = load else {
            return Ok(());
        };
        let loaded = self.load_main(&now, &wanted, || self.still_written(path, to));
        if let Err(Failure::NotBegun(_)) = &loaded
            && !is_written
            && self.text(path).is_ok_and(|text| text.as_deref() == to)
        {
            self.write_text(path, from)?;
        }
        loaded
    }

    /// That the file says that, and nobody has written it meanwhile.
    fn still_written(&self, path: &str, text: Option<&str>) -> Result<(), Failure> {
        match self.text(path) {
            Ok(now) if now.as_deref() == text => Ok(()),
            Ok(_) => Err(rewritten(path)),
            Err(why) => Err(Failure::NotBegun(format!("{path}: {why}"))),
        }
    }

    /// That this is the main ruleset, and nobody has loaded another meanwhile.
    fn still_loaded(&self, main: &MainRuleset) -> Result<(), Failure> {
        if conf::main_ruleset(self.system)? == *main {
            return Ok(());
        }
        Err(reloaded())
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
        match self.load_main(&now, &wanted, || Ok(())) {
            // Somebody has loaded others meanwhile: his are in force.
            Err(Failure::NotBegun(_)) => Ok(()),
            loaded => loaded,
        }
    }

    fn put_text_back(&self, change: &Change<'_>) -> Result<(), Failure> {
        let Change { path, from, to, .. } = *change;
        self.remove_beside(path)?;
        let present = match self.text(path) {
            Ok(present) => present,
            Err(Unread::Unfit(_)) => return Ok(()),
            Err(error @ Unread::Failed(_)) => {
                return Err(Failure::EffectMissing(format!("{path}: {error}")));
            }
        };
        if present.as_deref() == from && from != to {
            self.write_text(path, to)?;
        }
        Ok(())
    }

    /// Loads, and looks whether that is what is in force then; if not, it is again what it was. Before each try it is looked whether `now` is what is in force, and whether `may` has nothing against it: a
    /// load that lost its ticket (`DIOCXCOMMIT: Device busy`) lost it to somebody, whose rules may be in force by then. They stay, and it is [`Failure::NotBegun`].
    fn load_main(
        &self,
        now: &MainRuleset,
        wanted: &MainRuleset,
        may: impl Fn() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let load = conf::load(wanted, false);
        let output = self.try_load_while(&load, || {
            may()?;
            self.still_loaded(now)
        })?;
        if !output.is_success() {
            return Err(Failure::refused(&load, &output));
        }
        let then = conf::main_ruleset(self.system)?;
        // Other rules than those that were there are somebody's who has loaded right after us.
        if then != *wanted && then.digest() == now.digest() {
            let again = conf::load(now, false);
            self.try_load_while(&again, || self.still_loaded(&then))?;
        }
        effect(then == *wanted, || {
            "pf does not show the main ruleset that was loaded".to_owned()
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

fn rewritten(path: &str) -> Failure {
    Failure::NotBegun(format!("somebody has changed {path} just now"))
}

fn reloaded() -> Failure {
    Failure::NotBegun("somebody has loaded other rules just now".to_owned())
}
