//! `pfctl -t … -T …`, and what loading does to tables.

use super::host::Rig;

fn table(rig: &mut Rig, arguments: &[&str]) -> (i32, String, String) {
    let arguments: Vec<&str> = ["-a", "t", "-t", "jails", "-T"]
        .iter()
        .chain(arguments)
        .copied()
        .collect();
    let output = rig.run(&arguments, "");
    (output.status, output.stdout, output.stderr)
}

fn said(status: i32, stderr: &str) -> (i32, String, String) {
    (status, String::new(), stderr.to_owned())
}

#[test]
fn members_come_and_go() {
    let mut rig = Rig::new();
    assert_eq!(
        table(&mut rig, &["show"]),
        said(255, "pfctl: Table does not exist.\n")
    );
    assert_eq!(
        table(&mut rig, &["add", "192.0.2.1", "2001:db8::/64"]),
        said(0, "1 table created.\n2/2 addresses added.\n")
    );
    assert_eq!(
        table(&mut rig, &["show"]).1,
        "   192.0.2.1\n   2001:db8::/64\n"
    );
    assert_eq!(
        table(&mut rig, &["delete", "192.0.2.1", "192.0.2.2"]),
        said(0, "1/2 addresses deleted.\n")
    );
    assert_eq!(
        table(&mut rig, &["replace", "192.0.2.3", "!192.0.2.4"]),
        said(0, "2 addresses added.\n1 addresses deleted.\n")
    );
    assert_eq!(
        table(&mut rig, &["replace", "192.0.2.3", "!192.0.2.4"]),
        said(0, "no changes.\n")
    );
    assert_eq!(
        table(&mut rig, &["test", "192.0.2.3", "192.0.2.4"]),
        said(2, "1/2 addresses match.\n")
    );
    assert_eq!(
        table(&mut rig, &["flush"]),
        said(0, "2 addresses deleted.\n")
    );
    assert_eq!(table(&mut rig, &["kill"]), said(0, "1 table deleted.\n"));
    assert_eq!(rig.print(&["-sA"]), "");
}

#[test]
fn bad_members_are_refused() {
    let mut rig = Rig::new();
    let (status, _, stderr) = table(&mut rig, &["add", "192.0.2.300"]);
    assert_eq!(
        (status, stderr.as_str()),
        (255, "no IP address found for 192.0.2.300\n")
    );
    assert_eq!(rig.run(&["-t", "jails"], "").status, 1);
}

#[test]
fn a_constant_table_keeps_its_members() {
    let mut rig = Rig::new();
    rig.load(
        "t",
        "table <jails> const { 192.0.2.1 }\npass from <jails>\n",
    );
    assert_eq!(
        table(&mut rig, &["add", "192.0.2.2"]),
        said(255, "pfctl: Operation not permitted\n")
    );
    assert_eq!(table(&mut rig, &["show"]).1, "   192.0.2.1\n");
}

/// `pfr_commit_ktable`: without a list in the text the members stay, with one they are replaced.
#[test]
fn a_reload_without_a_list_keeps_the_members() {
    let mut rig = Rig::new();
    rig.load("t", "table <jails> persist { 192.0.2.1 }\n");
    rig.load("t", "table <jails> persist\n");
    assert_eq!(table(&mut rig, &["show"]).1, "   192.0.2.1\n");
    rig.load("t", "table <jails> persist { 192.0.2.2 }\n");
    assert_eq!(table(&mut rig, &["show"]).1, "   192.0.2.2\n");
    rig.load("t", "table <jails> persist { }\n");
    assert_eq!(table(&mut rig, &["show"]).1, "");
    // A persistent table outlives the text that named it, and keeps its anchor.
    rig.load("t", "");
    assert_eq!(rig.print(&["-a", "t", "-sT"]), "jails\n");
    assert_eq!(rig.print(&["-sA"]), "  t\n");
}

#[test]
fn flags_are_shown() {
    let mut rig = Rig::new();
    rig.load(
        "t",
        "table <a> const { 192.0.2.1 }\ntable <b> persist counters\npass from <a>\n",
    );
    assert_eq!(
        rig.print(&["-a", "t", "-vsT"]),
        "c-a-r--\ta\tt\n-pa---C\tb\tt\n"
    );
}

#[test]
fn the_most_specific_entry_decides() {
    let mut rig = Rig::new();
    rig.load(
        "t",
        "table <jails> persist { 10.0.0.0/8, !10.1.0.0/16, 10.1.1.1 }\n",
    );
    let test = |rig: &mut Rig, address: &str| table(rig, &["test", address]).0;
    assert_eq!(
        [
            test(&mut rig, "10.2.0.1"),
            test(&mut rig, "10.1.2.3"),
            test(&mut rig, "10.1.1.1")
        ],
        [0, 2, 0]
    );
    assert_eq!(
        table(&mut rig, &["show"]).1,
        "   10.0.0.0/8\n  !10.1.0.0/16\n   10.1.1.1\n"
    );
}
