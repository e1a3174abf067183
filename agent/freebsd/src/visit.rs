//! A command in a jail that somebody speaks with while it runs: jexec(8) on three pipes or on a terminal, and what its words are.
//!
//! What a jail's process is handed is a pipe or a pseudo-terminal that was made for it. A pipe has nothing that could be changed by it. Of a terminal the file is the host's: its mode and owner
//! could be changed by whoever is root and has it open, so the descriptor is good for reading, writing and ioctl(2) alone ([`crate::inside::enter`]). The terminal's other side is the
//! agent's, and nothing on the host reads what is typed or pushed back (TIOCSTI) there.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::command::{Program, words};
use crate::system::SystemError;

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// The words, the host's program first.
    pub argv: Vec<String>,
    /// The terminal that it has; none: three pipes.
    pub terminal: Option<Terminal>,
}

/// A terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// Its size.
    pub window: Window,
    /// TERM.
    pub name: String,
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

/// A command under way, with the ends of its streams, none of which waits. Dropping `process` hangs it up.
pub struct Visited {
    /// What it reads; dropped, there is no more.
    pub input: OwnedFd,
    /// What it writes: standard output, or the terminal.
    pub output: OwnedFd,
    /// Standard error; a terminal has none of its own.
    pub error: Option<OwnedFd>,
    /// The process.
    pub process: Box<dyn VisitedProcess>,
}

/// The process of a visit.
///
/// # Guarantees
/// When it is dropped before its end, its process group gets SIGHUP, and SIGKILL if that does not end it in time.
pub trait VisitedProcess: Send {
    /// Its exit status once it has ended, 128 and the signal's number where a signal ended it.
    ///
    /// # Errors
    /// It cannot be waited for.
    fn try_wait(&mut self) -> io::Result<Option<i32>>;

    /// Its terminal has another size, which it is told by SIGWINCH.
    ///
    /// # Errors
    /// There is no terminal.
    fn resize(&self, window: Window) -> io::Result<()>;
}

/// A piece of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPart {
    /// Which file it is; another one may come to stand at the path.
    pub file: u64,
    /// How large it is, in octets.
    pub size: u64,
    /// How long ago it was changed, by the clock; a time to come counts as one gone by. None where nobody knows.
    pub changed_ago: Option<Duration>,
    /// What it has from the place on that was asked for.
    pub bytes: Vec<u8>,
}

/// The words that run `argv` in the jail `jid` under the routing table `fib`.
///
/// The directory is `/`: a user's own need not be there. A user is one of the jail's, looked up when jexec(8) is in it (`-U`), with a clean environment of that user's class (`-l`). Root is nobody's
/// in particular, so that a jail without passwd(5) can be visited: with `-l` alone jexec would look root up on the host, password and all, and the jail's root could read that in its memory
/// (usr.sbin/jexec/jexec.c). The environment is then the one that it is started with.
#[must_use]
pub fn command(jid: u32, fib: u16, user: &str, argv: &[String]) -> Vec<String> {
    let mut words = Vec::new();
    if fib > 0 {
        words.extend(words![Program::Setfib.path(), fib.to_string()]);
    }
    words.extend(words![Program::Jexec.path(), "-d", "/"]);
    if !user.is_empty() {
        words.extend(words!["-l", "-U", user]);
    }
    words.push(jid.to_string());
    words.extend(argv.iter().cloned());
    words
}

/// The longest line that says that a command could not be executed: a path of PATH_MAX and what stands around it.
pub const EXECUTE_LINE_MAX: usize = 1200;

/// The exit status that sh(1) has for a command that could not be executed, where that is all that jexec(8) said (`err(1, "execvp: %s", argv[1])`, usr.sbin/jexec/jexec.c). Whoever feigns that line
/// changes the exit status of their own command.
#[must_use]
pub fn not_executed(program: &str, said: &[u8]) -> Option<i32> {
    let said = std::str::from_utf8(said).ok()?.trim_end();
    let why = said.strip_prefix("jexec: execvp: ")?;
    let why = why.strip_prefix(program)?.strip_prefix(": ")?;
    // One line, or else it is something that the command said.
    let is_line = !why.contains('\n');
    is_line.then_some(if why == "No such file or directory" {
        127
    } else {
        126
    })
}

pub(crate) fn unsupported() -> SystemError {
    SystemError::Spawn {
        line: "jexec".to_owned(),
        source: io::ErrorKind::Unsupported.into(),
    }
}

#[cfg(test)]
mod tests;
