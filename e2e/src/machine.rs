//! One emulated FreeBSD machine and its agent, each a process of its own.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test fails on any answer but the one that it asks for"
)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use cellblock_agent::emulated::{Remote, Request, Response};
use cellblock_agent_core::residue::{RESIDUE, Stays};

use crate::binaries::Binaries;
use crate::condition::eventually;
use crate::process::Process;

/// How long a host may drift unnoticed in tests, in seconds.
const RESYNC_SECONDS: &str = "1";

/// How long an emulated host may take to answer; seconds on a machine whose cores are all busy.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Files of the operator that our agent has a hand in, and the agent's own folder.
const OUR_FILES: [&str; 2] = ["/etc", "/var/db/cellblock"];

/// How a fingerprint tells a file of the agent's folder, which an emulated machine's agent has on this machine.
const STATE_FILE: &str = "file of the agent ";

/// How the name of a file ends that is written beside the one that counts.
const UNFINISHED: &[u8] = b".new";

/// A machine and its agent.
#[derive(Debug)]
pub struct Machine {
    /// The name of its Host.
    pub name: String,
    /// The machine.
    pub host: Process,
    /// Its agent.
    pub agent: Process,
    socket: PathBuf,
    state_dir: PathBuf,
}

impl Machine {
    /// A machine whose processes are not started yet, with its socket and its agent's ledger in `folder`.
    pub fn new(
        binaries: &Binaries,
        folder: &Path,
        name: &str,
        seed: usize,
        controller: &str,
    ) -> Self {
        let socket = folder.join(format!("{name}.sock"));
        let socket_text = socket.display().to_string();
        let state_dir = folder.join(name);
        let state_text = state_dir.display().to_string();
        let host = Process::new(
            format!("emulated host {name}"),
            &binaries.agent(),
            [
                "--host-name",
                name,
                "emulate",
                "--socket",
                &socket_text,
                "--seed",
                &seed.to_string(),
            ],
            folder.join(format!("{name}.host.log")),
        );
        let agent = Process::new(
            format!("agent of {name}"),
            &binaries.agent(),
            [
                "--host",
                "emulated",
                "--emulator",
                &socket_text,
                "--host-name",
                name,
                "--state-dir",
                &state_text,
                "--controller",
                controller,
                "--resync-seconds",
                RESYNC_SECONDS,
                "--log",
                "info,cellblock_agent=debug",
            ],
            folder.join(format!("{name}.agent.log")),
        );
        Self {
            name: name.to_owned(),
            host,
            agent,
            socket,
            state_dir,
        }
    }

    /// Its name and the socket that it answers on.
    #[must_use]
    pub fn door(&self) -> (String, PathBuf) {
        (self.name.clone(), self.socket.clone())
    }

    /// Where its agent keeps ledger and key.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// Switches the machine on and waits until it answers.
    ///
    /// # Errors
    /// It does not.
    pub fn switch_on(&mut self) -> anyhow::Result<()> {
        self.host.start()?;
        let socket = self.socket.clone();
        let host = &mut self.host;
        eventually("the emulated host answers", START_TIMEOUT, || {
            if !host.is_running() {
                bail!("it ended: {}", host.log_end());
            }
            Remote::new(socket.clone())
                .ask(&Request::Fingerprint)
                .map_err(anyhow::Error::from)
        })?;
        Ok(())
    }

    /// Cuts the power: the agent is gone with the kernel's state, files stay. The machine boots again; the agent is not started.
    ///
    /// # Errors
    /// The machine does not answer.
    pub fn cut_power(&mut self) -> anyhow::Result<()> {
        self.agent.kill();
        self.ask(&Request::Reboot)?;
        Ok(())
    }

    /// Asks the machine once.
    ///
    /// # Errors
    /// It does not answer, or says that it could not.
    pub fn ask(&self, request: &Request) -> anyhow::Result<Response> {
        let answer = Remote::new(self.socket.clone())
            .ask(request)
            .with_context(|| format!("the machine {} does not answer", self.name))?;
        if let Response::Failed { message, .. } = &answer {
            bail!("{request:?} on {}: {message}", self.name);
        }
        Ok(answer)
    }

    /// Runs a command line of words separated by blanks, as an operator would.
    ///
    /// # Errors
    /// It fails.
    pub fn run(&self, line: &str) -> anyhow::Result<String> {
        self.run_with(line, "")
    }

