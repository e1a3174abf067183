//! Where packets go: the findings of recordings `09` and `12`, one crossing at a time.

use crate::pf::rule::{Direction, Return};
use crate::pf::{Release, VerdictAction};

use super::host::{Rig, answer, interface, ping, syn};

const NET1: &str = "nat pass on epair0a inet from 192.0.2.0/28 to any -> 203.0.113.1
rdr pass on epair0a inet proto tcp from any to 203.0.113.1 port 3306 -> 192.0.2.3
rdr pass on epair0a inet proto tcp from any to 203.0.113.1 port { 21, 80, 443 } -> 192.0.2.4
rdr pass on epair0a inet proto tcp from any to 203.0.113.1 port 81 -> 192.0.2.5 port 80
block in quick on epair0a inet proto tcp from any to 203.0.113.1 port 111
";

fn from_outside(port: u16) -> crate::pf::Packet {
    syn(
        Direction::In,
        "epair0a",
        ("203.0.113.100", 40_000),
        ("203.0.113.1", port),
    )
}

fn target(packet: &crate::pf::Packet) -> String {
    format!("{}:{}", packet.destination, packet.destination_port)
}

#[test]
fn redirects_lead_to_the_jails_and_back() {
    let mut rig = Rig::with_anchors();
    rig.load("cellblock/net1", NET1);
    for (port, expected) in [
        (3306, "192.0.2.3:3306"),
        (443, "192.0.2.4:443"),
        (81, "192.0.2.5:80"),
    ] {
        let request = from_outside(port);
        let verdict = rig.filter(&request);
        assert!(verdict.passes());
        assert_eq!(target(&verdict.packet), expected);
        assert!(
            verdict.explanation[0].starts_with("rdr by rule "),
            "{:?}",
            verdict.explanation
        );
        assert!(verdict.explanation[0].contains("of anchor cellblock/net1"));
        // The jail's answer carries the public address again.
        let back = rig.filter(&answer(&verdict.packet));
        assert_eq!(
            (back.packet.source, back.packet.source_port),
            (request.destination, port)
        );
        assert_eq!(back.state, verdict.state);
    }
    // The second public address is not redirected.
    let other = syn(
        Direction::In,
        "epair0a",
        ("203.0.113.100", 40_001),
        ("203.0.113.2", 3306),
    );
    assert_eq!(target(&rig.filter(&other).packet), "203.0.113.2:3306");
}

#[test]
fn a_blocked_port_is_blocked_by_its_rule() {
    let mut rig = Rig::with_anchors();
    rig.load("cellblock/net1", NET1);
    let verdict = rig.filter(&from_outside(111));
    let expected = VerdictAction::Block {
        anchor: "cellblock/net1".to_owned(),
        rule: Some(0),
        answer: Return::Drop,
    };
    assert_eq!(verdict.action, expected);
    assert_eq!(
        verdict.explanation,
        ["blocked by rule 0 of anchor cellblock/net1"]
    );
}

#[test]
fn an_anchor_nobody_refers_to_does_nothing() {
    let mut rig = Rig::with_anchors();
    rig.load("stray", NET1);
    assert_eq!(
        target(&rig.filter(&from_outside(3306)).packet),
        "203.0.113.1:3306"
    );
    assert!(rig.filter(&from_outside(111)).passes());
}

#[test]
fn nat_hides_the_jails_and_brings_answers_back() {
    let mut rig = Rig::with_anchors();
    rig.load("cellblock/net1", NET1);
    let request = syn(
        Direction::Out,
        "epair0a",
        ("192.0.2.3", 27_120),
        ("203.0.113.100", 9002),
    );
    let out = rig.filter(&request).packet;
    assert_eq!(out.source.to_string(), "203.0.113.1");
    assert!((50_001..=65_535).contains(&out.source_port));
    let back = rig.filter(&answer(&out)).packet;
    assert_eq!(target(&back), "192.0.2.3:27120");
    // A second connection from the same port of another jail gets a port of its own.
    let second = syn(
        Direction::Out,
        "epair0a",
        ("192.0.2.4", 27_120),
        ("203.0.113.100", 9002),
    );
    assert_ne!(rig.filter(&second).packet.source_port, out.source_port);
}

