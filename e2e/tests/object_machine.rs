//! What the controller keeps beside objects, over a real etcd: events, allocations, and what becomes of what belongs together.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use cellblock_e2e::{CONVERGE, Fleet, Options, StoreKind, eventually};
use cellblock_schemas::Kind;
use serde_json::Value;

const NETWORK: &str = "apiVersion: cellblock.dev/v1alpha1\nkind: Network\nmetadata: {name: lan}\nspec:\n  bridge: {}\n  scope: fleet\n  subnets: [{cidr: 10.30.0.0/24}]\n";

/// How long a controller that is killed still counts as the one that records.
const TAKEN_OVER: Duration = Duration::from_secs(90);

fn jail(name: &str) -> String {
    format!(
        "apiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata: {{name: {name}}}\nspec:\n  host: fbsd-01\n  root: {{path: /jails/{name}}}\n  networks: [{{network: lan}}]\n"
    )
}

fn fleet() -> anyhow::Result<Fleet> {
    Fleet::start(&Options {
        store: StoreKind::Etcd,
        machines: vec!["fbsd-01"],
        roots: ["www", "blog", "new"]
            .map(|name| format!("/jails/{name}"))
            .to_vec(),
    })
}

fn items(fleet: &Fleet, arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
    let arguments = [&["get"], arguments, &["-o", "json"]].concat();
    let said = fleet.jailctl(&arguments)?.ok()?;
    let mut list: Value = serde_json::from_str(&said.stdout)?;
    let items = list["items"].take();
    items.as_array().cloned().context("a list has items")
}

#[test]
fn what_happens_is_told_and_stays_told_when_controllers_die() -> anyhow::Result<()> {
    let mut fleet = fleet()?;
    fleet.apply(&format!("{NETWORK}---\n{}", jail("www")))?;
    fleet.jailctl(&["wait", "jail/www"])?.ok()?;
    let reasons = |fleet: &Fleet| {
        let events = items(fleet, &["events", "--for", "jail/www"])?;
        let text = |event: &Value| event["reason"].as_str().unwrap_or_default().to_owned();
        anyhow::Ok(events.iter().map(text).collect::<Vec<_>>())
    };
    let has = |fleet: &Fleet, wanted: &str| {
        let found = reasons(fleet)?;
        ensure!(found.iter().any(|one| one == wanted), "{found:?}");
        Ok(())
    };
    eventually("it is told", CONVERGE, || {
        has(&fleet, "Bound")?;
        has(&fleet, "Running")
    })?;
    let said = fleet.jailctl(&["describe", "jail/www"])?.ok()?;
    ensure!(said.stdout.contains("Events:\n"), "{said}");
    ensure!(said.stdout.contains("bound to fbsd-01"), "{said}");
    let before = items(&fleet, &["events", "--for", "jail/www"])?;
    fleet.controller.kill();
    fleet.start_controller()?;
    let after = items(&fleet, &["events", "--for", "jail/www"])?;
    for event in &before {
        let named = |one: &&Value| one["metadata"]["name"] == event["metadata"]["name"];
        let same = after.iter().find(named).map(|one| &one["count"]);
        ensure!(same == Some(&event["count"]), "{event} {after:?}");
    }
    // The next one tells what follows once the key of the dead one is gone.
    fleet.jailctl(&["delete", "jail/www"])?.ok()?;
    eventually("the next one records", TAKEN_OVER, || {
        has(&fleet, "Deleted")
    })?;
    has(&fleet, "Running")?;
    fleet.assert_no_panic()
}

#[test]
fn what_is_given_out_is_listed_and_comes_back_when_the_host_says_so() -> anyhow::Result<()> {
    let mut fleet = fleet()?;
    fleet.apply(&format!(
        "{NETWORK}---\n{}---\n{}",
        jail("www"),
        jail("blog")
    ))?;
    fleet.jailctl(&["wait", "jails"])?.ok()?;
    let addresses = items(&fleet, &["allocations", "--kind", "address"])?;
    ensure!(addresses.len() == 2, "{addresses:?}");
    let of_www = items(&fleet, &["allocations", "--jail", "www"])?;
    let kinds: Vec<&str> = of_www
        .iter()
        .filter_map(|one| one["kind"].as_str())
        .collect();
    ensure!(
        kinds == ["address", "mac", "jail-name", "root"],
        "{kinds:?}"
    );
    let table = fleet
        .jailctl(&["get", "allocations", "--host", "fbsd-01"])?
        .ok()?;
    ensure!(table.stdout.contains("jail/blog"), "{table}");
    ensure!(table.stdout.contains("network/lan"), "{table}");
    fleet
        .jailctl(&["get", "allocations", "--kind", "fob"])?
        .refused()?
        .says(&["there is no sort of allocation `fob`"])?;
    fleet.jailctl(&["delete", "jail/www"])?.ok()?;
    let value_of = |found: &[Value], kind: &str| {
        let one = found.iter().find(|one| one["kind"] == kind);
        one.map(|one| one["value"].clone())
    };
    let kept = items(&fleet, &["allocations", "--jail", "www"])?;
    ensure!(kept.len() == 2, "its address and its MAC number: {kept:?}");
    for (one, kind) in kept.iter().zip(["address", "mac"]) {
        ensure!(one["keptSince"].is_string(), "{one}");
        ensure!(value_of(&kept, kind) == value_of(&of_www, kind), "{one}");
    }
    // What is kept outlives the controller, and is nobody else's while there is another.
    fleet.controller.kill();
    fleet.start_controller()?;
    for name in ["new", "www"] {
        fleet.apply(&jail(name))?;
    }
    fleet.jailctl(&["wait", "jails"])?.ok()?;
    let again = items(&fleet, &["allocations", "--jail", "www"])?;
    for kind in ["address", "mac"] {
        ensure!(
            value_of(&again, kind) == value_of(&of_www, kind),
            "{again:?}"
        );
    }
    ensure!(
        again.iter().all(|one| one["keptSince"].is_null()),
        "{again:?}"
    );
    fleet.assert_no_panic()
}

