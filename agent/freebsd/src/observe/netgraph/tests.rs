//! The parser against the recordings, and against names that a jail's root may choose.

use cellblock_agent_core::observed::{Node, Peer, SwitchSettings};
use proptest::prelude::*;

use super::{parse, parse_answer, parse_config, unquote};
use crate::observe::recording::stdout;

const FILE: &str = "17-netgraph-agent";

fn named<'n>(nodes: &'n [Node], name: &str) -> &'n Node {
    let found = nodes.iter().find(|node| node.name == name);
    found.unwrap_or_else(|| panic!("no node {name} in {nodes:#?}"))
}

fn peer(node: &str, kind: &str, hook: &str) -> Peer {
    Peer {
        node: node.to_owned(),
        kind: kind.to_owned(),
        hook: hook.to_owned(),
    }
}

#[test]
fn every_node_with_its_hooks() {
    let nodes = parse(&stdout(FILE, "ngctl list -l", 1));
    let (switch, link) = ("cbsw_aaaaaaaa_bbbbbbbbbb", "cbif_aaaaaaaa_cccccccccc_ddddd");
    assert_eq!(nodes.len(), 6, "without ngctl's own socket: {nodes:#?}");
    let found = named(&nodes, switch);
    assert_eq!(found.kind, "bridge");
    assert_eq!(found.hooks.len(), 3);
    assert_eq!(found.hooks["link0"], peer("vtnet1", "ether", "lower"));
    assert_eq!(found.hooks["link1"], peer("vtnet1", "ether", "upper"));
    assert_eq!(found.hooks["link2"], peer(link, "eiface", "ether"));
    assert_eq!(
        named(&nodes, link).hooks["ether"],
        peer(switch, "bridge", "link2")
    );
    assert!(named(&nodes, "vtnet0").hooks.is_empty());
}

#[test]
fn one_node() {
    let nodes = parse(&stdout("06-netgraph", "ngctl show cbsw0:", 0));
    assert_eq!(nodes.len(), 1);
    assert_eq!(named(&nodes, "cbsw0").hooks.len(), 4);
}

#[test]
fn what_nodes_answer() {
    let name = "ngctl msg cbif_aaaaaaaa_cccccccccc_ddddd: getifname";
    for (nth, expected) in ["ngeth0", "net0", "vtnet3"].into_iter().enumerate() {
        let answer = parse_answer(&stdout(FILE, name, nth)).expect("an answer");
        assert_eq!(unquote(&answer).as_deref(), Some(expected));
    }
    for (nth, expected) in ["0", "1"].into_iter().enumerate() {
        let answer = parse_answer(&stdout(FILE, "ngctl msg vtnet1: getpromisc", nth));
        assert_eq!(answer.as_deref(), Some(expected));
    }
    assert_eq!(parse_answer(""), None, "it has not answered yet");
}

#[test]
fn configurations_with_and_without_zeros() {
    let answer = parse_answer(&stdout("06-netgraph", "ngctl msg cbsw0: getconfig", 0));
    let fresh = SwitchSettings {
        debug_level: 1,
        loop_timeout_s: 60,
        max_staleness_s: 900,
        min_stable_age_s: 1,
    };
    assert_eq!(parse_config(&answer.expect("an answer")), Some(fresh));
    let calm = SwitchSettings {
        loop_timeout_s: 0,
        min_stable_age_s: 0,
        ..fresh
    };
    let written = "{ debugLevel=1 maxStaleness=900 }";
    assert_eq!(parse_config(written), Some(calm));
    assert_eq!(parse_config("{}"), Some(SwitchSettings::default()));
    for broken in [
        "",
        "{",
        "{ debugLevel=256 }",
        "{ other=1 }",
        "{ debugLevel }",
    ] {
        assert_eq!(parse_config(broken), None, "{broken}");
    }
}

#[test]
fn names_with_quotes_and_worse() {
    for (written, name) in [
        (r#""a\"b\\c d""#, r#"a"b\c d"#),
        (r#""a\nb\x1b""#, "a\nb\u{1b}"),
        (r#""""#, ""),
    ] {
        assert_eq!(unquote(written).as_deref(), Some(name), "{written}");
    }
    for broken in ["ngeth0", r#""a"#, r#""a\x1""#] {
        assert_eq!(unquote(broken), None, "{broken}");
    }
}

#[test]
fn a_card_with_a_line_in_its_name_is_nobody_else() {
    let text = "There are 2 total nodes:\n  Name: x\n  Name: y       Type: ether           ID: 00000009   Num hooks: 0\n\n  Name: <unnamed>       Type: bridge          ID: 0000000a   Num hooks: 0\n";
    let nodes = parse(text);
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["y", ""]);
}

proptest! {
    /// Whatever stands there, reading it ends, and no name that was not printed comes out.
    #[test]
    fn any_text(text in r"(  Name: [a-z \n]{0,15}( Type: [a-z]{1,6} +ID: 0000000[0-9a-f]   Num hooks: [0-9])?\n|  [a-z0-9 \n]{0,40}\n){0,6}") {
        for node in parse(&text) {
            prop_assert!(text.contains(&node.name));
        }
    }
}
