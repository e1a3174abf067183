//! What an operator sees of hosts: strangers and approval, pause, a controller that is away, two agents for one host.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use cellblock_e2e::{CONVERGE, Fleet, Machine, Options, StoreKind, difference, eventually, holds};
use cellblock_schemas::Kind;
use serde_json::Value;

/// Longer than the agents' resync: whatever they do by themselves they have done by then.
const A_FEW_PASSES: Duration = Duration::from_secs(3);

/// The status, reason and message of a condition.
fn condition(fleet: &Fleet, kind: Kind, name: &str, wanted: &str) -> anyhow::Result<[String; 3]> {
    let object = fleet.get(kind, name)?;
    let conditions = object
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let found = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == wanted)
        .with_context(|| format!("{name} has no condition {wanted} yet"))?;
    Ok(["status", "reason", "message"]
        .map(|field| found[field].as_str().unwrap_or_default().to_owned()))
}

fn has_jail(machine: &Machine, name: &str) -> anyhow::Result<bool> {
    let prefix = format!("jail {name} ");
    let kernel = machine.kernel()?;
    Ok(kernel
        .iter()
        .any(|line| line.starts_with(&prefix) && !line.contains(" dying ")))
}

#[test]
fn a_host_with_strangers_waits_for_approval_and_strangers_are_never_touched() -> anyhow::Result<()>
{
    let mut fleet = Fleet::prepare(&Options::examples(StoreKind::Embedded))?;
    let stranger = fleet.machine("fbsd-01")?;
    for line in [
        "ifconfig bridge create",
        "ifconfig bridge0 inet 10.99.0.1/24 up",
        "ifconfig epair create",
        "ifconfig bridge0 addm epair0a",
        "ifconfig vtnet0 inet 10.0.2.77/32 alias",
        "jail -c name=foreign path=/ persist",
        "route add -net 10.98.0.0/16 10.0.2.2",
    ] {
        stranger.run(line)?;
    }
    stranger.run_with(
        "pfctl -a foreign -f -",
        "block in quick proto tcp to port 111\n",
    )?;
    let before = fleet.fingerprints()?;
    let commands = fleet.machines[0].changing_commands()?;
    fleet.start_controller()?;
    for machine in &mut fleet.machines {
        machine.agent.start()?;
    }
    fleet.jailctl(&["apply", "-f", "examples"])?.ok()?;
    eventually("the host waits for approval", CONVERGE, || {
        let [status, reason, message] = condition(&fleet, Kind::Host, "fbsd-01", "Ready")?;
        ensure!(status == "False" && reason == "NotApproved", "{reason}");
        ensure!(message.contains("jailctl host approve"), "{message}");
        let described = fleet.jailctl(&["describe", "host", "fbsd-01"])?.ok()?;
        ensure!(
            described.stdout.contains("www") && described.stdout.contains("pendingPlan"),
            "its plan is not shown: {described}"
        );
        Ok(())
    })?;
    holds("nothing is done before that", A_FEW_PASSES, || {
        let now = fleet.machines[0].changing_commands()?;
        ensure!(now == commands, "{now:?}");
        Ok(())
    })?;
    fleet.jailctl(&["host", "approve", "fbsd-01"])?.ok()?;
    fleet.wait_ready("examples", CONVERGE)?;
    let during = fleet.machines[0].fingerprint()?;
    let touched: Vec<String> = difference(&before[0], &during)
        .into_iter()
        .filter(|line| line.starts_with("- "))
        // Bridges make their NICs promiscuous and bring them up: those lines differ while they do.
        .filter(|line| {
            !line.starts_with("- host if vtnet0 up=") && !line.starts_with("- host if vtnet1 up=")
        })
        .collect();
    ensure!(touched.is_empty(), "touched: {touched:#?}");
    fleet
        .jailctl(&["delete", "-f", "examples", "--timeout", "60s"])?
        .ok()?;
    fleet.wait_restored(&before, CONVERGE)
}

