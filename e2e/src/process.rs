//! A process that can be killed at any moment and started again, and is never left behind.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::condition::eventually;

/// How much of a log an error quotes.
const LOG_LINES: usize = 30;

/// signal(3)
const SIGKILL: i32 = 9;

/// A tick of Linux's clock as /proc counts it, in milliseconds: USER_HZ is 100 on every architecture that we run on.
const TICK_MS: u64 = 10;

/// A program with its arguments, running or not. Its log outlives its runs.
#[derive(Debug)]
pub struct Process {
    name: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// A process that is not started yet.
    pub fn new(
        name: impl Into<String>,
        program: &Path,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
        log: PathBuf,
    ) -> Self {
        Self {
            name: name.into(),
            program: program.to_owned(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            log,
            child: None,
        }
    }

    /// Adds arguments, for the next start.
    pub fn also(&mut self, arguments: &[&str]) {
        self.arguments.extend(arguments.iter().map(OsString::from));
    }

    /// Starts it; a running one is left alone.
    ///
    /// # Errors
    /// The program cannot be run or its log not be written.
    pub fn start(&mut self) -> anyhow::Result<()> {
        if self.is_running() {
            return Ok(());
        }
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("the log {}", self.log.display()))?;
        // Whatever the machine's own environment says, it is not what the test means.
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} could not be started", self.program.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Kills it as a crash would, with SIGKILL. Whether that is what ended it.
    pub fn kill(&mut self) -> bool {
        let Some(mut child) = self.child.take() else {
            return false;
        };
        // Fails only for a process that has ended by itself.
        let _ = child.kill();
        child
            .wait()
            .is_ok_and(|status| status.signal() == Some(SIGKILL))
    }

    /// Ends it as rc(8) would, with SIGTERM.
    ///
    /// # Errors
    /// It does not run, or does not end within ten seconds.
    pub fn terminate(&mut self) -> anyhow::Result<ExitStatus> {
        let pid = self
            .id()
            .and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()))
            .with_context(|| format!("{} does not run", self.name))?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        self.ended(Duration::from_secs(10))
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// It does not run, or goes on beyond the time.
    pub fn ended(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        let name = self.name.clone();
        let child = self
            .child
            .as_mut()
            .with_context(|| format!("{name} does not run"))?;
        let status = eventually(&format!("{name} ends"), within, || {
            child.try_wait()?.context("it runs")
        })?;
        self.child = None;
        Ok(status)
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Its process id while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// What it wrote, over all its runs.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of what it wrote.
    #[must_use]
    pub fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(LOG_LINES);
        format!("--- {}:\n{}", self.name, lines[from..].join("\n"))
    }

    /// Looks for a panic in the log: none of our processes may ever.
    ///
    /// # Errors
    /// There is one.
    pub fn assert_no_panic(&self) -> anyhow::Result<()> {
        let log = self.log();
        if log.contains("panicked at") {
            bail!("{} panicked:\n{log}", self.name);
        }
        Ok(())
    }

    /// A line of Linux's /proc/PID/status that counts KiB, such as `VmRSS`.
    ///
    /// # Errors
    /// It does not run, or this is no Linux.
    pub fn memory_kib(&self, field: &str) -> anyhow::Result<u64> {
        let id = self
            .id()
            .with_context(|| format!("{} does not run", self.name))?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
            .with_context(|| format!("no {field}"))?;
        Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()?)
    }

    /// How much of a processor it has used since it was started, in milliseconds, out of Linux's /proc/PID/stat.
    ///
    /// # Errors
    /// It does not run, or this is no Linux.
    pub fn cpu_ms(&self) -> anyhow::Result<u64> {
        let id = self
            .id()
            .with_context(|| format!("{} does not run", self.name))?;
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
        // The name in parentheses may hold spaces; utime and stime are the 14th and 15th field (proc_pid_stat(5)).
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let mut fields = after_name.split_ascii_whitespace().skip(11);
        let mut next = || -> anyhow::Result<u64> {
            let field = fields.next().context("a short /proc/PID/stat")?;
            Ok(field.parse()?)
        };
        Ok((next()? + next()?) * TICK_MS)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            crate::note(&self.log_end());
        }
    }
}
