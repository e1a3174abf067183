use super::Action::{Include, Show};
use super::{Action, matches};

#[test]
fn rules_say_what_is_shown() {
    let of_pf = |line| Action::parse(line, "pf");
    assert_eq!(of_pf("100 hide"), Some(Show(false)));
    assert_eq!(of_pf("100 include 1"), Some(Include(1)));
    assert_eq!(of_pf("600 path pf unhide"), Some(Show(true)));
    assert_eq!(
        of_pf("600 path pf* mode 0660 group 0 unhide"),
        Some(Show(true))
    );
    assert_eq!(of_pf("100 path bpf* unhide"), None);
    assert_eq!(of_pf("100 type disk unhide"), None);
    assert_eq!(of_pf("100 path pf mode 600"), None);
}

#[test]
fn patterns_of_device_names() {
    for (pattern, name, expected) in [
        ("pf", "pf", true),
        ("pf", "pfil", false),
        ("p*", "pf", true),
        ("*", "pf", true),
        ("p?", "pf", true),
        ("*pf", "bpf", true),
        ("bpf*", "pf", false),
    ] {
        assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
    }
}
