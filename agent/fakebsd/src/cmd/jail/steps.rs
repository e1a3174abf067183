//! The steps of starting and stopping one jail, in jail(8)'s order, and how a failed start is taken back (usr.sbin/jail/command.c).

mod argv;
mod parked;
mod step;

use argv::argv_and_background;
pub(crate) use parked::Parked;
use parked::{Asleep, At};
use step::{START, STOP, Step};

use std::time::Duration;

use super::{Run, error_text, is_set, quoted, value, values};
use crate::cmd::jexec::USERS;
use crate::cmd::{NO_PROGRAM, TIMED_OUT, run_in};
use crate::kernel::jail::{Settings, Value};
use crate::output::Output;

/// DEFAULT_STOP_TIMEOUT of usr.sbin/jail/command.c.
const STOP_TIMEOUT_S: u64 = 10;

/// Characters that make jail(8) hand a command to the shell.
const SHELL_CHARACTERS: &str = "!\"$&'()*;<>?[\\]`{|}~";

/// The work on one jail.
pub(super) struct Work<'r, 'a> {
    run: &'r mut Run<'a>,
    at: usize,
    jid: Option<i32>,
    /// `persist` was set only until the start is over.
    temporary_persist: bool,
    /// The hook that was begun last sleeps, and jail(8) with it.
    asleep: Option<Asleep>,
}

impl<'r, 'a> Work<'r, 'a> {
    pub(super) fn new(run: &'r mut Run<'a>, at: usize) -> Self {
        Self {
            run,
            at,
            jid: None,
            temporary_persist: false,
            asleep: None,
        }
    }

    /// The strings of a step, in the order of a start.
    fn strings(&self, step: Step) -> Vec<String> {
        let jail = &self.run.jails[self.at];
        match step {
            Step::Operation | Step::Terminate => vec![String::new()],
            Step::Devfs | Step::Fdescfs | Step::Procfs => {
                if is_set(jail, step.parameter()) {
                    vec![String::new()]
                } else {
                    Vec::new()
                }
            }
            Step::Inet | Step::Inet6 => {
                let has_interface = value(jail, "interface").is_some();
                values(jail, step.parameter())
                    .filter(|text| text.contains('|') || has_interface)
                    .map(str::to_owned)
                    .collect()
            }
            Step::Fstab => values(jail, "mount.fstab")
                .flat_map(|file| self.fstab(file))
                .collect(),
            Step::Command if jail.name.is_empty() => {
                let words: Vec<&str> = values(jail, "command").collect();
                if words.is_empty() {
                    Vec::new()
                } else {
                    vec![words.join(" ")]
                }
            }
            Step::Prepare
            | Step::Mount
            | Step::Prestart
            | Step::Created
            | Step::Dataset
            | Step::Interface
            | Step::Start
            | Step::Command
            | Step::Poststart
            | Step::Prestop
            | Step::Stop
            | Step::Poststop
            | Step::Release => values(jail, step.parameter())
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
                .collect(),
        }
    }

    fn fstab(&self, file: &str) -> Vec<String> {
        let text = self.run.host.files.read_text(file).unwrap_or_default();
        text.lines()
            .map(|line| line.split('#').next().unwrap_or("").trim().to_owned())
            .filter(|line| !line.is_empty())
            .collect()
    }

    pub(super) fn start(self) -> bool {
        self.start_from(At::default())
    }

    /// A start from a step on; true also where it sleeps.
    fn start_from(mut self, from: At) -> bool {
        let Ok(settings) = self.run.settings(self.at) else {
            return false;
        };
        for (place, step) in START.iter().enumerate().skip(from.place) {
            let strings = self.strings(*step);
            let done = if place == from.place { from.number } else { 0 };
            for (number, text) in strings.iter().enumerate().skip(done) {
                let done = if *step == Step::Operation {
                    self.create(&settings)
                } else {
                    self.command(*step, text, false)
                };
                if !done {
                    self.take_back(place, number);
                    return false;
                }
                if self.asleep.is_some() {
                    return self.park(At { place, number }, true);
                }
            }
        }
        if self.temporary_persist
            && let Some(jid) = self.jid
        {
            let mut change = Settings::default();
            change.set("jid", Value::Number(jid.into()));
            change.set("persist", Value::Flag(false));
            // The jail was made a moment ago by us; a hook may have removed it, which is the same as not persisting.
            let _ = self
                .run
                .host
                .kernel
                .jail_set(self.run.context.jid, &change, false);
        }
        self.run.note_jid(self.at, self.jid);
        true
    }

