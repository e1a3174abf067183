//! `-F`: what is cleared, and the words that say so.

use super::{Done, Exit, Run};
use crate::pf::kernel::Statistics;
use crate::pf::rule::RulesetKind;

const FILTER: &[RulesetKind] = &[RulesetKind::Scrub, RulesetKind::Filter];
const TRANSLATION: &[RulesetKind] = &[RulesetKind::Nat, RulesetKind::Binat, RulesetKind::Rdr];

impl Run<'_> {
    pub(super) fn flush(&mut self, what: &str) -> Done {
        let anchor = self.anchor();
        match what {
            "ethernet" => self.remark("Ethernet rules cleared"),
            "rules" if self.options.recurse => self.recurse(&anchor, |run, path| {
                run.clear(path, FILTER);
                Ok(())
            })?,
            "rules" => self.flush_rules(&anchor),
            "nat" => {
                self.clear(&anchor, TRANSLATION);
                self.remark("nat cleared");
            }
            "states" => self.flush_states(),
            "Sources" => self.remark("source tracking entries cleared"),
            "info" => self.flush_statistics(),
            "Tables" if self.options.recurse => self.recurse(&anchor, |run, path| {
                run.clear_tables(path);
                Ok(())
            })?,
            "Tables" => self.flush_tables(&anchor)?,
            "Reset" => self.reset(),
            "all" => self.flush_all(&anchor)?,
            // ALTQ is not in the kernel, and fingerprints are not kept.
            _ => {}
        }
        Ok(())
    }

    /// `-F all`. In an anchor that does not exist it fails at the tables, with what errno held since the question for
    /// ALTQ (recording `05`).
    fn flush_all(&mut self, anchor: &str) -> Done {
        if self.options.interface.is_some() {
            self.warn("don't specify an interface with -Fall");
            return self.usage();
        }
        self.remark("Ethernet rules cleared");
        self.flush_rules(anchor);
        self.clear(anchor, TRANSLATION);
        self.remark("nat cleared");
        if self.options.recurse {
            self.recurse(anchor, |run, path| {
                run.clear_tables(path);
                run.clear(path, FILTER);
                Ok(())
            })?;
        } else {
            self.flush_tables(anchor)?;
            self.flush_rules(anchor);
        }
        if anchor.is_empty() {
            self.flush_states();
            self.remark("source tracking entries cleared");
            self.flush_statistics();
            self.reset();
        }
        Ok(())
    }

    fn flush_rules(&mut self, anchor: &str) {
        self.clear(anchor, FILTER);
        self.remark("rules cleared");
    }

    fn clear(&mut self, anchor: &str, kinds: &[RulesetKind]) {
        let now = self.facts.now();
        for kind in kinds {
            self.pf.commit(anchor, *kind, Vec::new(), now);
        }
    }

    fn flush_tables(&mut self, anchor: &str) -> Done {
        if self.pf.anchor(anchor).is_none() {
            self.warn("Operation not supported by device");
            return Err(Exit(1));
        }
        let count = self.clear_tables(anchor);
        self.remark(&format!("{count} tables deleted."));
        Ok(())
    }

    /// Clears the tables of an anchor; one that its old rules may still refer to keeps the anchor for a while.
    fn clear_tables(&mut self, anchor: &str) -> usize {
        let Some(found) = self.pf.anchor_mut(anchor) else {
            return 0;
        };
        let count = found.tables.values().filter(|table| table.active).count();
        found.tables.clear();
        self.pf.remove_if_empty(anchor);
        count
    }

    fn flush_states(&mut self) {
        let interface = self.options.interface.clone();
        let ids: Vec<u64> = self
            .pf
            .states()
            .filter(|state| {
                let name = state
                    .interface
                    .as_ref()
                    .unwrap_or(&state.original_interface);
                interface.as_ref().is_none_or(|wanted| wanted == name)
            })
            .map(|state| state.id)
            .collect();
        for id in &ids {
            self.remove_state(*id);
        }
        self.remark(&format!("{} states cleared", ids.len()));
    }

    pub(super) fn remove_state(&mut self, id: u64) {
        if let Some(state) = self.pf.states.remove(id) {
            self.pf.forget(&state);
        }
    }

    fn flush_statistics(&mut self) {
        self.pf.statistics = Statistics::default();
        self.pf.since = self.facts.now();
        self.remark("pf: statistics cleared");
    }

    fn reset(&mut self) {
        self.pf.reset_settings(self.facts);
        self.remark("pf: interface flags reset");
    }

    /// `pfctl_recurse`: the anchor and everything below it, deepest and last first.
    fn recurse(&mut self, anchor: &str, mut each: impl FnMut(&mut Self, &str) -> Done) -> Done {
        if self.pf.anchor(anchor).is_none() {
            return self.die("Anchor does not exist.");
        }
        let mut paths = vec![anchor.to_owned()];
        self.walk(anchor, &mut |path| paths.push(path.to_owned()));
        self.print("Removing:");
        for path in paths.iter().rev() {
            self.print(&format!("  {}", if path.is_empty() { "/" } else { path }));
            each(self, path)?;
        }
        Ok(())
    }

    /// Every anchor below one, parents before children.
    pub(super) fn walk(&self, anchor: &str, each: &mut dyn FnMut(&str)) {
        let Some(found) = self.pf.anchor(anchor) else {
            return;
        };
        for name in &found.children {
            let path = if anchor.is_empty() {
                name.clone()
            } else {
                format!("{anchor}/{name}")
            };
            each(&path);
            self.walk(&path, each);
        }
    }
}
