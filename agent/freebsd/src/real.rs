//! A real host: the only process spawner of the project, and the files. Compiles and works on every Unix, so that it is tested where the project is built.
//!
//! Who calls it: [`crate::FreeBsd`], through [`System`]. What is not here: which commands there are.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::command::{Command, Output, Program};
use crate::system::{Process, System, SystemError};
use crate::visit::{LogPart, Visit, Visited};

/// How often a child that has closed its output, or left it open to a daemon, is asked whether it has ended: first after this …
const ASK_MIN: Duration = Duration::from_millis(1);

/// … and, doubling, at last this often.
const ASK_MAX: Duration = Duration::from_millis(50);

/// The environment of every command. Without any `LC_` variable the locale is C, and hooks of jail.conf that inherit this find what rc(8) would let them find.
const ENVIRONMENT: [(&str, &str); 2] = [
    (
        "PATH",
        "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin",
    ),
    ("HOME", "/"),
];

mod log;
mod started;
mod visited;

use started::Started;
pub use visited::visit_by;

/// This very program, wherever it was started from; where it is gone from there (an update has put another in its place), the one that is installed.
fn own_program() -> String {
    let own = std::env::current_exe().ok().filter(|path| path.is_file());
    let own = own.and_then(|path| path.to_str().map(str::to_owned));
    own.unwrap_or_else(|| Program::Agent.path().to_owned())
}

/// A command in a process group and with an environment of its own.
fn prepared(program: &str, arguments: &[String]) -> std::process::Command {
    let mut command = bare(program, arguments);
    command.process_group(0);
    command
}

/// A command with an environment of its own.
fn bare(program: &str, arguments: &[String]) -> std::process::Command {
    let mut command = std::process::Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(ENVIRONMENT)
        .current_dir("/");
    command
}

/// The machine that the agent runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Real;

impl System for Real {
    fn run(&self, command: &Command) -> Result<Output, SystemError> {
        let [program, arguments @ ..] = command.argv.as_slice() else {
            let source = io::Error::from(io::ErrorKind::InvalidInput);
            return Err(SystemError::Spawn {
                line: String::new(),
                source,
            });
        };
        let child = prepared(program, arguments)
            .stdin(match command.stdin {
                Some(_) => Stdio::piped(),
                None => Stdio::null(),
            })
            .stdout(if command.discards_stdout {
                Stdio::null()
            } else {
                Stdio::piped()
            })
            .stderr(Stdio::piped())
            .spawn();
        let mut running = Running::new(
            child.map_err(|source| SystemError::Spawn {
                line: command.line(),
                source,
            })?,
            command,
        );
        running.finish()
    }

    fn start(&self, command: &Command) -> Result<Box<dyn Process>, SystemError> {
        Ok(Box::new(Started::new(command)?))
    }

