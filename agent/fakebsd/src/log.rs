//! The log of everything that was run on the emulated host, and which commands are of a kind that changes something.
//!
//! A host at rest must run no changing command: tests prove it by reading this log. A command counts as changing by what it
//! is, not by whether the kernel happened to be in the wanted state already.

use std::time::Duration;

use crate::output::Output;

/// One command as it was run from outside (hooks of jail(8) are part of their jail command).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedCommand {
    /// Virtual time since the host was made.
    pub at: Duration,
    /// The words of the command.
    pub argv: Vec<String>,
    /// What it read on standard input.
    pub stdin: String,
    /// What it left behind.
    pub output: Output,
    /// Whether it is of a kind that changes the host.
    pub changing: bool,
}

/// Whether `argv` is of a kind that changes the host.
pub fn is_changing(argv: &[String]) -> bool {
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    let Some((program, rest)) = words.split_first() else {
        return false;
    };
    let program = program.rsplit('/').next().unwrap_or(program);
    match program {
        "ifconfig" => ifconfig_changes(rest),
        "jail" => !rest.contains(&"-e"),
        "route" => !rest.contains(&"get"),
        "sysctl" => rest.iter().any(|word| word.contains('=')),
        "mount" => {
            rest.iter()
                .any(|word| !word.starts_with('-') && !matches!(*word, "json" | "json,pretty"))
                && !rest.contains(&"--libxo")
        }
        "ngctl" => !rest.iter().any(|word| {
            matches!(
                *word,
                "list"
                    | "ls"
                    | "show"
                    | "info"
                    | "status"
                    | "types"
                    | "getifname"
                    | "getconfig"
                    | "getstats"
                    | "getpromisc"
                    | "getautosrc"
            )
        }),
        "pfctl" => pfctl_changes(rest),
        "cellblock-agent" => rest.get(2..).is_some_and(pfctl_changes),
        "zfs" => rest
            .first()
            .is_some_and(|verb| !matches!(*verb, "list" | "get" | "holds" | "version" | "diff")),
        "zpool" => rest.first().is_some_and(|verb| {
            !matches!(
                *verb,
                "list" | "get" | "status" | "iostat" | "version" | "history"
            )
        }),
        "rctl" => rest.iter().any(|word| matches!(*word, "-a" | "-r")),
        "cpuset" => !rest.contains(&"-g"),
        "devfs" => !rest.iter().any(|word| matches!(*word, "show" | "showsets")),
        "sysrc" => rest.iter().any(|word| word.contains('=')),
        "jls" | "netstat" | "kldstat" | "uname" | "ls" | "cat" | "ps" | "pgrep" | "sockstat"
        | "getent" | "arp" | "ndp" | "ping" | "true" | "false" | "echo" | "test" | "["
        | "sleep" | "date" | "hostname" | "id" | "stat" | "df" => false,
        "jexec" => strip_flags(rest, &["-u", "-U", "-d", "-e"])
            .get(1..)
            .is_some_and(nested_changes),
        "setfib" => strip_flags(rest, &["-F"])
            .iter()
            .position(|word| word.parse::<u32>().is_err())
            .is_some_and(|at| nested_changes(&strip_flags(rest, &["-F"])[at..])),
        _ => true,
    }
}

fn nested_changes(words: &[&str]) -> bool {
    is_changing(
        &words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>(),
    )
}

/// The words after the leading options; each of `with_value` takes the next word along.
fn strip_flags<'a>(mut words: &'a [&'a str], with_value: &[&str]) -> &'a [&'a str] {
    while let Some((first, rest)) = words.split_first() {
        if !first.starts_with('-') {
            break;
        }
        words = if with_value.contains(first) {
            rest.get(1..).unwrap_or(&[])
        } else {
            rest
        };
    }
    words
}

fn ifconfig_changes(words: &[&str]) -> bool {
    let rest = strip_flags(words, &["-j", "-g", "-G", "-f"]);
    match rest {
        [] | [_] => false,
        [_, verb] => !matches!(
            *verb,
            "inet" | "inet6" | "ether" | "link" | "addr" | "media" | "member"
        ),
        [_, _, ..] => true,
    }
}

fn pfctl_changes(words: &[&str]) -> bool {
    if words
        .iter()
        .any(|word| word.starts_with('-') && !word.starts_with("--") && word.contains('n'))
    {
        return false;
    }
    let table = words
        .iter()
        .position(|word| *word == "-T")
        .and_then(|at| words.get(at + 1));
    if let Some(verb) = table {
        return !matches!(*verb, "show" | "test");
    }
    words.iter().any(|word| {
        matches!(
            word.get(..2),
            Some("-f" | "-F" | "-e" | "-d" | "-k" | "-K" | "-z" | "-R" | "-O" | "-N" | "-A")
        ) || matches!(*word, "-ef" | "-Ef" | "-E" | "-X")
    })
}
