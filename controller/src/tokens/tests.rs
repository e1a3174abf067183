//! Which files are read, and who is found in them.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn read(text: &str, mode: u32) -> Result<Tokens, String> {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), text).expect("room for it");
    let mode = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(file.path(), mode).expect("it is ours");
    Tokens::read(file.path()).map_err(|error| error.to_string())
}

#[test]
fn users_are_found_by_their_tokens() {
    let text = "s3cret,olga,1,\"cellblock:operators, others\"\n\nother,ci,2\na/+==,\"x, \"\"y\"\"\",3,one\n";
    let tokens = read(text, 0o600).expect("it is right");
    let groups = |token| {
        tokens
            .user(token)
            .map(|user| (user.name.as_str(), user.groups.len()))
    };
    assert_eq!(groups("s3cret"), Some(("olga", 2)));
    assert_eq!(groups("other"), Some(("ci", 0)));
    assert_eq!(groups("a/+=="), Some(("x, \"y\"", 1)));
    for wrong in ["", "s3cre", "s3cret ", "s3cretx", "olga"] {
        assert_eq!(groups(wrong), None, "{wrong}");
    }
}

#[test]
fn a_file_that_others_may_read_or_change_is_refused() {
    for mode in [0o640, 0o604, 0o620, 0o644, 0o666] {
        let refused = read("a,b,c\n", mode).err().unwrap_or_default();
        assert!(refused.contains(&format!("mode {mode:04o}")), "{refused}");
    }
    for mode in [0o600, 0o400] {
        assert!(read("a,b,c\n", mode).is_ok(), "{mode:o}");
    }
}

#[test]
fn a_file_of_another_user_is_refused() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "a,b,c\n").expect("room for it");
    let stranger = 54_321;
    // Only root may give a file away.
    if std::os::unix::fs::chown(file.path(), Some(stranger), None).is_ok() {
        let refused = Tokens::read(file.path()).err().expect("it is not ours");
        assert!(refused.to_string().contains("id 54321"), "{refused}");
    }
}

#[test]
fn what_is_wrong_is_told_by_its_line_and_without_the_token() {
    for (text, said) in [
        ("s3cret,b,c\ns3cret,b\n", ":2: a line has"),
        ("s3cret,b,c,d,e\n", ":1: a line has"),
        (",b,c\n", ":1: the token or"),
        ("s3cret,,c\n", ":1: the token or"),
        ("s3cret,b,c\ns3cret,d,e\n", ":2: the token stands"),
        ("s3cret,b,c,\"d\n", ":1: a quote"),
        ("a,b,c\ns3cret x,d,e\n", ":2: a token is made"),
        ("s3cret\u{e9},d,e\n", ":1: a token is made"),
        ("s3=cret,d,e\n", ":1: a token is made"),
        ("\"s3cret,x\",d,e\n", ":1: a token is made"),
        ("==,d,e\n", ":1: a token is made"),
    ] {
        let refused = read(text, 0o600).err().unwrap_or_default();
        assert!(refused.contains(said), "{text}: {refused}");
        assert!(!refused.contains("s3cret"), "{refused}");
    }
}

#[test]
fn only_bearer_tokens_are_read() {
    assert_eq!(bearer("Bearer a"), Some("a"));
    assert_eq!(bearer("bearer   a "), Some("a"));
    for other in ["Basic a", "Bearer", "Bearer ", "a", ""] {
        assert_eq!(bearer(other), None, "{other}");
    }
}
