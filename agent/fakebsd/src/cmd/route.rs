//! route(8): add, delete, change, get, flush.

use std::net::IpAddr;

use super::Context;
use crate::emulator::Emulator;
use crate::kernel::Kernel;
use crate::kernel::addr::{embed_scope, is_link_local, mask4};
use crate::kernel::errno::Errno;
use crate::kernel::ifnet::IfId;
use crate::kernel::route::{Family, Gateway, RouteKey, rtf};
use crate::output::Output;

/// EX_USAGE.
const USAGE: i32 = 64;

/// What the words of one command said.
struct Request {
    family: Option<Family>,
    force_host: bool,
    force_net: bool,
    interface: bool,
    fibs: Option<Vec<u32>>,
    prefix: Option<u8>,
    words: Vec<String>,
    flags: u32,
}

fn usage() -> Output {
    Output::failure(USAGE, "usage: route [-46dnqtv] command [[modifiers] args]")
}

/// Runs route with the words after its name.
pub(crate) fn run(host: &mut Emulator, context: &Context, arguments: &[String]) -> Output {
    let mut context = context.clone();
    let mut quiet = false;
    let mut words = arguments;
    while let Some((word, rest)) = words.split_first() {
        let Some(letters) = word.strip_prefix('-') else {
            break;
        };
        words = rest;
        for letter in letters.chars() {
            match letter {
                'q' => quiet = true,
                'j' => {
                    let Some((jail, rest)) = words.split_first() else {
                        return usage();
                    };
                    words = rest;
                    match host.kernel.find_jail(context.jid, jail) {
                        Some(jail) => context = context.inside(&host.kernel, jail.jid),
                        None => return Output::failure(1, "route: Jail not found"),
                    }
                }
                _ => {}
            }
        }
    }
    let Some((command, rest)) = words.split_first() else {
        return usage();
    };
    let request = match parse(&host.kernel, &context, rest) {
        Ok(request) => request,
        Err(output) => return output,
    };
    // Routes belong to the stack's owner: PRIV_NET_ROUTE is for jails with a stack of their own (`prison_priv_check`, sys/kern/kern_jail.c).
    let may_edit = host
        .kernel
        .jail(context.jid)
        .is_none_or(|jail| jail.owns_stack);
    match command.as_str() {
        "add" | "delete" | "del" | "change" | "flush" if !may_edit => Output::failure(
            1,
            format!("route: message indicates error: {}", Errno::EPERM.text()),
        ),
        "add" | "delete" | "del" | "change" => edit(host, &context, command, &request, quiet),
        "get" | "show" => get(&host.kernel, &context, &request),
        "flush" => flush(host, &context, &request, quiet),
        _ => usage(),
    }
}

fn parse(kernel: &Kernel, context: &Context, words: &[String]) -> Result<Request, Output> {
    let mut request = Request {
        family: None,
        force_host: false,
        force_net: false,
        interface: false,
        fibs: None,
        prefix: None,
        words: Vec::new(),
        flags: rtf::STATIC,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(option) = word.strip_prefix('-') else {
            request.words.push(word.clone());
            continue;
        };
        match option {
            "inet" | "4" => request.family = Some(Family::Inet),
            "inet6" | "6" => request.family = Some(Family::Inet6),
            "host" => request.force_host = true,
            "net" => request.force_net = true,
            "iface" | "interface" => request.interface = true,
            "blackhole" => request.flags |= rtf::BLACKHOLE,
            "reject" => request.flags |= rtf::REJECT,
            "static" => {}
            "fib" => {
                request.fibs = Some(fib_list(kernel, context, words.next().ok_or_else(usage)?)?)
            }
            "netmask" => {
                let mask: std::net::Ipv4Addr = words
                    .next()
                    .and_then(|text| text.parse().ok())
                    .ok_or_else(usage)?;
                request.prefix = Some(u32::from(mask).count_ones() as u8);
                request.force_net = true;
            }
            "prefixlen" => {
                request.prefix = Some(
                    words
                        .next()
                        .and_then(|text| text.parse().ok())
                        .ok_or_else(usage)?,
                );
                request.force_net = true;
            }
            "mtu" | "weight" | "expire" | "hopcount" => {
                words.next().ok_or_else(usage)?;
            }
            "gateway" | "dst" => request.words.push(words.next().ok_or_else(usage)?.clone()),
            _ => return Err(usage()),
        }
    }
    Ok(request)
}

