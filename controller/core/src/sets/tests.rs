use cellblock_schemas::jail_set::REVISION_LABEL;
use cellblock_schemas::report::JailReport;
use cellblock_schemas::{Condition, ConditionStatus, HostReport, JailSetStatus, Kind};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::admit::{Reason, Rejection, Request};
use crate::conditions;
use crate::index::{Entry, Index};
use crate::testing::{World, bridge};
use crate::{fold_report, host_view};

const HOSTS: [&str; 3] = ["a", "b", "c"];

/// A set of jails on the network `lan`, with a parameter that tells its revisions apart.
fn set(replicas: u32, level: i64) -> Value {
    json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "JailSet",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "progressDeadline": "1m",
            "template": {
                "metadata": {"labels": {"role": "web"}},
                "spec": {
                    "root": {"path": "/jails/web"},
                    "networks": [{"network": "lan"}],
                    "parameters": {"securelevel": level},
                },
            },
        },
    })
}

fn world() -> World {
    let mut world = World::with_hosts(&HOSTS);
    world.apply(bridge("lan")).expect("a network");
    world
}

fn report_all(world: &mut World) {
    for host in HOSTS {
        world.report(host);
    }
}

/// Lets the agents realise everything until nothing changes any more.
fn settle(world: &mut World) {
    for _ in 0..30 {
        let before = world.revision();
        world.reconcile();
        report_all(world);
        world.reconcile();
        if world.revision() == before {
            return;
        }
    }
    panic!("it does not settle");
}

fn status(world: &World) -> JailSetStatus {
    let set = world.index.jail_set("web").expect("the set is there");
    set.status.clone().expect("it has a status")
}

fn said(world: &World, kind: &str) -> (ConditionStatus, String, String) {
    let status = status(world);
    let condition = conditions::find(&status.conditions, kind).expect("it is said");
    (
        condition.status,
        condition.reason.clone(),
        condition.message.clone(),
    )
}

fn names(world: &World) -> Vec<String> {
    let jails = world.index.list(Kind::Jail, None);
    jails.map(|entry| entry.name().to_owned()).collect()
}

fn level(world: &World, jail: &str) -> Value {
    json!(world.jail(jail).spec.parameters.get("securelevel"))
}

/// The agent of every host reports what it has, and that jails of that level are not well.
fn report_ill(world: &mut World, ill: i64) {
    for host in HOSTS {
        let view = host_view(&world.index, host).expect("the host is there");
        let jails = view.jails.values().map(|jail| {
            let is_ill = level(world, &jail.name) == json!(ill);
            JailReport {
                uid: jail.uid.clone(),
                observed_generation: jail.generation,
                phase: "Running".to_owned(),
                jid: Some(7),
                interfaces: Vec::new(),
                conditions: vec![Condition {
                    kind: "Ready".to_owned(),
                    status: if is_ill {
                        ConditionStatus::False
                    } else {
                        ConditionStatus::True
                    },
                    reason: if is_ill { "JailFailed" } else { "Verified" }.to_owned(),
                    message: String::new(),
                    observed_generation: jail.generation,
                    last_transition_time: None,
                }],
                gone: jail.deleting,
            }
        });
        let report = HostReport {
            view: view.mark,
            host_generation: view.host_generation,
            full: true,
            jails: jails.collect(),
            ..HostReport::default()
        };
        let now = world.now().timestamp;
        for write in fold_report(&world.index, host, &report, now) {
            assert!(world.commit(&write));
        }
    }
}

#[test]
fn jails_are_made_spread_and_reported() {
    let mut world = world();
    world.apply(set(3, 1)).expect("the set is right");
    settle(&mut world);
    assert_eq!(names(&world), ["web-0", "web-1", "web-2"]);
    let hosts: std::collections::BTreeSet<_> = (0..3)
        .map(|n| {
            world
                .binding(&format!("web-{n}"))
                .expect("bound")
                .host
                .clone()
        })
        .collect();
    assert_eq!(hosts.len(), 3);
    let status = status(&world);
    assert_eq!(
        (
            status.replicas,
            status.ready,
            status.updated,
            status.available
        ),
        (3, 3, 3, 3)
    );
    assert_eq!(status.current_revision, status.update_revision);
    assert_eq!(said(&world, "Ready").1, "Complete");
    assert_eq!(said(&world, "Available").0, ConditionStatus::True);
    let revision = world.revision();
    world.reconcile();
    assert_eq!(
        world.revision(),
        revision,
        "nothing is written when nothing changes"
    );
}

