//! The digest to the letter. It is carried by running jails: **a digest that changes here restarts every such jail of every host when the agent is updated.** If that is what you want,
//! raise the form's version and keep computing the old one; if not, mend the code, not this file.

use cellblock_schemas::jail::{Addressing, JailSpec, Mount};
use cellblock_schemas::view::JailView;

use super::*;
use crate::op::Epair;
use crate::plan::desired::{Attach, DesiredLink};

fn www(parameters: &[(&str, ParameterValue)]) -> JailView {
    let parameters = parameters
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()));
    JailView {
        name: "www".to_owned(),
        spec: JailSpec {
            parameters: parameters.collect(),
            ..JailSpec::default()
        },
        ..JailView::default()
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn epair() -> Epair {
    let mac = cellblock_schemas::net::Mac([2, 0xcb, 0, 0, 1, 1]);
    Epair {
        host_end: "cbaaaaaaaaaaa".to_owned(),
        host_description: String::new(),
        host_mac: mac,
        jail_end: "cbaaaaaaaaaab".to_owned(),
        jail_description: String::new(),
        jail_mac: mac,
        mtu: 1500,
    }
}

fn vnet(prefix_length: u8, gateways: &[&str]) -> Networking {
    Networking::Vnet {
        links: vec![DesiredLink {
            interface: "switch0".to_owned(),
            attach: Attach::Bridged {
                epair: epair(),
                bridge: "cbaaaaaaaaaabr".to_owned(),
            },
            addressing: Addressing::Static,
            on_link: Vec::new(),
            addresses: vec![
                (address("10.10.0.10"), prefix_length),
                (address("fd00:10::10"), 64),
            ],
            gateways: gateways.iter().map(|text| address(text)).collect(),
        }],
    }
}

fn digest(jail: &JailView, networking: &Networking) -> String {
    Meaning::of(jail, "/jails/www", networking).digest()
}

#[test]
fn digests_of_form_1_stay_what_they_are() {
    let shared = Networking::Shared {
        ip4: vec![address("192.0.2.3"), address("203.0.113.10")],
        ip6: vec![address("fd00:20::3")],
        zones: BTreeMap::new(),
        fib: None,
    };
    let with_everything = www(&[
        ("allow.raw_sockets", ParameterValue::Flag(true)),
        ("securelevel", ParameterValue::Number(3)),
        (
            "host.hostname",
            ParameterValue::Text("www.example".to_owned()),
        ),
        (
            "exec.start",
            ParameterValue::List(vec![
                "/bin/sh /etc/rc".to_owned(),
                "/usr/bin/true".to_owned(),
            ]),
        ),
    ]);
    let mut mounted = www(&[]);
    mounted.spec.mounts = vec![Mount {
        target: "/data".to_owned(),
        fs_type: "nullfs".to_owned(),
        source: Some("/srv/data".to_owned()),
        options: vec!["ro".to_owned()],
    }];
    let pinned = [
        ("a bare jail", digest(&www(&[]), &Networking::None)),
        ("parameters", digest(&with_everything, &Networking::None)),
        ("a mount", digest(&mounted, &Networking::None)),
        ("shared addresses", digest(&www(&[]), &shared)),
        (
            "a network stack",
            digest(&www(&[]), &vnet(24, &["10.10.0.1", "fd00:10::1"])),
        ),
    ];
    let expected = [
        ("a bare jail", "1-86699425c209b4eb"),
        ("parameters", "1-e3bdb317b69c68f2"),
        ("a mount", "1-61b5e2ae88a69b44"),
        ("shared addresses", "1-69f3a2b3c2cedae3"),
        ("a network stack", "1-5774a143e5f365d1"),
    ]
    .map(|(what, digest)| (what, digest.to_owned()));
    assert_eq!(pinned, expected);
}

#[test]
fn what_means_the_same_has_the_same_digest() {
    let text = |text: &str| ParameterValue::Text(text.to_owned());
    let none = Networking::None;
    for (one, other) in [
        (ParameterValue::Number(3), text("3")),
        (ParameterValue::Flag(true), text("true")),
        (ParameterValue::List(vec!["a b".to_owned()]), text("a b")),
    ] {
        let (one, other) = (www(&[("x", one)]), www(&[("x", other)]));
        assert_eq!(digest(&one, &none), digest(&other, &none));
    }
    let named = www(&[("host.hostname", text("www"))]);
    assert_eq!(digest(&www(&[]), &none), digest(&named, &none));
    assert_eq!(
        digest(&www(&[]), &vnet(24, &[])),
        digest(&www(&[]), &vnet(16, &[]))
    );
}

#[test]
fn what_means_something_else_has_another_digest() {
    let list = |items: &[&str]| {
        ParameterValue::List(items.iter().map(|item| (*item).to_owned()).collect())
    };
    let none = Networking::None;
    let digests = [
        digest(&www(&[]), &none),
        Meaning::of(&www(&[]), "/jails/other", &none).digest(),
        digest(&www(&[("exec.start", list(&["a", "b"]))]), &none),
        digest(&www(&[("exec.start", list(&["ab"]))]), &none),
        digest(&www(&[("exec.start", list(&["a, b"]))]), &none),
        digest(&www(&[]), &vnet(24, &[])),
        digest(&www(&[]), &vnet(24, &["10.10.0.1"])),
    ];
    for (index, digest) in digests.iter().enumerate() {
        assert!(!digests[..index].contains(digest), "{index}");
    }
}

#[test]
fn the_cause_of_a_restart_names_its_fields() {
    let fields = |level: i64, more: &[(&str, ParameterValue)]| {
        let mut parameters = vec![("securelevel", ParameterValue::Number(level))];
        parameters.extend_from_slice(more);
        Meaning::of(&www(&parameters), "/jails/www", &Networking::None).fields()
    };
    let raw = ("allow.raw_sockets", ParameterValue::Flag(true));
    assert_eq!(
        cause(&fields(1, &[]), &fields(2, std::slice::from_ref(&raw))),
        "spec.parameters.allow.raw_sockets is new: `true`; spec.parameters.securelevel changed from `1` to `2`"
    );
    assert_eq!(
        cause(&fields(1, &[raw]), &fields(1, &[])),
        "spec.parameters.allow.raw_sockets was taken away: `true`"
    );
    let long = |end: &str| ("exec.start", ParameterValue::Text("x".repeat(100) + end));
    let told = cause(&fields(1, &[long("a")]), &fields(1, &[long("b")]));
    assert!(
        told.starts_with("spec.parameters.exec.start changed from `xxx"),
        "{told}"
    );
    assert!(cause(&BTreeMap::new(), &fields(1, &[])).contains("not known"));
}
