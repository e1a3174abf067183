//! One run of jail(8) over its jails: dependencies, and which operation each jail gets (main loop of usr.sbin/jail/jail.c, state.c).

use std::collections::BTreeSet;

use super::steps::Work;
use super::{
    INTERNAL, Operation, Options, UNCHANGEABLE, bare_address, error_text, print_parameter,
    running_jail, value, values,
};
use crate::cmd::jailconf::{self, ConfiguredJail};
use crate::cmd::{Context, jailparam};
use crate::emulator::Emulator;
use crate::kernel::jail::{Settings, Value};
use crate::output::Output;

/// One run of the program over its jails.
pub(super) struct Run<'a> {
    pub(super) host: &'a mut Emulator,
    pub(super) context: &'a Context,
    pub(super) jails: Vec<ConfiguredJail>,
    pub(super) verbose: i8,
    pub(super) print_jid: bool,
    pub(super) notes_removal: bool,
    /// Where the parameters of a jail that was started go (`-J`).
    pub(super) jid_file: Option<String>,
    /// Jails that are being or have been worked on, against dependency loops and repetition.
    pub(super) started: BTreeSet<usize>,
    pub(super) stopped: BTreeSet<usize>,
    pub(super) output: Output,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        host: &'a mut Emulator,
        context: &'a Context,
        options: &Options,
        jails: Vec<ConfiguredJail>,
    ) -> Self {
        Self {
            host,
            context,
            jails,
            verbose: options.verbose,
            print_jid: options.print_jid,
            notes_removal: false,
            jid_file: options.jid_file.clone(),
            started: BTreeSet::new(),
            stopped: BTreeSet::new(),
            output: Output::success(),
        }
    }

    /// print_jail: what `-J` gets once a start is through, `exec.poststart` too.
    pub(super) fn note_jid(&mut self, at: usize, jid: Option<i32>) {
        let (Some(file), Some(jid)) = (&self.jid_file, jid) else {
            return;
        };
        let words = self.jails[at].parameters.iter();
        let words = words
            .filter(|parameter| parameter.name != "jid")
            .map(print_parameter);
        let words: Vec<String> = std::iter::once(format!("jid={jid}")).chain(words).collect();
        // What cannot be written is lost: nobody asks the stream whether it failed.
        let _ = self.host.files.append(file, words.join(" ") + "\n");
    }

    pub(super) fn finish(self) -> Output {
        self.output
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.jails.iter().position(|jail| jail.name == name)
    }

    /// What is said of a jail that the file does not have.
    pub(super) fn lacks(&self, name: &str) -> Option<String> {
        let known = jailconf::is_wild(name) || name == "*" || self.find(name).is_some();
        (!known).then(|| format!("jail: \"{name}\" not found"))
    }

    pub(super) fn check_dependencies(&self) -> Result<(), String> {
        for jail in &self.jails {
            for name in values(jail, "depend") {
                if self.find(name).is_none() {
                    return Err(format!(
                        "jail: {}: depends on undefined jail \"{name}\"",
                        jail.name
                    ));
                }
            }
        }
        Ok(())
    }

    /// Adds the jails a `-r` operand means, with whether they were named by a wildcard.
    pub(super) fn choose(
        &mut self,
        target: &str,
        by_file: bool,
        force: bool,
        chosen: &mut Vec<(usize, bool)>,
    ) {
        if jailconf::is_wild(target) && force {
            let names: Vec<String> = self
                .host
                .kernel
                .jails
                .all
                .values()
                .filter(|jail| !jail.dying && jailconf::matches_wild(&jail.name, target))
                .map(|jail| jail.name.clone())
                .collect();
            for name in names {
                self.jails.push(running_jail(&name));
                chosen.push((self.jails.len() - 1, true));
            }
        } else if jailconf::is_wild(target) {
            chosen.extend(
                (0..self.jails.len())
                    .filter(|at| jailconf::matches_wild(&self.jails[*at].name, target))
                    .map(|at| (at, true)),
            );
        } else if let Some(at) = self.find(target).filter(|_| by_file) {
            chosen.push((at, false));
        } else if let Some(name) = self
            .host
            .kernel
            .find_jail(self.context.jid, target)
            .map(|jail| jail.name.clone())
        {
            match self.find(&name).filter(|_| by_file) {
                Some(at) => chosen.push((at, false)),
                None => {
                    self.jails.push(running_jail(&name));
                    chosen.push((self.jails.len() - 1, false));
                }
            }
        } else {
            self.output.fail(1, format!("jail: \"{target}\" not found"));
        }
    }

    /// The jid under which the jail runs, by its `jid` or `name` parameter.
    pub(super) fn running(&self, at: usize) -> Option<i32> {
        let jail = &self.jails[at];
        let which = value(jail, "jid").or_else(|| value(jail, "name"))?;
        self.host
            .kernel
            .find_jail(self.context.jid, which)
            .map(|jail| jail.jid)
    }

    pub(super) fn warn(&mut self, at: usize, text: &str) {
        let name = &self.jails[at].name;
        let line = if name.is_empty() {
            format!("jail: {text}")
        } else {
            format!("jail: {name}: {text}")
        };
        self.output.fail(1, line);
    }

    pub(super) fn note(&mut self, at: usize, text: &str) {
        let name = &self.jails[at].name;
        let line = if name.is_empty() {
            text.to_owned()
        } else {
            format!("{name}: {text}")
        };
        self.output.line(line);
    }

    /// jail_quoted_warnx: a single jail has no name of its own, so its jid or name parameter stands in.
    pub(super) fn warn_quoted(&mut self, at: usize, text: &str, without: &str) {
        let jail = &self.jails[at];
        let jid = self.running(at).map(|jid| jid.to_string());
        let name = if jail.name.is_empty() {
            value(jail, "jid")
                .map(str::to_owned)
                .or(jid)
                .or_else(|| value(jail, "name").map(str::to_owned))
        } else {
            Some(jail.name.clone())
        };
        let line = match name {
            Some(name) => format!("jail: \"{name}\" {text}"),
            None => format!("jail: {without}"),
        };
        self.output.fail(1, line);
    }

    /// Brings one jail where the operation wants it; false if that failed.
    pub(super) fn work(&mut self, at: usize, operation: Operation, wild: bool) {
        let running = self.running(at);
        let Operation {
            start,
            set,
            stop,
            cleanup,
        } = operation;
        match (start, set, stop) {
            (true, false, false) => {
                self.start(at, wild, false);
            }
            (false, true, false) => self.update(at, running),
            (true, true, false) if running.is_some() => self.update(at, running),
            (true, true, false) => {
                self.start(at, wild, false);
            }
            (false, false, true) => {
                self.stop(at, wild || cleanup);
            }
            (true, _, true) | (false, true, true) => {
                let restarts = start && !set || self.unchangeable(at, running).is_some();
                if set && running.is_some() && !restarts {
                    self.update(at, running);
                } else if running.is_none() && !start {
                    self.warn_quoted(at, "not found", "no jail specified");
                } else if running.is_none() || self.stop(at, true) {
                    self.start(at, wild, false);
                }
            }
            (false, false, false) => {}
        }
    }

    /// `-c`, dependencies first.
    pub(super) fn start(&mut self, at: usize, wild: bool, depended_on: bool) -> bool {
        if !self.started.insert(at) && (wild || depended_on) {
            return true;
        }
        for name in values(&self.jails[at], "depend")
            .map(str::to_owned)
            .collect::<Vec<_>>()
        {
            if let Some(dependency) = self.find(&name)
                && self.running(dependency).is_none()
                && !self.start(dependency, wild, true)
            {
                self.warn(at, "skipped");
                return false;
            }
        }
        if self.running(at).is_some() {
            if !wild && !depended_on {
                self.warn_quoted(at, "already exists", "");
                return false;
            }
            return true;
        }
        Work::new(self, at).start()
    }

    /// `-r`, dependents first.
    pub(super) fn stop(&mut self, at: usize, wild: bool) -> bool {
        if !self.stopped.insert(at) {
            return true;
        }
        let name = self.jails[at].name.clone();
        let dependents: Vec<usize> = (0..self.jails.len())
            .filter(|other| values(&self.jails[*other], "depend").any(|needed| needed == name))
            .collect();
        for dependent in dependents {
            if self.running(dependent).is_some() && !self.stop(dependent, true) {
                self.warn(at, "skipped");
                return false;
            }
        }
        match self.running(at) {
            Some(jid) => Work::new(self, at).stop(jid),
            None => {
                if !wild {
                    self.warn_quoted(at, "not found", "no jail specified");
                }
                wild
            }
        }
    }

    /// The first parameter of a running jail that only a new one could have (rdtun_params).
    pub(super) fn unchangeable(&mut self, at: usize, running: Option<i32>) -> Option<String> {
        let jid = running?;
        let parameters = self.jails[at].parameters.clone();
        for parameter in parameters
            .iter()
            .filter(|parameter| UNCHANGEABLE.contains(&parameter.name.as_str()))
        {
            let text = parameter.values.last().map(String::as_str);
            let Ok((name, wanted)) =
                jailparam::import(&mut self.host.kernel, &parameter.name, text)
            else {
                continue;
            };
            let known = jailparam::lookup(&mut self.host.kernel, &name)?;
            let jail = self.host.kernel.jail(jid)?;
            let has = jailparam::export(&self.host.kernel, self.context.jid, jail, &known).text();
            let wants = match wanted {
                Value::Flag(value) => value.to_string(),
                Value::Number(value) => value.to_string(),
                Value::Text(value) => value,
                Value::Sys(value) => value.text().to_owned(),
                Value::Inet(_) | Value::Inet6(_) => continue,
            };
            if has != wants {
                return Some(parameter.name.clone());
            }
        }
        None
    }

    /// `-m`.
    pub(super) fn update(&mut self, at: usize, running: Option<i32>) {
        let settings = match self.settings(at) {
            Ok(settings) => settings,
            Err(()) => return,
        };
        let Some(jid) = running else {
            return self.warn_quoted(at, "not found", "no jail specified");
        };
        if let Some(name) = self.unchangeable(at, running) {
            return self.warn(at, &format!("{name} cannot be changed after creation"));
        }
        let mut changes = Settings::default();
        changes.set("jid", Value::Number(jid.into()));
        for (name, value) in settings.0 {
            if !UNCHANGEABLE.contains(&name.as_str()) && name != "jid" && name != "name" {
                changes.set(&name, value);
            }
        }
        match self.host.kernel.jail_set(self.context.jid, &changes, false) {
            Ok(_) => {
                if self.verbose > 0 || (self.verbose == 0 && !self.jails[at].name.is_empty()) {
                    self.note(at, "updated");
                }
            }
            Err(error) => self.warn(at, &error_text(&error)),
        }
    }

    /// import_params: the parameters the kernel gets, typed. Each one that is wrong has its line.
    pub(super) fn settings(&mut self, at: usize) -> Result<Settings, ()> {
        let mut settings = Settings::default();
        let mut failed = false;
        for parameter in self.jails[at].parameters.clone() {
            if INTERNAL.contains(&parameter.name.as_str()) {
                continue;
            }
            let is_list = matches!(parameter.name.as_str(), "ip4.addr" | "ip6.addr");
            let text = match parameter.values.as_slice() {
                [] => None,
                [_, _, ..] if is_list => Some(
                    parameter
                        .values
                        .iter()
                        .map(|value| bare_address(value))
                        .collect::<Vec<_>>()
                        .join(","),
                ),
                [.., last] if is_list => Some(bare_address(last).to_owned()),
                [.., last] => Some(last.clone()),
            };
            match jailparam::import(&mut self.host.kernel, &parameter.name, text.as_deref()) {
                Ok((name, value)) => settings.set(&name, value),
                Err(text) => {
                    self.warn(at, &text);
                    failed = true;
                }
            }
        }
        if failed { Err(()) } else { Ok(settings) }
    }
}
