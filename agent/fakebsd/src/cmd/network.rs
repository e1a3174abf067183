//! ping(8), nc(1), arp(8) and ndp(8): they ask the tracer, and leave behind what they would: connections, listeners, time.

use std::net::IpAddr;
use std::time::Duration;

use super::{Context, TIMED_OUT};
use crate::emulator::{Emulator, Listener};
use crate::kernel::addr::embed_scope;
use crate::kernel::ifnet::mac_text;
use crate::output::Output;
use crate::trace::{Cause, Listening, Origin, Probe, Protocol, Verdict};

/// Runs one of them with the words after its name.
pub(crate) fn run(
    host: &mut Emulator,
    context: &Context,
    program: &str,
    arguments: &[String],
    stdin: &str,
) -> Output {
    match program {
        "ping" => ping(host, context, arguments),
        "nc" => netcat(host, context, arguments, stdin),
        "arp" | "ndp" => neighbour(host, context, program, arguments),
        _ => Output::success(),
    }
}

fn probe(host: &Emulator, context: &Context, to: IpAddr, protocol: Protocol, port: u16) -> Probe {
    let jail = host.kernel.jail(context.jid);
    let from = jail.map_or(Origin::Host, |jail| Origin::Jail(jail.name.clone()));
    Probe {
        fib: Some(context.fib),
        listening: Listening::Emulated,
        ..Probe::new(from, to, protocol, port)
    }
}

pub(super) fn pass(host: &mut Emulator, time: Duration) {
    match host.detached {
        Some(elapsed) => host.detached = Some(elapsed + time),
        None => host.advance(time),
    }
}

/// The value after an option, for a program whose options all take one unless listed in `plain`.
fn option<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
    arguments
        .iter()
        .position(|word| word == name)
        .and_then(|at| arguments.get(at + 1))
        .map(String::as_str)
}

/// `ping [-c count] [-t timeout] [-S source] host`
fn ping(host: &mut Emulator, context: &Context, arguments: &[String]) -> Output {
    let Some(target) = arguments
        .last()
        .and_then(|word| word.parse::<IpAddr>().ok())
    else {
        return Output::failure(64, "usage: ping [-c count] [-t timeout] host");
    };
    let count: u32 = option(arguments, "-c")
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    let timeout: u64 = option(arguments, "-t")
        .and_then(|text| text.parse().ok())
        .unwrap_or(10);
    let mut asked = probe(host, context, target, Protocol::Icmp, 0);
    host.kernel.neighbours.insert((context.stack, target));
    asked.source = option(arguments, "-S").and_then(|text| text.parse().ok());
    let mut output = Output::success();
    let from = asked
        .source
        .map(|source| format!(" from {source}"))
        .unwrap_or_default();
    output.line(format!("PING {target} ({target}){from}: 56 data bytes"));
    let mut received = 0;
    for sequence in 0..count {
        let sent = host.send(&asked);
        if sent.trace.reached() {
            received += 1;
            let ttl = sent.ttl;
            output.line(format!(
                "64 bytes from {target}: icmp_seq={sequence} ttl={ttl} time=0.100 ms"
            ));
        }
    }
    pass(
        host,
        Duration::from_secs(if received == count {
            u64::from(count.saturating_sub(1))
        } else {
            timeout
        }),
    );
    let lost = 100.0 * f64::from(count - received) / f64::from(count.max(1));
    output.line("");
    output.line(format!("--- {target} ping statistics ---"));
    output.line(format!(
        "{count} packets transmitted, {received} packets received, {lost:.1}% packet loss"
    ));
    if received > 0 {
        output.line("round-trip min/avg/max/stddev = 0.100/0.100/0.100/0.000 ms");
    } else {
        output.status = 2;
    }
    output
}

/// `arp -n address`, `ndp -n address`: an entry is there once somebody was asked for, and has a MAC address where he answers; it has no age here. Anything else shows nothing.
fn neighbour(host: &Emulator, context: &Context, program: &str, arguments: &[String]) -> Output {
    let [words, address] = arguments else {
        return Output::success();
    };
    let Some(address) = address.parse::<IpAddr>().ok().filter(|_| words == "-n") else {
        return Output::success();
    };
    let id = host.kernel.interface_towards(context.stack, address);
    let asked = host.kernel.neighbours.contains(&(context.stack, address));
    let mut output = Output::default();
    let Some(id) = id.filter(|_| asked && address.is_ipv4() == (program == "arp")) else {
        let told = format!("{address} ({address}) -- no entry");
        if program == "ndp" {
            return Output::failure(1, format!("ndp: {told}"));
        }
        output.line(told);
        output.status = 1;
        return output;
    };
    let mac = host.resolved(id, address);
    let mac = mac.map_or("(incomplete)".to_owned(), mac_text);
    let on = &host.kernel.ifnet(id).name;
    if program == "arp" {
        output.line(format!(
            "? ({address}) at {mac} on {on} expires in 1200 seconds [ethernet]"
        ));
    } else {
        let address = address.to_string();
        output.line(
            "Neighbor                             Linklayer Address  Netif Expire    S Flags",
        );
        output.line(format!("{address:<36} {mac:<17} {on:>6} 23h59m59s R "));
    }
    output
}

