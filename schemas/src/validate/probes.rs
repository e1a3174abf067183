//! Rules for probes.

use crate::jail::{Probe, Probes};
use crate::path::FieldPath;
use crate::structural::cut;
use crate::validate::exactly_one;
use crate::violation::Findings;

/// The longest time between two probes: beyond a day a probe says nothing.
const EVERY_SECONDS_MAX: u64 = 86_400;

pub(super) fn validate(probes: &Probes, path: &FieldPath, findings: &mut Findings) {
    for (name, probe) in [("ready", &probes.ready), ("live", &probes.live)] {
        if let Some(probe) = probe {
            validate_probe(probe, &path.field(name), findings);
        }
    }
}

fn validate_probe(probe: &Probe, path: &FieldPath, findings: &mut Findings) {
    exactly_one(
        path,
        &[
            ("tcp", probe.tcp.is_some()),
            ("http", probe.http.is_some()),
            ("exec", probe.exec.is_some()),
        ],
        findings,
    );
    let tcp = probe.tcp.as_ref().map(|tcp| ("tcp", tcp.port));
    let http = probe.http.as_ref().map(|http| ("http", http.port));
    for (name, port) in [tcp, http].into_iter().flatten() {
        if port == 0 {
            findings.add(
                &path.field(name).field("port"),
                "0 is not a port",
                "1 to 65535",
            );
        }
    }
    if let Some(request) = probe.http.as_ref().and_then(|http| http.path.as_ref())
        && (!request.starts_with('/')
            || request.chars().any(|c| c.is_control() || c.is_whitespace()))
    {
        let message = format!("`{}` is not the path of a request", cut(request));
        findings.add(
            &path.field("http").field("path"),
            message,
            "begin it with `/`, without white space",
        );
    }
    if let Some(exec) = &probe.exec {
        let at = path.field("exec").field("command");
        if exec.command.is_empty() {
            findings.add(
                &at,
                "no command is given",
                "give the program and its arguments",
            );
        }
        for (index, word) in exec.command.iter().enumerate() {
            if word.contains('\0') {
                findings.add(&at.index(index), "a word cannot contain NUL", "remove it");
            }
        }
    }
    if let Some(every) = &probe.every
        && seconds(every).is_none_or(|seconds| seconds == 0 || seconds > EVERY_SECONDS_MAX)
    {
        let message = format!("`{}` is not a time between probes", cut(every));
        findings.add(
            &path.field("every"),
            message,
            "a number and a unit from 1s to 24h, as in 5s, 2m or 1h",
        );
    }
    if probe.failures == Some(0) {
        findings.add(
            &path.field("failures"),
            "0 failures would always be reached",
            "1 or more",
        );
    }
}

/// The seconds of `5s`, `2m` or `1h`.
fn seconds(text: &str) -> Option<u64> {
    let unit = match text.chars().next_back()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return None,
    };
    let number = &text[..text.len() - 1];
    if number.starts_with('+') {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(unit)
}
