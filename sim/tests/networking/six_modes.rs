//! All modes on one host, with many jails: what is done for one of them is about that one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use cellblock_fakebsd::log::LoggedCommand;

use super::{HOST, ROUNDS_MAX, Row};

/// How many jails there are beside the two with a NIC each.
const JAILS: usize = 198;

const NETWORKS: &str = r#"
apiVersion: cellblock.dev/v1alpha1
kind: Host
metadata: {name: fbsd-01}
spec:
  uplinks:
    external: {interface: vtnet0, publicAddresses: {main: 10.0.2.15}}
    wire: {interface: vtnet1}
    spare: {interfaces: [vtnet2, vtnet3]}
  sysctls: {net.inet.ip.forwarding: 1}
---
apiVersion: cellblock.dev/v1alpha1
kind: Network
metadata: {name: inside}
spec:
  sharedIP: {loopback: {}}
  subnets: [{cidr: 192.0.2.0/24}, {cidr: "fd00:2::/64"}]
  egress: {nat: {uplink: external, address: main}}
---
apiVersion: cellblock.dev/v1alpha1
kind: Network
metadata: {name: on-the-nic}
spec:
  sharedIP: {uplink: external}
  subnets: [{cidr: 10.0.2.0/24, allocate: [10.0.2.100-10.0.2.199]}]
---
apiVersion: cellblock.dev/v1alpha1
kind: Network
metadata: {name: switch}
spec:
  bridge: {}
  subnets: [{cidr: 172.16.0.0/16, gateway: {address: 172.16.0.1}}]
  egress: {nat: {uplink: external, address: main}}
---
apiVersion: cellblock.dev/v1alpha1
kind: Network
metadata: {name: lan}
spec:
  bridge: {uplink: wire}
  subnets: [{cidr: 198.51.100.0/24, gateway: {address: 198.51.100.1}}]
---
apiVersion: cellblock.dev/v1alpha1
kind: Network
metadata: {name: links}
spec:
  routed: {}
  scope: host
  isolation: jails
  subnets: [{cidr: 10.40.0.0/16}]
  egress: {nat: {uplink: external, address: main}}
---
apiVersion: cellblock.dev/v1alpha1
kind: Network
metadata: {name: graph}
spec:
  netgraph: {}
  subnets: [{cidr: 10.60.0.0/16, gateway: {address: 10.60.0.1}}]
  egress: {nat: {uplink: external, address: main}}
---
apiVersion: cellblock.dev/v1alpha1
kind: Network
metadata: {name: own-nics}
spec:
  passthrough: {uplinks: [spare]}
  subnets: [{cidr: 203.0.113.0/24, gateway: {address: 203.0.113.1}}]
"#;

/// Where the host forwards or translates, so that a jail can publish ports.
const PUBLISHING: [&str; 4] = ["inside", "switch", "links", "graph"];

const PLAIN: [&str; 2] = ["on-the-nic", "lan"];

/// The network of a jail, and its name.
fn place(index: usize) -> (&'static str, String) {
    let all: Vec<&str> = PUBLISHING.into_iter().chain(PLAIN).collect();
    let network = all.get(index % all.len()).copied().unwrap_or("inside");
    (
        if index < JAILS { network } else { "own-nics" },
        format!("jail-{index:03}"),
    )
}

/// A jail's manifest; one that is changed has another port inside and another rule, or another securelevel.
fn jail(index: usize, changed: bool) -> String {
    let (network, name) = place(index);
    let mut text = format!(
        "---\napiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata: {{name: {name}}}\nspec:\n  host: {HOST}\n  root: {{path: /jails/{name}}}\n  networks: [{{network: {network}, interface: net0}}]\n"
    );
    if PUBLISHING.contains(&network) {
        let inside = if changed { 8080 } else { 80 };
        let port = 10_000 + index;
        writeln!(text, "  publish: [{{name: web, ports: [{port}], to: {inside}, uplink: external, address: main}}]")
            .expect("writing to a String cannot fail");
    }
    if ["inside", "links"].contains(&network) {
        let port = if changed { 465 } else { 25 };
        writeln!(text, "  firewall: {{egress: [{{name: no-smtp, action: block, protocol: tcp, ports: [{port}]}}]}}")
            .expect("writing to a String cannot fail");
    }
    if network == "own-nics" || PLAIN.contains(&network) {
        let level = i32::from(changed);
        writeln!(text, "  parameters: {{securelevel: {level}}}")
            .expect("writing to a String cannot fail");
    }
    text
}

/// What a jail is known by in the text of a command.
fn marks(row: &Row, name: &str) -> BTreeSet<String> {
    let jail = row.fleet.index.jail(name).expect("it was made");
    let binding = jail
        .status
        .as_ref()
        .and_then(|status| status.binding.as_ref());
    let attachments = binding.into_iter().flat_map(|binding| &binding.attachments);
    let mut marks: BTreeSet<String> = attachments
        .flat_map(|bound| {
            bound
                .addresses
                .iter()
                .map(|bound| bound.address.to_string())
        })
        .collect();
    let uid = &jail.metadata.uid;
    marks.extend([name.to_owned(), uid.to_string()]);
    marks.insert(cellblock_agent_core::names::epair_host_end(uid, "net0"));
    marks
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || ".-".contains(c)))
}

/// The lines that a command says otherwise than the one before it did about the same anchor; else all of it.
fn said<'c>(command: &'c LoggedCommand, loaded: &BTreeMap<Vec<String>, &'c str>) -> Vec<&'c str> {
    let mut lines: Vec<&str> = command.argv.iter().map(String::as_str).collect();
    let before: BTreeSet<&str> = loaded
        .get(&command.argv)
        .map(|text| text.lines().collect())
        .unwrap_or_default();
    let now: BTreeSet<&str> = command.stdin.lines().collect();
    lines.extend(before.symmetric_difference(&now));
    lines
}

#[test]
fn what_is_done_for_one_of_two_hundred_jails_is_about_that_one() {
    let mut manifest = NETWORKS.to_owned();
    for index in 0..JAILS + 2 {
        manifest.push_str(&jail(index, false));
    }
    let mut row = Row::of(&manifest);
    row.world.converge(ROUNDS_MAX).expect("it comes to rest");
    row.rest();
    let marks: BTreeMap<String, BTreeSet<String>> = (0..JAILS + 2)
        .map(|index| place(index).1)
        .map(|name| (name.clone(), self::marks(&row, &name)))
        .collect();
    for index in [60, 61, 62, 63, 64, 65, JAILS] {
        let (network, name) = place(index);
        let done = row.world.host.emulator().log.len();
        row.change(&jail(index, true));
        let emulator = row.world.host.emulator();
        let (before, now) = emulator.log.split_at(done);
        let mut loaded: BTreeMap<Vec<String>, &str> = BTreeMap::new();
        for command in before.iter().filter(|command| command.changing) {
            loaded.insert(command.argv.clone(), &command.stdin);
        }
        let changes: Vec<&LoggedCommand> = now.iter().filter(|command| command.changing).collect();
        assert!(!changes.is_empty(), "{network}: nothing was done");
        for command in changes {
            let lines = said(command, &loaded);
            let said: BTreeSet<&str> = lines.iter().copied().flat_map(words).collect();
            for (other, marks) in marks.iter().filter(|(other, _)| **other != name) {
                let mut marks = marks.iter();
                let told = marks.find(|mark| said.contains(mark.as_str()));
                assert_eq!(told, None, "{network}, {other}: {lines:#?}");
            }
            loaded.insert(command.argv.clone(), &command.stdin);
        }
    }
}
