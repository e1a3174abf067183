//! Rules for resource limits in rctl(8)'s words: `resource:action=amount[/per]`, the subject being the jail.
//!
//! The tables are those of sys/kern/kern_rctl.c (`resourcenames`, `actionnames`), the refusals those of its
//! `rctl_rule_add`, except for `memoryuse:deny`, which the kernel takes and does not enforce.

use std::collections::BTreeMap;

use crate::path::FieldPath;
use crate::structural::cut;
use crate::suggest;
use crate::violation::{Cause, Findings, Refusal};

#[cfg(test)]
mod tests;

/// A resource, and whether going beyond an amount can be denied.
const RESOURCES: [(&str, bool); 25] = [
    ("cputime", false),
    ("datasize", true),
    ("stacksize", true),
    ("coredumpsize", true),
    ("memoryuse", false),
    ("memorylocked", true),
    ("maxproc", true),
    ("openfiles", true),
    ("vmemoryuse", true),
    ("pseudoterminals", true),
    ("swapuse", true),
    ("nthr", true),
    ("msgqqueued", true),
    ("msgqsize", true),
    ("nmsgq", true),
    ("nsem", true),
    ("nsemop", true),
    ("nshm", true),
    ("shmsize", true),
    ("wallclock", false),
    ("pcpu", true),
    ("readbps", false),
    ("writebps", false),
    ("readiops", false),
    ("writeiops", false),
];

const ACTIONS: [&str; 35] = [
    "deny",
    "log",
    "devctl",
    "throttle",
    "sighup",
    "sigint",
    "sigquit",
    "sigill",
    "sigtrap",
    "sigabrt",
    "sigemt",
    "sigfpe",
    "sigkill",
    "sigbus",
    "sigsegv",
    "sigsys",
    "sigpipe",
    "sigalrm",
    "sigterm",
    "sigurg",
    "sigstop",
    "sigtstp",
    "sigchld",
    "sigttin",
    "sigttou",
    "sigio",
    "sigxcpu",
    "sigxfsz",
    "sigvtalrm",
    "sigprof",
    "sigwinch",
    "siginfo",
    "sigusr1",
    "sigusr2",
    "sigthr",
];

const THROTTLED: [&str; 4] = ["readbps", "writebps", "readiops", "writeiops"];

/// Resources that are not accounted for each process (`RACCT_SLOPPY`, sys/kern/kern_racct.c).
const NOT_PER_PROCESS: [&str; 8] = [
    "pseudoterminals",
    "swapuse",
    "msgqqueued",
    "msgqsize",
    "nmsgq",
    "nsem",
    "nshm",
    "shmsize",
];

/// Resources that the kernel counts in millionths (`RACCT_IN_MILLIONS`, sys/kern/kern_racct.c).
const IN_MILLIONS: [&str; 3] = ["cputime", "wallclock", "pcpu"];

/// What is never given back, and kept by a jail's name while rules are about it (`prison_racct_find`, sys/kern/kern_jail.c).
const ADDED_UP: [&str; 2] = ["cputime", "wallclock"];

const FORM: &str = "write it as resource:action=amount, as in vmemoryuse:deny=512M";

pub(super) fn validate(limits: &[String], path: &FieldPath, findings: &mut Findings) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, limit) in limits.iter().enumerate() {
        let at = path.index(index);
        match parse(limit) {
            Ok(()) => {
                // Of two that deny the kernel keeps the one that was added last (`rctl_rule_add`, sys/kern/kern_rctl.c).
                let subject = limit.split('=').next().unwrap_or_default();
                if let Some(first) = seen.get(subject) {
                    let message =
                        format!("`{subject}` is limited by {} already", path.index(*first));
                    findings.add_as(Cause::Duplicate, &at, message, "keep one of the two");
                } else {
                    seen.insert(subject, index);
                }
            }
            Err(refusal) => findings.check(&at, Err(refusal)),
        }
    }
}