#[test]
fn an_update_goes_jail_by_jail_and_keeps_addresses() {
    let mut world = world();
    world.apply(set(3, 1)).expect("the set is right");
    settle(&mut world);
    let addresses: Vec<_> = (0..3).map(|n| world.address(&format!("web-{n}"))).collect();
    world.apply(set(3, 2)).expect("the set is right");
    world.reconcile();
    let levels = |world: &World| [0, 1, 2].map(|n| level(world, &format!("web-{n}")));
    assert_eq!(levels(&world), [json!(1), json!(1), json!(2)]);
    report_all(&mut world);
    world.reconcile();
    assert_eq!(levels(&world), [json!(1), json!(2), json!(2)]);
    settle(&mut world);
    assert_eq!(levels(&world), [json!(2), json!(2), json!(2)]);
    let now: Vec<_> = (0..3).map(|n| world.address(&format!("web-{n}"))).collect();
    assert_eq!(now, addresses);
    assert_eq!(status(&world).history.len(), 2);
    assert_eq!(said(&world, "Ready").1, "Complete");
}

#[test]
fn an_update_that_never_becomes_healthy_is_undone() {
    let mut world = world();
    world.apply(set(3, 1)).expect("the set is right");
    settle(&mut world);
    let good = status(&world).current_revision;
    world.apply(set(3, 2)).expect("the set is right");
    for _ in 0..40 {
        world.reconcile();
        report_ill(&mut world, 2);
        let ill = (0..3).filter(|n| level(&world, &format!("web-{n}")) == json!(2));
        assert!(
            ill.count() <= 1,
            "no second jail is changed before the first is well"
        );
        world.now();
    }
    world.reconcile();
    for n in 0..3 {
        assert_eq!(level(&world, &format!("web-{n}")), json!(1));
    }
    let after = status(&world);
    assert_eq!(after.current_revision, good);
    assert_eq!(after.failed_revision, after.update_revision);
    let (condition, reason, message) = said(&world, "Progressing");
    assert_eq!(
        (condition, reason.as_str()),
        (ConditionStatus::False, "Undone")
    );
    assert!(message.contains("web-2: JailFailed"), "{message}");
    assert_eq!(said(&world, "Available").0, ConditionStatus::True);
    // Another template begins anew.
    world.apply(set(3, 3)).expect("the set is right");
    settle(&mut world);
    assert_eq!(level(&world, "web-0"), json!(3));
    assert_eq!(said(&world, "Ready").1, "Complete");
    assert_eq!(status(&world).failed_revision, "");
}

#[test]
fn a_pause_holds_an_update_and_not_what_is_missing() {
    let mut world = world();
    world.apply(set(2, 1)).expect("the set is right");
    settle(&mut world);
    let mut paused = set(3, 2);
    paused["spec"]["paused"] = json!(true);
    world.apply(paused).expect("the set is right");
    settle(&mut world);
    assert_eq!(
        [0, 1, 2].map(|n| level(&world, &format!("web-{n}"))),
        [json!(1), json!(1), json!(1)]
    );
    assert_eq!(said(&world, "Progressing").1, "Paused");
    world.apply(set(3, 2)).expect("the set is right");
    settle(&mut world);
    assert_eq!(level(&world, "web-2"), json!(2));
}

#[test]
fn fewer_replicas_take_the_last_ordinals() {
    let mut world = world();
    world.apply(set(3, 1)).expect("the set is right");
    settle(&mut world);
    world.apply(set(1, 1)).expect("the set is right");
    settle(&mut world);
    assert_eq!(names(&world), ["web-0"]);
    assert_eq!(said(&world, "Ready").1, "Complete");
}

#[test]
fn what_somebody_edits_is_put_back_and_what_the_template_does_not_say_stays() {
    let mut world = world();
    world.apply(set(1, 1)).expect("the set is right");
    settle(&mut world);
    let edit = json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "Jail", "metadata": {"name": "web-0"},
        "spec": {"parameters": {"securelevel": 3, "host.hostname": "mine"}},
    });
    world
        .apply_as("somebody", edit, true)
        .expect("a jail can be edited");
    settle(&mut world);
    assert_eq!(level(&world, "web-0"), json!(1));
    assert!(
        world
            .jail("web-0")
            .spec
            .parameters
            .contains_key("host.hostname")
    );
}

