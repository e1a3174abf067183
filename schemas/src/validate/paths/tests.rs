use super::{absolute, dataset, is_below};

#[test]
fn paths_are_absolute_and_plain() {
    for path in ["/jails/www", "/a", "/usr/local/jails/a-b_c.d:e@f,g+h=i~j"] {
        assert!(absolute(path).is_ok(), "{path}");
    }
    let long = "/abc".repeat(256);
    let component = format!("/{}", "a".repeat(256));
    assert!(absolute(&component[..256]).is_ok());
    for path in [
        "",
        "/",
        "jails",
        "./a",
        "/a/../b",
        "/a/./b",
        "/a//b",
        "/a/",
        "/a b",
        "/a\tb",
        "/a\nb",
        "/a\"b",
        "/a'b",
        "/a\0b",
        "/a$b",
        "/a;b",
        "/a#b",
        "/a*",
        "/a{b}",
        "/a\\b",
        "/ü",
        "/\u{a0}",
        long.as_str(),
        component.as_str(),
    ] {
        assert!(absolute(path).is_err(), "{path:?}");
    }
}

#[test]
fn datasets_are_named_as_zfs_names_them() {
    assert!(dataset("zroot/cellblock").is_ok());
    for name in [
        "",
        "/zroot",
        "zroot/",
        "zroot//a",
        "zroot/a@b",
        "zroot/a b",
        "0a",
        "zroot/..",
    ] {
        assert!(dataset(name).is_err(), "{name}");
    }
}

#[test]
fn below_counts_whole_components() {
    assert!(is_below("/jails/www", "/jails"));
    assert!(is_below("/jails", "/jails"));
    assert!(!is_below("/jails2", "/jails"));
}
