//! The parsers against the recordings.

use std::collections::BTreeSet;
use std::net::IpAddr;

use cellblock_agent_core::observed::AnchorReference;
use proptest::prelude::*;

use super::{
    has_translations, is_no_anchor, is_not_loaded, parse_anchors, parse_before_us, parse_enabled,
    parse_hash, parse_references, parse_skipped, parse_states_of, parse_tables, parse_translated,
    parse_unpermitted, table_addresses,
};
use crate::observe::recording::{stderr, stdout};

#[test]
fn an_unloaded_module_is_told_from_every_other_complaint() {
    assert!(is_not_loaded(&stderr("05-pf", "pfctl -s info", 0)));
    assert!(!is_not_loaded("pfctl: /dev/pf: Permission denied\n"));
    assert!(!is_not_loaded(&stderr("05-pf", "pfctl -nf /dev/null", 0)));
}

#[test]
fn the_status() {
    assert_eq!(
        parse_enabled(&stdout("05-pf", "pfctl -s info", 1)),
        Some(false)
    );
    assert_eq!(
        parse_enabled(&stdout("12-followups", "pfctl -s info", 0)),
        Some(true)
    );
    assert_eq!(parse_enabled("nonsense"), None);
}

#[test]
fn references_in_the_main_ruleset() {
    let mut found = parse_references(&stdout("05-pf", "pfctl -sr", 1));
    found.extend(parse_references(&stdout("05-pf", "pfctl -sn", 1)));
    assert_eq!(
        found,
        BTreeSet::from([
            AnchorReference::Nat,
            AnchorReference::Rdr,
            AnchorReference::Filter
        ])
    );
    assert_eq!(
        parse_references(&stdout("12-followups", "pfctl -sr", 0)),
        BTreeSet::new()
    );
    assert_eq!(
        parse_references("binat-anchor \"cellblock/*\"\n"),
        BTreeSet::from([AnchorReference::Binat])
    );
    for partial in [
        "anchor \"cellblock/*\" on em0 all",
        "anchor \"cellblock/x\" all",
        "anchor \"other/cellblock/*\" all",
        "pass all label \"anchor\"",
    ] {
        assert_eq!(parse_references(partial), BTreeSet::new(), "{partial}");
    }
}

#[test]
fn quick_rules_before_our_anchor() {
    let told = |text: &str| {
        let rules = parse_before_us(&format!(
            "{text}\nanchor \"cellblock/*\" all\npass quick all\n"
        ));
        rules
            .into_iter()
            .map(|rule| (rule.passes, rule.inward, rule.interface))
            .collect::<Vec<_>>()
    };
    let lo = || Some("lo0".to_owned());
    for (line, expected) in [
        ("pass quick all flags S/SA keep state", (true, None, None)),
        (
            "pass quick on lo0 all flags S/SA keep state",
            (true, None, lo()),
        ),
        (
            "pass out quick inet all flags S/SA keep state",
            (true, Some(false), None),
        ),
        (
            "block drop in log quick on lo0 inet6 all",
            (false, Some(true), lo()),
        ),
        (
            "block return in log (all, to pflog1) quick all label \"x\"",
            (false, Some(true), None),
        ),
        (
            "block return-icmp(port-unr, port-unr) quick all",
            (false, None, None),
        ),
        ("pass quick all no state", (true, None, None)),
    ] {
        assert_eq!(told(line), [expected], "{line}");
    }
    for line in [
        "pass all flags S/SA keep state",
        "pass in quick on em0 proto tcp from any to any port = ssh flags S/SA keep state",
        "block drop quick from <bad> to any",
        "pass quick proto icmp all keep state",
        "pass quick on ! em0 all flags S/SA keep state",
        "pass quick all flags S/SA keep state tagged x",
        "block drop quick all fragment",
        "match in all scrub( no-df)",
        "anchor \"other\" quick all",
    ] {
        assert_eq!(told(line), [], "{line}");
    }
    assert_eq!(parse_before_us("pass quick all\n"), []);
}

#[test]
fn skipped_interfaces() {
    assert_eq!(
        parse_skipped(&stdout("12-followups", "pfctl -vsI", 0)),
        BTreeSet::from(["lo0".to_owned()])
    );
}