#[test]
fn a_paused_host_changes_nothing_and_a_resumed_one_catches_up() -> anyhow::Result<()> {
    let mut fleet = Fleet::start(&Options::examples(StoreKind::Embedded))?;
    fleet.jailctl(&["apply", "-f", "examples"])?.ok()?;
    fleet.wait_ready("examples", CONVERGE)?;
    fleet.jailctl(&["host", "pause", "fbsd-02"])?.ok()?;
    eventually("the host says that it is paused", CONVERGE, || {
        let [status, reason, _] = condition(&fleet, Kind::Host, "fbsd-02", "Ready")?;
        ensure!(status == "False" && reason == "Paused", "{reason}");
        Ok(())
    })?;
    // Somebody stops a jail, and another one gets a new address.
    let machine = fleet.machine("fbsd-02")?;
    machine.run("jail -r harry")?;
    let commands = machine.changing_commands()?;
    let tom = std::fs::read_to_string(cellblock_e2e::examples().join("nat-tom-dick-harry.yaml"))?
        .replace("[192.0.2.3, ", "[192.0.2.6, ");
    fleet.apply(&tom)?;
    holds("nothing is changed", A_FEW_PASSES, || {
        let machine = fleet.machines.iter().find(|one| one.name == "fbsd-02");
        let now = machine.context("it is there")?.changing_commands()?;
        ensure!(now == commands, "{:?}", &now[commands.len()..]);
        Ok(())
    })?;
    fleet.jailctl(&["host", "resume", "fbsd-02"])?.ok()?;
    fleet
        .jailctl(&["wait", "jail", "tom", "dick", "harry"])?
        .ok()?;
    let machine = fleet.machine("fbsd-02")?;
    ensure!(has_jail(machine, "harry")?, "harry runs again");
    let kernel = machine.kernel()?;
    ensure!(
        kernel.iter().any(|line| line.contains("inet 192.0.2.6 "))
            && !kernel.iter().any(|line| line.contains("inet 192.0.2.3 ")),
        "{kernel:#?}"
    );
    Ok(())
}

#[test]
fn without_a_controller_drift_is_repaired_a_reboot_survived_and_both_reported_later()
-> anyhow::Result<()> {
    let mut fleet = Fleet::start(&Options::examples(StoreKind::Embedded))?;
    fleet.jailctl(&["apply", "-f", "examples"])?.ok()?;
    fleet.wait_ready("examples", CONVERGE)?;
    fleet.controller.kill();
    // Drift: a jail is gone, and a switch with everything on it.
    let machine = fleet.machine("fbsd-02")?;
    machine.run("jail -r dick")?;
    eventually("dick runs again", CONVERGE, || {
        ensure!(has_jail(machine, "dick")?, "not yet");
        Ok(())
    })?;
    let switch = fleet.machine("fbsd-03")?;
    let bridge = switch
        .run("ifconfig -g bridge")?
        .lines()
        .next()
        .context("there is a bridge")?
        .to_owned();
    switch.run(&format!("ifconfig {bridge} destroy"))?;
    eventually("the switch is there again", CONVERGE, || {
        let kernel = switch.kernel()?;
        ensure!(
            kernel
                .iter()
                .any(|line| line.starts_with(&format!("host if {bridge} member "))),
            "not yet"
        );
        Ok(())
    })?;
    // A power failure: the agent knows everything from its ledger.
    switch.cut_power()?;
    ensure!(!has_jail(switch, "www-switch")?, "the power was cut");
    switch.agent.start()?;
    eventually("www-switch runs again", CONVERGE, || {
        ensure!(has_jail(switch, "www-switch")?, "not yet");
        Ok(())
    })?;
    fleet.start_controller()?;
    fleet.wait_ready("examples", CONVERGE)?;
    // What is reported is what is there now, not what was before the controller went.
    let machine = fleet.machines.iter().find(|one| one.name == "fbsd-02");
    let machine = machine.context("it is there")?;
    let jid = machine.run("jls -j dick jid")?.trim().to_owned();
    eventually("the new jid is reported", CONVERGE, || {
        let reported = fleet.get(Kind::Jail, "dick")?["status"]["jid"].to_string();
        ensure!(reported == jid, "{reported}, but it is {jid}");
        Ok(())
    })?;
    fleet.assert_no_panic()
}

