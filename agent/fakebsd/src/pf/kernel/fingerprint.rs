//! Everything pf holds, as lines that can be compared: for the proof that a host was left as it was found.

use super::{Anchor, Pf};
use crate::pf::print::{Style, rule_text};
use crate::pf::rule::RulesetKind;

impl Pf {
    /// One line per fact: settings, anchors, rules, tables with their members, states. Counters, ages and ids are left
    /// out; what is equal here behaves alike.
    pub fn fingerprint(&self) -> Vec<String> {
        let mut lines = vec![
            format!("enabled {}", self.enabled),
            format!("debug {}", self.debug),
            format!("loginterface {}", self.log_interface),
            format!("limits {:?}", self.limits),
            format!("timeouts {:?}", self.timeouts),
            format!("reassemble {:?}", self.reassemble),
        ];
        lines.extend(self.skip.iter().map(|name| format!("skip {name}")));
        for (path, anchor) in &self.anchors {
            let name = if path.is_empty() { "main" } else { path };
            lines.push(format!("anchor {name}"));
            anchor_lines(name, anchor, &mut lines);
        }
        lines.extend(self.states.iter().map(|state| {
            format!(
                "state {:?} {:?} {:?} {:?}",
                state.direction, state.interface, state.wire, state.stack
            )
        }));
        lines
    }
}

fn anchor_lines(name: &str, anchor: &Anchor, lines: &mut Vec<String>) {
    for kind in RulesetKind::ALL {
        for rule in anchor.rules(kind) {
            lines.push(format!(
                "rule {name} {}",
                rule_text(&rule.rule, Style::default(), None)
            ));
        }
    }
    for (table_name, table) in &anchor.tables {
        lines.push(format!(
            "table {name} <{table_name}> const {} persist {}",
            table.constant, table.persist
        ));
        for entry in table.entries() {
            let not = if entry.negated { "!" } else { "" };
            lines.push(format!(
                "table {name} <{table_name}> {not}{}/{}",
                entry.address, entry.bits
            ));
        }
    }
}
