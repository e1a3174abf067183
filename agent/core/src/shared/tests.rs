use std::collections::BTreeSet;
use std::sync::Arc;

use super::Shared;

#[test]
fn what_somebody_else_holds_stays_as_it_was() {
    let mut ours: Shared<BTreeSet<u32>> = [1].into();
    let theirs = ours.clone();
    assert!(Arc::ptr_eq(&ours.0, &theirs.0));
    ours.insert(2);
    assert_eq!(theirs, [1].into());
    assert_eq!(ours, [1, 2].into());
}

#[test]
fn what_nobody_else_holds_is_changed_in_place() {
    let mut ours: Shared<BTreeSet<u32>> = [1].into();
    let place = Arc::as_ptr(&ours.0);
    ours.insert(2);
    assert_eq!(Arc::as_ptr(&ours.0), place);
}

#[test]
fn it_is_its_value_in_json() {
    let ours: Shared<BTreeSet<u32>> = [1, 2].into();
    let text = serde_json::to_string(&ours).expect("two numbers");
    assert_eq!(text, "[1,2]");
    let read: Shared<BTreeSet<u32>> = serde_json::from_str(&text).expect("two numbers");
    assert_eq!(read, ours);
}
