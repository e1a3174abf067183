//! Which lines are the last.

use super::*;

#[test]
fn the_last_lines_are_kept_whether_the_last_is_finished_or_not() {
    for (text, lines, expected) in [
        ("a\nb\nc\n", 2, "b\nc\n"),
        ("a\nb\nc", 2, "b\nc"),
        ("a\nb\n", 5, "a\nb\n"),
        ("a\n\n\n", 2, "\n\n"),
        ("a\nb\n", 0, ""),
        ("", 3, ""),
        ("\n", 1, "\n"),
    ] {
        let mut bytes = text.as_bytes().to_vec();
        keep_lines(&mut bytes, lines);
        assert_eq!(
            String::from_utf8_lossy(&bytes),
            expected,
            "{text:?} {lines}"
        );
    }
}

#[test]
fn a_log_that_is_cut_begins_with_a_whole_line() {
    let mut bytes = b"rest\nline\n".to_vec();
    whole_lines(&mut bytes);
    assert_eq!(bytes, b"line\n");
    let mut one = b"no end".to_vec();
    whole_lines(&mut one);
    assert_eq!(one, b"no end");
}
