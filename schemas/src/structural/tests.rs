use serde_json::{Value, json};

use super::{check, read};
use crate::object::{Kind, Object};

fn jail(spec: Value) -> Value {
    json!({ "apiVersion": "cellblock.dev/v1alpha1", "kind": "Jail", "metadata": { "name": "www" }, "spec": spec })
}

fn found(kind: Kind, document: &Value) -> Vec<String> {
    check(kind, document)
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn all_mistakes_come_at_once_with_their_paths() {
    let document = jail(json!({
        "netwroks": [],
        "networks": [{ "network": "lan", "addresses": ["10.0.0.1", "10.0.0.300"], "mac": "zz", "addressing": "allocated" }],
        "publish": [{ "name": "web", "ports": [0, "80-70", true], "protocol": "tpc" }],
        "parameters": { "exec.clean": null, "linux.osrelease": 4.4 },
        "runPolicy": "running",
        "jailName": 5,
    }));
    assert_eq!(
        found(Kind::Jail, &document),
        [
            "spec.netwroks: unknown field `netwroks` (did you mean `networks`?)",
            "spec.networks[0].addresses[1]: `10.0.0.300` is not an IPv4 or IPv6 address (four numbers from 0 to 255, without leading zeros)",
            "spec.networks[0].mac: `zz` is not a MAC address (six hexadecimal octets, as in 02:00:5e:10:00:07)",
            "spec.networks[0].addressing: `allocated` is not one of the allowed values (did you mean `allocate`? allowed: allocate, static, dhcp, slaac, jail)",
            "spec.publish[0].ports[0]: 0 is out of range (1 to 65535)",
            "spec.publish[0].ports[1]: `80-70` is not a port or a range of ports (1 to 65535, as in 443 or 8000-8099)",
            "spec.publish[0].ports[2]: must be a whole number or text, but is `true`",
            "spec.publish[0].protocol: `tpc` is not one of the allowed values (did you mean `tcp`? allowed: tcp, udp)",
            "spec.publish[0].uplink: the field `uplink` is required (add it)",
            "spec.parameters[exec.clean]: must be true or false or a whole number or text or a list, but is empty (give it a value, or remove the line)",
            "spec.parameters[linux.osrelease]: must be true or false or a whole number or text or a list, but is the number 4.4 (put it in quotes: \"4.4\")",
            "spec.runPolicy: `running` is not one of the allowed values (did you mean `Running`? allowed: Running, Stopped, Once)",
            "spec.jailName: must be text, but is the number 5 (put it in quotes: \"5\")",
        ]
    );
}

#[test]
fn types_that_yaml_reads_otherwise_are_explained() {
    let document = json!({
        "metadata": { "name": "lan", "labels": { "tier": 1 }, "namespace": "default" },
        "spec": {
            "bridge": { "privateMembers": "no" },
            "mtu": "1500",
            "subnets": { "cidr": "10.0.0.0/8" },
            "hostSelector": "zone=a",
        },
    });
    assert_eq!(
        found(Kind::Network, &document),
        [
            "metadata.labels[tier]: must be text, but is the number 1 (put it in quotes: \"1\")",
            "metadata.namespace: unknown field `namespace` (objects of Cellblock belong to the whole fleet: remove it)",
            "spec.bridge.privateMembers: must be true or false, but is the text `no` (YAML 1.2 reads it as text; write false)",
            "spec.mtu: must be a whole number, but is the text `1500` (write it without quotes)",
            "spec.subnets: must be a list, but is a set of fields",
            "spec.hostSelector: must be a set of fields, but is the text `zone=a`",
        ]
    );
}

#[test]
fn lists_with_keys_hold_each_key_once() {
    let document = jail(json!({
        "networks": [{ "network": "a", "interface": "lan0" }, { "network": "b", "interface": "lan0" }, { "network": "c" }, { "network": "d" }],
        "dependsOn": ["x", "y", "x"],
    }));
    assert_eq!(
        found(Kind::Jail, &document),
        [
            "spec.networks[1]: has the same interface as spec.networks[0] (remove one of the two, or give it another)",
            "spec.dependsOn[2]: has the same entry as spec.dependsOn[0] (remove one of the two, or give it another)",
        ]
    );
}

#[test]
fn empty_objects_take_no_fields() {
    let document = json!({ "metadata": { "name": "n" }, "spec": { "sharedIP": { "loopback": { "name": "lo1" } } } });
    assert_eq!(
        found(Kind::Network, &document),
        ["spec.sharedIP.loopback.name: unknown field `name`"]
    );
}

#[test]
fn what_get_printed_can_be_applied_again() {
    let document = json!({
        "apiVersion": "cellblock.dev/v1alpha1",
        "kind": "Jail",
        "metadata": {
            "name": "www", "uid": "u", "resourceVersion": "5", "generation": 3, "creationTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [{ "manager": "jailctl", "operation": "Apply", "apiVersion": "v1", "fieldsV1": { "f:spec": {} } }],
        },
        "spec": { "host": null },
        "status": { "aFieldOfTheFuture": 1 },
    });
    let object = read(Kind::Jail, document).expect("status is not looked into");
    let Object::Jail(jail) = object else {
        panic!("a Jail")
    };
    assert!(jail.status.is_none());
    assert_eq!(jail.spec.host, None);
}

#[test]
fn a_document_that_is_no_object_is_refused() {
    for document in [json!([]), json!("x"), json!(null), json!(5)] {
        assert_eq!(check(Kind::Host, &document).len(), 1);
    }
    assert_eq!(
        found(Kind::Host, &json!({})),
        ["metadata: the field `metadata` is required (add it)"]
    );
    assert_eq!(
        found(
            Kind::Host,
            &json!({ "kind": "Jail", "metadata": { "name": "x", "creationTimestamp": "yesterday" }, "spec": { "fibs": 70000 } })
        ),
        [
            "kind: `Jail` is not one of the allowed values (allowed: Host)",
            "metadata.creationTimestamp: `yesterday` is not a time (write it as 2026-01-31T12:00:00Z)",
            "spec.fibs: 70000 is out of range (0 to 65535)",
        ]
    );
}

#[test]
fn each_mistake_is_of_a_sort_that_kubernetes_knows() {
    use crate::violation::Cause;
    let document = jail(json!({
        "netwroks": [],
        "networks": [{ "network": "lan", "addressing": "allocated" }, { "network": "lan", "mac": "zz" }],
        "publish": [{ "name": "web", "ports": [0] }, { "name": "web", "ports": [1], "uplink": "external" }],
        "dependsOn": vec!["a"; 1025],
        "jailName": 5,
    }));
    let causes: Vec<_> = check(Kind::Jail, &document)
        .into_iter()
        .map(|violation| (violation.field, violation.cause))
        .collect();
    let expected = [
        ("spec.netwroks", Cause::Unknown),
        ("spec.networks[0].addressing", Cause::NotSupported),
        ("spec.networks[1].mac", Cause::Invalid),
        ("spec.publish[0].ports[0]", Cause::Invalid),
        ("spec.publish[0].uplink", Cause::Required),
        ("spec.dependsOn", Cause::TooMany),
        ("spec.jailName", Cause::TypeInvalid),
    ];
    for (field, cause) in expected {
        assert!(
            causes.contains(&(field.to_owned(), cause)),
            "{field}: {causes:?}"
        );
    }
    assert!(
        causes.iter().any(|(_, cause)| *cause == Cause::Duplicate),
        "{causes:?}"
    );
}
