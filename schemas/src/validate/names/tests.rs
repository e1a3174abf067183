use super::{dns_label, host_interface, interface, jail_name, label_value, qualified};

#[test]
fn object_names_are_dns_labels() {
    for name in ["www", "a", "0", "web-01", &"a".repeat(63)] {
        assert!(dns_label(name).is_ok(), "{name}");
    }
    for name in [
        "",
        "Www",
        "a.b",
        "-a",
        "a-",
        "a_b",
        "ü",
        "a/b",
        "..",
        "a b",
        &"a".repeat(64),
    ] {
        assert!(dns_label(name).is_err(), "{name}");
    }
}

#[test]
fn jail_names_are_what_every_tool_takes() {
    for name in ["www", "web_1", "8a", "A-b", &"a".repeat(240)] {
        assert!(jail_name(name).is_ok(), "{name}");
    }
    for name in [
        "",
        "8",
        "08",
        "-5",
        "+5",
        "a.b",
        "a/b",
        "a b",
        "a*",
        "a\"",
        "a'",
        "a\n",
        "a:b",
        "a=b",
        "a,b",
        "$a",
        "-a",
        "ü",
        &"a".repeat(256),
    ] {
        assert!(jail_name(name).is_err(), "{name:?}");
    }
}

#[test]
fn interface_names_fit_the_kernel_and_rc() {
    for name in ["lan0", "wire", "a", "lan-0", "lan_0", &"a".repeat(15)] {
        assert!(interface(name).is_ok(), "{name}");
    }
    for name in [
        "",
        "0",
        "42",
        "lo0",
        "a.b",
        "-a",
        "a b",
        "a/b",
        "0lan",
        "é",
        &"a".repeat(16),
    ] {
        assert!(interface(name).is_err(), "{name:?}");
    }
    assert!(host_interface("igb0.30").is_ok());
    assert!(host_interface("igb 0").is_err());
    assert!(host_interface("").is_err());
}

#[test]
fn keys_and_values_follow_kubernetes() {
    for key in ["zone", "app.kubernetes.io/name", "a_b.c-D"] {
        assert!(qualified(key).is_ok(), "{key}");
    }
    for key in [
        "",
        "/a",
        "a/",
        "a/b/c",
        "-a",
        "A.b_/c",
        "a b",
        &"a".repeat(64),
    ] {
        assert!(qualified(key).is_err(), "{key}");
    }
    for value in ["", "1", "a.b", "A-1"] {
        assert!(label_value(value).is_ok(), "{value}");
    }
    for value in ["a b", "-a", "a/", &"a".repeat(64), "ü"] {
        assert!(label_value(value).is_err(), "{value}");
    }
}
