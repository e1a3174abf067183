//! The emulator as its callers use it: faults, log, time, reboot, and behaviour that no recording holds together.

mod netgraph;
mod own_pf;
mod refusals;
mod uplinks;
mod zfs;

use std::time::Duration;

use super::Emulator;
use crate::files::FileError;
use crate::hardware::HardwareProfile;
use crate::output::Output;
use crate::release::Release;

fn host() -> Emulator {
    Emulator::new(Release::V15_1, HardwareProfile::recorded())
}

fn done(host: &mut Emulator, line: &str) -> String {
    let output = host.sh(line);
    assert!(output.is_success(), "{line}: {output:?}");
    output.stdout
}

fn run_all(host: &mut Emulator, lines: &[&str]) {
    for line in lines {
        done(host, line);
    }
}

#[test]
fn an_ordered_fault_hits_once_and_changes_nothing() {
    let mut host = host();
    host.fail_next(
        "ifconfig bridge",
        1,
        "ifconfig: SIOCIFCREATE2 (bridge): Cannot allocate memory",
    );
    assert_eq!(host.sh("ifconfig bridge create").status, 1);
    assert_eq!(done(&mut host, "ifconfig bridge create"), "bridge0\n");
    assert!(host.faults.is_empty());
}

#[test]
fn a_full_disk_refuses_writes() {
    let mut host = host();
    host.files.set_full(true);
    assert_eq!(
        host.files.write("/etc/pf.conf", "pass\n"),
        Err(FileError::NoSpace)
    );
    host.files.set_full(false);
    assert_eq!(host.files.write("/etc/pf.conf", "pass\n"), Ok(()));
}

#[test]
fn the_log_tells_what_changes_from_what_looks() {
    let mut host = host();
    let looking = [
        "ifconfig -a",
        "ifconfig -j 1 lo0 inet6",
        "jls -d -h name jid dying",
        "netstat -rn -F 0",
        "route -n get default",
        "sysctl net.fibs",
        "mount -p",
        "pfctl -sr",
        "pfctl -a cellblock/x -nf -",
        "pfctl -a cellblock/x -t t -T show",
        "zfs list -H",
        "ngctl list",
        "rctl",
        "jexec 1 ifconfig",
    ];
    let changing = [
        "ifconfig epair create",
        "ifconfig lo0 inet 127.0.0.2 alias",
        "jail -R x",
        "route add default 192.0.2.1",
        "sysctl net.fibs=2",
        "mount -t nullfs / /mnt",
        "pfctl -a cellblock/x -f -",
        "pfctl -k 192.0.2.1",
        "zfs create zroot/x",
        "rctl -a jail:x:maxproc:deny=1",
        "jexec 1 ifconfig lo0 up",
    ];
    for line in looking.iter().chain(&changing) {
        host.sh(line);
    }
    let judged: Vec<bool> = host.log.iter().map(|logged| logged.changing).collect();
    let expected: Vec<bool> = looking
        .iter()
        .map(|_| false)
        .chain(changing.iter().map(|_| true))
        .collect();
    assert_eq!(judged, expected);
}

#[test]
fn what_was_made_and_taken_away_leaves_no_trace() {
    let mut host = host();
    run_all(
        &mut host,
        &["kldload if_bridge", "kldload if_epair", "kldload pf"],
    );
    let before = host.fingerprint();
    run_all(
        &mut host,
        &[
            "ifconfig bridge create",
            "ifconfig epair create",
            "ifconfig epair0a mtu 1400",
            "ifconfig bridge0 addm epair0a up",
            "ifconfig bridge0 inet 192.0.2.1/24",
            "jail -c name=a vnet persist path=/",
            "ifconfig epair0b vnet a",
            "ifconfig -j a epair0b name lan0",
            "ifconfig -j a lan0 inet 192.0.2.2/24 up",
            "route -j a add default 192.0.2.1",
        ],
    );
    assert_ne!(host.fingerprint(), before);
    run_all(
        &mut host,
        &[
            "jail -R a",
            "sleep 1",
            "ifconfig epair0a destroy",
            "ifconfig bridge0 destroy",
        ],
    );
    assert_eq!(host.fingerprint(), before);
}

