//! devfs(8), the `rule` and `ruleset` commands.

use crate::emulator::Emulator;
use crate::output::Output;

/// `devfs rule [-s set] add|del|delset|show|showsets|apply…`
pub(crate) fn run(host: &mut Emulator, arguments: &[String]) -> Output {
    let mut words = arguments;
    let mut set = 0u16;
    let mut verb = None;
    while let Some((word, rest)) = words.split_first() {
        words = rest;
        match word.as_str() {
            "-m" => words = words.get(1..).unwrap_or_default(),
            "-s" => {
                let Some((number, rest)) = words.split_first() else {
                    return usage();
                };
                set = number.parse().unwrap_or(0);
                words = rest;
            }
            "rule" => {}
            other => {
                verb = Some(other.to_owned());
                break;
            }
        }
    }
    let mut output = Output::success();
    match verb.as_deref() {
        Some("showsets") => {
            for number in host.kernel.devfs.keys() {
                output.line(number.to_string());
            }
        }
        Some("show") => {
            for (number, rule) in host.kernel.devfs.get(&set).into_iter().flatten() {
                output.line(format!("{number} {rule}"));
            }
        }
        Some("add") => {
            let (number, rule) = match words.split_first() {
                Some((first, rest)) if first.parse::<u16>().is_ok() => (first.parse().ok(), rest),
                Some(_) | None => (None, words),
            };
            host.kernel.devfs_add_rule(set, number, &rule.join(" "));
        }
        Some("del") => {
            if let (Some(rules), Some(number)) = (
                host.kernel.devfs.get_mut(&set),
                words.first().and_then(|word| word.parse::<u16>().ok()),
            ) {
                rules.remove(&number);
                if rules.is_empty() {
                    host.kernel.devfs.remove(&set);
                }
            }
        }
        Some("delset") => {
            let number = words
                .first()
                .and_then(|word| word.parse().ok())
                .unwrap_or(set);
            host.kernel.devfs.remove(&number);
        }
        Some("apply" | "applyset" | "ruleset") => {}
        Some(_) | None => return usage(),
    }
    output
}

fn usage() -> Output {
    Output::failure(1, "usage: devfs rule [-s ruleset] ...")
}