#[test]
fn a_deleted_jail_is_made_again() {
    let mut world = world();
    world.apply(set(2, 1)).expect("the set is right");
    settle(&mut world);
    world.delete(Kind::Jail, "web-1").expect("it is there");
    settle(&mut world);
    assert_eq!(names(&world), ["web-0", "web-1"]);
    assert_eq!(status(&world).available, 2);
}

#[test]
fn what_the_set_does_not_own_is_left_alone_and_told() {
    let mut world = world();
    let stranger = crate::testing::jail("web-1", &["lan"], json!({}));
    world.apply(stranger).expect("a jail");
    world.apply(set(2, 1)).expect("the set is right");
    settle(&mut world);
    assert!(world.jail("web-1").metadata.owner_references.is_empty());
    let (status, _, message) = said(&world, "Ready");
    assert_eq!(status, ConditionStatus::False);
    assert!(
        message.contains("jail web-1 is there and does not belong"),
        "{message}"
    );
}

#[test]
fn a_template_that_fits_nowhere_says_so() {
    let mut world = world();
    let mut document = set(2, 1);
    document["spec"]["template"]["spec"]["hostSelector"] = json!({"matchLabels": {"host": "z"}});
    world.apply(document).expect("it may fit later");
    settle(&mut world);
    let (condition, reason, message) = said(&world, "Available");
    assert_eq!(
        (condition, reason.as_str()),
        (ConditionStatus::False, "TooFew")
    );
    assert!(
        message.contains("web-0: NoHostFits: none of 3 hosts fits"),
        "{message}"
    );
}

#[test]
fn jails_that_would_collide_are_refused() {
    let mut world = world();
    let mut document = set(2, 1);
    let template = &mut document["spec"]["template"]["spec"];
    template["host"] = json!("a");
    template["networks"][0]["addresses"] = json!(["10.30.0.20"]);
    template["jailName"] = json!("same");
    let refusal = world.apply(document).expect_err("they would collide");
    let fields: Vec<_> = refusal
        .violations
        .iter()
        .map(|one| one.field.as_str())
        .collect();
    assert_eq!(
        fields,
        [
            "spec.template.spec.jailName",
            "spec.template.spec.networks[0].addresses",
            "spec.template.spec.root",
        ]
    );
}

#[test]
fn a_set_goes_after_its_jails() {
    let mut world = world();
    world.apply(set(2, 1)).expect("the set is right");
    settle(&mut world);
    world.delete(Kind::JailSet, "web").expect("it is there");
    world.reconcile();
    assert!(world.index.jail_set("web").is_some());
    assert_eq!(names(&world), ["web-0", "web-1"]);
    settle(&mut world);
    assert!(world.index.jail_set("web").is_none());
    assert!(names(&world).is_empty());
    let left = world.contents();
    assert!(
        !left.keys().any(|key| key.contains("/guard/sets/")),
        "{:?}",
        left.keys()
    );
}

#[test]
fn an_orphaned_jail_stays() {
    let mut world = world();
    let mut document = set(2, 1);
    document["metadata"]["finalizers"] = json!(["orphan"]);
    world.apply(document).expect("the set is right");
    settle(&mut world);
    world.delete(Kind::JailSet, "web").expect("it is there");
    settle(&mut world);
    assert!(world.index.jail_set("web").is_none());
    assert_eq!(names(&world), ["web-0", "web-1"]);
    assert!(world.jail("web-0").metadata.owner_references.is_empty());
}