#[test]
fn the_route_of_an_ipv6_prefix_passes_to_another_interface_that_has_it() {
    let mut host = host();
    run_all(
        &mut host,
        &[
            "ifconfig vtnet1 inet6 fd00:2::1/64 alias",
            "ifconfig vtnet2 inet6 fd00:2::2/64 alias",
        ],
    );
    let over = |host: &mut Emulator| {
        let table = done(host, "netstat -rn -6");
        let line = table.lines().find(|line| line.starts_with("fd00:2::/64"));
        line.and_then(|line| line.split_whitespace().nth(3))
            .map(str::to_owned)
    };
    assert_eq!(over(&mut host).as_deref(), Some("vtnet1"));
    // It is not that one's.
    done(&mut host, "ifconfig vtnet2 inet6 fd00:2::2 -alias");
    assert_eq!(over(&mut host).as_deref(), Some("vtnet1"));
    done(&mut host, "ifconfig vtnet2 inet6 fd00:2::2/64 alias");
    done(&mut host, "ifconfig vtnet1 inet6 fd00:2::1 -alias");
    assert_eq!(over(&mut host).as_deref(), Some("vtnet2"));
    done(&mut host, "ifconfig vtnet2 inet6 fd00:2::2 -alias");
    assert_eq!(over(&mut host), None);
}

#[test]
fn a_reboot_takes_the_kernel_and_leaves_files_and_pools() {
    let profile = HardwareProfile {
        pools: vec!["zroot".into()],
        ..HardwareProfile::recorded()
    };
    let mut host = Emulator::new(Release::V15_1, profile);
    run_all(
        &mut host,
        &[
            "zfs create zroot/jails",
            "jail -c name=a path=/zroot/jails persist",
            "ifconfig lo1 create",
            "touch /tmp/gone",
            "touch /zroot/jails/stays",
        ],
    );
    host.reboot();
    assert_eq!(
        done(&mut host, "ifconfig -l"),
        "vtnet0 vtnet1 vtnet2 vtnet3 lo0\n"
    );
    assert_eq!(done(&mut host, "jls -n name"), "");
    assert!(host.files.exists("/zroot/jails/stays"));
    assert!(!host.files.exists("/tmp/gone"));
    assert!(done(&mut host, "mount -p").contains("zroot/jails"));
}

#[test]
fn a_dying_stack_keeps_its_card_until_the_connection_is_forgotten() {
    let mut host = host();
    run_all(
        &mut host,
        &[
            "ifconfig epair create",
            "jail -c name=a vnet persist path=/",
            "ifconfig epair0b vnet a",
            "ifconfig vtnet3 vnet a",
            "ifconfig epair0a inet 192.0.2.1/24 up",
            "ifconfig -j a epair0b inet 192.0.2.2/24 up",
            "sysctl -j a net.inet.tcp.msl=1000",
        ],
    );
    host.open_tcp("a", Duration::from_secs(5));
    run_all(&mut host, &["jail -r a"]);
    assert_eq!(
        done(&mut host, "jls -d -h name dying"),
        "name dying\na true\n"
    );
    for (line, program) in [("jls -j a", "jls"), ("jexec a id", "jexec")] {
        let refused = host.sh(line);
        let expected = (1, format!("{program}: jail \"a\" is dying\n"));
        assert_eq!((refused.status, refused.stderr), expected);
    }
    host.advance(Duration::from_secs(6));
    assert_eq!(host.sh("ifconfig vtnet3").status, 1);
    host.advance(Duration::from_secs(1));
    assert_eq!(host.sh("ifconfig vtnet3").status, 0);
    assert_eq!(done(&mut host, "jls -d -h name"), "name\n");
}

/// The other side stays silent, by itself or because the interface is gone: then FIN_WAIT_2 ends it (`tcp_timer_2msl`, sys/netinet/tcp_timer.c). Name and epair are free at once.
#[test]
fn a_dying_stack_whose_peer_does_not_close_is_kept_for_eleven_minutes() {
    for (open_for, destroyed) in [(86_400, false), (5, true)] {
        let mut host = host();
        run_all(
            &mut host,
            &[
                "ifconfig epair create",
                "jail -c name=a vnet persist path=/",
                "ifconfig epair0b vnet a",
                "ifconfig epair0a inet 192.0.2.1/24 up",
                "ifconfig -j a epair0b inet 192.0.2.2/24 up",
            ],
        );
        host.open_tcp("a", Duration::from_secs(open_for));
        run_all(&mut host, &["jail -r a"]);
        if destroyed {
            run_all(
                &mut host,
                &["ifconfig epair0a destroy", "ifconfig epair create"],
            );
            assert_eq!(
                done(&mut host, "ifconfig -l"),
                "vtnet0 vtnet1 vtnet2 vtnet3 lo0 epair0a epair0b\n"
            );
        }
        run_all(&mut host, &["jail -c name=a vnet persist path=/"]);
        let both = "name dying\na true\na false\n";
        host.advance(Duration::from_secs(674));
        assert_eq!(done(&mut host, "jls -d -h name dying"), both);
        host.advance(Duration::from_secs(2));
        assert_eq!(
            done(&mut host, "jls -d -h name dying"),
            "name dying\na false\n"
        );
    }
}

