//! Tables that fit.

use serde_json::json;

use super::*;

fn jail(name: &str, host: &str, addresses: &[&str]) -> Stored {
    let bound: Vec<_> = addresses
        .iter()
        .map(|address| json!({"address": address}))
        .collect();
    Stored {
        kind: Kind::Jail,
        name: name.to_owned(),
        revision: 1,
        value: json!({"apiVersion": "cellblock.dev/v1alpha1", "kind": "Jail", "metadata": {"name": name}, "spec": {},
            "status": {"phase": "Running", "binding": {"host": host, "attachments": [
                {"network": "n", "interface": "n0", "addresses": addresses}]},
                "conditions": [{"type": "Ready", "status": "True", "reason": "Running", "message": ""}]},
            "bound": bound}),
    }
}

fn long() -> Vec<Stored> {
    vec![
        jail(
            "www",
            "fbsd-01",
            &["127.0.1.1", "fd00:127:1::1", "203.0.113.10"],
        ),
        jail(
            "a-name-that-is-as-long-as-operators-make-them",
            "a-host-in-a-rack-far-away",
            &["2001:db8:1111:2222:3333:4444:5555:6666", "10.0.0.1"],
        ),
    ]
}

fn widest(text: &str) -> usize {
    text.lines()
        .map(|line| line.chars().count())
        .max()
        .unwrap_or_default()
}

#[test]
fn with_room_enough_nothing_is_cut() {
    let text = render(&long()[..1], Room::Columns(80), true);
    assert!(text.contains("127.0.1.1,fd00:127:1::1,+1"), "{text}");
    let text = render(&long(), Room::Wide, true);
    assert!(
        text.contains("127.0.1.1,fd00:127:1::1,203.0.113.10"),
        "{text}"
    );
    assert!(text.contains("REASON"), "{text}");
}

#[test]
fn a_terminal_is_never_overrun() {
    for columns in [132, 100, 80, 60] {
        let text = render(&long(), Room::Terminal(columns), true);
        assert!(widest(&text) <= columns, "{columns}:\n{text}");
        assert!(text.contains("www") && text.contains("Running"), "{text}");
    }
}

#[test]
fn a_file_has_every_name_whole() {
    let text = render(&long(), Room::Columns(80), true);
    for name in [
        "a-name-that-is-as-long-as-operators-make-them",
        "a-host-in-a-rack-far-away",
        "2001:db8:1111:2222:3333:4444:5555:6666",
    ] {
        assert!(text.contains(name), "{text}");
    }
}

#[test]
fn what_a_script_may_read_has_names_and_its_last_column_whole() {
    let (heading, message) = (
        ["VALUE", "NOTE", "OWNER", "MESSAGE"],
        "no agent ".repeat(20),
    );
    let owner = "jail/with-a-name-as-long-as-operators-make-them";
    let rows = || {
        vec![
            [
                "10.0.0.1",
                "a note that is longer than needed",
                owner,
                message.trim(),
            ]
            .map(str::to_owned)
            .to_vec(),
        ]
    };
    let read = plain(&heading, &[0, 2], rows(), Room::Columns(80));
    assert!(
        read.contains(owner) && read.contains(message.trim()),
        "{read}"
    );
    assert!(read.contains('…'), "the rest gives way: {read}");
    let seen = plain(&heading, &[0, 2], rows(), Room::Terminal(80));
    assert!(widest(&seen) <= 80, "{seen}");
}

#[test]
fn no_text_of_an_object_breaks_a_table() {
    let mut object = jail("www", "fbsd-01", &["10.0.0.1"]);
    object.value["status"]["phase"] = json!("Run\u{1b}[2J\nning");
    let text = render(&[object], Room::Wide, true);
    assert!(text.contains("Run\\u{1b}[2J\\nning"), "{text}");
    assert_eq!(text.lines().count(), 2, "{text}");
}