    /// The same with `stdin` to read.
    ///
    /// # Errors
    /// It fails.
    pub fn run_with(&self, line: &str, stdin: &str) -> anyhow::Result<String> {
        let request = Request::Run {
            argv: line.split_whitespace().map(str::to_owned).collect(),
            stdin: Some(stdin.to_owned()),
        };
        match self.ask(&request)? {
            Response::Ran {
                status: 0, stdout, ..
            } => Ok(stdout),
            other => bail!("`{line}` on {}: {other:?}", self.name),
        }
    }

    /// Makes the directories that jails at `roots` need.
    ///
    /// # Errors
    /// The machine does not answer.
    pub fn make_roots(&self, roots: impl IntoIterator<Item = String>) -> anyhow::Result<()> {
        for root in roots {
            for path in [format!("{root}/dev"), format!("{root}/tmp")] {
                self.run(&format!("mkdir -p {path}"))?;
            }
        }
        Ok(())
    }

    /// Everything that can be observed of the machine, as sorted lines, the files that the agent has a hand in included.
    ///
    /// # Errors
    /// The machine does not answer.
    pub fn fingerprint(&self) -> anyhow::Result<Vec<String>> {
        let mut lines = self.lines(&Request::Fingerprint)?;
        for folder in OUR_FILES {
            self.files_below(folder, &mut lines)?;
        }
        if self.state_dir.exists() {
            for entry in std::fs::read_dir(&self.state_dir)? {
                let name = entry?.file_name();
                // What an agent was writing when it was looked at, or killed, it writes anew.
                if !name.as_encoded_bytes().ends_with(UNFINISHED) {
                    lines.push(format!("{STATE_FILE}{}", name.display()));
                }
            }
        }
        lines.sort();
        Ok(lines)
    }

    /// Only what the kernel has, which is quick.
    ///
    /// # Errors
    /// The machine does not answer.
    pub fn kernel(&self) -> anyhow::Result<Vec<String>> {
        self.lines(&Request::Fingerprint)
    }

    /// The commands of a changing kind that were run so far.
    ///
    /// # Errors
    /// The machine does not answer.
    pub fn changing_commands(&self) -> anyhow::Result<Vec<String>> {
        self.lines(&Request::ChangingCommands)
    }

    fn lines(&self, request: &Request) -> anyhow::Result<Vec<String>> {
        match self.ask(request)? {
            Response::Lines { lines } => Ok(lines.unwrap_or_default()),
            other => bail!("{request:?} on {}: {other:?}", self.name),
        }
    }

    fn files_below(&self, path: &str, lines: &mut Vec<String>) -> anyhow::Result<()> {
        let request = Request::RealPath {
            path: path.to_owned(),
        };
        let found = self.ask(&request)?;
        if matches!(found, Response::Content { content: Some(_) }) {
            let request = Request::List {
                path: path.to_owned(),
            };
            for name in self.lines(&request)? {
                self.files_below(&format!("{path}/{name}"), lines)?;
            }
            return Ok(());
        }
        let request = Request::Read {
            path: path.to_owned(),
        };
        if let Response::Content {
            content: Some(content),
        } = self.ask(&request)?
        {
            lines.push(format!("file {path} {content:?}"));
        }
        Ok(())
    }
}

/// What differs between two fingerprints, but for what `jailctl host residue` says stays.
#[must_use]
pub fn difference(before: &[String], after: &[String]) -> Vec<String> {
    let gone = before
        .iter()
        .filter(|line| !after.contains(line))
        .map(|line| format!("- {line}"));
    let new = after
        .iter()
        .filter(|line| !before.contains(line))
        .filter(|line| !stays(line))
        .map(|line| format!("+ {line}"));
    gone.chain(new).collect()
}

/// Whether a line of a fingerprint is one of what stays.
fn stays(line: &str) -> bool {
    RESIDUE.iter().any(|(what, _)| match what {
        Stays::Modules(names) => line
            .strip_prefix("module ")
            .is_some_and(|module| names.contains(&module)),
        // A fingerprint names each routing table, and its routes on lines of their own.
        Stays::Sysctl("net.fibs") => line.starts_with("host fib "),
        Stays::Sysctl(name) => line
            .strip_prefix("sysctl ")
            .and_then(|rest| rest.split_once('='))
            .is_some_and(|(oid, _)| oid == *name),
        // What is in it are other lines.
        Stays::EmptyAnchor(name) => line
            .strip_prefix("host pf anchor ")
            .is_some_and(|anchor| anchor == *name),
        Stays::Folder(names) => line
            .strip_prefix(STATE_FILE)
            .is_some_and(|file| names.contains(&file)),
        // A fingerprint does not have them.
        Stays::FormerInterfaces => false,
    })
}

#[cfg(test)]
mod tests;
