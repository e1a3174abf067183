//! Rules for published ports of one jail, and by `public` for its 1:1 addresses. Whether another jail has the same port, only the index knows.

use crate::jail::{JailSpec, Publish};
use crate::net::PortRange;
use crate::path::FieldPath;
use crate::structural::cut;
use crate::suggest;
use crate::validate::names;
use crate::violation::{Cause, Findings};

mod public;

pub(super) fn validate(spec: &JailSpec, path: &FieldPath, findings: &mut Findings) {
    let at = path.field("publish");
    for (index, publish) in spec.publish.iter().enumerate() {
        validate_publish(spec, publish, &at.index(index), findings);
        names_once(&spec.publish[..index], publish, &at, index, findings);
        overlaps(&spec.publish[..index], publish, &at, index, findings);
    }
    public::validate(spec, &path.field("publicAddresses"), findings);
    if spec.networks.is_empty() {
        for (name, given) in [
            ("publish", !spec.publish.is_empty()),
            ("publicAddresses", !spec.public_addresses.is_empty()),
        ] {
            if given {
                let message = "the jail is attached to no network, so that nothing can lead to it";
                findings.add(&path.field(name), message, "attach it to a network");
            }
        }
    }
}

fn validate_publish(spec: &JailSpec, publish: &Publish, path: &FieldPath, findings: &mut Findings) {
    findings.check(&path.field("name"), names::entry(&publish.name));
    findings.check(&path.field("uplink"), names::entry(&publish.uplink));
    if let Some(address) = &publish.address {
        findings.check(&path.field("address"), names::entry(address));
    }
    if let Some(shared) = &publish.shared {
        findings.check(&path.field("shared"), names::entry(shared));
    } else if publish.sticky {
        findings.add(
            &path.field("sticky"),
            "only shared ports lead to several jails",
            "name a pool in `shared`, or leave `sticky` out",
        );
    }
    attached(
        spec,
        publish.network.as_deref(),
        &path.field("network"),
        findings,
    );
    let ports: u32 = publish.ports.iter().map(PortRange::count).sum();
    if publish.ports.is_empty() {
        findings.add_as(
            Cause::Required,
            &path.field("ports"),
            "no port is named",
            "name at least one",
        );
    }
    match publish.to {
        Some(0) => findings.add(&path.field("to"), "0 is not a port", "1 to 65535"),
        Some(_) if ports > 1 => {
            let message = format!("{ports} ports outside cannot all lead to one port inside");
            findings.add(
                &path.field("to"),
                message,
                "publish one port with `to`, or leave `to` out",
            );
        }
        Some(_) | None => {}
    }
    each_once(&publish.ports, &path.field("ports"), findings);
}

/// No port stands in a list twice.
fn each_once(ports: &[PortRange], path: &FieldPath, findings: &mut Findings) {
    for (index, range) in ports.iter().enumerate() {
        if let Some(earlier) = ports[..index]
            .iter()
            .position(|other| other.overlaps(range))
        {
            let message = format!("{range} is in {} already", path.index(earlier));
            findings.add(&path.index(index), message, "name each port once");
        }
    }
}

/// A network that is named is one that the jail is attached to.
pub(super) fn attached(
    spec: &JailSpec,
    network: Option<&str>,
    path: &FieldPath,
    findings: &mut Findings,
) {
    let Some(network) = network else { return };
    if spec
        .networks
        .iter()
        .all(|attachment| attachment.network != network)
    {
        let names: Vec<&str> = spec
            .networks
            .iter()
            .map(|attachment| attachment.network.as_str())
            .collect();
        let help = suggest::help(network, &names, "it is attached to");
        findings.add_as(
            Cause::NotFound,
            path,
            format!("the jail is not attached to `{}`", cut(network)),
            help,
        );
    }
}

fn names_once(
    earlier: &[Publish],
    publish: &Publish,
    path: &FieldPath,
    index: usize,
    findings: &mut Findings,
) {
    if let Some(first) = earlier.iter().position(|other| other.name == publish.name) {
        let message = format!(
            "`{}` is the name of {} already",
            cut(&publish.name),
            path.index(first)
        );
        findings.add(
            &path.index(index).field("name"),
            message,
            "names are unique in the list",
        );
    }
}

/// The same port of the same public address cannot lead to two places. An absent address means every address of the uplink.
fn overlaps(
    earlier: &[Publish],
    publish: &Publish,
    path: &FieldPath,
    index: usize,
    findings: &mut Findings,
) {
    for (first, other) in earlier.iter().enumerate() {
        let same_address = other.address.is_none()
            || publish.address.is_none()
            || other.address == publish.address;
        if other.protocol != publish.protocol || other.uplink != publish.uplink || !same_address {
            continue;
        }
        for (port, range) in publish.ports.iter().enumerate() {
            if other.ports.iter().any(|taken| taken.overlaps(range)) {
                let message = format!("{range} is published by {} already", path.index(first));
                findings.add(
                    &path.index(index).field("ports").index(port),
                    message,
                    "publish each port once",
                );
            }
        }
    }
}
