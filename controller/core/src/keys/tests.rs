//! Keys survive being written and read back.

use super::*;
use cellblock_schemas::Uid;
use cellblock_schemas::net::{PortRange, Protocol};

use crate::claim::Share;

fn keys() -> Keys {
    Keys::new(&ClusterUid("c1".to_owned()))
}

#[test]
fn every_resource_comes_back_from_its_key() {
    let address = "2001:db8::7".parse().expect("an address");
    let resources = [
        Resource::Address {
            network: "lan".to_owned(),
            host: None,
            address,
        },
        Resource::Address {
            network: "lan".to_owned(),
            host: Some("fbsd-01".to_owned()),
            address,
        },
        Resource::MacNumber(0x00c0_ffee),
        Resource::Port {
            host: "fbsd-01".to_owned(),
            address,
            protocol: Protocol::Udp,
            ports: PortRange {
                first: 8000,
                last: 8099,
            },
            share: None,
        },
        Resource::Port {
            host: "fbsd-01".to_owned(),
            address,
            protocol: Protocol::Tcp,
            ports: PortRange {
                first: 443,
                last: 443,
            },
            share: Some(Share {
                pool: "web".to_owned(),
                to: Some(8443),
                sticky: true,
                jail: Uid("7f7675c7-3acf-4f06-8114-6ad12eb97677".to_owned()),
            }),
        },
        Resource::Port {
            host: "fbsd-01".to_owned(),
            address,
            protocol: Protocol::Tcp,
            ports: PortRange { first: 1, last: 9 },
            share: Some(Share {
                pool: "web".to_owned(),
                to: None,
                sticky: false,
                jail: Uid("uid".to_owned()),
            }),
        },
        Resource::PublicAddress {
            host: "fbsd-01".to_owned(),
            address,
        },
        Resource::JailName {
            host: "fbsd-01".to_owned(),
            name: "www".to_owned(),
        },
        Resource::Nic {
            host: "fbsd-01".to_owned(),
            interface: "igb2".to_owned(),
        },
        Resource::Slice {
            network: "span".to_owned(),
            net: "10.40.0.32/27".parse().expect("a prefix"),
        },
        Resource::Slice {
            network: "span".to_owned(),
            net: "fd00:40::1:0:0:0/80".parse().expect("a prefix"),
        },
        Resource::UserIds(1_010_000),
        Resource::Fib(3),
    ];
    for resource in resources {
        let key = keys().claim(&resource);
        assert_eq!(keys().parse(&key), Some(Place::Claim(resource)), "{key}");
    }
}

#[test]
fn objects_sessions_guards_and_the_epoch_come_back() {
    let keys = keys();
    let object = Place::Object {
        kind: Kind::Jail,
        name: "www".to_owned(),
    };
    assert_eq!(keys.parse(&keys.object(Kind::Jail, "www")), Some(object));
    let session = Place::Session {
        host: "fbsd-01".to_owned(),
    };
    assert_eq!(keys.parse(&keys.session("fbsd-01")), Some(session));
    assert_eq!(
        keys.parse(&keys.guard("ports/fbsd-01")),
        Some(Place::Guard("ports/fbsd-01".to_owned()))
    );
    assert_eq!(
        keys.parse(&keys.kept("www")),
        Some(Place::Kept("www".to_owned()))
    );
    assert_eq!(keys.parse(&keys.epoch()), Some(Place::Epoch));
}

#[test]
fn what_is_not_ours_is_passed_over() {
    for key in [
        "/cellblock/c2/v1/epoch",
        "/cellblock/c1/v1/objects/Pod/x",
        "/cellblock/c1/v1/alloc/mac/zz",
        "/cellblock/c1/v1/later",
        "",
    ] {
        assert_eq!(keys().parse(key), None, "{key}");
    }
}
