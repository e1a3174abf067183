//! `anchor` with rules between braces or without, `nat-anchor` and its kin, `load anchor`.

use super::expand::Expansion;
use super::lex::Token;
use super::{Level, Outcome, Parser, Section};
use crate::pf::rule::{Action, Op, Rule, Ruleset};

/// How deep braces may nest (`PFCTL_ANCHOR_STACK_DEPTH`).
const BRACES_MAX: usize = 64;

impl Parser<'_> {
    pub(super) fn anchor_rule(&mut self) -> Outcome<()> {
        let Token::Key(key) = *self.peek() else {
            return self.syntax();
        };
        self.bump();
        match key {
            "nat-anchor" => self.translation_anchor(Action::Nat),
            "rdr-anchor" => self.translation_anchor(Action::Rdr),
            "binat-anchor" => self.translation_anchor(Action::Binat),
            _ => self.filter_anchor(),
        }
    }

    /// `anchorname`.
    fn anchor_name(&mut self) -> Outcome<Option<String>> {
        if !self.at_word() {
            return Ok(None);
        }
        let name = self.word()?;
        if name.is_empty() {
            return self.fail("anchor name must not be empty");
        }
        if self.request.anchor.len() + 1 + name.len() >= 1024 {
            return self.fail("anchor name is longer than 1023");
        }
        if name.starts_with('_') || name.contains("/_") {
            return self.fail("anchor names beginning with '_' are reserved for internal use");
        }
        Ok(Some(name))
    }

    fn filter_anchor(&mut self) -> Outcome<()> {
        let name = self.anchor_name()?;
        let mut rule = Rule::new(Action::Pass);
        rule.direction = self.direction();
        rule.quick = self.key("quick");
        let interfaces = self.interfaces()?;
        rule.af = self.family();
        let protocols = self.protocols()?;
        let ends = self.both_ends()?;
        let options = self.filter_options()?;
        let inline = if self.at_char('{') {
            Some(self.inline_rules()?)
        } else {
            None
        };
        self.enter(Section::Filter)?;
        let (call, inline) = match inline {
            Some((number, rules)) => {
                if name.as_ref().is_some_and(|name| name.contains('/')) {
                    return self
                        .fail("anchor paths containing '/' cannot be used for inline anchors.");
                }
                let named = name.is_some();
                let call = name.unwrap_or_else(|| format!("_{number}"));
                if named && !self.level().inline_names.insert(call.clone()) {
                    return self.fail(&format!("inline anchor '{call}' already exists"));
                }
                (call, Some(Box::new(rules)))
            }
            None => match name {
                Some(name) => (name, None),
                None => return self.fail("anchors without explicit rules must specify a name"),
            },
        };
        self.check_tcp_only(
            &options.flags,
            &ends,
            &protocols,
            "OS fingerprinting only applies to tcp",
        )?;
        self.apply_options(&mut rule, &options)?;
        if rule.keep_state != crate::pf::rule::KeepState::No {
            return self.fail("cannot specify state handling on anchors");
        }
        Self::decide_family(&ends, &mut rule.af);
        let expansion = Expansion {
            interfaces,
            protocols,
            ends,
            users: options.users,
            groups: options.groups,
            received_on: options.received_on,
            icmp: options.icmp.unwrap_or_default(),
            anchor_call: call,
            inline,
            ..Expansion::default()
        };
        self.expand(rule, &expansion);
        Ok(())
    }

    /// The rules between braces, and the number of this pair.
    fn inline_rules(&mut self) -> Outcome<(u32, Ruleset)> {
        self.expect_char('{')?;
        if self.levels.len() >= BRACES_MAX {
            return self.fail("pfa_anchor: anchors too deep");
        }
        self.braces += 1;
        let number = self.braces;
        self.levels.push(Level::default());
        let read = self.inline_lines();
        let level = self.levels.pop().expect("the level was just pushed");
        read.map(|()| (number, level.rules))
    }

    fn inline_lines(&mut self) -> Outcome<()> {
        self.expect_char('\n')?;
        loop {
            if self.char('}') {
                return Ok(());
            }
            if self.char('\n') {
                continue;
            }
            match self.peek_key() {
                "pass" | "block" | "match" => self.filter_rule()?,
                "anchor" | "nat-anchor" | "rdr-anchor" | "binat-anchor" => self.anchor_rule()?,
                "include" => self.include()?,
                _ => return self.syntax(),
            }
            self.expect_char('\n')?;
        }
    }

    fn translation_anchor(&mut self, action: Action) -> Outcome<()> {
        let call = self.words()?;
        let interfaces = self.interfaces()?;
        let af = self.family();
        let protocols = self.protocols()?;
        let mut ends = self.both_ends()?;
        let mut rule = Self::anchor_rule_of(action, af);
        if self.key("rtable") {
            rule.rtable = Some(self.routing_table()?);
        }
        self.enter(Section::Translation)?;
        if action == Action::Binat {
            if protocols.len() > 1 {
                return self.fail("proto list expansion not supported in binat-anchor");
            }
            rule.protocol = protocols.first().copied().unwrap_or(0);
            let peers = [&ends.source, &ends.destination];
            if peers
                .iter()
                .any(|peer| !peer.hosts.is_empty() || !peer.ports.is_empty())
            {
                return self.fail("fromto parameter not supported in binat-anchor");
            }
            rule.anchor_call = call;
            self.append(rule);
            return Ok(());
        }
        Self::decide_family(&ends, &mut rule.af);
        if action == Action::Rdr {
            if !ends.source.ports.is_empty() {
                return self.fail("source port parameter not supported in rdr-anchor");
            }
            if ends.destination.ports.len() > 1 {
                return self.fail("destination port list expansion not supported in rdr-anchor");
            }
            if ends
                .destination
                .ports
                .first()
                .is_some_and(|port| port.op != Op::Equal)
            {
                return self.fail("destination port operators not supported in rdr-anchor");
            }
        }
        ends.os.clear();
        let expansion = Expansion {
            interfaces,
            protocols,
            ends,
            anchor_call: call,
            ..Expansion::default()
        };
        self.expand(rule, &expansion);
        Ok(())
    }

    /// `load anchor NAME from FILE`.
    pub(super) fn load_anchor(&mut self) -> Outcome<()> {
        self.bump();
        self.expect_key("anchor")?;
        let name = self.anchor_name()?;
        self.expect_key("from")?;
        let file = self.words()?;
        let Some(name) = name else {
            return self.fail("anchor name is missing");
        };
        let full = if self.request.anchor.is_empty() {
            name
        } else {
            format!("{}/{name}", self.request.anchor)
        };
        self.load_anchors.push((full, file));
        Ok(())
    }
}
