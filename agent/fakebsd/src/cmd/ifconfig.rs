//! ifconfig(8): options, which interfaces are meant, and then either their status or the verbs.

mod status;
mod verbs;

use crate::cmd::Context;
use crate::emulator::Emulator;
use crate::kernel::ifnet::{IfId, NAME_BYTES_MAX};
use crate::output::Output;

/// The address families ifconfig knows by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Af {
    Inet,
    Inet6,
    Link,
}

impl Af {
    fn by_name(name: &str) -> Option<Self> {
        match name {
            "inet" => Some(Self::Inet),
            "inet6" => Some(Self::Inet6),
            "link" | "ether" | "lladdr" => Some(Self::Link),
            _ => None,
        }
    }
}

/// What stands before the interface's name.
#[derive(Default)]
struct Options {
    all: bool,
    names_only: bool,
    down_only: bool,
    up_only: bool,
    drivers: bool,
    group: Option<String>,
    not_group: Option<String>,
}

impl Options {
    /// The line that `-D` adds at the end. It is asked for by name, so of two interfaces with one name both show the first one's (`ifconfig_get_orig_name`, lib/libifconfig/libifconfig.c).
    fn driver(&self, host: &Emulator, context: &Context, id: IfId) -> String {
        let name = &host.kernel.ifnet(id).name;
        let asked = host.kernel.ifunit(context.stack, name).unwrap_or(id);
        if self.drivers {
            format!("\tdrivername: {}\n", host.kernel.ifnet(asked).driver_name)
        } else {
            String::new()
        }
    }
}

fn usage() -> Output {
    Output::failure(
        1,
        "usage: ifconfig [-j jail] [-f type:format] [-D] interface address_family\n                [address [dest_address]] [parameters]",
    )
}

/// Runs ifconfig with the words after its name.
pub(crate) fn run(host: &mut Emulator, context: &Context, arguments: &[String]) -> Output {
    let mut context = context.clone();
    let mut options = Options::default();
    let mut words = arguments;
    while let Some((word, rest)) = words.split_first() {
        let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
            break;
        };
        words = rest;
        // getopt(3) ends there.
        if letters == "-" {
            break;
        }
        match letters {
            "j" | "g" | "G" | "f" => {
                let Some((value, rest)) = words.split_first() else {
                    return usage();
                };
                words = rest;
                match letters {
                    "j" => match host.kernel.find_jail(context.jid, value) {
                        Some(jail) => context = context.inside(&host.kernel, jail.jid),
                        None => {
                            return Output::failure(
                                1,
                                "ifconfig: jail not found: No such file or directory",
                            );
                        }
                    },
                    "g" => options.group = Some(value.clone()),
                    "G" => options.not_group = Some(value.clone()),
                    _ => {}
                }
            }
            _ => {
                for letter in letters.chars() {
                    match letter {
                        'a' => options.all = true,
                        'l' => options.names_only = true,
                        'd' => options.down_only = true,
                        'u' => options.up_only = true,
                        'v' | 'D' => options.drivers = true,
                        'k' | 'L' | 'm' | 'n' => {}
                        _ => return usage(),
                    }
                }
            }
        }
    }
    if let Some(group) = options
        .group
        .as_ref()
        .filter(|_| !options.all && !options.names_only)
    {
        return list_group(host, &context, group);
    }
    if options.all || options.names_only {
        return list(host, &context, &options, words);
    }
    match words.split_first() {
        None => list(host, &context, &options, words),
        Some((name, rest)) => one(host, &context, &options, name, rest),
    }
}

/// `-g GROUP`: the members in the order they joined.
fn list_group(host: &Emulator, context: &Context, group: &str) -> Output {
    let mut output = Output::success();
    if let Some(members) = host.kernel.vnet(context.stack).groups.get(group) {
        for id in members.values() {
            output.line(&host.kernel.ifnet(*id).name);
        }
    }
    output
}

fn list(host: &mut Emulator, context: &Context, options: &Options, words: &[String]) -> Output {
    let (af, rest) = match words.split_first() {
        Some((word, rest)) if Af::by_name(word).is_some() => (Af::by_name(word), rest),
        Some(_) | None => (None, words),
    };
    let chosen: Vec<IfId> = host
        .kernel
        .interfaces(context.stack)
        .filter(|ifnet| (!options.down_only || !ifnet.up) && (!options.up_only || ifnet.up))
        .map(|ifnet| ifnet.id)
        .collect();
    let chosen = chosen.into_iter().filter(|id| {
        let matches = |pattern: &String| {
            host.kernel
                .ifnet(*id)
                .groups
                .iter()
                .any(|(group, _)| glob(pattern, group))
        };
        options.group.as_ref().is_none_or(matches)
            && !options.not_group.as_ref().is_some_and(matches)
    });
    let chosen: Vec<IfId> = chosen.collect();
    let mut output = Output::success();
    if options.names_only {
        let names: Vec<&str> = chosen
            .iter()
            .filter(|id| status::has_family(&host.kernel, context, **id, af))
            .map(|id| host.kernel.ifnet(*id).name.as_str())
            .collect();
        output.line(names.join(" "));
        return output;
    }
    for id in chosen {
        if rest.is_empty() {
            output
                .stdout
                .push_str(&status::print(&host.kernel, context, id, af));
            output.stdout.push_str(&options.driver(host, context, id));
        } else {
            output.absorb(verbs::apply(host, context, id, af, rest));
        }
    }
    output
}

/// fnmatch(3), as far as `*` goes.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text.strip_prefix(head).is_some_and(|rest| {
            (0..=rest.len()).any(|at| rest.is_char_boundary(at) && glob(tail, &rest[at..]))
        }),
    }
}

fn one(
    host: &mut Emulator,
    context: &Context,
    options: &Options,
    name: &str,
    rest: &[String],
) -> Output {
    let creates = rest
        .first()
        .is_some_and(|word| word == "create" || word == "plumb");
    let Some(id) = host.kernel.ifunit(context.stack, name) else {
        if creates {
            if name.len() > NAME_BYTES_MAX {
                return Output::failure(1, format!("ifconfig: {name}: cloning name too long"));
            }
            return verbs::create(host, context, name, &rest[1..]);
        }
        if rest.first().is_some_and(|word| word == "-vnet") {
            return verbs::reclaim(host, context, name, rest.get(1));
        }
        return Output::failure(1, format!("ifconfig: interface {name} does not exist"));
    };
    let mut rest = rest;
    if creates {
        if rest.len() == 1 {
            return Output::failure(1, format!("ifconfig: interface {name} already exists"));
        }
        rest = &rest[1..];
    }
    let (af, rest) = match rest.split_first() {
        Some((word, tail)) if Af::by_name(word).is_some() => (Af::by_name(word), tail),
        Some(_) | None => (None, rest),
    };
    if rest.is_empty() {
        return Output {
            stdout: status::print(&host.kernel, context, id, af)
                + &options.driver(host, context, id),
            ..Output::default()
        };
    }
    verbs::apply(host, context, id, af, rest)
}
