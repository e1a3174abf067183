//! A host that is reached by a command which runs a shell script from its standard input.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// How often a command that runs is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// The command.
#[derive(Debug)]
pub(super) struct Host {
    command: String,
}

/// What became of a script.
#[derive(Debug)]
pub(super) struct Ran {
    /// What it wrote to standard output, and behind that what the command wrote to standard error.
    pub(super) output: String,
    /// How the command ended, in words.
    pub(super) end: String,
}

impl Host {
    /// The command is a line for this machine's shell.
    pub(super) fn new(command: &str) -> Self {
        Self {
            command: command.to_owned(),
        }
    }

    /// Runs a script there, for so long at most.
    ///
    /// # Errors
    ///
    /// When the command cannot be started. One that ends without a word is a result like any other.
    pub(super) fn run(&self, script: &str, limit: Duration) -> Result<Ran> {
        // `exec`, so that the process which is ended when time is over is the command itself.
        let mut child = Command::new("sh")
            .args(["-c", &format!("exec {}", self.command)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("`{}` cannot be started", self.command))?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let begin = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // One that ends before it has read everything says so by its end.
                stdin.map(|mut pipe| pipe.write_all(script.as_bytes()))
            });
            let read = scope.spawn(move || {
                let mut bytes = Vec::new();
                let _ = stdout.map(|mut pipe| pipe.read_to_end(&mut bytes));
                bytes
            });
            let said = scope.spawn(move || {
                let mut bytes = Vec::new();
                let _ = stderr.map(|mut pipe| pipe.read_to_end(&mut bytes));
                bytes
            });
            let end = loop {
                if let Some(status) = child.try_wait().context("the command was lost")? {
                    break status.to_string();
                }
                if begin.elapsed() > limit {
                    child.kill().context("the command cannot be ended")?;
                    child.wait().context("the command was lost")?;
                    break format!("ended after {} seconds, for being late", limit.as_secs());
                }
                std::thread::sleep(LOOK);
            };
            let mut output = text(&read.join().unwrap_or_default());
            output.push_str(&text(&said.join().unwrap_or_default()));
            Ok(Ran { output, end })
        })
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