#[test]
fn anchors_and_their_absence() {
    assert_eq!(
        parse_anchors(&stdout("05-pf", "pfctl -a cellblock -sA", 0)),
        BTreeSet::from(["cellblock/net1".to_owned()])
    );
    assert_eq!(
        parse_anchors("  cellblock\n  cellblocks/x\n  other\n"),
        BTreeSet::new()
    );
    assert!(is_no_anchor(&stderr(
        "05-pf",
        "pfctl -a cellblock/none -sr",
        0
    )));
    assert!(is_no_anchor(&stderr(
        "05-pf",
        "pfctl -a cellblock/none -sn",
        0
    )));
    assert!(is_no_anchor("Anchor 'cellblock' not found.\n"));
}

#[test]
fn the_hash_in_a_label() {
    assert_eq!(
        parse_hash(
            "cellblock:u1 3 0 0 0 0 0 0 0\ncellblock:cfg:0123456789abcdef 0 0 0 0 0 0 0 0\n"
        )
        .as_deref(),
        Some("0123456789abcdef")
    );
    assert_eq!(
        parse_hash(&stdout("05-pf", "pfctl -a cellblock/net1 -sl", 0)),
        None
    );
}

#[test]
fn translations_that_somebody_flushed() {
    let shown = "rdr on ext0 inet proto tcp from any to 203.0.113.1 port = ftp -> 192.0.2.4\nrdr on ext0 inet proto tcp from any to 203.0.113.1 port = http -> 192.0.2.4\n";
    assert!(has_translations("0123456789abcdef-2", shown));
    assert!(!has_translations("0123456789abcdef-2", ""));
    assert!(!has_translations("0123456789abcdef-3", shown));
    assert!(has_translations("0123456789abcdef", ""), "it states none");
}

#[test]
fn states_of_an_address_in_every_place() {
    // FreeBSD 15.1 printed this of a redirect to a VNET jail, its way out, an IPv6 one, and a NAT.
    let text = "\
all tcp 172.16.1.2:9000 (203.0.113.1:9000) <- 203.0.113.254:56841       FIN_WAIT_2:FIN_WAIT_2
   [694562529 + 65792] wscale 8  [1671574328 + 65792] wscale 8
   age 00:00:01, expires in 00:01:29, 4:4 pkts, 216:225 bytes, anchor 0, rule 1
   id: 764f026b00000000 creatorid: a44b9562
   origif: ext0
all tcp 203.0.113.254:56841 -> 172.16.1.2:9000       FIN_WAIT_2:FIN_WAIT_2
   [1671574328 + 65792] wscale 8  [694562529 + 65792] wscale 8
   age 00:00:01, expires in 00:01:29, 4:4 pkts, 216:225 bytes, anchor 0, rule 1
   id: 774f026b00000000 creatorid: a44b9562
   origif: cbc7pphftgspbr
all tcp fd00:172:16:1::2[9000] (2001:db8:113::1[9000]) <- 2001:db8:113::254[64585]       FIN_WAIT_2:FIN_WAIT_2
   id: 784f026b00000000 creatorid: a44b9562
all ipv6-icmp fd00:172:16:1::1 -> fd00:172:16:1::2[135]       NO_TRAFFIC:NO_TRAFFIC
   id: 794f026b00000000 creatorid: a44b9562
all tcp 203.0.113.1:65255 (172.16.1.2:43986) -> 203.0.113.254:9999       FIN_WAIT_2:FIN_WAIT_2
   id: 7a4f026b00000000 creatorid: a44b9562
all tcp 172.16.1.22:1 -> 203.0.113.254:9999       FIN_WAIT_2:FIN_WAIT_2
   id: 7b4f026b00000000 creatorid: a44b9562
";
    let of = |address: &str| parse_states_of(text, address.parse().expect("an address"));
    let ids = |short: &[&str]| -> Vec<String> {
        let id = |short: &&str| format!("{short}4f026b00000000/a44b9562");
        short.iter().map(id).collect()
    };
    assert_eq!(of("172.16.1.2"), ids(&["76", "77", "7a"]));
    assert_eq!(of("fd00:172:16:1::2"), ids(&["78", "79"]));
    assert_eq!(of("172.16.1.3"), ids(&[]));
}

#[test]
fn tables() {
    assert_eq!(
        parse_tables(&stdout("05-pf", "pfctl -a cellblock/net1 -sT", 0)),
        ["jails"]
    );
    assert!(parse_tables(&stdout("05-pf", "pfctl -a cellblock/net1 -sT", 1)).is_empty());
}

proptest! {
    #[test]
    fn hostile_text_never_panics(text in "\\PC*") {
        let _ = (parse_before_us(&text), parse_enabled(&text), parse_references(&text), parse_skipped(&text), parse_anchors(&text), parse_hash(&text), parse_tables(&text), parse_states_of(&text, IpAddr::from([192, 0, 2, 3])), has_translations(&text, &text));
    }
}

