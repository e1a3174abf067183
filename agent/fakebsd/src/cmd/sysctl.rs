//! sysctl(8).

use super::Context;
use crate::emulator::Emulator;
use crate::kernel::sysctl::{Kind, Oid};
use crate::output::Output;

#[derive(Default)]
struct Options {
    names: bool,
    values: bool,
    ignore_unknown: bool,
    quiet: bool,
}

/// Runs sysctl with the words after its name.
pub(crate) fn run(host: &mut Emulator, context: &Context, arguments: &[String]) -> Output {
    let mut context = context.clone();
    let mut options = Options::default();
    let mut words = arguments;
    while let Some((word, rest)) = words.split_first() {
        let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
            break;
        };
        words = rest;
        for letter in letters.chars() {
            match letter {
                'N' => options.names = true,
                'n' => options.values = true,
                'i' => options.ignore_unknown = true,
                'q' => options.quiet = true,
                'j' => {
                    let Some((jail, rest)) = words.split_first() else {
                        return Output::failure(1, "usage: sysctl [-j jail] name ...");
                    };
                    words = rest;
                    match host.kernel.find_jail(context.jid, jail) {
                        Some(jail) => context = context.inside(&host.kernel, jail.jid),
                        None => {
                            return Output::failure(1, "sysctl: jail not found");
                        }
                    }
                }
                _ => {}
            }
        }
    }
    let mut output = Output::success();
    for word in words {
        match word.split_once('=') {
            Some((name, value)) => set(host, &context, &options, name, value, &mut output),
            None => show(host, &context, &options, word, &mut output),
        }
    }
    output
}

fn unknown(options: &Options, name: &str, output: &mut Output) {
    if !options.ignore_unknown {
        output.fail(1, format!("sysctl: unknown oid '{name}'"));
    }
}

fn print(host: &Emulator, context: &Context, options: &Options, oid: &Oid, output: &mut Output) {
    if options.names {
        output.line(oid.name);
    } else if oid.kind != Kind::Node {
        let value = host.kernel.sysctl_value(context.asker(), oid);
        output.line(if options.values {
            value
        } else {
            format!("{}: {value}", oid.name)
        });
    }
}

fn show(host: &Emulator, context: &Context, options: &Options, name: &str, output: &mut Output) {
    let name = name.trim_end_matches('.');
    let below = host.kernel.oids_below(name);
    match below.as_slice() {
        [] => unknown(options, name, output),
        [only] if only.name == name => print(host, context, options, only, output),
        several => {
            for oid in several
                .iter()
                .filter(|oid| oid.name != name || oid.kind != Kind::Node)
            {
                print(host, context, options, oid, output);
            }
        }
    }
}

fn set(
    host: &mut Emulator,
    context: &Context,
    options: &Options,
    name: &str,
    value: &str,
    output: &mut Output,
) {
    let Some(oid) = host.kernel.find_oid(name) else {
        return unknown(options, name, output);
    };
    match oid.kind {
        Kind::Node => return output.fail(1, format!("sysctl: oid '{name}' isn't a leaf node")),
        Kind::Tunable(_) => return output.fail(1, format!("sysctl: oid '{name}' is a read only tunable\nsysctl: Tunable values are set in /boot/loader.conf")),
        Kind::Fixed(_) => return output.fail(1, format!("sysctl: oid '{name}' is read only")),
        Kind::Computed if name == "kern.racct.enable" => return output.fail(1, format!("sysctl: oid '{name}' is a read only tunable\nsysctl: Tunable values are set in /boot/loader.conf")),
        Kind::Computed if !matches!(name, "net.fibs" | "kern.hostuuid" | "kern.hostname") => return output.fail(1, format!("sysctl: oid '{name}' is read only")),
        Kind::Computed | Kind::Writable(_) | Kind::PerStack(_) => {}
    }
    let numeric = !matches!(name, "kern.hostuuid" | "kern.hostname");
    if numeric && value.parse::<i64>().is_err() {
        return output.fail(1, format!("sysctl: invalid integer '{value}'"));
    }
    let old = host.kernel.sysctl_value(context.asker(), oid);
    match host.kernel.sysctl_set(context.asker(), oid, value) {
        Ok(()) => {
            let new = host.kernel.sysctl_value(context.asker(), oid);
            if !options.quiet {
                output.line(if options.values {
                    format!("{old} -> {new}")
                } else {
                    format!("{name}: {old} -> {new}")
                });
            }
        }
        Err(error) => {
            if !options.quiet {
                output.line(if options.values {
                    old
                } else {
                    format!("{name}: {old}")
                });
            }
            output.fail(1, format!("sysctl: {name}={value}: {}", error.text()));
        }
    }
}
