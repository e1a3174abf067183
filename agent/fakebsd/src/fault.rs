//! Faults that a test orders in advance: the next command of a kind fails, before it has done anything or after; or somebody does something right before it, or right after.
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

/// What somebody else on the host does beside the next command of a kind; done once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    /// The words the command must begin with.
    pub prefix: Vec<String>,
    /// Whether he is there before it or after it.
    pub when: When,
    /// What he runs, one after the other.
    pub commands: Vec<Vec<String>>,
}

/// The faults that still wait for their command, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    waiting: Vec<Fault>,
    beside: Vec<Beside>,
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

    /// Has somebody do something beside a command.
    pub fn meet(&mut self, beside: Beside) {
        self.beside.push(beside);
    }

    /// Takes the oldest that somebody does before `argv`, or after it.
    pub fn take_beside(&mut self, argv: &[String], when: When) -> Option<Beside> {
        let mut waiting = self.beside.iter();
        let at =
            waiting.position(|beside| beside.when == when && argv.starts_with(&beside.prefix))?;
        Some(self.beside.remove(at))
    }

    /// Whether every ordered fault has hit.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.beside.is_empty()
    }
}
