use std::collections::BTreeMap;

use super::{Owner, TABLE, negated, owner, validate};
use crate::jail::{Attachment, JailSpec, ParameterValue};
use crate::path::FieldPath;
use crate::violation::Findings;

fn found(parameters: &[(&str, ParameterValue)]) -> Vec<String> {
    let spec = JailSpec {
        parameters: parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
        ..JailSpec::default()
    };
    let mut findings = Findings::default();
    validate(&spec, &FieldPath::new("p"), &mut findings);
    findings.0.iter().map(ToString::to_string).collect()
}

fn text(text: &str) -> ParameterValue {
    ParameterValue::Text(text.to_owned())
}

#[test]
fn the_articles_parameters_are_free() {
    let list = ParameterValue::List(vec![
        "/bin/sh /etc/rc".to_owned(),
        "/bin/echo started".to_owned(),
    ]);
    assert_eq!(
        found(&[
            ("exec.start", list),
            ("exec.stop", text("/bin/sh /etc/rc.shutdown")),
            ("exec.clean", ParameterValue::Flag(true)),
            ("mount.devfs", ParameterValue::Number(1)),
            ("host.hostname", text("bsd-test01.local")),
            ("securelevel", ParameterValue::Number(3)),
            ("allow.raw_sockets", text("true")),
            ("sysvshm", text("new")),
            ("env.LANG", text("C.UTF-8")),
            ("some_module.switch", text("on")),
        ]),
        [""; 0]
    );
}

#[test]
fn what_a_field_owns_is_refused_and_the_field_named() {
    assert_eq!(
        found(&[
            ("depend", text("db")),
            ("ip4.addr", text("em0|10.10.0.1/32")),
            ("jid", ParameterValue::Number(5)),
            ("meta.owner", text("me")),
            ("mount", text("/a /b nullfs ro 0 0")),
            ("path", text("/jails/www")),
            ("persist", ParameterValue::Flag(true)),
            ("vnet", ParameterValue::Flag(true)),
        ]),
        [
            "p[depend]: `depend` is derived from another field (use spec.dependsOn)",
            "p[ip4.addr]: `ip4.addr` is derived from another field (use spec.networks[].addresses)",
            "p[jid]: `jid` cannot be set: the kernel assigns it, and other objects never refer to it (remove it)",
            "p[meta.owner]: `meta.owner` cannot be set: the mark by which the agent knows its jails stands there (remove it)",
            "p[mount]: `mount` is derived from another field (use spec.mounts)",
            "p[path]: `path` is derived from another field (use spec.root.path)",
            "p[persist]: `persist` cannot be set: every jail persists, so that it can be looked at when its last process is gone (remove it)",
            "p[vnet]: `vnet` is derived from another field (use spec.networks: the network's mode decides it)",
        ]
    );
}

#[test]
fn values_fit_what_the_parameter_takes() {
    let found = found(&[
        ("allow.mount", text("yes")),
        ("allow.noraw_sockets", ParameterValue::Flag(true)),
        ("devfs_ruleset", text("four")),
        ("exec.consolelog", text("log/console")),
        ("exec.start", ParameterValue::List(Vec::new())),
        ("host.hostname", ParameterValue::Flag(true)),
        ("securelevel", ParameterValue::Number(4)),
        ("sysvmsg", text("newish")),
    ]);
    assert_eq!(found.len(), 8, "{found:#?}");
    assert!(
        found[1].contains("write `allow.raw_sockets: false`"),
        "{}",
        found[1]
    );
}

#[test]
fn what_the_kernel_would_refuse_or_jls_not_show_is_refused() {
    for (name, value) in [
        ("children.max", ParameterValue::Number(999_999)),
        ("host.hostname", text("x ")),
        ("host.domainname", text(" x")),
    ] {
        assert_eq!(found(&[(name, value)]).len(), 1, "{name}");
    }
    assert_eq!(
        found(&[("children.max", ParameterValue::Number(999_998))]),
        [""; 0]
    );
}

#[test]
fn nothing_can_be_injected_through_names_or_values() {
    for name in [
        "a b",
        "a;b",
        "a\"",
        "",
        ".",
        "a..b",
        "exec.start;",
        "A",
        "a\n",
        "é",
        "a=b",
        "a{",
    ] {
        assert_eq!(found(&[(name, text("x"))]).len(), 1, "{name:?}");
    }
    for value in ["a\nb", "a\0b", "\u{1b}[0m"] {
        assert_eq!(found(&[("exec.start", text(value))]).len(), 1, "{value:?}");
    }
}

#[test]
fn inherit_is_for_jails_without_networks() {
    let mut spec = JailSpec {
        parameters: BTreeMap::from([("ip4".to_owned(), text("inherit"))]),
        ..JailSpec::default()
    };
    let count = |spec: &JailSpec| {
        let mut findings = Findings::default();
        validate(spec, &FieldPath::new("p"), &mut findings);
        findings.0.len()
    };
    assert_eq!(count(&spec), 0);
    spec.networks.push(Attachment::default());
    assert_eq!(count(&spec), 1);
}

#[test]
fn the_table_names_each_parameter_once() {
    let mut names: Vec<&str> = TABLE.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), TABLE.len());
    assert_eq!(owner("nothing.known"), None);
    assert!(matches!(owner("meta.x"), Some(Owner::Reserved(_))));
    assert_eq!(negated("nopersist").as_deref(), Some("persist"));
    assert_eq!(negated("noallow"), None);
}