    fn read_file(&self, path: &str) -> Result<Option<String>, SystemError> {
        match fs::read(path) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(file_error("read", path, source)),
        }
    }

    fn write_file(&self, path: &str, content: &str) -> Result<(), SystemError> {
        write_whole(Path::new(path), content.as_bytes())
            .map_err(|source| file_error("write", path, source))
    }

    fn replace_file(&self, path: &str, beside: &str, content: &str) -> Result<(), SystemError> {
        replace_whole(Path::new(path), Path::new(beside), content.as_bytes())
            .map_err(|source| file_error("write", path, source))
    }

    fn remove_file(&self, path: &str) -> Result<(), SystemError> {
        match fs::remove_file(path) {
            Ok(()) => sync_parent(Path::new(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
        .map_err(|source| file_error("remove", path, source))
    }

    fn list_dir(&self, path: &str) -> Result<Option<Vec<String>>, SystemError> {
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(file_error("list", path, source)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|source| file_error("list", path, source))?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(Some(names))
    }

    fn real_path(&self, path: &str) -> Result<Option<String>, SystemError> {
        let found = fs::canonicalize(path).and_then(|real| Ok((fs::metadata(&real)?, real)));
        match found {
            Ok((metadata, _)) if !metadata.is_dir() => Ok(None),
            Ok((_, real)) => real
                .into_os_string()
                .into_string()
                .map(Some)
                .map_err(|_| file_error("look at", path, io::ErrorKind::InvalidData.into())),
            Err(error) if is_absence(&error) => Ok(None),
            Err(source) => Err(file_error("look at", path, source)),
        }
    }

    fn file_size(&self, path: &str) -> Result<Option<u64>, SystemError> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(metadata.is_file().then_some(metadata.len())),
            Err(error) if is_absence(&error) => Ok(None),
            Err(source) => Err(file_error("look at", path, source)),
        }
    }

    fn rotate_file(&self, path: &str, beside: &str, bytes_max: u64) -> Result<(), SystemError> {
        let end = || {
            let mut file = File::open(path)?;
            let size = file.metadata()?.len();
            file.seek(io::SeekFrom::Start(size.saturating_sub(bytes_max)))?;
            let mut bytes = Vec::new();
            file.take(bytes_max).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = end().map_err(|source| file_error("read", path, source))?;
        write_whole(Path::new(beside), &bytes)
            .map_err(|source| file_error("write", beside, source))?;
        OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|file| file.set_len(0))
            .map_err(|source| file_error("empty", path, source))
    }

    fn visit(&self, visit: &Visit) -> Result<Visited, SystemError> {
        visit_by(&[own_program(), "enter".to_owned()], visit)
    }

    fn read_log(
        &self,
        path: &str,
        from: u64,
        bytes_max: usize,
    ) -> Result<Option<LogPart>, SystemError> {
        log::read(path, from, bytes_max).map_err(|source| file_error("read", path, source))
    }
}

/// How much is kept of the output of a command that printed too much, in octets.
const BEGINNING_BYTES: usize = 1024;

