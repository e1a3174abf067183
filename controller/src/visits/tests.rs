//! What is refused before anybody is asked, and how many may visit.

use super::*;

fn command(argv: &[&str], user: &str) -> v1::Begin {
    v1::Begin {
        jail: "www".to_owned(),
        uid: String::new(),
        what: Some(What::Command(v1::Command {
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            user: user.to_owned(),
            terminal: None,
        })),
    }
}

#[test]
fn what_the_kernel_could_not_take_is_refused() {
    let long = "x".repeat(WORDS_BYTES_MAX);
    for (begin, expected) in [
        (command(&[], ""), "no program"),
        (command(&["", "a"], ""), "no program"),
        (command(&["a\0b"], ""), "NUL"),
        (command(&[&long], ""), "at most"),
        (command(&vec!["a"; WORDS_MAX + 1], ""), "at most"),
        (command(&["id"], "-x"), "no name of a user"),
        (command(&["id"], "a b"), "no name of a user"),
        (command(&["id"], "a:b"), "no name of a user"),
        (command(&["id"], &"u".repeat(33)), "no name of a user"),
        (v1::Begin::default(), "neither"),
    ] {
        let error = check(&begin).expect_err(expected);
        assert!(error.contains(expected), "{error}");
    }
    check(&command(&["ls", "-l", "a b", ""], "www")).expect("an empty word is one");
}

#[test]
fn a_log_line_has_every_word_in_quotes() {
    let begin = command(&["echo", "a\nINFO a visit ends", "\u{1b}[2J"], "www");
    assert_eq!(
        described(&begin),
        r#"["echo", "a\nINFO a visit ends", "\u{1b}[2J"] as www"#
    );
}

#[test]
fn an_operator_a_jail_and_the_controller_have_so_many_visits_and_no_more() {
    let desk = Desk::default();
    let full = |desk: &Desk, operator: &str, jail: &str| {
        let refused = desk.admit(operator, jail).err();
        refused.map(|error| error.to_string()).unwrap_or_default()
    };
    let of_jail: Vec<_> = (0..16)
        .map(|number| desk.admit(&format!("o{number}"), "www").expect("room"))
        .collect();
    assert!(full(&desk, "olga", "www").contains("jail `www` has 16"));
    drop(of_jail);
    let mut places: Vec<_> = (0..32)
        .map(|number| desk.admit("olga", &format!("j{number}")).expect("room"))
        .collect();
    assert!(full(&desk, "olga", "www").contains("operator `olga` has 32"));
    for number in 0..96 {
        let (operator, jail) = (format!("o{number}"), format!("k{number}"));
        places.push(desk.admit(&operator, &jail).expect("room"));
    }
    assert!(full(&desk, "oskar", "www").contains("128 visits already"));
    places.pop();
    desk.admit("oskar", "www").expect("one has left");
}

#[tokio::test]
async fn who_is_waited_for_is_told_once_and_by_its_own_host() {
    let desk = Desk::default();
    let Waited { id, door } = desk.wait_for("a");
    desk.failed("b", &id, "another host's word".to_owned());
    desk.failed("a", &id, "no way".to_owned());
    desk.failed("a", &id, "again".to_owned());
    let told = door.await.expect("it is told");
    assert_eq!(told.err().as_deref(), Some("no way"));
    let Waited { id, door } = desk.wait_for("a");
    drop(desk.forget_later(&id));
    assert!(door.await.is_err(), "forgotten");
}
