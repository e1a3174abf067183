//! Which program answers which argv, and in whose name it runs. Each program has a file of its own below this one.

mod agent;
mod answering;
pub(crate) mod archive;
mod asking;
mod cpuset;
mod devfs;
mod fileutils;
mod getent;
mod ifconfig;
pub(crate) mod jail;
mod jailconf;
mod jailparam;
mod jexec;
mod jls;
mod kld;
mod mount;
mod netstat;
mod network;
mod ngctl;
pub(crate) mod pfctl;
mod pgrep;
mod rctl;
mod route;
mod sed;
mod shell;
mod sysctl;
mod sysrc;
pub(crate) mod zfs;
mod zpool;

use std::time::Duration;

use crate::emulator::Emulator;
use crate::kernel::Kernel;
use crate::kernel::sysctl::Asker;
use crate::kernel::vnet::{HOST, VnetId};
use crate::output::Output;

/// In whose name a program runs.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The jail, or 0 for the host.
    pub(crate) jid: i32,
    pub(crate) stack: VnetId,
    pub(crate) fib: u32,
    /// When whoever waits for the program gives up, in absolute virtual time.
    pub(crate) deadline: Option<Duration>,
    /// Names and values of shell variables that were exported.
    pub(crate) environment: Vec<(String, String)>,
}

impl Context {
    /// A program on the host itself.
    pub(crate) fn host() -> Self {
        Self {
            jid: 0,
            stack: HOST,
            fib: 0,
            deadline: None,
            environment: Vec::new(),
        }
    }

    /// The same program attached to a jail.
    pub(crate) fn inside(&self, kernel: &Kernel, jid: i32) -> Self {
        let stack = kernel.jail(jid).map_or(self.stack, |jail| jail.stack);
        Self {
            jid,
            stack,
            ..self.clone()
        }
    }

    pub(crate) fn asker(&self) -> Asker {
        Asker {
            jid: self.jid,
            stack: self.stack,
            fib: self.fib,
        }
    }
}

/// Exit status of a program that was still running when its deadline came.
pub(crate) const TIMED_OUT: i32 = -1;

/// Exit status that stands for "there is no such program"; turned into the caller's own words.
pub(crate) const NO_PROGRAM: i32 = -2;

/// Runs `argv` on the host itself, outside every jail.
pub(crate) fn run(host: &mut Emulator, argv: &[String], stdin: &str) -> Output {
    let output = run_in(host, &Context::host(), argv, stdin);
    if output.status == NO_PROGRAM {
        let program = argv.first().map_or("", String::as_str);
        return Output::failure(127, format!("{program}: not found"));
    }
    output
}

/// Directories that hold the base system's programs.
const PROGRAM_DIRECTORIES: &[&str] = &[
    "/sbin/",
    "/bin/",
    "/usr/sbin/",
    "/usr/bin/",
    "/usr/libexec/",
];

/// Programs of /bin among those emulated; every other lives elsewhere. `/bin/false` does not exist on FreeBSD (recording `08`).
const IN_BIN: &[&str] = &[
    "[", "cat", "chflags", "cp", "date", "echo", "hostname", "ln", "ls", "mkdir", "mv", "pgrep",
    "pkill", "ps", "pwd", "rm", "rmdir", "sh", "sleep", "test",
];

const IN_SBIN: &[&str] = &[
    "devfs",
    "dhclient",
    "ifconfig",
    "kldload",
    "kldstat",
    "kldunload",
    "mdconfig",
    "mount",
    "mount_nullfs",
    "pfctl",
    "ping",
    "route",
    "rtsol",
    "sha256",
    "sysctl",
    "umount",
    "zfs",
    "zpool",
];

/// Where the agent is installed, which is no part of the base system.
const AGENT: &str = "/usr/local/sbin/cellblock-agent";

/// The bare name of a program named by a path at which FreeBSD has it; `None` if it has not.
fn program_name(word: &str) -> Option<&str> {
    let Some(at) = word.rfind('/') else {
        return Some(word);
    };
    let (directory, name) = word.split_at(at + 1);
    if word == AGENT {
        return Some(name);
    }
    let directory = directory.strip_prefix("/rescue").unwrap_or(directory);
    let home = if IN_BIN.contains(&name) {
        "/bin/"
    } else if IN_SBIN.contains(&name) {
        "/sbin/"
    } else {
        "/usr/"
    };
    (PROGRAM_DIRECTORIES.contains(&directory) && directory.starts_with(home)).then_some(name)
}

/// Runs `argv` in the name of `context`. The status is [`NO_PROGRAM`] when there is no such program.
pub(crate) fn run_in(
    host: &mut Emulator,
    context: &Context,
    argv: &[String],
    stdin: &str,
) -> Output {
    let Some((word, arguments)) = argv.split_first() else {
        return Output::success();
    };
    let Some(program) = program_name(word) else {
        return Output {
            status: NO_PROGRAM,
            ..Output::default()
        };
    };
    match program {
        "ifconfig" => ifconfig::run(host, context, arguments),
        "route" => route::run(host, context, arguments),
        "netstat" => netstat::run(host, context, arguments),
        "sysctl" => sysctl::run(host, context, arguments),
        "sysrc" => sysrc::run(host, arguments),
        "kldload" => kld::load(host, arguments),
        "kldunload" => kld::unload(host, arguments),
        "kldstat" => kld::stat(host, arguments),
        "jail" => jail::run(host, context, arguments, stdin),
        "jls" => jls::run(host, context, arguments),
        "jexec" => jexec::run(host, context, arguments, stdin),
        "getent" => getent::run(arguments),
        "setfib" => jexec::setfib(host, context, arguments, stdin),
        "mount" => mount::mount(host, context, arguments),
        "mount_nullfs" => mount::mount_nullfs(host, arguments),
        "umount" => mount::umount(host, arguments),
        "devfs" => devfs::run(host, arguments),
        "rctl" => rctl::run(host, arguments),
        "cpuset" => cpuset::run(host, context, arguments),
        "cellblock-agent" => agent::run(host, context, arguments, stdin),
        "pfctl" => pfctl::run(host, context, arguments, stdin),
        "ngctl" => ngctl::run(host, context, arguments, stdin),
        "zfs" => zfs::run(host, context, arguments, stdin),
        "zpool" => zpool::run(host, arguments),
        "rtsol" => asking::rtsol(host, context, arguments),
        "dhclient" => asking::dhclient(host, context, arguments),
        "rtadvd" => answering::rtadvd(host, context, arguments),
        "bootpd" => answering::bootpd(host, context, arguments),
        "fetch" => archive::fetch(host, arguments),
        "sha256" => archive::sha256(host, arguments),
        "tar" => archive::tar(host, arguments),
        "chflags" => archive::chflags(host, arguments),
        "sh" => shell::run(host, context, arguments, stdin),
        "ping" | "nc" | "sockstat" | "arp" | "ndp" => {
            network::run(host, context, program, arguments, stdin)
        }
        _ => fileutils::run(host, context, program, arguments, stdin),
    }
}
