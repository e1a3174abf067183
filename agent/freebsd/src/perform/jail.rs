//! Jails: started and stopped by jail(8) with their own jail.conf, judged by jls(8).
//!
//! jail(8)'s exit status is no judge: it exits 1 of a jail that it did remove when an alias was already gone (recording `03`), and after a killed start a jail stands that never came up.

use std::collections::BTreeMap;
use std::time::Duration;

use cellblock_agent_core::observed::ObservedJail;

use super::{Performer, effect, jail_word, log};
use crate::command::{Command, JAIL_TIMEOUT, Output, Program, words};
use crate::error::{Failure, excerpt};
use crate::observe;
use crate::observe::jls::META_KEY;
use crate::system::{Process, SystemError};

/// A jail(8) at work, and what comes after it.
pub(crate) struct Work {
    name: String,
    command: Command,
    process: Box<dyn Process>,
    stage: Stage,
}

/// What jail(8) is at.
enum Stage {
    /// `-c`
    Starting {
        conf: String,
    },
    Stopping(Stop),
}

/// A stop on its way.
struct Stop {
    jid: u32,
    conf: Option<String>,
    at: StopStage,
    /// What jail(8) said against it.
    complaint: Option<String>,
    /// The start that failed and is taken back by it.
    failed: Option<Failure>,
}

#[derive(Clone, Copy)]
enum StopStage {
    /// `-r`
    Asked,
    /// `-R`
    Forced,
    /// `-r -C`
    CleaningUp,
}

/// The files that jail(8) has beside a jail.conf while it works.
pub(crate) struct Beside {
    /// What `-J` writes.
    pub(crate) jid: String,
    /// Its standard error.
    pub(crate) stderr: String,
}

impl Beside {
    pub(crate) fn of(conf: &str) -> Self {
        let stem = conf.strip_suffix(observe::CONF).unwrap_or(conf);
        Self {
            jid: format!("{stem}{}", observe::JID),
            stderr: format!("{stem}{}", observe::STDERR),
        }
    }
}

