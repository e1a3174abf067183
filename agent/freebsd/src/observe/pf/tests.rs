//! The parsers against the recordings.

use std::collections::BTreeSet;

use cellblock_agent_core::observed::AnchorReference;
use proptest::prelude::*;

use super::{
    is_no_anchor, is_not_loaded, parse_anchors, parse_enabled, parse_hash, parse_references,
    parse_skipped, parse_tables,
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
        let _ = (parse_enabled(&text), parse_references(&text), parse_skipped(&text), parse_anchors(&text), parse_hash(&text), parse_tables(&text));
    }
}
