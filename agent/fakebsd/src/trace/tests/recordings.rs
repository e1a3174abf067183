//! Every recorded `nc` and `ping` that runs without a shell: the commands before it are run, and the trace must say what was
//! recorded: reached or not, by whom, and which source the listener saw.

use std::net::IpAddr;
use std::time::Duration;

use crate::emulator::Emulator;
use crate::hardware::HardwareProfile;
use crate::kernel::addr::embed_scope;
use crate::kernel::vnet::HOST;
use crate::release::Release;
use crate::replay::TRANSCRIPTS;
use crate::replay::transcript::{self, Entry, Recorded, words};
use crate::trace::{Listening, Origin, Place, Probe, Protocol, Verdict};

/// Commands the recorder ran without writing them down: `file | line before which | command | proof`.
const UNRECORDED: &str = include_str!("../../../unrecorded.txt");

/// The port on which recording `09` bound its listener to 127.0.0.1.
const LOOPBACK_PORT: u16 = 9100;

/// What a listener logged, from the remark behind a connection.
struct Saw {
    jail: String,
    port: u16,
    source: Option<IpAddr>,
}

fn saw(entry: Option<&Entry>) -> Option<Saw> {
    let Some(Entry::Remark(text)) = entry else {
        return None;
    };
    let (head, tail) = text.split_once(" saw:")?;
    let (jail, port) = head.split_once(" port ")?;
    let source = tail
        .split_whitespace()
        .nth(2)
        .and_then(|word| word.parse().ok());
    Some(Saw {
        jail: jail.to_owned(),
        port: port.parse().ok()?,
        source,
    })
}

/// The probe that a recorded command amounts to, if it is a ping or a connection.
fn probe(host: &Emulator, recorded: &Recorded) -> Option<Probe> {
    let mut words: &[String] = &recorded.argv;
    let (mut from, mut fib) = (Origin::Host, None);
    loop {
        words = match words {
            [program, value, rest @ ..] if program == "setfib" => {
                fib = Some(value.parse().ok()?);
                rest
            }
            [program, jail, rest @ ..] if program == "jexec" => {
                from = Origin::Jail(jail.clone());
                rest
            }
            _ => break,
        };
    }
    let (program, operands) = words.split_first()?;
    let last = |nth: usize| operands.iter().rev().nth(nth);
    match program.as_str() {
        "ping" => {
            let mut probe = Probe::new(from, last(0)?.parse().ok()?, Protocol::Icmp, 0);
            let bound = operands.iter().position(|word| word == "-S");
            probe.source = bound.and_then(|at| operands.get(at + 1)?.parse().ok());
            Some(Probe { fib, ..probe })
        }
        "nc" => {
            let probe = Probe::tcp(from, scoped(host, last(1)?)?, last(0)?.parse().ok()?);
            Some(Probe { fib, ..probe })
        }
        _ => None,
    }
}

/// An address as a socket has it: of a link-local one with the number of the interface behind its `%`.
fn scoped(host: &Emulator, text: &str) -> Option<IpAddr> {
    let Some((address, zone)) = text.split_once('%') else {
        return text.parse().ok();
    };
    let kernel = &host.kernel;
    let index = kernel.ifnet(kernel.ifunit(HOST, zone)?).index;
    Some(IpAddr::V6(embed_scope(address.parse().ok()?, index)))
}

fn check(host: &Emulator, file: &str, recorded: &Recorded, probe: &Probe, saw: Option<&Saw>) {
    let place = format!("{file} line {}: {}", recorded.line, recorded.text);
    let answered = recorded.output.status == 0;
    let Some(saw) = saw else {
        let trace = host.trace(probe);
        assert_eq!(trace.reached(), answered, "{place}\n{trace}");
        return;
    };
    let listening = if saw.port == LOOPBACK_PORT {
        Listening::Loopback
    } else {
        Listening::Everywhere
    };
    let trace = host.trace(&Probe {
        listening,
        ..probe.clone()
    });
    let wanted = Place::Jail(saw.jail.clone());
    let seen = match &trace.verdict {
        Verdict::Reached { by, source } if by.place == wanted && by.port == saw.port => {
            Some(*source)
        }
        Verdict::Reached { .. } | Verdict::Blocked { .. } | Verdict::Lost { .. } => None,
    };
    assert_eq!(seen, saw.source, "{place}\n{trace}");
    assert_eq!(seen.is_some(), answered, "{place}\n{trace}");
    if saw.port != LOOPBACK_PORT {
        let mut host = host.clone();
        host.listen(&saw.jail, saw.port, "hello\n");
        let trace = host.trace(&Probe {
            listening: Listening::Emulated,
            ..probe.clone()
        });
        assert_eq!(trace.reached(), answered, "{place}\n{trace}");
    }
}

/// Checks one recording and returns how many connections it has.
fn follow(file: &str, text: &str) -> usize {
    let entries =
        transcript::parse(text).expect("the recordings in the repository follow the grammar");
    let mut host = Emulator::new(Release::V15_1, HardwareProfile::recorded());
    host.command_time = Duration::from_millis(200);
    let mut checked = 0;
    for (at, entry) in entries.iter().enumerate() {
        match entry {
            Entry::Remark(_) => {}
            Entry::File { path, text } => {
                let directory = path.rfind('/').map_or("/", |at| &path[..at]);
                host.files
                    .create_directories(directory)
                    .expect("nothing stands in the way on a fresh host");
                host.files
                    .write(path, text)
                    .expect("its directory was just made");
            }
            Entry::Command(recorded) => {
                for fields in UNRECORDED
                    .lines()
                    .map(|line| line.split(" | ").collect::<Vec<_>>())
                {
                    if fields.first() == Some(&file) && fields[1].parse() == Ok(recorded.line) {
                        host.run(
                            &words(fields[2]).expect("the list's commands can be cut into words"),
                            "",
                        );
                    }
                }
                let saw = saw(entries.get(at + 1));
                if let Some(probe) = probe(&host, recorded) {
                    check(&host, file, recorded, &probe, saw.as_ref());
                    checked += 1;
                }
                if let Some(saw) = saw {
                    host.listen(&saw.jail, saw.port, &format!("hello from {}\n", saw.jail));
                }
                host.run(&recorded.argv, &recorded.stdin);
            }
        }
    }
    checked
}

fn follow_named(number: &str) -> usize {
    let found = TRANSCRIPTS
        .iter()
        .find(|(file, _)| file.starts_with(number));
    let (file, text) = found.expect("the test names a recording");
    follow(file, text)
}

#[test]
fn epair_and_bridge() {
    assert_eq!(follow_named("02"), 3);
}

#[test]
fn routed_point_to_point() {
    assert_eq!(follow_named("04"), 4);
}

#[test]
fn a_netgraph_switch_without_uplink() {
    assert_eq!(follow_named("06"), 1);
}

#[test]
fn nat_redirects_hairpins_loopback_isolation_and_bridges() {
    assert_eq!(follow_named("09"), 29);
}

#[test]
fn isolation_and_fibs() {
    assert_eq!(follow_named("12"), 10);
}

#[test]
fn jails_that_do_not_reach_each_other() {
    assert_eq!(follow_named("18"), 45);
}

#[test]
fn switches() {
    assert_eq!(follow_named("14"), 21);
}
