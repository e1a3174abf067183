//! netstat(1), `-r` in text and JSON, and the TCP table of a stack.

use std::net::{IpAddr, Ipv6Addr};

use super::Context;
use crate::emulator::Emulator;
use crate::kernel::Kernel;
use crate::kernel::addr::is_link_local;
use crate::kernel::jail::Addresses;
use crate::kernel::route::{Family, Gateway, Route, key_address, rtf};
use crate::output::Output;

/// sysexits(3).
const EX_UNAVAILABLE: i32 = 69;

#[derive(Default)]
struct Options {
    family: Option<Family>,
    fib: Option<String>,
    json: bool,
    routes: bool,
}

/// Runs netstat with the words after its name.
pub(crate) fn run(host: &mut Emulator, context: &Context, arguments: &[String]) -> Output {
    let mut context = context.clone();
    let mut options = Options::default();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if let Some(style) = word.strip_prefix("--libxo") {
            let style = if style.is_empty() {
                words.next().map_or("", String::as_str)
            } else {
                style.trim_start_matches(['=', ':'])
            };
            options.json = style.contains("json");
            continue;
        }
        let Some(letters) = word.strip_prefix('-') else {
            continue;
        };
        for letter in letters.chars() {
            match letter {
                'r' => options.routes = true,
                '4' => options.family = Some(Family::Inet),
                '6' => options.family = Some(Family::Inet6),
                'f' => match words.next().map(String::as_str) {
                    Some("inet") => options.family = Some(Family::Inet),
                    Some("inet6") => options.family = Some(Family::Inet6),
                    Some(other) => {
                        return Output::failure(
                            1,
                            format!("netstat: {other}: unknown address family"),
                        );
                    }
                    None => return usage(),
                },
                'F' => options.fib = words.next().cloned(),
                'j' => {
                    let Some(jail) = words.next() else {
                        return usage();
                    };
                    match host.kernel.find_jail(context.jid, jail) {
                        Some(jail) => context = context.inside(&host.kernel, jail.jid),
                        None => {
                            return Output::failure(EX_UNAVAILABLE, "netstat: Jail not found");
                        }
                    }
                }
                'p' | 'I' | 'w' | 'M' | 'N' => {
                    words.next();
                }
                _ => {}
            }
        }
    }
    if options.routes {
        routes(&host.kernel, &context, &options)
    } else {
        Output::success()
    }
}

fn usage() -> Output {
    Output::failure(
        1,
        "usage: netstat [-j jail] [-46ACgilnrsW] [-f address_family] [-F fib]",
    )
}

fn routes(kernel: &Kernel, context: &Context, options: &Options) -> Output {
    let count = kernel.vnet(context.stack).fibs.len();
    let fib = match &options.fib {
        None => context.fib,
        Some(text) => match text
            .parse::<u32>()
            .ok()
            .filter(|fib| (*fib as usize) < count)
        {
            Some(fib) => fib,
            None => return Output::failure(64, format!("netstat: {text}: invalid fib")),
        },
    };
    let families = options
        .family
        .map_or_else(|| vec![Family::Inet, Family::Inet6], |family| vec![family]);
    let tables: Vec<(Family, Vec<Entry<'_>>)> = families
        .into_iter()
        .map(|family| (family, entries(kernel, context, fib, family)))
        .collect();
    if options.json {
        json(kernel, fib, &tables)
    } else {
        text(kernel, fib, &tables)
    }
}

/// One route as shown: destination bits, prefix length, the route.
type Entry<'a> = (u128, u8, &'a Route);

/// The routes a process may see: in a jail without a stack of its own, those to its addresses (recording `03`).
fn entries<'a>(kernel: &'a Kernel, context: &Context, fib: u32, family: Family) -> Vec<Entry<'a>> {
    let jail = kernel
        .jail(context.jid)
        .filter(|jail| !jail.owns_stack && jail.stack == context.stack);
    let Some(tables) = kernel.vnet(context.stack).fibs.get(fib as usize) else {
        return Vec::new();
    };
    let shown = |(address, prefix, route): &Entry<'_>| match (jail, key_address(family, *address)) {
        (None, _) => true,
        (Some(jail), IpAddr::V4(address)) => match &jail.ip4 {
            Addresses::Inherit => true,
            Addresses::Restricted(list) => {
                *prefix == 32 && route.flags & rtf::HOST != 0 && list.contains(&address)
            }
        },
        (Some(jail), IpAddr::V6(address)) => match &jail.ip6 {
            Addresses::Inherit => true,
            Addresses::Restricted(list) => *prefix == 128 && list.contains(&address),
        },
    };
    tables.rib(family).iter().filter(shown).collect()
}

