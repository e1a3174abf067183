//! A host that remembers what is done to it: the commands that change something, with what they read, and the files that are written, while somebody listens.
//!
//! What the commands mean is nobody's business here: which of them change something the emulator's own log knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cellblock_fakebsd::log::is_changing;
use cellblock_freebsd::visit::LogPart;
use cellblock_freebsd::{Command, Emulated, Output, Process, System, SystemError};

/// Hooks of jail(8) that are the operator's alone: none of ours is among them.
const HOOKS: [&str; 8] = [
    "exec.prepare",
    "exec.prestart",
    "exec.start",
    "exec.poststart",
    "exec.prestop",
    "exec.stop",
    "exec.poststop",
    "exec.release",
];

/// The hook that gives a jail its network. The operator's come after ours.
const CREATED: &str = "exec.created";

/// Where the kernel lists what its jails know.
const PARAMETERS: &str = "security.jail.param";

/// Beginnings of parameters that a kernel module brings (`allow.mount.zfs` and others appear with theirs: recording `12`; `allow.vmm`: `vmmdev_init`, sys/dev/vmm/vmm_dev.c). Whether a host has loaded it no agent tells.
const BROUGHT: [&str; 4] = ["allow.mount.", "allow.vmm", "linux.", "zfs."];

/// The value of a sysctl of which nobody has told it.
const UNTOLD: &str = "not known";

/// One thing that was done to the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// A command was run.
    Run {
        /// Its words, the program by its name alone.
        argv: Vec<String>,
        /// What it read on standard input.
        stdin: Option<String>,
    },
    /// A file was written.
    Write {
        /// Its path.
        path: String,
        /// Its content.
        content: String,
    },
    /// Nothing could be done yet.
    Wait {
        /// For what it was waited.
        message: String,
    },
}

/// What a host has that the emulated one has not.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// How many `exec.created` a jail.conf has from its operator, by its path: their programs.
    pub(super) created: BTreeMap<String, usize>,
    /// Sysctls: the emulated kernel has few, and a real one has thousands.
    pub(super) sysctls: Vec<String>,
    /// Parameters of jails. Those that modules bring are taken for known.
    pub(super) parameters: BTreeSet<String>,
}

/// An emulated host behind a recorder.
#[derive(Debug)]
pub(super) struct Recorder {
    host: Emulated,
    created: BTreeMap<String, usize>,
    /// With their values.
    sysctls: Mutex<BTreeMap<String, String>>,
    parameters: BTreeSet<String>,
    heard: Mutex<Vec<Action>>,
}

impl Recorder {
    /// A recorder of `host`, which has more than the emulator gives it. The hooks that operators gave to jails are not run on it.
    pub(super) fn new(host: Emulated, beside: Beside) -> Self {
        let sysctls = beside.sysctls.into_iter();
        let sysctls = sysctls.map(|oid| (oid, UNTOLD.to_owned())).collect();
        let brought = |name: &String| BROUGHT.iter().any(|start| name.starts_with(start));
        let parameters = beside.parameters.into_iter();
        Self {
            host,
            created: beside.created,
            sysctls: Mutex::new(sysctls),
            parameters: parameters.filter(brought).collect(),
            heard: Mutex::default(),
        }
    }

    /// What was done since the last time.
    pub(super) fn heard(&self) -> Vec<Action> {
        std::mem::take(&mut *self.actions())
    }

    /// Lets time pass.
    pub(super) fn advance(&self, by: Duration) {
        self.host.emulator().advance(by);
    }

    /// The host as it is now.
    #[cfg(test)]
    pub(super) fn host(&self) -> cellblock_fakebsd::Emulator {
        self.host.emulator().clone()
    }

    fn actions(&self) -> MutexGuard<'_, Vec<Action>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a sysctl(8) says that is about sysctls of ours: all of it where one is set, the end of it where some are read.
    fn sysctl(&self, command: &Command) -> Option<String> {
        let (program, words) = command.argv.split_first()?;
        if !program.ends_with("/sysctl") {
            return None;
        }
        let mut own = self.sysctls.lock().unwrap_or_else(PoisonError::into_inner);
        let mut said = String::new();
        for word in words {
            if word == PARAMETERS {
                let all = self.parameters.iter();
                said.extend(all.map(|name| format!("{PARAMETERS}.{name}\n")));
            }
            let (oid, value) = match word.split_once('=') {
                Some((oid, value)) => (oid, Some(value)),
                None => (word.as_str(), None),
            };
            let Some(known) = own.get_mut(oid) else {
                continue;
            };
            if let Some(value) = value {
                value.clone_into(known);
            }
            said.push_str(&format!("{oid}: {known}\n"));
        }
        (!said.is_empty()).then_some(said)
    }

