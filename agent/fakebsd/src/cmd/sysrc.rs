//! sysrc(8) `-n NAME …`: values of rc.conf(5) (usr.sbin/sysrc/sysrc).

use crate::emulator::Emulator;
use crate::output::Output;

/// The file of a host's own values; the last line counts.
const RC_CONF: &str = "/etc/rc.conf";

/// What libexec/rc/rc.conf has of the names that are asked for here.
const DEFAULTS: &[(&str, &str)] = &[("pf_enable", "NO"), ("pf_rules", "/etc/pf.conf")];

/// Runs sysrc with the words after its name.
pub(super) fn run(host: &Emulator, arguments: &[String]) -> Output {
    let Some((flag, names)) = arguments.split_first() else {
        return Output::failure(1, "Usage: sysrc [OPTIONS] name[[+|-]=value] ...");
    };
    if flag != "-n" || names.is_empty() || names.iter().any(|name| name.contains('=')) {
        return Output::failure(1, "sysrc: the emulator has `sysrc -n name …` only");
    }
    let conf = host.files.read_text(RC_CONF).unwrap_or_default();
    let mut output = Output::default();
    for name in names {
        let own = conf.lines().rev().find_map(|line| {
            let value = line.trim().strip_prefix(name.as_str())?.strip_prefix('=')?;
            Some(value.trim_matches(['"', '\'']).to_owned())
        });
        let mut defaults = DEFAULTS.iter();
        let default = defaults.find(|(known, _)| known == name);
        match own.or_else(|| default.map(|(_, value)| (*value).to_owned())) {
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
