//! Words and texts that could do something else in a shell than stand there.

use super::*;

#[test]
fn words_are_quoted_where_a_shell_would_read_more_than_a_word() {
    for (word, expected) in [
        ("cb7x2a", "cb7x2a"),
        ("10.0.2.15/24", "10.0.2.15/24"),
        ("net.inet.ip.forwarding=1", "net.inet.ip.forwarding=1"),
        ("", "''"),
        ("cellblock:c1:u1:bridge lan", "'cellblock:c1:u1:bridge lan'"),
        ("a;reboot", "'a;reboot'"),
        ("$(reboot)", "'$(reboot)'"),
        ("it's", "'it'\\''s'"),
        ("~root", "'~root'"),
        ("a\nb", "'a\nb'"),
    ] {
        assert_eq!(quoted(word), expected, "{word:?}");
    }
}

#[test]
fn a_text_does_not_end_where_a_line_of_it_says_so() {
    let mut text = String::new();
    stdin(&mut text, "cat > /x", "a\nEOF\nreboot\n");
    assert_eq!(text, "cat > /x <<'EOF_'\na\nEOF\nreboot\nEOF_\n");
    let mut text = String::new();
    stdin(&mut text, "cat > /x", "a");
    assert_eq!(text, "cat > /x <<'EOF'\na\nEOF\n");
}

#[test]
fn a_message_of_several_lines_stays_in_comments() {
    let mut text = String::new();
    comment(&mut text, "one\nreboot");
    assert_eq!(text, "# one\n# reboot\n");
}
