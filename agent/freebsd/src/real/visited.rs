//! A visit on a real host: a child on pipes or on a terminal of its own, and how it is hung up.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::{bare, exit_status};
use crate::system::SystemError;
use crate::visit::{Terminal, Visit, Visited, VisitedProcess, Window};

/// How long what is hung up may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// How often it is asked meanwhile.
const ASK: Duration = Duration::from_millis(50);

/// Starts `visit` by the words of `helper`, to which it is appended: the agent's own program, which takes the terminal and sheds what the jail must not have.
///
/// # Errors
/// It could not be started, or there is no terminal to be had.
pub fn visit_by(helper: &[String], visit: &Visit) -> Result<Visited, SystemError> {
    let lost = |source: io::Error| SystemError::Spawn {
        line: [helper, &visit.argv].concat().join(" "),
        source,
    };
    match &visit.terminal {
        Some(terminal) => on_terminal(helper, visit, terminal).map_err(lost),
        None => on_pipes(helper, visit).map_err(lost),
    }
}

/// What root finds in a jail.
const ROOT: [(&str, &str); 4] = [
    ("HOME", "/root"),
    ("LOGNAME", "root"),
    ("SHELL", "/bin/sh"),
    ("USER", "root"),
];

/// The helper begins a session, which the leader of a process group cannot do (setsid(2)); without one the command is in a process group of its own.
fn child_of(
    helper: &[String],
    flag: Option<&str>,
    visit: &Visit,
) -> io::Result<std::process::Command> {
    let words = helper.iter().cloned();
    let words = words.chain(flag.map(str::to_owned));
    let separator = (!helper.is_empty()).then(|| "--".to_owned());
    let words: Vec<String> = words
        .chain(separator)
        .chain(visit.argv.iter().cloned())
        .collect();
    let (program, arguments) = words
        .split_first()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut child = bare(program, arguments);
    child.envs(ROOT);
    if helper.is_empty() {
        child.process_group(0);
    }
    Ok(child)
}

fn on_pipes(helper: &[String], visit: &Visit) -> io::Result<Visited> {
    let mut child = child_of(helper, None, visit)?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let ends = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let process = Box::new(Process {
        child: Some(child),
        terminal: None,
    });
    let (Some(input), Some(output), Some(error)) = ends else {
        // Dropping the process ends it.
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    let (input, output, error) = (
        OwnedFd::from(input),
        OwnedFd::from(output),
        OwnedFd::from(error),
    );
    for end in [&input, &output, &error] {
        never_waits(end)?;
    }
    Ok(Visited {
        input,
        output,
        error: Some(error),
        process,
    })
}

fn on_terminal(helper: &[String], visit: &Visit, terminal: &Terminal) -> io::Result<Visited> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    // Not to become ours: whoever becomes the leader of its session takes it.
    let theirs = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlags::NOCTTY.bits().cast_signed())
        .open(std::ffi::OsStr::from_bytes(name.as_bytes()))?;
    tcsetwinsize(&ours, size(terminal.window))?;
    let child = child_of(helper, Some("--terminal"), visit)?
        .env("TERM", &terminal.name)
        .stdin(Stdio::from(theirs.try_clone()?))
        .stdout(Stdio::from(theirs.try_clone()?))
        .stderr(Stdio::from(theirs))
        .spawn()?;
    let process = Box::new(Process {
        child: Some(child),
        terminal: Some(ours.try_clone()?),
    });
    let input = ours.try_clone()?;
    never_waits(&ours)?;
    Ok(Visited {
        input,
        output: ours,
        error: None,
        process,
    })
}

fn size(window: Window) -> Winsize {
    Winsize {
        ws_row: window.rows,
        ws_col: window.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

fn never_waits(end: &OwnedFd) -> io::Result<()> {
    Ok(fcntl_setfl(end, fcntl_getfl(end)? | OFlags::NONBLOCK)?)
}

struct Process {
    /// Until it was waited for.
    child: Option<Child>,
    /// Our side of its terminal.
    terminal: Option<OwnedFd>,
}

impl VisitedProcess for Process {
    fn try_wait(&mut self) -> io::Result<Option<i32>> {
        let Some(child) = &mut self.child else {
            return Ok(None);
        };
        let ended = child.try_wait()?;
        if ended.is_some() {
            self.child = None;
        }
        Ok(ended.map(exit_status))
    }

    fn resize(&self, window: Window) -> io::Result<()> {
        match &self.terminal {
            Some(terminal) => Ok(tcsetwinsize(terminal, size(window))?),
            None => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Closed, it hangs up the session that has the terminal (`tty_rel_gone`, sys/kern/tty.c).
        drop(self.terminal.take());
        let Some(child) = self.child.take() else {
            return;
        };
        signal(&child, Signal::HUP);
        let reaper = std::thread::Builder::new().name("hang-up".to_owned());
        // Without a thread it is reaped with the agent.
        let _ = reaper.spawn(move || reap(child));
    }
}

/// Waits for it, and kills it when it does not end.
fn reap(mut child: Child) {
    let until = Instant::now() + GRACE;
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() >= until {
            signal(&child, Signal::KILL);
            let _ = child.wait();
            return;
        }
        std::thread::sleep(ASK);
    }
}

/// To its process group; it was not reaped, so the group is its own. Before it has one, to itself.
fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw)
        && kill_process_group(pid, signal).is_err()
    {
        let _ = kill_process(pid, signal);
    }
}
