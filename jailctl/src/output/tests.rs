//! kubectl's templates, and YAML that reads back.

use super::*;

fn ready() -> Value {
    json!({"metadata": {"name": "www"}, "status": {"conditions": [
        {"type": "Scheduled", "status": "True"}, {"type": "Ready", "status": "False"}]}})
}

#[test]
fn templates_pick_values() {
    for (template, expected) in [
        ("{.metadata.name}", "www"),
        (".metadata.name", "www"),
        ("{.status.conditions[?(@.type==\"Ready\")].status}", "False"),
        ("{.status.conditions[*].type}", "Scheduled Ready"),
        ("name={.metadata.name}{\"\\n\"}", "name=www\n"),
        ("{.nothing}", ""),
    ] {
        let path: JsonPath = template.parse().expect(template);
        assert_eq!(path.render(&ready()), expected, "{template}");
    }
    assert!("{.metadata".parse::<JsonPath>().is_err());
    assert!("{.a[}".parse::<JsonPath>().is_err());
}

#[test]
fn yaml_reads_back_as_it_was() {
    let value =
        json!({"a": "yes", "b": "1", "c": [1, true, null, "x: y\nz"], "d": {"e": "2001:db8::1"}});
    let text = yaml(&value).expect("YAML");
    let back: Value = serde_saphyr::from_str(&text).expect("YAML");
    assert_eq!(back, value, "{text}");
}
