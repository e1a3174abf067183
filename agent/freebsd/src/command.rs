//! Commands as values: which program, which words, what it reads, how long it may take. Run by a [`crate::System`], never by a shell.

use std::time::Duration;

use cellblock_agent_core::render::jailconf::AGENT;

/// How long a command that only asks or changes the kernel's tables may take. The slowest are listings of thousands of interfaces.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How much a command may print on each stream, in octets: `ifconfig -a` and `jls -n` of 10,000 jails stay below half of it.
pub const OUTPUT_BYTES_MAX: usize = 64 << 20;

/// How long pfctl(8) in the stack of a jail may take: it is a process of the jail, whose root can stop it by a signal, and everybody else waits.
const INSIDE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long starting or stopping a jail may take: it runs the jail's own `/etc/rc`, whose services wait for each other.
pub(crate) const JAIL_TIMEOUT: Duration = Duration::from_secs(600);

/// The programs that are driven, of FreeBSD's base system but for one, and where they are. There is no other list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// The agent's own program, whose `pfctl` runs pfctl(8) in the stack of a jail.
    Agent,
    /// arp(8)
    Arp,
    /// chflags(1)
    Chflags,
    /// cp(1)
    Cp,
    /// devfs(8)
    Devfs,
    /// fetch(1)
    Fetch,
    /// getent(1)
    Getent,
    /// ifconfig(8)
    Ifconfig,
    /// jail(8)
    Jail,
    /// jexec(8)
    Jexec,
    /// jls(8)
    Jls,
    /// kldload(8)
    Kldload,
    /// kldstat(8)
    Kldstat,
    /// ldd(1)
    Ldd,
    /// ln(1)
    Ln,
    /// mkdir(1)
    Mkdir,
    /// mount(8)
    Mount,
    /// mv(1)
    Mv,
    /// ndp(8)
    Ndp,
    /// netstat(1)
    Netstat,
    /// ngctl(8)
    Ngctl,
    /// pfctl(8)
    Pfctl,
    /// pgrep(1)
    Pgrep,
    /// ping(8)
    Ping,
    /// pkill(1)
    Pkill,
    /// rctl(8)
    Rctl,
    /// rm(1)
    Rm,
    /// rmdir(1)
    Rmdir,
    /// route(8)
    Route,
    /// sha256(1)
    Sha256,
    /// setfib(1)
    Setfib,
    /// sysctl(8)
    Sysctl,
    /// sysrc(8)
    Sysrc,
    /// tar(1)
    Tar,
    /// timeout(1): in /bin since 15, with a link from where it was (bin/timeout/Makefile)
    Timeout,
    /// umount(8)
    Umount,
    /// zfs(8)
    Zfs,
    /// zpool(8)
    Zpool,
}

