//! What pfctl drops, combines and moves before it loads (pfctl_optimize.c).

use super::host::Rig;

fn loaded(text: &str) -> (Rig, Vec<String>) {
    let mut rig = Rig::new();
    rig.load("t", text);
    let shown = rig
        .print(&["-a", "t", "-sr"])
        .lines()
        .map(str::to_owned)
        .collect();
    (rig, shown)
}

#[test]
fn contained_rules_are_dropped() {
    let (_, shown) = loaded(
        "block in quick proto tcp to 192.0.2.0/24\nblock in quick proto tcp to 192.0.2.9\nblock in quick proto tcp to 192.0.2.0/24\n",
    );
    assert_eq!(
        shown,
        ["block drop in quick inet proto tcp from any to 192.0.2.0/24"]
    );
}

#[test]
fn labels_keep_rules_as_they_are() {
    let text = "block in label \"a\"\nblock in label \"b\"\nblock in label \"a\"\n";
    assert_eq!(
        loaded(text).1,
        [
            "block drop in all label \"a\"",
            "block drop in all label \"b\""
        ],
        "the kernel takes no rule twice"
    );
}

#[test]
fn six_addresses_become_a_table() {
    let list = "{ 192.0.2.1, 192.0.2.3, 192.0.2.5, 192.0.2.7, 192.0.2.9, 192.0.2.11 }";
    let (mut rig, shown) = loaded(&format!("pass from {list}\n"));
    assert_eq!(shown.len(), 1);
    assert!(
        shown[0].starts_with("pass inet from <__automatic_")
            && shown[0].ends_with("> to any flags S/SA keep state")
    );
    let name = rig.print(&["-a", "t", "-sT"]);
    let members = rig.print(&["-a", "t", "-t", name.trim(), "-T", "show"]);
    assert_eq!(members.lines().count(), 6);
    // The old table goes with the old rules, when these are purged.
    rig.host.now += std::time::Duration::from_secs(1);
    rig.load("t", "pass\n");
    assert_eq!(rig.print(&["-a", "t", "-sT"]), name);
    rig.host.now += std::time::Duration::from_secs(20);
    assert_eq!(rig.print(&["-a", "t", "-sT"]), "");
    let five = "{ 192.0.2.1, 192.0.2.3, 192.0.2.5, 192.0.2.7, 192.0.2.9 }";
    assert_eq!(loaded(&format!("pass from {five}\n")).1.len(), 5);
    let mut rig = Rig::new();
    rig.run(
        &["-a", "t", "-o", "none", "-f", "-"],
        &format!("pass from {list}\n"),
    );
    assert_eq!(rig.print(&["-a", "t", "-sr"]).lines().count(), 6);
}

/// The largest group comes first: four of five share `proto tcp`, three of those an interface.
#[test]
fn rules_that_share_most_stand_together() {
    let text = "pass in on vtnet0 proto tcp to port 1\npass in on vtnet1 proto tcp to port 2\npass in on vtnet0 proto tcp to port 3\npass in on vtnet1 proto udp to port 4\npass in on vtnet0 proto tcp to port 5\n";
    let interfaces: Vec<String> = loaded(text)
        .1
        .iter()
        .map(|rule| {
            rule.split_whitespace()
                .nth(3)
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    assert_eq!(
        interfaces,
        ["vtnet0", "vtnet0", "vtnet0", "vtnet1", "vtnet1"]
    );
}

#[test]
fn different_actions_never_change_places() {
    let text = "block in on vtnet0\npass in on vtnet0 proto tcp to port 22\nblock in on vtnet1\n";
    assert_eq!(
        loaded(text).1,
        [
            "block drop in on vtnet0 all",
            "pass in on vtnet0 proto tcp from any to any port = ssh flags S/SA keep state",
            "block drop in on vtnet1 all",
        ]
    );
}
