//! Admission, request by request.

use cellblock_schemas::{ConditionStatus, Kind};
use serde_json::json;

mod apply;
mod finalizers;
mod patch;
mod race;

use super::*;
use crate::testing::{World, bridge, host, jail, shared};

fn fields(rejection: &Rejection) -> Vec<&str> {
    rejection
        .violations
        .iter()
        .map(|violation| violation.field.as_str())
        .collect()
}

#[test]
fn a_jail_gets_host_addresses_and_mac_at_admission() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(bridge("lan")).expect("a network");
    let admitted = world
        .apply(jail("www", &["lan"], json!({})))
        .expect("a jail");
    assert_eq!(admitted.outcome, Outcome::Created);
    let binding = world.binding("www").expect("bound");
    assert_eq!(binding.host, "a");
    let attachment = &binding.attachments[0];
    let addresses: Vec<_> = attachment
        .addresses
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(addresses, ["10.30.0.10/24", "fd00:30::1/64"]);
    assert!(
        attachment
            .mac
            .expect("a MAC")
            .to_string()
            .starts_with("02:cb:")
    );
    assert_eq!(
        world.jail("www").metadata.finalizers,
        [crate::bind::FINALIZER]
    );
    assert_eq!(world.jail("www").metadata.generation.0, 1);
}

#[test]
fn applying_again_writes_nothing() {
    let mut world = World::with_hosts(&["a"]);
    let documents = [
        host("a"),
        bridge("lan"),
        jail(
            "www",
            &["lan"],
            json!({"publish": [{"name": "web", "ports": [80], "uplink": "external"}]}),
        ),
    ];
    for document in &documents {
        world.apply(document.clone()).expect("admitted");
    }
    world.reconcile();
    world.report("a");
    world.reconcile();
    let revision = world.revision();
    for document in &documents {
        let admitted = world.apply(document.clone()).expect("admitted");
        assert_eq!(
            (admitted.outcome, admitted.write),
            (Outcome::Unchanged, None)
        );
    }
    assert_eq!(world.revision(), revision);
}

#[test]
fn no_jail_gets_an_address_that_a_wire_takes_for_another() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(bridge("lan")).expect("a network");
    world.apply(shared("nic")).expect("a network");
    let mut inside = shared("inside");
    inside["spec"]["sharedIP"] = json!({"loopback": {}});
    inside["spec"]["subnets"] = json!([{"cidr": "198.51.100.0/28"}, {"cidr": "fd00:51::/64"}]);
    world.apply(inside).expect("a network");
    let on = |network: &str, address: &str| {
        let networks = json!([{"network": network, "addresses": [address]}]);
        jail("www", &[], json!({"networks": networks}))
    };
    for (network, address) in [
        ("lan", "10.30.0.0"),
        ("lan", "10.30.0.255"),
        ("lan", "fd00:30::"),
        ("nic", "192.0.2.0"),
        ("nic", "192.0.2.15"),
    ] {
        let refused = world.apply(on(network, address)).expect_err(address);
        assert_eq!(fields(&refused), ["spec.networks[0].addresses[0]"]);
    }
    let edges = json!(["198.51.100.0", "198.51.100.15", "fd00:51::"]);
    let networks = json!([{"network": "inside", "addresses": edges}]);
    let inside = jail("www", &[], json!({"networks": networks}));
    world.apply(inside).expect("there is no wire");
}

#[test]
fn all_violations_come_at_once() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(shared("inside")).expect("a network");
    world
        .apply(jail(
            "dick",
            &["inside"],
            json!({"host": "a", "networks": [{"network": "inside", "addresses": ["192.0.2.4"]}],
        "publish": [{"name": "web", "ports": [80, 443], "uplink": "external"}]}),
        ))
        .expect("the first");
    let rejection = world.apply(jail("harry", &[], json!({
        "host": "a", "jailName": "dick",
        "networks": [{"network": "inside", "addresses": ["192.0.2.4", "198.51.100.1"]}],
        "publish": [{"name": "web", "ports": ["400-500"], "uplink": "external", "address": "main"}],
    }))).expect_err("four things are wrong");
    assert_eq!(rejection.reason, Reason::Invalid);
    assert_eq!(
        fields(&rejection),
        [
            "spec.networks[0].addresses[1]",
            "spec.networks[0].addresses[0]",
            "spec.jailName",
            "spec.publish[0].ports"
        ]
    );
    let text = rejection.to_string();
    assert!(
        text.contains("taken by jail dick") && text.contains("outside every subnet"),
        "{text}"
    );
}

