//! What the programs of 15.1 print where there is nothing to do it to, and how they end.

use super::{done, host, run_all};

#[test]
fn a_jail_that_is_not_there() {
    let mut host = host();
    for (line, status, said) in [
        (
            "route -j nosuch -n get default",
            1,
            "route: Jail not found\n",
        ),
        ("netstat -j nosuch -rn", 69, "netstat: Jail not found\n"),
        (
            "sysctl -j nosuch net.inet.ip.forwarding",
            1,
            "sysctl: jail not found\n",
        ),
        (
            "ngctl -j nosuch list",
            68,
            "ngctl: jail \"nosuch\" not found\n",
        ),
        (
            "ifconfig -j nosuch lo0",
            1,
            "ifconfig: jail not found: No such file or directory\n",
        ),
    ] {
        let output = host.sh(line);
        assert_eq!(
            (output.status, output.stderr.as_str()),
            (status, said),
            "{line}"
        );
    }
}

/// The message says 1-31, and the octet that ends the text counts (`kern_jail_set`, sys/kern/kern_jail.c).
#[test]
fn a_release_of_31_octets_is_too_long() {
    let mut host = host();
    let line = |octets| {
        format!(
            "jail -c name=t path=/ persist osrelease={}",
            "a".repeat(octets)
        )
    };
    let output = host.sh(&line(31));
    assert_eq!(output.status, 1);
    assert_eq!(
        output.stderr,
        "jail: osrelease string must be 1-31 bytes long\n"
    );
    done(&mut host, &line(30));
}

/// `ifa_ifwithroute` (sys/net/route.c) dismisses a gateway that only the default router reaches.
#[test]
fn a_gateway_behind_the_default_router_is_none() {
    let mut host = host();
    let output = host.sh("route -n add -net 10.95.0.0/24 10.96.0.1");
    assert_eq!(output.status, 1);
    assert!(output.stderr.contains("Invalid argument"), "{output:?}");
    run_all(
        &mut host,
        &[
            "route -n add -net 10.96.0.0/24 10.0.2.2",
            "route -n add -net 10.95.0.0/24 10.96.0.1",
        ],
    );
}

#[test]
fn tables_and_folders_that_are_not_there() {
    let mut host = host();
    for (line, status, said) in [
        (
            "setfib 9 route -n get default",
            1,
            "setfib: 9: invalid FIB (max 0)\n",
        ),
        (
            "mount -t nullfs /nonexistent /mnt",
            64,
            "mount_nullfs: /nonexistent: No such file or directory\n",
        ),
        (
            "umount /nonexistent",
            1,
            "umount: /nonexistent: statfs: No such file or directory\numount: /nonexistent: unknown file system\n",
        ),
    ] {
        let output = host.sh(line);
        assert_eq!(
            (output.status, output.stderr.as_str()),
            (status, said),
            "{line}"
        );
    }
}

/// As seen on 15.1: what goes by a gateway is one path of several, what is on the link is not (`nhop_can_multipath`, sys/net/route/nhop_ctl.c).
#[test]
fn routes_by_several_gateways_stand_side_by_side() {
    let mut host = host();
    run_all(
        &mut host,
        &[
            "ifconfig epair create",
            "ifconfig epair0a inet 10.99.0.2/24 up",
            "route -n add -net 10.88.0.0/16 10.99.0.1",
            "route -n add -net 10.88.0.0/16 10.99.0.3",
        ],
    );
    let ways = |host: &mut crate::emulator::Emulator| -> Vec<String> {
        let shown = host.sh("netstat -rn -f inet").stdout;
        let rows = shown.lines().filter(|line| line.starts_with("10.88."));
        rows.filter_map(|line| line.split_whitespace().nth(1).map(str::to_owned))
            .collect()
    };
    assert_eq!(ways(&mut host), ["10.99.0.1", "10.99.0.3"]);
    let again = host.sh("route -n add -net 10.88.0.0/16 10.99.0.3");
    assert_eq!(
        (again.status, again.stdout.as_str(), again.stderr.as_str()),
        (
            1,
            "add net 10.88.0.0: gateway 10.99.0.3 fib 0: route already in table\n",
            "route: message indicates error: File exists\n"
        )
    );
    let absent = host.sh("route -n delete -net 10.88.0.0/16 10.99.0.9");
    assert_eq!(absent.stderr, "route: route has not been found\n");
    done(&mut host, "route -n delete -net 10.88.0.0/16 10.99.0.1");
    assert_eq!(ways(&mut host), ["10.99.0.3"]);
    done(&mut host, "route -n add -net 10.88.0.0/16 10.99.0.1");
    done(&mut host, "route -n change -net 10.88.0.0/16 10.99.0.4");
    assert_eq!(ways(&mut host), ["10.99.0.4"]);
    done(&mut host, "route -n add -net 10.88.0.0/16 10.99.0.1");
    done(&mut host, "route -n delete -net 10.88.0.0/16");
    assert!(ways(&mut host).is_empty());
    // On the link there is one way.
    done(&mut host, "route -n add -host 10.77.0.1 -iface epair0a");
    let beside = host.sh("route -n add -host 10.77.0.1 10.99.0.1");
    assert!(beside.stderr.contains("File exists"), "{beside:?}");
    // They go with the address that they have as their source.
    done(&mut host, "route -n add -net 10.88.0.0/16 10.99.0.1");
    done(&mut host, "route -n add -net 10.88.0.0/16 10.99.0.3");
    done(&mut host, "ifconfig epair0a inet 10.99.0.2 -alias");
    assert!(ways(&mut host).is_empty());
}