    /// Goes back from the step that failed; hooks stay as they are (recordings `03`, `11`, `14`).
    fn take_back(&mut self, place: usize, number: usize) {
        for step in START[..=place].iter().rev() {
            if step.is_hook() {
                continue;
            }
            let mut strings = self.strings(*step);
            if *step == START[place] {
                strings.truncate(number);
            }
            for text in strings.iter().rev() {
                match step {
                    Step::Operation => self.remove(false),
                    Step::Prepare
                    | Step::Prestart
                    | Step::Created
                    | Step::Start
                    | Step::Command
                    | Step::Poststart
                    | Step::Prestop
                    | Step::Stop
                    | Step::Terminate
                    | Step::Poststop
                    | Step::Release
                    | Step::Dataset => {}
                    Step::Inet
                    | Step::Inet6
                    | Step::Mount
                    | Step::Fstab
                    | Step::Devfs
                    | Step::Fdescfs
                    | Step::Procfs
                    | Step::Interface => {
                        self.command(*step, text, true);
                    }
                }
            }
        }
    }

    pub(super) fn stop(mut self, jid: i32) -> bool {
        self.jid = Some(jid);
        self.stop_from(At::default())
    }

    /// A stop from a step on; true also where it sleeps.
    fn stop_from(mut self, from: At) -> bool {
        let mut clean = true;
        for (place, step) in STOP.iter().enumerate().skip(from.place) {
            let mut strings = self.strings(*step);
            if matches!(step, Step::Mount | Step::Fstab | Step::Inet | Step::Inet6) {
                strings.reverse();
            }
            let done = if place == from.place { from.number } else { 0 };
            for (number, text) in strings.iter().enumerate().skip(done) {
                match step {
                    Step::Operation => self.remove(true),
                    Step::Terminate => self.terminate(),
                    Step::Prepare
                    | Step::Inet
                    | Step::Inet6
                    | Step::Mount
                    | Step::Fstab
                    | Step::Devfs
                    | Step::Fdescfs
                    | Step::Procfs
                    | Step::Prestart
                    | Step::Created
                    | Step::Dataset
                    | Step::Interface
                    | Step::Start
                    | Step::Command
                    | Step::Poststart
                    | Step::Prestop
                    | Step::Stop
                    | Step::Poststop
                    | Step::Release => {
                        if !self.command(*step, text, true) {
                            clean = false;
                            if self.jid.is_some() {
                                return false;
                            }
                        }
                        if self.asleep.is_some() {
                            return self.park(At { place, number }, false);
                        }
                    }
                }
            }
        }
        clean
    }

    fn create(&mut self, settings: &Settings) -> bool {
        let (at, run) = (self.at, &mut *self.run);
        let named = !run.jails[at].name.is_empty();
        if let Some(path) = value(&run.jails[at], "path").map(str::to_owned) {
            if named && !path.starts_with('/') {
                run.warn(at, &format!("path {path}: not an absolute pathname"));
                return false;
            }
            let reason = if run.host.files.is_directory(&path) {
                None
            } else if run.host.files.exists(&path) {
                Some("Not a directory")
            } else {
                Some("No such file or directory")
            };
            if let Some(reason) = reason {
                run.warn(at, &format!("path {path}: {reason}"));
                return false;
            }
        }
        let jail = &run.jails[at];
        let runs_later = ["exec.start", "command", "exec.poststart"]
            .iter()
            .any(|name| {
                jail.parameters
                    .iter()
                    .any(|parameter| parameter.name == **name)
            });
        let mut settings = settings.clone();
        if runs_later && !is_set(jail, "persist") {
            settings.set("persist", Value::Flag(true));
            self.temporary_persist = true;
        }
        let result = run.host.kernel.jail_set(run.context.jid, &settings, true);
        if run.verbose > 0 {
            let words: Vec<String> = settings
                .0
                .iter()
                .map(|(name, value)| setting_text(name, value))
                .collect();
            run.note(at, &format!("jail_set(JAIL_CREATE) {}", words.join(" ")));
        }
        match result {
            Ok(jid) => {
                self.jid = Some(jid);
                if run.print_jid {
                    run.output.line(jid.to_string());
                }
                if run.verbose > 0 || (run.verbose == 0 && named) {
                    run.note(at, "created");
                }
                true
            }
            Err(error) => {
                run.warn(at, &error_text(&error));
                false
            }
        }
    }

    fn remove(&mut self, stopping: bool) {
        let Some(jid) = self.jid.take() else { return };
        self.run.host.kernel.jail_remove(jid);
        let notes = if stopping {
            self.run.notes_removal
        } else {
            !self.run.jails[self.at].name.is_empty()
        };
        if self.run.verbose > 0 || (self.run.verbose == 0 && notes) {
            self.run.note(self.at, "removed");
        }
    }