#[test]
fn unknown_fields_are_refused_and_those_in_the_store_survive() {
    let mut world = World::with_hosts(&["a"]);
    let mut document = jail("www", &[], json!({"hots": "a"}));
    let rejection = world.apply(document.clone()).expect_err("a typing error");
    assert!(rejection.violations[0].message.contains("hots"));
    document["spec"] = json!({"root": {"path": "/jails/www"}});
    world.apply(document).expect("a jail");
    // A newer release has written something that this one does not know.
    let entry = world.index.get(Kind::Jail, "www").expect("there").clone();
    let mut newer = entry.document();
    newer["spec"]["later"] = json!({"a": 1});
    newer["status"]["later"] = json!(2);
    let mut write = Write::default();
    write.put(
        world.index.keys().object(Kind::Jail, "www"),
        crate::document::stored(&newer),
    );
    assert!(world.commit(&write));
    world.report("a");
    let document = world
        .index
        .get(Kind::Jail, "www")
        .expect("there")
        .document();
    assert_eq!(document["spec"]["later"], json!({"a": 1}));
    assert_eq!(document["status"]["later"], json!(2));
    assert_eq!(document["status"]["phase"], json!("Running"));
    // Who changes another field of the status is not answerable for it.
    let patch = |status: Value| Request::Patch {
        kind: Kind::Jail,
        name: "www".to_owned(),
        patch: Patch::Merge(json!({"status": status})),
        through: Through::Status,
        manager: "m".to_owned(),
    };
    world.request(patch(json!({"jid": 9}))).expect("a number");
    let rejection = world.request(patch(json!({"latest": 9})));
    assert_eq!(
        fields(&rejection.expect_err("a mistake")),
        ["status.latest"]
    );
    let document = world
        .index
        .get(Kind::Jail, "www")
        .map(|entry| entry.document());
    let status = document.expect("there")["status"].clone();
    assert_eq!((&status["later"], &status["jid"]), (&json!(2), &json!(9)));
}

#[test]
fn a_stale_resource_version_is_refused() {
    let mut world = World::with_hosts(&["a"]);
    let mut document = world.index.get(Kind::Host, "a").expect("there").document();
    document["metadata"]["labels"]["zone"] = json!("x");
    let update = |document: &Value| Request::Update {
        kind: Kind::Host,
        document: document.clone(),
        through: Through::Object,
        manager: "m".to_owned(),
    };
    let admitted = world.request(update(&document)).expect("fresh");
    assert_eq!(admitted.outcome, Outcome::Configured);
    let rejection = world.request(update(&document)).expect_err("stale");
    assert_eq!(rejection.reason, Reason::Conflict);
    assert_eq!(fields(&rejection), ["metadata.resourceVersion"]);
    document["metadata"]
        .as_object_mut()
        .expect("an object")
        .remove("resourceVersion");
    assert_eq!(
        world
            .request(update(&document))
            .expect("unconditional")
            .outcome,
        Outcome::Unchanged
    );
}

#[test]
fn create_refuses_what_exists_and_update_what_does_not() {
    let mut world = World::with_hosts(&["a"]);
    let create = Request::Create {
        kind: Kind::Host,
        document: host("a"),
        manager: "m".to_owned(),
    };
    assert_eq!(
        world.request(create).expect_err("exists").reason,
        Reason::AlreadyExists
    );
    let update = Request::Update {
        kind: Kind::Host,
        document: host("b"),
        through: Through::Object,
        manager: "m".to_owned(),
    };
    assert_eq!(
        world.request(update).expect_err("absent").reason,
        Reason::NotFound
    );
}