fn parse(limit: &str) -> Result<(), Refusal> {
    let Some((resource, rest)) = limit.split_once(':') else {
        return Err(Refusal::new(
            format!("`{}` is not a limit", cut(limit)),
            FORM,
        ));
    };
    if resource == "jail" || resource == "user" || resource == "process" || resource == "loginclass"
    {
        let message = format!(
            "`{}` names a subject, but the subject is always this jail",
            cut(limit)
        );
        return Err(Refusal::new(message, FORM));
    }
    let Some((action, amount)) = rest.split_once('=') else {
        return Err(Refusal::new(
            format!("`{}` has no amount", cut(limit)),
            FORM,
        ));
    };
    let names: Vec<&str> = RESOURCES.iter().map(|(name, _)| *name).collect();
    let Some((_, deniable)) = RESOURCES.iter().find(|(name, _)| *name == resource) else {
        let help = suggest::help(resource, &names, "resources");
        return Err(Refusal::new(
            format!("`{}` is not a resource of rctl(8)", cut(resource)),
            help,
        )
        .of(Cause::NotSupported));
    };
    if ADDED_UP.contains(&resource) {
        return Err(Refusal::new(
            format!(
                "{resource} adds up over the jail's whole life and further: the kernel keeps the sum of a jail's name as long as a rule is about it, so a restarted jail would be beyond its limit from the start"
            ),
            "use pcpu, which is a rate",
        ));
    }
    if !ACTIONS.contains(&action) {
        let help = suggest::help(
            action,
            &["deny", "log", "devctl", "throttle", "sigterm", "sigkill"],
            "deny, log, devctl, throttle, or a signal such as sigkill",
        );
        return Err(Refusal::new(
            format!("`{}` is not an action of rctl(8)", cut(action)),
            help,
        )
        .of(Cause::NotSupported));
    }
    if action == "deny" && resource == "memoryuse" {
        let message = "`memoryuse:deny` is accepted by the kernel and does nothing: resident memory cannot be denied";
        return Err(Refusal::new(
            message,
            "use vmemoryuse:deny, or memoryuse:sigkill",
        ));
    }
    if action == "deny" && !deniable {
        return Err(Refusal::new(
            format!("{resource} cannot be denied"),
            "use log, devctl, a signal, or throttle where it is a rate",
        ));
    }
    if action == "throttle" && !THROTTLED.contains(&resource) {
        return Err(Refusal::new(
            format!("{resource} cannot be throttled"),
            format!("only {} can", THROTTLED.join(", ")),
        ));
    }
    let (amount, per) = match amount.split_once('/') {
        Some((amount, per)) => (amount, Some(per)),
        None => (amount, None),
    };
    let number = self::amount(amount)
        .filter(|number| !IN_MILLIONS.contains(&resource) || *number <= i64::MAX / 1_000_000);
    if number.is_none() {
        let help = "a whole number, with k, m, g or t behind it for 1024 and its powers";
        return Err(Refusal::new(
            format!("`{}` is not an amount", cut(amount)),
            help,
        ));
    }
    match per {
        Some("process") if NOT_PER_PROCESS.contains(&resource) => Err(Refusal::new(
            format!("{resource} is not counted for each process"),
            "leave `/process` out",
        )),
        None | Some("jail" | "user" | "loginclass" | "process") => Ok(()),
        Some(per) => {
            let help = "jail, user, loginclass or process";
            Err(Refusal::new(
                format!("`{}` is not what an amount can count for", cut(per)),
                help,
            )
            .of(Cause::NotSupported))
        }
    }
}

/// A number with a suffix of expand_number(3): k, m, g, t, p, e, and `b` after it if wanted.
fn amount(text: &str) -> Option<i64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let suffix = text[digits.len()..].to_ascii_lowercase();
    let shift = match suffix.as_str() {
        "" | "b" => 0,
        "k" | "kb" => 10,
        "m" | "mb" => 20,
        "g" | "gb" => 30,
        "t" | "tb" => 40,
        "p" | "pb" => 50,
        "e" | "eb" => 60,
        _ => return None,
    };
    let whole = digits.chars().all(|c| c.is_ascii_digit());
    let number: i64 = whole.then(|| digits.parse().ok()).flatten()?;
    (number <= i64::MAX >> shift).then(|| number << shift)
}

/// A limit as rctl(8) prints it behind its subject: the amount in full, and what it counts for unless that is the jail (`rctl_rule_to_sbuf`, sys/kern/kern_rctl.c). None for one that is refused.
#[must_use]
pub fn normalised(limit: &str) -> Option<String> {
    parse(limit).ok()?;
    let (what, amount) = limit.split_once('=')?;
    let (amount, per) = match amount.split_once('/') {
        Some((amount, per)) => (amount, Some(per)),
        None => (amount, None),
    };
    let amount = self::amount(amount)?;
    Some(match per.filter(|per| *per != "jail") {
        Some(per) => format!("{what}={amount}/{per}"),
        None => format!("{what}={amount}"),
    })
}
