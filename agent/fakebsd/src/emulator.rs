//! The host as its callers see it: run a command, read and write files, let time pass, pull the plug.

mod background;
#[cfg(test)]
mod tests;
mod visit;

pub use background::Started;
pub use visit::{Heard, Said};

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::cmd;
use crate::cmd::archive::Served;
use crate::cmd::jail::Parked;
use crate::fault::{Beside, Fault, Faults, When};
use crate::files::{Entry, FileError, FileTree};
use crate::hardware::HardwareProfile;
use crate::kernel::Kernel;
use crate::kernel::vnet::HOST;
use crate::log::{LoggedCommand, is_changing};
use crate::output::Output;
use crate::outside::Outside;
use crate::release::Release;

/// A TCP socket that waits for connections.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    /// The jail whose process it is, which ends with it; none: whoever comes to have the jail's name.
    pub(crate) jid: Option<i32>,
    /// The process, where it may end before the jail.
    pub(crate) pid: Option<u32>,
    /// The address it is bound to; `None` for all of its jail.
    pub(crate) address: Option<IpAddr>,
    /// What it says to whoever connects.
    pub(crate) banner: String,
}

/// One emulated FreeBSD host.
#[derive(Clone, Debug)]
pub struct Emulator {
    /// What a reboot takes away.
    pub kernel: Kernel,
    /// What a reboot leaves.
    pub files: FileTree,
    /// Every command run from outside, oldest first.
    pub log: Vec<LoggedCommand>,
    /// Faults that wait for their command.
    pub faults: Faults,
    /// How much virtual time each command takes, beside what it sleeps.
    pub command_time: Duration,
    /// Whether a jail(8) whose hook sleeps lets time pass beside it, as on a real host ([`Emulator::start`]). Else it takes the time at once.
    pub hooks_take_time: bool,
    /// While a background job runs: how long it has run for itself. Time does not pass for anybody else.
    pub(crate) detached: Option<Duration>,
    /// What [`Emulator::start`] started and nobody has waited for yet, by pid.
    pub(crate) background: BTreeMap<u32, background::Process>,
    /// What [`Emulator::visit`] started and has not ended, by pid.
    visits: BTreeMap<u32, visit::Visit>,
    /// Whether the program that runs now may be put aside.
    pub(crate) parks: bool,
    /// It was.
    pub(crate) parked: Option<Parked>,
    /// Banners of the listeners by jail name and port.
    pub(crate) listeners: BTreeMap<(String, u16), Listener>,
    /// The port of the last connection made from here.
    last_port: u16,
    hardware: HardwareProfile,
    /// Who answers on the wires.
    pub(crate) outside: Outside,
    /// What fetch(1) gets, by URL.
    pub web: BTreeMap<String, Served>,
    /// How long programs take beside everything else, by name, when they are started ([`Emulator::start`]).
    pub slow: BTreeMap<String, Duration>,
}

impl Emulator {
    /// A freshly booted host.
    pub fn new(release: Release, hardware: HardwareProfile) -> Self {
        let kernel = Kernel::boot(release, &hardware, Duration::ZERO);
        let pools = hardware.pools.clone();
        let mut host = Self {
            kernel,
            files: FileTree::default(),
            log: Vec::new(),
            faults: Faults::default(),
            command_time: Duration::ZERO,
            hooks_take_time: false,
            detached: None,
            background: BTreeMap::new(),
            visits: BTreeMap::new(),
            parks: false,
            parked: None,
            last_port: 0,
            listeners: BTreeMap::new(),
            hardware,
            outside: Outside::default(),
            web: BTreeMap::new(),
            slow: BTreeMap::new(),
        };
        for (disk, pool) in pools.iter().enumerate() {
            let words =
                ["zpool", "create", pool.as_str(), &format!("/dev/ada{disk}")].map(str::to_owned);
            cmd::run(&mut host, &words, "");
        }
        host
    }

    /// Runs one command to its end, in virtual time.
    pub fn run(&mut self, argv: &[String], stdin: &str) -> Output {
        self.run_beside(argv, When::Before);
        let fault = self.faults.take(argv);
        let at = self.kernel.now;
        let mut output = match &fault {
            Some(Fault {
                when: When::Before, ..
            }) => Output::success(),
            Some(Fault {
                when: When::After, ..
            })
            | None => cmd::run(self, argv, stdin),
        };
        if let Some(fault) = fault {
            output = fault.output;
        }
        self.run_beside(argv, When::After);
        self.log.push(LoggedCommand {
            at,
            argv: argv.to_vec(),
            stdin: stdin.to_owned(),
            output: output.clone(),
            changing: is_changing(argv),
        });
        self.advance(self.command_time);
        output
    }

    /// What somebody else does beside a command is none of those that were run from outside.
    fn run_beside(&mut self, argv: &[String], when: When) {
        let beside = self.faults.take_beside(argv, when);
        for words in beside.into_iter().flat_map(|beside| beside.commands) {
            cmd::run(self, &words, "");
        }
    }

