//! The main job through real processes: `examples/` applied, looked at in every way, applied again without effect, and taken away.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use cellblock_e2e::{CONVERGE, Fleet, Options, StoreKind, eventually, holds, note};

/// The jails of `examples/`.
const JAILS: [&str; 8] = [
    "bsd-test01",
    "bsd-test01-em0",
    "dick",
    "harry",
    "tom",
    "www",
    "www-lan",
    "www-switch",
];

#[test]
fn examples_become_ready_over_etcd_and_a_second_apply_changes_nothing() -> anyhow::Result<()> {
    examples_become_ready(StoreKind::Etcd)
}

#[test]
fn examples_become_ready_over_one_file_and_a_second_apply_changes_nothing() -> anyhow::Result<()> {
    examples_become_ready(StoreKind::Embedded)
}

fn examples_become_ready(store: StoreKind) -> anyhow::Result<()> {
    let fleet = Fleet::start(&Options::examples(store))?;
    let said = fleet.jailctl(&["apply", "-f", "examples"])?.ok()?;
    for jail in JAILS {
        said.says(&[&format!("jail/{jail} created")])?;
    }
    said.says(&["network/inside created", "host/fbsd-01"])?;
    fleet.wait_ready("examples", CONVERGE)?;
    look_at_everything(&fleet)?;
    apply_again(&fleet)?;
    fleet.assert_no_panic()
}

/// The same manifests again: no write, no changing command.
fn apply_again(fleet: &Fleet) -> anyhow::Result<()> {
    // Reports that were under way when the last jail became Ready are stored first.
    let revision = settled(fleet)?;
    let commands = commands(fleet)?;
    let said = fleet.jailctl(&["apply", "-f", "examples"])?.ok()?;
    let outcomes: Vec<&str> = said.stderr.lines().collect();
    ensure!(!outcomes.is_empty(), "nothing was said: {said}");
    for line in outcomes {
        ensure!(
            line.ends_with(" unchanged") || line.starts_with("warning: "),
            "not unchanged: {said}"
        );
    }
    // Longer than the agents' resync: each of them looks at its host at least once more.
    holds("nothing is written or run", Duration::from_secs(3), || {
        let now = fleet.revision()?;
        ensure!(
            now == revision,
            "the store's revision went from {revision} to {now}"
        );
        Ok(())
    })?;
    ensure!(
        self::commands(fleet)? == commands,
        "changing commands were run: {:?}",
        self::commands(fleet)?
    );
    Ok(())
}

/// The revision once it has stayed the same for a second and a half.
fn settled(fleet: &Fleet) -> anyhow::Result<u64> {
    eventually("the store comes to rest", CONVERGE, || {
        let revision = fleet.revision()?;
        holds("rest", Duration::from_millis(1500), || {
            ensure!(fleet.revision()? == revision, "still written to");
            Ok(())
        })?;
        Ok(revision)
    })
}

fn commands(fleet: &Fleet) -> anyhow::Result<Vec<Vec<String>>> {
    let machines = fleet.machines.iter();
    machines
        .map(cellblock_e2e::Machine::changing_commands)
        .collect()
}

