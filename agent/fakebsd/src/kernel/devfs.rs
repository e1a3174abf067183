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

impl Kernel {
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
