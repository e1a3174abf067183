//! Server-side apply at admission. The rules of merging themselves are tested in `crate::fields`.

use cellblock_schemas::Kind;
use serde_json::{Value, json};

use crate::admit::{Outcome, Patch, Reason, Rejection, Request, Through};
use crate::document::stored;
use crate::testing::{World, bridge, host, jail};
use crate::write::Write;

fn part(spec: Value) -> Value {
    json!({"apiVersion": "cellblock.dev/v1alpha1", "kind": "Jail", "metadata": {"name": "www"}, "spec": spec})
}

fn nothing() -> Value {
    json!({"apiVersion": "cellblock.dev/v1alpha1", "kind": "Jail", "metadata": {"name": "www"}})
}

fn publish(port: u16) -> Value {
    part(json!({"publish": [{"name": "web", "ports": [port], "uplink": "external"}]}))
}

fn world() -> World {
    let mut world = World::with_hosts(&["a"]);
    world.apply(bridge("lan")).expect("a network");
    world
        .apply(jail("www", &["lan"], json!({})))
        .expect("a jail");
    world
}

fn managers(world: &World, kind: Kind, name: &str) -> Vec<(String, String)> {
    let entry = world.index.get(kind, name).expect("there");
    let fields = &entry.object.metadata().managed_fields;
    let named = fields
        .iter()
        .map(|entry| (entry.manager.clone(), entry.operation.clone()));
    named.collect()
}

fn update(world: &mut World, kind: Kind, name: &str, change: impl FnOnce(&mut Value)) {
    let mut document = world.index.get(kind, name).expect("there").document();
    change(&mut document);
    let update = Request::Update {
        kind,
        document,
        through: Through::Object,
        manager: "by-word".to_owned(),
    };
    world.request(update).expect("updated");
}

#[test]
fn a_second_manager_adds_its_part_and_takes_it_away_again() {
    let mut world = world();
    let before = world.jail("www").spec.clone();
    let admitted = world
        .apply_as("publisher", publish(80), false)
        .expect("a part is enough");
    assert_eq!(admitted.outcome, Outcome::Configured);
    assert_eq!(world.jail("www").spec.publish.len(), 1);
    assert_eq!(
        managers(&world, Kind::Jail, "www"),
        [
            ("jailctl".to_owned(), "Apply".to_owned()),
            ("publisher".to_owned(), "Apply".to_owned())
        ]
    );
    // The first says again what it said before, and nothing of what it never said is lost.
    let again = world
        .apply(jail("www", &["lan"], json!({})))
        .expect("applied again");
    assert_eq!((again.outcome, again.write), (Outcome::Unchanged, None));
    world
        .apply_as("publisher", nothing(), false)
        .expect("states nothing any more");
    assert_eq!(world.jail("www").spec, before);
    assert_eq!(managers(&world, Kind::Jail, "www").len(), 1);
}

#[test]
fn a_conflict_names_the_other_manager_and_the_field() {
    let mut world = world();
    world
        .apply_as("publisher", publish(80), false)
        .expect("published");
    let refused = world
        .apply_as("other", publish(443), false)
        .expect_err("another port");
    assert_eq!(refused.reason, Reason::Conflict);
    assert_eq!(refused.violations.len(), 1);
    assert_eq!(refused.violations[0].field, "spec.publish[0].ports");
    assert!(
        refused.violations[0].message.contains("\"publisher\""),
        "{refused}"
    );
    assert_eq!(
        refused.conflicts[0].path.to_string(),
        r#".spec.publish[name="web"].ports"#
    );
    // The same value is shared, and whoever shares it keeps it when the other lets go.
    world
        .apply_as("other", publish(80), false)
        .expect("the same");
    world
        .apply_as("publisher", nothing(), false)
        .expect("lets go");
    assert_eq!(world.jail("www").spec.publish.len(), 1);
    world
        .apply_as("publisher", publish(443), true)
        .expect("by force");
    world
        .apply_as("other", nothing(), false)
        .expect("lost the port, still shares the entry");
    assert_eq!(world.jail("www").spec.publish.len(), 1);
}

