//! The host's pf.conf: what it says, what pfctl(8) makes of it, and whether that is what is in force. Changes nothing, and no trouble of it is a look's: a host whose resolver does not answer, or whose
//! rc.conf has a mistake, has jails to look after.

use std::collections::BTreeSet;
use std::time::Duration;

use cellblock_agent_core::host::PfConfWanted;
use cellblock_agent_core::observed::{AnchorReference, InForce, Pf, PfConf};
use cellblock_agent_core::pf_conf::{self, BYTES_MAX, MainRuleset};
use cellblock_schemas::host::PfAnchors;

use crate::command::{Command, Program};
use crate::error::{Failure, excerpt};
use crate::system::{System, SystemError, succeed};

/// How long a check may take. pfctl resolves names of hosts, also with `-n` (`host_dns`, sbin/pfctl/pfctl_parser.c).
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long nobody has written a file that is taken for whole.
const FRESH: Duration = Duration::from_secs(30);

/// What rc.d/pf runs unless rc.conf says otherwise (libexec/rc/rc.conf).
const PFCTL: &str = "/sbin/pfctl";

/// Takes a look.
pub(crate) fn look(system: &dyn System, pf: &Pf, wanted: &PfConfWanted) -> PfConf {
    let mut found = PfConf::default();
    if let Err(why) = look_into(system, pf, wanted, &mut found) {
        found.unusable = Some(why);
    }
    found
}

fn look_into(
    system: &dyn System,
    pf: &Pf,
    wanted: &PfConfWanted,
    found: &mut PfConf,
) -> Result<(), String> {
    found.path = wanted.former.clone().unwrap_or_default();
    found.path = path(system)?;
    if let Some(former) = wanted.former.as_ref().filter(|path| **path != found.path) {
        found.former = match read(system, former) {
            Ok(file) => file.is_some_and(|file| pf_conf::own(&file.text) != Ok(file.text)),
            Err(_) => true,
        };
    }
    if let Some(beside) = beside(&found.path) {
        let size = system.file_size(&beside);
        found.litter = size.map_err(|error| error.to_string())?.is_some();
    }
    let file = read(system, &found.path).map_err(|error| error.to_string())?;
    found.fresh = file.as_ref().is_some_and(|file| file.is_fresh);
    let text = file.map(|file| file.text);
    let own =
        pf_conf::own(text.as_deref().unwrap_or_default()).map_err(|error| error.to_string())?;
    found.text = text;
    if pf.is_read() {
        check_text(system, pf, wanted.anchors, &own, found);
    }
    Ok(())
}

/// What pfctl makes of the text, and whether what is in force could have other references.
fn check_text(system: &dyn System, pf: &Pf, anchors: PfAnchors, own: &str, found: &mut PfConf) {
    let all = BTreeSet::from(AnchorReference::ALL);
    let is_plain = !["cellblock/", "include"]
        .iter()
        .any(|word| own.contains(word));
    let is_written = found.text.as_deref() == Some(&pf_conf::with_block(own, &all));
    if anchors == PfAnchors::Manage && is_plain && is_written && pf.references == all {
        // All is there: nobody's resolver is asked with each look.
        return;
    }
    // As rc.d/pf checks it (libexec/rc/rc.d/pf); what it includes is read too.
    let shown = match checked(system, &shown(own)) {
        Ok(shown) => shown,
        Err(said) => return found.refused = Some(said),
    };
    found.own = pf_conf::references(&shown);
    let lines = match anchors {
        PfAnchors::Manage => all.difference(&found.own).copied().collect(),
        PfAnchors::Expect => BTreeSet::new(),
    };
    if !lines.is_empty() {
        let text = pf_conf::with_block(own, &lines);
        if let Err(said) = checked(system, &check(&text)) {
            return found.refused = Some(said);
        }
    }
    let given: BTreeSet<_> = found.own.union(&lines).copied().collect();
    if pf.references != given {
        found.in_force = Some(match in_force(system, &given, &shown) {
            Ok(in_force) => in_force,
            Err(said) => InForce {
                refused: Some(said),
                ..InForce::default()
            },
        });
    }
}

/// The main ruleset, and whether it may be loaded again with these references. Not everything of a rule is shown once it is loaded (its own timeouts, seen on 15.1; what stands within the braces of an
/// anchor with a name), so it may only where pf.conf says the same: read by pfctl, the one text is the other.
fn in_force(
    system: &dyn System,
    given: &BTreeSet<AnchorReference>,
    own: &str,
) -> Result<InForce, String> {
    let main = main_ruleset(system).map_err(|error| error.to_string())?;
    let not_loaded = &pf_conf::references(own) - &main.references();
    if let Some(line) = not_loaded.first() {
        // Where they stand among the rules, only pf.conf knows.
        let line = pf_conf::reference(*line);
        return Err(format!("pf.conf has `{line}`, which is not loaded"));
    }
    let shown = checked(system, &load(&main.with(given), true));
    let refused = match shown {
        Err(said) => Some(said),
        Ok(shown) if pf_conf::references(&shown) != *given => {
            Some("references to our anchors stand in it in another form".to_owned())
        }
        Ok(shown) if pf_conf::loaded(&shown) != pf_conf::loaded(own) => {
            Some("it has other rules than pf.conf, or some that pfctl does not show as they are (an anchor's within its braces, of `load anchor`, of Ethernet, with `os` or timeouts of their own)".to_owned())
        }
        Ok(_) => None,
    };
    Ok(InForce {
        others: main.digest(),
        references: main.references(),
        refused,
    })
}

