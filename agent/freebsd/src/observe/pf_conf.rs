//! The host's pf.conf: what it says, what pfctl(8) makes of it, and the main ruleset that is in force. Changes nothing.

use std::collections::BTreeSet;

use cellblock_agent_core::observed::{AnchorReference, InForce, Pf, PfConf};
use cellblock_agent_core::pf_conf::{self, BYTES_MAX, DEFAULT};
use cellblock_schemas::host::PfAnchors;

use super::pf;
use crate::command::{Command, Program};
use crate::error::{Failure, excerpt};
use crate::system::{System, SystemError, succeed};

/// What pfctl calls tables that it makes of lists (`PF_OPTIMIZER_TABLE_PFX`, sbin/pfctl/pfctl_parser.h). A new load makes others and the kernel drops these.
const AUTOMATIC: &str = "__automatic_";

/// How many of them are read.
const TABLES_MAX: usize = 64;

/// Takes a look. `anchors` says whether our block shall stand in it.
pub(crate) fn look(system: &dyn System, pf: &Pf, anchors: PfAnchors) -> Result<PfConf, Failure> {
    let path = path(system)?;
    let mut found = PfConf {
        litter: match beside(&path) {
            Some(beside) => system.file_size(&beside)?.is_some(),
            None => false,
        },
        path,
        ..PfConf::default()
    };
    let own = match read(system, &found.path).and_then(|text| {
        let own =
            pf_conf::own(text.as_deref().unwrap_or_default()).map_err(|error| error.to_string());
        Ok((own?, text))
    }) {
        Ok((own, text)) => {
            found.text = text;
            own
        }
        Err(why) => {
            found.unusable = Some(why);
            return Ok(found);
        }
    };
    if !pf.loaded {
        return Ok(found);
    }
    // As rc.d/pf checks it (libexec/rc/rc.d/pf); what it includes is read too.
    let verbose = Command::new(Program::Pfctl, ["-n", "-v", "-f", "-"]).stdin(own.as_str());
    let checked = system.run(&verbose)?;
    if !checked.is_success() {
        found.refused = Some(excerpt(&checked.stderr));
        return Ok(found);
    }
    found.own = pf::parse_references(&checked.stdout);
    let lines = match anchors {
        PfAnchors::Manage => missing(&found.own),
        PfAnchors::Expect => BTreeSet::new(),
    };
    let wanted = pf_conf::with_block(&own, &lines);
    if !lines.is_empty() {
        found.refused = refusal(system, &check(&wanted))?;
    }
    let given: BTreeSet<_> = found.own.union(&lines).copied().collect();
    let is_so = found.text.as_deref().unwrap_or_default() == wanted && pf.references == given;
    // What is leaving may be about to be loaded though it is so: the planner knows whose file it is.
    if !is_so || found.litter || anchors == PfAnchors::Expect {
        found.in_force = Some(in_force(system, pf)?);
    }
    Ok(found)
}

/// The references that are missing.
fn missing(own: &BTreeSet<AnchorReference>) -> BTreeSet<AnchorReference> {
    let all = AnchorReference::ALL.into_iter();
    all.filter(|reference| !own.contains(reference)).collect()
}

/// `pf_rules` of rc.conf(5).
fn path(system: &dyn System) -> Result<String, Failure> {
    let asked = system.run(&Command::new(Program::Sysrc, ["-n", "pf_rules"]))?;
    let said = asked.stdout.trim();
    Ok(if asked.is_success() && !said.is_empty() {
        said.to_owned()
    } else {
        DEFAULT.to_owned()
    })
}

/// What a write that did not come to its end leaves.
pub(crate) fn beside(path: &str) -> Option<String> {
    let (folder, name) = path.rsplit_once('/')?;
    Some(format!("{folder}/.{name}.cellblock"))
}

