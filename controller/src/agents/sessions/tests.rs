//! Which session may follow which.

use super::*;

fn session(key: &str, process: &str) -> Session {
    Session {
        key_fingerprint: key.to_owned(),
        address: "192.0.2.1:1".to_owned(),
        controller: "one".to_owned(),
        process: process.to_owned(),
        former: Vec::new(),
    }
}

/// The session of `process` after `present`.
fn next(present: Session, process: &str) -> Result<Session, Session> {
    let mut next = session("key", process);
    succeed(&mut next, present).map(|()| next)
}

#[test]
fn a_process_follows_itself_and_its_predecessors_and_nobody_who_follows_it() {
    let first = session("key", "a");
    let again = next(first.clone(), "a").expect("it reconnects");
    assert_eq!(again.former, [""; 0]);
    let second = next(first.clone(), "b").expect("the agent was started anew");
    assert_eq!(second.former, ["a"]);
    assert_eq!(next(second.clone(), "a"), Err(second.clone()), "both live");
    let third = next(second, "c").expect("started anew");
    assert_eq!(third.former, ["a", "b"]);
    let stranger = session("another key", "d");
    assert_eq!(next(stranger.clone(), "e"), Err(stranger));
}

#[test]
fn an_agent_that_tells_no_process_is_taken_as_before() {
    let former = next(session("key", ""), "b").expect("an update of the agent");
    next(former, "").expect("its old release again");
}

#[test]
fn only_so_many_former_processes_are_remembered() {
    let mut present = session("key", "0");
    for process in 1..100 {
        present = next(present, &process.to_string()).expect("started anew");
    }
    assert_eq!(present.former.len(), FORMER_MAX);
    assert_eq!(present.former.last().map(String::as_str), Some("98"));
}