#[test]
fn what_was_made_after_a_reboot_is_taken_away_like_everything_else() -> anyhow::Result<()> {
    let mut fleet = Fleet::start(&Options::examples(StoreKind::Embedded))?;
    let before = fleet.fingerprints()?;
    fleet.jailctl(&["apply", "-f", "examples"])?.ok()?;
    fleet.wait_ready("examples", CONVERGE)?;
    for machine in &mut fleet.machines {
        machine.cut_power()?;
        machine.agent.start()?;
    }
    eventually("everything runs again", CONVERGE, || {
        fleet.assert_really_there()
    })?;
    fleet
        .jailctl(&["delete", "-f", "examples", "--timeout", "60s"])?
        .ok()?;
    fleet.wait_restored(&before, CONVERGE)
}

#[test]
fn of_two_machines_with_a_copy_of_one_key_one_is_refused() -> anyhow::Result<()> {
    let mut fleet = Fleet::start(&Options::small())?;
    let heard = |fleet: &Fleet| {
        let [status, ..] = condition(fleet, Kind::Host, "fbsd-01", "Heard")?;
        ensure!(status == "True", "{status}");
        Ok(())
    };
    eventually("the first is heard", CONVERGE, || heard(&fleet))?;
    let folder = fleet.folder().join("copy");
    let original = fleet.machine("fbsd-01")?.state_dir().to_owned();
    let mut copy = Machine::new(fleet.binaries(), &folder, "fbsd-01", 7, fleet.server());
    std::fs::create_dir_all(copy.state_dir())?;
    for entry in std::fs::read_dir(&original)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), copy.state_dir().join(entry.file_name()))?;
        }
    }
    copy.switch_on()?;
    copy.agent.start()?;
    // The newer one takes over, as the same agent would after a reboot; the other one comes back, and is told that they are two.
    let first = fleet.machine("fbsd-01")?;
    eventually("one is told why", CONVERGE, || {
        let log = first.agent.log();
        let refused = log
            .lines()
            .find(|line| line.contains("refused (HostClaimed)"));
        let line = refused.context("not yet")?;
        ensure!(line.contains("a copy of one key"), "{line}");
        Ok(())
    })?;
    let tries = |log: String| log.matches("connected controller").count();
    ensure!(tries(copy.agent.log()) <= 2, "{}", copy.agent.log());
    heard(&fleet)?;
    // Once the copy is gone, the first speaks for the host again.
    copy.agent.kill();
    eventually("the first is connected", CONVERGE, || {
        let log = fleet.machine("fbsd-01")?.agent.log();
        let after = log
            .rsplit("refused (HostClaimed)")
            .next()
            .unwrap_or_default();
        ensure!(after.contains("connected"), "not yet");
        Ok(())
    })
}

#[test]
fn of_two_agents_for_one_host_the_second_is_refused_with_both_named() -> anyhow::Result<()> {
    let mut fleet = Fleet::start(&Options::small())?;
    eventually("the first is heard", CONVERGE, || {
        let [status, ..] = condition(&fleet, Kind::Host, "fbsd-01", "Heard")?;
        ensure!(status == "True", "{status}");
        Ok(())
    })?;
    let folder = fleet.folder().join("clone");
    std::fs::create_dir(&folder)?;
    let mut clone = Machine::new(fleet.binaries(), &folder, "fbsd-01", 7, fleet.server());
    clone.switch_on()?;
    clone.agent.start()?;
    eventually("the second is told why", CONVERGE, || {
        let log = clone.agent.log();
        let line = log
            .lines()
            .find(|line| line.contains("refused"))
            .context("not yet")?;
        ensure!(
            line.contains("host fbsd-01 is spoken for by another agent")
                && line.matches("(key ").count() == 2
                && line.matches("127.0.0.1").count() >= 2,
            "{line}"
        );
        Ok(())
    })?;
    // Two agents with one state folder: the second does not even start.
    let mut third = Machine::new(
        fleet.binaries(),
        fleet.folder(),
        "fbsd-01",
        1,
        fleet.server(),
    );
    third.agent.start()?;
    let status = third.agent.ended(CONVERGE)?;
    ensure!(status.code() == Some(1), "{status}");
    ensure!(
        third
            .agent
            .log()
            .contains("another agent runs with the state folder"),
        "{}",
        third.agent.log_end()
    );
    // The first is as it was.
    let first = fleet.machine("fbsd-01")?;
    ensure!(first.agent.is_running(), "{}", first.agent.log_end());
    let [status, ..] = condition(&fleet, Kind::Host, "fbsd-01", "Heard")?;
    ensure!(status == "True", "{status}");
    Ok(())
}

