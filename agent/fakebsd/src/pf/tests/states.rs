//! States: how they are shown, killed, expire, and outlive their rules.

use std::time::Duration;

use crate::pf::filter::{ACK, FIN};
use crate::pf::rule::Direction;

use super::host::{Rig, answer, syn};

fn connected(rig: &mut Rig, port: u16) {
    let request = syn(
        Direction::In,
        "epair0a",
        ("203.0.113.100", port),
        ("203.0.113.1", 3306),
    );
    let inner = rig.filter(&request).packet;
    rig.filter(&answer(&inner));
    rig.filter(&crate::pf::Packet {
        flags: ACK,
        ..request
    });
}

const RULES: &str = "rdr on epair0a inet proto tcp from any to 203.0.113.1 port 3306 -> 192.0.2.3\n\
pass in quick on epair0a inet proto tcp from any to 192.0.2.3 port 3306 keep state label \"cellblock:tom\"\n";

fn rig() -> Rig {
    let mut rig = Rig::with_anchors();
    rig.load("cellblock/n4", RULES);
    rig
}

#[test]
fn they_are_shown_with_both_sides() {
    let mut rig = rig();
    connected(&mut rig, 40_000);
    assert_eq!(
        rig.print(&["-ss"]),
        "all tcp 192.0.2.3:3306 (203.0.113.1:3306) <- 203.0.113.100:40000       ESTABLISHED:ESTABLISHED\n"
    );
    let request = syn(
        Direction::In,
        "epair0a",
        ("203.0.113.100", 40_000),
        ("203.0.113.1", 3306),
    );
    rig.filter(&crate::pf::Packet {
        flags: FIN | ACK,
        ..request.clone()
    });
    let inner = crate::pf::Packet {
        flags: FIN | ACK,
        ..answer(&syn(
            Direction::In,
            "epair0a",
            ("203.0.113.100", 40_000),
            ("192.0.2.3", 3306),
        ))
    };
    rig.filter(&inner);
    rig.filter(&crate::pf::Packet {
        flags: ACK,
        ..request
    });
    assert!(
        rig.print(&["-ss"])
            .ends_with("       FIN_WAIT_2:FIN_WAIT_2\n")
    );
    let out = syn(
        Direction::Out,
        "epair0a",
        ("192.0.2.3", 27_120),
        ("203.0.113.100", 9002),
    );
    rig.load(
        "cellblock/n5",
        "nat on epair0a inet from 192.0.2.0/28 -> 203.0.113.1 static-port\n",
    );
    rig.filter(&out);
    assert!(rig.print(&["-ss"]).ends_with(
        "all tcp 203.0.113.1:27120 (192.0.2.3:27120) -> 203.0.113.100:9002       SYN_SENT:CLOSED\n"
    ));
}

#[test]
fn if_bound_states_belong_to_their_interface() {
    let mut rig = Rig::with_anchors();
    rig.load(
        "",
        "set state-policy if-bound\nblock\npass in on epair0a proto tcp\n",
    );
    assert!(rig.print(&["-sr"]).contains("keep state (if-bound)"));
    let request = syn(
        Direction::In,
        "epair0a",
        ("203.0.113.100", 1),
        ("203.0.113.1", 22),
    );
    assert!(rig.filter(&request).passes());
    let elsewhere = crate::pf::Packet {
        interface: "lo1".to_owned(),
        ..answer(&request)
    };
    assert!(!rig.filter(&elsewhere).passes());
    assert!(rig.filter(&answer(&request)).passes());
    assert!(rig.print(&["-ss"]).starts_with("epair0a tcp "));
}

/// Recordings `09` and `12`.
#[test]
fn they_outlive_their_rules_until_killed() {
    let mut rig = rig();
    connected(&mut rig, 40_000);
    rig.load("cellblock/n4", "");
    let request = syn(
        Direction::In,
        "epair0a",
        ("203.0.113.100", 40_000),
        ("203.0.113.1", 3306),
    );
    assert_eq!(
        rig.filter(&request).packet.destination.to_string(),
        "192.0.2.3"
    );
    // Two addresses find nothing but everything.
    for second in ["192.0.2.3", "203.0.113.1", "0.0.0.0/0"] {
        let output = rig.run(&["-k", "0.0.0.0/0", "-k", second], "");
        let killed = i32::from(second == "0.0.0.0/0");
        assert_eq!(
            output.stderr,
            format!("killed {killed} states from 1 sources and 1 destinations\n")
        );
    }
    rig.load("cellblock/n4", RULES);
    connected(&mut rig, 40_000);
    assert_eq!(
        rig.run(&["-k", "203.0.113.0/24"], "").stderr,
        "killed 1 states from 1 sources and 0 destinations\n"
    );
}

