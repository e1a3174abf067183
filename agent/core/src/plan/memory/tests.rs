//! What is remembered is what planning anew says, and nothing that differs is taken for the same.

use cellblock_schemas::jail::JailSpec;
use cellblock_schemas::view::JailView;

use super::*;
use crate::execute::Unkept;
use crate::ledger::Change;
use crate::observed::{Interface, Vnet};

fn settings() -> Settings {
    Settings {
        folder: "/var/db/cellblock".to_owned(),
    }
}

/// A host where the one jail of the view is blocked: its plan is not empty, and has no steps.
fn blocked() -> (Arc<HostView>, Observed, Ledger) {
    let jail = JailView {
        name: "a".to_owned(),
        uid: Uid("a".to_owned()),
        spec: JailSpec::default(),
        ..JailView::default()
    };
    let view = HostView {
        jails: BTreeMap::from([(jail.uid.clone(), jail)]),
        ..HostView::default()
    };
    (Arc::new(view), Observed::default(), Ledger::new())
}

#[test]
fn the_same_host_has_the_same_plan_and_is_not_planned_again() {
    let (view, observed, ledger) = blocked();
    let expected = plan(&view, &observed, &ledger, &settings());
    assert_eq!(expected.blocked.len(), 1, "{expected:?}");
    let mut remembered = Remembered::default();
    for _ in 0..2 {
        let look = Arc::new(observed.clone());
        let again = remembered.plan(&view, &look, &ledger, &settings());
        assert_eq!(again, expected);
    }
    let last = remembered.last.expect("a plan without steps is remembered");
    assert!(last.is_of(&Arc::new((*view).clone()), &observed, &ledger, &settings()));
}

#[test]
fn whatever_differs_is_planned_anew() {
    let (view, observed, ledger) = blocked();
    let mut remembered = Remembered::default();
    let _ = remembered.plan(&view, &Arc::new(observed.clone()), &ledger, &settings());
    let last = remembered.last.expect("a plan without steps is remembered");
    let mut inside = observed.clone();
    inside.vnets.insert(
        1,
        Vnet {
            interfaces: vec![Interface::default()],
            ..Vnet::default()
        },
    );
    assert!(!last.is_of(&view, &inside, &ledger, &settings()));
    let other_view = Arc::new(HostView::default());
    assert!(!last.is_of(&other_view, &observed, &ledger, &settings()));
    let interface = "igb0".to_owned();
    for change in [
        Change::Own(Owned::BroughtUp { interface }),
        Change::KnowJail(Uid("a".to_owned()), OwnedJail::default()),
        Change::EnterBoot("2".to_owned()),
        Change::Approve,
    ] {
        let mut changed = ledger.clone();
        let is_new = changed.commit(vec![change], &mut Unkept);
        assert!(is_new.expect("no file never fails"));
        assert!(!last.is_of(&view, &observed, &changed, &settings()));
    }
    let elsewhere = Settings {
        folder: "/elsewhere".to_owned(),
    };
    assert!(!last.is_of(&view, &observed, &ledger, &elsewhere));
}

#[test]
fn a_plan_with_steps_is_not_remembered() {
    let (view, mut observed, ledger) = blocked();
    observed.pf.loaded = true;
    observed
        .pf
        .anchors
        .insert("cellblock/j01".to_owned(), String::new());
    let mut remembered = Remembered::default();
    let plan = remembered.plan(&view, &Arc::new(observed), &ledger, &settings());
    assert_eq!(plan.steps.len(), 1, "{plan:?}");
    assert!(remembered.last.is_none());
}
