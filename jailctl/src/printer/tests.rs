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

#[test]
fn text_of_an_object_is_one_line_that_drives_no_terminal() {
    for (text, expected) in [
        ("plain, with \u{fc}mlaut", "plain, with \u{fc}mlaut"),
        ("\x1b[31mred", "\\u{1b}[31mred"),
        ("two\nlines\r\t", "two\\nlines\\r\\t"),
        ("\u{9b}2J\x07", "\\u{9b}2J\\u{7}"),
        ("a\u{202e}b\u{2028}", "a\\u{202e}b\\u{2028}"),
    ] {
        assert_eq!(visible(text), expected, "{text:?}");
    }
    assert_eq!(lines("a\n\tb\x1b[1mc\r"), "a\n\tb\\u{1b}[1mc\\r");
}

#[test]
fn a_dumb_terminal_takes_no_colours() {
    for (variables, expected) in [
        (&[][..], true),
        (&[("TERM", "xterm-256color")], true),
        (&[("TERM", "dumb")], false),
        (&[("NO_COLOR", "")], true),
        (&[("NO_COLOR", "1"), ("TERM", "xterm")], false),
    ] {
        let found = |name: &str| {
            let mut found = variables.iter().filter(|(known, _)| *known == name);
            found.next().map(|(_, value)| (*value).into())
        };
        assert_eq!(takes_colors(found), expected, "{variables:?}");
    }
}
