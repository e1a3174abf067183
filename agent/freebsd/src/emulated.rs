//! The emulated host behind [`System`]: the same argv in, the same text out, in virtual time. In tests, the sandbox and the simulation.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cellblock_fakebsd::Emulator;
use cellblock_fakebsd::emulator::Started;
use cellblock_fakebsd::files::{Entry, FileError};

use crate::command::{Command, Output};
use crate::system::{Process, System, SystemError};
use crate::visit::LogPart;

/// How much virtual time passes between two questions whether a program has ended.
const WAIT: Duration = Duration::from_millis(100);

/// An emulated host. Clones are the same host.
#[derive(Clone, Debug)]
pub struct Emulated(pub Arc<Mutex<Emulator>>);

impl Emulated {
    /// The system of `emulator`.
    #[must_use]
    pub fn new(emulator: Emulator) -> Self {
        Self(Arc::new(Mutex::new(emulator)))
    }

    /// The emulator itself, to look at it or to let time pass. A test that panicked while it held the emulator does not take it away from others.
    pub fn emulator(&self) -> MutexGuard<'_, Emulator> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl System for Emulated {
    fn run(&self, command: &Command) -> Result<Output, SystemError> {
        let stdin = command.stdin.as_deref().unwrap_or_default();
        let output = self.emulator().run(&named(command), stdin);
        Ok(output_of(output))
    }

    /// Where the emulated hooks take their time beside everything else, the program goes on in the emulator, which may outlive whoever started it; else it is through at once.
    fn start(&self, command: &Command) -> Result<Box<dyn Process>, SystemError> {
        let is_slow = {
            let host = self.emulator();
            let program = named(command).into_iter().next().unwrap_or_default();
            host.slow.contains_key(&program)
        };
        if !is_slow && !self.emulator().hooks_take_time {
            return Ok(Box::new(InBackground::Ended(Some(self.run(command)?))));
        }
        let file = command.stderr_file.as_deref();
        let started = self
            .emulator()
            .start(&named(command), &command.line(), file);
        Ok(Box::new(match started {
            Started::Ended(output) => {
                self.remove_stderr(file)?;
                InBackground::Ended(Some(output_of(output)))
            }
            Started::Running(pid) => InBackground::Running {
                host: self.clone(),
                pid,
                ends_by: self.now().saturating_add(command.timeout),
                command: command.clone(),
            },
        }))
    }

    fn now(&self) -> Duration {
        self.emulator().kernel.now
    }

    fn read_file(&self, path: &str) -> Result<Option<String>, SystemError> {
        match self.emulator().files.read_text(path) {
            Ok(text) => Ok(Some(text)),
            Err(FileError::NotFound) => Ok(None),
            Err(error) => Err(file_error("read", path, error)),
        }
    }

    fn write_file(&self, path: &str, content: &str) -> Result<(), SystemError> {
        let files = &mut self.emulator().files;
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        files
            .create_directories(parent)
            .and_then(|()| files.write(path, content))
            .map_err(|error| file_error("write", path, error))?;
        // What one has left that died over it is replaced, and renamed.
        let beside = format!("{parent}/.{name}.new");
        if files.exists(&beside) {
            let removed = files.remove(&beside);
            removed.map_err(|error| file_error("remove", &beside, error))?;
        }
        Ok(())
    }

    fn replace_file(&self, path: &str, beside: &str, content: &str) -> Result<(), SystemError> {
        let files = &mut self.emulator().files;
        let replaced = match files.entry(path) {
            Some(Entry::Directory | Entry::Symlink(_)) => Err(FileError::Exists),
            Some(Entry::File(_)) | None => files
                .write(beside, content)
                .and_then(|()| files.rename(beside, path)),
        };
        replaced.map_err(|error| file_error("write", path, error))
    }

    fn remove_file(&self, path: &str) -> Result<(), SystemError> {
        match self.emulator().files.remove(path) {
            Ok(()) | Err(FileError::NotFound) => Ok(()),
            Err(error) => Err(file_error("remove", path, error)),
        }
    }

    fn list_dir(&self, path: &str) -> Result<Option<Vec<String>>, SystemError> {
        let files = &self.emulator().files;
        let real = files.real_path(path).ok().flatten();
        match files.list(real.as_deref().unwrap_or(path)) {
            Ok(names) => Ok(Some(names.map(str::to_owned).collect())),
            Err(FileError::NotFound) => Ok(None),
            Err(error) => Err(file_error("list", path, error)),
        }
    }

    fn real_path(&self, path: &str) -> Result<Option<String>, SystemError> {
        let emulator = self.emulator();
        let real = emulator
            .files
            .real_path(path)
            .map_err(|error| file_error("look at", path, error))?;
        Ok(real.filter(|real| emulator.files.is_directory(real)))
    }

