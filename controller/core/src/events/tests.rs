use cellblock_schemas::{Kind, Uid};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{About, Happening, Record, Recorder, Severity, observe};
use crate::index::{Event, Index};
use crate::testing::{World, bridge, jail};
use crate::write::{Change, Write};

/// Events of a world whose recorder has seen every write.
struct Watched {
    world: World,
    recorder: Recorder,
    now: Timestamp,
    leading: u64,
    /// Of the last transaction of which something was noted.
    revision: u64,
}

impl Watched {
    fn new(mut world: World) -> Self {
        let mut write = Write::default();
        write.put(world.index.keys().recorder(), b"one".to_vec());
        assert!(world.commit(&write));
        Self {
            leading: world.revision(),
            revision: 1_000,
            world,
            recorder: Recorder::default(),
            now: Timestamp::from_second(1_800_000_000).expect("a second of this century"),
        }
    }

    fn note(&mut self, happening: &Happening) {
        self.revision += 1;
        self.recorder
            .note(happening.clone(), self.revision, self.now);
    }

    /// What a change of the world says.
    fn change(&mut self, change: impl FnOnce(&mut World)) -> Vec<String> {
        let mut before = self.world.index.clone();
        change(&mut self.world);
        let items = self.world.contents().into_iter();
        let items = items.map(|(key, (value, revision))| (key, value, revision));
        let applied = before.replace(self.world.revision(), items.collect::<Vec<_>>());
        let told: Vec<Happening> = applied.events.iter().flat_map(observe).collect();
        let lines = told.iter().map(|one| {
            let about = &one.about;
            let severity = one.severity.as_str();
            format!("{} {} {severity} {}", about.kind, about.name, one.reason)
        });
        lines.collect()
    }

    fn flush(&mut self) -> bool {
        let key = self.world.index.keys().recorder();
        let leading = (key.as_str(), self.leading);
        let Some(flush) = self.recorder.flush(&self.world.index, leading, self.now) else {
            return false;
        };
        assert!(flush.write.changes.len() <= 128);
        if !flush.write.changes.is_empty() {
            assert!(self.world.commit(&flush.write));
        }
        self.recorder.written(&flush);
        true
    }

    fn flush_all(&mut self) {
        while !self.recorder.is_idle() {
            assert!(self.flush());
        }
    }

    fn records(&self) -> Vec<Record> {
        let records = self.world.index.records().oldest();
        records.map(|record| Record::clone(record)).collect()
    }
}

fn happening(name: &str, message: &str) -> Happening {
    Happening {
        about: About {
            kind: "Jail".to_owned(),
            name: name.to_owned(),
            uid: Uid(format!("uid of {name}")),
        },
        severity: Severity::Normal,
        reason: "Running".to_owned(),
        message: message.to_owned(),
        count: 1,
    }
}

#[test]
fn the_life_of_a_jail_is_told() {
    let mut watched = Watched::new(World::with_hosts(&["a"]));
    let apply = |world: &mut World| {
        world.apply(bridge("lan")).expect("a network");
        world
            .apply(jail("www", &["lan"], json!({"host": "a"})))
            .expect("a jail");
    };
    let told = watched.change(apply);
    assert!(
        told.contains(&"Jail www Normal Bound".to_owned()),
        "{told:?}"
    );
    let told = watched.change(|world| world.report("a"));
    assert!(
        told.contains(&"Jail www Normal Verified".to_owned()),
        "{told:?}"
    );
    assert_eq!(watched.change(|world| world.report("a")), [] as [&str; 0]);
    let told = watched.change(|world| world.lose("a"));
    assert_eq!(told, ["Host a Warning SessionLost"]);
    let told = watched.change(|world| {
        world.delete(Kind::Jail, "www").expect("it may go");
    });
    assert!(
        told.contains(&"Jail www Normal Deleting".to_owned()),
        "{told:?}"
    );
    let told = watched.change(|world| world.report("a"));
    assert!(
        told.contains(&"Jail www Normal Deleted".to_owned()),
        "{told:?}"
    );
}

#[test]
fn a_jail_that_fits_nowhere_is_a_warning_and_what_waits_for_time_is_none() {
    let mut watched = Watched::new(World::new());
    let told = watched.change(|world| {
        world.apply(jail("www", &[], json!({}))).expect("a jail");
    });
    assert_eq!(told, ["Jail www Warning NoHosts"]);
}

