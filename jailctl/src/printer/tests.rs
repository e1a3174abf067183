//! What somebody else wrote reaches the terminal as text.

use super::*;

#[test]
fn only_colours_survive_of_control_sequences() {
    for (text, expected) in [
        ("\x1b[1;31merror\x1b[0m: x", "\x1b[1;31merror\x1b[0m: x"),
        ("\x1b]0;title\x07x", "]0;titlex"),
        ("a\x1b[2Jb", "a[2Jb"),
        ("a\x1b[31", "a[31"),
        ("a\x1b", "a"),
        ("a\u{9b}2Jb\r\x08", "a2Jb"),
        (
            "two\n\tlines of jails: \u{fc}",
            "two\n\tlines of jails: \u{fc}",
        ),
    ] {
        assert_eq!(plain(text), expected, "{text:?}");
    }
}