/// `1`, `0-2`, `all`, `default`.
fn fib_list(kernel: &Kernel, context: &Context, text: &str) -> Result<Vec<u32>, Output> {
    let count = kernel.vnet(context.stack).fibs.len() as u32;
    let bad = || Output::failure(USAGE, format!("route: invalid fib number: {text}"));
    let mut fibs = Vec::new();
    for part in text.split(',') {
        match part {
            "all" => fibs.extend(0..count),
            "default" => fibs.push(context.fib),
            _ => {
                let (low, high) = part.split_once('-').unwrap_or((part, part));
                let (low, high): (u32, u32) = (
                    low.parse().map_err(|_| bad())?,
                    high.parse().map_err(|_| bad())?,
                );
                if high >= count {
                    return Err(bad());
                }
                fibs.extend(low..=high);
            }
        }
    }
    Ok(fibs)
}

fn bad_address(text: &str) -> Output {
    Output::failure(68, format!("route: bad address: {text}"))
}

/// An address with the scope of a link-local one embedded, and the interface that scope names.
fn address(kernel: &Kernel, context: &Context, text: &str) -> Option<(IpAddr, Option<IfId>)> {
    let (bare, zone) = text
        .split_once('%')
        .map_or((text, None), |(bare, zone)| (bare, Some(zone)));
    let interface = zone.and_then(|zone| kernel.ifunit(context.stack, zone));
    match bare.parse().ok()? {
        IpAddr::V6(address) if is_link_local(address) => {
            let index = interface.map_or(0, |id| kernel.ifnet(id).index);
            Some((IpAddr::V6(embed_scope(address, index)), interface))
        }
        address @ (IpAddr::V4(_) | IpAddr::V6(_)) => Some((address, None)),
    }
}

/// The destination, and whether it counts as a host (`host` or `net` in the message).
fn destination(
    kernel: &Kernel,
    context: &Context,
    request: &Request,
    text: &str,
) -> Result<(RouteKey, bool), Output> {
    let family = request.family.unwrap_or(if text.contains(':') {
        Family::Inet6
    } else {
        Family::Inet
    });
    if text == "default" {
        return Ok((RouteKey::new(family, 0, 0), false));
    }
    let (bare, plen) = text
        .split_once('/')
        .map_or((text, None), |(bare, plen)| (bare, Some(plen)));
    let plen: Option<u8> = plen
        .map(|plen| plen.parse().map_err(|_| bad_address(text)))
        .transpose()?;
    let (address, _) = address(kernel, context, bare).ok_or_else(|| bad_address(text))?;
    let (family, bits, full) = match address {
        IpAddr::V4(address) => (Family::Inet, u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (Family::Inet6, u128::from(address), 128),
    };
    let plen = plen.or(request.prefix);
    let is_net = request.force_net || plen.is_some_and(|plen| plen < full);
    let is_host = !is_net || request.force_host;
    let prefix = if is_host {
        full
    } else {
        plen.unwrap_or_else(|| classful(address))
    };
    Ok((RouteKey::new(family, bits, prefix), is_host))
}

/// The prefix of `-net` without one: the historical class, or /64.
fn classful(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(address) => match address.octets()[0] {
            0..=127 => 8,
            128..=191 => 16,
            192..=255 => 24,
        },
        IpAddr::V6(_) => 64,
    }
}

