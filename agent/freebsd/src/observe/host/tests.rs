//! One look at the emulated host, in both personalities.

use std::collections::BTreeSet;
use std::sync::Arc;

use cellblock_agent_core::host::{Host as _, Wanted};
use cellblock_agent_core::observed::{AnchorReference, Directory, Observed};
use cellblock_fakebsd::fault::{Fault, When};
use cellblock_fakebsd::{Emulator, HardwareProfile, Output, Release};

use crate::{Emulated, FreeBsd};

fn boot(release: Release) -> (Emulated, FreeBsd) {
    let emulated = Emulated::new(Emulator::new(release, HardwareProfile::recorded()));
    let host = FreeBsd::new(Arc::new(emulated.clone()), "/var/db/cellblock/");
    (emulated, host)
}

fn look(host: &FreeBsd) -> Observed {
    host.observe(&Wanted::default())
        .expect("the emulated host can be observed")
}

#[test]
fn a_host_as_it_booted() {
    for (release, name, osreldate, meta) in [
        (Release::V15_1, "15.1-RELEASE-p1", 1_501_000, true),
        (Release::V14_3, "14.3-RELEASE", 1_403_000, false),
    ] {
        let (_, host) = boot(release);
        let observed = look(&host);
        assert_eq!(
            (observed.facts.release.as_str(), observed.facts.osreldate),
            (name, osreldate)
        );
        assert_eq!(observed.facts.machine, "amd64");
        assert!(observed.facts.features.contains(&"vimage".to_owned()));
        assert_eq!(
            observed.facts.features.contains(&"jail.meta".to_owned()),
            meta
        );
        assert_eq!(observed.facts.interfaces.len(), 5);
        assert!(!observed.boot_id.is_empty());
        assert_eq!(observed.routes.keys().collect::<Vec<_>>(), [&0]);
        assert_eq!(observed.routes[&0][0].gateway, "10.0.2.2");
        assert_eq!(observed.mounts[0].target, "/");
        assert!(!observed.pf.loaded && observed.jails.is_empty() && observed.files.is_empty());
    }
}

#[test]
fn what_was_asked_for_and_what_is_not_there() {
    let (emulated, host) = boot(Release::V15_1);
    emulated
        .emulator()
        .files
        .create_directories("/jails/www")
        .expect("the emulated disk has room");
    emulated.emulator().sh("kldload if_bridge");
    let set = |words: &[&str]| {
        words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<BTreeSet<String>>()
    };
    let wanted = Wanted {
        sysctls: set(&[
            "net.inet.ip.forwarding",
            "net.link.bridge.pfil_member",
            "net.nosuch",
        ]),
        directories: set(&["/jails/www", "/jails/nosuch", "/etc/pf.conf"]),
        modules: set(&["if_bridge", "pf"]),
        ..Wanted::default()
    };
    let observed = host
        .observe(&wanted)
        .expect("the emulated host can be observed");
    assert_eq!(
        observed.sysctls["net.inet.ip.forwarding"].as_deref(),
        Some("0")
    );
    assert_eq!(
        observed.sysctls["net.link.bridge.pfil_member"].as_deref(),
        Some("0")
    );
    assert_eq!(observed.sysctls["net.nosuch"], None);
    assert_eq!(
        observed.sysctls.len(),
        3,
        "what every look needs is not among what was asked for"
    );
    assert_eq!(
        observed.directories["/jails/www"].path(),
        Some("/jails/www")
    );
    assert_eq!(observed.directories["/jails/nosuch"], Directory::Absent);
    assert_eq!(observed.directories["/etc/pf.conf"], Directory::Absent);
    assert_eq!(observed.modules, set(&["if_bridge"]));
}

#[test]
fn the_boot_is_told_apart_and_a_set_clock_is_no_boot() {
    let (emulated, host) = boot(Release::V15_1);
    let first = look(&host).boot_id;
    assert_eq!(look(&host).boot_id, first);
    emulated
        .emulator()
        .advance(std::time::Duration::from_secs(5));
    assert_eq!(look(&host).boot_id, first);
    emulated.emulator().reboot();
    assert_ne!(look(&host).boot_id, first);
}

#[test]
fn every_table_is_read() {
    let (emulated, host) = boot(Release::V15_1);
    emulated.emulator().sh("sysctl net.fibs=3");
    emulated
        .emulator()
        .sh("route -n add -fib 1 -net 10.0.2.0/24 -iface vtnet0");
    let observed = look(&host);
    assert_eq!(
        observed.routes.keys().copied().collect::<Vec<_>>(),
        [0, 1, 2]
    );
    assert_eq!(observed.routes[&1].len(), 1);
    assert!(observed.routes[&2].is_empty());
}

