//! Marks and names: what we write is read back, nothing else is read as ours, and names are short and distinct.

use std::collections::BTreeSet;

use cellblock_agent_core::mark::{Mark, Role};
use cellblock_agent_core::names;
use cellblock_schemas::ids::{ClusterUid, Uid};
use proptest::prelude::*;

/// What fits into a uid or an interface's name.
const WORD: &str = "[a-zA-Z0-9_-]{1,36}";

fn mark() -> impl Strategy<Value = Mark> {
    let role = prop_oneof![
        Just(Role::Bridge),
        Just(Role::Loopback),
        Just(Role::Port),
        WORD.prop_map(Role::Lagg),
        WORD.prop_map(Role::Vlan),
        WORD.prop_map(Role::HostEnd),
        WORD.prop_map(Role::JailEnd),
    ];
    (WORD, WORD, role).prop_map(|(cluster, uid, role)| Mark {
        cluster: ClusterUid(cluster),
        uid: Uid(uid),
        role,
    })
}

fn first_word(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

proptest! {
    /// A mark survives its description, whatever the readable name is.
    #[test]
    fn a_mark_is_read_back(mark in mark(), readable in ".*") {
        prop_assert_eq!(Mark::parse(&mark.description(&readable)), Some(mark));
    }

    /// A description that is read as a mark consists of that mark and a readable name, and of nothing else.
    #[test]
    fn no_text_hides_anything_in_a_mark(text in "(cellblock)?:?[a-z:. ]{0,40}") {
        if let Some(mark) = Mark::parse(&text) {
            let written = mark.description("");
            prop_assert_eq!(first_word(&written), first_word(&text));
        }
    }

    /// A further part, a missing one or another word makes it no mark of ours.
    #[test]
    fn a_mended_mark_is_none(mark in mark(), extra in WORD) {
        let description = mark.description("");
        let word = first_word(&description);
        prop_assert_eq!(Mark::parse(&format!("{word}:{extra}:{extra}")), None);
        prop_assert_eq!(Mark::parse(&format!("x{word}")), None);
        prop_assert_eq!(Mark::parse(&word.replacen(mark.uid.as_str(), "", 1)).filter(|read| read.uid == mark.uid && read.cluster == mark.cluster), None);
        let (shortened, _) = word.rsplit_once(':').expect("a mark has parts");
        prop_assert!(Mark::parse(shortened).is_none_or(|read| read != mark));
    }

    /// Kernel names fit into IFNAMSIZ, have no dots, and differ wherever anything differs.
    #[test]
    fn names_are_short_and_distinct(uids in prop::collection::btree_set(WORD, 1..20), interfaces in prop::collection::btree_set("[a-z0-9]{1,15}", 1..4)) {
        let mut seen = BTreeSet::new();
        for uid in uids.into_iter().map(Uid) {
            let mut names = vec![names::bridge(&uid), names::loopback(&uid)];
            for interface in &interfaces {
                names.push(names::epair_host_end(&uid, interface));
                names.push(names::epair_jail_end(&uid, interface));
            }
            for name in names {
                prop_assert!(name.len() <= 15, "{} is too long", name);
                prop_assert!(name.starts_with("cb") && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()), "{}", name);
                prop_assert!(seen.insert(name.clone()), "{} twice", name);
            }
        }
    }
}

#[test]
fn a_uid_and_an_interface_are_not_run_together() {
    let name = |uid: &str, interface| names::epair_host_end(&Uid(uid.to_owned()), interface);
    assert_ne!(name("ab", "c"), name("a", "bc"));
}

#[test]
fn anchors_of_jails_are_spread_over_all_buckets_and_no_more() {
    let anchors: BTreeSet<String> = (0..4_000)
        .map(|number| names::jail_anchor(&Uid(format!("jail-{number}"))))
        .collect();
    assert_eq!(anchors.len(), usize::from(names::ANCHOR_BUCKETS));
    assert_eq!(anchors.first().map(String::as_str), Some("cellblock/j00"));
    assert_eq!(anchors.last().map(String::as_str), Some("cellblock/j63"));
}

/// A node of a switch, of the host's interface at one, or of a jail.
fn node() -> impl Strategy<Value = names::Node> {
    prop_oneof![
        WORD.prop_map(|uid| names::Node::switch(&Uid(uid))),
        WORD.prop_map(|uid| names::Node::port(&Uid(uid))),
        (WORD, WORD).prop_map(|(uid, interface)| names::Node::link(&Uid(uid), &interface)),
    ]
}

proptest! {
    /// A node's name says whose it is, fits into NG_NODESIZ, and is longer than any interface's, so that ng_ether(4) never gives it.
    #[test]
    fn a_node_is_read_back(node in node(), cluster in WORD, other in WORD) {
        let cluster = ClusterUid(cluster);
        let name = node.name(&cluster);
        prop_assert!((16..=31).contains(&name.len()), "{name}");
        prop_assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{name}");
        if other != cluster.0 {
            prop_assert_eq!(names::Node::parse(&name, &ClusterUid(other)), None);
        }
        prop_assert_eq!(names::Node::parse(&name, &cluster), Some(node));
    }

    /// What an operator or a jail's root may call a node is none of ours.
    #[test]
    fn no_other_name_is_a_node(name in "(cb(sw|hp|if)_)?[a-z2-7_:]{0,15}", cluster in WORD) {
        prop_assert_eq!(names::Node::parse(&name, &ClusterUid(cluster)), None);
    }
}