#[test]
fn a_full_disk_under_the_ledger_stops_changes_and_is_reported() -> anyhow::Result<()> {
    let mut fleet = Fleet::start(&Options {
        roots: vec!["/jails/a".to_owned(), "/jails/b".to_owned()],
        ..Options::small()
    })?;
    fleet.apply(&jail("a"))?;
    fleet.jailctl(&["wait", "jail", "a"])?.ok()?;
    // A ledger that is gone is written anew, by way of a file beside it; where that is full(4), every write ends as on a full disk.
    let machine = fleet.machine("fbsd-01")?;
    let beside = machine.state_dir().join("ledger.json.new");
    std::os::unix::fs::symlink(Path::new("/dev/full"), &beside)?;
    std::fs::remove_file(machine.state_dir().join("ledger.json"))?;
    let commands = machine.changing_commands()?;
    fleet.apply(&jail("b"))?;
    eventually("the full disk is reported", CONVERGE, || {
        let [status, reason, message] = condition(&fleet, Kind::Host, "fbsd-01", "Ready")?;
        ensure!(status == "False" && reason == "DiskFull", "{reason}");
        ensure!(
            message.contains("ledger.json") && message.contains("make room"),
            "{message}"
        );
        Ok(())
    })?;
    let machine = fleet.machine("fbsd-01")?;
    ensure!(
        machine.changing_commands()? == commands,
        "something was done"
    );
    std::fs::remove_file(&beside)?;
    fleet.jailctl(&["wait", "jail", "a", "b"])?.ok()?;
    fleet.assert_no_panic()
}

fn jail(name: &str) -> String {
    format!(
        "apiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata: {{name: {name}}}\nspec: {{host: fbsd-01, root: {{path: /jails/{name}}}}}\n"
    )
}

#[test]
fn a_hundred_jails_without_a_host_spread_evenly() -> anyhow::Result<()> {
    let names: Vec<String> = (0..100).map(|number| format!("j{number:02}")).collect();
    let fleet = Fleet::start(&Options {
        roots: names.iter().map(|name| format!("/jails/{name}")).collect(),
        ..Options::examples(StoreKind::Embedded)
    })?;
    eventually("three hosts are there", CONVERGE, || {
        let hosts = fleet.list(Kind::Host)?.len();
        ensure!(hosts == 3, "{hosts}");
        Ok(())
    })?;
    let mut manifest = "apiVersion: cellblock.dev/v1alpha1\nkind: Network\nmetadata: {name: lan}\nspec: {bridge: {}, scope: fleet, subnets: [{cidr: 10.30.0.0/24}]}\n".to_owned();
    for name in &names {
        manifest.push_str(&format!(
            "---\napiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata: {{name: {name}}}\nspec: {{root: {{path: /jails/{name}}}, networks: [{{network: lan}}]}}\n"
        ));
    }
    fleet.apply(&manifest)?;
    let mut jails_of = std::collections::BTreeMap::<String, usize>::new();
    for jail in fleet.list(Kind::Jail)? {
        let host = jail.value.pointer("/status/binding/host");
        let host = host
            .and_then(Value::as_str)
            .context("each is bound at once")?;
        *jails_of.entry(host.to_owned()).or_default() += 1;
    }
    let mut counts: Vec<usize> = jails_of.values().copied().collect();
    counts.sort_unstable();
    ensure!(counts == [33, 33, 34], "{jails_of:?}");
    fleet.jailctl(&["wait", "jail"])?.ok()?;
    Ok(())
}

