//! jail(8): which jails are meant and what is to become of them (usr.sbin/jail/jail.c, state.c). The steps of starting and stopping
//! stand in `steps`.
//!
//! Jails are worked on one after the other; the program runs several at a time, which shows only in the order of its lines.

mod steps;

use std::collections::BTreeSet;

use super::Context;
use super::jailconf::{self, ConfiguredJail, Parameter};
use super::jailparam;
use crate::emulator::Emulator;
use crate::kernel::jail::{JailError, Settings, Value};
use crate::output::Output;
use steps::Work;

/// What was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Operation {
    start: bool,
    set: bool,
    stop: bool,
    cleanup: bool,
}

/// The options before the operands.
#[derive(Default)]
struct Options {
    operation: Operation,
    file: Option<String>,
    force: bool,
    list_separator: Option<String>,
    verbose: i8,
    print_jid: bool,
    /// Parameters from `-n`, `-s`, `-u`, `-U`, `-l`.
    extra: Vec<(String, Option<String>)>,
}

fn usage() -> Output {
    Output::failure(
        1,
        "usage: jail [-dhilqv] [-J jid_file] [-u username] [-U username] -[cmr] param=value ... [command=command ...]\n       jail [-dqv] [-f file] -[cmr] [jail]\n       jail [-qv] [-f file] -[rR] ['*' | jail ...]\n       jail [-dhilqv] [-J jid_file] [-u username] [-U username] [-n jailname] [-s securelevel] path hostname [ip[,...]] command ...",
    )
}

fn parse(arguments: &[String]) -> Result<(Options, Vec<String>), Output> {
    let mut options = Options::default();
    let mut words = arguments;
    while let Some((word, rest)) = words.split_first() {
        let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
            break;
        };
        words = rest;
        let mut letters = letters.chars();
        while let Some(letter) = letters.next() {
            let mut value = || -> Result<String, Output> {
                let attached: String = letters.by_ref().collect();
                if !attached.is_empty() {
                    return Ok(attached);
                }
                let (value, rest) = words.split_first().ok_or_else(usage)?;
                words = rest;
                Ok(value.clone())
            };
            match letter {
                'c' => options.operation.start = true,
                'C' => options.operation.cleanup = true,
                'm' => options.operation.set = true,
                'r' => options.operation.stop = true,
                'R' => (options.operation.stop, options.force) = (true, true),
                'e' => options.list_separator = Some(value()?),
                'f' => options.file = Some(value()?),
                'i' => (options.print_jid, options.verbose) = (true, -1),
                'q' => options.verbose = -1,
                'v' => options.verbose = 1,
                'd' | 'h' => {}
                'l' => options.extra.push(("exec.clean".into(), None)),
                'n' => options.extra.push(("name".into(), Some(value()?))),
                's' => options.extra.push(("securelevel".into(), Some(value()?))),
                'u' | 'U' => options
                    .extra
                    .push(("exec.jail_user".into(), Some(value()?))),
                'J' | 'p' => {
                    value()?;
                }
                _ => return Err(usage()),
            }
        }
    }
    Ok((options, words.to_vec()))
}

/// The file jail(8) reads when none is named.
const CONF_FILE: &str = "/etc/jail.conf";

fn load(host: &Emulator, options: &Options, stdin: &str) -> Result<Vec<ConfiguredJail>, Output> {
    let file = options.file.as_deref().unwrap_or(CONF_FILE);
    let text = match file {
        "-" => stdin.to_owned(),
        _ => host
            .files
            .read_text(file)
            .map_err(|error| Output::failure(1, format!("jail: {file}: {error}")))?,
    };
    jailconf::parse(file, &text).map_err(|line| Output::failure(1, line))
}

