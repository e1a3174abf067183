//! sysrc(8) `[-s SERVICE] -n NAME …`: values of rc.conf(5) (usr.sbin/sysrc/sysrc), which sh(1) reads: a comment behind a value is none of it, and nothing is told of a file that sh does not take.

use crate::emulator::Emulator;
use crate::output::Output;

/// The file of a host's own values; the last line counts.
const RC_CONF: &str = "/etc/rc.conf";

/// Where a service has files of its own (`load_rc_config`, libexec/rc/rc.subr).
const SERVICES: [&str; 2] = ["/etc/rc.conf.d", "/usr/local/etc/rc.conf.d"];

/// What libexec/rc/rc.conf has of the names that are asked for here.
const DEFAULTS: &[(&str, &str)] = &[
    ("pf_enable", "NO"),
    ("pf_rules", "/etc/pf.conf"),
    ("pf_program", "/sbin/pfctl"),
    ("pf_flags", ""),
];

/// Runs sysrc with the words after its name.
pub(super) fn run(host: &Emulator, arguments: &[String]) -> Output {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (service, names) = match words[..] {
        ["-s", service, "-n", ref names @ ..] => (Some(service), names),
        ["-n", ref names @ ..] => (None, names),
        _ => (None, &[][..]),
    };
    if names.is_empty() || names.iter().any(|name| name.contains('=')) {
        return Output::failure(
            1,
            "sysrc: the emulator has `sysrc [-s service] -n name …` only",
        );
    }
    let own = service.into_iter().flat_map(|service| {
        let folders = SERVICES.iter();
        folders.map(move |folder| format!("{folder}/{service}"))
    });
    let mut lines = Vec::new();
    for path in std::iter::once(RC_CONF.to_owned()).chain(own) {
        let text = host.files.read_text(&path).unwrap_or_default();
        for (line, number) in text.lines().zip(1..) {
            match assignment(line) {
                Ok(None) => {}
                Ok(Some(set)) => lines.push(set),
                Err(()) => {
                    let error = format!("{path}: {number}: Syntax error");
                    return Output::failure(1, &error);
                }
            }
        }
    }
    let mut output = Output::default();
    for name in names {
        let own = lines.iter().rev().find(|(known, _)| known == name);
        let default = DEFAULTS.iter().find(|(known, _)| known == name);
        match own
            .map(|(_, value)| value.as_str())
            .or(default.map(|(_, value)| *value))
        {
            Some(value) => output.line(value),
            None => {
                output
                    .stderr
                    .push_str(&format!("sysrc: unknown variable '{name}'\n"));
                output.status = 1;
            }
        }
    }
    output
}

/// `name="value" # comment`; none for what sets nothing.
fn assignment(line: &str) -> Result<Option<(String, String)>, ()> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (name, value) = line.split_once('=').ok_or(())?;
    let value = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => value[1..].split_once(quote).ok_or(())?.0,
        _ => value.split_whitespace().next().unwrap_or_default(),
    };
    Ok(Some((name.to_owned(), value.to_owned())))
}