#[test]
fn a_host_that_comes_back_has_none_of_the_jails_that_went_elsewhere() {
    let mut world = world();
    world.apply(set(3, 1)).expect("the set is right");
    settle(&mut world);
    let there = world.binding("web-0").expect("bound").host.clone();
    world.lose(&there);
    world.reconcile();
    assert_eq!(status(&world).available, 2, "nobody knows how it is there");
    let mut forgotten = crate::testing::host(&there);
    forgotten["spec"]["forgotten"] = json!(true);
    forgotten["spec"]["uplinks"] = json!({"external": {"interface": "igb0"}});
    // Roots collide with those of the other jails, so make room first.
    world.apply(set(2, 1)).expect("the set is right");
    settle_without(&mut world, &there);
    let mut host = crate::testing::host(&there);
    host["spec"]["forgotten"] = json!(true);
    world.apply(host).expect("the host is lost");
    settle_without(&mut world, &there);
    assert_ne!(world.binding("web-0").expect("bound").host, there);
    assert_eq!(status(&world).available, 2);
    world
        .apply(crate::testing::host(&there))
        .expect("it is approved");
    world.hear(&there);
    let view = host_view(&world.index, &there).expect("the host is there");
    assert!(view.jails.is_empty());
}

fn settle_without(world: &mut World, lost: &str) {
    for _ in 0..10 {
        world.reconcile();
        for host in HOSTS.iter().filter(|host| **host != lost) {
            world.report(host);
        }
    }
    world.reconcile();
}

/// A time at which jails have been ready for long.
fn at(world: &World, seconds: i64) -> jiff::Timestamp {
    let since = status(world).progressed.expect("it has progressed");
    since + jiff::SignedDuration::from_secs(seconds)
}

#[test]
fn a_jail_of_a_host_that_is_not_heard_is_not_touched() {
    let mut world = world();
    world.apply(set(3, 1)).expect("the set is right");
    settle(&mut world);
    let there = world.binding("web-2").expect("bound").host.clone();
    world.lose(&there);
    world.apply(set(3, 2)).expect("the set is right");
    world.reconcile();
    for n in 0..3 {
        assert_eq!(level(&world, &format!("web-{n}")), json!(1));
    }
    world.hear(&there);
    settle(&mut world);
    assert_eq!(level(&world, "web-2"), json!(2));
}

#[test]
fn a_jail_that_is_not_ready_for_long_enough_needs_room() {
    let mut world = world();
    let mut slow = set(3, 1);
    slow["spec"]["minReady"] = json!("50s");
    world.apply(slow.clone()).expect("the set is right");
    world.reconcile();
    report_all(&mut world);
    world.reconcile();
    assert_eq!((status(&world).ready, status(&world).available), (3, 0));
    slow["spec"]["template"]["spec"]["parameters"]["securelevel"] = json!(2);
    world.apply(slow).expect("the set is right");
    world.reconcile();
    for n in 0..3 {
        assert_eq!(level(&world, &format!("web-{n}")), json!(1));
    }
}

#[test]
fn a_clock_alone_undoes_nothing() {
    let mut world = world();
    world.apply(set(3, 1)).expect("the set is right");
    settle(&mut world);
    world.apply(set(3, 2)).expect("the set is right");
    world.reconcile();
    report_ill(&mut world, 2);
    world.reconcile();
    let late = at(&world, 100_000);
    let now = crate::admit::Now {
        timestamp: late,
        new_uid: cellblock_schemas::Uid::default(),
    };
    let mut waiting = super::Waiting::default();
    let second = std::time::Duration::from_secs(1);
    assert_eq!(waiting.look(&world.index, second), []);
    if let Some(write) = super::say(&world.index, "web", None, &now) {
        assert!(world.commit(&write));
    }
    assert_eq!(status(&world).failed_revision, "");
    assert_eq!(waiting.look(&world.index, second * 60), []);
    let item = waiting.look(&world.index, second * 61);
    assert_eq!(item.len(), 1, "a minute was seen");
    let write = crate::reconcile::step(&world.index, &item[0], &now).expect("it is late");
    assert!(world.commit(&write));
    assert_eq!(
        status(&world).failed_revision,
        status(&world).update_revision
    );
    let mut stubborn = set(3, 2);
    stubborn["spec"]["undoOnFailure"] = json!(false);
    world.apply(stubborn).expect("the set is right");
    settle(&mut world);
    assert_eq!(level(&world, "web-0"), json!(2));
    assert_eq!(status(&world).failed_revision, "");
}

