//! YAML that reads back.

use super::*;

#[test]
fn yaml_reads_back_as_it_was() {
    let value =
        json!({"a": "yes", "b": "1", "c": [1, true, null, "x: y\nz"], "d": {"e": "2001:db8::1"}});
    let text = yaml(&value).expect("YAML");
    let back: Value = serde_saphyr::from_str(&text).expect("YAML");
    assert_eq!(back, value, "{text}");
}
