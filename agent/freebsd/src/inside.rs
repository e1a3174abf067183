//! pfctl(8) in the network stack of a VNET jail: the host's program and libraries, none of the jail's.
//!
//! `cellblock-agent pfctl JAIL …` is a process of its own, so that nothing of the agent is in its memory when it enters the jail, whose root may see it and send it signals from then on. It opens
//! everything that pfctl is made of, parts with what that root could use, attaches, and becomes it:
//!
//! ```text
//! host   open /rescue/pfctl, which is static, and the file behind -f
//!        cap_rights_limit    a descriptor is good for what pfctl does with it: uid 0 may fchmod(2), fchown(2) and futimes(2) any file that it has open, and in the jail that is his root
//!        procctl             PROC_TRACE_CTL_DISABLE_EXEC: nobody in the jail traces it, before fexecve(2) or behind it
//!        jail_attach(jid)    root, credentials and stack are the jail's (`do_jail_attach`, sys/kern/kern_jail.c)
//! jail   fexecve(pfctl)      no path is looked up
//!        it opens /dev/pf of the jail's devfs; the kernel takes the caller's stack (`CURVNET_SET(TD_TO_VNET(td))`, `pfioctl`, sys/netpfil/pf/pf_ioctl.c), and its
//!        netlink commands need PRIV_NETINET_PF (sys/netpfil/pf/pf_nl.c), which a VNET jail has (`prison_priv_check`, sys/kern/kern_jail.c)
//! ```
//!
//! Where /rescue has none, as before 15 and without MK_PF or MK_RESCUE (rescue/rescue/Makefile), it is /sbin/pfctl: the run-time linker is executed with `-f FD` for the program and LD_PRELOAD_FDS for its
//! libraries (`_rtld`, `load_preload_objects` and `load_object`, libexec/rtld-elf/rtld.c), which looks up no path either. fexecve(2) takes the mark off the process with which the linker would not do so
//! (P_SUGID, `do_execve`, sys/kern/kern_exec.c).
//!
//! Where one of these fails, as cap_rights_limit(2) does in a kernel without `options CAPABILITIES`, the jail is not entered. No directory is left open: by one of the host's, a jail's root would be out
//! of his jail. The files are readable by everybody. What it reads is the file behind -f or a pipe, an empty one where it reads nothing; the agent reads by pipes what it writes. A jail without a stack of its own is refused: there /dev/pf is the
//! host's.

use std::convert::Infallible;
use std::fs::File;
use std::io;

use thiserror::Error;

use crate::command::{Command, Program, words};
use crate::error::Failure;
use crate::real::Real;
use crate::system::{System as _, succeed};

mod attach;

use attach::{Input, Parts, Stopped};

/// The static pfctl.
const STATIC: &str = "/rescue/pfctl";

/// The run-time linker that the kernel would look up inside the jail (PT_INTERP of every dynamic program).
const LINKER: &str = "/libexec/ld-elf.so.1";

/// Why pfctl could not be run in a jail.
#[derive(Debug, Error)]
pub enum InsideError {
    /// Something of the host could not be opened.
    #[error("{path}: {source}")]
    Open {
        /// What.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A program of the host could not be run.
    #[error(transparent)]
    Run(#[from] Failure),
    /// jls(8) does not know it, or it is dying.
    #[error("{0}")]
    NoJail(String),
    /// It has the host's.
    #[error("jail {0} has no network stack of its own, so that its pf would be the host's")]
    NoStack(String),
    /// What makes up pfctl could not be found out.
    #[error("ldd(1) names no library of {}", Program::Pfctl.path())]
    Libraries,
    /// A system call failed.
    #[error(
        "jail {jail} is not entered, because its root could use what cannot be given up: {source}"
    )]
    Shed {
        /// The jail.
        jail: String,
        /// Why.
        source: io::Error,
    },
    /// The system call failed.
    #[error("cannot attach to jail {jail}: {source}")]
    Attach {
        /// The jail.
        jail: String,
        /// Why.
        source: io::Error,
    },
    /// The system call failed.
    #[error("cannot execute pfctl in jail {jail}: {source}")]
    Execute {
        /// The jail.
        jail: String,
        /// Why.
        source: io::Error,
    },
}

