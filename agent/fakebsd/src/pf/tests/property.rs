//! What pfctl prints, it reads back as the same rules; and nothing makes it panic.

use proptest::prelude::*;

use crate::pf::names::{service_name, service_port};
use crate::pf::rule::{Af, Rule, RulesetKind};

use super::host::{Rig, interface};

fn rig() -> Rig {
    let mut rig = Rig::new();
    rig.host
        .interfaces
        .push(interface("igb0", 9, &["198.51.100.7/24", "2001:db8::7/64"]));
    rig
}

/// The rules of an anchor, without what loading numbers.
fn rules(rig: &Rig) -> Vec<Rule> {
    let anchor = rig.pf.anchor("t");
    RulesetKind::ALL
        .iter()
        .flat_map(|kind| {
            anchor
                .map(|anchor| anchor.rules(*kind).to_vec())
                .unwrap_or_default()
        })
        .map(|kernel| {
            let mut rule = Rule {
                number: 0,
                ..kernel.rule
            };
            // `return-icmp(…)` is printed for the rule's own family; parse.y gives the other another default.
            match rule.af {
                Some(Af::Inet) => rule.return_icmp6 = 0,
                Some(Af::Inet6) => rule.return_icmp = 0,
                None => {}
            }
            rule
        })
        .collect()
}

fn pick(items: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    proptest::sample::select(items)
}

fn end() -> impl Strategy<Value = String> {
    let host = pick(&[
        "any",
        "192.0.2.1",
        "10.0.0.0/8",
        "! 192.0.2.0/28",
        "{ 192.0.2.1, 192.0.2.9/32 }",
        "<t>",
        "! <t>",
        "(igb0)",
        "(igb0:0)",
        "(igb0:network)",
        "(self)",
        "igb0:network",
        "10.0.0.1 - 10.0.0.9",
        "no-route",
    ]);
    // services(5) has names twice, `rap` for 38 and 256: pfctl prints the one and reads the other.
    let is_named_well = |port: &u16| {
        [true, false].into_iter().all(|tcp| {
            service_name(*port, tcp).is_none_or(|name| service_port(name) == Some(*port))
        })
    };
    let one = (1_u16..).prop_filter("a name of one port", is_named_well);
    let port = prop_oneof![
        Just(String::new()),
        one.clone().prop_map(|port| format!(" port {port}")),
        (one, pick(&["!=", "<", "<=", ">", ">="]))
            .prop_map(|(port, op)| format!(" port {op} {port}")),
        (1_u16..30_000, 30_000_u16..).prop_map(|(first, last)| format!(" port {first}:{last}")),
        (1_u16..30_000, 30_001_u16.., pick(&["><", "<>"]))
            .prop_map(|(a, b, op)| format!(" port {a} {op} {b}")),
    ];
    (host, port).prop_map(|(host, port)| format!("{host}{port}"))
}

fn filter_line() -> impl Strategy<Value = String> {
    let head = (
        pick(&[
            "pass",
            "block",
            "block return",
            "block return-icmp",
            "block drop",
        ]),
        pick(&["", " in", " out"]),
        pick(&["", " log", " log (all)"]),
        pick(&["", " quick"]),
        pick(&["", " on igb0", " on ! lo0", " on { igb0, lo0 }"]),
        pick(&["", " inet"]),
        pick(&["tcp", "udp", "{ tcp, udp }"]),
    );
    let tail = (
        pick(&[
            "",
            " user 1000",
            " user > 1000",
            " group { 1, != 7 }",
            " user unknown",
        ]),
        pick(&[
            "",
            " label \"cellblock:x y\"",
            " tag T",
            " ! tagged U",
            " rtable 1",
            " probability 12.5%",
        ]),
        pick(&[
            "",
            " tos 0x10",
            " set prio 3",
            " scrub (no-df max-mss 1400)",
        ]),
    );
    (head, end(), end(), tail).prop_map(|(head, source, destination, tail)| {
        let (action, direction, log, quick, on, af, protocol) = head;
        let (ids, name, change) = tail;
        format!("{action}{direction}{log}{quick}{on}{af} proto {protocol} from {source} to {destination}{ids}{change}{name}\n")
    })
}