    /// term_procs: SIGTERM, then as long as `stop.timeout` says for those that do not heed it.
    fn terminate(&mut self) {
        let Some(jid) = self.jid else { return };
        let timeout = value(&self.run.jails[self.at], "stop.timeout")
            .and_then(|text| text.parse().ok())
            .unwrap_or(STOP_TIMEOUT_S);
        let pids: Vec<u32> = self
            .run
            .host
            .kernel
            .jail(jid)
            .map(|jail| jail.processes.iter().copied().collect())
            .unwrap_or_default();
        if pids.is_empty() || timeout == 0 {
            return;
        }
        if self.run.verbose > 0 {
            let list: Vec<String> = pids.iter().map(u32::to_string).collect();
            self.run
                .note(self.at, &format!("sent SIGTERM to: {}", list.join(" ")));
        }
        let persists = self
            .run
            .host
            .kernel
            .jail(jid)
            .is_some_and(|jail| jail.persist);
        for pid in pids {
            let heeds = self
                .run
                .host
                .kernel
                .processes
                .get(&pid)
                .is_some_and(|process| process.heeds_term);
            if heeds {
                self.run.host.kernel.process_exits(pid);
            }
        }
        let left = self
            .run
            .host
            .kernel
            .jail(jid)
            .is_some_and(|jail| !jail.dying && !jail.processes.is_empty());
        if left {
            self.run.host.advance(Duration::from_secs(timeout));
        }
        debug_assert!(
            !persists || self.run.host.kernel.jail(jid).is_some(),
            "a persistent jail outlives its processes"
        );
    }

    /// Runs one command of a step and judges its exit; false if it failed.
    fn command(&mut self, step: Step, text: &str, down: bool) -> bool {
        let Some(argv) = self.argv(step, text, down) else {
            return false;
        };
        if argv.is_empty() {
            return true;
        }
        let (argv, background) = argv_and_background(argv);
        let at = self.at;
        let line = argv.join(" ");
        let inside = step.runs_inside();
        let jail = &self.run.jails[at];
        let user = value(
            jail,
            if inside {
                "exec.jail_user"
            } else {
                "exec.system_user"
            },
        )
        .map(str::to_owned);
        let log = value(jail, "exec.consolelog")
            .filter(|_| inside)
            .map(str::to_owned);
        let timeout = value(jail, "exec.timeout")
            .and_then(|text| text.parse::<u64>().ok())
            .filter(|seconds| *seconds > 0);
        if self.run.verbose > 0 {
            let place = if inside { " in jail" } else { "" };
            let name = user
                .as_ref()
                .map(|user| format!(" as {user}"))
                .unwrap_or_default();
            self.run
                .note(at, &format!("run command{place}{name}: {line}"));
        }
        if !background && self.falls_asleep(&argv, inside, timeout) {
            return true;
        }
        let output = self.execute(&argv, inside, user.as_deref(), timeout);
        let status = output.status;
        match log {
            // A log that cannot be written loses its lines, as a full disk would.
            Some(log) => drop(
                self.run
                    .host
                    .files
                    .append(&log, output.stdout + &output.stderr),
            ),
            None => {
                self.run.output.stdout.push_str(&output.stdout);
                self.run.output.stderr.push_str(&output.stderr);
            }
        }
        if status == TIMED_OUT {
            self.run.warn(at, &format!("{line}: timed out"));
        } else if status != 0 && !background {
            self.run.warn(at, &format!("{line}: failed"));
        }
        status == 0 || background
    }

    fn execute(
        &mut self,
        argv: &[String],
        inside: bool,
        user: Option<&str>,
        timeout: Option<u64>,
    ) -> Output {
        let run = &mut *self.run;
        let name = run.jails[self.at].name.clone();
        let complaint = |text: String| {
            Output::failure(
                1,
                if name.is_empty() {
                    format!("jail: {text}")
                } else {
                    format!("jail: {name}: {text}")
                },
            )
        };
        if let Some(user) = user.filter(|user| !USERS.contains(user)) {
            return complaint(format!("{user}: no such user"));
        }
        let mut context = run.context.clone();
        if let Some(jid) = self.jid.filter(|_| inside) {
            context = context.inside(&run.host.kernel, jid);
            let fib = value(&run.jails[self.at], "exec.fib");
            if let Some(fib) = fib.and_then(|text| text.parse::<u32>().ok()) {
                if fib as usize >= run.host.kernel.vnet(run.context.stack).fibs.len() {
                    return complaint("setfib: Invalid argument".into());
                }
                context.fib = fib;
                if let Some(jail) = run.host.kernel.jails.all.get_mut(&jid) {
                    jail.fib = fib;
                }
            }
        } else {
            let jail = &run.jails[self.at];
            let mut export = |variable: &str, value: Option<String>| {
                context
                    .environment
                    .push((variable.to_owned(), value.unwrap_or_default()))
            };
            export("JID", self.jid.map(|jid| jid.to_string()));
            export("JNAME", value(jail, "name").map(str::to_owned));
            export("JPATH", value(jail, "path").map(str::to_owned));
        }
        context.deadline =
            timeout.map(|seconds| run.host.kernel.now + Duration::from_secs(seconds));
        let output = run_in(run.host, &context, argv, "");
        if output.status == NO_PROGRAM {
            return complaint(format!("exec {}: No such file or directory", argv[0]));
        }
        output
    }
}

fn setting_text(name: &str, value: &Value) -> String {
    let text = match value {
        Value::Flag(true) => return name.to_owned(),
        Value::Flag(false) => "false".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Sys(sys) => sys.text().to_owned(),
        Value::Inet(list) => list
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(","),
        Value::Inet6(list) => list
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(","),
    };
    format!("{name}={}", quoted(&text))
}