#[test]
fn labels_of_removed_rules_still_find_them() {
    let mut rig = rig();
    connected(&mut rig, 40_000);
    connected(&mut rig, 40_001);
    rig.load("cellblock/n4", "");
    assert_eq!(
        rig.run(&["-k", "label", "-k", "cellblock:tom"], "").stderr,
        "killed 2 states\n"
    );
    assert_eq!(
        rig.run(&["-k", "label", "-k", "cellblock:tom"], "").stderr,
        "killed 0 states\n"
    );
}

#[test]
fn they_expire_in_virtual_time() {
    let mut rig = rig();
    let request = syn(
        Direction::In,
        "epair0a",
        ("203.0.113.100", 1),
        ("203.0.113.1", 3306),
    );
    rig.filter(&request);
    rig.host.now += Duration::from_secs(119);
    assert_eq!(rig.print(&["-ss"]).lines().count(), 1);
    rig.host.now += Duration::from_secs(1);
    assert_eq!(rig.print(&["-ss"]), "");
    connected(&mut rig, 2);
    rig.host.now += Duration::from_secs(86_399);
    assert_eq!(rig.print(&["-ss"]).lines().count(), 1);
    rig.host.now += Duration::from_secs(1);
    assert_eq!(rig.print(&["-ss"]), "");
    assert!(
        rig.print(&["-si"])
            .contains("removals                               2")
    );
}

#[test]
fn counters_follow_the_state() {
    let mut rig = rig();
    connected(&mut rig, 40_000);
    assert_eq!(
        rig.print(&["-a", "cellblock/n4", "-sl"]),
        "cellblock:tom 1 3 180 2 120 1 60 1\n"
    );
    let shown = rig.print(&["-a", "cellblock/n4", "-vsr"]);
    assert!(
        shown.contains("Packets: 3         Bytes: 180         States: 1     ]"),
        "{shown}"
    );
    rig.run(&["-F", "states"], "");
    assert!(
        rig.print(&["-a", "cellblock/n4", "-vsr"])
            .contains("States: 0     ]")
    );
    rig.run(&["-a", "cellblock/n4", "-z"], "");
}

#[test]
fn limits_are_kept() {
    let mut rig = Rig::with_anchors();
    rig.load("", "set limit states 1\npass in proto tcp\n");
    let packet = |port| {
        syn(
            Direction::In,
            "epair0a",
            ("203.0.113.100", port),
            ("203.0.113.1", 22),
        )
    };
    assert!(rig.filter(&packet(1)).passes());
    assert!(!rig.filter(&packet(2)).passes());
    rig.load("", "pass in proto tcp keep state (max 1)\n");
    rig.run(&["-F", "states"], "");
    assert!(rig.filter(&packet(1)).passes());
    assert!(!rig.filter(&packet(2)).passes());
}

#[test]
fn an_emptied_anchor_goes_once_its_old_rules_are_purged() {
    let mut rig = Rig::with_anchors();
    rig.load("cellblock/n", "table <t> { 192.0.2.1 }\npass from <t>\n");
    rig.run(&["-a", "cellblock/n", "-F", "all"], "");
    assert_eq!(rig.print(&["-sA"]), "  cellblock\n  cellblock/n\n");
    rig.host.now += Duration::from_secs(21);
    assert_eq!(rig.print(&["-sA"]), "  cellblock\n");
    // The main ruleset's reference keeps the parent.
    rig.load("", "pass\n");
    rig.host.now += Duration::from_secs(21);
    assert_eq!(rig.print(&["-sA"]), "");
}