impl Performer<'_> {
    /// Starts or stops a jail and waits for it.
    pub(super) fn perform_to_its_end(&self, work: Option<Work>) -> Result<(), Failure> {
        let Some(mut work) = work else {
            return Ok(());
        };
        while !self.go_on(&mut work, JAIL_TIMEOUT)? {}
        Ok(())
    }

    /// `jail -f CONF -J FILE -c NAME`; none: it runs already.
    ///
    /// FILE is there and empty from before the first hook on, and gets its line when the last one, `exec.poststart`, is through (`main`, usr.sbin/jail/jail.c): where it is empty and no jail(8)
    /// works on the jail any more, the start was cut off. It is removed before, so that a former start does not speak for this one, and after, so that where it is missing there is nothing to say.
    pub(crate) fn begin_start(&self, name: &str, conf: &str) -> Result<Option<Work>, Failure> {
        let name = jail_word(name)?;
        let text = self
            .system
            .read_file(conf)?
            .ok_or_else(|| Failure::Changed(format!("{conf} is not there")))?;
        let beside = Beside::of(conf);
        if let Some(running) = observe::living_jail(self.system, name)? {
            if !was_started_by(&running, &text) {
                return Err(Failure::NameTaken {
                    what: "jail",
                    name: name.to_owned(),
                });
            }
            let said = self.system.read_file(&beside.jid)?;
            if said.is_some_and(|said| !said.trim().is_empty()) {
                self.system.remove_file(&beside.jid)?;
            }
            return Ok(None);
        }
        if self.system.read_file(&beside.jid)?.is_some() {
            self.system.remove_file(&beside.jid)?;
        }
        let command = jail(words!["-f", conf, "-J", &beside.jid, "-c", name]);
        let command = command.stderr_file(beside.stderr);
        Ok(Some(Work {
            name: name.to_owned(),
            process: self.system.start(&command)?,
            command,
            stage: Stage::Starting {
                conf: conf.to_owned(),
            },
        }))
    }

    /// `jail -f CONF -r NAME`; none: it does not run. A hook that fails or hangs leaves the jail running (recording `11`); a jail that is to go must not be kept by its own `exec.stop`, so it is removed
    /// by its jid then, and what jail(8) would have done after the removal (`exec.poststop`, unmounting) is done by `jail -r -C`, which 15 has; `-C` alone does nothing there (`main`,
    /// usr.sbin/jail/jail.c).
    pub(crate) fn begin_stop(
        &self,
        name: &str,
        jid: u32,
        conf: Option<&str>,
    ) -> Result<Option<Work>, Failure> {
        let name = jail_word(name)?;
        if !self.still_runs(name, jid)? {
            return Ok(None);
        }
        self.stop(name, jid, conf, None).map(Some)
    }

    /// `jail -m jid=JID PARAMETER=VALUE …`, all in one jail_set(2), and read back. Of what is not named nothing is changed, and no hook runs (`update_jail`, usr.sbin/jail/jail.c). A `name` beside
    /// the jid would be a new one (`kern_jail_set`, sys/kern/kern_jail.c).
    pub(super) fn set_jail(
        &self,
        name: &str,
        jid: u32,
        parameters: &BTreeMap<String, String>,
        mark: Option<&str>,
    ) -> Result<(), Failure> {
        let name = jail_word(name)?;
        if !self.still_runs(name, jid)? {
            let what = format!("jail {name} (jid {jid}) does not run any more");
            return Err(Failure::Changed(what));
        }
        let words = parameters
            .iter()
            .map(|(parameter, value)| format!("{parameter}={value}"));
        let mark_word = mark.map(|mark| format!("meta.{META_KEY}={mark}"));
        let mut arguments = words!["-m", format!("jid={jid}")];
        arguments.extend(words.chain(mark_word));
        self.change(&Command::new(Program::Jail, arguments))?;
        let found = observe::living_jail(self.system, &jid.to_string())?;
        let found = found.filter(|found| found.name == name);
        let found = found.ok_or_else(|| {
            Failure::Changed(format!(
                "jail {name} (jid {jid}) ended while it was changed"
            ))
        })?;
        for (parameter, value) in parameters {
            let present = if parameter == "host.hostname" {
                Some(&found.hostname)
            } else {
                found.parameters.get(parameter)
            };
            effect(present == Some(value), || {
                let present = present.map_or("absent", String::as_str);
                format!("{parameter} of jail {name} is `{present}` after it was set to `{value}`")
            })?;
        }
        let present = found.meta.map(|meta| meta.text());
        effect(mark.is_none() || present.as_deref() == mark, || {
            format!("the mark of jail {name} is not the one that was set")
        })
    }

    fn stop(
        &self,
        name: &str,
        jid: u32,
        conf: Option<&str>,
        failed: Option<Failure>,
    ) -> Result<Work, Failure> {
        let (words, at) = match conf {
            Some(conf) => (words!["-f", conf, "-r", name], StopStage::Asked),
            None => (words!["-R", jid.to_string()], StopStage::Forced),
        };
        let command = with_stderr(jail(words), conf);
        Ok(Work {
            name: name.to_owned(),
            process: self.system.start(&command)?,
            command,
            stage: Stage::Stopping(Stop {
                jid,
                conf: conf.map(str::to_owned),
                at,
                complaint: None,
                failed,
            }),
        })
    }

    /// Goes on with the work as far as it comes within `patience` for each jail(8); whether it has ended.
    pub(crate) fn go_on(&self, work: &mut Work, patience: Duration) -> Result<bool, Failure> {
        loop {
            let result = match work.process.wait(patience).transpose() {
                None => return Ok(false),
                Some(result) => result,
            };
            if let Ok(output) = &result {
                log(&work.command, output);
            }
            let result = result.map_err(Failure::from);
            let name = work.name.clone();
            let next = match &mut work.stage {
                Stage::Starting { conf } => self.after_start(&name, conf, &work.command, result),
                Stage::Stopping(stop) => self.after_stop(&name, stop, result),
            }?;
            match next {
                Next::Ended => return Ok(true),
                Next::Work(next) => *work = *next,
                Next::Command(command) => {
                    work.process = self.system.start(&command)?;
                    work.command = command;
                }
            }
        }
    }

    /// A jail that stands after a failed or hanging start was not started, and is removed.
    fn after_start(
        &self,
        name: &str,
        conf: &str,
        command: &Command,
        result: Result<Output, Failure>,
    ) -> Result<Next, Failure> {
        let beside = Beside::of(conf);
        let failure = match result {
            Ok(output) if output.is_success() => {
                let running = observe::living_jail(self.system, name)?.is_some();
                effect(running, || {
                    format!(
                        "`{}` succeeded and the jail is not there: {}",
                        command.line(),
                        excerpt(&output.stderr)
                    )
                })?;
                self.system.remove_file(&beside.jid)?;
                return Ok(Next::Ended);
            }
            Ok(output) => Failure::refused(command, &output),
            Err(failure) => failure,
        };
        // jail(8) takes back its own mounts and the jail when a hook fails (recordings `11`, `14`); when it was killed, it does not.
        match observe::living_jail(self.system, name)? {
            Some(half) => {
                let stop = self.stop(name, half.jid, Some(conf), Some(failure))?;
                Ok(Next::Work(Box::new(stop)))
            }
            None => {
                self.system.remove_file(&beside.jid)?;
                Err(failure)
            }
        }
    }

    fn after_stop(
        &self,
        name: &str,
        stop: &mut Stop,
        result: Result<Output, Failure>,
    ) -> Result<Next, Failure> {
        let complaint = match result {
            Ok(output) => complaint(&output),
            Err(Failure::System(error @ SystemError::TimedOut { .. })) => Some(error.to_string()),
            Err(failure) => return Err(stop.failed.take().unwrap_or(failure)),
        };
        let runs = self.still_runs(name, stop.jid)?;
        match stop.at {
            StopStage::Asked if runs => {
                stop.complaint = complaint;
                stop.at = StopStage::Forced;
                let command = jail(words!["-R", stop.jid.to_string()]);
                return Ok(Next::Command(with_stderr(command, stop.conf.as_deref())));
            }
            StopStage::Forced if runs => {
                let why = complaint.or(stop.complaint.take());
                let why = why.unwrap_or_else(|| "it said nothing".to_owned());
                let jid = stop.jid;
                let stays = format!("jail {name} (jid {jid}) still runs: {why}");
                return Err(match stop.failed.take() {
                    Some(failure) => {
                        tracing::warn!(
                            jail = name,
                            stays,
                            "a jail whose start failed is left behind"
                        );
                        failure
                    }
                    None => Failure::EffectMissing(stays),
                });
            }
            StopStage::Forced if let Some(conf) = &stop.conf => {
                tracing::warn!(
                    jail = name,
                    complaint = stop.complaint,
                    "the jail did not stop by itself and was removed"
                );
                stop.at = StopStage::CleaningUp;
                let command = jail(words!["-f", conf, "-r", "-C", name]);
                return Ok(Next::Command(with_stderr(command, Some(conf))));
            }
            StopStage::Asked | StopStage::Forced | StopStage::CleaningUp => {}
        }
        if let Some(complaint) = complaint {
            tracing::warn!(
                jail = name,
                complaint,
                "the jail is gone, and jail(8) complained; mounts that it left are taken away one by one"
            );
        }
        if let Some(conf) = &stop.conf {
            // That a former start was cut off is what the next one is told for.
            let jid = Beside::of(conf).jid;
            let said = self.system.read_file(&jid)?;
            if said.is_some_and(|said| stop.failed.is_some() || !said.trim().is_empty()) {
                self.system.remove_file(&jid)?;
            }
        }
        stop.failed.take().map_or(Ok(Next::Ended), Err)
    }

    /// Whether the jail of that jid is alive and still the one of that name. A jid is used again after its jail is gone.
    fn still_runs(&self, name: &str, jid: u32) -> Result<bool, Failure> {
        let found = observe::living_jail(self.system, &jid.to_string())?;
        Ok(found.is_some_and(|found| found.name == name && found.jid == jid))
    }
}