    fn file_size(&self, path: &str) -> Result<Option<u64>, SystemError> {
        match self.emulator().files.read(path) {
            Ok(bytes) => Ok(Some(bytes.len() as u64)),
            Err(FileError::NotFound | FileError::IsADirectory) => Ok(None),
            Err(error) => Err(file_error("look at", path, error)),
        }
    }

    fn rotate_file(&self, path: &str, beside: &str, bytes_max: u64) -> Result<(), SystemError> {
        let files = &mut self.emulator().files;
        let read = files.read(path).map(<[u8]>::to_vec);
        let bytes = read.map_err(|error| file_error("read", path, error))?;
        let kept = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let end = &bytes[bytes.len().saturating_sub(kept)..];
        files
            .write(beside, end)
            .and_then(|()| files.write(path, ""))
            .map_err(|error| file_error("write", beside, error))
    }

    fn read_log(
        &self,
        path: &str,
        from: u64,
        bytes_max: usize,
    ) -> Result<Option<LogPart>, SystemError> {
        let emulator = self.emulator();
        let files = &emulator.files;
        let upper = path.match_indices('/').map(|(at, _)| &path[..at]);
        let is_link = |path: &str| matches!(files.entry(path), Some(Entry::Symlink(_)));
        if upper.chain([path]).any(is_link) {
            return Err(file_error("read", path, FileError::TooManyLinks));
        }
        let bytes = match files.read(path) {
            Ok(bytes) => bytes,
            Err(FileError::NotFound) => return Ok(None),
            Err(error) => return Err(file_error("read", path, error)),
        };
        let rest = bytes.get(usize::try_from(from).unwrap_or(usize::MAX)..);
        let rest = rest.unwrap_or_default();
        Ok(Some(LogPart {
            // Nothing here takes the place of a file that is open.
            file: 0,
            size: bytes.len() as u64,
            changed_ago: files
                .changed_at(path)
                .map(|at| emulator.kernel.now.abs_diff(at)),
            bytes: rest[..rest.len().min(bytes_max)].to_vec(),
        }))
    }
}

impl Emulated {
    fn remove_stderr(&self, file: Option<&str>) -> Result<(), SystemError> {
        file.map_or(Ok(()), |path| self.remove_file(path))
    }
}

/// A program that was started in the emulator.
enum InBackground {
    Ended(Option<Output>),
    Running {
        host: Emulated,
        pid: u32,
        command: Command,
        /// When it is killed, in virtual time.
        ends_by: Duration,
    },
}

impl Process for InBackground {
    /// As long as somebody waits, virtual time passes.
    fn wait(&mut self, patience: Duration) -> Result<Option<Output>, SystemError> {
        let (host, pid, command, ends_by) = match self {
            Self::Ended(output) => return Ok(output.take()),
            Self::Running {
                host,
                pid,
                command,
                ends_by,
            } => (host, *pid, command, *ends_by),
        };
        let until = host.now().saturating_add(patience);
        loop {
            let file = command.stderr_file.as_deref();
            let ended = host.emulator().wait(pid);
            if let Some(output) = ended {
                host.remove_stderr(file)?;
                return Ok(Some(output_of(output)));
            }
            let now = host.now();
            if now >= ends_by {
                host.emulator().kill(pid);
                host.remove_stderr(file)?;
                return Err(SystemError::TimedOut {
                    line: command.line(),
                    timeout: command.timeout,
                    stderr: String::new(),
                });
            }
            if now >= until {
                return Ok(None);
            }
            host.emulator().advance(WAIT.min(until - now));
        }
    }
}

/// The words of a command; the emulator knows programs by their name, as the recordings do.
fn named(command: &Command) -> Vec<String> {
    let mut argv = command.argv.clone();
    if let Some(program) = argv.first_mut()
        && let Some((_, name)) = program.rsplit_once('/')
    {
        *program = name.to_owned();
    }
    argv
}

fn output_of(output: cellblock_fakebsd::Output) -> Output {
    Output {
        status: output.status,
        stdout: output.stdout,
        stderr: output.stderr,
    }
}

fn file_error(action: &'static str, path: &str, error: FileError) -> SystemError {
    let kind = match error {
        FileError::NotFound => io::ErrorKind::NotFound,
        FileError::NotADirectory => io::ErrorKind::NotADirectory,
        FileError::IsADirectory => io::ErrorKind::IsADirectory,
        FileError::NotEmpty => io::ErrorKind::DirectoryNotEmpty,
        FileError::Exists => io::ErrorKind::AlreadyExists,
        FileError::NoSpace => io::ErrorKind::StorageFull,
        FileError::ReadOnly => io::ErrorKind::ReadOnlyFilesystem,
        FileError::NotPermitted => io::ErrorKind::PermissionDenied,
        FileError::TooManyLinks | FileError::NameTooLong | FileError::Io => io::ErrorKind::Other,
    };
    SystemError::File {
        action,
        path: path.to_owned(),
        source: io::Error::new(kind, error),
    }
}