#[test]
fn what_a_set_does_to_its_jails_is_told_of_the_set() {
    let mut watched = Watched::new(World::with_hosts(&["a"]));
    let set = json!({
            "apiVersion": "cellblock.dev/v1alpha1", "kind": "JailSet",
            "metadata": {"name": "web"},
            "spec": {"replicas": 1, "template": {"spec": {"root": {"path": "/jails/web"}, "host": "a"}}},
    });
    let told = watched.change(|world| {
        world.apply(set).expect("a set");
        world.reconcile();
    });
    assert!(
        told.contains(&"JailSet web Normal JailMade".to_owned()),
        "{told:?}"
    );
    let told = watched.change(|world| {
        world.delete(Kind::JailSet, "web").expect("it may go");
        world.reconcile();
        world.report("a");
        world.reconcile();
    });
    assert!(
        told.contains(&"JailSet web Normal JailGone".to_owned()),
        "{told:?}"
    );
    assert!(
        told.contains(&"JailSet web Normal Deleted".to_owned()),
        "{told:?}"
    );
}

#[test]
fn the_same_again_raises_the_count_also_after_a_restart() {
    let mut watched = Watched::new(World::new());
    watched.note(&happening("www", "it runs"));
    watched.note(&happening("www", "it runs"));
    watched.flush_all();
    watched.now += SignedDuration::from_secs(60);
    watched.world.restart();
    watched.recorder = Recorder::default();
    watched.note(&happening("www", "it runs"));
    watched.note(&happening("db", "it runs"));
    watched.flush_all();
    let records = watched.records();
    assert_eq!(records.len(), 2);
    let www = records.iter().find(|record| record.about.name == "www");
    let www = www.expect("it was told");
    assert_eq!(www.count, 3);
    assert_eq!(www.last.duration_since(www.first).as_secs(), 60);
}

#[test]
fn many_messages_with_one_reason_become_one() {
    let mut watched = Watched::new(World::new());
    for number in 0..20 {
        watched.note(&happening("www", &format!("attempt {number}")));
    }
    watched.flush_all();
    let records = watched.records();
    assert_eq!(records.len(), 11);
    let combined = records.iter().find(|record| record.count == 10);
    let message = &combined.expect("ten are one").message;
    assert_eq!(message, "(combined from similar events): attempt 19");
}

#[test]
fn an_object_that_flaps_is_limited_and_what_is_left_out_is_counted() {
    let mut watched = Watched::new(World::new());
    for _ in 0..100 {
        watched.note(&happening("www", "it runs"));
    }
    watched.flush_all();
    assert_eq!(watched.recorder.dropped(), 75);
    let count = |watched: &Watched, reason: &str| {
        let records = watched.records();
        let mut found = records.iter().filter(|record| record.reason == reason);
        found.next().map(|record| record.count)
    };
    assert_eq!(count(&watched, "Running"), Some(25));
    assert_eq!(count(&watched, "EventsDropped"), Some(75));
    // One more every five minutes.
    watched.now += SignedDuration::from_secs(301);
    watched.note(&happening("www", "it runs"));
    watched.note(&happening("www", "it runs"));
    watched.flush_all();
    assert_eq!(count(&watched, "Running"), Some(26));
    assert_eq!(count(&watched, "EventsDropped"), Some(76));
}

#[test]
fn a_storm_of_ten_thousand_jails_is_bounded_everywhere() {
    let mut watched = Watched::new(World::new());
    for number in 0..10_000 {
        watched.note(&happening(&format!("j{number}"), "it runs"));
    }
    watched.flush_all();
    assert_eq!(
        watched.recorder.dropped(),
        8_001,
        "one gave way to the warning"
    );
    assert_eq!(watched.records().len(), 2_000);
    for round in 0..4 {
        for number in 0..1_900 {
            watched.note(&happening(&format!("k{round}-{number}"), "it runs"));
        }
        watched.now += SignedDuration::from_secs(1);
        watched.flush_all();
    }
    assert_eq!(watched.records().len(), 5_000, "the oldest went");
    let records = watched.records();
    assert_eq!(records[0].reason, "EventsDropped", "warnings stay");
    let oldest = &records[1].about.name;
    assert!(oldest.starts_with('k'), "{oldest}");
}

