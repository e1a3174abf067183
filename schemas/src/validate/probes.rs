//! Rules for probes.

use crate::jail::{JailSpec, ParameterValue, Probe, seconds};
use crate::path::FieldPath;
use crate::structural::cut;
use crate::validate::exactly_one;
use crate::violation::{Cause, Findings};

/// The longest time between two probes, and before the first: beyond a day a probe says nothing.
const EVERY_SECONDS_MAX: u64 = 86_400;

/// The longest that a probe may take: it holds one of the places that a host has for all of them.
const TIMEOUT_SECONDS_MAX: u64 = 60;

/// The most failures or successes in a row that a probe may wait for.
const COUNT_MAX: u32 = 1_000;

/// The longest name of a user, in octets (MAXLOGNAME, sys/sys/param.h).
const USER_BYTES_MAX: usize = 32;

pub(super) fn validate(spec: &JailSpec, path: &FieldPath, findings: &mut Findings) {
    let Some(probes) = &spec.probes else {
        return;
    };
    for (name, probe) in probes.named() {
        let at = path.field(name);
        validate_probe(probe, &at, findings);
        let kind = [("tcp", probe.tcp.is_some()), ("http", probe.http.is_some())];
        let asked = kind.into_iter().find(|(_, asked)| *asked);
        if let Some((kind, _)) = asked.filter(|_| !has_addresses(spec)) {
            findings.add(
                &at.field(kind),
                "the jail has no network, so that nothing can be connected to",
                "attach it to one (spec.networks), or probe it by a command (exec)",
            );
        }
    }
    if let Some(successes) = probes.live.as_ref().and_then(|live| live.successes)
        && successes != 1
    {
        findings.add(
            &path.field("live").field("successes"),
            format!("{successes} successes in a row are never waited for: a jail that is not alive is restarted"),
            "leave it out",
        );
    }
}

/// Whether it has an address of its own, or those of the host.
fn has_addresses(spec: &JailSpec) -> bool {
    let inherits = ["ip4", "ip6"]
        .into_iter()
        .any(|name| spec.parameters.get(name) == Some(&ParameterValue::Text("inherit".to_owned())));
    inherits || !spec.networks.is_empty()
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
            findings.add_as(
                Cause::Required,
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
    if let Some(user) = exec_user(probe)
        && !is_user(user)
    {
        findings.add(
            &path.field("exec").field("user"),
            format!("`{}` is no name of a user", cut(user)),
            "name a user of the jail's passwd(5), or leave it out for root",
        );
    }
    for (name, said, least, most, example) in [
        (
            "delay",
            &probe.delay,
            0,
            EVERY_SECONDS_MAX,
            "from 0s to 24h, as in 30s or 2m",
        ),
        (
            "every",
            &probe.every,
            1,
            EVERY_SECONDS_MAX,
            "from 1s to 24h, as in 5s, 2m or 1h",
        ),
        (
            "timeout",
            &probe.timeout,
            1,
            TIMEOUT_SECONDS_MAX,
            "from 1s to 60s, as in 2s",
        ),
    ] {
        if let Some(said) = said
            && seconds(said).is_none_or(|seconds| seconds < least || seconds > most)
        {
            findings.add(
                &path.field(name),
                format!("`{}` is not such a time", cut(said)),
                format!("a number and a unit {example}"),
            );
        }
    }
    for (name, said) in [("failures", probe.failures), ("successes", probe.successes)] {
        if let Some(count) = said
            && (count == 0 || count > COUNT_MAX)
        {
            findings.add(
                &path.field(name),
                format!("{count} in a row cannot be waited for"),
                format!("1 to {COUNT_MAX}"),
            );
        }
    }
}

fn exec_user(probe: &Probe) -> Option<&str> {
    probe.exec.as_ref()?.user.as_deref()
}

fn is_user(user: &str) -> bool {
    !user.is_empty()
        && user.len() <= USER_BYTES_MAX
        && !user.starts_with('-')
        && user
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}