#[test]
fn a_jail_that_comes_and_goes_is_no_progress() {
    let mut world = world();
    world.apply(set(3, 1)).expect("the set is right");
    settle(&mut world);
    world.apply(set(3, 2)).expect("the set is right");
    world.reconcile();
    report_ill(&mut world, 2);
    world.reconcile();
    let before = status(&world).progressed;
    let set_of = |world: &World| world.index.jail_set("web").expect("there").clone();
    let mut known = set_of(&world);
    let now = world.now().timestamp;
    let plan = super::Plan::of(&world.index, &known, now);
    known.status.as_mut().expect("a status").available = 0;
    let said = super::status::of(&world.index, &known, &plan, None, now);
    assert_eq!(
        said.progressed, before,
        "one that was available before is again"
    );
}

#[test]
fn who_has_jails_made_again_is_told_and_nothing_undoes_it_by_deleting() {
    let mut world = world();
    let there = |host: &str, level| {
        let mut document = set(1, level);
        document["spec"]["template"]["spec"]["host"] = json!(host);
        document
    };
    world.apply(there("a", 1)).expect("the set is right");
    settle(&mut world);
    let told = world
        .apply(there("a", 2))
        .expect("the set is right")
        .warnings;
    assert!(told.iter().all(|one| one.field != "spec.template"));
    settle(&mut world);
    let good = status(&world).current_revision;
    let told = world
        .apply(there("b", 3))
        .expect("the set is right")
        .warnings;
    let told = told.iter().find(|one| one.field == "spec.template");
    assert!(told.expect("a warning").message.contains("web-0"));
    for _ in 0..100 {
        world.reconcile();
        report_ill(&mut world, 3);
        world.now();
    }
    assert_eq!(status(&world).failed_revision, "");
    assert_eq!(status(&world).current_revision, good);
    assert_eq!(said(&world, "Progressing").1, "DeadlineExceeded");
    assert!(!crate::reconcile::waits_for_time(&world.index));
}

#[test]
fn a_revision_keeps_the_name_that_it_was_recorded_by() {
    let mut world = world();
    world.apply(set(1, 1)).expect("the set is right");
    let mut known = world.index.jail_set("web").expect("it is there").clone();
    assert_eq!(super::revision::of(&known), "fcmbiyc4");
    let recorded = cellblock_schemas::jail_set::Revision {
        name: "former".to_owned(),
        number: 1,
        since: None,
        template: known.spec.template.clone(),
    };
    let kept = JailSetStatus {
        history: vec![recorded],
        ..JailSetStatus::default()
    };
    known.status = Some(kept);
    assert_eq!(super::revision::of(&known), "former");
}

#[test]
fn a_history_that_is_too_large_loses_its_oldest() {
    let mut world = world();
    let mut document = set(1, 1);
    for round in 0..4 {
        let text = format!("{round}{}", "x".repeat(200 * 1024));
        document["spec"]["template"]["metadata"]["annotations"] = json!({"text": text});
        world.apply(document.clone()).expect("the set is right");
        settle(&mut world);
        assert_eq!(said(&world, "Ready").1, "Complete", "round {round}");
    }
    assert_eq!(status(&world).history.len(), 2);
    let text = "x".repeat(257 * 1024);
    document["spec"]["template"]["metadata"]["annotations"] = json!({"text": text});
    world.apply(document).expect_err("it is too large");
}

#[test]
fn stopped_jails_are_available_whatever_min_ready_says() {
    let mut world = world();
    let mut document = set(2, 1);
    document["spec"]["minReady"] = json!("50s");
    document["spec"]["template"]["spec"]["runPolicy"] = json!("Stopped");
    world.apply(document).expect("the set is right");
    world.reconcile();
    let mut known = world.jail("web-0").clone();
    known.status.as_mut().expect("a status").phase = "Stopped".to_owned();
    known.status.as_mut().expect("a status").observed_generation = known.metadata.generation;
    let set = world.index.jail_set("web").expect("it is there");
    let now = jiff::Timestamp::UNIX_EPOCH;
    assert!(super::plan::Member::of(&world.index, set, &known, now).available);
}