fn translation_line() -> impl Strategy<Value = String> {
    prop_oneof![
        (
            pick(&["nat", "nat pass", "nat log"]),
            pick(&["igb0", "{ igb0, lo0 }"]),
            pick(&[
                "203.0.113.1",
                "(igb0)",
                "(igb0:0)",
                "<pool>",
                "203.0.113.1 port 2000:3000",
                "203.0.113.1 static-port",
                "{ 203.0.113.1, 203.0.113.2 } sticky-address",
                "203.0.113.0/28 bitmask",
            ])
        )
            .prop_map(|(word, on, target)| format!(
                "{word} on {on} inet proto tcp from 10.0.0.0/8 to any -> {target}\n"
            )),
        (
            pick(&["rdr", "rdr pass"]),
            pick(&["80", "{ 21, 80, 443 }", "8000:8010"]),
            pick(&[
                "10.0.0.1",
                "10.0.0.1 port 8080",
                "<pool> round-robin",
                "{ 10.0.0.1, 10.0.0.2 }",
            ])
        )
            .prop_map(|(word, port, target)| format!(
                "{word} on igb0 inet proto tcp to igb0 port {port} -> {target}\n"
            )),
        Just("binat on igb0 from 10.0.0.1 to any -> 203.0.113.9\n".to_owned()),
        Just("no rdr on igb0 proto udp\n".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn printed_rules_are_the_same_rules(
        translations in proptest::collection::vec(translation_line(), 0..4),
        filters in proptest::collection::vec(filter_line(), 0..5),
    ) {
        let text = format!("{}{}", translations.concat(), filters.concat());
        let mut first = rig();
        let output = first.run(&["-a", "t", "-o", "none", "-f", "-"], &text);
        prop_assume!(output.status == 0);
        let printed = format!("{}{}", first.print(&["-a", "t", "-sn"]), first.print(&["-a", "t", "-sr"]));
        let mut second = rig();
        let output = second.run(&["-a", "t", "-o", "none", "-f", "-"], &printed);
        prop_assert_eq!(output.stderr, "", "{}", &printed);
        prop_assert_eq!(rules(&first), rules(&second));
    }

    #[test]
    fn optimizing_twice_changes_nothing_more(filters in proptest::collection::vec(filter_line(), 0..6)) {
        let mut first = rig();
        let output = first.run(&["-a", "t", "-f", "-"], &filters.concat());
        prop_assume!(output.status == 0);
        let mut plain = rig();
        plain.run(&["-a", "t", "-o", "none", "-f", "-"], &filters.concat());
        prop_assert!(rules(&first).len() <= rules(&plain).len());
    }

    #[test]
    fn no_text_makes_it_panic(words in proptest::collection::vec(pick(&[
        "pass", "block", "in", "on", "igb0", "{", "}", "(", ")", "from", "to", "any", "port", "80", "1:2", "<", ">",
        "<t>", "\n", ",", "=", "\"x\"", "$x", "x", "->", "-", "!", "nat", "rdr", "anchor", "table", "set", "skip",
        "keep", "state", "max", "5", "10/8", "192.0.2.1", "::1", "label", "scrub", "no", "proto", "tcp", "user",
        "flags", "S/SA", "icmp-type", "antispoof", "for", "load", "limit", "timeout", "binat-to", "rdr-to", "\\",
        "'", "#", "include", "quick", "inet6", "af-to", "route-to",
    ]), 0..40)) {
        let mut rig = rig();
        let output = rig.run(&["-vf", "-"], &words.join(" "));
        prop_assert!(output.status == 0 || output.status == 1);
    }
}
