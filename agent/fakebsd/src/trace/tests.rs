//! The tracer beyond what the recordings cover: IPv6, forwarding, links that are down.

use std::net::IpAddr;

use super::{Outcome, Probe, Protocol};
use crate::emulator::Emulator;
use crate::hardware::HardwareProfile;
use crate::release::Release;

fn host(lines: &str) -> Emulator {
    let mut host = Emulator::new(Release::V15_1, HardwareProfile::recorded());
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let output = host.sh(line);
        assert!(output.is_success(), "{line}: {}", output.stderr);
    }
    host
}

fn tcp(from: Option<&str>, destination: &str, port: u16) -> Probe {
    let destination: IpAddr = destination.parse().expect("the test names an address");
    Probe {
        from: from.map(str::to_owned),
        destination,
        protocol: Protocol::Tcp(port),
        fib: 0,
        source: None,
    }
}

const TWO_JAILS: &str = "
    ifconfig bridge create
    ifconfig epair create
    ifconfig epair create
    ifconfig bridge0 addm epair0a addm epair1a up
    ifconfig epair0a up
    ifconfig epair1a up
    jail -c name=a vnet persist path=/
    jail -c name=b vnet persist path=/
    ifconfig epair0b vnet a
    ifconfig epair1b vnet b
    ifconfig -j a epair0b inet6 fd00::a/64 no_dad up
    ifconfig -j b epair1b inet6 fd00::b/64 no_dad up
";

#[test]
fn ipv6_crosses_a_bridge() {
    let mut host = host(TWO_JAILS);
    host.listen("b", 80, "b\n");
    let trace = host.trace(&tcp(Some("a"), "fd00::b", 80));
    assert!(trace.answered(), "{trace:?}");
}

#[test]
fn a_member_that_is_down_carries_nothing() {
    let mut host = host(TWO_JAILS);
    host.listen("b", 80, "b\n");
    assert!(host.sh("ifconfig epair1a down").is_success());
    let trace = host.trace(&tcp(Some("a"), "fd00::b", 80));
    assert!(
        matches!(
            trace.outcome,
            Outcome::Lost {
                returning: false,
                ..
            }
        ),
        "{trace:?}"
    );
}

#[test]
fn nobody_listening_is_refused() {
    let mut host = host(TWO_JAILS);
    let trace = host.trace(&tcp(Some("a"), "fd00::b", 81));
    assert_eq!(trace.outcome, Outcome::Refused { by: "b".into() });
}

#[test]
fn what_leads_out_of_a_card_leaves_the_host() {
    let mut host = host("");
    let trace = host.trace(&tcp(None, "192.0.2.1", 80));
    assert_eq!(
        trace.outcome,
        Outcome::LeftHost {
            interface: "vtnet0".into()
        }
    );
}