/// Becomes pfctl(8) with `arguments` in the stack of `jail`, by name or jid. A file behind `-f` is one of the host's.
///
/// # Errors
/// It could not; else it does not return.
pub fn pfctl(jail: &str, arguments: &[String]) -> Result<Infallible, InsideError> {
    attach::close_inherited();
    let jid = jid_of(jail)?;
    let mut arguments = arguments.to_vec();
    let file = arguments.iter().position(|word| word == "-f");
    let stdin = match file.and_then(|at| arguments.get_mut(at + 1)) {
        Some(path) if path != "-" => {
            let file = open(path)?;
            "-".clone_into(path);
            Input::File(file)
        }
        Some(_) => Input::Given,
        None => Input::Nothing,
    };
    let parts = parts()?;
    let jail = jail.to_owned();
    Err(
        match attach::execute(jid, &parts, stdin, "pfctl", &arguments) {
            Stopped::Shed(source) => InsideError::Shed { jail, source },
            Stopped::Attach(source) => InsideError::Attach { jail, source },
            Stopped::Execute(source) => InsideError::Execute { jail, source },
        },
    )
}

/// Becomes `argv`, a program of the host's that attaches to a jail, in a session of its own, with nothing open but the standard streams; `terminal`: they are one, which becomes the session's.
///
/// It gets SIGHUP when the agent dies.
///
/// # Errors
/// It could not; else it does not return.
pub fn enter(terminal: bool, argv: &[String]) -> io::Result<Infallible> {
    use std::os::unix::process::CommandExt as _;
    attach::close_inherited();
    // In the agent's session the jail's root could set its login name, and join its process group.
    rustix::process::setsid()?;
    if terminal {
        rustix::process::ioctl_tiocsctty(io::stdin())?;
        attach::shed_terminal()?;
    }
    // Elsewhere it is the death of the thread that started it.
    #[cfg(target_os = "freebsd")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::HUP))?;
    let (program, arguments) = argv
        .split_first()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    Err(std::process::Command::new(program).args(arguments).exec())
}

/// pfctl and whatever it is made of.
fn parts() -> Result<Parts, InsideError> {
    if let Ok(program) = File::open(STATIC) {
        return Ok(Parts::Static(program));
    }
    let libraries = libraries()?;
    Ok(Parts::Linked {
        linker: open(LINKER)?,
        program: open(Program::Pfctl.path())?,
        libraries: libraries
            .iter()
            .map(|path| open(path))
            .collect::<Result<_, _>>()?,
    })
}

fn open(path: &str) -> Result<File, InsideError> {
    File::open(path).map_err(|source| InsideError::Open {
        path: path.to_owned(),
        source,
    })
}

/// The jid of a living jail with a stack of its own.
fn jid_of(jail: &str) -> Result<i32, InsideError> {
    let command = Command::new(Program::Jls, words!["-j", jail, "jid", "vnet"]);
    let output = Real.run(&command).map_err(Failure::from)?;
    if !output.is_success() {
        return Err(InsideError::NoJail(output.stderr.trim().to_owned()));
    }
    parse_jail(jail, &output.stdout)
}

/// Reads `jls -j JAIL jid vnet`: a jid, and 1 or `new` for a stack of its own (JAIL_SYS_NEW, sys/sys/jail.h; `print_jail`, usr.sbin/jls/jls.c).
fn parse_jail(jail: &str, text: &str) -> Result<i32, InsideError> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [jid, vnet] = words.as_slice() else {
        return Err(InsideError::NoJail(format!(
            "jls(8) says of jail {jail}: {}",
            text.trim()
        )));
    };
    if !matches!(*vnet, "1" | "new") {
        return Err(InsideError::NoStack(jail.to_owned()));
    }
    jid.parse()
        .map_err(|_| InsideError::NoJail(format!("jls(8) says of jail {jail}: {}", text.trim())))
}

/// The libraries of pfctl, as the run-time linker finds them on the host (`%p`, rtld(1)).
fn libraries() -> Result<Vec<String>, InsideError> {
    let command = Command::new(Program::Ldd, words!["-f", "%p\\n", Program::Pfctl.path()]);
    let libraries = parse_libraries(&succeed(&Real, &command)?.stdout);
    if libraries.is_empty() {
        return Err(InsideError::Libraries);
    }
    Ok(libraries)
}

/// Paths, once each: what the kernel brings along (`[vdso]`) has none.
fn parse_libraries(text: &str) -> Vec<String> {
    let mut libraries: Vec<String> = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('/') && !libraries.iter().any(|known| known == line) {
            libraries.push(line.to_owned());
        }
    }
    libraries
}

#[cfg(test)]
mod tests;