fn look_at_everything(fleet: &Fleet) -> anyhow::Result<()> {
    let get = |arguments: &[&str]| -> anyhow::Result<String> {
        Ok(fleet.jailctl(arguments)?.ok()?.stdout)
    };
    let table = get(&["get", "jails"])?;
    ensure!(table.lines().count() == JAILS.len() + 1, "{table}");
    let header = table.lines().next().context("a header")?;
    ensure!(
        ["NAME", "HOST", "READY", "ADDRESSES", "AGE"]
            .iter()
            .all(|column| header.contains(column)),
        "{table}"
    );
    for (jail, row) in JAILS.iter().zip(table.lines().skip(1)) {
        ensure!(row.starts_with(jail) && row.contains("True"), "{table}");
    }
    let wide = get(&["get", "jails", "-o", "wide"])?;
    ensure!(
        wide.contains("/jails/tom") && wide.contains("192.0.2.3"),
        "{wide}"
    );
    let hosts = get(&["get", "hosts"])?;
    ensure!(
        hosts.contains("15.1") && hosts.contains("fbsd-03"),
        "{hosts}"
    );
    let names = get(&["get", "all", "-o", "name"])?;
    for name in ["jail/tom", "network/inside", "host/fbsd-01"] {
        ensure!(names.lines().any(|line| line == name), "{names}");
    }
    let yaml = get(&["get", "jail", "tom", "-o", "yaml"])?;
    ensure!(
        yaml.contains("kind: Jail") && yaml.contains("name: tom"),
        "{yaml}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&get(&["get", "jail", "tom", "-o", "json"])?)?;
    ensure!(json["spec"]["publish"][0]["ports"][0] == 3306, "{json}");
    let list: serde_json::Value = serde_json::from_str(&get(&["get", "jails", "-o", "json"])?)?;
    let items = list["items"].as_array().context("a list has items")?;
    ensure!(items.len() == JAILS.len(), "{list}");
    let path = get(&[
        "get",
        "jail",
        "tom",
        "-o",
        "jsonpath={.status.binding.host} {.metadata.name}",
    ])?;
    ensure!(path.trim() == "fbsd-02 tom", "{path}");
    let databases = get(&["get", "jails", "-l", "role=database", "-o", "name"])?;
    ensure!(databases.trim() == "jail/tom", "{databases}");
    let described = get(&["describe", "jail", "www-switch"])?;
    for text in ["Name:", "www-switch", "Conditions:", "Ready", "172.16.1."] {
        ensure!(described.contains(text), "`{text}` is not in {described}");
    }
    let described = get(&["describe", "network", "inside"])?;
    ensure!(
        ["tom", "dick", "harry"]
            .iter()
            .all(|jail| described.contains(jail)),
        "{described}"
    );
    let version = get(&["version"])?;
    ensure!(
        version.contains("jailctl") && version.contains("cellblockd") && version.contains("store"),
        "{version}"
    );
    get(&["wait", "jail", "tom", "--for", "condition=Ready"])?;
    let said = fleet.jailctl(&["get", "jail", "nobody"])?.refused()?;
    said.says(&["nobody"])?;
    watched(fleet)
}

/// `-w` shows a change while it happens.
fn watched(fleet: &Fleet) -> anyhow::Result<()> {
    let watching = fleet.start_jailctl(&["get", "networks", "-w", "-o", "name"], "")?;
    let manifest = "apiVersion: cellblock.dev/v1alpha1\nkind: Network\nmetadata: {name: passing-by}\nspec: {bridge: {}}\n";
    eventually("the watch shows the new network", CONVERGE, || {
        fleet.apply(manifest)?;
        fleet
            .jailctl(&["delete", "network", "passing-by"])?
            .ok()
            .map(|_| ())?;
        ensure!(watching.shown().contains("network/passing-by"), "not shown");
        Ok(())
    })
}

#[test]
fn deleting_everything_leaves_each_machine_as_it_was() -> anyhow::Result<()> {
    let fleet = Fleet::start(&Options::examples(StoreKind::Embedded))?;
    // A host that forwards by its rc.conf already would not show whether a declared sysctl goes back.
    for machine in &fleet.machines {
        machine.run("sysctl net.inet.ip.forwarding=0")?;
    }
    let before = fleet.fingerprints()?;
    fleet.jailctl(&["apply", "-f", "examples"])?.ok()?;
    fleet.wait_ready("examples", CONVERGE)?;
    ensure!(
        fleet.fingerprints()? != before,
        "applying has changed nothing"
    );
    fleet
        .jailctl(&["delete", "-f", "examples", "--timeout", "60s"])?
        .ok()?;
    let residue = fleet.jailctl(&["host", "residue"])?.ok()?.stdout;
    note(&format!("what stays behind:\n{residue}"));
    fleet.wait_restored(&before, CONVERGE)
}
