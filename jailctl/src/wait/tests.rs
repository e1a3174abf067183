//! What keeps an object from the state that is waited for.

use serde_json::json;

use super::*;

fn going(kind: Kind, status: Value) -> Stored {
    Stored {
        kind,
        name: "x".to_owned(),
        revision: 1,
        value: json!({ "status": status }),
    }
}

#[test]
fn a_deletion_names_what_holds_it() {
    let used = json!({"conditions": [
        {"type": "Heard", "status": "False", "reason": "SessionLost", "message": "nothing was heard"},
        {"type": "InUse", "status": "True", "reason": "JailsAttached",
         "message": "goes when the last of 2 jails is gone: dick, tom"}]});
    let paused = json!({"binding": {"host": "h"}, "conditions": [
        {"type": "Ready", "status": "False", "reason": "Paused", "message": "the Host is paused"}]});
    for (object, expected) in [
        (
            going(Kind::Host, used.clone()),
            "still there (goes when the last of 2 jails is gone: dick, tom)",
        ),
        (
            going(Kind::Network, used),
            "still there (goes when the last of 2 jails is gone: dick, tom)",
        ),
        (
            going(Kind::Jail, paused),
            "still there (Paused: the Host is paused)",
        ),
        (going(Kind::Network, json!({})), "still there"),
    ] {
        let reason = Goal::Delete
            .reached(Some(&object))
            .expect_err("it is there");
        assert_eq!(reason, expected);
    }
}
