//! The watchman sees what it is there for, on emulated machines whose operator has been careless.

use std::sync::Mutex;

use cellblock_agent::emulated::prepared;
use cellblock_schemas::Kind;
use cellblock_schemas::net::Cidr;
use jailctl::client::Stored;
use serde_json::json;

use super::{Seen, Subnet, look, look_at_bindings};

/// One subnet that is unique in the fleet, and one that is on each host.
fn subnets() -> Vec<Subnet> {
    let subnet = |cidr: &str, fleet| Subnet {
        cidr: cidr.parse::<Cidr>().expect("a subnet"),
        fleet,
    };
    let subnets = [
        ("10.10.0.0/24", true),
        ("fd00:10::/64", true),
        ("192.0.2.0/28", false),
    ];
    subnets.map(|(cidr, fleet)| subnet(cidr, fleet)).into()
}

/// What is seen of two machines on which these lines were run.
fn seen_of(one: &[&str], two: &[&str]) -> Vec<String> {
    let machines = [("one", one), ("two", two)].map(|(name, script)| {
        let mut host = prepared(name, 1).expect("a machine");
        for line in script {
            let output = host.sh(line);
            assert_eq!(output.status, 0, "{line}: {}", output.stderr);
        }
        (name.to_owned(), host.fingerprint())
    });
    let seen = Mutex::new(Seen::default());
    look(&|| machines.to_vec(), &subnets(), &seen);
    seen.into_inner().expect("nobody panicked").violations
}

const ALIAS: &str = "ifconfig vtnet0 inet 10.10.0.5/32 alias";

#[test]
fn an_address_that_two_jails_of_one_host_have_is_seen() {
    let tom = "jail -c name=tom path=/ persist ip4.addr=10.10.0.5";
    let dick = "jail -c name=dick path=/ persist ip4.addr=10.10.0.5";
    assert_eq!(seen_of(&[ALIAS, tom], &[]), [""; 0]);
    let seen = seen_of(&[ALIAS, tom, dick], &[]);
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(
        seen[0].starts_with("10.10.0.5: ") && seen[0].contains("tom") && seen[0].contains("dick"),
        "{seen:?}"
    );
    // Behind the first address too, and in IPv6.
    let alias = "ifconfig vtnet0 inet6 fd00:10::5/128 alias";
    let harry = "jail -c name=harry path=/ persist ip4.addr=10.10.0.6 ip6.addr=fd00:10::5";
    let other = "jail -c name=other path=/ persist ip6.addr=fd00:10::5";
    let second = "ifconfig vtnet0 inet 10.10.0.6/32 alias";
    let seen = seen_of(&[second, alias, harry, other], &[]);
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen[0].starts_with("fd00:10::5: "), "{seen:?}");
}

#[test]
fn an_address_that_stands_on_two_machines_is_seen_where_it_is_unique_in_the_fleet() {
    assert_eq!(seen_of(&[ALIAS], &[]), [""; 0]);
    let seen = seen_of(&[ALIAS], &[ALIAS]);
    assert_eq!(seen.len(), 1, "{seen:?}");
    let own = "ifconfig vtnet0 inet 192.0.2.3/32 alias";
    assert_eq!(seen_of(&[own], &[own]), [""; 0]);
    let again = "ifconfig vtnet1 inet 192.0.2.3/32 alias";
    assert_eq!(seen_of(&[own, again], &[]).len(), 1);
}

#[test]
fn an_address_that_two_jails_are_bound_to_is_seen_whatever_their_networks() {
    let bound = |name: &str, host: &str, network: &str, address: &str| Stored {
        kind: Kind::Jail,
        name: name.to_owned(),
        revision: 1,
        value: json!({"status": {"binding": {"host": host, "attachments": [
            {"network": network, "addresses": [{"address": address}]},
        ]}}}),
    };
    let seen_of = |jails: &[Stored]| {
        let seen = Mutex::new(Seen::default());
        look_at_bindings(jails, &subnets(), &seen);
        seen.into_inner().expect("nobody panicked").violations.len()
    };
    let tom = bound("tom", "one", "east", "10.10.0.5/32");
    let dick = bound("dick", "two", "west", "10.10.0.5/32");
    assert_eq!(seen_of(&[tom.clone(), dick]), 1);
    let dick = bound("dick", "two", "west", "10.10.0.6/32");
    assert_eq!(seen_of(&[tom, dick]), 0);
    let tom = bound("tom", "one", "inside", "192.0.2.3/32");
    let dick = bound("dick", "two", "inside", "192.0.2.3/32");
    assert_eq!(seen_of(&[tom, dick]), 0);
}