/// Orders what the next `times` runs of `argv` end with.
fn order(emulated: &Emulated, argv: &str, output: &Output, times: usize) {
    for _ in 0..times {
        emulated.emulator().faults.order(Fault {
            prefix: argv.split_whitespace().map(str::to_owned).collect(),
            when: When::Before,
            output: output.clone(),
        });
    }
}

/// Orders that the next `times` runs of `argv` are ended by `signal`, silently, as those in a jail are that jail(8) stops.
fn end(emulated: &Emulated, argv: &str, signal: i32, times: usize) {
    let ended = Output {
        status: 128 + signal,
        ..Output::default()
    };
    order(emulated, argv, &ended, times);
}

#[test]
fn a_jail_that_cannot_be_looked_into_spoils_no_look() {
    let unreadable = Output {
        stdout: "{\"statistics\": {".to_owned(),
        ..Output::default()
    };
    let refused = Output {
        status: 1,
        stderr: "ifconfig: socket: No buffer space available\n".to_owned(),
        ..Output::default()
    };
    for (command, output) in [
        ("netstat -j", &unreadable),
        ("netstat -j", &refused),
        ("ifconfig -j", &refused),
    ] {
        let (emulated, host) = boot(Release::V15_1);
        for name in ["bad", "good"] {
            let line = format!("jail -c name={name} path=/ vnet persist");
            assert!(emulated.emulator().sh(&line).is_success());
        }
        // The first jail is asked first.
        order(&emulated, command, output, 1);
        let observed = look(&host);
        assert!(emulated.emulator().faults.is_empty(), "the fault has hit");
        let known: Vec<u32> = observed.vnets.keys().copied().collect();
        assert_eq!(known, [observed.jails[1].jid], "{command}");
        assert!(observed.jails.iter().all(|jail| !jail.dying));
    }
}

#[test]
fn what_is_ended_inside_a_jail_spoils_no_look() {
    for command in ["ifconfig -j", "netstat -j"] {
        let (emulated, host) = boot(Release::V15_1);
        emulated
            .emulator()
            .sh("jail -c name=www path=/ vnet persist");
        let jid = look(&host).jails[0].jid;
        end(&emulated, command, 15, 1);
        assert!(look(&host).vnets.contains_key(&jid), "it is asked again");

        end(&emulated, command, 9, 3);
        let observed = look(&host);
        assert!(
            emulated.emulator().faults.is_empty(),
            "every ordered fault has hit"
        );
        assert!(!observed.vnets.contains_key(&jid), "nothing is known of it");
        assert!(!observed.jails[0].dying, "and it is no less alive for that");
        assert!(!observed.interfaces.is_empty());
    }
}

#[test]
fn an_interface_named_like_an_option_spoils_no_look() {
    let (emulated, host) = boot(Release::V15_1);
    let forged = "x\nmine0: flags=1<UP> metric 0 mtu 1500";
    for argv in [
        vec!["ifconfig", "lo", "create", "name", "their0"],
        vec!["ifconfig", "their0", "descr", forged],
        vec!["ifconfig", "their0", "name", "-a"],
    ] {
        let argv: Vec<String> = argv.into_iter().map(str::to_owned).collect();
        let output = emulated.emulator().run(&argv, "");
        assert!(output.is_success(), "{argv:?}: {}", output.stderr);
    }
    let observed = look(&host);
    assert_eq!(observed.interfaces_named("-a").count(), 1);
    assert_eq!(observed.interfaces_named("mine0").count(), 0);
    assert_eq!(observed.interfaces_named("vtnet0").count(), 1);
}

#[test]
fn looking_changes_nothing_and_costs_two_commands_per_vnet_jail() {
    let (emulated, host) = boot(Release::V15_1);
    let count = |emulated: &Emulated| {
        let before = emulated.emulator().log.len();
        look(&host);
        let log = emulated.emulator().log[before..].to_vec();
        assert!(
            log.iter().all(|command| !command.changing),
            "a look changed something"
        );
        log.len()
    };
    let none = count(&emulated);
    for jid in 1..=3 {
        emulated
            .emulator()
            .sh(&format!("jail -c name=v{jid} vnet persist path=/"));
        emulated
            .emulator()
            .sh(&format!("jail -c name=s{jid} persist path=/"));
    }
    assert_eq!(count(&emulated), none + 6);
}

