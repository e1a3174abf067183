//! The pf of jails' own stacks: who reaches it, by which device, and whose it is.

use super::{done, host, run_all};
use crate::emulator::Emulator;

/// Jails with a stack of their own: one that sees /dev/pf, one that does not, one without devfs; and one in the host's stack.
fn jails() -> Emulator {
    let mut host = host();
    for name in ["seeing", "blind", "bare", "shared"] {
        let made = host.files.create_directories(&format!("/jails/{name}/dev"));
        made.expect("an empty file tree takes directories");
    }
    run_all(
        &mut host,
        &[
            "kldload -n pf",
            "devfs rule -s 1 add hide",
            "devfs rule -s 4 add include 1",
            "devfs rule -s 4 add path null unhide",
            "devfs rule -s 5 add include 4",
            "devfs rule -s 5 add path pf unhide",
            "jail -c name=seeing vnet persist path=/jails/seeing mount.devfs devfs_ruleset=5",
            "jail -c name=blind vnet persist path=/jails/blind mount.devfs devfs_ruleset=4",
            "jail -c name=bare vnet persist path=/jails/bare",
            "jail -c name=shared persist path=/jails/shared mount.devfs devfs_ruleset=5",
        ],
    );
    host
}

const HIDDEN: &str = "pfctl: /dev/pf: No such file or directory\n";

fn refused(host: &mut Emulator, line: &str) -> String {
    let output = host.sh(line);
    assert!(!output.is_success(), "{line}: {output:?}");
    output.stderr
}

#[test]
fn each_stack_has_a_pf_of_its_own() {
    let mut host = jails();
    let conf = host.files.write("/tmp/pf.conf", "block in all\n");
    conf.expect("a file of the host");
    done(
        &mut host,
        "cellblock-agent pfctl seeing -e -R -f /tmp/pf.conf",
    );
    let rules = done(&mut host, "cellblock-agent pfctl seeing -sr");
    assert_eq!(rules, "block drop in all\n");
    assert_eq!(done(&mut host, "jexec seeing pfctl -sr"), rules);
    assert_eq!(done(&mut host, "pfctl -sr"), "");
    let info = done(&mut host, "pfctl -s info");
    assert!(info.starts_with("Status: Disabled"), "{info}");
    // What a jail's own pfctl reads is a file of the jail's.
    let stderr = refused(&mut host, "jexec seeing pfctl -f /tmp/pf.conf");
    assert!(stderr.contains("No such file"), "{stderr}");
}

#[test]
fn a_jail_without_the_device_reaches_no_pf() {
    let mut host = jails();
    for name in ["blind", "bare"] {
        for program in ["jexec NAME pfctl", "cellblock-agent pfctl NAME"] {
            let line = format!("{} -s info", program.replace("NAME", name));
            assert_eq!(refused(&mut host, &line), HIDDEN, "{line}");
        }
    }
    run_all(&mut host, &["umount /jails/seeing/dev"]);
    assert_eq!(refused(&mut host, "jexec seeing pfctl -d"), HIDDEN);
}

#[test]
fn the_agent_enters_stacks_of_jails_alone() {
    let mut host = jails();
    let stderr = refused(&mut host, "cellblock-agent pfctl shared -s info");
    assert!(
        stderr.contains("has no network stack of its own"),
        "{stderr}"
    );
    let stderr = refused(&mut host, "cellblock-agent pfctl nobody -s info");
    assert!(stderr.contains("jail \"nobody\" not found"), "{stderr}");
    let stderr = refused(&mut host, "cellblock-agent pfctl seeing -f /tmp/none");
    assert!(stderr.contains("/tmp/none"), "{stderr}");
    refused(
        &mut host,
        "jexec seeing /usr/local/sbin/cellblock-agent pfctl seeing -d",
    );
}

#[test]
fn in_securelevel_2_rules_are_read_and_taken_away_and_in_3_neither() {
    let mut host = jails();
    run_all(&mut host, &["jail -m name=seeing securelevel=2"]);
    done(&mut host, "cellblock-agent pfctl seeing -sr");
    done(&mut host, "cellblock-agent pfctl seeing -F rules");
    let stderr = refused(&mut host, "cellblock-agent pfctl seeing -e");
    assert!(stderr.contains("Operation not permitted"), "{stderr}");
    run_all(&mut host, &["jail -m name=seeing securelevel=3"]);
    let shown = host.sh("cellblock-agent pfctl seeing -sr");
    assert_eq!((shown.status, shown.stdout.as_str()), (0, ""));
    assert!(shown.stderr.contains("Operation not permitted"));
    let stderr = refused(&mut host, "cellblock-agent pfctl seeing -a x -sA");
    assert!(stderr.contains("Operation not permitted"), "{stderr}");
}

#[test]
fn the_securelevel_of_the_host_is_raised_only_and_is_every_jails_too() {
    let mut host = jails();
    done(&mut host, "sysctl kern.securelevel=1");
    let stderr = refused(&mut host, "sysctl kern.securelevel=0");
    assert!(stderr.contains("Operation not permitted"), "{stderr}");
    let stderr = refused(&mut host, "kldload if_lagg");
    assert!(stderr.contains("Operation not permitted"), "{stderr}");
    done(&mut host, "pfctl -a x -F rules");
    done(&mut host, "sysctl kern.securelevel=2");
    done(&mut host, "pfctl -sr");
    done(&mut host, "pfctl -a x -F rules");
    let load = ["pfctl", "-a", "x", "-f", "-"].map(str::to_owned);
    assert!(host.run(&load, "").is_success());
    let added = host.run(&load, "pass all\n");
    assert_eq!(
        (added.status, added.stderr.as_str()),
        (1, "pfctl: DIOCADDRULE: Operation not permitted\n")
    );
    let stderr = refused(&mut host, "pfctl -a x -F Tables");
    assert_eq!(stderr, "pfctl: Operation not supported by device\n");
    done(&mut host, "sysctl kern.securelevel=3");
    assert_eq!(
        host.sh("jls -j seeing -n securelevel").stdout.trim(),
        "securelevel=3"
    );
    refused(&mut host, "jail -m name=seeing securelevel=2");
    for (words, status, stderr) in [
        ("-sr", 0, "pfctl: Operation not permitted"),
        ("-sl", 0, "pfctl: Operation not permitted"),
        ("-sn", 0, "pfctl: DIOCGETRULES: Operation not permitted"),
        ("-a x -sA", 1, "pfctl: Operation not permitted"),
        ("-sm", 1, "pfctl: DIOCGETLIMIT: Operation not permitted"),
        ("-ss", 0, ""),
        ("-sT", 0, ""),
        ("-n -f /dev/null", 0, ""),
    ] {
        let output = host.sh(&format!("pfctl {words}"));
        assert_eq!(
            (output.status, output.stderr.trim()),
            (status, stderr),
            "{words}"
        );
    }
    let shown = host.sh("pfctl -s info");
    assert!(
        shown.stdout.starts_with("Status: Disabled"),
        "{}",
        shown.stdout
    );
    host.reboot();
    assert_eq!(host.sh("sysctl -n kern.securelevel").stdout.trim(), "-1");
}