#[test]
fn fourteen_differs_where_its_source_does() {
    let mut host = Emulator::new(Release::V14_3, HardwareProfile::recorded());
    assert_eq!(done(&mut host, "uname -r"), "14.3-RELEASE\n");
    done(&mut host, "ifconfig epair create");
    let epair = done(&mut host, "ifconfig epair0a");
    assert!(epair.contains("\toptions=8<VLAN_MTU>\n"), "{epair}");
    assert!(
        epair
            .lines()
            .any(|line| line.starts_with("\tether 02:") && line.ends_with(":0a")),
        "{epair}"
    );
    done(&mut host, "ifconfig bridge create");
    assert_eq!(
        host.sh("ifconfig bridge0 addm nosuch0").stderr,
        "ifconfig: BRDGADD nosuch0: No such file or directory\n"
    );
    assert!(!done(&mut host, "ifconfig bridge0").contains("bridge flags"));
    assert_eq!(
        host.sh("jail -c name=a path=/ persist meta=x").stderr,
        "jail: unknown parameter: meta\n"
    );
    done(&mut host, "jail -c name=a path=/ persist");
    assert!(!done(&mut host, "jls -n").contains("meta"));
    assert_eq!(host.sh("jls -c -j a").status, 1);
}

#[test]
fn a_name_already_there_keeps_an_interface_out_of_a_jail() {
    let mut host = host();
    run_all(
        &mut host,
        &[
            "jail -c name=a vnet persist path=/",
            "ifconfig epair create",
            "ifconfig epair0b vnet a",
            "ifconfig epair create",
        ],
    );
    run_all(
        &mut host,
        &[
            "ifconfig epair1b name spare",
            "ifconfig -j a epair0b name epair1a",
        ],
    );
    assert_eq!(
        host.sh("ifconfig epair1a vnet a").stderr,
        "ifconfig: SIOCSIFVNET: File exists\n"
    );
}

#[test]
fn unknown_programs_are_not_found() {
    let mut host = host();
    assert_eq!(
        host.sh("nosuchprogram -x"),
        Output::failure(127, "nosuchprogram: not found")
    );
}

/// Work per command must not grow with the number of jails: counted in commands per second it would only fail on a busy machine,
/// so this looks at what the tables are asked, by running enough of it to hurt if it did.
#[test]
fn two_thousand_vnet_jails_fit() {
    let mut host = host();
    done(&mut host, "ifconfig bridge create");
    for number in 0..2_000 {
        let name = done(&mut host, "ifconfig epair create");
        let a = name.trim();
        let b = format!("{}b", a.trim_end_matches('a'));
        run_all(
            &mut host,
            &[
                &format!("ifconfig bridge0 addm {a}"),
                &format!("ifconfig {a} up"),
                &format!("jail -c name=j{number} vnet persist path=/"),
                &format!("ifconfig {b} vnet j{number}"),
                &format!(
                    "ifconfig -j j{number} {b} inet 10.{}.{}.2/16 up",
                    number / 250,
                    number % 250
                ),
                &format!("ifconfig -j j{number} lo0 inet 127.0.0.1/8 up"),
            ],
        );
    }
    assert_eq!(done(&mut host, "jls -j j1999 name"), "j1999\n");
    assert_eq!(
        done(&mut host, "ifconfig -j j1000 -l").trim(),
        "lo0 epair1000b"
    );
}

#[test]
fn modules_bring_what_they_depend_on_and_file_systems_their_modules() {
    let mut host = host();
    run_all(
        &mut host,
        &[
            "kldload if_lagg",
            "mount -t fdescfs fdesc /mnt",
            "mount -t linsysfs linsys /mnt",
        ],
    );
    for module in ["if_infiniband", "fdescfs", "linsysfs", "linux_common"] {
        done(&mut host, &format!("kldstat -q -m {module}"));
    }
}
