//! Rules for the public addresses that belong to one jail (1:1 NAT): what the entries may say beside each other and beside the ports that the jail publishes.

use super::{attached, each_once};
use crate::jail::{JailSpec, PublicAddress};
use crate::path::FieldPath;
use crate::structural::cut;
use crate::validate::names;
use crate::violation::{Cause, Findings};

pub(super) fn validate(spec: &JailSpec, path: &FieldPath, findings: &mut Findings) {
    for (index, public) in spec.public_addresses.iter().enumerate() {
        let at = path.index(index);
        findings.check(&at.field("name"), names::entry(&public.name));
        findings.check(&at.field("uplink"), names::entry(&public.uplink));
        findings.check(&at.field("address"), names::entry(&public.address));
        attached(
            spec,
            public.network.as_deref(),
            &at.field("network"),
            findings,
        );
        each_once(&public.ports, &at.field("ports"), findings);
        if public.is_whole() && public.protocol.is_some() {
            findings.add(
                &at.field("protocol"),
                "without `ports` everything comes in, whatever its protocol",
                "name the ports, or leave the protocol out",
            );
        }
        let earlier = &spec.public_addresses[..index];
        beside_others(earlier, public, path, &at, findings);
        beside_published(spec, public, &at, findings);
    }
}

/// One address may stand in several entries, each with ports of its own; all of it stands in one.
fn beside_others(
    earlier: &[PublicAddress],
    public: &PublicAddress,
    path: &FieldPath,
    at: &FieldPath,
    findings: &mut Findings,
) {
    if earlier.iter().any(|other| other.name == public.name) {
        findings.add_as(
            Cause::Duplicate,
            &at.field("name"),
            format!("`{}` is used twice", cut(&public.name)),
            "names are unique in the list",
        );
    }
    for (first, other) in earlier.iter().enumerate() {
        if other.uplink != public.uplink || other.address != public.address {
            continue;
        }
        if other.is_whole() || public.is_whole() {
            let message = format!(
                "`{}` is that of {} already",
                cut(&public.address),
                path.index(first)
            );
            findings.add(
                &at.field("address"),
                message,
                "give all of an address in one entry, or in each one only some ports",
            );
        } else if other.protocol.unwrap_or_default() == public.protocol.unwrap_or_default() {
            for (port, range) in public.ports.iter().enumerate() {
                if other.ports.iter().any(|taken| taken.overlaps(range)) {
                    let message = format!("{range} is in {} already", path.index(first));
                    findings.add(
                        &at.field("ports").index(port),
                        message,
                        "name each port once",
                    );
                }
            }
        }
    }
}

/// A port of the address that the jail publishes as well could lead to two places. Beside all of an address it may be published: it comes first, and may lead to another port inside.
fn beside_published(
    spec: &JailSpec,
    public: &PublicAddress,
    at: &FieldPath,
    findings: &mut Findings,
) {
    for (first, publish) in spec.publish.iter().enumerate() {
        let same_address = publish
            .address
            .as_ref()
            .is_none_or(|address| *address == public.address);
        if publish.uplink != public.uplink
            || !same_address
            || publish.protocol != public.protocol.unwrap_or_default()
        {
            continue;
        }
        for (port, range) in public.ports.iter().enumerate() {
            if publish.ports.iter().any(|taken| taken.overlaps(range)) {
                let message = format!("{range} is published by spec.publish[{first}] already");
                findings.add(
                    &at.field("ports").index(port),
                    message,
                    "leave it out of one of the two",
                );
            }
        }
    }
}