#[test]
fn what_is_said_of_a_host_by_word_outlives_its_manifest() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(host("a")).expect("a host");
    update(&mut world, Kind::Host, "a", |host| {
        host["spec"]["paused"] = json!(true);
    });
    let again = world.apply(host("a")).expect("says nothing of it");
    assert_eq!(again.outcome, Outcome::Unchanged);
    let mut says = host("a");
    says["spec"]["paused"] = json!(false);
    let refused = world.apply(says.clone()).expect_err("somebody else said");
    assert_eq!(refused.violations[0].field, "spec.paused");
    world.apply_as("jailctl", says, true).expect("by force");
    assert!(!world.index.host("a").expect("there").spec.paused);
    assert!(
        !managers(&world, Kind::Host, "a")
            .iter()
            .any(|(manager, _)| manager == "by-word")
    );
}

#[test]
fn who_updates_owns_what_it_changed_and_nothing_else() {
    let mut world = world();
    update(&mut world, Kind::Jail, "www", |jail| {
        jail["metadata"]["labels"] = json!({"tier": "front"});
    });
    let entries = &world.jail("www").metadata.managed_fields;
    let word = entries
        .iter()
        .find(|entry| entry.manager == "by-word")
        .expect("recorded");
    assert_eq!(
        word.fields_v1,
        json!({"f:metadata": {"f:labels": {".": {}, "f:tier": {}}}})
    );
    let fields = world.jail("www").metadata.managed_fields.clone();
    update(&mut world, Kind::Jail, "www", |_| {});
    assert_eq!(world.jail("www").metadata.managed_fields, fields);
}

#[test]
fn the_status_has_managers_of_its_own() {
    let mut world = world();
    let status = |phase: &str, manager: &str| Request::Apply {
        kind: Kind::Jail,
        document: json!({"apiVersion": "cellblock.dev/v1alpha1", "kind": "Jail",
            "metadata": {"name": "www"}, "spec": {"host": "b"}, "status": {"jid": 7, "phase": phase}}),
        through: Through::Status,
        manager: manager.to_owned(),
        force: false,
        together: std::sync::Arc::default(),
    };
    world.request(status("Running", "probe")).expect("a status");
    assert_eq!(world.jail("www").spec.host, None);
    assert!(
        world.jail("www").binding().is_some(),
        "merged, not replaced"
    );
    let refused = world
        .request(status("Stopped", "other"))
        .expect_err("probe says otherwise");
    assert!(
        refused.violations[0]
            .message
            .contains("\"probe\" with subresource \"status\""),
        "{refused}"
    );
}

fn status_of_the_host(status: Value, manager: &str) -> Request {
    Request::Apply {
        kind: Kind::Host,
        document: json!({"apiVersion": "cellblock.dev/v1alpha1", "kind": "Host",
            "metadata": {"name": "a"}, "status": status}),
        through: Through::Status,
        manager: manager.to_owned(),
        force: false,
        together: std::sync::Arc::default(),
    }
}

#[test]
fn a_status_that_is_applied_again_is_unchanged_however_it_is_spelled() {
    let mut world = world();
    let facts = |address: &str| {
        let interfaces = json!([{"name": "em0", "addresses": [address]}]);
        json!({"facts": {"release": "15.1-RELEASE", "interfaces": interfaces}, "conditions": null})
    };
    world
        .request(status_of_the_host(facts("2001:DB8::1/64"), "probe"))
        .expect("a status");
    for address in ["2001:DB8::1/64", "2001:db8:0::1/64"] {
        let again = world
            .request(status_of_the_host(facts(address), "probe"))
            .expect("the same");
        assert_eq!(again.outcome, Outcome::Unchanged, "{address}");
        let fields = &again.document["metadata"]["managedFields"];
        assert!(!fields.to_string().contains("DB8"), "{fields}");
    }
}

#[test]
fn a_status_that_is_applied_is_checked_as_one_that_is_written() {
    let mut world = world();
    let condition = |status: &str| {
        json!({"type": "A", "status": status, "reason": "Told", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1})
    };
    for (status, field) in [
        (json!({"foo": 1}), "status.foo"),
        (json!({"facts": {"bogus": 2}}), "status.facts.bogus"),
        (
            json!({"observedGeneration": 99}),
            "status.observedGeneration",
        ),
        (
            json!({"conditions": [condition("True"), condition("False")]}),
            "status.conditions[1]",
        ),
        (json!([]), "status"),
    ] {
        let applied = world.request(status_of_the_host(status.clone(), "probe"));
        let refused = applied.expect_err("it does not fit");
        assert_eq!(refused.violations[0].field, field, "{refused}");
        for through in [
            Request::Update {
                kind: Kind::Host,
                document: json!({"metadata": {"name": "a"}, "status": status}),
                through: Through::Status,
                manager: "probe".to_owned(),
            },
            Request::Patch {
                kind: Kind::Host,
                name: "a".to_owned(),
                patch: Patch::Merge(json!({"status": status})),
                through: Through::Status,
                manager: "probe".to_owned(),
            },
        ] {
            let refused = world.request(through).expect_err("nor so");
            assert_eq!(refused.violations[0].field, field, "{refused}");
        }
    }
}