#[test]
fn a_jail_is_evicted_when_its_set_can_do_without_it() {
    let mut world = world();
    world.apply(set(3, 1)).expect("the set is right");
    settle(&mut world);
    let evict = |world: &mut World, name: &str| {
        world.request(Request::Evict {
            name: name.to_owned(),
            uid: None,
        })
    };
    let refused = |result: Result<_, Rejection>| result.expect_err("refused").reason;
    evict(&mut world, "web-1").expect("all others are there");
    assert_eq!(refused(evict(&mut world, "web-0")), Reason::TooManyRequests);
    evict(&mut world, "web-1").expect("it goes already");
    assert_eq!(refused(evict(&mut world, "web-9")), Reason::NotFound);
    settle(&mut world);
    // One that is down already takes nothing away from anybody; one that is well does.
    let before = world.jail("web-2").binding().expect("bound").host.clone();
    world.lose(&before);
    world.reconcile();
    assert_eq!(refused(evict(&mut world, "web-0")), Reason::TooManyRequests);
    evict(&mut world, "web-2").expect("nobody hears of it");
    world.hear(&before);
    settle(&mut world);

    let mut named = set(1, 1);
    named["metadata"]["name"] = json!("db");
    named["spec"]["template"]["spec"]["host"] = json!("a");
    named["spec"]["template"]["spec"]["root"]["path"] = json!("/jails/db");
    world.apply(named).expect("the set is right");
    settle(&mut world);
    assert_eq!(refused(evict(&mut world, "db-0")), Reason::BadRequest);
    let alone = json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "Jail", "metadata": {"name": "alone"},
        "spec": {"root": {"path": "/jails/alone"}, "networks": [{"network": "lan"}]},
    });
    world.apply(alone).expect("a jail");
    assert_eq!(refused(evict(&mut world, "alone")), Reason::BadRequest);
}

#[derive(Clone, Debug)]
enum Step {
    Set(u32, i64),
    Delete(usize),
    Edit(usize),
    Report(usize),
    Lose(usize),
    Hear(usize),
    Ill(i64),
    Reconcile,
    /// Steps that another controller decided from the index as it was.
    Stale,
    Remember,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0_u32..4, 0_i64..3).prop_map(|(replicas, level)| Step::Set(replicas, level)),
        1 => (0_usize..3).prop_map(Step::Delete),
        1 => (0_usize..3).prop_map(Step::Edit),
        4 => (0_usize..3).prop_map(Step::Report),
        1 => (0_usize..3).prop_map(Step::Lose),
        2 => (0_usize..3).prop_map(Step::Hear),
        1 => (0_i64..3).prop_map(Step::Ill),
        4 => Just(Step::Reconcile),
        2 => Just(Step::Stale),
        2 => Just(Step::Remember),
        1 => Just(Step::Restart),
    ]
}

/// How many of the jails that shall be there are said to be ready with what they shall be.
fn ready(world: &World, replicas: u32) -> usize {
    let names = (0..replicas).map(|n| format!("web-{n}"));
    let jails = names.filter_map(|name| world.index.get(Kind::Jail, &name));
    jails.filter(|entry| is_ready(entry)).count()
}

fn is_ready(entry: &Entry) -> bool {
    let jail = entry.jail().expect("a jail");
    let found = jail
        .status
        .as_ref()
        .map_or(&[][..], |status| &status.conditions);
    jail.metadata.deletion_timestamp.is_none()
        && conditions::find(found, "Ready").is_some_and(|ready| {
            ready.status == ConditionStatus::True
                && ready.observed_generation == jail.metadata.generation
        })
}

/// How many jails their hosts have said to be down since, which nobody could have known.
fn lost_since(old: &Index, world: &World) -> usize {
    let jails = old.list(Kind::Jail, None);
    let same = jails.filter(|entry| {
        let now = world.index.get(Kind::Jail, entry.name());
        let is_same = |now: &Entry| {
            let (was, is) = (entry.object.metadata(), now.object.metadata());
            was.uid == is.uid && was.generation == is.generation
        };
        now.is_some_and(|now| is_same(now) && is_ready(entry) && !is_ready(now))
    });
    same.count()
}

