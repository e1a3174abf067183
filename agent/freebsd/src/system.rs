//! The boundary of the agent: run a command, read and write a file. Everything above it is the same on a FreeBSD host, in tests and in the sandbox.

use std::io;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::command::{Command, Output};
use crate::error::Failure;
use crate::visit::{self, LogPart, Visit, Visited};

/// What runs commands and holds files.
///
/// # Guarantees
/// `run` returns only when the command has ended, or was killed with its whole process group. It never uses a shell. `write_file` is atomic and durable: after a crash at any
/// moment the path has the old content or the new one, and after it returned it has the new one.
///
/// # Errors
/// A command that ended with another exit status than 0 is no error here: what that means only the caller knows.
pub trait System: Send + Sync {
    /// Runs a command to its end.
    ///
    /// # Errors
    /// It could not be started, took too long, or printed too much.
    fn run(&self, command: &Command) -> Result<Output, SystemError>;

    /// Starts a command that goes on by itself, whatever becomes of whoever started it. Without a way to do so it is run to its end.
    ///
    /// # Errors
    /// It could not be started.
    fn start(&self, command: &Command) -> Result<Box<dyn Process>, SystemError> {
        Ok(Box::new(Ended(Some(self.run(command)))))
    }

    /// A clock that never goes back, from any beginning.
    fn now(&self) -> Duration {
        static BEGINNING: OnceLock<Instant> = OnceLock::new();
        BEGINNING.get_or_init(Instant::now).elapsed()
    }

    /// The content of a file; none if there is no such file.
    ///
    /// # Errors
    /// The file exists and could not be read.
    fn read_file(&self, path: &str) -> Result<Option<String>, SystemError>;

    /// Writes a file whole, readable by its owner only, with its parent directories, and syncs it.
    ///
    /// # Errors
    /// It could not be written; the old content is still there then.
    fn write_file(&self, path: &str, content: &str) -> Result<(), SystemError>;

    /// Writes a file of somebody else's whole, as atomically and durably, with the owner, group and mode that it has; one that is not there is readable by its owner only. `beside`, in the same folder, is
    /// written first, and whatever is there is removed.
    ///
    /// # Errors
    /// It is no regular file, or could not be written; the old content is still there then.
    fn replace_file(&self, _: &str, _: &str, _: &str) -> Result<(), SystemError> {
        Err(visit::unsupported())
    }

    /// Removes a file; one that is not there is fine.
    ///
    /// # Errors
    /// The file is still there.
    fn remove_file(&self, path: &str) -> Result<(), SystemError>;

    /// The names of the entries of a directory, sorted; none if there is no such directory.
    ///
    /// # Errors
    /// The directory exists and could not be read.
    fn list_dir(&self, path: &str) -> Result<Option<Vec<String>>, SystemError>;

    /// The path of a directory without symbolic links, as the kernel names it in jls(8) and mount(8); none if there is no directory.
    ///
    /// # Errors
    /// That could not be found out.
    fn real_path(&self, path: &str) -> Result<Option<String>, SystemError>;

    /// The size of a file in octets; none if there is no such file.
    ///
    /// # Errors
    /// That could not be found out.
    fn file_size(&self, path: &str) -> Result<Option<u64>, SystemError>;

    /// Writes the last `bytes_max` octets of a file into `beside` and empties the file where it stands, so that who has it open to append goes on writing to it.
    ///
    /// # Errors
    /// The copy could not be written, and the file is as it was; or it could not be emptied.
    fn rotate_file(&self, path: &str, beside: &str, bytes_max: u64) -> Result<(), SystemError>;

    /// Starts a command that somebody speaks with while it runs.
    ///
    /// # Errors
    /// It could not be started.
    fn visit(&self, _: &Visit) -> Result<Visited, SystemError> {
        Err(visit::unsupported())
    }

    /// At most `bytes_max` octets of a file from a place on, without following a symbolic link anywhere on the way; none if there is no such file.
    ///
    /// # Errors
    /// It is no file, a link is on the way, or it could not be read.
    fn read_log(&self, _: &str, _: u64, _: usize) -> Result<Option<LogPart>, SystemError> {
        Err(visit::unsupported())
    }
}

/// A command that was started and goes on by itself. Forgetting it does not end it.
pub trait Process: Send {
    /// Waits at most so long for its end; none: it goes on. After its end it is not asked again.
    ///
    /// # Errors
    /// It took longer than its timeout, or wrote too much, and was killed.
    fn wait(&mut self, patience: Duration) -> Result<Option<Output>, SystemError>;
}

/// One that has ended already.
struct Ended(Option<Result<Output, SystemError>>);

impl Process for Ended {
    fn wait(&mut self, _: Duration) -> Result<Option<Output>, SystemError> {
        self.0.take().transpose()
    }
}

/// Why a command or a file operation did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    /// The program is not there, or may not be run.
    #[error("cannot run `{line}`")]
    Spawn {
        /// The command.
        line: String,
        /// Why.
        source: io::Error,
    },
    /// Killed.
    #[error("`{line}` did not end within {} s and was killed", timeout.as_secs())]
    TimedOut {
        /// The command.
        line: String,
        /// How long it was given.
        timeout: Duration,
        /// What it had written to standard error by then.
        stderr: String,
    },
    /// Killed.
    #[error("`{line}` printed more than {bytes_max} bytes and was killed")]
    TooLong {
        /// The command.
        line: String,
        /// How much it may print.
        bytes_max: usize,
        /// How its standard output began, where that is heard.
        began: String,
    },
    /// A file or directory.
    #[error("cannot {action} {path}")]
    File {
        /// `read`, `write` …
        action: &'static str,
        /// The path.
        path: String,
        /// Why.
        source: io::Error,
    },
}

impl SystemError {
    /// Whether the disk, or the user's share of it, is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Spawn { source, .. } | Self::File { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ),
            Self::TimedOut { .. } | Self::TooLong { .. } => false,
        }
    }
}

/// Runs a command that must succeed.
pub(crate) fn succeed(system: &dyn System, command: &Command) -> Result<Output, Failure> {
    let output = system.run(command)?;
    if output.is_success() {
        Ok(output)
    } else {
        Err(Failure::refused(command, &output))
    }
}
