//! A change of what a host lives by, with a real guard: a process that takes it back when the agent is killed, and that can be killed itself.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use cellblock_e2e::{CONVERGE, Fleet, Machine, Options, eventually};
use cellblock_schemas::Kind;
use serde_json::Value;

/// Where the host's network must lead for its agent to reach the controller: a VLAN behind the first port of the lagg.
const CONTROLLER_AT: &str = "10.30.0.99@vtnet1.30";

fn manifest(ports: &str) -> String {
    format!(
        "apiVersion: cellblock.dev/v1alpha1
kind: Host
metadata: {{name: fbsd-01}}
spec:
  uplinks:
    wan: {{lagg: {{protocol: failover, ports: {ports}}}}}
    office: {{vlan: {{id: 30, uplink: wan}}}}
"
    )
}

fn ready(fleet: &Fleet) -> anyhow::Result<[String; 3]> {
    let object = fleet.get(Kind::Host, "fbsd-01")?;
    let conditions = object
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let mut conditions = conditions.into_iter().flatten();
    let found = conditions.find(|condition| condition["type"] == "Ready");
    let found = found.context("the host is not ready yet")?;
    Ok(["status", "reason", "message"]
        .map(|field| found[field].as_str().unwrap_or_default().to_owned()))
}

fn wait_reason(fleet: &Fleet, wanted: &str) -> anyhow::Result<String> {
    eventually(&format!("the host says {wanted}"), CONVERGE, || {
        let [_, reason, message] = ready(fleet)?;
        ensure!(reason == wanted, "{reason}: {message}");
        Ok(message)
    })
}

fn wait_ports(machine: &Machine, wanted: &[&str]) -> anyhow::Result<()> {
    eventually(&format!("the lagg has {wanted:?}"), CONVERGE, || {
        let lagg = machine.run("ifconfig -g lagg")?;
        let shown = machine.run(&format!("ifconfig {}", lagg.trim()))?;
        let ports = shown.lines().filter_map(|line| {
            let rest = line.trim().strip_prefix("laggport: ")?;
            rest.split_whitespace().next()
        });
        let ports: Vec<&str> = ports.collect();
        ensure!(ports == wanted, "{ports:?}");
        Ok(())
    })
}

/// The guard of a machine's agent, by what it was started with.
fn guard_of(state_dir: &Path) -> anyhow::Result<u32> {
    let record = state_dir.display().to_string();
    for entry in std::fs::read_dir("/proc")? {
        let path: PathBuf = entry?.path();
        let Ok(line) = std::fs::read(path.join("cmdline")) else {
            continue;
        };
        let words: Vec<&str> = line
            .split(|byte| *byte == 0)
            .filter_map(|word| std::str::from_utf8(word).ok())
            .collect();
        if words.contains(&"guard") && words.contains(&record.as_str()) {
            let name = path.file_name().and_then(|name| name.to_str());
            return Ok(name.context("a process")?.parse()?);
        }
    }
    anyhow::bail!("no guard is at work")
}

/// A host that lives by a VLAN on a lagg of vtnet1, and whose agent reaches the controller by it alone.
fn living_by_a_lagg() -> anyhow::Result<Fleet> {
    let mut fleet = Fleet::start(&Options::small())?;
    fleet.apply(&manifest("[vtnet1]"))?.ok()?;
    let machine = &mut fleet.machines[0];
    wait_ports(machine, &["vtnet1"])?;
    let office = eventually("the vlan is there", CONVERGE, || {
        let vlan = machine.run("ifconfig -g vlan")?;
        ensure!(!vlan.trim().is_empty(), "no vlan");
        Ok(vlan.trim().to_owned())
    })?;
    machine.agent.terminate()?;
    machine.run(&format!("ifconfig {office} inet 10.30.0.7/24"))?;
    machine.agent.also(&["--controller-at", CONTROLLER_AT]);
    machine.agent.start()?;
    wait_reason(&fleet, "Converged")?;
    Ok(fleet)
}

#[test]
fn a_change_that_cuts_is_taken_back_by_the_guard_of_an_agent_that_was_killed() -> anyhow::Result<()>
{
    let mut fleet = living_by_a_lagg()?;
    let state_dir = fleet.machines[0].state_dir().to_owned();
    // What does not cut stays, and nothing of the guard is left.
    fleet.apply(&manifest("[vtnet1, vtnet2]"))?.ok()?;
    wait_ports(&fleet.machines[0], &["vtnet1", "vtnet2"])?;
    wait_reason(&fleet, "Converged")?;
    eventually("nothing of the guard is left", CONVERGE, || {
        let left = std::fs::read_dir(&state_dir)?;
        for entry in left {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            ensure!(
                !name.starts_with("change.") && !name.starts_with("guard."),
                "{name}"
            );
        }
        ensure!(guard_of(&state_dir).is_err(), "the guard is still there");
        Ok(())
    })?;
    // The other card leads elsewhere. The agent dies while it looks for its controller.
    fleet.apply(&manifest("[vtnet2]"))?.ok()?;
    wait_ports(&fleet.machines[0], &["vtnet2"])?;
    ensure!(fleet.machines[0].agent.kill(), "the agent ran");
    wait_ports(&fleet.machines[0], &["vtnet1", "vtnet2"])?;
    eventually("the guard says what it did", CONVERGE, || {
        ensure!(state_dir.join("change.undone").exists(), "not yet");
        Ok(())
    })?;
    fleet.machines[0].agent.start()?;
    let message = wait_reason(&fleet, "RolledBack")?;
    ensure!(message.contains("spec.uplinks[wan]"), "{message}");
    wait_ports(&fleet.machines[0], &["vtnet1", "vtnet2"])?;
    fleet.assert_no_panic()
}

#[test]
fn with_its_guard_killed_too_the_next_agent_takes_it_back() -> anyhow::Result<()> {
    let mut fleet = living_by_a_lagg()?;
    let state_dir = fleet.machines[0].state_dir().to_owned();
    fleet.apply(&manifest("[vtnet2]"))?.ok()?;
    wait_ports(&fleet.machines[0], &["vtnet2"])?;
    let guard = guard_of(&state_dir)?;
    let killed = std::process::Command::new("kill")
        .args(["-9", &guard.to_string()])
        .status()?;
    ensure!(killed.success(), "the guard could not be killed");
    ensure!(fleet.machines[0].agent.kill(), "the agent ran");
    ensure!(state_dir.join("change.armed").exists(), "it is open");
    fleet.machines[0].agent.start()?;
    wait_ports(&fleet.machines[0], &["vtnet1"])?;
    wait_reason(&fleet, "RolledBack")?;
    fleet.assert_no_panic()
}