/// Runs jail with the words after its name.
pub(crate) fn run(
    host: &mut Emulator,
    context: &Context,
    arguments: &[String],
    stdin: &str,
) -> Output {
    let (options, operands) = match parse(arguments) {
        Ok(parsed) => parsed,
        Err(output) => return output,
    };
    let operation = options.operation;
    if let Some(separator) = &options.list_separator {
        return match load(host, &options, stdin) {
            Ok(jails) => list(&jails, separator),
            Err(output) => output,
        };
    }
    if operation == Operation::default() {
        return old_style(host, context, &options, &operands);
    }
    if operation.stop && !operation.start && !operation.set {
        return stop(host, context, &options, &operands, stdin);
    }
    if operands.len() > 1
        || operands.first().is_some_and(|word| word.contains('='))
        || !options.extra.is_empty()
    {
        return single(host, context, &options, &operands);
    }
    let configured = match load(host, &options, stdin) {
        Ok(jails) => jails,
        Err(output) => return output,
    };
    configured_jails(
        host,
        context,
        &options,
        configured,
        operands.first().map(String::as_str),
    )
}

/// `jail path hostname ip command …`
fn old_style(
    host: &mut Emulator,
    context: &Context,
    options: &Options,
    operands: &[String],
) -> Output {
    let [path, hostname, addresses, command @ ..] = operands else {
        return usage();
    };
    if command.is_empty() || !path.starts_with('/') {
        return usage();
    }
    let mut parameters = extra_parameters(options);
    let mut push = |name: &str, values: Vec<String>| {
        parameters.push(Parameter {
            name: name.into(),
            values,
        })
    };
    push("path", vec![path.clone()]);
    push("host.hostname", vec![hostname.clone()]);
    let (v6, v4): (Vec<String>, Vec<String>) = addresses
        .split(',')
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .partition(|text| text.contains(':'));
    if !v4.is_empty() {
        push("ip4.addr", v4);
    }
    if !v6.is_empty() {
        push("ip6.addr", v6);
    }
    push("command", command.to_vec());
    let operation = Operation {
        start: true,
        ..Operation::default()
    };
    let mut run = Run::new(
        host,
        context,
        options,
        vec![ConfiguredJail {
            name: String::new(),
            parameters,
        }],
    );
    run.work(0, operation, false);
    run.finish()
}

fn extra_parameters(options: &Options) -> Vec<Parameter> {
    options
        .extra
        .iter()
        .map(|(name, value)| Parameter {
            name: name.clone(),
            values: value.iter().cloned().collect(),
        })
        .collect()
}

/// Parameters whose value on the command line is a comma-separated list.
const LIST_PARAMETERS: &[&str] = &["ip4.addr", "ip6.addr", "vnet.interface", "zfs.dataset"];

/// One jail, all of it on the command line.
fn single(
    host: &mut Emulator,
    context: &Context,
    options: &Options,
    operands: &[String],
) -> Output {
    if options.force || options.operation.cleanup {
        return usage();
    }
    let mut parameters = extra_parameters(options);
    let mut words = operands.iter();
    while let Some(word) = words.next() {
        if word == "command" || word.starts_with("command=") {
            let first = word.strip_prefix("command=").map(str::to_owned);
            let values = first.into_iter().chain(words.by_ref().cloned()).collect();
            parameters.push(Parameter {
                name: "command".into(),
                values,
            });
            break;
        }
        let (name, value) = word
            .split_once('=')
            .map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
        let (name, appends) = name
            .strip_suffix('+')
            .map_or((name, false), |name| (name, true));
        let values: Vec<String> = match value {
            None => Vec::new(),
            Some(list) if LIST_PARAMETERS.contains(&name) => {
                list.split(',').map(str::to_owned).collect()
            }
            Some(value) => vec![value.to_owned()],
        };
        match parameters
            .iter_mut()
            .find(|parameter| parameter.name == name)
        {
            Some(parameter) if appends => parameter.values.extend(values),
            Some(parameter) => parameter.values = values,
            None => parameters.push(Parameter {
                name: name.to_owned(),
                values,
            }),
        }
    }
    let mut run = Run::new(
        host,
        context,
        options,
        vec![ConfiguredJail {
            name: String::new(),
            parameters,
        }],
    );
    run.work(0, options.operation, false);
    run.finish()
}

