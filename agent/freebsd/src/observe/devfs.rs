//! Reads what devfs(8) says of rulesets: whether a jail with one sees a device.
//!
//! The rules of a ruleset are applied to each device in their order, and so the last that is about it decides (`devfs_ruleset_applyde`, sys/fs/devfs/devfs_rule.c); one that includes another
//! ruleset applies all of that at its place.

use crate::command::{Command, Program, words};
use crate::error::Failure;
use crate::system::{System, succeed};

#[cfg(test)]
mod tests;

/// How deep rulesets include each other: what an included one includes has no effect (`devfs_rule_depth`, which `vfs.devfs.rule_depth` sets, is 1; sys/fs/devfs/devfs_devs.c).
pub(super) const DEPTH_MAX: u32 = 1;

/// Whether a ruleset has rules.
pub(super) fn has_rules(system: &dyn System, ruleset: u32) -> Result<bool, Failure> {
    Ok(!show(system, ruleset)?.trim().is_empty())
}

fn show(system: &dyn System, ruleset: u32) -> Result<String, Failure> {
    let arguments = words!["rule", "-s", ruleset.to_string(), "show"];
    Ok(succeed(system, &Command::new(Program::Devfs, arguments))?.stdout)
}

/// Applies a ruleset to the device `name` without a type, which is `visible` or not.
pub(super) fn apply(
    system: &dyn System,
    ruleset: u32,
    name: &str,
    visible: &mut bool,
    depth: u32,
) -> Result<(), Failure> {
    for line in show(system, ruleset)?.lines() {
        match Action::parse(line, name) {
            Some(Action::Show(shown)) => *visible = shown,
            Some(Action::Include(other)) if depth > 0 => {
                apply(system, other, name, visible, depth - 1)?;
            }
            Some(Action::Include(_)) | None => {}
        }
    }
    Ok(())
}

/// What a rule does with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Show(bool),
    Include(u32),
}

impl Action {
    /// Reads one line, such as `100 include 1`, `200 hide`, `300 path pf unhide` (`rulespec_outfp`, sbin/devfs/rule.c); none for a rule that is not about the device, or neither shows nor hides it.
    fn parse(line: &str, name: &str) -> Option<Self> {
        let mut words = line.split_whitespace().skip(1);
        let mut action = None;
        while let Some(word) = words.next() {
            match word {
                "path" if !matches(words.next()?, name) => return None,
                // It has none (`D_TYPEMASK`, sys/sys/conf.h).
                "type" => return None,
                "hide" => action = Some(Self::Show(false)),
                "unhide" => action = Some(Self::Show(true)),
                "include" => action = words.next()?.parse().ok().map(Self::Include),
                "group" | "mode" | "user" => {
                    words.next();
                }
                _ => {}
            }
        }
        action
    }
}

/// fnmatch(3) with `*` and `?`, which is what names of devices are matched by.
fn matches(pattern: &str, name: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => name.is_empty(),
        Some('*') => {
            let rest = rest.as_str();
            let ends = name.char_indices().map(|(at, _)| at).chain([name.len()]);
            ends.into_iter().any(|at| matches(rest, &name[at..]))
        }
        Some(wanted) => {
            let mut left = name.chars();
            left.next().is_some_and(|c| wanted == '?' || wanted == c)
                && matches(rest.as_str(), left.as_str())
        }
    }
}