impl Program {
    /// The absolute path in FreeBSD's base system.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Agent => AGENT,
            Self::Arp => "/usr/sbin/arp",
            Self::Chflags => "/bin/chflags",
            Self::Cp => "/bin/cp",
            Self::Devfs => "/sbin/devfs",
            Self::Fetch => "/usr/bin/fetch",
            Self::Getent => "/usr/bin/getent",
            Self::Ifconfig => "/sbin/ifconfig",
            Self::Jail => "/usr/sbin/jail",
            Self::Jexec => "/usr/sbin/jexec",
            Self::Jls => "/usr/sbin/jls",
            Self::Kldload => "/sbin/kldload",
            Self::Kldstat => "/sbin/kldstat",
            Self::Ldd => "/usr/bin/ldd",
            Self::Ln => "/bin/ln",
            Self::Mkdir => "/bin/mkdir",
            Self::Mount => "/sbin/mount",
            Self::Mv => "/bin/mv",
            Self::Ndp => "/usr/sbin/ndp",
            Self::Netstat => "/usr/bin/netstat",
            Self::Ngctl => "/usr/sbin/ngctl",
            Self::Pfctl => "/sbin/pfctl",
            Self::Pgrep => "/bin/pgrep",
            Self::Ping => "/sbin/ping",
            Self::Pkill => "/bin/pkill",
            Self::Rctl => "/usr/bin/rctl",
            Self::Rm => "/bin/rm",
            Self::Rmdir => "/bin/rmdir",
            Self::Route => "/sbin/route",
            Self::Sha256 => "/sbin/sha256",
            Self::Setfib => "/usr/sbin/setfib",
            Self::Sysctl => "/sbin/sysctl",
            Self::Sysrc => "/usr/sbin/sysrc",
            Self::Tar => "/usr/bin/tar",
            Self::Timeout => "/usr/bin/timeout",
            Self::Umount => "/sbin/umount",
            Self::Zfs => "/sbin/zfs",
            Self::Zpool => "/sbin/zpool",
        }
    }
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program's absolute path, then its arguments, one word each.
    pub argv: Vec<String>,
    /// What it reads on standard input; none: nothing.
    pub stdin: Option<String>,
    /// After this it is killed together with everything it started.
    pub timeout: Duration,
    /// How much it may print on each stream, in octets.
    pub bytes_max: usize,
    /// Nobody reads its standard output, so that what it starts can write there whether the agent is still alive or not.
    pub discards_stdout: bool,
    /// Likewise a file for its standard output.
    pub stdout_file: Option<String>,
    /// Likewise a file for its standard error, which whoever waits for it reads and removes; none: it is read while it is written.
    pub stderr_file: Option<String>,
}

impl Command {
    /// `program` with `arguments`.
    pub fn new<I>(program: Program, arguments: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let mut argv = vec![program.path().to_owned()];
        argv.extend(arguments.into_iter().map(Into::into));
        Self {
            argv,
            stdin: None,
            timeout: TIMEOUT,
            bytes_max: OUTPUT_BYTES_MAX,
            discards_stdout: false,
            stdout_file: None,
            stderr_file: None,
        }
    }

    /// pfctl(8) on the host, or in the stack of the VNET jail `inside`, by name or jid.
    pub(crate) fn pfctl<I>(inside: Option<&str>, arguments: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let Some(jail) = inside else {
            return Self::new(Program::Pfctl, arguments);
        };
        let words = arguments.into_iter().map(Into::into);
        let words = ["pfctl".to_owned(), jail.to_owned()]
            .into_iter()
            .chain(words);
        Self::new(Program::Agent, words).timeout(INSIDE_TIMEOUT)
    }

    /// With `text` on standard input.
    #[must_use]
    pub fn stdin(mut self, text: impl Into<String>) -> Self {
        self.stdin = Some(text.into());
        self
    }

    /// With another timeout.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// With its standard output going nowhere.
    #[must_use]
    pub fn discard_stdout(mut self) -> Self {
        self.discards_stdout = true;
        self
    }

    /// With its standard output in a file.
    #[must_use]
    pub fn stdout_file(mut self, path: impl Into<String>) -> Self {
        self.stdout_file = Some(path.into());
        self
    }

    /// With its standard error in a file.
    #[must_use]
    pub fn stderr_file(mut self, path: impl Into<String>) -> Self {
        self.stderr_file = Some(path.into());
        self
    }

    /// The words as one line, for people; not quoted, not to be run.
    #[must_use]
    pub fn line(&self) -> String {
        self.argv.join(" ")
    }
}

/// What a command left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// The exit status; 128 and the signal's number where a signal ended it.
    pub status: i32,
    /// Standard output. Bytes that are not UTF-8 are replaced by U+FFFD.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
}

impl Output {
    /// Whether the exit status is 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.status == 0
    }

    /// Whether somebody ended the command by SIGTERM or SIGKILL, as jail(8) does with every process of a jail that it stops.
    #[must_use]
    pub fn was_ended(&self) -> bool {
        matches!(self.status, 137 | 143)
    }
}

/// Words of a command from literals and strings: `words!["inet", address]` without a `to_owned` at each.
macro_rules! words {
    ($($word:expr),* $(,)?) => {
        vec![$(::std::string::String::from($word)),*]
    };
}
pub(crate) use words;