#[test]
fn a_jail_waits_for_what_is_missing_and_says_so() {
    let mut world = World::new();
    let admitted = world
        .apply(jail("www", &["lan"], json!({"host": "a"})))
        .expect("accepted");
    assert_eq!(admitted.warnings.len(), 2);
    assert_eq!(world.scheduled("www").1, "NetworkMissing");
    world.apply(bridge("lan")).expect("a network");
    world.reconcile();
    let (status, reason, message) = world.scheduled("www");
    assert_eq!(
        (status, reason.as_str()),
        (ConditionStatus::False, "HostMissing")
    );
    assert!(message.contains("host a does not exist"), "{message}");
    world.apply(host("a")).expect("a host");
    world.reconcile();
    assert_eq!(world.scheduled("www").0, ConditionStatus::True);
    assert_eq!(world.address("www").as_deref(), Some("10.30.0.10"));
}

#[test]
fn an_uplink_that_no_host_has_is_warned_of() {
    let mut world = World::new();
    let mut slip = bridge("lan");
    slip["spec"]["bridge"] = json!({"uplink": "extrenal"});
    slip["spec"]["subnets"] = json!([{"cidr": "10.31.0.0/24"}]);
    let early = world.apply(slip.clone()).expect("accepted");
    assert_eq!(early.warnings, [], "there is no Host yet");
    world.apply(host("a")).expect("a host");
    slip["metadata"]["labels"] = json!({"a": "b"});
    let warned = world.apply(slip).expect("accepted").warnings;
    assert_eq!(warned[0].field, "spec.bridge.uplink");
    assert_eq!(
        warned[0].message,
        "no Host has an uplink `extrenal` yet (there is external); what needs it waits for it"
    );
    world.apply(bridge("inside")).expect("a network");
    let publish = |uplink: &str| {
        let publish = json!([{"name": "web", "ports": [80], "uplink": uplink}]);
        jail("www", &["inside"], json!({"host": "a", "publish": publish}))
    };
    let warned = world.apply(publish("extrenal")).expect("accepted").warnings;
    assert_eq!(warned[0].field, "spec.publish[0].uplink");
    assert!(warned[0].message.starts_with("Host a does not have"));
    let right = world.apply(publish("external")).expect("accepted").warnings;
    assert!(
        right
            .iter()
            .all(|one| one.field != "spec.publish[0].uplink"),
        "{right:?}"
    );
}

#[test]
fn a_bound_jail_goes_only_when_its_host_says_so() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(bridge("lan")).expect("a network");
    world
        .apply(jail("www", &["lan"], json!({})))
        .expect("a jail");
    assert_eq!(
        world.delete(Kind::Jail, "www").expect("accepted").outcome,
        Outcome::Deleting
    );
    world.reconcile();
    assert!(world.index.jail("www").is_some());
    let claims = world.index.claims().len();
    world.report("a");
    assert!(world.index.jail("www").is_none());
    // Two addresses, a MAC number, a name and a root are free again; the bridge's number stays with the network.
    assert_eq!(world.index.claims().len(), claims - 5);
}

#[test]
fn a_network_in_use_waits_says_for_whom_and_takes_no_new_jails() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(bridge("lan")).expect("a network");
    world
        .apply(jail("www", &["lan"], json!({})))
        .expect("a jail");
    assert_eq!(
        world
            .delete(Kind::Network, "lan")
            .expect("accepted")
            .outcome,
        Outcome::Deleting
    );
    world.reconcile();
    let status = world
        .index
        .network("lan")
        .and_then(|network| network.status.clone())
        .expect("a status");
    assert!(status.conditions[0].message.contains("www"), "{status:?}");
    let rejection = world
        .apply(jail("new", &["lan"], json!({})))
        .expect_err("too late");
    assert_eq!(fields(&rejection), ["spec.networks[0].network"]);
    world.delete(Kind::Jail, "www").expect("accepted");
    world.report("a");
    world.reconcile();
    assert!(world.index.network("lan").is_none());
    assert!(world.index.claims().is_empty());
}

