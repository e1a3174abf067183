//! `set …`: what the text wants of pf as a whole.

use std::collections::BTreeMap;

use super::lex::Token;
use super::{Outcome, Parser, Section};
use crate::pf::names::{self, LIMITS, TIMEOUTS};
use crate::pf::rule::Return;

/// What `set` said; `None` or absent where it said nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// `set limit`, by place in pfctl's list of limits.
    pub limits: BTreeMap<usize, u32>,
    /// `set timeout` and `set optimization`, by place in pfctl's list of timeouts.
    pub timeouts: BTreeMap<usize, u32>,
    /// `set loginterface`; empty for `none`.
    pub log_interface: Option<String>,
    /// `set hostid`.
    pub host_id: Option<u32>,
    /// `set debug`, 0 none to 3 loud.
    pub debug: Option<u8>,
    /// `set reassemble`, and whether with `no-df`.
    pub reassemble: Option<(bool, bool)>,
    /// `set skip on`, groups not yet resolved.
    pub skip: Vec<String>,
    /// `set keepcounters`.
    pub keep_counters: bool,
    /// `set syncookies`: never, always, adaptive.
    pub syncookies: Option<&'static str>,
    /// `set ruleset-optimization none`: pfctl leaves the rules as they are.
    pub optimize: Option<bool>,
}

/// The names of `set debug` and `-x`.
pub(crate) const DEBUG_LEVELS: [&str; 4] = ["none", "urgent", "misc", "loud"];

/// The timeouts of `set optimization` (`pf_hints` of pfctl.c): first, opening, established, closing, finwait, closed,
/// tsdiff.
const HINTS: &[(&str, [u32; 7])] = &[
    ("normal", [120, 30, 86_400, 900, 45, 90, 30]),
    ("satellite", [180, 35, 86_400, 905, 50, 95, 60]),
    ("high-latency", [180, 35, 86_400, 905, 50, 95, 60]),
    ("conservative", [3_600, 900, 432_000, 3_600, 600, 180, 60]),
    ("aggressive", [30, 5, 18_000, 60, 30, 30, 10]),
];

