//! The walk over rules for one packet: `pf_match_translation` and `pf_match_rule`.

use std::net::IpAddr;

use super::matching::skip_over;
use super::pool::{self, Chosen};
use super::{Packet, place, ports_of};
use crate::pf::facts::{NetFacts, Release};
use crate::pf::kernel::{KernelRule, Pf, RuleId};
use crate::pf::rule::{Action, Direction, KeepState, Rule, RulesetKind, ScrubActions};

/// The place of `map-failed` among the reasons.
pub(super) const MAP_FAILED: usize = 15;
/// How deep anchors may call anchors (`PF_ANCHOR_STACK_MAX`).
const DEPTH_MAX: usize = 64;

/// A rule that matched.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) id: RuleId,
    pub(super) number: u32,
    pub(super) rule: Rule,
    /// The anchor rules it was reached through, outermost first.
    pub(super) callers: Vec<RuleId>,
}

/// A translation rule that matched.
#[derive(Debug, Clone)]
pub(super) struct Translated {
    pub(super) found: Found,
    pub(super) rule: Rule,
}

/// A `match` rule that matched.
#[derive(Debug, Clone)]
pub(super) struct Matched {
    pub(super) id: RuleId,
    pub(super) translates: bool,
}

/// Whether the walk goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    On,
    Quick,
}

type End = (IpAddr, u16);

/// What a walk over the rules found.
#[derive(Debug)]
pub(super) struct Findings {
    pub(super) found: Option<Found>,
    pub(super) translated: Option<Translated>,
    pub(super) matches: Vec<Matched>,
    /// What the rules that matched do to the packet beside.
    pub(super) scrub: ScrubActions,
    /// Source and destination as translated.
    pub(super) current: (End, End),
    pub(super) tag: Option<String>,
    pub(super) trail: Vec<String>,
}

impl Findings {
    /// The rule whose action counts: the filter rule, or a translation rule with `pass`.
    pub(super) fn deciding(&self) -> Option<&Found> {
        let sparing = self.translated.as_ref().filter(|one| one.rule.nat_pass);
        self.found.as_ref().or(sparing.map(|one| &one.found))
    }

    /// Whether the packet begins a state: its rule keeps one, or it is translated.
    pub(super) fn is_stateful(&self) -> bool {
        self.deciding()
            .is_some_and(|one| one.rule.keep_state != KeepState::No)
            || self.translated.is_some()
            || self.matches.iter().any(|one| one.translates)
    }
}

/// Rules looked at, by anchor and list.
pub(super) type Evaluated = Vec<(String, RulesetKind, Vec<usize>)>;