#[test]
fn subnets_of_two_networks_on_one_host_do_not_overlap() {
    let mut world = World::new();
    world.apply(bridge("lan")).expect("a network");
    let mut other = bridge("other");
    other["spec"]["subnets"] = json!([{"cidr": "10.30.0.128/25"}]);
    let rejection = world.apply(other.clone()).expect_err("overlaps");
    assert_eq!(fields(&rejection), ["spec.subnets[0].cidr"]);
    assert!(rejection.violations[0].message.contains("network lan"));
    let mut lan = bridge("lan");
    lan["spec"]["hostSelector"] = json!({"matchLabels": {"zone": "a"}});
    other["spec"]["hostSelector"] = json!({"matchLabels": {"zone": "b"}});
    world.apply(lan).expect("elsewhere");
    world.apply(other).expect("elsewhere");
}

#[test]
fn a_network_cannot_leave_its_jails_outside() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(bridge("lan")).expect("a network");
    world
        .apply(jail("www", &["lan"], json!({})))
        .expect("a jail");
    let mut smaller = bridge("lan");
    smaller["spec"]["subnets"] =
        json!([{"cidr": "10.30.0.0/24", "gateway": {"address": "10.30.0.10"}}]);
    let rejection = world.apply(smaller).expect_err("www is there");
    let text = rejection.to_string();
    assert!(
        text.contains("fd00:30::1 of jail www")
            && text.contains("10.30.0.10 cannot become the gateway"),
        "{text}"
    );
}

#[test]
fn what_a_jail_gives_up_stays_its_own_until_its_host_confirms() {
    let mut world = World::with_hosts(&["a", "b"]);
    world.apply(bridge("lan")).expect("a network");
    let at = |name: &str, host: &str, address: &str| {
        jail(
            name,
            &[],
            json!({"host": host, "networks": [{"network": "lan", "addresses": [address]}]}),
        )
    };
    world.apply(at("one", "a", "10.30.0.20")).expect("a jail");
    world.report("a");
    world
        .apply(at("one", "a", "10.30.0.21"))
        .expect("moves over");
    let rejection = world
        .apply(at("two", "b", "10.30.0.20"))
        .expect_err("host a may still have it");
    assert!(
        rejection.violations[0].message.contains("given it up"),
        "{rejection}"
    );
    world.report("a");
    world.apply(at("two", "b", "10.30.0.20")).expect("free now");
}

#[test]
fn the_status_subresource_changes_nothing_else_and_never_the_binding() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(jail("www", &[], json!({}))).expect("a jail");
    let mut document = world
        .index
        .get(Kind::Jail, "www")
        .expect("there")
        .document();
    document["status"]["phase"] = json!("Running");
    document["spec"]["host"] = json!("elsewhere");
    let update = |document: &Value| Request::Update {
        kind: Kind::Jail,
        document: document.clone(),
        through: Through::Status,
        manager: "m".to_owned(),
    };
    world.request(update(&document)).expect("a status");
    let now = world.jail("www").clone();
    assert_eq!(now.spec.host, None);
    assert_eq!(now.status.expect("a status").phase, "Running");
    document["metadata"]
        .as_object_mut()
        .expect("an object")
        .remove("resourceVersion");
    document["status"]["binding"]["host"] = json!("b");
    assert_eq!(
        fields(&world.request(update(&document)).expect_err("refused")),
        ["status.binding"]
    );
}

#[test]
fn a_status_that_observed_a_generation_to_come_is_refused() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(jail("www", &[], json!({}))).expect("a jail");
    let entry = world.index.get(Kind::Jail, "www").expect("there");
    let mut document = entry.document();
    document["status"]["observedGeneration"] = json!(99);
    let update = Request::Update {
        kind: Kind::Jail,
        document,
        through: Through::Status,
        manager: "m".to_owned(),
    };
    let refused = world.request(update).expect_err("it is at 1");
    assert_eq!(fields(&refused), ["status.observedGeneration"]);
}