fn configured_jails(
    host: &mut Emulator,
    context: &Context,
    options: &Options,
    configured: Vec<ConfiguredJail>,
    target: Option<&str>,
) -> Output {
    let mut run = Run::new(host, context, options, configured);
    if let Err(line) = run.check_dependencies() {
        run.output.fail(1, line);
        return run.finish();
    }
    match target {
        None | Some("*") => {
            (0..run.jails.len()).for_each(|at| run.work(at, options.operation, true))
        }
        Some(pattern) if jailconf::is_wild(pattern) => {
            for at in 0..run.jails.len() {
                if jailconf::matches_wild(&run.jails[at].name, pattern) {
                    run.work(at, options.operation, true);
                }
            }
        }
        Some(name) => match run.find(name) {
            Some(at) => run.work(at, options.operation, false),
            None => run.output.fail(1, format!("jail: \"{name}\" not found")),
        },
    }
    run.finish()
}

/// `-r` and `-R`: by the file if there is one, else what runs.
fn stop(
    host: &mut Emulator,
    context: &Context,
    options: &Options,
    operands: &[String],
    stdin: &str,
) -> Output {
    let Some(first) = operands.first() else {
        return usage();
    };
    if !options.force && operands.iter().any(|word| word.contains('=')) {
        return usage();
    }
    let file = options.file.as_deref().unwrap_or(CONF_FILE);
    let by_file = !options.force && (file == "-" || host.files.exists(file));
    let configured = if by_file {
        match load(host, options, stdin) {
            Ok(jails) => jails,
            Err(output) => return output,
        }
    } else {
        Vec::new()
    };
    let notes = by_file || operands.len() > 1 || jailconf::is_wild(first);
    let mut run = Run::new(host, context, options, configured);
    run.notes_removal = notes;
    let mut chosen: Vec<(usize, bool)> = Vec::new();
    for target in operands {
        run.choose(target, by_file, options.force, &mut chosen);
    }
    // Stopping takes the last that became ready first (next_jail in usr.sbin/jail/state.c, recording `08`).
    for (at, wild) in chosen.into_iter().rev() {
        run.work(at, options.operation, wild);
    }
    run.finish()
}

/// `-e`: one line per jail.
fn list(jails: &[ConfiguredJail], separator: &str) -> Output {
    let mut output = Output::success();
    for jail in jails {
        let words: Vec<String> = jail
            .parameters
            .iter()
            .filter(|parameter| parameter.name != "jid")
            .map(print_parameter)
            .collect();
        output.line(words.join(separator));
    }
    output
}

fn print_parameter(parameter: &Parameter) -> String {
    if parameter.values.is_empty() {
        return parameter.name.clone();
    }
    let values: Vec<String> = parameter.values.iter().map(|value| quoted(value)).collect();
    format!("{}={}", parameter.name, values.join(","))
}

/// quoted_print of usr.sbin/jail/jail.c.
fn quoted(text: &str) -> String {
    let quote = if text.is_empty() || text.contains('\'') {
        Some('"')
    } else if text.contains('"') {
        Some('\'')
    } else if text.contains([' ', '\t']) {
        Some('"')
    } else {
        None
    };
    let mut out = String::new();
    out.extend(quote);
    for c in text.chars() {
        if c == '\\' || Some(c) == quote {
            out.push('\\');
        }
        out.push(c);
    }
    out.extend(quote);
    out
}

/// One run of the program over its jails.
struct Run<'a> {
    host: &'a mut Emulator,
    context: &'a Context,
    jails: Vec<ConfiguredJail>,
    verbose: i8,
    print_jid: bool,
    notes_removal: bool,
    /// Jails that are being or have been worked on, against dependency loops and repetition.
    started: BTreeSet<usize>,
    stopped: BTreeSet<usize>,
    output: Output,
}