/// A set of two jails of which one may be down, and which have a host each, because they have one root.
const SET: &str = "apiVersion: cellblock.dev/v1alpha1
kind: Network
metadata: {name: lan}
spec: {sharedIP: {loopback: {}}, subnets: [{cidr: 10.9.0.0/24}]}
---
apiVersion: cellblock.dev/v1alpha1
kind: JailSet
metadata: {name: web}
spec:
  replicas: 2
  template:
    spec:
      root: {path: /jails/web}
      networks: [{network: lan}]
";

/// The hosts of the jails, sorted.
fn hosts_of_jails(fleet: &Fleet) -> anyhow::Result<Vec<String>> {
    let jails = fleet.list(Kind::Jail)?;
    let hosts = jails.iter().filter_map(|jail| {
        let host = jail.value.pointer("/status/binding/host");
        host.and_then(Value::as_str).map(str::to_owned)
    });
    let mut hosts: Vec<String> = hosts.collect();
    hosts.sort();
    Ok(hosts)
}

#[test]
fn a_drained_host_loses_the_jails_of_its_sets_as_far_as_these_allow() -> anyhow::Result<()> {
    let mut options = Options::examples(StoreKind::Embedded);
    options.roots.push("/jails/web".to_owned());
    let mut fleet = Fleet::start(&options)?;
    fleet.apply(SET)?;
    fleet
        .jailctl(&["wait", "jailset", "web", "--timeout", "40s"])?
        .ok()?;
    ensure!(hosts_of_jails(&fleet)? == ["fbsd-01", "fbsd-02"]);
    let said = fleet
        .jailctl(&["host", "drain", "host/fbsd-01", "--timeout", "30s"])?
        .ok()?;
    said.says(&["host/fbsd-01 cordoned", "has left", "host/fbsd-01 drained"])?;
    fleet
        .jailctl(&["wait", "jailset", "web", "--timeout", "40s"])?
        .ok()?;
    ensure!(hosts_of_jails(&fleet)? == ["fbsd-02", "fbsd-03"]);

    // Nowhere to go: the first leaves and waits, the minimum forbids the second, and the drain ends with why.
    let drain = ["host", "drain", "fbsd-02", "fbsd-03", "--timeout", "4s"];
    let said = fleet.jailctl(&drain)?.refused()?;
    said.says(&[
        "maxUnavailable",
        "did not leave in time",
        "uncordon fbsd-03",
    ])?;
    ensure!(hosts_of_jails(&fleet)? == ["fbsd-03"]);
    fleet
        .jailctl(&["host", "uncordon", "fbsd-01", "fbsd-02"])?
        .ok()?;
    fleet
        .jailctl(&["wait", "jailset", "web", "--timeout", "40s"])?
        .ok()?;
    fleet
        .jailctl(&["host", "drain", "fbsd-03", "--timeout", "30s"])?
        .ok()?;

    // What nobody would make again is not touched unless that is said.
    let lone = "apiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata: {name: lone}\nspec: {host: fbsd-03, root: {path: /jails/tom}}\n";
    fleet.apply(lone)?;
    fleet.jailctl(&["host", "uncordon", "fbsd-03"])?.ok()?;
    fleet
        .jailctl(&["wait", "jail", "lone", "--timeout", "40s"])?
        .ok()?;
    let said = fleet.jailctl(&["host", "drain", "fbsd-03"])?.refused()?;
    said.says(&["lone", "--leave-others"])?;
    let host = fleet.get(Kind::Host, "fbsd-03")?;
    ensure!(host["spec"]["unschedulable"] != true, "{host}");
    let said = fleet.jailctl(&[
        "host",
        "drain",
        "fbsd-03",
        "--leave-others",
        "--timeout",
        "30s",
    ])?;
    said.ok()?.says(&["it keeps lone"])?;
    ensure!(
        has_jail(fleet.machine("fbsd-03")?, "lone")?,
        "lone was stopped"
    );
    fleet.assert_no_panic()
}