/// Where the route is to lead, and through which interface if that is said.
fn gateway(
    kernel: &Kernel,
    context: &Context,
    request: &Request,
    text: &str,
) -> Result<(Gateway, Option<IfId>), Output> {
    if request.interface {
        let interface = kernel
            .ifunit(context.stack, text)
            .ok_or_else(|| bad_address(text))?;
        return Ok((Gateway::Link, Some(interface)));
    }
    let (address, interface) = address(kernel, context, text).ok_or_else(|| bad_address(text))?;
    Ok((Gateway::Address(address), interface))
}

fn edit(
    host: &mut Emulator,
    context: &Context,
    command: &str,
    request: &Request,
    quiet: bool,
) -> Output {
    let Some(target) = request.words.first() else {
        return Output::failure(USAGE, "route: destination parameter required");
    };
    let (key, is_host) = match destination(&host.kernel, context, request, target) {
        Ok(found) => found,
        Err(output) => return output,
    };
    let through = match request
        .words
        .get(1)
        .map(|text| gateway(&host.kernel, context, request, text))
        .transpose()
    {
        Ok(found) => found,
        Err(output) => return output,
    };
    let fibs = request.fibs.clone().unwrap_or_else(|| vec![context.fib]);
    let mut failed = Vec::new();
    for fib in &fibs {
        let result = change(
            &mut host.kernel,
            context,
            command,
            *fib,
            key,
            through,
            is_host,
            request,
        );
        if let Err(error) = result {
            failed.push((*fib, error));
        }
    }
    report(
        &host.kernel,
        context,
        command,
        request,
        &fibs,
        &failed,
        is_host,
        quiet,
    )
}

#[expect(
    clippy::too_many_arguments,
    reason = "one routing message has these parts"
)]
fn change(
    kernel: &mut Kernel,
    context: &Context,
    command: &str,
    fib: u32,
    key: RouteKey,
    through: Option<(Gateway, Option<IfId>)>,
    is_host: bool,
    request: &Request,
) -> Result<(), Errno> {
    if command != "add" && command != "change" {
        let named = through.map(|(gateway, _)| gateway);
        let named = named.filter(|gateway| *gateway != Gateway::Link);
        return kernel.route_delete(context.stack, fib, key, named);
    }
    let Some((gateway, interface)) = through else {
        return Err(Errno::EINVAL);
    };
    let host_flag = if is_host { rtf::HOST } else { 0 };
    let gateway_flag = if gateway == Gateway::Link {
        0
    } else {
        rtf::GATEWAY
    };
    if command == "change" {
        // All paths: what is changed is the route and not one of them (seen on 15.1).
        kernel.route_delete(context.stack, fib, key, None)?;
    }
    kernel.route_add(
        context.stack,
        fib,
        key,
        gateway,
        interface,
        request.flags | host_flag | gateway_flag,
    )
}

#[expect(clippy::too_many_arguments, reason = "the message names all of it")]
fn report(
    kernel: &Kernel,
    context: &Context,
    command: &str,
    request: &Request,
    fibs: &[u32],
    failed: &[(u32, Errno)],
    is_host: bool,
    quiet: bool,
) -> Output {
    let mut output = Output::success();
    let gateway = request
        .words
        .get(1)
        .map(|gateway| format!(": gateway {gateway}"))
        .unwrap_or_default();
    // getaddr of sbin/route/route.c cuts an IPv4 destination's prefix length off in place.
    let shown = if request.words[0].contains(':') {
        request.words[0].as_str()
    } else {
        request.words[0].split('/').next().unwrap_or_default()
    };
    let head = format!(
        "{command} {} {}{gateway}",
        if is_host { "host" } else { "net" },
        shown
    );
    let done: Vec<String> = fibs
        .iter()
        .filter(|fib| !failed.iter().any(|(other, _)| other == *fib))
        .map(u32::to_string)
        .collect();
    if !quiet && !done.is_empty() {
        let several = kernel.vnet(context.stack).fibs.len() > 1;
        output.line(if several {
            format!("{head} fib {}", done.join(","))
        } else {
            head.clone()
        });
    }
    for (fib, error) in failed {
        if !quiet {
            let reason = if *error == Errno::ESRCH {
                "not in table"
            } else if *error == Errno::EBUSY {
                "entry in use"
            } else if *error == Errno::EEXIST {
                "route already in table"
            } else {
                error.text()
            };
            output.line(format!("{head} fib {fib}: {reason}"));
        }
        let line = if *error == Errno::ESRCH {
            "route: route has not been found".to_owned()
        } else {
            format!("route: message indicates error: {}", error.text())
        };
        output.fail(1, line);
    }
    output
}

