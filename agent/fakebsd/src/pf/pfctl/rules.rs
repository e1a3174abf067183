//! `-s rules`, `-s nat`, `-s labels`, and `-z` (`pfctl_show_rules`, `pfctl_show_nat`).

use super::{Done, Run};
use crate::pf::facts::Release;
use crate::pf::kernel::KernelRule;
use crate::pf::print::{Style, is_unnamed, rule_text};
use crate::pf::rule::{Address, Af, RulesetKind};

/// What is shown of the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Rules,
    Labels,
}

/// The lists of `-s nat`, in pfctl's order.
const TRANSLATION: [RulesetKind; 3] = [RulesetKind::Nat, RulesetKind::Rdr, RulesetKind::Binat];

impl Run<'_> {
    pub(super) fn style(&self) -> Style {
        Style {
            numbered: self.options.verbose > 1 || self.options.debug_output,
            numeric: self.options.numeric,
        }
    }

    fn text(&self, path: &str, rule: &KernelRule) -> String {
        let counter =
            |address: &Address, af: Option<Af>| self.pf.count(self.facts, path, address, af);
        if self.facts.release() == Release::V14 || rule.rule.state.timeouts.is_empty() {
            return rule_text(&rule.rule, self.style(), Some(&counter));
        }
        // 15.1 does not show a rule's own timeouts once it is loaded (seen).
        let mut shown = rule.rule.clone();
        shown.state.timeouts.clear();
        rule_text(&shown, self.style(), Some(&counter))
    }

    fn indent(&self, depth: usize) -> String {
        if self.options.verbose > 0 {
            String::new()
        } else {
            "  ".repeat(depth)
        }
    }

    fn opens(&self, call: &str) -> bool {
        !call.is_empty() && (is_unnamed(call) || self.options.recurse)
    }

    /// The anchor that a call leads to, seen from the anchor it stands in.
    fn below(path: &str, call: &str) -> String {
        let call = call.strip_suffix("/*").unwrap_or(call);
        match call.strip_prefix('/') {
            Some(absolute) => absolute.to_owned(),
            None if path.is_empty() => call.to_owned(),
            None => format!("{path}/{call}"),
        }
    }

    /// `-s rules` and `-s labels`. An absent anchor is a remark on standard error and no failure (recording `05`).
    pub(super) fn show_rules(&mut self, path: &str, format: Format, depth: usize, all: bool) {
        let Some(anchor) = self.pf.anchor(path) else {
            self.warn("Anchor does not exist.");
            return;
        };
        let (scrub, filter) = (
            anchor.rules(RulesetKind::Scrub).to_vec(),
            anchor.rules(RulesetKind::Filter).to_vec(),
        );
        if all && depth == 0 {
            match format {
                Format::Rules => self.title("FILTER RULES:"),
                Format::Labels if self.labels => self.title("LABEL COUNTERS:"),
                Format::Labels => {}
            }
        }
        for rule in &scrub {
            if format == Format::Rules {
                let text = self.text(path, rule);
                self.print(&text);
                self.rule_counters(rule);
            }
        }
        for rule in &filter {
            match format {
                Format::Labels => self.show_label(path, rule, depth),
                Format::Rules => self.show_rule(path, rule, depth, all),
            }
        }
    }

    fn show_rule(&mut self, path: &str, rule: &KernelRule, depth: usize, all: bool) {
        self.labels |= all && !rule.rule.labels.is_empty();
        let call = rule.rule.anchor_call.clone();
        let text = format!("{}{}", self.indent(depth), self.text(path, rule));
        if !self.opens(&call) {
            self.print(&text);
            self.rule_counters(rule);
            return;
        }
        self.print(&format!("{text} {{"));
        self.rule_counters(rule);
        let below = Self::below(path, &call);
        if call.ends_with("/*") && self.options.recurse {
            for name in self.children(&below) {
                let indent = self.indent(depth + 1);
                self.print(&format!("{indent}anchor \"{name}\" all {{"));
                self.show_rules(&format!("{below}/{name}"), Format::Rules, depth + 2, all);
                self.print(&format!("{indent}}}"));
            }
        } else {
            self.show_rules(&below, Format::Rules, depth + 1, all);
        }
        let indent = self.indent(depth);
        self.print(&format!("{indent}}}"));
    }

    fn children(&self, path: &str) -> Vec<String> {
        self.pf
            .anchor(path)
            .map(|anchor| anchor.children.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Labels, then evaluations, packets and bytes, the same in and out, and states made.
    fn show_label(&mut self, path: &str, rule: &KernelRule, depth: usize) {
        if !rule.rule.labels.is_empty() {
            let labels = rule.rule.labels.join(" ");
            let ([packets_in, packets_out], [bytes_in, bytes_out]) = (rule.packets, rule.bytes);
            self.print(&format!(
                "{labels} {} {} {} {packets_in} {bytes_in} {packets_out} {bytes_out} {}",
                rule.evaluations,
                packets_in + packets_out,
                bytes_in + bytes_out,
                rule.states_total
            ));
        }
        let call = &rule.rule.anchor_call;
        if self.opens(call) {
            let below = Self::below(path, call);
            if call.ends_with("/*") {
                for name in self.children(&below) {
                    self.show_rules(&format!("{below}/{name}"), Format::Labels, depth + 1, false);
                }
            } else {
                self.show_rules(&below, Format::Labels, depth + 1, false);
            }
        }
    }

    /// `-s nat`. An absent anchor is reported otherwise than by `-s rules`, and is no failure either.
    pub(super) fn show_nat(&mut self, path: &str, depth: usize, all: bool) -> Done {
        let mut titled = !all;
        for kind in TRANSLATION {
            let Some(anchor) = self.pf.anchor(path) else {
                self.warn("DIOCGETRULES: Invalid argument");
                return Ok(());
            };
            for rule in anchor.rules(kind).to_vec() {
                if !std::mem::replace(&mut titled, true) {
                    self.title("TRANSLATION RULES:");
                }
                let call = rule.rule.anchor_call.clone();
                let text = format!("{}{}", self.indent(depth), self.text(path, &rule));
                if !self.opens(&call) {
                    self.print(&text);
                    self.rule_counters(&rule);
                    continue;
                }
                self.print(&format!("{text} {{"));
                self.rule_counters(&rule);
                let below = Self::below(path, &call);
                if call.ends_with("/*") && self.options.recurse {
                    for name in self.children(&below) {
                        let indent = self.indent(depth + 1);
                        self.print(&format!("{indent}nat-anchor \"{name}\" all {{"));
                        self.show_nat(&format!("{below}/{name}"), depth + 2, false)?;
                        self.print(&format!("{indent}}}"));
                    }
                } else {
                    self.show_nat(&below, depth + 1, false)?;
                }
                let indent = self.indent(depth);
                self.print(&format!("{indent}}}"));
            }
        }
        Ok(())
    }

    /// `pfctl_print_rule_counters`. 14 has one number of source nodes.
    fn rule_counters(&mut self, rule: &KernelRule) {
        if self.options.verbose > 0 {
            let (packets, bytes): (u64, u64) = (rule.packets.iter().sum(), rule.bytes.iter().sum());
            self.print(&format!(
                "  [ Evaluations: {:<8}  Packets: {packets:<8}  Bytes: {bytes:<10}  States: {:<6}]",
                rule.evaluations, rule.states_now
            ));
            if self.facts.release() == Release::V15 {
                self.print(&format!(
                    "  [ Source Nodes: {:<6} Limit: {:<6} NAT/RDR: {:<6} Route: {:<6} ]",
                    0, 0, 0, 0
                ));
            }
            self.print(&format!(
                "  [ Inserted: uid 0 pid 0 State Creations: {:<6}]",
                rule.states_total
            ));
        }
        if self.options.verbose > 1 {
            self.print("  [ Last Active Time: N/A ]");
        }
    }

    /// `-z` clears the counters of the rules in one anchor.
    pub(super) fn clear_counters(&mut self) {
        let path = self.anchor();
        let Some(anchor) = self.pf.anchor_mut(path.trim_matches('/')) else {
            return;
        };
        for kind in [RulesetKind::Scrub, RulesetKind::Filter] {
            for rule in anchor.rules_mut(kind) {
                rule.evaluations = 0;
                (rule.packets, rule.bytes) = ([0; 2], [0; 2]);
            }
        }
    }
}