impl Parser<'_> {
    pub(super) fn option(&mut self) -> Outcome<()> {
        self.bump();
        let Token::Key(key) = *self.peek() else {
            return self.syntax();
        };
        self.bump();
        match key {
            "reassemble" => self.set_reassemble(),
            "optimization" => self.set_optimization(),
            "ruleset-optimization" => self.set_ruleset_optimization(),
            "timeout" => self.set_list(Self::timeout),
            "limit" => self.set_list(Self::limit),
            "loginterface" => self.set_log_interface(),
            "hostid" => self.set_host_id(),
            "block-policy" | "fail-policy" => self.set_policy(key),
            "require-order" => {
                let yes = self.yes_or_no()?;
                self.say(&format!(
                    "set require-order {}",
                    if yes { "yes" } else { "no" }
                ));
                self.require_order = yes;
                Ok(())
            }
            "fingerprints" => {
                let file = self.word()?;
                self.say(&format!("set fingerprints \"{file}\""));
                self.enter(Section::Option)
            }
            "state-policy" => {
                self.if_bound = self.state_lock()?;
                self.say(&format!(
                    "set state-policy {}",
                    if self.if_bound {
                        "if-bound"
                    } else {
                        "floating"
                    }
                ));
                Ok(())
            }
            "debug" => self.set_debug(),
            "skip" => self.set_skip(),
            "state-defaults" => {
                let options = self.state_options()?;
                if self.state_defaults.is_some() {
                    return self.fail("cannot redefine state-defaults");
                }
                self.state_defaults = Some(options);
                Ok(())
            }
            "keepcounters" => {
                self.settings.keep_counters = true;
                Ok(())
            }
            "syncookies" => self.set_syncookies(),
            _ => self.syntax(),
        }
    }

    /// `if-bound` or `floating`; true for the former.
    pub(super) fn state_lock(&mut self) -> Outcome<bool> {
        if self.key("if-bound") {
            return Ok(true);
        }
        self.expect_key("floating")?;
        Ok(false)
    }

    fn yes_or_no(&mut self) -> Outcome<bool> {
        if self.key("no") {
            return Ok(false);
        }
        let word = self.word()?;
        if word == "yes" {
            return Ok(true);
        }
        self.fail(&format!("invalid value '{word}', expected 'yes' or 'no'"))
    }

    fn set_reassemble(&mut self) -> Outcome<()> {
        let yes = self.yes_or_no()?;
        let no_df = self.key("no-df");
        self.enter(Section::Option)?;
        if self.request.with_settings {
            self.settings.reassemble = Some((yes, no_df));
            let (yes, no_df) = (
                if yes { "yes" } else { "no" },
                if no_df { "no-df" } else { "" },
            );
            self.say(&format!("set reassemble {yes} {no_df}"));
        }
        Ok(())
    }

    fn set_optimization(&mut self) -> Outcome<()> {
        let name = self.word()?;
        self.enter(Section::Option)?;
        if !self.request.with_settings {
            return Ok(());
        }
        let Some((_, hints)) = HINTS
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(&name))
        else {
            self.warn("pfctl: invalid state timeouts optimization");
            return self.fail(&format!("unknown optimization {name}"));
        };
        self.settings
            .timeouts
            .extend(hints.iter().copied().enumerate());
        self.say(&format!("set optimization {name}"));
        Ok(())
    }

    fn set_ruleset_optimization(&mut self) -> Outcome<()> {
        let name = self.words()?;
        let optimize = match name.as_str() {
            "none" => false,
            "basic" | "profile" => true,
            _ => return self.fail(&format!("unknown ruleset-optimization {name}")),
        };
        self.settings.optimize.get_or_insert(optimize);
        Ok(())
    }

    fn set_list(&mut self, mut item: impl FnMut(&mut Self) -> Outcome<()>) -> Outcome<()> {
        if self.at_char('{') {
            self.braced(item).map(|_| ())
        } else {
            item(self)
        }
    }

    fn timeout(&mut self) -> Outcome<()> {
        let name = if self.key("interval") {
            "interval".to_owned()
        } else {
            self.word()?
        };
        let seconds = self.number_in_section()?;
        if !self.request.with_settings {
            return Ok(());
        }
        let Some(index) = TIMEOUTS
            .iter()
            .position(|(known, _)| known.eq_ignore_ascii_case(&name))
        else {
            self.warn("pfctl: Bad timeout name.");
            return self.fail(&format!("unknown timeout {name}"));
        };
        self.settings.timeouts.insert(index, seconds);
        self.say(&format!("set timeout {name} {seconds}"));
        Ok(())
    }

    fn limit(&mut self) -> Outcome<()> {
        let name = self.word()?;
        let number = self.number_in_section()?;
        let Some(index) = LIMITS
            .iter()
            .position(|(known, _)| known.eq_ignore_ascii_case(&name))
        else {
            self.warn("pfctl: Bad pool name.");
            return self.fail(&format!("unable to set limit {name} {number}"));
        };
        self.settings.limits.insert(index, number);
        self.say(&format!("set limit {name} {number}"));
        Ok(())
    }

    /// A number whose limits are checked only behind the order of sections.
    fn number_in_section(&mut self) -> Outcome<u32> {
        let number = self.plain_number()?;
        self.enter(Section::Option)?;
        match u32::try_from(number) {
            Ok(number) => Ok(number),
            Err(_) => self.fail("only positive values permitted"),
        }
    }

    fn set_log_interface(&mut self) -> Outcome<()> {
        let name = if self.key("all") {
            "all".to_owned()
        } else {
            self.word()?
        };
        self.enter(Section::Option)?;
        if self.request.with_settings {
            self.say(&format!("set loginterface {name}"));
            self.settings.log_interface = Some(if name == "none" { String::new() } else { name });
        }
        Ok(())
    }

    fn set_host_id(&mut self) -> Outcome<()> {
        let number = self.any_number()?;
        let Some(id) = u32::try_from(number).ok().filter(|id| *id != 0) else {
            return self.fail("hostid must be non-zero");
        };
        if self.request.with_settings {
            self.settings.host_id = Some(id);
            self.say(&format!("set hostid 0x{id:08x}"));
        }
        Ok(())
    }

    fn set_policy(&mut self, key: &str) -> Outcome<()> {
        let policy = if self.key("return") {
            Return::Return
        } else {
            self.expect_key("drop")?;
            Return::Drop
        };
        self.say(&format!(
            "set {key} {}",
            if policy == Return::Drop {
                "drop"
            } else {
                "return"
            }
        ));
        self.enter(Section::Option)?;
        if key == "block-policy" {
            self.block_policy = policy;
        } else {
            self.fail_policy = policy;
        }
        Ok(())
    }

    fn set_debug(&mut self) -> Outcome<()> {
        // `debug` is followed by a word; `none` and its kin are no keywords.
        let name = self.word()?;
        self.enter(Section::Option)?;
        if !self.request.with_settings {
            return Ok(());
        }
        let Some(level) = DEBUG_LEVELS.iter().position(|known| *known == name) else {
            self.warn(&format!("pfctl: unknown debug level \"{name}\""));
            return self.fail(&format!("error setting debuglevel {name}"));
        };
        self.settings.debug = u8::try_from(level).ok();
        self.say(&format!("set debug {name}"));
        Ok(())
    }

    /// `set skip on` (`expand_skip_interface`); it keeps to no order.
    fn set_skip(&mut self) -> Outcome<()> {
        let interfaces = self.interfaces()?;
        let none = interfaces.is_empty()
            || matches!(interfaces.as_slice(), [only] if !only.negated && only.name == "none");
        if none {
            self.say("set skip on none");
            if self.request.with_settings {
                self.settings.skip.clear();
            }
            return Ok(());
        }
        let names: Vec<&str> = interfaces
            .iter()
            .map(|interface| interface.name.as_str())
            .collect();
        let mut failed = false;
        for interface in &interfaces {
            if interface.negated {
                self.complain("skip on ! <interface> is not supported");
                failed = true;
            } else if self.request.with_settings {
                self.settings.skip.push(interface.name.clone());
            }
        }
        self.say(&format!("set skip on {{ {} }}", names.join(" ")));
        if failed {
            self.fail("error setting skip interface(s)")
        } else {
            Ok(())
        }
    }

    fn set_syncookies(&mut self) -> Outcome<()> {
        let mode = match self.word()?.as_str() {
            "never" => "never",
            "adaptive" => "adaptive",
            "always" => "always",
            _ => return self.fail("illegal value for syncookies"),
        };
        let mut marks = None;
        if self.char('(') {
            let (mut start, mut end) = (0_u8, 0_u8);
            loop {
                let name = self.word()?;
                let value = self.word()?;
                let percent = value
                    .strip_suffix('%')
                    .and_then(|text| text.parse::<f64>().ok());
                let Some(percent) = percent else {
                    return Err(super::Abandon);
                };
                if percent <= 0.0 || percent > 100.0 {
                    return self.fail("illegal percentage value");
                }
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "1 to 100, cut as in C"
                )]
                let percent = percent as u8;
                match name.as_str() {
                    "start" => start = percent,
                    "end" => end = percent,
                    _ => return self.fail("illegal syncookie option"),
                }
                if self.char(')') {
                    break;
                }
                self.char(',');
            }
            marks = Some((start, end));
        }
        self.peek();
        let mut shown = String::new();
        if let Some((start, end)) = marks {
            if mode != "adaptive" {
                self.warn("pfctl: syncookies start/end only apply to adaptive");
                return self.fail("error setting syncookies");
            }
            let start = if start == 0 { 25 } else { start };
            let end = if end == 0 { start / 2 } else { end };
            if end >= start {
                self.warn("pfctl: start must be higher than end");
                return self.fail("error setting syncookies");
            }
            shown = format!(" (start {start}%, end {end}%)");
        }
        self.say(&format!("set syncookies {mode}{shown}"));
        self.settings.syncookies = Some(mode);
        Ok(())
    }
}

/// The full list of timeouts, in pfctl's order, with these in place of the defaults.
pub(crate) fn timeouts_with(settings: &Settings) -> Vec<u32> {
    let mut timeouts: Vec<u32> = names::TIMEOUTS
        .iter()
        .map(|(_, seconds)| *seconds)
        .collect();
    for (index, seconds) in &settings.timeouts {
        timeouts[*index] = *seconds;
    }
    timeouts
}