#[test]
fn of_one_object_only_the_newest_stay() {
    let mut watched = Watched::new(World::new());
    for number in 0..200 {
        let mut one = happening("www", "it runs");
        one.reason = format!("Reason{number}");
        // The limit of what is told of one object at once is another test's.
        watched.recorder = Recorder::default();
        watched.now += SignedDuration::from_secs(1);
        watched.note(&one);
        watched.flush_all();
    }
    let records = watched.records();
    let reasons: Vec<&str> = records
        .iter()
        .map(|record| record.reason.as_str())
        .collect();
    assert_eq!(reasons.len(), 50);
    assert_eq!((reasons[0], reasons[49]), ("Reason150", "Reason199"));
}

#[test]
fn what_is_old_goes() {
    let mut watched = Watched::new(World::new());
    watched.note(&happening("www", "it runs"));
    watched.flush_all();
    watched.now += SignedDuration::from_mins(59);
    assert!(!watched.flush());
    watched.now += SignedDuration::from_mins(2);
    assert!(watched.flush());
    assert_eq!(watched.records(), []);
}

#[test]
fn who_lost_the_lead_writes_nothing() {
    let mut watched = Watched::new(World::new());
    let mut write = Write::default();
    write.put(watched.world.index.keys().recorder(), b"two".to_vec());
    assert!(watched.world.commit(&write));
    watched.note(&happening("www", "it runs"));
    let key = watched.world.index.keys().recorder();
    let flush = watched
        .recorder
        .flush(&watched.world.index, (&key, watched.leading), watched.now)
        .expect("there is something");
    assert!(!watched.world.commit(&flush.write));
}