#[test]
fn managed_fields_name_list_entries_by_their_keys() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(bridge("lan")).expect("a network");
    world
        .apply(jail("www", &["lan"], json!({})))
        .expect("a jail");
    let entries = &world.jail("www").metadata.managed_fields;
    assert_eq!(entries.len(), 1);
    assert_eq!(
        (entries[0].manager.as_str(), entries[0].operation.as_str()),
        ("jailctl", "Apply")
    );
    let networks = &entries[0].fields_v1["f:spec"]["f:networks"];
    assert_eq!(
        networks[r#"k:{"interface":"lan"}"#],
        json!({".": {}, "f:interface": {}, "f:network": {}}),
        "{networks}"
    );
}

#[test]
fn a_document_beyond_a_mebibyte_is_too_large() {
    let mut world = World::new();
    let mut document = host("a");
    document["metadata"]["annotations"] = json!({"a": "x".repeat(DOCUMENT_BYTES_MAX)});
    assert_eq!(
        world.apply(document).expect_err("too large").reason,
        Reason::TooLarge
    );
}

#[test]
fn mistakes_of_form_of_rules_and_towards_others_come_at_once() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(shared("inside")).expect("a network");
    let dick =
        json!({"host": "a", "networks": [{"network": "inside", "addresses": ["192.0.2.4"]}]});
    world.apply(jail("dick", &[], dick)).expect("the first");
    let rejection = world
        .apply(jail(
            "harry",
            &[],
            json!({
                "hots": "a", "host": "a", "jailName": "12", "parameters": {"securelevel": [1]},
                "networks": [{"network": "inside", "addresses": ["192.0.2.4"]}],
            }),
        ))
        .expect_err("four things are wrong");
    let mut found = fields(&rejection);
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "spec.hots",
            "spec.jailName",
            "spec.networks[0].addresses[0]",
            "spec.parameters[securelevel][0]"
        ]
    );
}

#[test]
fn a_swap_is_refused_with_what_to_do() {
    let mut world = World::with_hosts(&["a", "b"]);
    world.apply(bridge("lan")).expect("a network");
    let at = |name: &str, host: &str, address: &str| {
        let networks = json!([{"network": "lan", "addresses": [address]}]);
        jail(name, &[], json!({"host": host, "networks": networks}))
    };
    world.apply(at("one", "a", "10.30.0.20")).expect("a jail");
    world.apply(at("two", "b", "10.30.0.21")).expect("a jail");
    let swapped = [at("one", "a", "10.30.0.21"), at("two", "b", "10.30.0.20")];
    let together = std::sync::Arc::new(crate::rules::Together::of(
        swapped.iter().map(|document| (Kind::Jail, document)),
    ));
    for document in swapped.clone() {
        let request = Request::Apply {
            kind: Kind::Jail,
            document,
            through: Through::Object,
            manager: "m".to_owned(),
            force: true,
            together: together.clone(),
        };
        let rejection = world.request(request).expect_err("both are in use");
        let violation = &rejection.violations[0];
        assert!(
            violation.message.contains("in this very apply"),
            "{violation}"
        );
        assert!(
            violation.help.contains("wait until it is Ready"),
            "{violation}"
        );
    }
    // What it says to do leads there.
    let [one, two] = swapped;
    world
        .apply(at("two", "b", "10.30.0.22"))
        .expect("for the time being");
    world.report("b");
    world.apply(one).expect("it is free");
    world.report("a");
    world.apply(two).expect("it is free");
}

#[test]
fn what_is_too_large_is_not_looked_through() {
    let world = World::with_hosts(&["a"]);
    let mut document = jail("www", &[], json!({}));
    document["spec"]["rooot"] = "x".repeat(2 << 20).into();
    for validation in [Validation::Warn, Validation::Ignore] {
        let request = Request::Create {
            kind: Kind::Jail,
            document: document.clone(),
            manager: "test".to_owned(),
        };
        let refused = without_unknown(request, validation).expect_err("too large");
        assert_eq!(refused.reason, Reason::TooLarge);
    }
    document["spec"]["rooot"] = "x".into();
    let request = Request::Create {
        kind: Kind::Jail,
        document,
        manager: "test".to_owned(),
    };
    let now = Now {
        timestamp: jiff::Timestamp::UNIX_EPOCH,
        new_uid: cellblock_schemas::Uid("u".to_owned()),
    };
    let admitted = admit_as(&world.index, request, Validation::Warn, &now).expect("a jail");
    let told = admitted.warnings.iter();
    let told: Vec<_> = told
        .filter(|one| one.message.contains("spec.rooot"))
        .collect();
    assert_eq!(told.len(), 1);
}

