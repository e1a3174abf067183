//! A process that outlives the agent: no pipe joins the two. Its standard input and output are nowhere, its standard error is a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{ASK_MAX, ASK_MIN, exit_status, file_error, prepared, text};
use crate::command::{Command, Output};
use crate::system::{Process, SystemError};

/// How much of the end of its standard error is read, in octets: many times what a message shows.
const READ_BYTES_MAX: u64 = 64 << 10;

/// A process that was started and is asked from time to time.
pub(super) struct Started {
    child: Child,
    command: Command,
    deadline: Instant,
}

impl Started {
    /// Starts `command`.
    pub(super) fn new(command: &Command) -> Result<Self, SystemError> {
        let lost = |source| SystemError::Spawn {
            line: command.line(),
            source,
        };
        let (program, arguments) = command
            .argv
            .split_first()
            .ok_or_else(|| lost(io::ErrorKind::InvalidInput.into()))?;
        let stderr = match &command.stderr_file {
            Some(path) => Stdio::from(create(path)?),
            None => Stdio::null(),
        };
        let child = prepared(program, arguments)
            .stdin(Stdio::null())
            .stdout(match &command.stdout_file {
                Some(path) => Stdio::from(create(path)?),
                None => Stdio::null(),
            })
            .stderr(stderr)
            .spawn()
            .map_err(lost)?;
        Ok(Self {
            child,
            command: command.clone(),
            deadline: Instant::now() + command.timeout,
        })
    }

    /// Kills it with what it started in its process group.
    fn kill(&mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // The group is gone only if every process of it is, which is what was wanted.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }

    /// The end of what it wrote to standard error, whose file goes.
    fn take_stderr(&self) -> String {
        let Some(path) = &self.command.stderr_file else {
            return String::new();
        };
        let read = || {
            let mut file = File::open(path)?;
            let skipped = file.metadata()?.len().saturating_sub(READ_BYTES_MAX);
            file.seek(io::SeekFrom::Start(skipped))?;
            let mut bytes = Vec::new();
            file.take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
            if skipped > 0
                && let Some(cut) = bytes.iter().position(|byte| *byte == b'\n')
            {
                // The rest of a line.
                bytes.drain(..=cut);
            }
            Ok::<_, io::Error>(bytes)
        };
        let end = match read() {
            Ok(bytes) => text(&bytes),
            Err(error) => format!("(what it said cannot be read from {path}: {})", error),
        };
        // One that stays is found by the next look and removed.
        let _ = fs::remove_file(path);
        end
    }

    /// What it wrote to a file of its own, which goes.
    fn take_stdout(&self) -> Result<String, SystemError> {
        let Some(path) = &self.command.stdout_file else {
            return Ok(String::new());
        };
        let lost = |source| file_error("read", path, source);
        let bytes = fs::read(path).map_err(lost)?;
        fs::remove_file(path).map_err(lost)?;
        Ok(text(&bytes))
    }

    /// Whether it has written more than anybody keeps.
    fn wrote_too_much(&self) -> bool {
        let paths = [&self.command.stderr_file, &self.command.stdout_file];
        let mut written = paths.into_iter().flatten();
        written.any(|path| {
            fs::metadata(path).is_ok_and(|file| {
                usize::try_from(file.len()).is_ok_and(|size| size > self.command.bytes_max)
            })
        })
    }
}

impl Process for Started {
    fn wait(&mut self, patience: Duration) -> Result<Option<Output>, SystemError> {
        let begun = Instant::now();
        let mut ask = ASK_MIN;
        loop {
            let ended = self.child.try_wait();
            if let Some(status) = ended.map_err(|source| SystemError::Spawn {
                line: self.command.line(),
                source,
            })? {
                return Ok(Some(Output {
                    status: exit_status(status),
                    stdout: self.take_stdout()?,
                    stderr: self.take_stderr(),
                }));
            }
            if self.wrote_too_much() {
                self.kill();
                self.take_stderr();
                return Err(SystemError::TooLong {
                    line: self.command.line(),
                    bytes_max: self.command.bytes_max,
                    began: String::new(),
                });
            }
            if Instant::now() >= self.deadline {
                self.kill();
                return Err(SystemError::TimedOut {
                    line: self.command.line(),
                    timeout: self.command.timeout,
                    stderr: self.take_stderr(),
                });
            }
            let left = patience.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            std::thread::sleep(ask.min(left));
            ask = (ask * 2).min(ASK_MAX);
        }
    }
}

/// A file to append to, empty, and never one that somebody else has put there.
fn create(path: &str) -> Result<File, SystemError> {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(file_error("remove", path, source)),
    }
    OpenOptions::new()
        .append(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|source| file_error("write", path, source))
}