#[test]
fn a_match_rule_scrubs_all_of_a_connection_but_not_what_a_nat_passes() {
    let out = || {
        syn(
            Direction::Out,
            "epair0a",
            ("192.0.2.3", 27_120),
            ("203.0.113.100", 9002),
        )
    };
    let words = "scrub: no-df random-id max-mss 1300";
    let told = |verdict: &crate::pf::Verdict| verdict.explanation.iter().any(|why| why == words);
    let mut rig = Rig::with_anchors();
    let scrub = "match on epair0a all scrub (no-df random-id max-mss 1300)\n";
    rig.load("cellblock/host", scrub);
    let nat = "nat pass on epair0a inet from 192.0.2.0/28 to any -> 203.0.113.1\n";
    rig.load("cellblock/n4", nat);
    assert!(!told(&rig.filter(&out())), "no filter rule sees it");
    rig.run(&["-F", "states"], "");
    rig.load(
        "cellblock/n4",
        "nat on epair0a inet from 192.0.2.0/28 to any tag \"cellblock:nat\" -> 203.0.113.1\n\
         pass out quick on epair0a inet all flags any tagged \"cellblock:nat\" keep state\n",
    );
    let verdict = rig.filter(&out());
    assert!(told(&verdict), "{:?}", verdict.explanation);
    assert!(told(&rig.filter(&answer(&verdict.packet))));
    // As 15.1 prints it, but for the number of the anchor's rule.
    let states = rig.print(&["-vss"]);
    assert!(
        states.contains(", rule 0, no-df, random-id, max-mss 1300\n"),
        "{states}"
    );
    // An IPv6 packet has neither a fragment bit nor an identification.
    let six = rig.filter(&syn(
        Direction::Out,
        "epair0a",
        ("2001:db8::1", 27_120),
        ("2001:db8::2", 9002),
    ));
    assert!(six.explanation.contains(&"scrub: max-mss 1300".to_owned()));
}

const STICKY: &str = "table <t> const { 192.0.2.3, 192.0.2.4 }\n\
rdr on epair0a inet proto tcp from any to 203.0.113.1 port 8000 -> <t> round-robin sticky-address\n\
rdr on epair0a inet proto tcp from any to 203.0.113.1 port 9000 -> <t> round-robin sticky-address\n\
pass in quick on epair0a inet proto tcp from any to <t> keep state\n";

/// Where the first packet of a connection is led.
fn led(rig: &mut Rig, from: (&str, u16), port: u16) -> String {
    let request = syn(Direction::In, "epair0a", from, ("203.0.113.1", port));
    rig.filter(&request).packet.destination.to_string()
}

#[test]
fn a_sticky_pool_remembers_a_client_by_rule_and_until_the_next_load() {
    let mut rig = Rig::with_anchors();
    rig.load("cellblock/j00", STICKY);
    let first = led(&mut rig, ("203.0.113.100", 40_000), 8000);
    assert_eq!(led(&mut rig, ("203.0.113.100", 40_001), 8000), first);
    let second = led(&mut rig, ("203.0.113.101", 40_000), 8000);
    assert_ne!(first, second);
    assert_eq!(led(&mut rig, ("203.0.113.100", 40_002), 8000), first);
    // Another range is another rule, with clients of its own: here the one that came second comes first.
    assert_eq!(led(&mut rig, ("203.0.113.101", 40_001), 9000), first);
    assert_eq!(led(&mut rig, ("203.0.113.100", 40_003), 9000), second);
    // A load deals anew, whatever states there are.
    rig.load("cellblock/j00", &STICKY.replace("9000", "9001"));
    assert_eq!(led(&mut rig, ("203.0.113.101", 40_002), 8000), first);
    assert_eq!(led(&mut rig, ("203.0.113.101", 40_003), 8000), first);
    // A client without any state is a new one.
    rig.run(&["-F", "states"], "");
    assert_eq!(led(&mut rig, ("203.0.113.101", 40_004), 8000), second);
}

#[test]
fn sticky_pools_remember_so_many_clients_and_refuse_others() {
    let mut rig = Rig::with_anchors();
    rig.load("cellblock/j00", STICKY);
    let client = |number: u32| {
        let [_, _, high, low] = number.to_be_bytes();
        format!("198.51.{high}.{low}")
    };
    led(&mut rig, (&client(0), 40_000), 8000);
    let state = rig
        .pf
        .states
        .iter()
        .next()
        .expect("it has made one")
        .clone();
    for number in 1..10_000 {
        let mut state = state.clone();
        state.id = rig.pf.states.next_id();
        let source: std::net::IpAddr = client(number).parse().expect("an address");
        state.wire.ends[0].0 = source;
        state.stack.ends[0].0 = source;
        state
            .source_node
            .as_mut()
            .expect("the rule is sticky")
            .source = source;
        rig.pf.states.insert(state);
    }
    let refused = |rig: &mut Rig, from: &str| {
        let request = syn(
            Direction::In,
            "epair0a",
            (from, 50_000),
            ("203.0.113.1", 8000),
        );
        rig.filter(&request).action != crate::pf::VerdictAction::Pass
    };
    assert!(refused(&mut rig, &client(10_000)));
    assert!(!refused(&mut rig, &client(9_999)));
}