#[test]
fn what_is_applied_no_more_is_pruned_and_nothing_else() -> anyhow::Result<()> {
    let fleet = Fleet::start(&Options {
        store: StoreKind::Etcd,
        machines: Vec::new(),
        ..Options::small()
    })?;
    fleet.apply(&format!("{NETWORK}---\n{}", jail("other")))?;
    let prune = |manifests: &str, more: &[&str]| {
        let arguments = [
            &["apply", "-f", "-", "--prune", "--applyset", "network/lan"],
            more,
        ]
        .concat();
        fleet.jailctl_with(&arguments, manifests)
    };
    let names = || {
        let jails = fleet.list(Kind::Jail)?;
        anyhow::Ok(jails.into_iter().map(|jail| jail.name).collect::<Vec<_>>())
    };
    prune(&format!("{}---\n{}", jail("www"), jail("blog")), &[])?.ok()?;
    ensure!(names()? == ["blog", "other", "www"]);
    let lan = fleet.get(Kind::Network, "lan")?;
    let kinds = &lan["metadata"]["annotations"]["applyset.kubernetes.io/contains-group-kinds"];
    ensure!(kinds == "Jail.cellblock.dev", "{lan}");
    // What would go is told.
    let tried = prune(&jail("www"), &["--dry-run"])?.ok()?;
    tried.says(&["jail/blog pruned (dry run)"])?;
    ensure!(names()? == ["blog", "other", "www"]);
    // Nothing goes unless everything was applied.
    let refused = jail("www") + "  publish: [{name: web, ports: [80], uplink: nowhere, to: 0}]\n";
    prune(&refused, &[])?.refused()?;
    ensure!(names()? == ["blog", "other", "www"]);
    prune(&jail("www"), &[])?
        .ok()?
        .says(&["jail/blog pruned"])?;
    ensure!(names()? == ["other", "www"], "{:?}", names()?);
    // Another set's member is not taken, and the parent is no member.
    fleet.apply(&NETWORK.replace("lan", "wan").replace("10.30", "10.31"))?;
    let stolen = ["apply", "-f", "-", "--prune", "--applyset", "network/wan"];
    fleet
        .jailctl_with(&stolen, &jail("www"))?
        .refused()?
        .says(&["jail/www is a member of another set"])?;
    prune(NETWORK, &[])?
        .refused()?
        .says(&["network/lan is the parent of the set"])?;
    fleet
        .jailctl_with(
            &["apply", "-f", "-", "--prune", "--applyset", "network/none"],
            &jail("new"),
        )?
        .refused()?
        .says(&["the parent of a set has to be there before"])?;
    fleet.assert_no_panic()
}

#[test]
fn a_set_is_deleted_before_after_or_without_its_jails() -> anyhow::Result<()> {
    let fleet = Fleet::start(&Options {
        store: StoreKind::Etcd,
        machines: Vec::new(),
        ..Options::small()
    })?;
    let set = |name: &str| {
        format!(
            "apiVersion: cellblock.dev/v1alpha1\nkind: JailSet\nmetadata: {{name: {name}}}\nspec:\n  replicas: 1\n  template: {{spec: {{root: {{path: /jails/web}}}}}}\n"
        )
    };
    let count = || Ok::<_, anyhow::Error>(fleet.list(Kind::Jail)?.len());
    for (policy, left) in [("foreground", 0), ("background", 0), ("orphan", 1)] {
        fleet.apply(&set(policy))?;
        eventually("it has its jails", CONVERGE, || {
            ensure!(count()? == 1);
            Ok(())
        })?;
        let named = format!("jailset/{policy}");
        fleet
            .jailctl(&["delete", &named, "--cascade", policy])?
            .ok()?;
        eventually("its jails go or stay", CONVERGE, || {
            ensure!(count()? == left, "{policy}: {}", count()?);
            Ok(())
        })?;
    }
    for jail in fleet.list(Kind::Jail)? {
        ensure!(
            jail.value["metadata"]["ownerReferences"].is_null(),
            "{jail:?}"
        );
    }
    fleet.assert_no_panic()
}
