//! What the report says of a host whose jails and rules somebody set up by hand.

use cellblock_agent::emulated::{Live, prepared};
use cellblock_schemas::Kind;
use serde_json::{Value, json};

use super::{Report, report};
use crate::client::Stored;

/// Two jails on a loopback, and one with a stack of its own that leads nowhere.
const JAILS: [&str; 6] = [
    "ifconfig lo create name inside",
    "ifconfig inside inet 192.0.2.3/32",
    "ifconfig inside inet 192.0.2.4/32 alias",
    "jail -c name=tom persist path=/ ip4.addr=192.0.2.3",
    "jail -c name=dick persist path=/ ip4.addr=192.0.2.4",
    "jail -c name=alone persist path=/ vnet",
];

/// Port 81 outside is port 80 of dick's.
const RDR: &str =
    "rdr pass on vtnet0 inet proto tcp from any to 10.0.2.15 port 81 -> 192.0.2.4 port 80\n";

fn machine(rules: &str) -> Live {
    let mut emulator = prepared("a", 1).expect("a machine");
    for line in JAILS {
        let output = emulator.sh(line);
        assert_eq!(output.status, 0, "{line}: {}", output.stderr);
    }
    let argv = ["pfctl", "-f", "-"].map(str::to_owned);
    let output = emulator.run(&argv, rules);
    assert_eq!(output.status, 0, "{}", output.stderr);
    Live::new(emulator)
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

/// The host, and its three jails; dick publishes port 81, and udp port 53 if `both`.
fn objects(uplink: Value, both: bool) -> Vec<Stored> {
    let bound = |address: &str| {
        json!({"binding": {"host": "a", "attachments": [
            {"network": "inside", "interface": "", "addresses": [address]},
        ]}})
    };
    let mut publish = vec![json!({"name": "web", "ports": [81], "to": 80, "uplink": "external"})];
    if both {
        publish
            .push(json!({"name": "dns", "ports": [53], "protocol": "udp", "uplink": "external"}));
    }
    vec![
        stored(
            Kind::Host,
            "a",
            json!({"uplinks": {"external": uplink}}),
            json!({}),
        ),
        stored(Kind::Jail, "tom", json!({}), bound("192.0.2.3/32")),
        stored(
            Kind::Jail,
            "dick",
            json!({"publish": publish}),
            bound("192.0.2.4/32"),
        ),
        stored(
            Kind::Jail,
            "alone",
            json!({}),
            json!({"binding": {"host": "a", "attachments": []}}),
        ),
        stored(
            Kind::Jail,
            "elsewhere",
            json!({}),
            json!({"binding": {"host": "b", "attachments": []}}),
        ),
    ]
}

fn external() -> Value {
    json!({"interface": "vtnet0", "publicAddresses": {"main": "10.0.2.15", "six": "2001:db8::15"}})
}

/// The rows of the table, with one blank between words.
fn rows(report: &Report) -> Vec<String> {
    let rows = report.lines.iter().skip(2);
    let rows = rows.take_while(|line| !line.starts_with("From outside"));
    rows.map(|row| row.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

#[test]
fn every_pair_is_told_in_both_directions_and_through_what() {
    let report = report(
        "a",
        &machine(&format!("{RDR}pass\n")),
        &objects(external(), false),
    );
    assert_eq!(report.lines[0], "On a, who reaches whom (tcp port 80):");
    assert_eq!(
        rows(&report),
        [
            "tom dick yes: inside -",
            "tom alone - -",
            "dick tom yes: inside -",
            "dick alone - -",
            "alone tom no: no address -",
            "alone dick no: no address -",
        ]
    );
    assert_eq!(report.astray, [""; 0]);
}

#[test]
fn a_blocked_pair_is_told_as_blocked_and_only_in_its_direction() {
    let rules = format!("{RDR}pass\nblock quick on inside proto tcp from 192.0.2.3 to 192.0.2.4\n");
    let report = report("a", &machine(&rules), &objects(external(), false));
    let rows = rows(&report);
    assert_eq!(rows[0], "tom dick no: blocked -");
    assert_eq!(rows[2], "dick tom yes: inside -");
}

#[test]
fn a_published_port_is_traced_to_its_jail() {
    let report = report(
        "a",
        &machine(&format!("{RDR}pass\n")),
        &objects(external(), false),
    );
    let text = report.lines.join("\n");
    let (_, trace) = text
        .split_once("From outside to 10.0.2.15 tcp port 81 (a, published by dick):")
        .expect("it is traced");
    assert!(
        trace.contains("=> reached jail dick 192.0.2.4:80, which sees 10.0.2.2"),
        "{trace}"
    );
    // No address was named, and dick has none of that family.
    assert!(!text.contains("2001:db8::15"), "{text}");
}

#[test]
fn a_published_port_that_leads_elsewhere_or_nowhere_is_astray() {
    // No rule: the host itself has the port.
    let found = report("a", &machine("pass\n"), &objects(external(), false)).astray;
    assert_eq!(found.len(), 1, "{found:?}");
    let begins = "10.0.2.15 tcp port 81 of host a does not lead to jail dick: reached host";
    assert!(found[0].starts_with(begins), "{found:?}");
    // Another jail's.
    let rules = format!("{}pass\n", RDR.replace("192.0.2.4", "192.0.2.3"));
    let found = report("a", &machine(&rules), &objects(external(), false)).astray;
    assert!(found[0].contains("reached jail tom"), "{found:?}");
    // Blocked, and one of two.
    let rules = format!(
        "{}pass\n",
        RDR.replace("rdr pass", "rdr") + "block quick on vtnet0 proto tcp\n"
    );
    let found = report("a", &machine(&rules), &objects(external(), true)).astray;
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("blocked by"), "{found:?}");
    assert!(found[1].starts_with("10.0.2.15 udp port 53"), "{found:?}");
    // Nothing that it could be published at.
    let found = report(
        "a",
        &machine("pass\n"),
        &objects(json!({"interface": "vtnet0"}), false),
    )
    .astray;
    assert!(found[0].contains("published nowhere"), "{found:?}");
    let found = report("a", &machine("pass\n"), &objects(json!({}), false)).astray;
    assert!(
        found[0].contains("no uplink `external` with an interface"),
        "{found:?}"
    );
}

#[test]
fn a_public_address_of_its_own_is_traced_by_its_ports_or_by_one() {
    let binat = "binat on vtnet0 inet from 192.0.2.4 to any -> 10.0.2.15\n";
    let with = |entry: Value, rules: &str| {
        let mut objects = objects(external(), false);
        objects[2].value["spec"] = json!({"publicAddresses": [entry]});
        report("a", &machine(&format!("{rules}pass\n")), &objects)
    };
    let entry = |ports: Value| json!({"name": "own", "uplink": "external", "address": "main", "ports": ports});
    let whole = with(entry(json!([])), binat);
    assert!(whole.astray.is_empty(), "{:?}", whole.astray);
    let text = whole.lines.join("\n");
    assert!(
        text.contains("From outside to 10.0.2.15 tcp port 80 (a, published by dick):"),
        "{text}"
    );
    let some = with(entry(json!([25, 587])), "");
    assert_eq!(some.astray.len(), 2, "{:?}", some.astray);
    assert!(
        some.astray[0].starts_with("10.0.2.15 tcp port 25 of host a does not lead to jail dick"),
        "{:?}",
        some.astray
    );
}
