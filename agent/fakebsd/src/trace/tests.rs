//! The tracer held to the recordings, and beyond them to what FreeBSD's source says.

mod beyond;
mod outside;
mod reachability;
mod recordings;

use std::net::IpAddr;

use super::{Cause, Origin, Place, Probe, Trace, Verdict};
use crate::emulator::Emulator;
use crate::hardware::HardwareProfile;
use crate::release::Release;

/// A host on which every line was run and accepted.
fn host(lines: &str) -> Emulator {
    let mut host = Emulator::new(Release::V15_1, HardwareProfile::recorded());
    run(&mut host, lines);
    host
}

fn run(host: &mut Emulator, lines: &str) {
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let output = host.sh(line);
        assert!(output.is_success(), "{line}: {}", output.stderr);
    }
}

/// Loads rules into an anchor, or into the main ruleset.
fn load(host: &mut Emulator, anchor: &str, rules: &str) {
    let mut argv = vec!["pfctl"];
    if !anchor.is_empty() {
        argv.extend(["-a", anchor]);
    }
    argv.extend(["-f", "-"]);
    let argv: Vec<String> = argv.into_iter().map(str::to_owned).collect();
    let output = host.run(&argv, rules);
    assert!(output.is_success(), "{rules}: {}", output.stderr);
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("the test names an address")
}

fn jail(name: &str) -> Origin {
    Origin::Jail(name.to_owned())
}

fn tcp(host: &Emulator, from: Origin, to: &str, port: u16) -> Trace {
    host.trace(&Probe::tcp(from, ip(to), port))
}

/// Asserts who was reached, and which source it saw.
fn assert_reached(trace: &Trace, place: &Place, source: &str) {
    match &trace.verdict {
        Verdict::Reached { by, source: seen } => {
            assert_eq!((&by.place, *seen), (place, ip(source)), "{trace}");
        }
        Verdict::Blocked { .. } | Verdict::Lost { .. } => panic!("{trace}"),
    }
}

fn assert_lost(trace: &Trace, expected: Cause) {
    match &trace.verdict {
        Verdict::Lost { cause, .. } => assert_eq!(*cause, expected, "{trace}"),
        Verdict::Reached { .. } | Verdict::Blocked { .. } => panic!("{trace}"),
    }
}

fn assert_blocked(trace: &Trace, expected: &str) {
    match &trace.verdict {
        Verdict::Blocked { by } => assert_eq!(by, expected, "{trace}"),
        Verdict::Reached { .. } | Verdict::Lost { .. } => panic!("{trace}"),
    }
}