/// An address as getaddrinfo(3) reads it: a link-local one gets the number of the interface behind its `%`.
fn scoped(host: &Emulator, context: &Context, text: &str) -> Option<IpAddr> {
    let Some((address, zone)) = text.split_once('%') else {
        return text.parse().ok();
    };
    let kernel = &host.kernel;
    let index = kernel.ifnet(kernel.ifunit(context.stack, zone)?).index;
    Some(IpAddr::V6(embed_scope(address.parse().ok()?, index)))
}

/// `nc -l address port` leaves a listener; `nc [-nvz] [-w seconds] address port` connects. What `-v` says is contrib/netcat/netcat.c's.
fn netcat(host: &mut Emulator, context: &Context, arguments: &[String], stdin: &str) -> Output {
    let mut operands = Vec::new();
    let (mut listens, mut timeout) = (false, None);
    let (mut is_told, mut is_scan) = (false, false);
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.strip_prefix('-') {
            Some("w") => timeout = words.next().and_then(|text| text.parse::<u64>().ok()),
            Some(letters) => {
                listens |= letters.contains('l');
                is_told |= letters.contains('v');
                is_scan |= letters.contains('z');
            }
            None => operands.push(word.as_str()),
        }
    }
    let [address, port] = operands[..] else {
        return Output::failure(1, "usage: nc [-l] [-w timeout] address port");
    };
    let (Some(address), Ok(port)) = (scoped(host, context, address), port.parse::<u16>()) else {
        return Output::failure(1, format!("nc: port number invalid: {port}"));
    };
    if listens {
        listen(host, context, address, port, (stdin, None));
        return Output::success();
    }
    let open_for = host.detached.unwrap_or(Duration::ZERO);
    let asked = probe(host, context, address, Protocol::Tcp, port);
    let sent = host.send(&asked);
    match sent.trace.verdict {
        Verdict::Reached { .. } => {
            connect(host, context, address, open_for);
            let mut output = Output::success();
            if is_told || is_scan {
                output.stderr = format!("Connection to {address} {port} port [tcp/*] succeeded!\n");
            }
            if !is_scan {
                output.stdout = sent.banner;
            }
            return output;
        }
        // A reset answers at once.
        Verdict::Lost {
            cause: Cause::NobodyListens,
            ..
        } => return refused(is_told, address, port, "Connection refused"),
        // The kernel says so at once (`in_pcbconnect`, sys/netinet/in_pcb.c).
        Verdict::Lost {
            cause: Cause::NoRoute,
            ..
        } => return refused(is_told, address, port, "No route to host"),
        Verdict::Lost {
            cause: Cause::NoAddress,
            ..
        } => return refused(is_told, address, port, "Can't assign requested address"),
        Verdict::Lost { .. } | Verdict::Blocked { .. } => {}
    }
    let span = Duration::from_secs(timeout.unwrap_or(75));
    let left = context
        .deadline
        .map(|deadline| deadline.saturating_sub(host.kernel.now));
    // Whoever ends it at the time at which it would give up itself is first: it was started before.
    if let Some(left) = left.filter(|left| *left <= span) {
        pass(host, left);
        return Output {
            status: TIMED_OUT,
            ..Output::default()
        };
    }
    pass(host, span);
    refused(is_told, address, port, "Operation timed out")
}

fn refused(is_told: bool, address: IpAddr, port: u16, why: &str) -> Output {
    let mut output = Output {
        status: 1,
        ..Output::default()
    };
    if is_told {
        output.stderr = format!("nc: connect to {address} port {port} (tcp) failed: {why}\n");
    }
    output
}

/// `daemon -f nc -lk address port`: it listens as long as the process `pid` is there, and says nothing.
pub(super) fn serve(host: &mut Emulator, context: &Context, words: &[String], pid: u32) -> Output {
    let listens = |word: &String| word.starts_with('-') && word.contains('l');
    let operands: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    if let [address, port] = operands[..]
        && words.iter().any(listens)
        && let (Some(address), Ok(port)) = (scoped(host, context, address), port.parse())
    {
        listen(host, context, address, port, ("", Some(pid)));
    }
    Output::success()
}

/// A socket bound to a loopback address in a jail without a stack of its own is bound to the jail's first address.
fn listen(
    host: &mut Emulator,
    context: &Context,
    address: IpAddr,
    port: u16,
    (banner, pid): (&str, Option<u32>),
) {
    let jail = host.kernel.jail(context.jid);
    let name = jail.map_or("host", |jail| jail.name.as_str()).to_owned();
    let first = jail
        .filter(|jail| !jail.owns_stack && address.is_loopback())
        .and_then(|jail| match address {
            IpAddr::V4(_) => jail.ip4.list().first().map(|first| IpAddr::V4(*first)),
            IpAddr::V6(_) => jail.ip6.list().first().map(|first| IpAddr::V6(*first)),
        });
    let bound = Some(first.unwrap_or(address)).filter(|address| !address.is_unspecified());
    host.listeners.insert(
        (name, port),
        Listener {
            jid: Some(context.jid),
            pid,
            address: bound,
            banner: banner.to_owned(),
        },
    );
}

/// An established connection holds both stacks until its client closes.
fn connect(host: &mut Emulator, context: &Context, address: IpAddr, open_for: Duration) {
    let closes = host.kernel.now + open_for;
    let far = host.kernel.stack_of_address(address);
    for stack in [Some(context.stack), far].into_iter().flatten() {
        let interface = host.kernel.interface_towards(stack, address);
        host.kernel.connect(stack, interface, closes);
    }
}
