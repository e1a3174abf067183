//! `jailctl render` against what agents really did: the same commands, files and rules, and the same as without a controller but for what a controller gives.

use std::path::Path;

use anyhow::{Context as _, ensure};
use cellblock_e2e::{CONVERGE, Fleet, Machine, Options, difference};
use serde_json::Value;

/// Arrangements of `examples/networking` with a bridge, links, and a netgraph switch; and one with a routing table.
const ROWS: [&str; 4] = [
    "n07-routed/routed.yaml",
    "n08-bridge/bridge.yaml",
    "n10-netgraph-internal/netgraph.yaml",
    "n12-routing-tables/routing-tables.yaml",
];

/// The jails of these.
const JAILS: [&str; 6] = ["www", "db", "machine", "plain", "web", "other"];

fn path(row: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/networking");
    folder.join(row).display().to_string()
}

#[test]
fn what_is_rendered_is_what_the_agent_did() -> anyhow::Result<()> {
    for row in ROWS {
        looked_at(row).with_context(|| row.to_owned())?;
    }
    Ok(())
}

fn looked_at(row: &str) -> anyhow::Result<()> {
    let mut fleet = Fleet::prepare(&Options {
        roots: JAILS.iter().map(|name| format!("/jails/{name}")).collect(),
        ..Options::small()
    })?;
    fleet.start_controller()?;
    // All of it is there before the agent comes, so that nothing is done in between.
    let path = path(row);
    fleet.jailctl(&["apply", "-f", &path])?.ok()?;
    let machine = fleet.machine("fbsd-01")?;
    let before = machine.changing_commands()?.len();
    machine.agent.start()?;
    fleet.wait_ready(&path, CONVERGE)?;
    let render = |words: &[&str]| -> anyhow::Result<String> {
        Ok(fleet.jailctl(&[&["render"], words].concat())?.ok()?.stdout)
    };
    let document: Value = serde_json::from_str(&render(&["host/fbsd-01", "-o", "json"])?)?;
    let machine = fleet.machines.first().context("a machine")?;
    compare(machine, before, &document)?;

    let live = render(&["host/fbsd-01"])?;
    ensure!(live == render(&["host", "fbsd-01"])?, "not alike twice");
    let offline = render(&["-f", &path])?;
    let (live, offline) = (plain(&live), plain(&offline));
    let difference = difference(&live, &offline);
    ensure!(
        live == offline,
        "live and offline differ: {}",
        difference.join("\n")
    );
    fleet.assert_no_panic()
}

/// Commands, files and rules. The machine's operator has run so many commands before its agent came.
fn compare(machine: &Machine, before: usize, document: &Value) -> anyhow::Result<()> {
    let parts = document.pointer("/hosts/0/parts").context("parts")?;
    let parts = parts.as_array().context("a list")?;
    let mut commands = Vec::new();
    for part in parts {
        let actions = part["actions"].as_array().context("actions")?;
        for action in actions {
            if let Some(words) = action["run"].as_array() {
                let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
                commands.push(words.join(" "));
            }
            if let (Some(path), Some(content)) =
                (action["write"].as_str(), action["content"].as_str())
            {
                let there = machine.run(&format!("cat {path}"))?;
                ensure!(there == content, "{path} is\n{there}not\n{content}");
            }
            if let (Some(anchor), Some(rules)) = (part["anchor"].as_str(), action["stdin"].as_str())
            {
                let labels = machine.run(&format!("pfctl -a {anchor} -sl"))?;
                let loaded = labels.split_whitespace().next().unwrap_or_default();
                ensure!(
                    labels.contains("cellblock:cfg:") && rules.contains(loaded),
                    "{anchor} has {labels}, not\n{rules}"
                );
            }
        }
    }
    let mut ran = machine.changing_commands()?.split_off(before);
    // A host of e2e forwards already.
    for commands in [&mut commands, &mut ran] {
        commands.retain(|line| !line.contains("forwarding=1"));
        for line in commands.iter_mut() {
            *line = line.split(' ').map(uncounted).collect::<Vec<_>>().join(" ");
        }
        commands.sort();
    }
    ensure!(
        commands == ran,
        "rendered\n{}\nrun\n{}",
        commands.join("\n"),
        ran.join("\n")
    );
    Ok(())
}

/// A word without the number that a kernel counts up: the agent makes interfaces in another order than they are shown in.
fn uncounted(word: &str) -> String {
    for kind in ["epair", "ngeth"] {
        if let Some(rest) = word.strip_prefix(kind) {
            return format!(
                "{kind}#{}",
                rest.trim_start_matches(|c: char| c.is_ascii_digit())
            );
        }
    }
    word.to_owned()
}

/// The lines behind the head, without what comes from uids and from the order in which they sort.
fn plain(text: &str) -> Vec<String> {
    let lines = text.lines().skip_while(|line| line.starts_with('#'));
    // Of the host's own address, which its routing tables know too, only the agent has told.
    let left_out = ["(uid ", "meta = ", " 10.0.2.15 -iface lo0"];
    let own = |line: &&str| !left_out.iter().any(|part| line.contains(part));
    lines.filter(own).map(without_names).collect()
}

fn without_names(line: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || ":/_.-".contains(c);
    let mut shown = String::new();
    for piece in line.split_inclusive(|c| !is_word(c)) {
        let word = piece.trim_end_matches(|c| !is_word(c));
        let is_name = word.contains("cellblock:")
            || word.contains("cellblock/")
            || word.contains("/cb")
            || word.starts_with("cb")
            || word.matches(':').count() == 5 && word.len() == 17
            || word.starts_with("link") && word.len() <= 6;
        if is_name {
            shown.push('#');
        } else {
            shown.push_str(&uncounted(word));
        }
        shown.push_str(&piece[word.len()..]);
    }
    shown
}
