//! Which texts are matches of users and groups.

use super::{IdMatch, Relation};

#[test]
fn matches_are_read_as_pf_conf_has_them() {
    for (text, expected) in [
        ("root", IdMatch::One(Relation::Equal, "root")),
        ("= 0", IdMatch::One(Relation::Equal, "0")),
        ("!= www", IdMatch::One(Relation::NotEqual, "www")),
        ("> 1000", IdMatch::One(Relation::More, "1000")),
        (">=1000", IdMatch::One(Relation::MoreOrEqual, "1000")),
        ("< 1000", IdMatch::One(Relation::Less, "1000")),
        ("<= 1000", IdMatch::One(Relation::LessOrEqual, "1000")),
        ("1000:1999", IdMatch::Within("1000", "1999")),
        ("1000 >< 2000", IdMatch::Between("1000", "2000")),
        ("1000<>2000", IdMatch::Outside("1000", "2000")),
    ] {
        assert_eq!(IdMatch::parse(text), Some(expected), "{text}");
    }
}

#[test]
fn nothing_else_is_one() {
    for text in [
        "",
        ">",
        "-1",
        "unknown",
        "4294967295",
        "99999999999",
        "a b",
        "{ a, b }",
        "root keep state",
        "1:2:3",
        "a\nb",
        "\"root\"",
        "> > 5",
    ] {
        assert_eq!(IdMatch::parse(text), None, "{text}");
    }
}