impl<'a> Run<'a> {
    fn new(
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
            started: BTreeSet::new(),
            stopped: BTreeSet::new(),
            output: Output::success(),
        }
    }

    fn finish(self) -> Output {
        self.output
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.jails.iter().position(|jail| jail.name == name)
    }

    fn check_dependencies(&self) -> Result<(), String> {
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
    fn choose(
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
    fn running(&self, at: usize) -> Option<i32> {
        let jail = &self.jails[at];
        let which = value(jail, "jid").or_else(|| value(jail, "name"))?;
        self.host
            .kernel
            .find_jail(self.context.jid, which)
            .map(|jail| jail.jid)
    }

    fn warn(&mut self, at: usize, text: &str) {
        let name = &self.jails[at].name;
        let line = if name.is_empty() {
            format!("jail: {text}")
        } else {
            format!("jail: {name}: {text}")
        };
        self.output.fail(1, line);
    }

    fn note(&mut self, at: usize, text: &str) {
        let name = &self.jails[at].name;
        let line = if name.is_empty() {
            text.to_owned()
        } else {
            format!("{name}: {text}")
        };
        self.output.line(line);
    }

    /// jail_quoted_warnx: a single jail has no name of its own, so its jid or name parameter stands in.
    fn warn_quoted(&mut self, at: usize, text: &str, without: &str) {
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
    fn work(&mut self, at: usize, operation: Operation, wild: bool) {
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
    fn start(&mut self, at: usize, wild: bool, depended_on: bool) -> bool {
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
    fn stop(&mut self, at: usize, wild: bool) -> bool {
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
    fn unchangeable(&mut self, at: usize, running: Option<i32>) -> Option<String> {
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
    fn update(&mut self, at: usize, running: Option<i32>) {
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
    fn settings(&mut self, at: usize) -> Result<Settings, ()> {
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

/// Parameters the kernel takes at creation only (CTLFLAG_RDTUN).
const UNCHANGEABLE: &[&str] = &["ip4", "ip6", "osreldate", "osrelease", "path", "vnet"];

/// Parameters that are jail(8)'s own.
const INTERNAL: &[&str] = &[
    "allow.dying",
    "command",
    "depend",
    "exec.clean",
    "exec.consolelog",
    "exec.created",
    "exec.fib",
    "exec.jail_user",
    "exec.poststart",
    "exec.poststop",
    "exec.prepare",
    "exec.prestart",
    "exec.prestop",
    "exec.release",
    "exec.start",
    "exec.stop",
    "exec.system_jail_user",
    "exec.system_user",
    "exec.timeout",
    "interface",
    "ip_hostname",
    "mount",
    "mount.devfs",
    "mount.fdescfs",
    "mount.fstab",
    "mount.procfs",
    "stop.timeout",
    "vnet.interface",
    "zfs.dataset",
];

/// `lo1|192.0.2.3/32 opts` without interface, prefix and options.
fn bare_address(text: &str) -> &str {
    let text = text.split_once('|').map_or(text, |(_, address)| address);
    text.split(['/', ' ']).next().unwrap_or(text)
}

fn running_jail(name: &str) -> ConfiguredJail {
    ConfiguredJail {
        name: name.to_owned(),
        parameters: vec![Parameter {
            name: "name".into(),
            values: vec![name.to_owned()],
        }],
    }
}

fn values<'a>(jail: &'a ConfiguredJail, name: &str) -> impl Iterator<Item = &'a str> {
    jail.parameters
        .iter()
        .filter(move |parameter| parameter.name == name)
        .flat_map(|parameter| parameter.values.iter().map(String::as_str))
        .collect::<Vec<_>>()
        .into_iter()
}

fn value<'a>(jail: &'a ConfiguredJail, name: &str) -> Option<&'a str> {
    values(jail, name).last()
}

/// Whether a boolean parameter is set: bare, or with a value that is not false.
fn is_set(jail: &ConfiguredJail, name: &str) -> bool {
    jail.parameters
        .iter()
        .find(|parameter| parameter.name == name)
        .is_some_and(|parameter| match parameter.values.last() {
            None => true,
            Some(value) => {
                value.eq_ignore_ascii_case("true")
                    || value.parse::<i64>().is_ok_and(|number| number != 0)
            }
        })
}

/// libjail's message: the kernel's sentence, or errno's behind the call's name.
fn error_text(error: &JailError) -> String {
    match error {
        JailError::Message(text) => text.clone(),
        JailError::Errno(errno) => format!("jail_set: {}", errno.text()),
    }
}