#[test]
fn echo_requests_are_translated_by_their_identifier() {
    let mut rig = Rig::with_anchors();
    rig.load("cellblock/net1", NET1);
    let request = ping(Direction::Out, "epair0a", "192.0.2.3", "203.0.113.100", 77);
    let out = rig.filter(&request).packet;
    assert_eq!(out.source.to_string(), "203.0.113.1");
    let back = rig.filter(&answer(&out)).packet;
    assert_eq!(
        (
            back.destination.to_string().as_str(),
            back.icmp.map(|icmp| icmp.id)
        ),
        ("192.0.2.3", Some(77))
    );
}

/// Recording `09`: the redirect serves the host itself only with a rule on lo0.
#[test]
fn hairpins_need_a_rule_on_lo0() {
    let mut rig = Rig::with_anchors();
    rig.load("cellblock/net1", NET1);
    let hairpin = syn(
        Direction::In,
        "lo0",
        ("192.0.2.4", 41_000),
        ("203.0.113.1", 3306),
    );
    assert_eq!(target(&rig.filter(&hairpin).packet), "203.0.113.1:3306");
    rig.run(&["-F", "states"], "");
    rig.load(
        "cellblock/net1",
        "rdr pass on { epair0a, lo0 } inet proto tcp from any to 203.0.113.1 port 3306 -> 192.0.2.3\n",
    );
    assert_eq!(target(&rig.filter(&hairpin).packet), "192.0.2.3:3306");
}

/// Recording `09`: binat works only with a `binat-anchor` line, and then comes before nat.
#[test]
fn binat_needs_its_own_line() {
    let mut rig = Rig::with_anchors();
    rig.load("cellblock/net1", NET1);
    rig.load(
        "cellblock/binat",
        "binat on epair0a inet from 192.0.2.5 to any -> 203.0.113.2\n",
    );
    rig.load(
        "",
        "nat-anchor \"cellblock/*\"\nrdr-anchor \"cellblock/*\"\nanchor \"cellblock/*\"\n",
    );
    let out = |rig: &mut Rig, port| {
        let request = syn(
            Direction::Out,
            "epair0a",
            ("192.0.2.5", port),
            ("203.0.113.100", 9003),
        );
        rig.filter(&request).packet
    };
    assert_eq!(out(&mut rig, 1000).source.to_string(), "203.0.113.1");
    rig.load("", "nat-anchor \"cellblock/*\"\nrdr-anchor \"cellblock/*\"\nbinat-anchor \"cellblock/*\"\nanchor \"cellblock/*\"\n");
    let packet = out(&mut rig, 1001);
    assert_eq!(
        (packet.source.to_string().as_str(), packet.source_port),
        ("203.0.113.2", 1001)
    );
    let request = syn(
        Direction::In,
        "epair0a",
        ("203.0.113.100", 5),
        ("203.0.113.2", 9401),
    );
    assert_eq!(target(&rig.filter(&request).packet), "192.0.2.5:9401");
}