/// An address with `%interface` when it is link-local; the embedded scope is not shown.
pub(super) fn address_text(address: IpAddr, interface: &str) -> String {
    match address {
        IpAddr::V6(address) if is_link_local(address) => {
            let mut segments = address.segments();
            segments[1] = 0;
            format!("{}%{interface}", Ipv6Addr::from(segments))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => address.to_string(),
    }
}

/// The destination as netstat -n writes it.
pub(super) fn destination_text(
    family: Family,
    address: u128,
    prefix: u8,
    interface: &str,
) -> String {
    let full = match family {
        Family::Inet => 32,
        Family::Inet6 => 128,
    };
    if prefix == 0 && address == 0 {
        return "default".into();
    }
    let text = address_text(key_address(family, address), interface);
    if prefix == full {
        text
    } else {
        format!("{text}/{prefix}")
    }
}

fn flag_letters(flags: u32) -> String {
    let letters = [
        (rtf::UP, 'U'),
        (rtf::GATEWAY, 'G'),
        (rtf::HOST, 'H'),
        (rtf::REJECT, 'R'),
        (rtf::STATIC, 'S'),
        (rtf::BLACKHOLE, 'B'),
    ];
    letters
        .iter()
        .filter(|(bit, _)| flags & bit != 0)
        .map(|(_, letter)| *letter)
        .collect()
}

fn gateway_text(kernel: &Kernel, route: &Route) -> String {
    let interface = kernel.ifnet(route.interface);
    match route.gateway {
        Gateway::Link => format!("link#{}", interface.index),
        Gateway::Address(address) => address_text(address, &interface.name),
    }
}

fn text(kernel: &Kernel, fib: u32, tables: &[(Family, Vec<Entry<'_>>)]) -> Output {
    let mut output = Output::success();
    output.line(if fib == 0 {
        "Routing tables".to_owned()
    } else {
        format!("Routing tables (fib: {fib})")
    });
    for (family, entries) in tables {
        if entries.is_empty() {
            continue;
        }
        let (title, to, via) = match family {
            Family::Inet => ("Internet", 18, 18),
            Family::Inet6 => ("Internet6", 33, 29),
        };
        output.line("");
        output.line(format!("{title}:"));
        output.line(format!(
            "{:<to$} {:<via$} {:<6} {:>12} Expire",
            "Destination", "Gateway", "Flags", "Netif"
        ));
        for (address, prefix, route) in entries {
            let name = &kernel.ifnet(route.interface).name;
            let destination = destination_text(*family, *address, *prefix, name);
            let gateway = gateway_text(kernel, route);
            output.line(format!(
                "{destination:<to$.to$} {gateway:<via$.via$} {:<6.6} {name:>12.12}",
                flag_letters(route.flags)
            ));
        }
    }
    output
}

fn json(kernel: &Kernel, fib: u32, tables: &[(Family, Vec<Entry<'_>>)]) -> Output {
    let mut families = Vec::new();
    for (family, entries) in tables {
        if entries.is_empty() {
            continue;
        }
        let title = match family {
            Family::Inet => "Internet",
            Family::Inet6 => "Internet6",
        };
        let routes: Vec<String> = entries
            .iter()
            .map(|(address, prefix, route)| json_route(kernel, *family, *address, *prefix, route))
            .collect();
        families.push(format!(
            "{{\"address-family\":\"{title}\", \"rt-entry\": [{}]}}",
            routes.join(", ")
        ));
    }
    let fib = if fib == 0 {
        String::new()
    } else {
        format!("\"fib\":{fib}, ")
    };
    let mut output = Output::success();
    output.line(format!("{{\"statistics\": {{\"route-information\": {{{fib}\"route-table\": {{\"rt-family\": [{}]}}}}}}}}", families.join(", ")));
    output
}

fn json_route(kernel: &Kernel, family: Family, address: u128, prefix: u8, route: &Route) -> String {
    let name = &kernel.ifnet(route.interface).name;
    let pretty = [
        (rtf::UP, "up"),
        (rtf::GATEWAY, "gateway"),
        (rtf::HOST, "host"),
        (rtf::REJECT, "reject"),
        (rtf::STATIC, "static"),
        (rtf::BLACKHOLE, "blackhole"),
    ];
    let pretty: Vec<String> = pretty
        .iter()
        .filter(|(bit, _)| route.flags & bit != 0)
        .map(|(_, word)| format!("\"{word}\""))
        .collect();
    format!(
        "{{\"destination\":\"{}\",\"gateway\":\"{}\",\"flags\":\"{}\", \"flags_pretty\": [{}],\"weight\":1,\"nhop-kidx\":{},\"interface-name\":\"{name}\"}}",
        destination_text(family, address, prefix, name),
        gateway_text(kernel, route),
        flag_letters(route.flags),
        pretty.join(","),
        route.nexthop
    )
}
