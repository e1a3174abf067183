//! Why a look or an operation failed, and when trying again makes sense. [`HostError`] is what the core gets of it.

use std::collections::BTreeMap;
use std::error::Error as _;

use cellblock_agent_core::host::{HostError, Retry};
use cellblock_agent_core::plan::reason::{DATASET_BUSY, NOT_BEGUN};
use cellblock_schemas::ids::Uid;

use crate::command::{Command, Output};
use crate::system::SystemError;

/// How much of a program's standard error goes into a message, in characters: enough for every refusal in the recordings, short enough for an object's status.
const STDERR_CHARS_MAX: usize = 600;

/// Why a look or an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A command could not be run to its end, or a file operation failed.
    #[error(transparent)]
    System(#[from] SystemError),
    /// A command refused.
    #[error("`{line}` ended with exit status {status}: {stderr}")]
    Command {
        /// The command.
        line: String,
        /// Its exit status.
        status: i32,
        /// What it wrote to standard error.
        stderr: String,
    },
    /// A command printed what its parser does not know.
    #[error("cannot read what `{program}` printed: {what}")]
    Unreadable {
        /// The program.
        program: &'static str,
        /// The line, or what is wrong with it.
        what: String,
    },
    /// The commands succeeded, and what they should have done is not there.
    #[error("{0}")]
    EffectMissing(String),
    /// The kernel has lost an IPv6 address while it was being added, and kept its own route to it, with which the address cannot be added again: `nd6_timer` purges one that it finds half
    /// made (seen on 15.1; `in6_alloc_ifa`, `in6_notify_ifa`, sys/netinet6/in6.c). The route is pinned and goes by lo0: no route(8) deletes it, and it outlives the interface.
    #[error(
        "the kernel refuses to add {address} to `{interface}` because it has lost the address and kept its own route to it; let it add the address without that route: `sysctl net.inet6.icmp6.nd6_useloopback=0`, and back to 1 once the address is there"
    )]
    AddressLost {
        /// The interface.
        interface: String,
        /// The address.
        address: std::net::IpAddr,
    },
    /// The name belongs to something that is not ours.
    #[error("{what} `{name}` exists already and does not carry our mark; rename it, or remove it")]
    NameTaken {
        /// `interface`, `jail`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// It is not what it was when the operation was planned.
    #[error("{0}")]
    Changed(String),
    /// It was not begun: the host is as it was.
    #[error("nothing was changed: {0}")]
    NotBegun(String),
    /// A tarball is not what it shall be, or nothing that is unpacked.
    #[error("{0}")]
    ImageRefused(String),
    /// Something stands upon a dataset that was to go.
    #[error("{0}")]
    DatasetBusy(String),
    /// pf refused rules.
    #[error("pf refused the rules of anchor `{anchor}`: {stderr}")]
    RuleRejected {
        /// The anchor.
        anchor: String,
        /// What pfctl said.
        stderr: String,
        /// Whose rules they are, with what pfctl says of them alone; empty where nobody's rules are refused alone.
        jails: BTreeMap<Uid, String>,
    },
    /// A word that a program would not take as what it is meant to be.
    #[error("{what} `{word}` cannot be handed to a command")]
    Word {
        /// What it is meant to be.
        what: &'static str,
        /// The word.
        word: String,
    },
}

impl Failure {
    /// `command` ended with `output`, which is a refusal.
    pub(crate) fn refused(command: &Command, output: &Output) -> Self {
        Self::Command {
            line: command.line(),
            status: output.status,
            stderr: excerpt(&output.stderr),
        }
    }

    /// The code for conditions and events.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::System(error) if error.is_disk_full() => "DiskFull",
            Self::System(SystemError::TimedOut { .. }) => "TimedOut",
            Self::System(SystemError::File { .. }) => "FileFailed",
            Self::System(SystemError::Spawn { .. }) | Self::Command { .. } => "CommandFailed",
            Self::System(SystemError::TooLong { .. }) | Self::Unreadable { .. } => "Unreadable",
            Self::EffectMissing(_) => "EffectMissing",
            Self::AddressLost { .. } => "AddressLost",
            Self::NameTaken { .. } => "NameTaken",
            Self::Changed(_) => "Changed",
            Self::NotBegun(_) => NOT_BEGUN,
            Self::ImageRefused(_) => "ImageRefused",
            Self::DatasetBusy(_) => DATASET_BUSY,
            Self::RuleRejected { .. } => "RuleRejected",
            Self::Word { .. } => "BadWord",
        }
    }

    /// When trying again makes sense.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::System(_) | Self::Command { .. } | Self::Unreadable { .. } => Retry::After,
            Self::EffectMissing(_)
            | Self::AddressLost { .. }
            | Self::Changed(_)
            | Self::DatasetBusy(_)
            | Self::NotBegun(_) => Retry::After,
            Self::NameTaken { .. } | Self::ImageRefused(_) | Self::RuleRejected { .. } => {
                Retry::OnChange
            }
            Self::Word { .. } => Retry::Never,
        }
    }
}

impl From<Failure> for HostError {
    fn from(failure: Failure) -> Self {
        let mut message = failure.to_string();
        let mut source = match &failure {
            // Transparent: its own Display stands in the message already, its source does not.
            Failure::System(error) => error.source(),
            Failure::Command { .. }
            | Failure::Unreadable { .. }
            | Failure::EffectMissing(_)
            | Failure::AddressLost { .. }
            | Failure::NameTaken { .. }
            | Failure::Changed(_)
            | Failure::NotBegun(_)
            | Failure::ImageRefused(_)
            | Failure::DatasetBusy(_)
            | Failure::RuleRejected { .. }
            | Failure::Word { .. } => None,
        };
        while let Some(error) = source {
            message.push_str(": ");
            message.push_str(&error.to_string());
            source = error.source();
        }
        if let Failure::System(SystemError::TimedOut { stderr, .. }) = &failure
            && !stderr.is_empty()
        {
            message.push_str(": ");
            message.push_str(&excerpt(stderr));
        }
        Self {
            reason: failure.reason(),
            message,
            retry: failure.retry(),
        }
    }
}

/// What a program complained about, as one line: the lines joined, control characters taken out, cut to a bounded length. What is cut out is the middle: a program names its cause first, and
/// jail(8), which says last what failed, does so after whatever the hook printed.
pub(crate) fn excerpt(stderr: &str) -> String {
    let joined: Vec<&str> = stderr
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let text: Vec<char> = joined
        .join("; ")
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    if text.is_empty() {
        return "it said nothing".to_owned();
    }
    if text.len() <= STDERR_CHARS_MAX {
        return text.iter().collect();
    }
    let (begin, _) = text.split_at(STDERR_CHARS_MAX / 2);
    let (_, end) = text.split_at(text.len() - (STDERR_CHARS_MAX - STDERR_CHARS_MAX / 2));
    begin.iter().chain(&['…']).chain(end).collect()
}

#[cfg(test)]
mod tests;
