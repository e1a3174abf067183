//! Effects that do not go well while the agent lives on: a command that refuses or hangs, a full disk. What FreeBSD's programs say then is taken from the recordings where they have it.

use std::io;

use cellblock_freebsd::{Command, Output, SystemError};
use proptest::prelude::*;

/// What becomes of one effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It is refused, and nothing was done.
    Refused,
    /// It is done, and said to have failed.
    DoneAndRefused,
    /// It hangs and is killed before it did anything.
    TimedOut,
    /// It does its work, hangs and is killed.
    DoneAndTimedOut,
}

/// Any of them.
pub fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        3 => Just(Trouble::Refused),
        1 => Just(Trouble::DoneAndRefused),
        1 => Just(Trouble::TimedOut),
        1 => Just(Trouble::DoneAndTimedOut),
    ]
}

impl Trouble {
    /// Whether the effect is there all the same.
    pub(crate) fn is_done(self) -> bool {
        match self {
            Self::Refused | Self::TimedOut => false,
            Self::DoneAndRefused | Self::DoneAndTimedOut => true,
        }
    }

    /// What the agent is told of a command.
    pub(crate) fn of_command(self, command: &Command) -> Result<Output, SystemError> {
        match self {
            Self::Refused | Self::DoneAndRefused => Ok(Output {
                status: 1,
                stdout: String::new(),
                stderr: refusal(command),
            }),
            Self::TimedOut | Self::DoneAndTimedOut => Err(SystemError::TimedOut {
                line: command.line(),
                timeout: command.timeout,
                stderr: String::new(),
            }),
        }
    }

    /// What the agent is told of a file.
    pub(crate) fn of_file(action: &'static str, path: &str) -> SystemError {
        SystemError::File {
            action,
            path: path.to_owned(),
            source: io::ErrorKind::StorageFull.into(),
        }
    }
}

/// What the program says when the kernel is out of something for a moment: ENOMEM, ENOBUFS, EBUSY.
fn refusal(command: &Command) -> String {
    let program = command.argv.first().map_or("", String::as_str);
    let program = program.rsplit('/').next().unwrap_or(program);
    let complaint = match program {
        "ifconfig" => "ioctl (SIOCAIFADDR): Cannot allocate memory",
        "jail" => "prison limit exceeded",
        "route" => "message indicates error: No buffer space available",
        "pfctl" => "DIOCXCOMMIT: Device busy",
        "umount" => "unmount failed: Device busy",
        _ => "Cannot allocate memory",
    };
    format!("{program}: {complaint}\n")
}