#[test]
fn what_was_noted_before_taking_over_is_not_told_twice() {
    let mut watched = Watched::new(World::new());
    watched.note(&happening("www", "it runs"));
    watched.flush_all();
    // Another process saw the same, and takes over.
    let mut other = Recorder::default();
    let (revision, ahead) = (watched.revision, watched.now + SignedDuration::from_secs(2));
    other.note(happening("www", "it runs"), revision, ahead);
    other.note(happening("db", "it runs"), revision + 1, ahead);
    watched.recorder = other;
    watched.flush_all();
    let records = watched.records();
    let counts = records.iter().map(|record| record.count);
    assert_eq!(counts.collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn a_record_is_found_again_after_it_was_read_from_the_store() {
    let mut watched = Watched::new(World::new());
    watched.note(&happening("www", "it runs"));
    let key = watched.world.index.keys().recorder();
    let flush = watched
        .recorder
        .flush(&watched.world.index, (&key, watched.leading), watched.now)
        .expect("there is something");
    let mut index = Index::new(watched.world.index.cluster().clone());
    let events = flush.write.changes.iter().map(|change| match change {
        Change::Put(key, value) => Event::Put {
            key: key.clone(),
            value: value.clone(),
            modified: 7,
        },
        Change::Delete(key) => Event::Delete { key: key.clone() },
    });
    assert_eq!(index.apply(7, events).unreadable, []);
    let uid = Uid("uid of www".to_owned());
    let (record, revision) = index.records().of(&uid).next().expect("it is there");
    assert_eq!((record.count, revision), (1, 7));
    let document = record.document(revision);
    assert_eq!(document["involvedObject"]["name"], json!("www"));
    assert_eq!(document["metadata"]["resourceVersion"], json!("7"));
}

#[test]
fn what_is_told_again_after_its_time_begins_anew() {
    let mut watched = Watched::new(World::new());
    for name in ["www", "db"] {
        watched.note(&happening(name, "it runs"));
        watched.note(&happening(name, "it runs"));
    }
    watched.flush_all();
    watched.now += SignedDuration::from_mins(61);
    watched.note(&happening("www", "it runs"));
    watched.flush_all();
    let records = watched.records();
    let counts = records
        .iter()
        .map(|record| (&*record.about.name, record.count));
    assert_eq!(counts.collect::<Vec<_>>(), [("www", 1)]);
    assert_eq!(records[0].first, watched.now);
}

#[test]
fn what_is_told_again_is_not_pushed_out_by_what_comes_before_it() {
    let mut watched = Watched::new(World::new());
    let numbered = |number: u32| Happening {
        reason: format!("Reason{number}"),
        ..happening("www", "it runs")
    };
    for number in 0..50 {
        watched.recorder = Recorder::default();
        watched.now += SignedDuration::from_secs(1);
        watched.note(&numbered(number));
        watched.flush_all();
    }
    watched.recorder = Recorder::default();
    watched.now += SignedDuration::from_secs(1);
    for number in [50, 51, 0, 1] {
        watched.note(&numbered(number));
    }
    watched.flush_all();
    let records = watched.records();
    assert_eq!(records.len(), 50);
    let again = records.iter().filter(|record| record.count == 2);
    let again: std::collections::BTreeSet<&str> =
        again.map(|record| record.reason.as_str()).collect();
    assert_eq!(again, ["Reason0", "Reason1"].into());
    assert_eq!(records[0].reason, "Reason4");
}

#[test]
fn what_is_given_up_is_counted_and_waits_no_more() {
    let mut watched = Watched::new(World::new());
    watched.note(&happening("www", "it runs"));
    watched.note(&happening("www", "it runs"));
    let key = watched.world.index.keys().recorder();
    let flush = watched
        .recorder
        .flush(&watched.world.index, (&key, watched.leading), watched.now)
        .expect("there is something");
    watched.recorder.give_up(&flush);
    watched.note(&happening("db", "it runs"));
    watched.flush_all();
    let records = watched.records();
    let counts = records.iter().map(|record| (&*record.reason, record.count));
    let counts: std::collections::BTreeMap<_, _> = counts.collect();
    assert_eq!(counts, [("EventsDropped", 2), ("Running", 1)].into());
}

impl Watched {
    fn build(&mut self) -> super::Flush {
        let key = self.world.index.keys().recorder();
        let leading = (key.as_str(), self.leading);
        let flush = self.recorder.flush(&self.world.index, leading, self.now);
        flush.expect("there is something")
    }

    fn count(&self, name: &str) -> Option<u64> {
        let records = self.records();
        let mut found = records.iter().filter(|record| record.about.name == name);
        found.next().map(|record| record.count)
    }
}

#[test]
fn two_recorders_count_by_revisions_whatever_their_clocks_say() {
    for difference in [-120, -1, 0, 1, 120] {
        let mut watched = Watched::new(World::new());
        let mut other = Recorder::default();
        let there = watched.now + SignedDuration::from_secs(difference);
        for revision in 1..=3 {
            let now = watched.now;
            watched
                .recorder
                .note(happening("www", "it runs"), revision, now);
            other.note(happening("www", "it runs"), revision, there);
        }
        watched.flush_all();
        // What the first has noted and not written, the other one tells.
        watched
            .recorder
            .note(happening("www", "it runs"), 4, watched.now);
        other.note(happening("www", "it runs"), 4, there);
        other.note(happening("www", "it runs"), 5, there);
        let former = std::mem::replace(&mut watched.recorder, other);
        watched.now = there;
        watched.flush_all();
        assert_eq!(watched.count("www"), Some(5), "{difference}");
        // The first one comes to record again, with what it still has.
        watched.recorder = former;
        watched.flush_all();
        assert_eq!(watched.count("www"), Some(5), "{difference}");
    }
}

#[test]
fn a_write_of_which_nobody_knows_is_counted_once() {
    let mut watched = Watched::new(World::new());
    watched.note(&happening("www", "it runs"));
    let flush = watched.build();
    let behind = watched.world.index.clone();
    assert!(watched.world.commit(&flush.write));
    // No answer came, and the index has not seen it: the same again is refused, and by the newer index there is nothing to do.
    watched.note(&happening("db", "it runs"));
    let key = behind.keys().recorder();
    let again = watched
        .recorder
        .flush(&behind, (&key, watched.leading), watched.now)
        .expect("it still waits");
    assert!(!watched.world.commit(&again.write));
    watched.flush_all();
    assert_eq!(
        (watched.count("www"), watched.count("db")),
        (Some(1), Some(1))
    );
}

#[test]
fn a_warning_after_a_storm_is_told() {
    let mut watched = Watched::new(World::new());
    let warning = |name: &str| Happening {
        severity: Severity::Warning,
        reason: "StartFailed".to_owned(),
        ..happening(name, "it does not start")
    };
    // Of one object.
    for _ in 0..100 {
        watched.note(&happening("www", "it runs"));
    }
    watched.note(&warning("www"));
    // Of all that waits.
    for number in 0..3_000 {
        watched.note(&happening(&format!("j{number}"), "it runs"));
    }
    watched.note(&warning("db"));
    watched.flush_all();
    // Of all that is kept.
    for round in 0..4 {
        for number in 0..1_900 {
            watched.note(&happening(&format!("k{round}-{number}"), "it runs"));
        }
        watched.now += SignedDuration::from_secs(1);
        watched.flush_all();
    }
    let records = watched.records();
    assert_eq!(records.len(), 5_000);
    let warned = records.iter().filter(|one| one.reason == "StartFailed");
    let warned: Vec<&str> = warned.map(|one| one.about.name.as_str()).collect();
    assert_eq!(warned.len(), 2, "{warned:?}");
    // Among those of one object.
    for number in 0..60 {
        watched.recorder = Recorder::default();
        watched.now += SignedDuration::from_secs(1);
        watched.note(&Happening {
            reason: format!("Reason{number}"),
            ..happening("www", "it runs")
        });
        watched.flush_all();
    }
    let uid = Uid("uid of www".to_owned());
    let mut of_www = watched.world.index.records().of(&uid);
    assert!(of_www.any(|(one, _)| one.severity == Severity::Warning));
}

#[test]
fn a_clock_that_jumps_leaves_nothing_for_good() {
    let mut watched = Watched::new(World::new());
    let right = watched.now;
    watched.now = right + SignedDuration::from_hours(24 * 365);
    watched.note(&happening("www", "it runs"));
    watched.note(&happening("db", "it runs"));
    watched.flush_all();
    // Back: what is from far ahead goes, or begins anew.
    watched.now = right;
    watched.note(&happening("www", "it runs"));
    watched.flush_all();
    let records = watched.records();
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].count, records[0].last), (1, right));
    // A little back: the time of a record never goes back.
    watched.now = right - SignedDuration::from_mins(4);
    watched.note(&happening("www", "it runs"));
    watched.flush_all();
    let records = watched.records();
    assert_eq!((records[0].count, records[0].last), (2, right));
    // Far ahead: what there was is past its time.
    watched.now = right + SignedDuration::from_hours(24);
    watched.note(&happening("www", "it runs"));
    watched.flush_all();
    assert_eq!(watched.count("www"), Some(1));
}

