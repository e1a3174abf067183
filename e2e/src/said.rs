//! `jailctl`, or kubectl, as a process: what it was told, what it said, how it ended.

use std::ffi::OsStr;
use std::io::{Read, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::condition::eventually;

/// How long one command may take before it counts as hanging: longer than any `--timeout` that a test gives.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(1200);

/// What a command said.
#[derive(Clone, Debug)]
pub struct Said {
    /// The command's words, for messages.
    pub line: String,
    /// Its exit status; none if a signal ended it.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Said {
    /// The same, if it succeeded.
    ///
    /// # Errors
    /// It failed; the error holds everything that it said.
    pub fn ok(self) -> anyhow::Result<Self> {
        self.assert_no_panic()?;
        if self.status != Some(0) {
            bail!("{self}");
        }
        Ok(self)
    }

    /// The same, if it failed in an orderly way: exit status 1 and no panic.
    ///
    /// # Errors
    /// It did not; the error holds everything that it said.
    pub fn refused(self) -> anyhow::Result<Self> {
        self.assert_no_panic()?;
        if self.status != Some(1) {
            bail!("exit status 1 was expected: {self}");
        }
        Ok(self)
    }

    /// Fails unless standard error has each of `texts`.
    ///
    /// # Errors
    /// One is missing.
    pub fn says(&self, texts: &[&str]) -> anyhow::Result<()> {
        for text in texts {
            if !self.stderr.contains(text) {
                bail!("`{text}` is missing in what was said: {self}");
            }
        }
        Ok(())
    }

    /// The lines of standard error that begin an error.
    pub fn errors(&self) -> impl Iterator<Item = &str> {
        self.stderr.lines().filter(|line| line.starts_with("error"))
    }

    fn assert_no_panic(&self) -> anyhow::Result<()> {
        if self.stderr.contains("panicked") || self.stdout.contains("panicked") {
            bail!("a panic: {self}");
        }
        Ok(())
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "`{}` ended with {:?} after {} ms\n--- stdout:\n{}--- stderr:\n{}",
            self.line,
            self.status,
            self.took.as_millis(),
            self.stdout,
            self.stderr
        )
    }
}

/// A command under way. Killed when dropped.
#[derive(Debug)]
pub struct Running {
    line: String,
    child: Child,
    stdout: Output,
    stderr: Output,
    began: Instant,
}

/// What a command under way has said so far.
#[derive(Debug)]
struct Output {
    text: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Output {
    fn read(mut from: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let reader = std::thread::spawn({
            let text = text.clone();
            move || {
                let mut piece = [0; 8192];
                // What came before an error is what there is to show.
                while let Ok(length @ 1..) = from.read(&mut piece) {
                    let mut text = text.lock().unwrap_or_else(PoisonError::into_inner);
                    text.extend_from_slice(&piece[..length]);
                }
            }
        });
        Self {
            text,
            reader: Some(reader),
        }
    }

    fn so_far(&self) -> String {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&text).into_owned()
    }

    fn all(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            // It cannot panic; if it did, what it has read is still there.
            let _ = reader.join();
        }
        self.so_far()
    }
}

impl Running {
    /// Starts `program` with an environment of its own, below `home`, and feeds it `stdin`.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn start(
        program: &Path,
        home: &Path,
        arguments: &[&str],
        stdin: Vec<u8>,
    ) -> anyhow::Result<Self> {
        Self::start_in(program, home, &[], arguments, stdin)
    }

    /// The same with more in its environment.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn start_in(
        program: &Path,
        home: &Path,
        environment: &[(&str, &OsStr)],
        arguments: &[&str],
        stdin: Vec<u8>,
    ) -> anyhow::Result<Self> {
        let name = program.file_name().unwrap_or(program.as_os_str());
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("HOME", home)
            .env("RUST_BACKTRACE", "1")
            .envs(environment.iter().copied())
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} could not be started", program.display()))?;
        let mut input = child.stdin.take().context("its standard input is a pipe")?;
        // A command that reads only a part of it ends the thread with a broken pipe.
        std::thread::spawn(move || {
            let _ = input.write_all(&stdin);
        });
        let stdout = child.stdout.take().context("its output is a pipe")?;
        let stderr = child.stderr.take().context("its output is a pipe")?;
        Ok(Self {
            line: format!("{} {}", name.to_string_lossy(), arguments.join(" ")),
            child,
            stdout: Output::read(stdout),
            stderr: Output::read(stderr),
            began: Instant::now(),
        })
    }

    /// Ends it, by failed allocations, should it ever hold more than `bytes` of memory of its own.
    ///
    /// # Errors
    /// This is no Linux.
    #[cfg(target_os = "linux")]
    pub fn limit_memory(&self, bytes: u64) -> anyhow::Result<()> {
        use rustix::process::{Pid, Resource, Rlimit, prlimit};
        let limit = Rlimit {
            current: Some(bytes),
            maximum: Some(bytes),
        };
        prlimit(
            Pid::from_raw(self.child.id().cast_signed()),
            Resource::Data,
            limit,
        )?;
        Ok(())
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        // Fails only if it has ended by itself.
        let _ = self.child.kill();
    }

    /// Ends it as a supervisor, or `^C`, would.
    ///
    /// # Errors
    /// It has ended already.
    pub fn signal(&self, signal: rustix::process::Signal) -> anyhow::Result<()> {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed())
            .context("a process has an id")?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    /// What it has written to standard error so far.
    #[must_use]
    pub fn told(&self) -> String {
        self.stderr.so_far()
    }

    /// What it has written to standard output so far.
    #[must_use]
    pub fn shown(&self) -> String {
        self.stdout.so_far()
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended yet.
    ///
    /// # Errors
    /// The operating system does not know it.
    pub fn is_running(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It hangs; then it is killed.
    pub fn end(mut self) -> anyhow::Result<Said> {
        let line = self.line.clone();
        let status = eventually(&format!("`{line}` ends"), COMMAND_TIMEOUT, || {
            self.child.try_wait()?.context("it runs")
        })?;
        Ok(Said {
            line,
            status: status.code(),
            stdout: self.stdout.all(),
            stderr: self.stderr.all(),
            took: self.began.elapsed(),
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for a process that has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
