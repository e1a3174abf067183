use std::collections::BTreeSet;

use super::NicState;
use crate::observed::Interface;

const HWADDR: &str = "52:54:00:12:34:59";

fn nic() -> Interface {
    Interface {
        name: "igb3".to_owned(),
        flags: ["UP", "BROADCAST"].into(),
        description: Some("the lab".to_owned()),
        mtu: 9000,
        mac: HWADDR.parse().ok(),
        driver: Some("igb3".to_owned()),
        groups: ["all", "lab"].into(),
        nd6: ["PERFORMNUD", "ACCEPT_RTADV", "AUTO_LINKLOCAL"].into(),
        ..Interface::default()
    }
}

/// What a jail's root made of it.
fn abused() -> Interface {
    Interface {
        name: "bridge0".to_owned(),
        flags: ["BROADCAST", "MONITOR", "NOARP"].into(),
        description: Some("cellblock:c1:net:bridge lan".to_owned()),
        mtu: 576,
        mac: "02:00:00:00:00:01".parse().ok(),
        hwaddr: HWADDR.parse().ok(),
        driver: Some("igb3".to_owned()),
        groups: ["all"].into(),
        nd6: ["PERFORMNUD", "IFDISABLED", "AUTO_LINKLOCAL", "NO_DAD"].into(),
        ..Interface::default()
    }
}

fn lines(commands: &[Vec<String>]) -> Vec<String> {
    commands.iter().map(|words| words.join(" ")).collect()
}

#[test]
fn a_nic_is_known_by_driver_and_hwaddr_alone() {
    let state = NicState::of(&nic()).expect("a NIC");
    assert!(state.is(&nic()));
    assert!(state.is(&abused()));
    let other_card = Interface {
        hwaddr: "52:54:00:12:34:58".parse().ok(),
        ..abused()
    };
    assert!(!state.is(&other_card));
    // A vlan(4) upon it, or a lagg(4), has its MAC address and another driver; so has an epair(4) with that address.
    let upon = Interface {
        driver: Some("vlan0".to_owned()),
        ..nic()
    };
    assert!(!state.is(&upon));
    let unasked = Interface {
        driver: None,
        ..nic()
    };
    assert!(!state.is(&unasked));
    assert_eq!(NicState::of(&unasked), None);
}

#[test]
fn what_a_jails_root_changed_is_made_as_it_was() {
    let state = NicState::of(&nic()).expect("a NIC");
    assert!(state.is_restored(&nic()));
    assert!(!state.is_restored(&abused()));
    assert_eq!(
        lines(&state.mending(&abused())),
        [
            "description the lab",
            "ether 52:54:00:12:34:59",
            "mtu 9000",
            "group lab",
            "arp",
            "-monitor",
            "inet6 accept_rtadv",
            "inet6 -ifdisabled",
            "inet6 -no_dad",
            "up",
        ]
    );
    let renamed = Interface {
        name: "lan0".to_owned(),
        ..nic()
    };
    assert!(!state.is_restored(&renamed));
    assert_eq!(state.mending(&renamed), Vec::<Vec<String>>::new());
}

#[test]
fn one_that_had_nothing_gets_nothing() {
    let bare = Interface {
        flags: ["BROADCAST"].into(),
        description: None,
        mtu: 1500,
        groups: ["all"].into(),
        nd6: ["PERFORMNUD", "IFDISABLED", "AUTO_LINKLOCAL"].into(),
        ..nic()
    };
    let state = NicState::of(&bare).expect("a NIC");
    let back = Interface {
        description: Some("forged".to_owned()),
        flags: ["BROADCAST", "RUNNING"].into(),
        ..bare.clone()
    };
    assert_eq!(lines(&state.mending(&back)), ["-description", "down"]);
    let guessed = NicState::untouched("igb3", &abused()).expect("a NIC");
    assert_eq!(guessed.mac, guessed.hwaddr);
    assert_eq!((guessed.up, guessed.flags), (false, BTreeSet::new()));
}
