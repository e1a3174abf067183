//! Lines of rc.conf(5) for what its operator alone changes: the host's own addresses, on a bridge of ours instead of the NIC. Told, never written; what comes of them is taken for the bridge that the
//! agent would have made.

use std::net::IpAddr;

use cellblock_schemas::net::Mac;

use crate::observed::{Interface, Observed};

/// The first unit of a bridge that is told.
const UNIT_MIN: u32 = 100;

/// How many there are.
const UNITS: u32 = 900;

/// A bridge with the addresses that `uplink` has now, less `ours`, and with `uplink` as its member. `mark` is its description.
///
/// network.subr(8) makes the clone, gives it its name, then runs `ifconfig_IF`, `ifconfig_IF_ipv6`, sets the description, and adds the aliases (`ifn_start`, libexec/rc/network.subr). The
/// addresses are aliases, so that each is added by a command of its own.
#[must_use]
pub fn bridge(
    name: &str,
    mac: Mac,
    mark: &str,
    uplink: &Interface,
    ours: impl Fn(IpAddr) -> bool,
    observed: &Observed,
) -> Vec<String> {
    // A unit that was given another name is not seen, and taken: so one that nobody counts up to, and that is another for each network.
    let unit = name.bytes().fold(0, |sum: u32, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    });
    let clone = (unit % UNITS + UNIT_MIN..).map(|unit| format!("bridge{unit}"));
    let mut free = clone.filter(|clone| observed.interfaces_named(clone).next().is_none());
    let clone = free.next().expect("there are more numbers than interfaces");
    let mut lines = vec![
        format!("cloned_interfaces=\"{clone}\""),
        format!("ifconfig_{clone}_name=\"{name}\""),
        format!("ifconfig_{name}=\"ether {mac} addm {}\"", uplink.name),
        format!("ifconfig_{name}_descr=\"{mark}\""),
    ];
    let addresses = uplink.addresses.iter();
    let addresses: Vec<_> = addresses
        .filter(|entry| entry.scope.is_none() && !ours(entry.address))
        .collect();
    if addresses.iter().any(|entry| entry.address.is_ipv6()) {
        lines.push(format!("ifconfig_{name}_ipv6=\"inet6 auto_linklocal\""));
    }
    lines.extend(addresses.iter().enumerate().map(|(number, entry)| {
        let family = match entry.address {
            IpAddr::V4(_) => "inet",
            IpAddr::V6(_) => "inet6",
        };
        format!(
            "ifconfig_{name}_alias{number}=\"{family} {}/{}\"",
            entry.address, entry.prefix_length
        )
    }));
    lines.push(format!("ifconfig_{}=\"up\"", uplink.name));
    lines
}
