//! jail(8)s that an agent which is no more has left at work.

use std::collections::BTreeSet;

use cellblock_agent_core::host::{STARTING, STOPPING};

use super::{CONF, JID, STDERR};
use crate::command::{Command, Program, words};
use crate::error::Failure;
use crate::system::System;

/// A jail(8) at work that is nobody's child any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Orphan {
    /// The jail.
    pub(crate) name: String,
    /// Whether the jail is being started or stopped.
    pub(crate) verb: &'static str,
    /// Its command line.
    pub(crate) line: String,
}

/// The jail(8)s that work with a jail.conf below `folder`, but for those of `own`.
///
/// Asked for only where one of their files is there, which is seldom. A process in a jail may call itself what it likes and is none of these (`-j none`: jid 0), and of the host's only root's are
/// (`-u 0`; bin/pkill/pkill.c). jail(8)'s own children close what it has open and go by other names, or are in the jail before they do anything (`run_command`, usr.sbin/jail/command.c).
pub(crate) fn orphans(
    system: &dyn System,
    folder: &str,
    own: &BTreeSet<&str>,
) -> Result<Vec<Orphan>, Failure> {
    let jails = format!("{folder}/jails");
    let names = system.list_dir(&jails)?.unwrap_or_default();
    let left = names.iter().any(|file| {
        let name = file.strip_suffix(JID).or(file.strip_suffix(STDERR));
        name.is_some_and(|name| !own.contains(name))
    });
    if !left {
        return Ok(Vec::new());
    }
    let begin = format!("{} -f {jails}/", Program::Jail.path());
    let pattern = format!("^{}", escaped(&begin));
    let command = Command::new(
        Program::Pgrep,
        words!["-f", "-l", "-j", "none", "-u", "0", pattern],
    );
    let output = system.run(&command)?;
    match output.status {
        0 => {}
        // Nothing matched (`STATUS_NOMATCH`, bin/pkill/pkill.c).
        1 if output.stderr.trim().is_empty() => return Ok(Vec::new()),
        _ => return Err(Failure::refused(&command, &output)),
    }
    let lines = output
        .stdout
        .lines()
        .filter_map(|line| line.split_once(' '));
    Ok(lines
        .filter_map(|(_, line)| parse(line, &begin))
        .filter(|orphan| !own.contains(orphan.name.as_str()))
        .collect())
}

fn parse(line: &str, begin: &str) -> Option<Orphan> {
    let rest = line.strip_prefix(begin)?;
    let (name, arguments) = rest.split_once(CONF)?;
    let verb = if arguments.split(' ').any(|word| word == "-c") {
        STARTING
    } else {
        STOPPING
    };
    Some(Orphan {
        name: name.to_owned(),
        verb,
        line: line.to_owned(),
    })
}

/// `pkill -KILL` of one of them, by its whole command line, so that a pid that is used again is nobody else's end.
pub(crate) fn kill_command(orphan: &Orphan) -> Command {
    kill_line(&orphan.line)
}

/// Likewise of whatever has that command line.
pub(crate) fn kill_line(line: &str) -> Command {
    let pattern = format!("^{}", escaped(line));
    Command::new(
        Program::Pkill,
        words!["-KILL", "-f", "-x", "-j", "none", "-u", "0", pattern],
    )
}

/// A text as an extended regular expression that stands for itself (re_format(7)).
fn escaped(text: &str) -> String {
    let mut pattern = String::new();
    for letter in text.chars() {
        if letter.is_ascii() && !letter.is_ascii_alphanumeric() && !" /_-".contains(letter) {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}
