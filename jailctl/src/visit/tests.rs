//! How a jail is named.

use super::*;

#[test]
fn a_jail_is_named_bare_or_with_its_kind() {
    assert_eq!(jail_name("www").ok().as_deref(), Some("www"));
    assert_eq!(jail_name("jail/www").ok().as_deref(), Some("www"));
    assert_eq!(jail_name("j/www").ok().as_deref(), Some("www"));
    let Err(Usage(said)) = jail_name("host/fbsd-01") else {
        panic!("a host is no jail");
    };
    assert!(said.contains("only jails"), "{said}");
}
