//! A host that lives by the NIC that is to be a bridge's uplink: it is told what rc.conf must say, and what comes of that is used as it is.

use super::{Origin, Place, Row, behind, in_jail, jail, manifest, outside};

const N8: &str = "n08-bridge/bridge.yaml";

/// Does what network.subr(8) does at boot with lines of rc.conf: clones with their names, `ifconfig_IF`, `ifconfig_IF_ipv6`, `up`, the description, aliases.
fn boot_with(row: &mut Row, lines: &[String]) {
    let lines: Vec<(&str, &str)> = lines
        .iter()
        .map(|line| {
            let (name, value) = line.split_once('=').expect("a variable");
            (name, value.trim_matches('"'))
        })
        .collect();
    let value = |wanted: &str| {
        let mut lines = lines.iter();
        lines
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| *value)
    };
    let clone = value("cloned_interfaces").expect("a clone");
    let name = value(&format!("ifconfig_{clone}_name")).expect("its name");
    row.world.run(&format!("ifconfig {clone} create"));
    row.world.run(&format!("ifconfig {clone} name {name}"));
    row.world.run("ifconfig vtnet1 up");
    let arguments = value(&format!("ifconfig_{name}")).expect("its arguments");
    row.world.run(&format!("ifconfig {name} {arguments}"));
    if let Some(arguments) = value(&format!("ifconfig_{name}_ipv6")) {
        row.world.run(&format!("ifconfig {name} inet6 -ifdisabled"));
        row.world.run(&format!("ifconfig {name} {arguments}"));
    }
    let description = value(&format!("ifconfig_{name}_descr")).expect("its mark");
    let argv = ["ifconfig", name, "description", description];
    let argv: Vec<String> = argv.map(str::to_owned).into();
    let said = row.world.host.emulator().run(&argv, "");
    assert_eq!(said.status, 0, "{}", said.stderr);
    row.world.run(&format!("ifconfig {name} up"));
    let aliases = (0..).map_while(|number| value(&format!("ifconfig_{name}_alias{number}")));
    for alias in aliases {
        row.world.run(&format!("ifconfig {name} {alias} alias"));
    }
    assert_eq!(value("ifconfig_vtnet1"), Some("up"));
    row.world.sleep(5_000);
}

/// The lines that a message ends in.
fn lines_of(message: &str) -> Vec<String> {
    let (_, lines) = message
        .split_once("start the machine anew: ")
        .expect("it names them");
    lines.split("  ").map(str::to_owned).collect()
}

fn works(row: &Row) {
    let segment = outside("vtnet1", "198.51.100.99");
    row.reaches(
        &segment,
        "198.51.100.20",
        80,
        &in_jail("machine"),
        "198.51.100.99",
    );
    row.reaches(&segment, "198.51.100.7", 22, &Place::Host, "198.51.100.99");
    row.reaches(
        &Origin::Host,
        "198.51.100.99",
        443,
        &behind("vtnet1"),
        "198.51.100.7",
    );
    row.reaches(
        &jail("machine"),
        "198.51.100.7",
        22,
        &Place::Host,
        "198.51.100.20",
    );
    let segment = outside("vtnet1", "fd00:51::99");
    row.reaches(&segment, "fd00:51::7", 22, &Place::Host, "fd00:51::99");
}

#[test]
fn the_bridge_that_rc_conf_makes_of_the_printed_lines_is_used_and_left_to_the_host() {
    let mut row = Row::new(N8);
    row.world.run("ifconfig vtnet1 inet 198.51.100.7/24 up");
    row.world.run("ifconfig vtnet1 inet6 fd00:51::7/64");
    row.world.sleep(5_000);
    let rest = row.world.converge(200).expect("it comes to rest");
    let mut conditions = rest
        .last
        .report
        .jails
        .iter()
        .flat_map(|jail| &jail.conditions);
    let told = conditions.find(|one| one.reason == "UplinkHasAddresses");
    let lines = lines_of(&told.expect("it is told").message);
    let shown = row.world.run("ifconfig vtnet1");
    assert!(shown.contains("198.51.100.7"), "{shown}");
    // The machine is started anew, with the agent's jails or without.
    for round in 0..2 {
        row.world.host.emulator().reboot();
        for line in [
            "kldload -n pf",
            "pfctl -e -f /etc/pf.conf",
            "sysctl net.inet.ip.forwarding=1",
            "sysctl net.inet6.ip6.forwarding=1",
            "devfs rule -s 4 add path null unhide",
            "devfs rule -s 5 add path null unhide",
            "kldload -n if_bridge",
        ] {
            row.world.run(line);
        }
        boot_with(&mut row, &lines);
        let booted = row.world.run("ifconfig -g bridge");
        row.world.start(None);
        row.rest();
        works(&row);
        let commands = row.world.changes();
        let touched = commands.iter().filter(|line| {
            line.contains("vtnet1") && (line.contains("deletem") || line.contains("-alias"))
        });
        assert_eq!(touched.count(), 0, "round {round}: {commands:#?}");
        assert!(row.world.run("ifconfig -g bridge").contains(booted.trim()));
    }
    // What is the host's stays when the jails go.
    let bridge = lines
        .iter()
        .find_map(|line| line.split_once("_name=\""))
        .map(|(_, name)| name.trim_matches('"').to_owned())
        .expect("its name");
    let view = cellblock_sim::views::emptied(&row.world.view);
    row.world.take(view);
    row.world.converge(200).expect("it comes to rest");
    let shown = row.world.run(&format!("ifconfig {bridge}"));
    assert!(
        shown.contains("inet 198.51.100.7 ") && shown.contains("member: vtnet1"),
        "{shown}"
    );
    row.reaches(
        &Origin::Host,
        "198.51.100.99",
        443,
        &behind("vtnet1"),
        "198.51.100.7",
    );
}

#[test]
fn one_with_another_mac_address_than_the_networks_is_told_and_left() {
    let mut row = Row::of(&manifest(N8));
    row.world.run("ifconfig vtnet1 inet 198.51.100.7/24 up");
    let rest = row.world.converge(200).expect("it comes to rest");
    let mut conditions = rest
        .last
        .report
        .jails
        .iter()
        .flat_map(|jail| &jail.conditions);
    let told = conditions.find(|one| one.reason == "UplinkHasAddresses");
    let mut lines = lines_of(&told.expect("it is told").message);
    row.world.run("ifconfig vtnet1 inet 198.51.100.7 -alias");
    for line in &mut lines {
        if let Some((before, after)) = line.split_once("ether ") {
            *line = format!("{before}ether 0a:00:00:00:00:01{}", &after[17..]);
        }
    }
    boot_with(&mut row, &lines);
    let rest = row.world.converge(200).expect("it comes to rest");
    let conditions = rest
        .last
        .report
        .jails
        .iter()
        .flat_map(|jail| &jail.conditions);
    let mut told = conditions.filter(|one| one.reason == "UplinkHasAddresses");
    let told = told.next().expect("it is told");
    assert!(told.message.contains("shall have MAC address"), "{told:?}");
    assert!(row.world.run("ifconfig -a").contains("0a:00:00:00:00:01"));
}
