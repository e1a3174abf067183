//! Reads routes: `netstat -rnW --libxo json`. Without `-W` netstat cuts the names of interfaces to the width of its column, in JSON too (usr.bin/netstat/route_netlink.c).

use cellblock_agent_core::observed::Route;
use cellblock_schemas::net::Family;
use serde_json::Value;

use super::json;
use crate::error::Failure;

/// Reads the routes of one table, both families, in the order printed.
///
/// # Errors
/// The text is not netstat's JSON.
pub fn parse(text: &str) -> Result<Vec<Route>, Failure> {
    let value = json::parse("netstat", text)?;
    let information = value
        .pointer("/statistics/route-information")
        .ok_or_else(|| Failure::Unreadable {
            program: "netstat",
            what: "no statistics/route-information in its JSON".to_owned(),
        })?;
    let families = information
        .pointer("/route-table/rt-family")
        .and_then(Value::as_array);
    let mut routes = Vec::new();
    for family in families.into_iter().flatten() {
        // Families that are neither are passed over.
        let kind = match json::field(family, "address-family").as_str() {
            "Internet" => Family::Ipv4,
            "Internet6" => Family::Ipv6,
            _ => continue,
        };
        let entries = family.get("rt-entry").and_then(Value::as_array);
        routes.extend(entries.into_iter().flatten().map(|entry| Route {
            family: kind,
            destination: json::field(entry, "destination"),
            gateway: json::field(entry, "gateway"),
            flags: json::field(entry, "flags"),
            interface: json::field(entry, "interface-name"),
        }));
    }
    Ok(routes)
}

/// Reads `route -n get default`, for kernels whose netstat has no `-j`: the gateway of the default route.
#[must_use]
pub fn parse_get(text: &str, family: Family) -> Option<Route> {
    let line = |key: &str| {
        text.lines()
            .find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(": "))
    };
    let flags = line("flags").unwrap_or_default();
    Some(Route {
        family,
        destination: "default".to_owned(),
        gateway: line("gateway")?.to_owned(),
        flags: [("UP", 'U'), ("GATEWAY", 'G'), ("STATIC", 'S')]
            .iter()
            .filter(|(word, _)| {
                flags
                    .trim_matches(['<', '>'])
                    .split(',')
                    .any(|w| w == *word)
            })
            .map(|(_, letter)| *letter)
            .collect(),
        interface: line("interface").unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
mod tests;