    fn note(&self, command: &Command) {
        if !is_changing(&command.argv) {
            return;
        }
        let mut argv = command.argv.clone();
        if let Some(program) = argv.first_mut()
            && let Some((_, name)) = program.rsplit_once('/')
        {
            *program = name.to_owned();
        }
        let stdin = command.stdin.clone();
        self.actions().push(Action::Run { argv, stdin });
    }
}

impl System for Recorder {
    fn run(&self, command: &Command) -> Result<Output, SystemError> {
        self.note(command);
        let Some(said) = self.sysctl(command) else {
            return self.host.run(command);
        };
        if is_changing(&command.argv) {
            return Ok(Output {
                stdout: said,
                ..Output::default()
            });
        }
        let mut output = self.host.run(command)?;
        output.stdout.push_str(&said);
        Ok(output)
    }

    /// Only jail(8) is started. It gets the jail.conf without what the emulator lacks, which is whole again when it has ended.
    fn start(&self, command: &Command) -> Result<Box<dyn Process>, SystemError> {
        self.note(command);
        let mut words = command.argv.iter();
        let conf = words.find(|word| *word == "-f").and(words.next());
        let text = match conf {
            Some(conf) => self.host.read_file(conf)?,
            None => None,
        };
        let (Some(conf), Some(text)) = (conf, text) else {
            return self.host.start(command);
        };
        let created = self.created.get(conf).copied().unwrap_or_default();
        let plain = without_hooks(&text, created, &self.parameters);
        self.host.write_file(conf, &plain)?;
        let started = self.host.start(command);
        self.host.write_file(conf, &text)?;
        started
    }

    fn now(&self) -> Duration {
        self.host.now()
    }

    fn read_file(&self, path: &str) -> Result<Option<String>, SystemError> {
        self.host.read_file(path)
    }

    fn write_file(&self, path: &str, content: &str) -> Result<(), SystemError> {
        self.actions().push(Action::Write {
            path: path.to_owned(),
            content: content.to_owned(),
        });
        self.host.write_file(path, content)
    }

    fn replace_file(&self, path: &str, beside: &str, content: &str) -> Result<(), SystemError> {
        self.actions().push(Action::Write {
            path: path.to_owned(),
            content: content.to_owned(),
        });
        self.host.replace_file(path, beside, content)
    }

    fn read_log(
        &self,
        path: &str,
        from: u64,
        bytes_max: usize,
    ) -> Result<Option<LogPart>, SystemError> {
        self.host.read_log(path, from, bytes_max)
    }

    /// What is removed is what jail(8) left for the agent: nobody who works by hand would miss it.
    fn remove_file(&self, path: &str) -> Result<(), SystemError> {
        self.host.remove_file(path)
    }

    fn list_dir(&self, path: &str) -> Result<Option<Vec<String>>, SystemError> {
        self.host.list_dir(path)
    }

    fn real_path(&self, path: &str) -> Result<Option<String>, SystemError> {
        self.host.real_path(path)
    }

    fn file_size(&self, path: &str) -> Result<Option<u64>, SystemError> {
        self.host.file_size(path)
    }

    fn rotate_file(&self, path: &str, beside: &str, bytes_max: u64) -> Result<(), SystemError> {
        self.host.rotate_file(path, beside, bytes_max)
    }
}

/// A jail.conf without these parameters and the operator's hooks, of which the last `created` are [`CREATED`]. Each stands in a line of its own: no value has a line end.
fn without_hooks(text: &str, created: usize, parameters: &BTreeSet<String>) -> String {
    let word = |line: &str| {
        let word = line.split_whitespace().next();
        word.map(|word| word.trim_end_matches(';').to_owned())
    };
    let is_created = |line: &&str| word(line).as_deref() == Some(CREATED);
    let all = text.lines().filter(is_created).count();
    let mut ours = all.saturating_sub(created);
    let mut kept = String::new();
    for line in text.lines() {
        let is_left_out = match word(line).as_deref() {
            Some(CREATED) => {
                let is_ours = ours > 0;
                ours = ours.saturating_sub(1);
                !is_ours
            }
            Some(word) => HOOKS.contains(&word) || parameters.contains(word),
            None => false,
        };
        if !is_left_out {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

#[cfg(test)]
mod tests;
