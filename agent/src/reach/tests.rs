use std::time::Duration;

use super::{is_here, reach};

/// A time that no test waits for.
const LONG: Duration = Duration::from_secs(3_600);

#[test]
fn a_connection_that_was_begun_before_the_question_is_no_answer() {
    let (reach, mut reached) = reach();
    let before = reached.newest();
    reached.note("connection refused".to_owned());
    reached.answer(before);
    assert_eq!(
        reach.anew(Duration::ZERO),
        Err("no answer came".to_owned()),
        "what was wrong before the question says nothing"
    );
    let question = reached.newest();
    assert_ne!(question, before);
    reached.answer(before);
    reached.note("no route to host".to_owned());
    let asked = std::thread::spawn(move || reach.anew(LONG));
    while reached.newest() == question {
        std::thread::yield_now();
    }
    reached.answer(reached.questions.borrow().to_owned());
    assert_eq!(asked.join().expect("no panic"), Ok(()));
}

#[test]
fn nobody_waits_for_a_session_that_has_ended() {
    let (reach, reached) = reach();
    let asked = std::thread::spawn(move || reach.anew(LONG));
    drop(reached);
    let said = asked.join().expect("no panic");
    assert!(said.expect_err("nobody answers").contains("has ended"));
}

#[tokio::test]
async fn a_controller_on_this_host_is_known_by_its_address() {
    for url in [
        "http://127.0.0.1:7443",
        "https://[::1]:7443",
        "https://localhost",
    ] {
        assert!(is_here(url).await, "{url}");
    }
    for url in ["https://192.0.2.1:7443", "https://[2001:db8::1]", "no URL"] {
        assert!(!is_here(url).await, "{url}");
    }
}