#[test]
fn long_reasons_and_messages_are_cut_and_a_transaction_is_bounded() {
    let mut watched = Watched::new(World::new());
    for number in 0..200 {
        let mut long = happening(&format!("j{number}"), &"\u{1}".repeat(100_000));
        long.reason = "R".repeat(1_000);
        watched.note(&long);
    }
    while !watched.recorder.is_idle() {
        let flush = watched.build();
        let sizes = flush.write.changes.iter().map(|change| match change {
            Change::Put(_, value) => value.len(),
            Change::Delete(_) => 0,
        });
        assert!(sizes.sum::<usize>() < 600 << 10);
        assert!(watched.world.commit(&flush.write));
        watched.recorder.written(&flush);
    }
    let records = watched.records();
    assert_eq!(records.len(), 200);
    assert!(records[0].message.len() <= 1_024 && records[0].reason.len() <= 128);
}

#[test]
fn what_two_recorders_find_in_snapshots_of_their_own_counts_once() {
    // Written at 10 and removed at 12: seen as it happened, or found in a snapshot.
    type Seen = fn(&mut Recorder, Timestamp);
    let lived: Seen = |recorder, now| recorder.note(happening("www", "it is gone"), 12, now);
    let early: Seen =
        |recorder, now| recorder.note_found(happening("www", "it is gone"), 10, 13, now);
    let late: Seen =
        |recorder, now| recorder.note_found(happening("www", "it is gone"), 10, 15, now);
    for (first, second) in [
        (lived, early),
        (early, lived),
        (early, late),
        (late, early),
        (lived, lived),
    ] {
        let mut watched = Watched::new(World::new());
        let mut other = Recorder::default();
        first(&mut watched.recorder, watched.now);
        second(&mut other, watched.now);
        watched.flush_all();
        watched.recorder = other;
        watched.flush_all();
        assert_eq!(watched.count("www"), Some(1));
        // What comes after either counts.
        let now = watched.now;
        watched
            .recorder
            .note(happening("www", "it is gone"), 16, now);
        watched.flush_all();
        assert_eq!(watched.count("www"), Some(2));
    }
}