#[test]
fn dying_jails_are_seen_and_not_looked_into() {
    let (emulated, host) = boot(Release::V15_1);
    for line in [
        "ifconfig epair create",
        "jail -c name=d vnet persist path=/",
        "ifconfig epair0b vnet d",
        "ifconfig epair0a inet 10.70.0.1/24 up",
        "ifconfig -j d epair0b inet 10.70.0.2/24 up",
    ] {
        assert!(emulated.emulator().sh(line).is_success(), "{line}");
    }
    let open = "jexec d nc -l 10.70.0.2 99 >/dev/null & sleep 1; (echo hi; sleep 3) | nc 10.70.0.2 99 & sleep 1; true";
    emulated
        .emulator()
        .run(&["sh", "-c", open].map(str::to_owned), "");
    emulated.emulator().sh("jail -r d");
    emulated.emulator().sh("jail -c name=d vnet persist path=/");
    let observed = look(&host);
    assert_eq!(
        observed
            .jails
            .iter()
            .map(|jail| (jail.name.as_str(), jail.dying))
            .collect::<Vec<_>>(),
        [("d", true), ("d", false)]
    );
    assert_eq!(observed.vnets.len(), 1);
    assert!(!observed.jail("d").expect("the new one lives").dying);
}

#[test]
fn pf_whose_references_were_flushed() {
    let (emulated, host) = boot(Release::V15_1);
    let text = "set skip on lo0\nnat-anchor \"cellblock/*\"\nrdr-anchor \"cellblock/*\"\nbinat-anchor \"cellblock/*\"\nanchor \"cellblock/*\"\npass\n";
    emulated
        .emulator()
        .files
        .write("/etc/pf.conf", text)
        .expect("the emulated disk has room");
    emulated.emulator().sh("kldload pf");
    emulated.emulator().sh("pfctl -e -f /etc/pf.conf");
    let rules = "block in quick inet from any to 192.0.2.9 label \"cellblock:cfg:aa\"\n";
    emulated.emulator().run(
        &["pfctl", "-a", "cellblock/n1", "-f", "-"].map(str::to_owned),
        rules,
    );
    let pf = look(&host).pf;
    assert_eq!(pf.references, AnchorReference::ALL.into_iter().collect());
    assert_eq!(pf.skipped, BTreeSet::from(["lo0".to_owned()]));
    assert_eq!(pf.anchors["cellblock/n1"], "aa");
    emulated.emulator().sh("pfctl -F all");
    let pf = look(&host).pf;
    assert!(
        pf.references.is_empty(),
        "nothing refers to the anchors any more"
    );
    assert_eq!(pf.anchors["cellblock/n1"], "aa", "and they look whole");
}

#[test]
fn what_cannot_be_read_is_an_error_and_no_absence() {
    for (command, stderr) in [
        ("jls -d", "jls: jail_get: Cannot allocate memory"),
        ("ifconfig -a", "ifconfig: socket: Too many open files"),
        ("pfctl -s info", "pfctl: /dev/pf: Permission denied"),
        ("mount -p", "mount: getmntinfo: Input/output error"),
        ("netstat -rnW", "netstat: out of memory"),
        ("sysctl -N", "sysctl: out of memory"),
        ("devfs rule", "devfs: open: Permission denied"),
    ] {
        let (emulated, host) = boot(Release::V15_1);
        // The list of interfaces is read again, because they come and go.
        for _ in 0..super::LIST_TRIES {
            emulated.emulator().fail_next(command, 1, stderr);
        }
        let error = host.observe(&Wanted::default()).expect_err(command);
        assert_eq!(error.reason, "CommandFailed", "{command}");
        assert!(error.message.contains(stderr), "{}", error.message);
    }
}

#[test]
fn a_list_of_interfaces_that_one_left_meanwhile_is_read_again() {
    let (emulated, host) = boot(Release::V15_1);
    let before = look(&host).interfaces;
    emulated
        .emulator()
        .fail_next("ifconfig -a", 1, "get original name: Device not configured");
    assert_eq!(look(&host).interfaces, before);
}

#[test]
fn a_netstat_without_jails_is_replaced_by_route() {
    let (emulated, host) = boot(Release::V14_3);
    for line in [
        "ifconfig epair create",
        "jail -c name=v vnet persist path=/",
        "ifconfig epair0b vnet v",
        "ifconfig -j v epair0b inet 10.70.0.2/24 up",
        "route -j v -n add default 10.70.0.1",
    ] {
        assert!(emulated.emulator().sh(line).is_success(), "{line}");
    }
    emulated
        .emulator()
        .fail_next("netstat -j", 1, "netstat: illegal option -- j");
    let observed = look(&host);
    let jid = observed.jail("v").expect("it runs").jid;
    let gateways: Vec<&str> = observed.vnets[&jid]
        .routes
        .iter()
        .map(|route| route.gateway.as_str())
        .collect();
    assert_eq!(gateways, ["10.70.0.1"]);
}