    /// A host or a server that has a base with that SHA-256 at a path or URL, as far as an emulated one can.
    ///
    /// # Errors
    /// The file tree does not take it.
    pub fn add_base(&mut self, tarball: &str, digest: &str) -> Result<(), FileError> {
        let bytes = cmd::archive::base(Some(digest));
        if !tarball.starts_with('/') {
            let served = Served { bytes, cut: None };
            self.web.insert(tarball.to_owned(), served);
            return Ok(());
        }
        let folder = tarball.rsplit_once('/').map_or("/", |(folder, _)| folder);
        self.files.create_directories(folder)?;
        self.files.write(tarball, bytes)
    }

    /// [`Emulator::run`] for a line of words separated by blanks, without quoting; for tests.
    pub fn sh(&mut self, line: &str) -> Output {
        let argv: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        self.run(&argv, "")
    }

    /// The next command that begins with the words of `prefix` does nothing and ends with `status` and `stderr`.
    pub fn fail_next(&mut self, prefix: &str, status: i32, stderr: &str) {
        let prefix = prefix.split_whitespace().map(str::to_owned).collect();
        self.faults.order(Fault {
            prefix,
            when: When::Before,
            output: Output::failure(status, stderr),
        });
    }

    /// Beside the next command that begins with the words of `prefix`, somebody runs these.
    pub fn meet_next(&mut self, prefix: &str, when: When, commands: &[&str]) {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        self.faults.meet(Beside {
            prefix: words(prefix),
            when,
            commands: commands.iter().map(|line| words(line)).collect(),
        });
    }

    /// Takes back every fault that was ordered and has not hit.
    pub fn repair(&mut self) {
        self.faults = Faults::default();
    }

    /// Lets virtual time pass; the kernel's timers fire in their order.
    pub fn advance(&mut self, by: Duration) {
        let until = self.kernel.now + by;
        self.wake_until(until);
        self.kernel.advance(until.saturating_sub(self.kernel.now));
    }

    /// Pulls the plug and boots again: the kernel's state is gone, files and pools stay, but for /tmp and memory disks.
    pub fn reboot(&mut self) {
        crate::cmd::zfs::leave_all(self);
        self.kernel = self.kernel.reboot(&self.hardware);
        crate::cmd::zfs::mount_all(self);
        self.listeners.clear();
        self.background.clear();
        self.visits.clear();
        let temporary: Vec<String> = self
            .files
            .list("/tmp")
            .map(|names| names.map(str::to_owned).collect())
            .unwrap_or_default();
        for name in temporary {
            self.files.remove_tree(&format!("/tmp/{name}"));
        }
    }

    /// From now on zfs(8) dies between making a file system and mounting it, and between unmounting and destroying it (`true`), or no longer does (`false`).
    pub fn break_zfs(&mut self, dies_halfway: bool) {
        self.kernel.zfs.dies_halfway = dies_halfway;
    }

    /// Everything observable as sorted lines, files included.
    pub fn fingerprint(&self) -> Vec<String> {
        let mut lines = self.kernel.fingerprint();
        lines.extend(self.files.iter().map(|(path, entry)| match entry {
            Entry::Directory => format!("directory {path}"),
            Entry::File(bytes) => format!("file {path} {}", String::from_utf8_lossy(bytes)),
            Entry::Symlink(target) => format!("link {path} {target}"),
        }));
        lines.sort();
        lines
    }

    /// Somebody in `jail` listens on a TCP port of all its addresses and greets whoever connects with `banner`.
    /// An older listener on that port of that jail makes room.
    pub fn listen(&mut self, jail: &str, port: u16, banner: &str) {
        self.listeners.insert(
            (jail.to_owned(), port),
            Listener {
                jid: None,
                pid: None,
                address: None,
                banner: banner.to_owned(),
            },
        );
    }

    /// The local port that the next connection gets, from the ephemeral range (`net.inet.ip.portrange`).
    pub(crate) fn next_ephemeral_port(&self) -> u16 {
        if (10_000..65_535).contains(&self.last_port) {
            self.last_port + 1
        } else {
            10_000
        }
    }

    /// Takes that port.
    pub(crate) fn ephemeral_port(&mut self) -> u16 {
        self.last_port = self.next_ephemeral_port();
        self.last_port
    }

    /// The kernel loses an IPv6 address of the host while it is being added: it is not there, and as long as the host is up it cannot be added.
    /// Nothing happens if the interface does not have it.
    pub fn lose_address(&mut self, interface: &str, address: Ipv6Addr) {
        if let Some(id) = self.kernel.ifunit(HOST, interface) {
            self.kernel.purge_inet6_too_early(id, address);
        }
    }

    /// A process in `jail` has a TCP connection open whose other side closes after `open_for`: what keeps the jail's own
    /// network stack alive after its removal. Nothing happens if there is no such jail.
    pub fn open_tcp(&mut self, jail: &str, open_for: Duration) {
        let Some(stack) = self.kernel.find_jail(0, jail).map(|jail| jail.stack) else {
            return;
        };
        let first = self
            .kernel
            .interfaces(stack)
            .find(|ifnet| !ifnet.is_loopback());
        let interface = first.map(|ifnet| ifnet.id);
        let closes = self.kernel.now + open_for;
        self.kernel.connect(stack, interface, closes);
    }
}
