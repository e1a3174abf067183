//! What holds for all documents.

use cellblock_schemas::Kind;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{State, applier};
use crate::fields::{Managers, Set};

fn members(of: Vec<(&'static str, Option<Value>)>) -> Value {
    let members: Map<String, Value> = of
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect();
    Value::Object(members)
}

fn labels() -> impl Strategy<Value = Value> {
    proptest::collection::btree_map("[a-d]", "[xy]", 0..4).prop_map(|labels| json!(labels))
}

fn publish() -> impl Strategy<Value = Value> {
    let entry = ("[a-d]", proptest::option::of(1_u16..4), any::<bool>());
    proptest::collection::vec(entry, 0..4).prop_map(|mut entries| {
        let mut seen = std::collections::BTreeSet::new();
        entries.retain(|(name, _, _)| seen.insert(name.clone()));
        let entries = entries.into_iter().map(|(name, port, udp)| {
            members(vec![
                ("name", Some(json!(name))),
                ("ports", port.map(|port| json!([port]))),
                ("protocol", udp.then(|| json!("udp"))),
            ])
        });
        Value::Array(entries.collect())
    })
}

fn depends() -> impl Strategy<Value = Value> {
    proptest::collection::btree_set("[a-d]", 0..4).prop_map(|names| json!(names))
}

/// A part of a jail.
fn part() -> impl Strategy<Value = Value> {
    let option = proptest::option::of::<BoxedStrategy<Value>>;
    (
        option(labels().boxed()),
        option(publish().boxed()),
        option(depends().boxed()),
        proptest::option::of("[ab]"),
    )
        .prop_map(|(labels, publish, depends, host)| {
            let spec = members(vec![
                ("publish", publish.filter(|list| *list != json!([]))),
                ("dependsOn", depends.filter(|list| *list != json!([]))),
                ("host", host.map(|host| json!(host))),
            ]);
            let labels = labels.filter(|labels| *labels != json!({}));
            members(vec![
                ("metadata", labels.map(|labels| json!({"labels": labels}))),
                ("spec", (spec != json!({})).then_some(spec)),
            ])
        })
}

/// Something that somebody did before.
#[derive(Clone, Debug)]
enum Step {
    Apply(u8, Value),
    Update(u8, Value),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (any::<bool>(), 0_u8..3, part()).prop_map(|(applies, who, part)| {
        if applies {
            Step::Apply(who, part)
        } else {
            Step::Update(who, part)
        }
    });
    proptest::collection::vec(step, 0..6)
}

fn after(steps: &[Step]) -> State {
    let mut state = State::new(Kind::Jail);
    for step in steps {
        match step {
            Step::Apply(who, part) => state
                .apply(&format!("m{who}"), part, true)
                .expect("force has its way"),
            Step::Update(who, part) => state.update(&format!("m{who}"), part.clone()),
        }
    }
    state
}

/// Every field that a document states is in the other with the same value.
fn holds(document: &Value, stated: &Value) -> bool {
    let mut state = State::new(Kind::Jail);
    state.live = document.clone();
    state.apply("looker", stated, false).expect("nobody else");
    let sorted = |value: &Value| {
        let mut value = value.clone();
        sort(&mut value);
        value
    };
    sorted(&state.live) == sorted(document)
}

fn sort(value: &mut Value) {
    match value {
        Value::Array(items) => {
            items.iter_mut().for_each(sort);
            items.sort_by_key(Value::to_string);
        }
        Value::Object(members) => {
            members.values_mut().for_each(sort);
            members.sort_keys();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

proptest! {
    #[test]
    fn applying_twice_is_applying_once(before in steps(), stated in part()) {
        let mut once = after(&before);
        once.apply("m", &stated, true).expect("by force");
        let mut twice = once.clone();
        twice.apply("m", &stated, false).expect("no conflict with oneself");
        prop_assert_eq!(&once.live, &twice.live);
        prop_assert_eq!(once.managers.write(), twice.managers.write());
    }

    #[test]
    fn what_is_applied_is_there_and_owned(before in steps(), stated in part()) {
        let mut state = after(&before);
        state.apply("m", &stated, true).expect("by force");
        prop_assert!(holds(&state.live, &stated), "{:?} lacks some of {stated:?}", state.live);
        let mut alone = State::new(Kind::Jail);
        alone.apply("m", &stated, false).expect("nobody else");
        prop_assert_eq!(state.owned("m"), alone.owned("m"));
    }

    #[test]
    fn letting_go_of_everything_leaves_the_others_what_is_theirs(before in steps(), stated in part()) {
        let mut state = after(&before);
        let owned = |state: &State| -> Vec<Set> {
            (0..3).filter_map(|who| state.managers.fields_of(&applier(&format!("m{who}"))).cloned()).collect()
        };
        if state.apply("m", &stated, false).is_err() {
            return Ok(());
        }
        let theirs = owned(&state);
        state.apply("m", &json!({}), false).expect("nothing is stated");
        prop_assert_eq!(theirs, owned(&state));
        prop_assert!(state.managers.fields_of(&applier("m")).is_none_or(Set::is_empty));
    }

    #[test]
    fn a_lone_manager_leaves_nothing_behind(first in part(), second in part()) {
        let mut state = State::new(Kind::Jail);
        state.apply("m", &first, false).expect("alone");
        state.apply("m", &second, false).expect("alone");
        let mut direct = State::new(Kind::Jail);
        direct.apply("m", &second, false).expect("alone");
        sort(&mut state.live);
        sort(&mut direct.live);
        prop_assert_eq!(state.live, direct.live);
    }

    #[test]
    fn managers_of_different_fields_can_come_in_any_order(one in part(), other in part()) {
        // Made disjoint: one has the labels and the entries of its own letters, the other the rest.
        let one = json!({"metadata": {"labels": one["metadata"]["labels"]}});
        let other = json!({"spec": {"publish": other["spec"]["publish"], "dependsOn": other["spec"]["dependsOn"]}});
        let clean = |mut value: Value| {
            cellblock_schemas::structural::prune_nulls(&mut value);
            value
        };
        let (one, other) = (clean(one), clean(other));
        let run = |order: [(&str, &Value); 2]| {
            let mut state = State::new(Kind::Jail);
            for (name, stated) in order {
                state.apply(name, stated, false).expect("disjoint");
            }
            sort(&mut state.live);
            (state.live.clone(), state.owned("one"), state.owned("other"))
        };
        prop_assert_eq!(run([("one", &one), ("other", &other)]), run([("other", &other), ("one", &one)]));
    }

    #[test]
    fn sets_survive_being_written(before in steps()) {
        let state = after(&before);
        let written = state.managers.clone().write();
        prop_assert_eq!(Managers::read(&written).write(), written);
    }

    #[test]
    fn set_operations_are_those_of_sets(a in part(), b in part()) {
        let set = |part: &Value| {
            let mut state = State::new(Kind::Jail);
            state.apply("m", part, false).expect("alone");
            state.managers.fields_of(&applier("m")).cloned().unwrap_or_default()
        };
        let (a, b) = (set(&a), set(&b));
        let all: Vec<_> = a.union(&b).paths();
        for path in &all {
            let (in_a, in_b) = (a.contains(&path.0), b.contains(&path.0));
            prop_assert!(in_a || in_b);
            prop_assert_eq!(a.intersection(&b).contains(&path.0), in_a && in_b);
            prop_assert_eq!(a.difference(&b).contains(&path.0), in_a && !in_b);
        }
        prop_assert_eq!(a.paths().len() + b.paths().len(), all.len() + a.intersection(&b).paths().len());
    }
}
