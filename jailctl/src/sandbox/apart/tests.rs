//! Jails on two hosts that somebody set up by hand.

use cellblock_agent::emulated::prepared;
use serde_json::{Value, json};

use super::*;

fn machine(name: &str, lines: &[String], rules: &str) -> Live {
    let mut emulator = prepared(name, 1).expect("a machine");
    for line in lines {
        let output = emulator.sh(line);
        assert_eq!(output.status, 0, "{line}: {}", output.stderr);
    }
    let argv = ["pfctl", "-f", "-"].map(str::to_owned);
    let output = emulator.run(&argv, rules);
    assert_eq!(output.status, 0, "{}", output.stderr);
    Live::new(emulator)
}

/// A jail with an address of its own on the card, which others on the wire can ask for.
fn on_the_card(name: &str, address: &str) -> Vec<String> {
    vec![
        format!("ifconfig vtnet0 inet {address}/24 alias"),
        format!("jail -c name={name} persist path=/ ip4.addr={address}"),
    ]
}

/// A jail with an address that its host keeps to itself.
fn inside(name: &str, address: &str) -> Vec<String> {
    vec![
        "ifconfig lo create name inside".to_owned(),
        format!("ifconfig inside inet {address}/32"),
        format!("jail -c name={name} persist path=/ ip4.addr={address}"),
    ]
}

fn stored(kind: Kind, name: &str, spec: Value, status: Value) -> Stored {
    Stored {
        kind,
        name: name.to_owned(),
        revision: 1,
        value: json!({
            "apiVersion": "cellblock.dev/v1alpha1", "kind": kind.as_str(),
            "metadata": {"name": name}, "spec": spec, "status": status,
        }),
    }
}

fn objects(jails: &[(&str, &str, &str)]) -> Vec<Stored> {
    let uplinks = json!({"uplinks": {"external": {"interface": "vtnet0"}}});
    let hosts = ["a", "b"].map(|name| stored(Kind::Host, name, uplinks.clone(), json!({})));
    let jails = jails.iter().map(|(name, host, address)| {
        let binding = json!({"binding": {"host": host, "attachments": [
            {"network": "lan", "interface": "", "addresses": [address]},
        ]}});
        stored(Kind::Jail, name, json!({}), binding)
    });
    hosts.into_iter().chain(jails).collect()
}

fn told(a: &Live, b: &Live, jails: &[(&str, &str, &str)]) -> Vec<String> {
    report(&[("a", a), ("b", b)].into(), &objects(jails))
}

const TOM: (&str, &str, &str) = ("tom", "a", "10.0.2.100/24");
const DICK: (&str, &str, &str) = ("dick", "b", "10.0.2.101/24");

#[test]
fn a_pair_on_two_hosts_is_told_with_both_ends_of_its_way() {
    let a = machine("a", &on_the_card("tom", "10.0.2.100"), "pass\n");
    let b = machine("b", &on_the_card("dick", "10.0.2.101"), "pass\n");
    let lines = told(&a, &b, &[TOM, DICK]);
    assert!(lines[0].contains("The wire is not emulated"), "{lines:?}");
    assert_eq!(
        lines[1..],
        [
            "  tom on a to dick on b: IPv4 yes, if what is between leads there: out by wire vtnet0; in by wire vtnet0",
            "  dick on b to tom on a: IPv4 yes, if what is between leads there: out by wire vtnet0; in by wire vtnet0",
        ]
    );
    assert_eq!(told(&a, &b, &[TOM]), [""; 0], "no pair");
}

#[test]
fn what_one_of_the_hosts_blocks_is_told_in_its_direction() {
    let a = machine("a", &on_the_card("tom", "10.0.2.100"), "pass\n");
    let rules = "pass\nblock in quick on vtnet0 proto tcp from 10.0.2.100\n";
    let b = machine("b", &on_the_card("dick", "10.0.2.101"), rules);
    let lines = told(&a, &b, &[TOM, DICK]);
    assert!(
        lines[1].ends_with("IPv4 no: out by wire vtnet0; in from wire vtnet0: blocked"),
        "{lines:?}"
    );
    assert!(lines[2].contains("IPv4 yes"), "{lines:?}");
}

#[test]
fn an_address_that_each_host_has_for_itself_leads_to_nobody_on_the_other() {
    let a = machine("a", &inside("tom", "192.0.2.3"), "pass\n");
    let b = machine("b", &inside("dick", "192.0.2.3"), "pass\n");
    let jails = [
        ("tom", "a", "192.0.2.3/32"),
        ("dick", "b", "192.0.2.3/32"),
        ("alone", "b", "127.0.1.1/32"),
    ];
    let lines = told(&a, &b, &jails);
    assert!(
        lines.contains(
            &"  tom on a to dick on b: IPv4 no: jail tom on a has 192.0.2.3 too".to_owned()
        ),
        "{lines:?}"
    );
    assert!(
        lines.contains(
            &"  tom on a to alone on b: no: it has no address that others could ask for".to_owned()
        ),
        "{lines:?}"
    );
}
