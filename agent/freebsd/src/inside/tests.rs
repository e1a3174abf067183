use super::{InsideError, parse_jail, parse_libraries};

#[test]
fn only_a_stack_of_its_own_is_entered() {
    assert_eq!(parse_jail("www", "3 1\n").ok(), Some(3));
    assert_eq!(parse_jail("www", "3 new\n").ok(), Some(3));
    for inherited in ["3 2\n", "3 inherit\n", "3 0\n", "3 disable\n"] {
        let found = parse_jail("www", inherited);
        assert!(matches!(found, Err(InsideError::NoStack(_))), "{inherited}");
    }
    for unread in ["", "3\n", "x new\n", "3 new more\n"] {
        let found = parse_jail("www", unread);
        assert!(matches!(found, Err(InsideError::NoJail(_))), "{unread}");
    }
}

#[test]
fn libraries_are_paths() {
    let text = "/lib/libm.so.5\n/lib/libmd.so.7\n/lib/libc.so.7\n/lib/libm.so.5\n[preloaded]\n\t[vdso] (0x7ffffffff650)\n";
    let expected = ["/lib/libm.so.5", "/lib/libmd.so.7", "/lib/libc.so.7"];
    assert_eq!(parse_libraries(text), expected);
}