#[test]
fn what_a_newer_release_stored_in_a_status_does_not_stand_in_the_way() {
    let mut world = world();
    world
        .request(status_of_the_host(
            json!({"observedGeneration": 1}),
            "probe",
        ))
        .expect("a status");
    let mut document = world
        .index
        .get(Kind::Host, "a")
        .expect("it is there")
        .document();
    document["status"]["newer"] = json!(true);
    let mut newer = Write::default();
    newer.put(
        world.index.keys().object(Kind::Host, "a"),
        stored(&document),
    );
    assert!(world.commit(&newer));
    let patch = Request::Patch {
        kind: Kind::Host,
        name: "a".to_owned(),
        patch: Patch::Merge(json!({"status": {"observedGeneration": 0}})),
        through: Through::Status,
        manager: "probe".to_owned(),
    };
    world.request(patch).expect("it is nothing of this patch");
}

#[test]
fn an_application_without_a_name_or_with_records_of_its_own_is_refused() {
    let mut world = world();
    let refused = |found: Result<_, Rejection>| found.map(drop).expect_err("refused");
    let nobody = refused(world.apply_as("", publish(80), false));
    assert_eq!(nobody.reason, Reason::Invalid);
    assert!(nobody.to_string().contains("field manager"), "{nobody}");
    let long = refused(world.apply_as(&"m".repeat(129), publish(80), false));
    assert_eq!(long.reason, Reason::Invalid);
    let mut recorded = publish(80);
    recorded["metadata"]["managedFields"] =
        json!([{"manager": "m", "operation": "Apply", "apiVersion": "cellblock.dev/v1alpha1"}]);
    let recorded = refused(world.apply_as("m", recorded, false));
    assert_eq!(recorded.violations[0].field, "metadata.managedFields");
}

#[test]
fn a_part_that_leaves_the_whole_incomplete_is_refused_with_the_field() {
    let mut world = World::with_hosts(&["a"]);
    let refused = world
        .apply_as(
            "m",
            part(json!({"networks": [{"interface": "lan0"}]})),
            false,
        )
        .expect_err("no network");
    assert_eq!(refused.reason, Reason::Invalid);
    assert_eq!(refused.violations[0].field, "spec.networks[0].network");
}

#[test]
fn an_immutable_field_cannot_be_applied_otherwise() {
    let mut world = world();
    let refused = world
        .apply_as("m", part(json!({"jailName": "other"})), true)
        .expect_err("immutable");
    assert_eq!(refused.reason, Reason::Invalid);
    assert_eq!(refused.violations[0].field, "spec.jailName");
}

#[test]
fn the_controllers_finalizers_are_nobodys_to_apply_or_to_take_away() {
    let mut world = world();
    let bound = |world: &World| world.jail("www").metadata.finalizers.clone();
    let own = vec![crate::bind::FINALIZER.to_owned()];
    let mut labelled = jail("www", &["lan"], json!({}));
    labelled["metadata"]["labels"] = json!({"a": "b"});
    world.apply(labelled.clone()).expect("a label");
    assert_eq!(bound(&world), own);
    world
        .apply(jail("www", &["lan"], json!({})))
        .expect("the last label goes");
    assert_eq!(bound(&world), own);
    assert!(world.jail("www").metadata.labels.is_empty());

    // What was printed is applied, then the manifest again.
    labelled["metadata"]["finalizers"] = json!(["example.org/backup", crate::bind::FINALIZER]);
    world.apply(labelled).expect("as it was printed");
    assert_eq!(bound(&world).len(), 2);
    world
        .apply(jail("www", &["lan"], json!({})))
        .expect("takes its own away again");
    assert_eq!(bound(&world), own);
}