/// The main ruleset that is in force.
pub(crate) fn main_ruleset(system: &dyn System) -> Result<MainRuleset, Failure> {
    let translations = succeed(system, &Command::pfctl(None, ["-sn"]))?.stdout;
    let rules = succeed(system, &Command::pfctl(None, ["-sr"]))?.stdout;
    Ok(MainRuleset::read(&translations, &rules))
}

/// Runs a check; what it shows, or what is said against the text.
fn checked(system: &dyn System, check: &Command) -> Result<String, String> {
    let output = system.run(check).map_err(|error| error.to_string())?;
    if output.is_success() {
        Ok(output.stdout)
    } else {
        Err(excerpt(&output.stderr))
    }
}

/// `pf_rules` of rc.conf(5), as rc.d/pf has it: with `/etc/rc.conf.d/pf` (`load_rc_config`, libexec/rc/rc.subr; `-s`, usr.sbin/sysrc/sysrc).
fn path(system: &dyn System) -> Result<String, String> {
    let words = ["-s", "pf", "-n", "pf_rules", "pf_flags", "pf_program"];
    let said = checked(system, &Command::new(Program::Sysrc, words))
        .map_err(|said| format!("sysrc(8) does not tell which file it is: {said}"))?;
    match said.lines().collect::<Vec<&str>>()[..] {
        [path, "", PFCTL] => Ok(path.to_owned()),
        [_, _, _] => Err(
            "rc.conf has `pf_flags` or `pf_program`, so rc.d/pf may make another ruleset of it"
                .to_owned(),
        ),
        _ => Err("sysrc(8) does not tell which file it is".to_owned()),
    }
}

/// What a write that did not come to its end leaves.
pub(crate) fn beside(path: &str) -> Option<String> {
    let (folder, name) = path.rsplit_once('/')?;
    Some(format!("{folder}/.{name}.cellblock"))
}

/// A file.
pub(crate) struct File {
    pub(crate) text: String,
    is_fresh: bool,
}

/// Why a file's text is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    /// It is nothing that is managed: somebody has put it there.
    #[error("{0}")]
    Unfit(String),
    /// Nobody knows what is there.
    #[error("it cannot be read: {0}")]
    Failed(String),
}

/// The file's text, no symbolic link on the way followed; none where there is none.
pub(crate) fn read(system: &dyn System, path: &str) -> Result<Option<File>, Unread> {
    let unfit = |why: &str| Unread::Unfit(why.to_owned());
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\');
    let is_path = path.starts_with('/')
        && !path.starts_with("/dev/")
        && path.chars().all(plain)
        && !path
            .split('/')
            .skip(1)
            .any(|part| matches!(part, "" | "." | ".."));
    if !is_path {
        return Err(unfit(
            "`pf_rules` in rc.conf names no plain file by an absolute path",
        ));
    }
    let part = match system.read_log(path, 0, BYTES_MAX + 1) {
        Ok(Some(part)) => part,
        Ok(None) => return Ok(None),
        Err(SystemError::File { source, .. })
            if matches!(
                source.kind(),
                std::io::ErrorKind::InvalidInput | std::io::ErrorKind::IsADirectory
            ) =>
        {
            return Err(unfit(
                "it is no regular file, or is reached by a symbolic link",
            ));
        }
        Err(SystemError::File { source, .. }) => {
            return Err(Unread::Failed(source.to_string()));
        }
        Err(error) => return Err(Unread::Failed(error.to_string())),
    };
    if part.bytes.len() > BYTES_MAX {
        return Err(unfit(&format!("it has more than {BYTES_MAX} octets")));
    }
    let is_fresh = part.changed_ago.is_some_and(|ago| ago < FRESH);
    match String::from_utf8(part.bytes) {
        Ok(text) if !text.contains('\0') => Ok(Some(File { text, is_fresh })),
        Ok(_) | Err(_) => Err(unfit("it is no text in UTF-8")),
    }
}

/// Checks a text as pf.conf.
pub(crate) fn check(text: &str) -> Command {
    Command::new(Program::Pfctl, ["-n", "-f", "-"])
        .stdin(text)
        .timeout(CHECK_TIMEOUT)
}

/// The same, and shows it.
fn shown(text: &str) -> Command {
    Command::new(Program::Pfctl, ["-n", "-v", "-f", "-"])
        .stdin(text)
        .timeout(CHECK_TIMEOUT)
}

/// Loads rules as they are shown, or checks and shows them: what translates and what filters, and neither settings, tables, queues nor rules of Ethernet.
pub(crate) fn load(main: &MainRuleset, checks: bool) -> Command {
    let words = ["-N", "-R", "-o", "none", "-f", "-"];
    let check: &[&str] = if checks { &["-n", "-v"] } else { &[] };
    Command::new(Program::Pfctl, check.iter().copied().chain(words)).stdin(main.text())
}
