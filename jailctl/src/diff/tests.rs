//! What a diff shows, and what it leaves out.

use serde_json::json;

use super::*;

#[test]
fn a_change_is_shown_and_what_the_system_keeps_is_not() {
    let before = json!({"kind": "Jail", "metadata": {"name": "dick", "uid": "u", "generation": 1, "resourceVersion": "7",
        "managedFields": [1]}, "spec": {"host": "fbsd-01", "publish": [{"ports": ["80"]}]}, "status": {"phase": "Running"}});
    let mut after = before.clone();
    after["metadata"]["generation"] = json!(2);
    after["status"] = json!({});
    let same = unified(Some(&before), &after, Kind::Jail, "dick").expect("YAML");
    assert_eq!(same, "");
    after["spec"]["publish"][0]["ports"] = json!(["81"]);
    let text = unified(Some(&before), &after, Kind::Jail, "dick").expect("YAML");
    assert!(
        text.starts_with("--- live/jail/dick\n+++ applied/jail/dick\n@@ "),
        "{text}"
    );
    let changed: Vec<&str> = text
        .lines()
        .skip(2)
        .filter(|line| line.starts_with(['-', '+']))
        .collect();
    assert_eq!(changed.len(), 2, "{text}");
    assert!(
        changed[0].contains("80") && changed[1].contains("81"),
        "{text}"
    );
}

#[test]
fn a_new_object_is_all_additions_without_a_uid() {
    let after = json!({"kind": "Jail", "metadata": {"name": "new", "uid": "made-up"}, "spec": {}});
    let text = unified(None, &after, Kind::Jail, "new").expect("YAML");
    assert!(!text.contains("made-up"), "{text}");
    assert!(
        text.lines().skip(3).all(|line| line.starts_with('+')),
        "{text}"
    );
}

#[test]
fn no_text_of_an_object_acts_in_a_diff() {
    let after =
        json!({"metadata": {"name": "dick", "annotations": {"note": "\u{1b}[2J\u{7}\rforged"}}});
    let text = unified(None, &after, Kind::Jail, "dick").expect("YAML");
    assert!(text.contains("[2J"), "{text}");
    assert!(
        !text.contains(['\u{1b}', '\u{7}', '\r']),
        "YAML escapes it: {text:?}"
    );
}
