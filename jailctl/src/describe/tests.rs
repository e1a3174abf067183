//! What somebody else wrote into an object neither drives the terminal nor feigns lines.

use serde_json::json;

use super::*;

#[test]
fn no_text_of_an_object_breaks_the_layout() {
    let condition = json!({"type": "Ready", "status": "False", "reason": "Failed",
        "message": "jail(8) said:\nConditions:\u{1b}[2J"});
    let object = Stored {
        kind: Kind::Jail,
        name: "www".to_owned(),
        revision: 1,
        value: json!({
            "metadata": {"annotations": {"note": "\u{1b}[31mred\u{1b}[0m\nName: forged"}},
            "spec": {"parameters": {"a\nb": "c\u{7}"}, "list": ["x\r\ny"]},
            "status": {"phase": "\u{202e}gnissim", "conditions": [condition]},
        }),
    };
    let lines = describe(&object, &Printer::default()).join("\n");
    for expected in [
        "Annotations:    note=\\u{1b}[31mred\\u{1b}[0m\\nName: forged",
        "    a\\nb: c\\u{7}",
        "    - x\\r\\ny",
        "  phase: \\u{202e}gnissim",
        "\n      jail(8) said:\n      Conditions:\\u{1b}[2J",
    ] {
        assert!(lines.contains(expected), "`{expected}`: {lines}");
    }
    assert!(!lines.contains('\u{1b}'), "{lines}");
}

#[test]
fn what_kubectl_applied_last_is_not_said_twice() {
    let object = |annotations| Stored {
        kind: Kind::Jail,
        name: "www".to_owned(),
        revision: 1,
        value: json!({"metadata": {"annotations": annotations}}),
    };
    let lines = |annotations| describe(&object(annotations), &Printer::default()).join("\n");
    let both = lines(json!({"note": "a", (LAST_APPLIED): "{\"kind\":\"Jail\"}"}));
    assert!(both.contains("Annotations:    note=a\n"), "{both}");
    let alone = lines(json!({(LAST_APPLIED): "{}"}));
    assert!(!alone.contains("Annotations"), "{alone}");
}