/// The flags as `route get` names them, in bit order.
fn flag_names(flags: u32) -> String {
    let names = [
        (rtf::UP, "UP"),
        (rtf::GATEWAY, "GATEWAY"),
        (rtf::HOST, "HOST"),
        (rtf::REJECT, "REJECT"),
        (0x40, "DONE"),
        (rtf::STATIC, "STATIC"),
        (rtf::BLACKHOLE, "BLACKHOLE"),
        (rtf::PINNED, "PINNED"),
    ];
    names
        .iter()
        .filter(|(bit, _)| (flags | 0x40) & bit != 0)
        .map(|(_, name)| *name)
        .collect::<Vec<_>>()
        .join(",")
}

fn get(kernel: &Kernel, context: &Context, request: &Request) -> Output {
    let Some(target) = request.words.first() else {
        return Output::failure(USAGE, "route: destination parameter required");
    };
    let (key, _) = match destination(kernel, context, request, target) {
        Ok(found) => found,
        Err(output) => return output,
    };
    let fib = request
        .fibs
        .as_ref()
        .and_then(|fibs| fibs.first().copied())
        .unwrap_or(context.fib);
    let wanted = crate::kernel::route::key_address(key.family, key.address);
    let Some((found, route)) = kernel.route_lookup(context.stack, fib, wanted) else {
        return Output::failure(255, "route: route has not been found");
    };
    let interface = kernel.ifnet(route.interface);
    let text = |address: IpAddr| super::netstat::address_text(address, &interface.name);
    let mut output = Output::success();
    output.line(format!("   route to: {}", text(wanted)));
    output.line(format!(
        "destination: {}",
        text(crate::kernel::route::key_address(
            found.family,
            found.address
        ))
    ));
    if route.flags & rtf::HOST == 0 {
        let mask = match found.family {
            Family::Inet => IpAddr::V4(mask4(found.prefix).into()),
            Family::Inet6 => IpAddr::V6(crate::kernel::addr::mask6(found.prefix).into()),
        };
        output.line(format!("       mask: {mask}"));
    }
    if let Gateway::Address(address) = route.gateway {
        output.line(format!("    gateway: {}", text(address)));
    }
    output.line(format!("        fib: {fib}"));
    output.line(format!("  interface: {}", interface.name));
    output.line(format!("      flags: <{}>", flag_names(route.flags)));
    output.line(" recvpipe  sendpipe  ssthresh  rtt,msec    mtu        weight    expire");
    output.line(format!(
        "       0         0         0         0     {:>5}         1         0 ",
        interface.mtu
    ));
    output
}

fn flush(host: &mut Emulator, context: &Context, request: &Request, quiet: bool) -> Output {
    let mut output = Output::success();
    for fib in request.fibs.clone().unwrap_or_else(|| vec![context.fib]) {
        let families = request
            .family
            .map_or_else(|| vec![Family::Inet, Family::Inet6], |family| vec![family]);
        for family in families {
            for key in host.kernel.routes_with_gateway(context.stack, fib, family) {
                let removed = host.kernel.route_remove(context.stack, fib, key);
                if let Some(Gateway::Address(gateway)) =
                    removed.map(|route| route.gateway).filter(|_| !quiet)
                {
                    let name =
                        super::netstat::destination_text(key.family, key.address, key.prefix, "");
                    output.line(format!(
                        "{name:<20.20} {gateway:<20.20} {}done",
                        format_args!("-fib {fib:<3} ")
                    ));
                }
            }
        }
    }
    output
}
