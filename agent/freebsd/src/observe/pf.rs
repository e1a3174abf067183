//! Reads what pfctl(8) prints. Rules are never compared as text, because pfctl prints them in another form than they were written (recording `05`); what is loaded is told by a label.

use std::collections::BTreeSet;

use cellblock_agent_core::names::ANCHOR_ROOT;
use cellblock_agent_core::observed::AnchorReference;
use cellblock_agent_core::render::pf::HASH_LABEL;

/// What pfctl says when the module is not loaded (recording `05`).
const NO_DEVICE: &str = "/dev/pf: No such file or directory";

/// Whether pfctl's complaint says that pf is not loaded, which is a state and no error.
#[must_use]
pub fn is_not_loaded(stderr: &str) -> bool {
    stderr.contains(NO_DEVICE)
}

/// Whether pfctl's complaint says that an anchor does not exist: `Anchor does not exist.` (15, `pf_strerror`), `Anchor 'x' not found.` (14), `DIOCGETRULES: Invalid argument` (recording `05`).
#[must_use]
pub fn is_no_anchor(stderr: &str) -> bool {
    stderr.contains("Anchor does not exist")
        || (stderr.contains("Anchor '") && stderr.contains("' not found"))
        || stderr.contains("Invalid argument")
}

/// Reads `pfctl -s info`: whether pf is enabled; none if the text has no status.
#[must_use]
pub fn parse_enabled(text: &str) -> Option<bool> {
    let status = text
        .lines()
        .find_map(|line| line.strip_prefix("Status: "))?;
    Some(status.starts_with("Enabled"))
}

/// Reads `pfctl -sr` or `-sn` of the main ruleset: which lines refer to all anchors of ours, unconditionally.
#[must_use]
pub fn parse_references(text: &str) -> BTreeSet<AnchorReference> {
    let anchor = format!("\"{ANCHOR_ROOT}/*\"");
    text.lines()
        .filter_map(|line| {
            let (keyword, rest) = line.trim().split_once(' ')?;
            let rest = rest.strip_prefix(anchor.as_str())?.trim();
            // `on em0` or `proto tcp` behind it would let only a part of the traffic through our rules.
            let whole = matches!(rest, "" | "all" | "quick" | "quick all");
            let reference = AnchorReference::ALL
                .into_iter()
                .find(|reference| reference.keyword() == keyword)?;
            whole.then_some(reference)
        })
        .collect()
}

/// Reads `pfctl -vsI`: the interfaces and groups on which pf does nothing.
#[must_use]
pub fn parse_skipped(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.trim().strip_suffix(" (skip)"))
        .map(str::to_owned)
        .collect()
}

/// Reads `pfctl -a cellblock -sA`: the anchors below ours.
#[must_use]
pub fn parse_anchors(text: &str) -> BTreeSet<String> {
    text.lines()
        .map(str::trim)
        .filter(|name| {
            name.strip_prefix(ANCHOR_ROOT)
                .is_some_and(|rest| rest.starts_with('/'))
        })
        .map(str::to_owned)
        .collect()
}

/// Reads `pfctl -a ANCHOR -sl`: the hash that its label states.
#[must_use]
pub fn parse_hash(text: &str) -> Option<String> {
    text.split_whitespace()
        .find_map(|word| word.strip_prefix(HASH_LABEL))
        .map(str::to_owned)
}

/// Reads `pfctl -a ANCHOR -sT`: the tables.
#[must_use]
pub fn parse_tables(text: &str) -> Vec<&str> {
    text.lines()
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect()
}

#[cfg(test)]
mod tests;
