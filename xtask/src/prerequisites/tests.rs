//! Tests of the table of packages.

use super::{FOR_TESTS, MANAGERS, Prerequisite, by_hand, packages};

#[test]
fn every_manager_knows_every_prerequisite() {
    for manager in MANAGERS {
        for one in FOR_TESTS {
            assert!(
                !one.packages(manager).is_empty(),
                "{} lacks {}",
                manager.program,
                one.name()
            );
        }
    }
}

#[test]
fn the_instructions_name_only_what_is_missing() {
    let text = by_hand(&[Prerequisite::Etcd]);
    assert!(text.contains("apt-get install etcd-server"), "{text}");
    assert!(text.contains("pkg install coreos-etcd35"), "{text}");
    assert!(!text.contains("protobuf"), "{text}");
}

#[test]
fn several_prerequisites_are_installed_at_once() {
    let apt = MANAGERS.first().expect("the table is not empty");
    assert_eq!(
        packages(FOR_TESTS, apt),
        [
            "protobuf-compiler",
            "libprotobuf-dev",
            "etcd-server",
            "openssl"
        ]
    );
}
