//! Which connections a firewall permits.

use std::net::IpAddr;

use cellblock_schemas::ids::Uid;
use cellblock_schemas::net::PortRange;
use cellblock_schemas::owner::{IdMatch, Relation};

use super::{At, Flow, JailFirewall, Link, Rule, Rules, TCP};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn rule(passes: bool, port: u16) -> Rule {
    let ports = (port > 0).then_some(PortRange {
        first: port,
        last: port,
    });
    Rule {
        passes,
        network: None,
        protocol: ports.map(|_| TCP),
        ports: ports.into_iter().collect(),
        peers: None,
        user: None,
        group: None,
    }
}

fn rules(list: Vec<Rule>, passes_rest: bool) -> Rules {
    Rules { list, passes_rest }
}

fn firewall(at: At, ingress: Rules, egress: Rules) -> JailFirewall {
    let addresses = [ip("10.0.0.5"), ip("fd00::5")].into_iter().collect();
    JailFirewall {
        jail: Uid("one".to_owned()),
        own: [ip("10.0.0.5"), ip("fd00::5"), ip("10.1.0.5")].into(),
        links: vec![Link {
            network: "lan".to_owned(),
            addresses,
            at,
            outward: Vec::new(),
        }],
        ingress,
        egress,
    }
}

fn flow(from: &str, to: &str, port: u16) -> Flow {
    Flow {
        interface: "igb0".to_owned(),
        inward: true,
        protocol: "tcp".to_owned(),
        from: (ip(from), 49152),
        to: (ip(to), port),
    }
}

#[test]
fn the_first_rule_that_matches_decides() {
    let open = || rules(Vec::new(), true);
    let one = firewall(
        At::Stack,
        rules(vec![rule(false, 25), rule(true, 0)], false),
        open(),
    );
    assert!(!one.permits(&flow("10.9.9.9", "10.0.0.5", 25), true));
    assert!(one.permits(&flow("10.9.9.9", "10.0.0.5", 80), true));
    assert!(
        one.permits(&flow("10.0.0.5", "10.9.9.9", 25), true),
        "it goes out"
    );
    let other = firewall(
        At::Stack,
        rules(vec![rule(true, 0), rule(false, 25)], false),
        open(),
    );
    assert!(other.permits(&flow("10.9.9.9", "10.0.0.5", 25), true));
    let closed = firewall(At::Stack, rules(vec![rule(true, 80)], false), open());
    assert!(!closed.permits(&flow("fd00::9", "fd00::5", 81), true));
    assert!(
        closed.permits(&flow("10.0.0.5", "10.1.0.5", 81), true),
        "to itself"
    );
    assert!(
        closed.permits(&flow("10.9.9.9", "10.8.8.8", 81), true),
        "somebody else's"
    );
}

#[test]
fn selections_of_nobody_are_about_nobody() {
    let mut nobody = rule(true, 0);
    nobody.peers = Some([].into());
    let one = firewall(
        At::Stack,
        rules(vec![nobody], false),
        rules(Vec::new(), true),
    );
    assert!(!one.permits(&flow("10.9.9.9", "10.0.0.5", 80), true));
}

#[test]
fn what_comes_out_of_a_link_is_the_jails_whatever_its_source_says() {
    let host_end = "cbaaaa".to_owned();
    let one = firewall(
        At::HostEnd(host_end.clone()),
        rules(Vec::new(), true),
        rules(vec![rule(false, 25)], true),
    );
    let forged = |port| Flow {
        interface: host_end.clone(),
        ..flow("10.66.6.6", "10.9.9.9", port)
    };
    assert!(!one.permits(&forged(25), true));
    assert!(one.permits(&forged(26), true));
    assert!(one.permits(&flow("10.66.6.6", "10.9.9.9", 25), true));
}

#[test]
fn owners_are_told_by_no_state() {
    let mut smtp = rule(false, 25);
    smtp.user = Some(IdMatch::One(Relation::More, 1000));
    let one = firewall(
        At::Stack,
        rules(Vec::new(), true),
        rules(vec![smtp.clone()], true),
    );
    let mail = flow("10.0.0.5", "10.9.9.9", 25);
    assert!(!one.permits(&mail, true), "it may be older than the rule");
    assert!(one.permits(&mail, false), "the rule let it be made");
    assert!(one.permits(&flow("10.0.0.5", "10.9.9.9", 26), true));
    smtp.passes = true;
    let only = firewall(At::Stack, rules(Vec::new(), true), rules(vec![smtp], false));
    assert!(!only.permits(&mail, true));
    assert!(only.permits(&mail, false));
}

#[test]
fn protocols_without_a_known_name_are_kept_for_no_rule() {
    let other = |passes| Rule {
        protocol: Some(103),
        ..rule(passes, 0)
    };
    let pim = Flow {
        protocol: "pim".to_owned(),
        ..flow("10.9.9.9", "10.0.0.5", 0)
    };
    let numbered = Flow {
        protocol: "103".to_owned(),
        ..pim.clone()
    };
    let one = |passes, passes_rest| {
        firewall(
            At::Stack,
            rules(vec![other(passes)], passes_rest),
            rules(Vec::new(), true),
        )
    };
    assert!(!one(false, true).permits(&pim, true));
    assert!(!one(true, false).permits(&pim, true));
    assert!(one(true, false).permits(&numbered, true));
    let tcp = flow("10.9.9.9", "10.0.0.5", 80);
    assert!(one(false, true).permits(&tcp, true));
}