/// The file's text, no symbolic link on the way followed; none where there is none.
///
/// # Errors
/// Why it is not to be managed, in words.
pub(crate) fn read(system: &dyn System, path: &str) -> Result<Option<String>, String> {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\');
    let is_path = path.starts_with('/')
        && !path.starts_with("/dev/")
        && path.chars().all(plain)
        && !path
            .split('/')
            .skip(1)
            .any(|part| matches!(part, "" | "." | ".."));
    if !is_path {
        return Err("`pf_rules` in rc.conf names no plain file by an absolute path".to_owned());
    }
    let part = match system.read_log(path, 0, BYTES_MAX + 1) {
        Ok(Some(part)) => part,
        Ok(None) => return Ok(None),
        Err(SystemError::File { source, .. })
            if source.kind() == std::io::ErrorKind::InvalidInput =>
        {
            return Err("it is no regular file, or is reached by a symbolic link".to_owned());
        }
        Err(SystemError::File { source, .. }) => {
            return Err(format!("it cannot be read: {source}"));
        }
        Err(error) => return Err(error.to_string()),
    };
    if part.bytes.len() > BYTES_MAX {
        return Err(format!("it has more than {BYTES_MAX} octets"));
    }
    match String::from_utf8(part.bytes) {
        Ok(text) if !text.contains('\0') => Ok(Some(text)),
        Ok(_) | Err(_) => Err("it is no text in UTF-8".to_owned()),
    }
}

/// Checks a text as pf.conf.
pub(crate) fn check(text: &str) -> Command {
    Command::new(Program::Pfctl, ["-n", "-f", "-"]).stdin(text)
}

/// Loads a text of [`InForce`], or checks it. What it has no word for stays: settings (`-m`), and tables, queues and rules of Ethernet that it does not name.
pub(crate) fn put_back(text: &str, checks: bool) -> Command {
    let words = [
        "-m", "-o", "none", "-N", "-R", "-O", "-T", "load", "-f", "-",
    ];
    let check = checks.then_some("-n");
    Command::new(Program::Pfctl, check.into_iter().chain(words)).stdin(text)
}

fn refusal(system: &dyn System, check: &Command) -> Result<Option<String>, Failure> {
    let output = system.run(check)?;
    Ok((!output.is_success()).then(|| excerpt(&output.stderr)))
}

/// The main ruleset as a text. `require-order no`: pfctl shows rules that normalize with those that filter.
fn in_force(system: &dyn System, pf: &Pf) -> Result<InForce, Failure> {
    let translations = succeed(system, &Command::pfctl(None, ["-sn"]))?.stdout;
    let rules = succeed(system, &Command::pfctl(None, ["-sr"]))?.stdout;
    let mut text = "set require-order no\n".to_owned();
    if !pf.skipped.is_empty() {
        let skipped: Vec<&str> = pf.skipped.iter().map(String::as_str).collect();
        text.push_str(&format!("set skip on {{ {} }}\n", skipped.join(" ")));
    }
    let all = format!("{translations}{rules}");
    let tables = automatic(&all);
    if tables.len() > TABLES_MAX {
        return Ok(InForce {
            text: String::new(),
            refused: Some(format!(
                "it has more than {TABLES_MAX} tables that pfctl made of lists"
            )),
        });
    }
    for table in tables {
        let show = Command::pfctl(None, ["-t", table, "-T", "show"]);
        let shown = succeed(system, &show)?.stdout;
        let members = pf::parse_tables(&shown).join(", ");
        text.push_str(&format!("table <{table}> const {{ {members} }}\n"));
    }
    text.push_str(&all);
    let refused = refusal(system, &put_back(&text, true))?;
    Ok(InForce { text, refused })
}

/// Names of tables that pfctl made, in rules: `from <__automatic_5c1e_0> to any`, and `<__automatic_5c1e_0:3>` where counts are shown.
fn automatic(rules: &str) -> BTreeSet<&str> {
    let words = rules.split(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | ':'));
    words.filter(|word| word.starts_with(AUTOMATIC)).collect()
}
