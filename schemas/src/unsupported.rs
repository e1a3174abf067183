//! What the schema knows and this release does not realise: refused at admission, so that nothing is silently without effect.
//!
//! One list per kind, meant to shrink. A row says whether the object asks for the feature, where, and what it is.

use crate::host::{HostAddresses, HostSpec, node_field};
use crate::jail::{JailSpec, RunPolicy};
use crate::jail_set::Names;
use crate::net::Family;
use crate::network::{Isolation, NetworkSpec, Subnet};
use crate::object::Object;
use crate::path::FieldPath;
use crate::violation::{Cause, Findings, Violation};

#[cfg(test)]
mod tests;

/// Whether the object asks for it, the field below `spec`, and what it is.
type Row<'a> = (bool, &'a str, &'a str);

/// Every part of the object that this release would leave without effect.
#[must_use]
pub fn unsupported(object: &Object) -> Vec<Violation> {
    let mut findings = Findings::default();
    let path = FieldPath::new("spec");
    match object {
        Object::Host(host) => {
            rows(&host_rows(&host.spec), &path, &mut findings);
            uplinks(&host.spec, &path.field("uplinks"), &mut findings);
        }
        Object::Network(network) => {
            rows(&network_rows(&network.spec), &path, &mut findings);
        }
        Object::Image(_) => {}
        Object::Jail(jail) => rows(&jail_rows(&jail.spec), &path, &mut findings),
        Object::JailSet(set) => {
            let table: [Row<'_>; 1] = [(
                set.spec.names == Names::Hash,
                "names",
                "jails named by `hash`, which an update replaces (`ordinal` is realised)",
            )];
            rows(&table, &path, &mut findings);
            let template = path.field("template").field("spec");
            rows(
                &jail_rows(&set.spec.template.spec),
                &template,
                &mut findings,
            );
        }
    }
    findings.0
}

fn host_rows(spec: &HostSpec) -> [Row<'static>; 1] {
    [(
        spec.addresses.keys().any(|name| !is_node(name)),
        "addresses",
        "other addresses of a host than `node` and `node6`",
    )]
}

fn is_node(name: &str) -> bool {
    let mut families = [Family::Ipv4, Family::Ipv6].into_iter();
    families.any(|family| node_field(family) == name)
}

fn uplinks(spec: &HostSpec, path: &FieldPath, findings: &mut Findings) {
    for (name, uplink) in &spec.uplinks {
        let table: [Row<'_>; 1] = [(
            uplink.host_addresses == Some(HostAddresses::Managed),
            "hostAddresses",
            "moving the host's own addresses onto a bridge (leave it out, and put the lines that the agent names into rc.conf)",
        )];
        rows(&table, &path.key(name), findings);
    }
}

fn network_rows(spec: &NetworkSpec) -> [Row<'static>; 5] {
    let bridge = spec.bridge.as_ref();
    [
        (
            spec.fib.is_some() && spec.shared_ip.is_none(),
            "fib",
            "a routing table for networks of jails with a network stack of their own",
        ),
        (
            spec.subnets.iter().any(has_link_local_gateway),
            "subnets",
            "link-local gateways (give the gateway an address of the subnet)",
        ),
        (
            spec.mtu.is_some() && spec.shared_ip.is_some(),
            "mtu",
            "an MTU for shared-IP networks, whose addresses stand on an interface of the host",
        ),
        (
            spec.isolation == Isolation::Spoof,
            "isolation",
            "`spoof`, keeping jails to their own MAC and IP addresses (`jails` is realised)",
        ),
        (
            bridge.is_some_and(|bridge| bridge.untagged.is_some()),
            "bridge.untagged",
            "VLAN filtering on bridges",
        ),
    ]
}

fn has_link_local_gateway(subnet: &Subnet) -> bool {
    let gateway = subnet.gateway.as_ref().map(|gateway| gateway.address);
    matches!(gateway, Some(std::net::IpAddr::V6(address)) if address.is_unicast_link_local())
}

fn jail_rows(spec: &JailSpec) -> [Row<'static>; 2] {
    [
        (
            spec.mounts.iter().any(|mount| mount.fs_type == "devfs"),
            "mounts",
            "mounts of devfs, which would have no ruleset (set the parameters mount.devfs and devfs_ruleset)",
        ),
        (
            spec.run_policy == RunPolicy::Once,
            "runPolicy",
            "jails that run once",
        ),
    ]
}

fn rows(table: &[Row<'_>], path: &FieldPath, findings: &mut Findings) {
    for (_, field, what) in table.iter().filter(|(asked, ..)| *asked) {
        let message = format!("not yet realised by this release: {what}");
        findings.add_as(
            Cause::Forbidden,
            &path.field(field),
            message,
            "leave it out: it is refused so that nothing is silently without effect",
        );
    }
}
