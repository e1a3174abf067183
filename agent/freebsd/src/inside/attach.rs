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

/// What the program reads on its standard input.
#[derive(Debug)]
#[cfg_attr(
    not(target_os = "freebsd"),
    expect(dead_code, reason = "FreeBSD alone has jails")
)]
pub(super) enum Input {
    /// What this process does.
    Given,
    /// A file.
    File(File),
    /// Nothing.
    Nothing,
}

/// What failed, and why.
#[derive(Debug)]
#[cfg_attr(
    not(target_os = "freebsd"),
    expect(dead_code, reason = "FreeBSD alone has jails")
)]
pub(super) enum Stopped {
    /// To part with what a jail's root could use; the jail was not entered.
    Shed(io::Error),
    /// To attach to it.
    Attach(io::Error),
    /// To execute the program there.
    Execute(io::Error),
}

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
    use std::mem::MaybeUninit;
    use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
    use std::ptr;

    use super::{Input, Parts, Stopped};

    /// What is executed, and nothing else: the kernel asks for no more (`do_execve`, sys/kern/kern_exec.c).
    const EXECUTED: u64 = libc::CAP_FEXECVE;

    /// What the run-time linker does with a program or library: fstat(2), fstatfs(2), and mmap(2) to read and to execute (`_rtld` and `do_load_object`, libexec/rtld-elf/rtld.c; `map_object`,
    /// libexec/rtld-elf/map_object.c). To duplicate a descriptor needs no right.
    const LINKED: u64 = libc::CAP_READ
        | libc::CAP_SEEK
        | libc::CAP_MMAP
        | libc::CAP_MMAP_X
        | libc::CAP_FSTAT
        | libc::CAP_FSTATFS;

    /// What stdio(3) does with what it reads.
    const READ: u64 = libc::CAP_READ | libc::CAP_FSTAT;

    /// What stdio(3) does with what it writes.
    const WRITTEN: u64 = libc::CAP_WRITE | libc::CAP_FSTAT;

    /// What a program does with its terminal: nothing that changes the file. A program that limits itself may only ask for what it has, so sleep(1) and logname(1) need the right to seek
    /// (`caph_stream_rights`, lib/libcapsicum/capsicum_helpers.h), cmp(1) to map, dd(1) to truncate and to sync; a terminal does none of these.
    const TERMINAL: u64 = libc::CAP_READ
        | libc::CAP_WRITE
        | libc::CAP_SEEK
        | libc::CAP_MMAP
        | libc::CAP_FTRUNCATE
        | libc::CAP_FSYNC
        | libc::CAP_FSTAT
        | libc::CAP_FSTATFS
        | libc::CAP_FPATHCONF
        | libc::CAP_FCNTL;

    /// Likewise, of the second index: ioctl(2), and what poll(2) and kqueue(2) ask for.
    const TERMINAL_SECOND: u64 = libc::CAP_IOCTL | libc::CAP_EVENT;

    pub(in super::super) fn shed_terminal() -> io::Result<()> {
        (0..3).try_for_each(|fd| limit_both(fd, TERMINAL, TERMINAL_SECOND))
    }

    pub(in super::super) fn close_inherited() {
        // SAFETY: it runs before this process has opened anything of its own, so that no descriptor that something here owns is closed.
        unsafe { libc::closefrom(3) }
    }

    pub(in super::super) fn execute(
        jid: i32,
        parts: &Parts,
        stdin: Input,
        name: &str,
        words: &[String],
    ) -> Stopped {
        match try_execute(jid, parts, stdin, name, words) {
            Ok(never) => match never {},
            Err(stopped) => stopped,
        }
    }

    fn try_execute(
        jid: i32,
        parts: &Parts,
        stdin: Input,
        name: &str,
        words: &[String],
    ) -> Result<Infallible, Stopped> {
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
                    limit(file.as_raw_fd(), LINKED).map_err(Stopped::Shed)?;
                    keep(file).map_err(Stopped::Shed)?;
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
        let argv = strings(&argv).map_err(Stopped::Shed)?;
        let environment = strings(&environment).map_err(Stopped::Shed)?;
        let (argv_words, environment_words) = (pointers(&argv), pointers(&environment));
        limit(executed.as_raw_fd(), EXECUTED).map_err(Stopped::Shed)?;
        take(stdin).map_err(Stopped::Shed)?;
        for (fd, rights) in [(0, READ), (1, WRITTEN), (2, WRITTEN)] {
            limit(fd, rights).map_err(Stopped::Shed)?;
        }
        deny_tracing().map_err(Stopped::Shed)?;
        // SAFETY: it takes a number and no memory.
        checked(unsafe { libc::jail_attach(jid) }).map_err(Stopped::Attach)?;
        // SAFETY: both are arrays of pointers to strings that live until the call returns, and end with a null pointer.
        unsafe {
            libc::fexecve(
                executed.as_raw_fd(),
                argv_words.as_ptr(),
                environment_words.as_ptr(),
            );
        }
        Err(Stopped::Execute(io::Error::last_os_error()))
    }

    /// Nobody without PRIV_DEBUG_DENIED traces this process, reads its memory or duplicates its descriptors from now on, also behind fexecve(2) (P2_NOTRACE and P2_NOTRACE_EXEC: `p_candebug`,
    /// sys/kern/kern_prot.c; `do_execve`, sys/kern/kern_exec.c). No jail's root has that privilege (`prison_priv_check`, sys/kern/kern_jail.c).
    fn deny_tracing() -> io::Result<()> {
        let mut state = libc::PROC_TRACE_CTL_DISABLE_EXEC;
        // SAFETY: it reads the number that the pointer leads to. The id 0 is this process.
        checked(unsafe {
            libc::procctl(
                libc::P_PID,
                0,
                libc::PROC_TRACE_CTL,
                ptr::from_mut(&mut state).cast(),
            )
        })
    }

    /// Leaves a descriptor `rights`, all of the first index of sys/capsicum.h.
    fn limit(fd: RawFd, rights: u64) -> io::Result<()> {
        limit_both(fd, rights, 0)
    }

    /// Leaves a descriptor `first` and, of the second index, `second`.
    fn limit_both(fd: RawFd, first: u64, second: u64) -> io::Result<()> {
        let mut limited = MaybeUninit::<libc::cap_rights_t>::uninit();
        // SAFETY: the first call fills what it is given and stops at the first 0; the second reads it.
        checked(unsafe {
            let version = libc::CAP_RIGHTS_VERSION;
            libc::__cap_rights_init(version, limited.as_mut_ptr(), first, second, 0_u64);
            libc::cap_rights_limit(fd, limited.as_ptr())
        })
    }

    /// Makes it the standard input. What reads nothing has an empty pipe: /dev/null is a file of the host's.
    fn take(stdin: Input) -> io::Result<()> {
        let from = match stdin {
            Input::Given => return Ok(()),
            Input::File(file) => file.into(),
            Input::Nothing => OwnedFd::from(io::pipe()?.0),
        };
        // SAFETY: both are descriptors of this process, and nothing here owns the standard input.
        match unsafe { libc::dup2(from.as_raw_fd(), 0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Lets the next program have it.
    fn keep(file: &File) -> io::Result<()> {
        // SAFETY: it takes numbers and no memory.
        checked(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFD, 0) })
    }

    fn checked(result: c_int) -> io::Result<()> {
        match result {
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
    use std::io;

    use super::{Input, Parts, Stopped};

    pub(in super::super) fn close_inherited() {}

    pub(in super::super) fn shed_terminal() -> io::Result<()> {
        Ok(())
    }

    pub(in super::super) fn execute(_: i32, _: &Parts, _: Input, _: &str, _: &[String]) -> Stopped {
        Stopped::Attach(io::Error::from(io::ErrorKind::Unsupported))
    }
}

/// Closes everything but the standard streams: whoever started this process may have left a directory of the host open.
pub(super) fn close_inherited() {
    system::close_inherited();
}

/// Leaves the standard streams, which are a terminal of the host's, good for what a program does with a terminal.
pub(super) fn shed_terminal() -> io::Result<()> {
    system::shed_terminal()
}

/// Parts with what a jail's root could use, attaches to the jail and becomes the program `name` with `words` there; returns only where that fails.
pub(super) fn execute(
    jid: i32,
    parts: &Parts,
    stdin: Input,
    name: &str,
    words: &[String],
) -> Stopped {
    system::execute(jid, parts, stdin, name, words)
}
