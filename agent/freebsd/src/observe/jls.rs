//! Reads what jls(8) prints of jails: `jls -d -n --libxo=json`, every parameter of every jail, dying ones too, in one command.
//!
//! `meta` is among the parameters where the kernel has it (15; recording `02`), so that no further command is needed for the marks.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use cellblock_agent_core::observed::{JailMeta, ObservedJail};
use serde_json::Value;

use super::json;
use crate::error::Failure;

/// The key of our line in `meta`.
const META_KEY: &str = "cellblock";

/// Reads the jails in the order printed.
///
/// # Errors
/// The text is not jls's JSON.
pub fn parse(text: &str) -> Result<Vec<ObservedJail>, Failure> {
    let value = json::parse("jls", text)?;
    let jails = value
        .pointer("/jail-information/jail")
        .and_then(Value::as_array)
        .ok_or_else(|| unreadable("no jail-information/jail in its JSON".to_owned()))?;
    jails.iter().map(jail).collect()
}

fn jail(value: &Value) -> Result<ObservedJail, Failure> {
    let fields = value
        .as_object()
        .ok_or_else(|| unreadable(format!("a jail that is no object: {value}")))?;
    let jid = json::field(value, "jid");
    let parameters: BTreeMap<String, String> = fields
        .iter()
        .map(|(name, value)| (name.clone(), json::text(value)))
        .collect();
    Ok(ObservedJail {
        jid: jid
            .parse()
            .map_err(|_| unreadable(format!("a jail whose jid is `{jid}`")))?,
        name: json::field(value, "name"),
        dying: json::field(value, "dying") == "true",
        vnet: json::field(value, "vnet") == "new",
        path: json::field(value, "path"),
        hostname: json::field(value, "host.hostname"),
        ip4: addresses(value.get("ip4.addr")),
        ip6: addresses(value.get("ip6.addr")),
        meta: meta(value.get("meta")),
        parameters,
    })
}

/// A list of addresses (15), or one string with commas, which is what jls prints as text.
fn addresses(value: Option<&Value>) -> Vec<IpAddr> {
    value
        .map(json::text)
        .unwrap_or_default()
        .split(',')
        .filter_map(|word| word.trim().parse().ok())
        .map(without_scope)
        .collect()
}

/// A link-local address carries the index of its interface in its second group inside the kernel, and jls prints it like that: `fe80:9::cb:1` (recording `12`).
fn without_scope(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            let mut groups = v6.segments();
            groups[1] = 0;
            IpAddr::V6(Ipv6Addr::from(groups))
        }
        IpAddr::V6(_) | IpAddr::V4(_) => address,
    }
}

/// Our line of `meta`, which is lines of `key=value` (sys/kern/kern_jailmeta.c).
fn meta(value: Option<&Value>) -> Option<JailMeta> {
    let text = value?.as_str()?;
    text.lines()
        .find_map(|line| line.strip_prefix(META_KEY)?.strip_prefix('='))
        .and_then(JailMeta::parse)
}

fn unreadable(what: String) -> Failure {
    Failure::Unreadable {
        program: "jls",
        what,
    }
}

#[cfg(test)]
mod tests;
