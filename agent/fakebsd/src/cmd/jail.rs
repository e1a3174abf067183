//! jail(8): its command line, and which jails are meant (usr.sbin/jail/jail.c). What becomes of them stands in `run`, the steps of
//! starting and stopping in `steps`.
//!
//! Jails are worked on one after the other; the program runs several at a time, which shows only in the order of its lines.

mod run;
mod steps;

pub(crate) use steps::Parked;

use super::Context;
use super::jailconf::{self, Configuration, ConfiguredJail, Parameter};
use crate::emulator::Emulator;
use crate::kernel::jail::JailError;
use crate::output::Output;
use run::Run;

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
    jid_file: Option<String>,
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
                'J' => options.jid_file = Some(value()?),
                'p' => {
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
    let configuration = read(host, options, stdin)?;
    if !configuration.warnings.is_empty() {
        return Err(Output::failure(1, configuration.warnings.join("\n")));
    }
    Ok(configuration.jails)
}

/// The file, with what is said of single jails.
fn read(host: &Emulator, options: &Options, stdin: &str) -> Result<Configuration, Output> {
    let file = options.file.as_deref().unwrap_or(CONF_FILE);
    let text = match file {
        "-" => stdin.to_owned(),
        _ => host
            .files
            .read_text(file)
            .map_err(|error| Output::failure(1, format!("jail: {file}: {error}")))?,
    };
    let configuration = jailconf::parse(&host.files, file, &text);
    let configuration = configuration.map_err(|lines| Output::failure(1, lines))?;
    if configuration.crashes {
        return Err(Output::failure(139, "Segmentation fault (core dumped)"));
    }
    Ok(configuration)
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
        if operation != Operation::default() || !operands.is_empty() {
            return usage();
        }
        return match read(host, &options, stdin) {
            Ok(configuration) => list(&configuration, separator),
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
    if let Some(line) = target.and_then(|name| run.lacks(name)) {
        run.output.fail(1, line);
        return run.finish();
    }
    // Opened for writing once the jails are known, before anything is done for them (main, usr.sbin/jail/jail.c).
    if let Some(file) = &options.jid_file
        && let Err(error) = run.host.files.write(file, "")
    {
        run.output.fail(1, format!("jail: open {file}: {error}"));
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
        Some(name) => {
            if let Some(at) = run.find(name) {
                run.work(at, options.operation, false);
            }
        }
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
fn list(configuration: &Configuration, separator: &str) -> Output {
    let mut output = Output::success();
    if !configuration.warnings.is_empty() {
        output.fail(0, configuration.warnings.join("\n"));
    }
    for jail in &configuration.jails {
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

/// Parameters the kernel takes at creation only (CTLFLAG_RDTUN).
const UNCHANGEABLE: &[&str] = &["ip4", "ip6", "osreldate", "osrelease", "path", "vnet"];

/// Parameters that are jail(8)'s own.
pub(super) const INTERNAL: &[&str] = &[
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
