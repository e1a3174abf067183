//! getent(1) for users, groups and protocols, one key at a time (usr.bin/getent/getent.c).

use super::pfctl::id;
use crate::output::Output;

/// The key was not found.
const NOT_FOUND: i32 = 2;

/// Protocols that protocols(5) has: name, number, first alias.
const PROTOCOLS: &[(&str, u8, &str)] = &[
    ("ip", 0, "IP"),
    ("icmp", 1, "ICMP"),
    ("igmp", 2, "IGMP"),
    ("tcp", 6, "TCP"),
    ("udp", 17, "UDP"),
    ("gre", 47, "GRE"),
    ("esp", 50, "ESP"),
    ("ah", 51, "AH"),
    ("ipv6-icmp", 58, "IPV6-ICMP"),
    ("pim", 103, "PIM"),
    ("carp", 112, "CARP"),
    ("sctp", 132, "SCTP"),
];

/// Runs getent with the words after its name.
pub(super) fn run(arguments: &[String]) -> Output {
    let [database, key] = arguments else {
        return Output::failure(1, "Usage: getent database [key ...]");
    };
    let line = match database.as_str() {
        "passwd" => {
            id(key).map(|uid| format!("{key}:*:{uid}:{uid}:{key}:/nonexistent:/usr/sbin/nologin"))
        }
        "group" => id(key).map(|gid| format!("{key}:*:{gid}:")),
        "protocols" => PROTOCOLS
            .iter()
            .find(|(name, _, alias)| name == key || alias == key)
            .map(|(name, number, alias)| format!("{name:<16}  {number}  {alias}")),
        _ => return Output::failure(1, format!("Unknown database: {database}")),
    };
    let mut output = Output::default();
    match line {
        Some(line) => output.line(line),
        None => output.status = NOT_FOUND,
    }
    output
}