/// `no binat` keeps ICMPv6 to the public address with the host, neighbour discovery among it: `pf_test_rule` of sys/netpfil/pf/pf.c translates that like all else.
#[test]
fn a_whole_address_leaves_its_icmp6_with_the_host() {
    let whole = "binat on epair0a inet6 from fd00:20::5 to any tag \"t\" -> 2001:db8::2\npass in quick on epair0a inet6 from any to fd00:20::5 tagged \"t\" keep state label \"in\"\npass out quick on epair0a inet6 from 2001:db8::2 to any tagged \"t\" keep state label \"out\"\nblock\n";
    let except = "no binat on epair0a inet6 proto ipv6-icmp from any to 2001:db8::2\n";
    for release in [Release::V15, Release::V14] {
        let echo = |rig: &mut Rig| {
            let echo = ping(Direction::In, "epair0a", "2001:db8::100", "2001:db8::2", 7);
            rig.filter(&echo).packet.destination.to_string()
        };
        let mut rig = Rig::with_anchors();
        rig.host.release = release;
        rig.load("cellblock/j01", whole);
        assert_eq!(echo(&mut rig), "fd00:20::5");
        rig.run(&["-F", "states"], "");
        rig.load("cellblock/j01", &format!("{except}{whole}"));
        assert_eq!(echo(&mut rig), "2001:db8::2");
        let shown = rig.run(&["-a", "cellblock/j01", "-sn"], "").stdout;
        assert_eq!(shown.lines().count(), 2, "{shown}");
        assert!(shown.starts_with(except), "{shown}");
        // All else is translated, and what goes out too.
        let (outside, inside) = (("2001:db8::100", 40_000), ("fd00:20::5", 80));
        let come = rig.filter(&syn(Direction::In, "epair0a", outside, ("2001:db8::2", 80)));
        assert!(come.passes());
        assert_eq!(target(&come.packet), "fd00:20::5:80");
        let gone = rig.filter(&syn(
            Direction::Out,
            "epair0a",
            inside,
            ("2001:db8::100", 443),
        ));
        assert!(gone.passes());
        assert_eq!(gone.packet.source.to_string(), "2001:db8::2");
        let ask = ping(Direction::Out, "epair0a", "fd00:20::5", "2001:db8::100", 9);
        let ask = rig.filter(&ask).packet;
        assert_eq!(ask.source.to_string(), "2001:db8::2");
        let back = rig.filter(&answer(&ask)).packet;
        assert_eq!(back.destination.to_string(), "fd00:20::5");
        // Each way has its label.
        for label in ["in", "out"] {
            let killed = rig.run(&["-k", "label", "-k", label], "").stderr;
            assert!(!killed.contains("killed 0 "), "{label}: {killed}");
        }
    }
}

/// Of `nat` in two anchors 14 takes the first and 15.1 the last, so that a jail's own stands before its network's, in the network's anchor.
#[test]
fn of_nat_in_one_anchor_the_first_counts_on_both_releases() {
    const OWN: &str = "nat on epair0a inet from 192.0.2.4 to any tag \"t\" -> 203.0.113.2\n";
    const NETWORK: &str = "nat pass on epair0a inet from 192.0.2.0/28 to any -> 203.0.113.1\n";
    for release in [Release::V15, Release::V14] {
        let source = |rig: &mut Rig, from: &str, port| {
            let packet = syn(
                Direction::Out,
                "epair0a",
                (from, port),
                ("203.0.113.100", 443),
            );
            rig.filter(&packet).packet.source.to_string()
        };
        let mut rig = Rig::with_anchors();
        rig.host.release = release;
        rig.load("cellblock/n1", &format!("{OWN}{NETWORK}"));
        assert_eq!(source(&mut rig, "192.0.2.4", 1000), "203.0.113.2");
        assert_eq!(source(&mut rig, "192.0.2.5", 1000), "203.0.113.1");
        // In an anchor of its own it would not do on 15.1.
        rig.load("cellblock/n1", NETWORK);
        rig.load("cellblock/j01", OWN);
        let expected = match release {
            Release::V14 => "203.0.113.2",
            Release::V15 => "203.0.113.1",
        };
        assert_eq!(source(&mut rig, "192.0.2.4", 1001), expected);
    }
}

#[test]
fn the_last_match_decides_unless_quick() {
    let mut rig = Rig::with_anchors();
    rig.load("", "block\npass in proto tcp to port 22\nblock in quick from 203.0.113.66\npass in proto tcp to port 80\n");
    let passes = |rig: &mut Rig, from: &str, port| {
        let packet = syn(
            Direction::In,
            "epair0a",
            (from, 40_000),
            ("203.0.113.1", port),
        );
        rig.filter(&packet).passes()
    };
    assert!(passes(&mut rig, "203.0.113.100", 22));
    assert!(passes(&mut rig, "203.0.113.100", 80));
    assert!(!passes(&mut rig, "203.0.113.100", 443));
    assert!(!passes(&mut rig, "203.0.113.66", 80));
}

