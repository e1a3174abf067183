//! Resource limits: rules of rctl(8), added and removed one by one, judged by what rctl(8) then lists.

use cellblock_agent_core::plan::limits::spelled;

use super::{Performer, effect};
use crate::command::{Command, Program, words};
use crate::error::Failure;
use crate::observe;

impl Performer<'_> {
    /// `rctl -a`: a `deny` rule of another amount gives way to it (`rctl_rule_add`, sys/kern/kern_rctl.c).
    pub(super) fn add_limit(&self, rule: &str) -> Result<(), Failure> {
        if self.has_limit(rule)? {
            return Ok(());
        }
        self.change(&Command::new(Program::Rctl, words!["-a", rule]))?;
        effect(self.has_limit(rule)?, || {
            format!("the rule {rule} is not among those that rctl lists after it was added")
        })
    }

    /// `rctl -r`, which finds nothing of a rule that has gone by itself (`No such process`, recording `08`).
    pub(super) fn remove_limit(&self, rule: &str) -> Result<(), Failure> {
        if !self.has_limit(rule)? {
            return Ok(());
        }
        let filter = spelled(rule);
        self.change(&Command::new(Program::Rctl, words!["-r", filter]))?;
        effect(!self.has_limit(rule)?, || {
            format!("the rule {rule} is still there after it was removed")
        })
    }

    fn has_limit(&self, rule: &str) -> Result<bool, Failure> {
        let subject: Vec<&str> = rule.splitn(3, ':').take(2).collect();
        let rules = observe::rules(self.system, &subject.join(":"))?;
        Ok(rules.contains(rule))
    }
}
