//! `keep state (…)`: state options, and what they make of a rule.

use std::mem;

use super::host::TABLE_NAME_MAX;
use super::lex::Token;
use super::{Outcome, Parser};
use crate::pf::names;
use crate::pf::rule::{KeepState, Rule};

/// One state option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StateOption {
    Max(u32),
    NoSync,
    /// `source-track`: with `global` (false) or `rule` (true).
    SourceTrack(Option<bool>),
    MaxSrcStates(u32),
    MaxSrcConn(u32),
    MaxSrcConnRate(u32, u32),
    MaxSrcNodes(u32),
    Overload {
        table: String,
        flush: bool,
        global: bool,
    },
    Lock(bool),
    Sloppy,
    Pflow,
    AllowRelated,
    Timeout(u8, u32),
}

/// The largest rate that the kernel counts (`PF_THRESHOLD_MAX`).
const THRESHOLD_MAX: u32 = u32::MAX / 1000;

impl Parser<'_> {
    /// `keep state …`, `no state` and their kin; `None` if the next token begins none of them.
    pub(super) fn keep(&mut self) -> Outcome<Option<(KeepState, Vec<StateOption>)>> {
        let keep = match self.peek_key() {
            "no" => KeepState::No,
            "keep" => KeepState::Normal,
            "modulate" => KeepState::Modulate,
            "synproxy" => KeepState::Synproxy,
            _ => return Ok(None),
        };
        self.bump();
        self.expect_key("state")?;
        let mut options = Vec::new();
        if keep != KeepState::No && self.char('(') {
            options = self.state_options()?;
            self.expect_char(')')?;
        }
        Ok(Some((keep, options)))
    }

    /// `state_opt_list`.
    pub(super) fn state_options(&mut self) -> Outcome<Vec<StateOption>> {
        let mut options = Vec::new();
        loop {
            options.push(self.state_option()?);
            if !self.char(',') && !self.at_state_option() {
                return Ok(options);
            }
        }
    }

    fn at_state_option(&mut self) -> bool {
        matches!(
            self.peek(),
            Token::Word(_)
                | Token::Key(
                    "max"
                        | "no-sync"
                        | "max-src-states"
                        | "max-src-conn"
                        | "max-src-conn-rate"
                        | "overload"
                        | "max-src-nodes"
                        | "source-track"
                        | "if-bound"
                        | "floating"
                        | "sloppy"
                        | "pflow"
                        | "allow-related"
                )
        )
    }

    fn state_option(&mut self) -> Outcome<StateOption> {
        if self.at_word() {
            let name = self.word()?;
            let seconds = self.positive()?;
            let Some(index) = names::timeout_index(&name) else {
                return self.fail(&format!("illegal timeout name {name}"));
            };
            if !name.contains('.') {
                return self.fail(&format!("illegal state timeout {name}"));
            }
            return Ok(StateOption::Timeout(
                u8::try_from(index).expect("there are few timeouts"),
                seconds,
            ));
        }
        let Token::Key(key) = *self.peek() else {
            return self.syntax();
        };
        if !self.at_state_option() {
            return self.syntax();
        }
        if matches!(key, "if-bound" | "floating") {
            return Ok(StateOption::Lock(self.state_lock()?));
        }
        self.bump();
        Ok(match key {
            "max" => StateOption::Max(self.positive()?),
            "no-sync" => StateOption::NoSync,
            "max-src-states" => StateOption::MaxSrcStates(self.positive()?),
            "max-src-conn" => StateOption::MaxSrcConn(self.positive()?),
            "max-src-nodes" => StateOption::MaxSrcNodes(self.positive()?),
            "max-src-conn-rate" => {
                let limit = self.positive()?;
                self.expect_char('/')?;
                StateOption::MaxSrcConnRate(limit, self.positive()?)
            }
            "overload" => {
                self.expect_char('<')?;
                let table = self.word()?;
                self.expect_char('>')?;
                let flush = self.key("flush");
                let global = flush && self.key("global");
                if table.len() > TABLE_NAME_MAX {
                    return self.fail(&format!("table name '{table}' too long"));
                }
                StateOption::Overload {
                    table,
                    flush,
                    global,
                }
            }
            "source-track" => {
                let rule = if self.key("global") {
                    Some(false)
                } else {
                    self.key("rule").then_some(true)
                };
                StateOption::SourceTrack(rule)
            }
            "sloppy" => StateOption::Sloppy,
            "pflow" => StateOption::Pflow,
            _ => StateOption::AllowRelated,
        })
    }

    /// Puts the options into a rule, and checks that they agree (the loop over `o` in `pfrule`).
    pub(super) fn apply_state_options(
        &mut self,
        rule: &mut Rule,
        options: &[StateOption],
    ) -> Outcome<()> {
        let mut track: Option<Option<bool>> = None;
        let mut locked = false;
        for option in options {
            if let StateOption::SourceTrack(kind) = option {
                let again = matches!(track.replace(*kind), Some(Some(_)));
                self.once(again, "state option 'source-track'")?;
                rule.state.source_track = true;
            } else if let StateOption::Lock(if_bound) = option {
                self.once(mem::replace(&mut locked, true), "state locking option:")?;
                rule.state.if_bound |= if_bound;
            } else {
                self.apply_state_option(rule, option)?;
            }
        }
        let adaptive = ["adaptive.start", "adaptive.end"].map(|name| {
            let index = names::timeout_index(name).expect("the list of timeouts has it");
            u8::try_from(index).expect("there are few timeouts")
        });
        let state = &mut rule.state;
        if state.max > 0
            && !adaptive
                .iter()
                .any(|index| state.timeouts.contains_key(index))
        {
            state.timeouts.insert(adaptive[0], state.max / 10 * 6);
            state.timeouts.insert(adaptive[1], state.max / 10 * 12);
            state.timeouts.retain(|_, seconds| *seconds > 0);
        }
        if rule.state.source_track {
            self.check_tracking(rule, track.flatten())?;
        }
        if rule.keep_state != KeepState::No && !locked {
            rule.state.if_bound |= self.if_bound;
        }
        Ok(())
    }

    fn check_tracking(&mut self, rule: &mut Rule, kind: Option<bool>) -> Outcome<()> {
        if kind == Some(false) {
            let state = &rule.state;
            let refused = [
                ("max-src-nodes", state.max_src_nodes > 0),
                ("max-src-conn", state.max_src_conn > 0),
                ("max-src-conn-rate", state.max_src_conn_rate.1 > 0),
            ];
            if let Some((name, _)) = refused.iter().find(|(_, set)| *set) {
                return self.fail(&format!(
                    "'{name}' is incompatible with 'source-track global'"
                ));
            }
        }
        let index = names::timeout_index("src.track").expect("the list of timeouts has it");
        let index = u8::try_from(index).expect("there are few timeouts");
        let seconds = rule.state.max_src_conn_rate.1;
        if rule.state.timeouts.get(&index).copied().unwrap_or(0) < seconds {
            rule.state.timeouts.insert(index, seconds);
        }
        rule.state.source_track_rule |= kind == Some(true);
        Ok(())
    }

    fn once(&mut self, again: bool, what: &str) -> Outcome<()> {
        if again {
            self.fail(&format!("{what} multiple definitions"))
        } else {
            Ok(())
        }
    }

    /// Sets a number that may be set once and must not be zero.
    fn set_number(&mut self, place: &mut u32, value: u32, name: &str) -> Outcome<()> {
        self.once(*place > 0, &format!("state option '{name}'"))?;
        if value == 0 {
            return self.fail(&format!("'{name}' must be > 0"));
        }
        *place = value;
        Ok(())
    }

    fn apply_state_option(&mut self, rule: &mut Rule, option: &StateOption) -> Outcome<()> {
        let state = &mut rule.state;
        match option {
            StateOption::Max(number) => {
                self.once(state.max > 0, "state option 'max'")?;
                state.max = *number;
            }
            StateOption::NoSync => self.once(
                mem::replace(&mut state.no_sync, true),
                "state option 'sync'",
            )?,
            StateOption::MaxSrcStates(number) => {
                self.set_number(&mut state.max_src_states, *number, "max-src-states")?;
                state.source_track = true;
            }
            StateOption::MaxSrcConn(number) => {
                self.set_number(&mut state.max_src_conn, *number, "max-src-conn")?;
                (state.source_track, state.source_track_rule) = (true, true);
            }
            StateOption::MaxSrcNodes(number) => {
                self.set_number(&mut state.max_src_nodes, *number, "max-src-nodes")?;
                (state.source_track, state.source_track_rule) = (true, true);
            }
            StateOption::MaxSrcConnRate(limit, seconds) => {
                self.once(
                    state.max_src_conn_rate.0 > 0,
                    "state option 'max-src-conn-rate'",
                )?;
                if *limit == 0 || *seconds == 0 {
                    return self.fail("'max-src-conn-rate' values must be > 0");
                }
                if *limit > THRESHOLD_MAX {
                    return self.fail(&format!(
                        "'max-src-conn-rate' maximum rate must be < {THRESHOLD_MAX}"
                    ));
                }
                state.max_src_conn_rate = (*limit, *seconds);
                (state.source_track, state.source_track_rule) = (true, true);
            }
            StateOption::Overload {
                table,
                flush,
                global,
            } => {
                if !state.overload.is_empty() {
                    return self.fail("multiple 'overload' table definitions");
                }
                state.overload.clone_from(table);
                (state.flush, state.flush_global) = (*flush, *global);
            }
            StateOption::Sloppy => self.once(
                mem::replace(&mut state.sloppy, true),
                "state sloppy option:",
            )?,
            StateOption::Pflow => {
                self.once(mem::replace(&mut state.pflow, true), "state pflow option:")?
            }
            StateOption::AllowRelated => {
                self.once(
                    mem::replace(&mut state.allow_related, true),
                    "state allow-related option:",
                )?;
            }
            StateOption::Timeout(index, seconds) => {
                let name = names::TIMEOUTS[usize::from(*index)].0;
                self.once(
                    state.timeouts.contains_key(index),
                    &format!("state timeout {name}"),
                )?;
                if *seconds > 0 {
                    state.timeouts.insert(*index, *seconds);
                }
            }
            StateOption::SourceTrack(_) | StateOption::Lock(_) => {}
        }
        Ok(())
    }
}
