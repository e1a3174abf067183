//! Jails: started and stopped by jail(8) with their own jail.conf, judged by jls(8).
//!
//! jail(8)'s exit status is no judge: it exits 1 of a jail that it did remove when an alias was already gone (recording `03`), and after a killed start a jail stands that never came up.

use cellblock_agent_core::observed::ObservedJail;

use super::{Performer, effect, jail_word};
use crate::command::{Command, JAIL_TIMEOUT, Output, Program, words};
use crate::error::{Failure, excerpt};
use crate::observe;
use crate::system::SystemError;

impl Performer<'_> {
    /// `jail -f CONF -c NAME`. A jail that stands after a failed or hanging start was not started, and is removed.
    pub(super) fn start_jail(&self, name: &str, conf: &str) -> Result<(), Failure> {
        let name = jail_word(name)?;
        let text = self
            .system
            .read_file(conf)?
            .ok_or_else(|| Failure::Changed(format!("{conf} is not there")))?;
        if let Some(running) = observe::living_jail(self.system, name)? {
            return if was_started_by(&running, &text) {
                Ok(())
            } else {
                Err(Failure::NameTaken {
                    what: "jail",
                    name: name.to_owned(),
                })
            };
        }
        let command = jail(words!["-f", conf, "-c", name]);
        let failure = match self.run(&command) {
            Ok(output) if output.is_success() => {
                let running = observe::living_jail(self.system, name)?.is_some();
                return effect(running, || {
                    format!(
                        "`{}` succeeded and the jail is not there: {}",
                        command.line(),
                        excerpt(&output.stderr)
                    )
                });
            }
            Ok(output) => Failure::refused(&command, &output),
            Err(failure) => failure,
        };
        // jail(8) takes back its own mounts and the jail when a hook fails (recordings `11`, `14`); when it was killed, it does not.
        if let Some(half) = observe::living_jail(self.system, name)?
            && let Err(error) = self.stop_jail(name, half.jid, Some(conf))
        {
            tracing::warn!(jail = name, %error, "a jail whose start failed is left behind");
        }
        Err(failure)
    }

    /// `jail -f CONF -r NAME`. A hook that fails or hangs leaves the jail running (recording `11`); a jail that is to go must not be kept by its own `exec.stop`, so it is removed by its jid
    /// then, and what jail(8) would have done after the removal (`exec.poststop`, unmounting) is done by `jail -r -C`, which 15 has; `-C` alone does nothing there (`main`, usr.sbin/jail/jail.c).
    pub(super) fn stop_jail(
        &self,
        name: &str,
        jid: u32,
        conf: Option<&str>,
    ) -> Result<(), Failure> {
        let name = jail_word(name)?;
        if !self.still_runs(name, jid)? {
            return Ok(());
        }
        let mut complaint = None;
        if let Some(conf) = conf {
            complaint = self.try_jail(words!["-f", conf, "-r", name])?;
            if !self.still_runs(name, jid)? {
                if let Some(complaint) = complaint {
                    tracing::warn!(
                        jail = name,
                        complaint,
                        "the jail is gone, and jail(8) complained"
                    );
                }
                return Ok(());
            }
        }
        let forced = self.try_jail(words!["-R", jid.to_string()])?;
        if self.still_runs(name, jid)? {
            let why = forced
                .or(complaint)
                .unwrap_or_else(|| "it said nothing".to_owned());
            return Err(Failure::EffectMissing(format!(
                "jail {name} (jid {jid}) still runs: {why}"
            )));
        }
        if let Some(conf) = conf {
            tracing::warn!(
                jail = name,
                complaint,
                "the jail did not stop by itself and was removed"
            );
            if let Some(complaint) = self.try_jail(words!["-f", conf, "-r", "-C", name])? {
                tracing::info!(
                    jail = name,
                    complaint,
                    "nothing cleaned up after the jail; its mounts are taken away one by one"
                );
            }
        }
        Ok(())
    }

    /// Whether the jail of that jid is alive and still the one of that name. A jid is used again after its jail is gone.
    fn still_runs(&self, name: &str, jid: u32) -> Result<bool, Failure> {
        let found = observe::living_jail(self.system, &jid.to_string())?;
        Ok(found.is_some_and(|found| found.name == name && found.jid == jid))
    }

    /// Runs jail(8); what it complained about, if it did not succeed in time.
    fn try_jail(&self, arguments: Vec<String>) -> Result<Option<String>, Failure> {
        match self.run(&jail(arguments)) {
            Ok(output) => Ok(complaint(&output)),
            Err(Failure::System(error @ SystemError::TimedOut { .. })) => {
                Ok(Some(error.to_string()))
            }
            Err(failure) => Err(failure),
        }
    }
}

/// jail(8) says `created` at once (`setlinebuf`, usr.sbin/jail/jail.c), and ifconfig(8) in `exec.created`, whose standard output is jail(8)'s (`run_command`, usr.sbin/jail/command.c), the name
/// that it gives (`printifnamemaybe`, sbin/ifconfig/ifconfig.c). Into a pipe of an agent that was killed either ends by SIGPIPE before `exec.start`. A jail that stood with its network and had not
/// run `exec.start` was seen on 15.1 after such kills; that this was the cause is concluded from the sources.
fn jail(arguments: Vec<String>) -> Command {
    Command::new(Program::Jail, arguments)
        .timeout(JAIL_TIMEOUT)
        .discard_stdout()
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