#[test]
fn the_label_says_how_many_addresses_its_table_has() {
    assert_eq!(table_addresses("0123456789abcdef+12-3"), Some(12));
    assert_eq!(table_addresses("0123456789abcdef-3"), None);
    assert!(has_translations("0123456789abcdef+12-1", "nat on vtnet0\n"));
}

#[test]
fn states_of_a_nat_without_those_of_a_jails_own_address() {
    // The form of recording `15`.
    let text = "all tcp 10.0.2.15:65255 (192.0.2.3:43986) -> 203.0.113.254:9999 ESTABLISHED:ESTABLISHED\n   id: 01 creatorid: aa\n\
        all tcp 10.0.2.16:60000 (192.0.2.4:43987) -> 203.0.113.254:9999 ESTABLISHED:ESTABLISHED\n   id: 02 creatorid: aa\n\
        all tcp 10.0.2.15:60001 (192.0.2.4:43988) -> 203.0.113.254:9999 ESTABLISHED:ESTABLISHED\n   id: 03 creatorid: aa\n\
        all tcp 192.0.2.4:80 <- 203.0.113.254:9999 ESTABLISHED:ESTABLISHED\n   id: 04 creatorid: aa\n\
        all tcp 2001:db8::16[60000] (fd00:20::4[43987]) -> 2001:db8::1[9999] ESTABLISHED:ESTABLISHED\n   id: 05 creatorid: aa\n";
    let found = |from: &str, to: Option<&str>, except: &[(&str, &str)]| {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let from = from.parse().expect("a prefix");
        let except = except.iter().map(|(inner, outer)| (ip(inner), ip(outer)));
        parse_translated(text, from, to.map(ip), &except.collect())
    };
    let inside = "192.0.2.0/28";
    assert_eq!(found(inside, None, &[]), ["01/aa", "02/aa", "03/aa"]);
    let own = [("192.0.2.4", "10.0.2.16")];
    assert_eq!(found(inside, None, &own), ["01/aa", "03/aa"]);
    assert_eq!(found(inside, Some("10.0.2.15"), &own), ["01/aa", "03/aa"]);
    let main = [("192.0.2.4", "10.0.2.15")];
    assert_eq!(found(inside, Some("10.0.2.15"), &main), ["01/aa"]);
    assert_eq!(found("fd00:20::/64", None, &[]), ["05/aa"]);
    let own6 = [("fd00:20::4", "2001:db8::16")];
    assert_eq!(found("fd00:20::/64", None, &own6), [""; 0]);
}

#[test]
fn connections_are_told_from_their_states_and_killed_unless_they_are_permitted() {
    let state = |first: &str, number: u8| {
        format!(
            "{first}\n   [0 + 1]  [0 + 1]\n   age 00:00:01, expires in 00:00:30, 1:0 pkts, 64:0 bytes, rule 1\n   id: 000000000000000{number} creatorid: 5f3ca1e7\n   origif: igb{number}\n"
        )
    };
    let text = [
        state("all tcp 203.0.113.1:65255 (192.0.2.4:43986) -> 203.0.113.254:25       FIN_WAIT_2:FIN_WAIT_2", 1),
        state("all tcp 192.0.2.4:80 (203.0.113.1:8080) <- 198.51.100.9:1234       ESTABLISHED:ESTABLISHED", 2),
        state("igb3 ipv6-icmp fd00::4[5] -> fd00::1[128]       0:0", 3),
        state("all gre 192.0.2.4 <- 198.51.100.9       SINGLE:NO_TRAFFIC", 4),
    ]
    .concat();
    let mut flows = Vec::new();
    let seen = std::cell::RefCell::new(&mut flows);
    let killed = parse_unpermitted(&text, |flow| {
        let (from, to) = (flow.from, flow.to);
        let way = if flow.inward { "in" } else { "out" };
        seen.borrow_mut().push(format!(
            "{way} {} {} {} {} > {} {}",
            flow.interface, flow.protocol, from.0, from.1, to.0, to.1
        ));
        flow.inward
    });
    assert_eq!(
        killed,
        ["0000000000000001/5f3ca1e7", "0000000000000003/5f3ca1e7"]
    );
    assert_eq!(
        flows,
        [
            "out igb1 tcp 192.0.2.4 43986 > 203.0.113.254 25",
            "in igb2 tcp 198.51.100.9 1234 > 192.0.2.4 80",
            "out igb3 ipv6-icmp fd00::4 5 > fd00::1 128",
            "in igb4 gre 198.51.100.9 0 > 192.0.2.4 0",
        ]
    );
}