/// A child and what is still to be said to it and heard from it.
struct Running<'a> {
    child: Child,
    command: &'a Command,
    deadline: Instant,
    stdin: Vec<u8>,
    written: usize,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl<'a> Running<'a> {
    fn new(child: Child, command: &'a Command) -> Self {
        Self {
            child,
            command,
            deadline: Instant::now() + command.timeout,
            stdin: command.stdin.clone().unwrap_or_default().into_bytes(),
            written: 0,
            stdout: Vec::new(),
            stderr: Vec::new(),
        }
    }

    /// Talks to the child until it has ended. It has ended when the process has, not when its output is closed: a daemon that a jail's `exec.start`
    /// left behind keeps the output open for as long as it lives.
    fn finish(&mut self) -> Result<Output, SystemError> {
        self.make_nonblocking()
            .map_err(|source| self.lost(source))?;
        let bytes_max = self.command.bytes_max;
        let mut ask = ASK_MIN;
        loop {
            let heard = self.exchange(ask).map_err(|source| self.lost(source))?;
            if self.stdout.len() > bytes_max || self.stderr.len() > bytes_max {
                self.kill();
                return Err(SystemError::TooLong {
                    line: self.command.line(),
                    bytes_max,
                    began: text(&self.stdout[..self.stdout.len().min(BEGINNING_BYTES)]),
                });
            }
            if let Some(status) = self.child.try_wait().map_err(|source| self.lost(source))? {
                while self
                    .exchange(Duration::ZERO)
                    .map_err(|source| self.lost(source))?
                    && self.stdout.len() <= bytes_max
                {}
                return Ok(Output {
                    status: exit_status(status),
                    stdout: text(&self.stdout),
                    stderr: text(&self.stderr),
                });
            }
            if Instant::now() >= self.deadline {
                self.kill();
                return Err(SystemError::TimedOut {
                    line: self.command.line(),
                    timeout: self.command.timeout,
                    stderr: text(&self.stderr),
                });
            }
            ask = if heard {
                ASK_MIN
            } else {
                (ask * 2).min(ASK_MAX)
            };
        }
    }

    fn make_nonblocking(&self) -> io::Result<()> {
        let child = &self.child;
        let ends = [
            child.stdin.as_ref().map(AsFd::as_fd),
            child.stdout.as_ref().map(AsFd::as_fd),
            child.stderr.as_ref().map(AsFd::as_fd),
        ];
        for end in ends.into_iter().flatten() {
            fcntl_setfl(end, fcntl_getfl(end)? | OFlags::NONBLOCK)?;
        }
        Ok(())
    }

    /// Waits up to `wait` for the child to read or write, and answers; whether anything was heard.
    fn exchange(&mut self, wait: Duration) -> io::Result<bool> {
        let child = &self.child;
        let mut ends: Vec<(BorrowedFd<'_>, PollFlags)> = Vec::with_capacity(3);
        ends.extend(
            child
                .stdin
                .as_ref()
                .map(|end| (end.as_fd(), PollFlags::OUT)),
        );
        ends.extend(
            child
                .stdout
                .as_ref()
                .map(|end| (end.as_fd(), PollFlags::IN)),
        );
        ends.extend(
            child
                .stderr
                .as_ref()
                .map(|end| (end.as_fd(), PollFlags::IN)),
        );
        let mut polled: Vec<PollFd<'_>> = ends
            .iter()
            .map(|(end, flags)| PollFd::from_borrowed_fd(*end, *flags))
            .collect();
        let wait = Timespec::try_from(wait).unwrap_or_default();
        match poll(&mut polled, Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        self.write_some();
        let mut heard = false;
        if let Some(end) = &mut self.child.stdout {
            let before = self.stdout.len();
            if read_some(end, &mut self.stdout, self.command.bytes_max)? {
                self.child.stdout = None;
            }
            heard |= self.stdout.len() > before;
        }
        if let Some(end) = &mut self.child.stderr {
            let before = self.stderr.len();
            if read_some(end, &mut self.stderr, self.command.bytes_max)? {
                self.child.stderr = None;
            }
            heard |= self.stderr.len() > before;
        }
        Ok(heard)
    }

    /// Writes what the child takes. A child that stops reading early is not our error: its exit status speaks.
    fn write_some(&mut self) {
        let Some(end) = &mut self.child.stdin else {
            return;
        };
        while self.written < self.stdin.len() {
            match end.write(&self.stdin[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.child.stdin = None;
    }

    /// Kills the child with everything that it started and did not put into a group of its own, and reaps it. The child was not reaped before, so its process group is still its own.
    fn kill(&mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // The group is gone only if every process of it is, which is what was wanted.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }

    fn lost(&self, source: io::Error) -> SystemError {
        SystemError::Spawn {
            line: self.command.line(),
            source,
        }
    }
}

impl Drop for Running<'_> {
    /// However the function was left, no child stays behind, neither running nor as a zombie.
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.kill();
        }
    }
}

/// Reads what is there; whether the stream has ended.
fn read_some(end: &mut impl io::Read, into: &mut Vec<u8>, bytes_max: usize) -> io::Result<bool> {
    let mut buffer = [0; 64 << 10];
    while into.len() <= bytes_max {
        match end.read(&mut buffer) {
            Ok(0) => return Ok(true),
            Ok(count) => into.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Whether the error says that there is nothing at the path.
fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn exit_status(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn file_error(action: &'static str, path: &str, source: io::Error) -> SystemError {
    SystemError::File {
        action,
        path: path.to_owned(),
        source,
    }
}

/// Writes beside the file, syncs, renames over it, syncs the directory.
fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(parent)?;
    let beside = parent.join(format!(".{}.new", name.to_string_lossy()));
    // One left by a crash may be anything; it is ours to replace, never to write through.
    match fs::remove_file(&beside) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    })();
    if written.is_err() {
        // The first error is the one to tell; what is left beside the file is replaced next time.
        let _ = fs::remove_file(&beside);
    }
    written?;
    sync_parent(path)
}

/// Writes `beside`, as what is at the path is owned and may be read, syncs, renames it over that, syncs the directory.
fn replace_whole(path: &Path, beside: &Path, content: &[u8]) -> io::Result<()> {
    let former = match fs::symlink_metadata(path) {
        Ok(former) if former.is_file() => Some(former),
        Ok(_) => return Err(io::Error::other("it is no regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    match fs::remove_file(beside) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(beside)?;
        file.write_all(content)?;
        if let Some(former) = &former {
            // Changing the owner clears set-uid bits, so the mode comes behind it.
            std::os::unix::fs::fchown(&file, Some(former.uid()), Some(former.gid()))?;
            file.set_permissions(former.permissions())?;
        }
        file.sync_all()?;
        fs::rename(beside, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(beside);
    }
    written?;
    sync_parent(path)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests;
