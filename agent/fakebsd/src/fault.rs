//! Faults that a test orders in advance: the next command of a kind fails, before it has done anything or after.
//!
//! Full disks are [`crate::FileTree::set_full`]; a lost host is the caller's business.

use crate::output::Output;

/// What becomes of the command that a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The command does nothing.
    Before,
    /// The command does its work and then fails.
    After,
}

/// One ordered fault; spent when it hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The words the command must begin with.
    pub prefix: Vec<String>,
    /// Whether the command still has its effect.
    pub when: When,
    /// What the caller sees.
    pub output: Output,
}

/// The faults that still wait for their command, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    waiting: Vec<Fault>,
}

impl Faults {
    /// Orders one more fault.
    pub fn order(&mut self, fault: Fault) {
        self.waiting.push(fault);
    }

    /// Takes the oldest fault that fits `argv`.
    pub fn take(&mut self, argv: &[String]) -> Option<Fault> {
        let at = self
            .waiting
            .iter()
            .position(|fault| argv.starts_with(&fault.prefix))?;
        Some(self.waiting.remove(at))
    }

    /// Whether every ordered fault has hit.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
