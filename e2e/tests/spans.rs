//! A routed network over three hosts through real processes: each agent gets from the controller what the other hosts have.

use anyhow::ensure;
use cellblock_e2e::{CONVERGE, Fleet, Options, StoreKind, eventually};

const EXAMPLE: &str = "networking/n07-routed-hosts/routed-hosts.yaml";

/// Routes of a host by the node addresses of others: `10.40.0.32/27 10.0.2.22`.
fn routes(fleet: &mut Fleet, host: &str) -> anyhow::Result<Vec<String>> {
    let text = fleet.machine(host)?.run("netstat -rnW -f inet")?;
    let lines = text.lines().map(|line| line.split_whitespace().collect());
    let by_node = lines.filter(|words: &Vec<&str>| {
        words.len() > 3 && words[1].starts_with("10.0.2.2") && words[0].contains('/')
    });
    Ok(by_node.map(|words| words[..2].join(" ")).collect())
}

#[test]
fn each_host_has_routes_to_what_the_others_have() -> anyhow::Result<()> {
    let jails = ["www", "db", "cache", "one", "two"];
    let mut fleet = Fleet::prepare(&Options {
        roots: jails.map(|name| format!("/jails/{name}")).to_vec(),
        ..Options::examples(StoreKind::Embedded)
    })?;
    for (name, last) in [("fbsd-01", 21), ("fbsd-02", 22), ("fbsd-03", 23)] {
        let machine = fleet.machine(name)?;
        machine.run(&format!("ifconfig vtnet0 inet 10.0.2.{last}/32 alias"))?;
        machine.run(&format!("ifconfig vtnet0 inet6 fd00:2::{last}/64 alias"))?;
    }
    fleet
        .machine("fbsd-03")?
        .run("ifconfig vtnet0 inet 10.0.2.29/32 alias")?;
    fleet.start_controller()?;
    for machine in &mut fleet.machines {
        machine.agent.start()?;
    }
    let path = cellblock_e2e::examples()
        .join(EXAMPLE)
        .display()
        .to_string();
    fleet.jailctl(&["apply", "-f", &path])?.ok()?;
    fleet.wait_ready(&path, CONVERGE)?;
    let wanted = [
        (
            "fbsd-01",
            vec![
                "10.40.0.32/27 10.0.2.22",
                "10.40.0.64/27 10.0.2.23",
                "10.41.0.16/28 10.0.2.22",
            ],
        ),
        (
            "fbsd-02",
            vec![
                "10.40.0.0/27 10.0.2.21",
                "10.40.0.64/27 10.0.2.23",
                "10.41.0.0/28 10.0.2.21",
            ],
        ),
        (
            "fbsd-03",
            vec!["10.40.0.0/27 10.0.2.21", "10.40.0.32/27 10.0.2.22"],
        ),
    ];
    for (host, wanted) in wanted {
        eventually("the routes stand", CONVERGE, || {
            let found = routes(&mut fleet, host)?;
            // Slices are given in the order in which jails come.
            ensure!(found.len() == wanted.len(), "{host}: {found:?}");
            Ok(())
        })?;
    }
    // Another node address reaches the others without a jail being started again.
    let moved = std::fs::read_to_string(&path)?.replace("{node: 10.0.2.23,", "{node: 10.0.2.29,");
    fleet.apply(&moved)?;
    eventually("the routes lead by the new address", CONVERGE, || {
        for host in ["fbsd-01", "fbsd-02"] {
            let found = routes(&mut fleet, host)?;
            let by = |last: &str| found.iter().filter(|route| route.ends_with(last)).count();
            ensure!(by(".29") == 1 && by(".23") == 0, "{host}: {found:?}");
        }
        Ok(())
    })?;
    fleet
        .jailctl(&["delete", "-f", &path, "--timeout", "60s"])?
        .ok()?;
    for host in ["fbsd-01", "fbsd-02", "fbsd-03"] {
        eventually("nothing is left", CONVERGE, || {
            let found = routes(&mut fleet, host)?;
            ensure!(found.is_empty(), "{host}: {found:?}");
            Ok(())
        })?;
    }
    fleet.assert_no_panic()
}
