//! Names of allocations are read back.

use cellblock_controller_core::claim::Resource;

use super::{name_of, resource_of};

#[test]
fn a_name_leads_back_to_what_it_names() {
    for (scope, value) in [
        ("net/lan", "10.30.0.10"),
        ("net/lan/fbsd-01", "192.0.2.3"),
        ("net/lan", "fd00:30::1"),
        ("mac", "02cb00ff"),
        ("port/a", "203.0.113.1,tcp,80-81"),
        ("public/a", "203.0.113.1"),
        ("name/a", "www.example.org"),
        ("root/a", "%2Fjails%2Fwww.v1"),
        ("nic/a", "igb0.7"),
        ("slice/span", "10.40.0.32,27"),
        ("user-ids", "1010000"),
        ("fib", "3"),
    ] {
        let resource = Resource::parse(scope, value).expect("a resource");
        let name = name_of(&resource);
        assert!(!name.contains('/'), "{name}");
        assert_eq!(resource_of(&name), Some(resource), "{name}");
    }
    for name in [
        "",
        ".",
        "net",
        "net.lan",
        "net.lan.x",
        "mac.xyz",
        "fib.99999",
    ] {
        assert_eq!(resource_of(name), None, "{name}");
    } // However long it is.
    assert_eq!(resource_of(&"a.".repeat(1_000_000)), None);
}