#[test]
fn anchors_are_walked_in_the_order_of_their_names() {
    let mut rig = Rig::with_anchors();
    rig.load("cellblock/a", "pass in proto tcp to port 9\n");
    rig.load("cellblock/b", "block in proto tcp to port 9\n");
    assert_eq!(
        rig.filter(&from_outside(9)).explanation,
        ["blocked by rule 0 of anchor cellblock/b"]
    );
    rig.load("cellblock/a", "pass in quick proto tcp to port 9\n");
    assert!(rig.filter(&from_outside(9)).passes());
}

/// sys/netpfil/pf/pf_lb.c of 15.1 walks on behind an anchor whose rule matched; 14 stops there.
#[test]
fn of_translations_in_two_anchors_the_last_wins_on_15_and_the_first_on_14() {
    for (release, expected) in [
        (Release::V15, "192.0.2.4:25"),
        (Release::V14, "192.0.2.3:25"),
    ] {
        let mut rig = Rig::with_anchors();
        rig.host.release = release;
        rig.load(
            "cellblock/a",
            "rdr pass on epair0a inet proto tcp to 203.0.113.1 port 25 -> 192.0.2.3\n",
        );
        rig.load(
            "cellblock/b",
            "rdr pass on epair0a inet proto tcp to 203.0.113.1 port 25 -> 192.0.2.4\n",
        );
        assert_eq!(target(&rig.filter(&from_outside(25)).packet), expected);
    }
}

#[test]
fn users_match_only_where_a_socket_is() {
    let mut rig = Rig::with_anchors();
    rig.load(
        "cellblock/egress",
        "block out quick on epair0a inet proto tcp from any to any port 25 user > 1000\n",
    );
    let mut packet = syn(
        Direction::Out,
        "epair0a",
        ("192.0.2.3", 4000),
        ("203.0.113.100", 25),
    );
    assert!(rig.filter(&packet).passes());
    rig.run(&["-F", "states"], "");
    packet.user = Some(1001);
    assert!(!rig.filter(&packet).passes());
    packet.user = Some(1000);
    assert!(rig.filter(&packet).passes());
}

/// Recording `12`: `set skip on lo0` switches rules on lo0 off without a word.
#[test]
fn skipped_interfaces_are_not_looked_at() {
    let mut rig = Rig::with_anchors();
    let rules = "anchor \"cellblock/*\"\n";
    rig.load(
        "cellblock/iso",
        "block in quick on lo0 inet from 203.0.113.7 to 203.0.113.6\n",
    );
    let packet = syn(
        Direction::In,
        "lo0",
        ("203.0.113.7", 4000),
        ("203.0.113.6", 9600),
    );
    assert!(!rig.filter(&packet).passes());
    for skip in ["lo0", "lo"] {
        rig.load("", &format!("set skip on {skip}\n{rules}"));
        assert_eq!(rig.filter(&packet).explanation, ["pf skips lo0"]);
    }
    rig.load("", rules);
    assert!(!rig.filter(&packet).passes());
}

#[test]
fn round_robin_takes_turns_and_an_empty_table_fails() {
    let mut rig = Rig::with_anchors();
    rig.load("cellblock/rr", "table <web> persist { 192.0.2.3, 192.0.2.4 }\nrdr pass on epair0a inet proto tcp to 203.0.113.1 port 80 -> <web>\n");
    let mut seen = Vec::new();
    for port in 1..=4 {
        let packet = syn(
            Direction::In,
            "epair0a",
            ("203.0.113.100", port),
            ("203.0.113.1", 80),
        );
        seen.push(rig.filter(&packet).packet.destination.to_string());
    }
    assert_eq!(seen, ["192.0.2.3", "192.0.2.4", "192.0.2.3", "192.0.2.4"]);
    rig.run(&["-a", "cellblock/rr", "-t", "web", "-T", "flush"], "");
    let packet = syn(
        Direction::In,
        "epair0a",
        ("203.0.113.100", 5),
        ("203.0.113.1", 80),
    );
    let verdict = rig.filter(&packet);
    assert!(!verdict.passes());
    assert!(verdict.explanation[0].contains("no address to translate to"));
}

