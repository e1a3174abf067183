//! The system calls that put a process into a jail and make it another program there. The only unsafe code of the project.
#![cfg_attr(
    target_os = "freebsd",
    expect(
        unsafe_code,
        reason = "no safe crate has jail_attach(2) and fexecve(2)"
    )
)]

use std::fs::File;
use std::io;

/// A program, open.
#[derive(Debug)]
#[cfg_attr(
    not(target_os = "freebsd"),
    expect(dead_code, reason = "FreeBSD alone has jails")
)]
pub(super) enum Parts {
    /// In one file.
    Static(File),
    /// In several, which the run-time linker puts together.
    Linked {
        /// The linker.
        linker: File,
        /// The program.
        program: File,
        /// Its libraries.
        libraries: Vec<File>,
    },
}

#[cfg(target_os = "freebsd")]
mod system {
    use std::convert::Infallible;
    use std::ffi::{CString, c_char, c_int};
    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd as _;
    use std::ptr;

    use super::Parts;

    // Declared in unistd.h and sys/jail.h of the base system; closefrom(2), dup2(2), fcntl(2), fexecve(2), jail_attach(2).
    unsafe extern "C" {
        fn closefrom(lowest: c_int);
        fn dup2(from: c_int, to: c_int) -> c_int;
        fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
        fn fexecve(fd: c_int, argv: *const *const c_char, envp: *const *const c_char) -> c_int;
        fn jail_attach(jid: c_int) -> c_int;
    }

    /// `F_SETFD` of fcntl.h.
    const F_SETFD: c_int = 2;

    pub(in super::super) fn close_inherited() {
        // SAFETY: it runs before this process has opened anything of its own, so that no descriptor that something here owns is closed.
        unsafe { closefrom(3) }
    }

    pub(in super::super) fn enter(jid: i32) -> io::Result<()> {
        // SAFETY: it takes a number and no memory.
        match unsafe { jail_attach(jid) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    pub(in super::super) fn execute(
        parts: &Parts,
        stdin: Option<&File>,
        name: &str,
        words: &[String],
    ) -> io::Error {
        match try_execute(parts, stdin, name, words) {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    fn try_execute(
        parts: &Parts,
        stdin: Option<&File>,
        name: &str,
        words: &[String],
    ) -> io::Result<Infallible> {
        if let Some(file) = stdin {
            // SAFETY: both are descriptors of this process, and nothing here owns the standard input.
            if unsafe { dup2(file.as_raw_fd(), 0) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        let mut argv = Vec::new();
        let mut environment = Vec::new();
        let executed = match parts {
            Parts::Static(program) => program,
            Parts::Linked {
                linker,
                program,
                libraries,
            } => {
                for file in libraries.iter().chain([program]) {
                    keep(file)?;
                }
                let number = |file: &File| file.as_raw_fd().to_string();
                let libraries: Vec<String> = libraries.iter().map(number).collect();
                environment.push(format!("LD_PRELOAD_FDS={}", libraries.join(":")));
                // The jail's libmap.conf(5) is its root's.
                environment.push("LD_LIBMAP_DISABLE=1".to_owned());
                let linker_words = ["ld-elf.so.1", "-f", &number(program), "--"];
                argv.extend(linker_words.map(str::to_owned));
                linker
            }
        };
        argv.push(name.to_owned());
        argv.extend(words.iter().cloned());
        let (argv, environment) = (strings(&argv)?, strings(&environment)?);
        let (argv_words, environment_words) = (pointers(&argv), pointers(&environment));
        // SAFETY: both are arrays of pointers to strings that live until the call returns, and end with a null pointer.
        unsafe {
            fexecve(
                executed.as_raw_fd(),
                argv_words.as_ptr(),
                environment_words.as_ptr(),
            );
        }
        Err(io::Error::last_os_error())
    }

    /// Lets the next program have it.
    fn keep(file: &File) -> io::Result<()> {
        // SAFETY: it takes numbers and no memory.
        match unsafe { fcntl(file.as_raw_fd(), F_SETFD, 0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn strings(words: &[String]) -> io::Result<Vec<CString>> {
        let words = words.iter().map(|word| CString::new(word.as_str()));
        words
            .collect::<Result<_, _>>()
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
    }

    fn pointers(words: &[CString]) -> Vec<*const c_char> {
        let words = words.iter().map(|word| word.as_ptr());
        words.chain([ptr::null()]).collect()
    }
}

#[cfg(not(target_os = "freebsd"))]
mod system {
    use std::fs::File;
    use std::io;

    use super::Parts;

    pub(in super::super) fn close_inherited() {}

    pub(in super::super) fn enter(_: i32) -> io::Result<()> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    pub(in super::super) fn execute(
        _: &Parts,
        _: Option<&File>,
        _: &str,
        _: &[String],
    ) -> io::Error {
        io::Error::from(io::ErrorKind::Unsupported)
    }
}

/// Closes everything but the standard streams: whoever started this process may have left a directory of the host open.
pub(super) fn close_inherited() {
    system::close_inherited();
}

/// Attaches this process to a jail.
///
/// # Errors
/// There is no such jail, or this process may not.
pub(super) fn enter(jid: i32) -> io::Result<()> {
    system::enter(jid)
}

/// Becomes the program `name` with `words`, which reads `stdin`, or what this process does; returns only where that fails, and why.
pub(super) fn execute(
    parts: &Parts,
    stdin: Option<&File>,
    name: &str,
    words: &[String],
) -> io::Error {
    system::execute(parts, stdin, name, words)
}
