//! Reads what jls(8) prints of jails: `jls -d -n --libxo=json PARAMETER …`, what a look takes in of every jail, dying ones too, in one command.
//!
//! Without names jls prints all parameters, which are those of the kernel (`add_param`, usr.sbin/jls/jls.c): a hundred of each jail, megabytes on a host of a thousand. One that the
//! kernel does not have is an error, so only those are named that it has. `meta` is among them where the kernel has it (15; recording `02`), so that no further command is needed for the marks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use cellblock_agent_core::observed::{JailMeta, ObservedJail};
use serde::Deserialize;
use serde_json::Value;

use super::json;
use crate::error::Failure;

/// The key of our line in `meta`.
pub(crate) const META_KEY: &str = "cellblock";

/// The parameters that a look takes in.
const PARAMETERS: [&str; 9] = [
    "jid",
    "name",
    "dying",
    "vnet",
    "path",
    "host.hostname",
    "ip4.addr",
    "ip6.addr",
    "meta",
];

/// The words behind jls's options: those parameters and the ones that are `wanted`, as far as the kernel has them.
pub(crate) fn parameters<'a>(
    known: &BTreeSet<String>,
    wanted: &'a BTreeSet<String>,
) -> impl Iterator<Item = &'a str> {
    let wanted = wanted.iter().map(String::as_str);
    let wanted = wanted.filter(|parameter| !PARAMETERS.contains(parameter));
    PARAMETERS
        .into_iter()
        .chain(wanted)
        .filter(|parameter| known.contains(*parameter))
}

/// What jls prints, as far as it is looked at.
#[derive(Deserialize)]
struct Printed {
    #[serde(rename = "jail-information")]
    information: Information,
}

#[derive(Deserialize)]
struct Information {
    jail: Vec<Parameters>,
}

/// The parameters of one jail that a look takes in; absent ones are null.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Parameters {
    jid: Value,
    name: Value,
    dying: Value,
    vnet: Value,
    path: Value,
    #[serde(rename = "host.hostname")]
    hostname: Value,
    #[serde(rename = "ip4.addr")]
    ip4: Value,
    #[serde(rename = "ip6.addr")]
    ip6: Value,
    meta: Value,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// Reads the jails in the order printed.
///
/// # Errors
/// The text is not jls's JSON.
pub fn parse(text: &str) -> Result<Vec<ObservedJail>, Failure> {
    let printed: Printed = json::read("jls", text)?;
    printed.information.jail.iter().map(jail).collect()
}

fn jail(printed: &Parameters) -> Result<ObservedJail, Failure> {
    let jid = json::text(&printed.jid);
    let ip6 = addresses(&printed.ip6);
    Ok(ObservedJail {
        jid: jid
            .parse()
            .map_err(|_| unreadable(format!("a jail whose jid is `{jid}`")))?,
        name: json::text(&printed.name),
        dying: json::text(&printed.dying) == "true",
        vnet: json::text(&printed.vnet) == "new",
        path: json::text(&printed.path),
        hostname: json::text(&printed.hostname),
        ip4: addresses(&printed.ip4),
        zones: ip6
            .iter()
            .filter_map(|address| Some((without_scope(*address), scope(*address)?)))
            .collect(),
        ip6: ip6.into_iter().map(without_scope).collect(),
        meta: meta(&printed.meta),
        parameters: printed
            .others
            .iter()
            .map(|(name, value)| (name.clone(), json::text(value)))
            .collect(),
    })
}

/// A list of addresses (15), or one string with commas, which is what jls prints as text.
fn addresses(value: &Value) -> Vec<IpAddr> {
    json::text(value)
        .split(',')
        .filter_map(|word| word.trim().parse().ok())
        .collect()
}

/// The index of the interface in a link-local address.
fn scope(address: IpAddr) -> Option<u32> {
    match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some(u32::from(v6.segments()[1])),
        IpAddr::V6(_) | IpAddr::V4(_) => None,
    }
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
fn meta(value: &Value) -> Option<JailMeta> {
    let text = value.as_str()?;
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
