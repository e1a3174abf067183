//! A watch that is taken up again shows nothing twice and leaves nothing out.

use serde_json::json;

use super::*;

fn stored(name: &str, revision: u64) -> Stored {
    Stored {
        kind: Kind::Jail,
        name: name.to_owned(),
        revision,
        value: json!({}),
    }
}

#[test]
fn what_comes_again_is_passed_over_and_its_neighbour_in_the_transaction_is_not() {
    let mut seen = Seen::new(&[stored("a", 3)], 5);
    assert!(seen.note("b", 7, false), "new");
    assert_eq!(seen.revision, 6, "another object may share revision 7");
    assert!(!seen.note("b", 7, false), "again");
    assert!(seen.note("c", 7, false), "its neighbour");
    assert!(seen.note("a", 8, true), "deleted");
    assert!(!seen.note("a", 8, true), "deleted again");
    assert!(seen.note("a", 9, false), "made anew");
    assert!(!seen.note("x", 9, true), "never shown, so not missed");
}

#[test]
fn a_list_after_a_forgotten_revision_tells_what_is_new_and_what_is_gone() {
    let mut seen = Seen::new(&[stored("a", 3), stored("b", 4)], 5);
    let now = [stored("b", 4), stored("c", 9)];
    let (news, gone) = seen.renew(&now, 10);
    let names: Vec<&str> = news.iter().map(|object| object.name.as_str()).collect();
    assert_eq!(names, ["c"]);
    assert_eq!(gone, ["a"]);
    assert_eq!(seen.revision, 10);
}