pub(super) struct Walk<'a> {
    pub(super) pf: &'a Pf,
    pub(super) facts: &'a dyn NetFacts,
    pub(super) packet: &'a Packet,
    pub(super) groups: Vec<String>,
    pub(super) loopback: bool,
    /// The anchor whose rules are walked: its tables come first.
    pub(super) scope: String,
    /// Source and destination as translated so far.
    pub(super) current: (End, End),
    evaluated: Evaluated,
    /// Rules whose pool moved on.
    pub(super) advanced: Vec<RuleId>,
    pub(super) found: Option<Found>,
    pub(super) translated: Option<Translated>,
    pub(super) matches: Vec<Matched>,
    pub(super) scrub: ScrubActions,
    pub(super) tag: Option<String>,
    pub(super) trail: Vec<String>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(pf: &'a Pf, facts: &'a dyn NetFacts, packet: &'a Packet) -> Self {
        let interface = facts.interface(&packet.interface).unwrap_or_default();
        let (source_port, destination_port) = ports_of(packet);
        Walk {
            pf,
            facts,
            packet,
            groups: interface.groups,
            loopback: interface.loopback,
            scope: String::new(),
            current: (
                (packet.source, source_port),
                (packet.destination, destination_port),
            ),
            evaluated: Vec::new(),
            advanced: Vec::new(),
            found: None,
            translated: None,
            matches: Vec::new(),
            scrub: ScrubActions::default(),
            tag: packet.tag.clone(),
            trail: Vec::new(),
        }
    }

    /// What was found, with the rules looked at and those whose pool moved on.
    pub(super) fn finish(self) -> (Evaluated, Vec<RuleId>, Findings) {
        let findings = Findings {
            found: self.found,
            translated: self.translated,
            matches: self.matches,
            scrub: self.scrub,
            current: self.current,
            tag: self.tag,
            trail: self.trail,
        };
        (self.evaluated, self.advanced, findings)
    }

    /// `pf_get_translation`: `binat` before `nat` on the way out, `rdr` before `binat` on the way in.
    pub(super) fn translate(&mut self) -> Result<(), String> {
        let kinds = match self.packet.direction {
            Direction::Out => [RulesetKind::Binat, RulesetKind::Nat],
            Direction::In => [RulesetKind::Rdr, RulesetKind::Binat],
        };
        let mut chosen = None;
        for kind in kinds {
            let mut last = None;
            self.translation_rules(kind, "", &mut Vec::new(), &mut last);
            if last.is_some() {
                chosen = last;
                break;
            }
        }
        let Some(found) = chosen else { return Ok(()) };
        let rule = found.rule.clone();
        let word = match rule.action {
            Action::Nat => "nat",
            Action::Rdr => "rdr",
            Action::Binat => "binat",
            Action::NoNat | Action::NoRdr | Action::NoBinat => {
                self.trail.push(format!(
                    "not translated, by {}",
                    place(&found.id.anchor, found.number)
                ));
                return Ok(());
            }
            Action::Pass | Action::Block | Action::Match | Action::Scrub | Action::NoScrub => {
                return Ok(());
            }
        };
        let spot = format!("{word} by {}", place(&found.id.anchor, found.number));
        self.apply(&found, &rule, rule.action, &rule.rdr)
            .ok_or_else(|| format!("{spot}: no address to translate to"))?;
        let ((source, source_port), (destination, destination_port)) = self.current;
        self.trail.push(format!(
            "{spot}: now {source} port {source_port} to {destination} port {destination_port}"
        ));
        self.translated = Some(Translated { found, rule });
        Ok(())
    }

    /// Rules of one kind in one anchor. Within a ruleset the first match counts. Across anchors 15.1 goes on behind an
    /// anchor that matched, so that the last one wins (`pf_match_translation_rule` always answers `PF_TEST_OK`); 14
    /// stops at the first match.
    fn translation_rules(
        &mut self,
        kind: RulesetKind,
        path: &str,
        callers: &mut Vec<RuleId>,
        last: &mut Option<Found>,
    ) {
        let Some(anchor) = self.pf.anchor(path) else {
            return;
        };
        if callers.len() >= DEPTH_MAX {
            return;
        }
        let rules = anchor.rules(kind);
        let outer = std::mem::replace(&mut self.scope, path.to_owned());
        let mut evaluated = Vec::new();
        let mut place = 0;
        while let Some(kernel) = rules.get(place) {
            evaluated.push(place);
            if let Some(skip) = self.translation_mismatch(&kernel.rule) {
                place = skip_over(rules, place, skip);
                continue;
            }
            if !kernel.rule.tag.is_empty() {
                self.tag = Some(kernel.rule.tag.clone());
            }
            let id = RuleId {
                anchor: path.to_owned(),
                kind,
                serial: kernel.serial,
            };
            match &kernel.calls {
                None => {
                    let negative = matches!(
                        kernel.rule.action,
                        Action::NoNat | Action::NoRdr | Action::NoBinat
                    );
                    // On 15.1 a `no` rule ends its own ruleset and nothing more.
                    if !negative || self.facts.release() == Release::V14 {
                        *last = Some(found(kernel, id, callers));
                    }
                    break;
                }
                Some((target, wildcard)) => {
                    callers.push(id);
                    for child in self.called(target, *wildcard) {
                        self.translation_rules(kind, &child, callers, last);
                        if last.is_some() && self.facts.release() == Release::V14 {
                            break;
                        }
                    }
                    callers.pop();
                    if last.is_some() && self.facts.release() == Release::V14 {
                        break;
                    }
                }
            }
            place += 1;
        }
        self.evaluated.push((path.to_owned(), kind, evaluated));
        self.scope = outer;
    }

    fn called(&self, target: &str, wildcard: bool) -> Vec<String> {
        if !wildcard {
            return vec![target.to_owned()];
        }
        let children = self.pf.anchor(target).map(|anchor| &anchor.children);
        children
            .into_iter()
            .flatten()
            .map(|name| format!("{target}/{name}"))
            .collect()
    }

    /// Walks the filter rules of the main ruleset, unless a translation rule with `pass` spares the packet that.
    pub(super) fn filter(&mut self) -> Result<(), String> {
        if self
            .translated
            .as_ref()
            .is_some_and(|one| one.rule.nat_pass)
        {
            return Ok(());
        }
        self.filter_rules("", &mut Vec::new())?;
        let Some(found) = self.found.clone() else {
            return Ok(());
        };
        self.scrub.add(&found.rule.scrub);
        self.translate_by(&found)
    }

    /// `nat-to` and `rdr-to` of a filter rule (`pf_rule_apply_nat`).
    fn translate_by(&mut self, found: &Found) -> Result<(), String> {
        let rule = &found.rule;
        for (action, pool) in [(Action::Nat, &rule.nat), (Action::Rdr, &rule.rdr)] {
            if pool.addresses.is_empty() || rule.af_to {
                continue;
            }
            let word = if action == Action::Nat {
                "nat-to"
            } else {
                "rdr-to"
            };
            let spot = format!("{word} by {}", place(&found.id.anchor, found.number));
            self.apply(found, rule, action, pool)
                .ok_or_else(|| format!("{spot}: no address to translate to"))?;
            self.trail.push(spot);
        }
        Ok(())
    }

    fn filter_rules(&mut self, path: &str, callers: &mut Vec<RuleId>) -> Result<Step, String> {
        let Some(anchor) = self.pf.anchor(path) else {
            return Ok(Step::On);
        };
        if callers.len() >= DEPTH_MAX {
            return Err("anchors call each other too deep".to_owned());
        }
        let rules = anchor.rules(RulesetKind::Filter);
        let outer = std::mem::replace(&mut self.scope, path.to_owned());
        let mut evaluated = Vec::new();
        let mut step = Step::On;
        let mut place = 0;
        while let Some(kernel) = rules.get(place) {
            evaluated.push(place);
            if let Some(skip) = self.filter_mismatch(&kernel.rule) {
                place = skip_over(rules, place, skip);
                continue;
            }
            if !kernel.rule.tag.is_empty() {
                self.tag = Some(kernel.rule.tag.clone());
            }
            let id = RuleId {
                anchor: path.to_owned(),
                kind: RulesetKind::Filter,
                serial: kernel.serial,
            };
            if let Some((target, wildcard)) = &kernel.calls {
                callers.push(id);
                let before = self.found.as_ref().map(|found| found.id.clone());
                // 15.1 marks the walk as ended before it steps into a quick anchor, so that nothing behind it, nor a
                // second child, is looked at even if no rule inside matches (`pf_match_rule`).
                let ends = kernel.rule.quick && self.facts.release() == Release::V15;
                for child in self.called(target, *wildcard) {
                    step = self.filter_rules(&child, callers)?;
                    if ends {
                        step = Step::Quick;
                    }
                    if step == Step::Quick {
                        break;
                    }
                }
                callers.pop();
                let matched = self.found.as_ref().map(|found| found.id.clone()) != before;
                if kernel.rule.quick && matched {
                    step = Step::Quick;
                }
            } else {
                let found = found(kernel, id, callers);
                if kernel.rule.action == Action::Match {
                    let translates = !kernel.rule.nat.addresses.is_empty()
                        || !kernel.rule.rdr.addresses.is_empty();
                    self.translate_by(&found)?;
                    self.scrub.add(&found.rule.scrub);
                    self.matches.push(Matched {
                        id: found.id,
                        translates,
                    });
                } else {
                    self.found = Some(found);
                }
                if kernel.rule.quick {
                    step = Step::Quick;
                }
            }
            if step == Step::Quick {
                break;
            }
            place += 1;
        }
        self.evaluated
            .push((path.to_owned(), RulesetKind::Filter, evaluated));
        self.scope = outer;
        Ok(step)
    }

    /// Puts the new address and port in place of the old.
    fn apply(
        &mut self,
        found: &Found,
        rule: &Rule,
        action: Action,
        target: &crate::pf::rule::Pool,
    ) -> Option<()> {
        let (source, destination) = self.current;
        let anchor = &found.id.anchor;
        let chosen = match (action, self.packet.direction) {
            (Action::Binat, Direction::In) => {
                let network = pool::networks_of(
                    self.pf,
                    self.facts,
                    anchor,
                    &rule.source.address,
                    destination.0,
                );
                Chosen {
                    address: pool::transplant(*network.first()?, destination.0),
                    advanced: false,
                }
            }
            (Action::Binat, Direction::Out) => {
                let entry = target.addresses.first()?;
                let network =
                    pool::networks_of(self.pf, self.facts, anchor, &entry.address, source.0);
                Chosen {
                    address: pool::transplant(*network.first()?, source.0),
                    advanced: false,
                }
            }
            _ => {
                let old = if action == Action::Nat {
                    source.0
                } else {
                    destination.0
                };
                let next = self.pf.anchor(anchor).and_then(|found_anchor| {
                    let rules = found_anchor.rules(found.id.kind);
                    rules
                        .iter()
                        .find(|kernel| kernel.serial == found.id.serial)
                        .map(|kernel| kernel.next_address)
                });
                pool::choose(
                    self.pf,
                    self.facts,
                    &found.id,
                    target,
                    (source.0, old),
                    next.unwrap_or(0),
                )?
            }
        };
        if chosen.advanced {
            self.advanced.push(found.id.clone());
        }
        let inward = action == Action::Rdr
            || (action == Action::Binat && self.packet.direction == Direction::In);
        if inward {
            let port = if action == Action::Rdr {
                pool::redirected_port(target.ports, rule.destination.port, destination.1)
            } else {
                destination.1
            };
            self.current.1 = (chosen.address, port);
        } else {
            let port = if action == Action::Nat {
                pool::source_port(
                    self.pf,
                    self.packet,
                    target.ports,
                    chosen.address,
                    (source, destination),
                )?
            } else {
                source.1
            };
            self.current.0 = (chosen.address, port);
        }
        Some(())
    }
}

fn found(kernel: &KernelRule, id: RuleId, callers: &[RuleId]) -> Found {
    Found {
        id,
        number: kernel.rule.number,
        rule: kernel.rule.clone(),
        callers: callers.to_vec(),
    }
}