#[test]
fn a_dependency_is_reversed_in_one_apply() {
    let mut world = World::with_hosts(&["a"]);
    let waits = |name: &str, others: &[&str]| jail(name, &[], json!({"dependsOn": others}));
    world.apply(waits("db", &[])).expect("a jail");
    world.apply(waits("web", &["db"])).expect("a jail");
    let mut apply = |documents: &[serde_json::Value]| {
        let together = std::sync::Arc::new(crate::rules::Together::of(
            documents.iter().map(|document| (Kind::Jail, document)),
        ));
        let requests = documents.iter().map(|document| Request::Apply {
            kind: Kind::Jail,
            document: document.clone(),
            through: Through::Object,
            manager: "jailctl".to_owned(),
            force: true,
            together: together.clone(),
        });
        let admitted: Result<Vec<_>, _> = requests.map(|one| world.request(one)).collect();
        admitted.map(|_| world.reconcile())
    };
    apply(&[waits("db", &["web"]), waits("web", &[])]).expect("no circle in the end");
    let refused = apply(&[waits("web", &["app"]), waits("app", &["db"])]).expect_err("a circle");
    assert_eq!(refused.violations[0].field, "spec.dependsOn[0]");
    assert_eq!(world.scheduled("db").1, "Bound");
}

#[test]
fn who_takes_away_what_others_depend_on_is_told() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(jail("db", &[], json!({}))).expect("a jail");
    for name in ["app", "web"] {
        let waits = jail(name, &[], json!({"dependsOn": ["db"]}));
        world.apply(waits).expect("a jail");
    }
    let stopped = jail("db", &[], json!({"runPolicy": "Stopped"}));
    let said = world.apply(stopped).expect("it may be stopped").warnings;
    let said: Vec<_> = said
        .iter()
        .filter(|warning| warning.message.starts_with("jails app, web depend on it"))
        .map(|warning| warning.field.as_str())
        .collect();
    assert_eq!(said, ["spec.runPolicy"]);
    world.delete(Kind::Jail, "web").expect("it may go");
    world.report("a");
    let said = world.delete(Kind::Jail, "db").expect("it may go").warnings;
    assert!(said[0].message.starts_with("jail app depends on it"));
}

/// Refusals come before warnings, and what is the same is seen in the form in which it is kept.
#[test]
fn the_order_is_default_validate_warn_canonicalise() {
    let mut world = World::with_hosts(&["a"]);
    world.apply(bridge("lan")).expect("a network");
    // What is not there yet is a warning, beside a mistake nothing of it is said.
    let waits_for = |name: &str| jail("www", &["late"], json!({"dependsOn": [name]}));
    let refused = world.apply(waits_for("www")).expect_err("of itself");
    assert!(
        fields(&refused)
            .iter()
            .all(|field| *field == "spec.dependsOn[0]"),
        "{refused}"
    );
    let admitted = world.apply(waits_for("later")).expect("nothing is wrong");
    let told: Vec<&str> = admitted.warnings.iter().map(|one| &*one.field).collect();
    assert_eq!(told, ["spec.networks[0].network", "spec.dependsOn[0]"]);
    assert_eq!(
        admitted.document["spec"]["networks"][0]["interface"],
        "late"
    );

    let given = |address: &str| {
        let networks = json!([{"network": "lan", "addresses": [address]}]);
        jail("six", &[], json!({"networks": networks}))
    };
    world.apply(given("fd00:30::20")).expect("a jail");
    let again = world.apply(given("FD00:30:0:0::20")).expect("the same one");
    assert_eq!(again.outcome, Outcome::Unchanged);
}