#[test]
fn who_decides_from_before_a_jail_was_taken_decides_again() {
    let mut world = world();
    world.apply(set(3, 0)).expect("the set is right");
    settle(&mut world);
    let edit = json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "Jail",
        "metadata": {"name": "web-2"}, "spec": {"parameters": {"securelevel": 3}},
    });
    world.apply_as("somebody", edit, true).expect("an edit");
    report_all(&mut world);
    let old = world.index.clone();
    world.delete(Kind::Jail, "web-0").expect("it is there");
    let now = world.now();
    let items = crate::reconcile::due(&old, now.timestamp);
    let member =
        |item: &&crate::reconcile::Item| matches!(item, crate::reconcile::Item::Member(..));
    let item = items.iter().find(member).expect("web-2 is set right");
    let write = crate::reconcile::step(&old, item, &now).expect("a write");
    assert!(!world.commit(&write));
    assert_eq!(ready(&world, 3), 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever happened: in the end there are exactly the jails that shall be, of the newest template, and no write is left.
    /// On the way no controller takes an available jail down while as many are down as may be.
    #[test]
    fn sets_converge_and_never_go_too_far(steps in prop::collection::vec(step(), 1..40)) {
        let mut world = world();
        world.apply(set(3, 0)).expect("the set is right");
        settle(&mut world);
        let mut old = world.index.clone();
        let mut last = (3, 0);
        for step in steps {
            match step {
                Step::Set(replicas, level) => {
                    last = (replicas, level);
                    world.apply(set(replicas, level)).expect("the set is right");
                }
                Step::Delete(n) => drop(world.delete(Kind::Jail, &format!("web-{n}"))),
                Step::Edit(n) => {
                    let name = format!("web-{n}");
                    if world.index.jail(&name).is_some() {
                        let edit = json!({
                            "apiVersion": "cellblock.dev/v1alpha1", "kind": "Jail",
                            "metadata": {"name": name}, "spec": {"parameters": {"securelevel": 3}},
                        });
                        drop(world.apply_as("somebody", edit, true));
                    }
                }
                Step::Report(n) => world.report(HOSTS[n]),
                Step::Lose(n) => world.lose(HOSTS[n]),
                Step::Hear(n) => world.hear(HOSTS[n]),
                Step::Ill(level) => report_ill(&mut world, level),
                Step::Reconcile => {
                    let now = world.now().timestamp;
                    let before = ready(&world, last.0);
                    for item in crate::reconcile::due(&world.index, now) {
                        let now = world.now();
                        if matches!(item, crate::reconcile::Item::Member(..))
                            && let Some(write) = crate::reconcile::step(&world.index, &item, &now)
                        {
                            prop_assert!(world.commit(&write));
                        }
                    }
                    let after = ready(&world, last.0);
                    prop_assert!(
                        after >= before || after + 1 >= last.0 as usize,
                        "{after} of {} are left, there were {before}", last.0
                    );
                    world.reconcile();
                }
                Step::Remember => old = world.index.clone(),
                Step::Restart => world.restart(),
                Step::Stale => {
                    let now = world.now();
                    let lost = lost_since(&old, &world);
                    for item in crate::reconcile::due(&old, now.timestamp) {
                        let replicas = world.index.jail_set("web").map_or(0, |set| set.spec.replicas());
                        let before = ready(&world, replicas);
                        let is_member = matches!(item, crate::reconcile::Item::Member(..));
                        let now = world.now();
                        if let Some(write) = crate::reconcile::step(&old, &item, &now)
                            && world.commit(&write)
                            && is_member
                        {
                            let after = ready(&world, replicas);
                            prop_assert!(
                                after >= before || after + 1 + lost >= replicas as usize,
                                "{item:?} leaves {after} of {replicas}"
                            );
                        }
                    }
                }
            }
            let jails = world.index.list(Kind::Jail, None);
            for entry in jails {
                let jail = entry.jail().expect("a jail");
                prop_assert!(jail.metadata.labels.contains_key(REVISION_LABEL));
                prop_assert_eq!(jail.metadata.owner_references.len(), 1);
            }
        }
        HOSTS.iter().for_each(|host| world.hear(host));
        settle(&mut world);
        let (replicas, wanted) = last;
        let expected: Vec<String> = (0..replicas).map(|n| format!("web-{n}")).collect();
        prop_assert_eq!(names(&world), expected);
        let status = status(&world);
        if status.failed_revision.is_empty() {
            for n in 0..replicas {
                prop_assert_eq!(level(&world, &format!("web-{n}")), json!(wanted));
            }
            prop_assert_eq!(said(&world, "Ready").1, "Complete");
        }
        prop_assert_eq!(status.available, replicas);
        let revision = world.revision();
        world.reconcile();
        prop_assert_eq!(world.revision(), revision);
    }
}