/// What comes after a jail(8) that has ended.
enum Next {
    Ended,
    Command(Command),
    Work(Box<Work>),
}

/// jail(8) outlives the agent. It says `created` at once (`setlinebuf`, usr.sbin/jail/jail.c), and ifconfig(8) in `exec.created`, whose standard output is jail(8)'s (`run_command`,
/// usr.sbin/jail/command.c), the name that it gives (`printifnamemaybe`, sbin/ifconfig/ifconfig.c); what jail(8) or a hook complains about goes to standard error. Into a pipe of an agent that was
/// killed each of them ends by SIGPIPE, before `exec.start` or in the midst of it. A jail that stood with its network and had not run `exec.start` was seen on 15.1 after such kills; that this was the
/// cause is concluded from the sources.
fn jail(arguments: Vec<String>) -> Command {
    Command::new(Program::Jail, arguments)
        .timeout(JAIL_TIMEOUT)
        .discard_stdout()
}

fn with_stderr(command: Command, conf: Option<&str>) -> Command {
    match conf {
        Some(conf) => command.stderr_file(Beside::of(conf).stderr),
        None => command,
    }
}

fn complaint(output: &Output) -> Option<String> {
    (!output.is_success())
        .then(|| format!("exit status {}: {}", output.status, excerpt(&output.stderr)))
}

/// Whether `running` is what `conf` starts, as after a crash between the start and its note in the ledger: by its mark if `conf` states one, as it does where jails have `meta`, else by its root.
fn was_started_by(running: &ObservedJail, conf: &str) -> bool {
    if conf.contains("\"cellblock=") {
        let mark = running
            .meta
            .as_ref()
            .map(|meta| format!("\"cellblock={}\"", meta.text()));
        return mark.is_some_and(|mark| conf.contains(&mark));
    }
    // Rendering escapes with backslashes what a path may hold.
    conf.replace('\\', "")
        .contains(&format!("path = \"{}\";", running.path))
}