const LAST: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// As `kubectl apply` does without the server: the whole object by update, with what it applied beside.
fn applied_by_the_client(level: i64) -> World {
    let mut world = world();
    let mut stated = part(json!({"parameters": {"securelevel": level}}));
    stated["metadata"]["labels"] = json!({"role": "web"});
    let mut document = world
        .index
        .get(Kind::Jail, "www")
        .expect("there")
        .document();
    document["spec"]["parameters"] = stated["spec"]["parameters"].clone();
    document["metadata"]["labels"] = stated["metadata"]["labels"].clone();
    document["metadata"]["annotations"] = json!({LAST: stated.to_string()});
    let update = Request::Update {
        kind: Kind::Jail,
        document,
        through: Through::Object,
        manager: "kubectl-client-side-apply".to_owned(),
    };
    world.request(update).expect("updated");
    world
}

#[test]
fn what_kubectl_applied_in_its_old_way_is_its_own_and_the_annotation_follows() {
    let mut world = applied_by_the_client(1);
    let newer = part(json!({"parameters": {"securelevel": 2}}));
    let another = world.apply_as("another", newer.clone(), false);
    assert_eq!(another.expect_err("another's").reason, Reason::Conflict);
    world
        .apply_as("kubectl", newer.clone(), false)
        .expect("handed over without a conflict");
    let jail = world.jail("www");
    let last: Value = serde_json::from_str(&jail.metadata.annotations[LAST]).expect("JSON");
    assert_eq!(last, newer);
    let again = world.apply_as("kubectl", newer, false).expect("again");
    assert_eq!(again.outcome, Outcome::Unchanged);
}

#[test]
fn what_was_changed_since_is_not_kubectls() {
    let mut world = applied_by_the_client(1);
    update(&mut world, Kind::Jail, "www", |document| {
        document["spec"]["parameters"]["securelevel"] = json!(3);
    });
    let mut newer = part(json!({"parameters": {"securelevel": 2}}));
    newer["metadata"]["labels"] = json!({"role": "mail"});
    let refused = world.apply_as("kubectl", newer.clone(), false);
    let refused = refused.expect_err("somebody changed it");
    let fields: Vec<String> = refused
        .conflicts
        .iter()
        .map(|conflict| conflict.path.to_string())
        .collect();
    assert_eq!(fields, [".spec.parameters.securelevel"]);
    world.apply_as("kubectl", newer, true).expect("forced");
}

#[test]
fn an_annotation_that_would_be_too_large_goes() {
    let mut world = applied_by_the_client(1);
    let mut large = part(json!({}));
    large["metadata"]["annotations"] = json!({"example.org/words": "x".repeat(200 << 10)});
    world.apply_as("kubectl", large, false).expect("applied");
    assert!(!world.jail("www").metadata.annotations.contains_key(LAST));
}

fn attached(attachment: Value) -> Value {
    part(json!({"networks": [attachment]}))
}

fn addressing(world: &World) -> Value {
    let entry = world.index.get(Kind::Jail, "www").expect("there");
    entry.document()["spec"]["networks"][0]["addressing"].clone()
}

#[test]
fn taking_addresses_out_of_a_manifest_derives_anew_how_they_come() {
    let mut world = world();
    let fixed = json!({"network": "lan", "addresses": ["10.30.0.9"]});
    let manifest = |attachment: &Value| {
        let mut manifest = jail("www", &["lan"], json!({}));
        manifest["spec"]["networks"] = json!([attachment]);
        manifest
    };
    world.apply(manifest(&fixed)).expect("an address");
    assert_eq!(addressing(&world), "static");
    world
        .apply(manifest(&json!({"network": "lan"})))
        .expect("no address any more");
    assert_eq!(addressing(&world), "allocate");
    world.apply(manifest(&fixed)).expect("and back");
    assert_eq!(addressing(&world), "static");
}

#[test]
fn how_addresses_come_stays_where_somebody_stated_it() {
    let mut world = world();
    let fixed = json!({"network": "lan", "addresses": ["10.30.0.9"]});
    world.apply_as("m", attached(fixed), true).expect("fixed");
    let said = json!({"network": "lan", "addressing": "static"});
    world.apply_as("n", attached(said), false).expect("shared");
    let refused = world
        .apply_as("m", attached(json!({"network": "lan"})), false)
        .expect_err("another manager wants them static");
    assert_eq!(refused.violations[0].field, "spec.networks[0].addressing");
}