#[test]
fn addresses_of_interfaces_are_those_of_the_moment() {
    let mut rig = Rig::with_anchors();
    rig.load(
        "cellblock/n",
        "nat pass on epair0a inet from 192.0.2.0/28 -> (epair0a:0)\n",
    );
    let source = |rig: &mut Rig, port| {
        let packet = syn(
            Direction::Out,
            "epair0a",
            ("192.0.2.3", port),
            ("203.0.113.100", 80),
        );
        rig.filter(&packet).packet.source.to_string()
    };
    assert_eq!(source(&mut rig, 1), "203.0.113.1");
    rig.host.interfaces.retain(|known| known.name != "epair0a");
    rig.host.interfaces.push(interface(
        "epair0a",
        6,
        &["203.0.113.9/24", "203.0.113.1/32"],
    ));
    assert_eq!(source(&mut rig, 2), "203.0.113.9");
}

#[test]
fn rules_of_filters_see_translated_addresses() {
    let mut rig = Rig::with_anchors();
    rig.load("cellblock/n4", "rdr on epair0a inet proto tcp from any to 203.0.113.1 port 3306 -> 192.0.2.3\nblock in on epair0a\npass in quick on epair0a inet proto tcp from any to 192.0.2.3 port 3306 keep state label \"cellblock:tom\"\n");
    let verdict = rig.filter(&from_outside(3306));
    assert!(verdict.passes());
    assert_eq!(target(&verdict.packet), "192.0.2.3:3306");
    assert_eq!(
        rig.print(&["-a", "cellblock/n4", "-sl"]),
        "cellblock:tom 1 1 60 1 60 0 0 1\n"
    );
}

#[test]
fn tags_travel_with_the_packet() {
    let mut rig = Rig::with_anchors();
    rig.load(
        "",
        "block out\npass in on epair0a tag OUTSIDE\npass out tagged OUTSIDE\n",
    );
    let verdict = rig.filter(&from_outside(80));
    let onward = crate::pf::Packet {
        direction: Direction::Out,
        interface: "lo1".to_owned(),
        ..verdict.packet
    };
    assert!(rig.filter(&onward).passes());
    let untagged = syn(
        Direction::Out,
        "lo1",
        ("203.0.113.101", 1),
        ("192.0.2.3", 80),
    );
    assert!(!rig.filter(&untagged).passes());
}

#[test]
fn new_style_rules_translate_too() {
    let mut rig = Rig::with_anchors();
    rig.load("", "match out on epair0a inet from 192.0.2.0/28 nat-to 203.0.113.2\npass\npass in quick on epair0a inet proto tcp to 203.0.113.1 port 80 rdr-to 192.0.2.5 port 8080\n");
    assert_eq!(
        target(&rig.filter(&from_outside(80)).packet),
        "192.0.2.5:8080"
    );
    let packet = syn(
        Direction::Out,
        "epair0a",
        ("192.0.2.3", 1),
        ("203.0.113.100", 80),
    );
    assert_eq!(rig.filter(&packet).packet.source.to_string(), "203.0.113.2");
}

/// `pf_match_rule` of 15.1 ends the walk at a quick anchor whatever its rules say; 14 only if one of them matched.
#[test]
fn a_quick_anchor_ends_the_walk() {
    for (release, passes) in [(Release::V15, true), (Release::V14, false)] {
        let mut rig = Rig::with_anchors();
        rig.host.release = release;
        rig.load("", "anchor \"empty\" quick\nblock\n");
        assert_eq!(rig.filter(&from_outside(80)).passes(), passes);
    }
}
