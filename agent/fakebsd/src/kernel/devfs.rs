//! devfs(8) rulesets: numbers and the text of their rules. An absent ruleset hides nothing (recording `08`).

use std::collections::BTreeMap;

use super::Kernel;

/// The rulesets by number, each with its rules by number.
pub(crate) type Rulesets = BTreeMap<u16, BTreeMap<u16, String>>;

/// The device nodes below /dev when nothing is hidden (recording `08`).
pub(crate) const NODES: &[&str] = &[
    "acpi",
    "apm",
    "apmctl",
    "audit",
    "auditpipe",
    "bpf",
    "bpf0",
    "console",
    "ctty",
    "cuau0",
    "cuau0.init",
    "cuau0.lock",
    "cuau1",
    "cuau1.init",
    "cuau1.lock",
    "devctl",
    "devctl2",
    "devstat",
    "fd",
    "fido",
    "full",
    "geom.ctl",
    "hpet0",
    "input",
    "io",
    "klog",
    "kmem",
    "mdctl",
    "mem",
    "netmap",
    "null",
    "pci",
    "pfil",
    "random",
    "reroot",
    "stderr",
    "stdin",
    "stdout",
    "ttyu0",
    "ttyu0.init",
    "ttyu0.lock",
    "ttyu1",
    "ttyu1.init",
    "ttyu1.lock",
    "ufs",
    "ufsid",
    "ufssuspend",
    "urandom",
    "vtbd0",
    "vtbd1",
    "xpt0",
    "zero",
];

/// How deep rulesets include each other: what an included one includes has no effect (`devfs_rule_depth`, sys/fs/devfs/devfs_devs.c).
const DEPTH_MAX: u32 = 1;

impl Kernel {
    /// Whether a process with its root at `root` finds the device node `name` in its /dev: devfs is mounted there, and the rules of its ruleset, applied in their order, leave it visible
    /// (`devfs_rules_apply`, sys/fs/devfs/devfs_rule.c). A ruleset without rules hides nothing (recording `08`).
    pub(crate) fn shows_device(&self, root: &str, name: &str) -> bool {
        let node = format!("{}/dev", root.trim_end_matches('/'));
        let mount = self
            .mounted_at(&node)
            .filter(|mount| mount.fstype == "devfs");
        mount.is_some_and(|mount| {
            let mut visible = true;
            self.apply_ruleset(mount.ruleset, name, &mut visible, DEPTH_MAX);
            visible
        })
    }

    /// A mount with a ruleset that is not there makes one without rules (`devfs_ruleset_use`, sys/fs/devfs/devfs_rule.c).
    pub(crate) fn use_ruleset(&mut self, set: u16) {
        if set != 0 {
            self.devfs.entry(set).or_default();
        }
    }

    /// One without rules goes with the last mount that has it (`devfs_ruleset_reap`).
    pub(super) fn leave_ruleset(&mut self, set: u16) {
        let is_used = self.mounts.iter().any(|mount| mount.ruleset == set);
        if !is_used && self.devfs.get(&set).is_some_and(BTreeMap::is_empty) {
            self.devfs.remove(&set);
        }
    }

    fn apply_ruleset(&self, set: u16, name: &str, visible: &mut bool, depth: u32) {
        for rule in self.devfs.get(&set).into_iter().flat_map(BTreeMap::values) {
            let words: Vec<&str> = rule.split_whitespace().collect();
            let is_about = match words.as_slice() {
                ["include", other] if depth > 0 => {
                    let other = other.parse().unwrap_or(0);
                    self.apply_ruleset(other, name, visible, depth - 1);
                    continue;
                }
                ["path", pattern, ..] => {
                    let pattern = pattern.trim_matches('\'');
                    match pattern.strip_suffix('*') {
                        Some(beginning) => name.starts_with(beginning),
                        None => pattern == name,
                    }
                }
                ["type", ..] | ["include", ..] => false,
                _ => true,
            };
            if is_about {
                match words.last() {
                    Some(&"hide") => *visible = false,
                    Some(&"unhide") => *visible = true,
                    Some(_) | None => {}
                }
            }
        }
    }

    /// Adds a rule to a set: at its own number, or a hundred after the last (sbin/devfs/rule.c).
    pub(crate) fn devfs_add_rule(&mut self, set: u16, number: Option<u16>, rule: &str) {
        let rules = self.devfs.entry(set).or_default();
        let number = number.unwrap_or_else(|| {
            rules
                .last_key_value()
                .map_or(100, |(last, _)| last.saturating_add(100))
        });
        rules.insert(number, rule.to_owned());
    }
}
