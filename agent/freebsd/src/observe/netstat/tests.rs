//! The parser against the recordings.

use cellblock_schemas::net::Family;
use proptest::prelude::*;

use super::{parse, parse_get};
use crate::observe::recording::stdout;

#[test]
fn the_table_of_a_host() {
    let routes = parse(&stdout("01-observe", "netstat -rn --libxo json", 0)).expect("readable");
    assert_eq!(routes.len(), 7);
    let first = &routes[0];
    assert_eq!(
        (
            first.family,
            first.destination.as_str(),
            first.gateway.as_str()
        ),
        (Family::Ipv4, "default", "10.0.2.2")
    );
    assert_eq!(
        (first.flags.as_str(), first.interface.as_str()),
        ("UGS", "vtnet0")
    );
    assert_eq!(routes[6].destination, "fe80::1%lo0");
    assert_eq!(routes[6].family, Family::Ipv6);
}

#[test]
fn an_empty_table() {
    let text =
        r#"{"statistics": {"route-information": {"fib":1,"route-table": {"rt-family": []}}}}"#;
    assert_eq!(parse(text).expect("readable"), []);
    assert_eq!(
        parse(r#"{"statistics": {"route-information": {}}}"#).expect("readable"),
        []
    );
    assert!(parse(r#"{"statistics": {}}"#).is_err());
}

#[test]
fn route_get() {
    let route = parse_get(
        &stdout("02-epair-bridge-vnet", "route -j www -n get default", 0),
        Family::Ipv4,
    )
    .expect("there is one");
    assert_eq!(
        (
            route.gateway.as_str(),
            route.interface.as_str(),
            route.flags.as_str()
        ),
        ("10.10.0.1", "vnet0", "UGS")
    );
    assert_eq!(parse_get("", Family::Ipv6), None);
}

proptest! {
    #[test]
    fn hostile_text_never_panics(text in "\\PC*") {
        let _ = parse(&text);
        let _ = parse_get(&text, Family::Ipv4);
    }
}
