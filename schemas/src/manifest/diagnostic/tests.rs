use super::{Diagnostic, Severity};

fn diagnostic() -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        file: "www.yaml".to_owned(),
        line: 12,
        column: 3,
        length: 8,
        field: "spec.netwroks".to_owned(),
        message: "unknown field `netwroks`".to_owned(),
        help: "did you mean `networks`?".to_owned(),
        excerpt: "  netwroks:".to_owned(),
        excerpt_column: 1,
    }
}

#[test]
fn a_diagnostic_shows_the_line_with_carets() {
    let expected = "error: spec.netwroks: unknown field `netwroks`
  --> www.yaml:12:3
   |
12 |   netwroks:
   |   ^^^^^^^^
   = help: did you mean `networks`?";
    assert_eq!(diagnostic().render(false), expected);
    let colored = diagnostic().render(true);
    assert!(colored.starts_with("\u{1b}[1;31merror"));
    assert_ne!(colored, expected);
}

#[test]
fn control_characters_never_reach_the_terminal() {
    let hostile = Diagnostic {
        message: "a\u{1b}[31mb\nc".to_owned(),
        excerpt: "x:\t\u{1b}]0;evil\u{7}".to_owned(),
        file: "a\u{1b}b".to_owned(),
        ..diagnostic()
    };
    assert!(
        hostile
            .render(false)
            .chars()
            .all(|c| c == '\n' || !c.is_control())
    );
}

#[test]
fn long_lines_are_cut_around_the_place() {
    let long = Diagnostic {
        excerpt: format!("{}here{}", "a".repeat(500), "b".repeat(500)),
        column: 501,
        length: 4,
        ..diagnostic()
    };
    let text = long.render(false);
    assert!(
        text.lines().all(|line| line.chars().count() < 140),
        "{text}"
    );
    let lines: Vec<&str> = text.lines().collect();
    let at = lines[4].find('^').expect("carets");
    assert_eq!(
        lines[3].chars().skip(at).take(4).collect::<String>(),
        "here"
    );
}

#[test]
fn a_place_behind_the_end_of_the_line_still_has_a_caret() {
    let behind = Diagnostic {
        column: 400,
        length: 50,
        excerpt: String::new(),
        ..diagnostic()
    };
    assert!(behind.render(false).contains('^'));
}
