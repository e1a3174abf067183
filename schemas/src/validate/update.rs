//! Rules between an object and its successor: what must stay as it is for the object's whole life.

use crate::jail::Jail;
use crate::network::NetworkSpec;
use crate::object::Object;
use crate::path::FieldPath;
use crate::violation::{Cause, Findings, Violation};

#[cfg(test)]
mod tests;

/// Every immutable field that `new` changes. Both objects are defaulted.
#[must_use]
pub fn validate_update(old: &Object, new: &Object) -> Vec<Violation> {
    let mut findings = Findings::default();
    let path = FieldPath::new("metadata");
    let (before, after) = (old.metadata(), new.metadata());
    if before.name != after.name {
        findings.add(
            &path.field("name"),
            "the name cannot change",
            "make a new object",
        );
    }
    if before.uid != after.uid {
        let message = format!("the uid is {} for this object's whole life", before.uid);
        findings.add(&path.field("uid"), message, "leave the field out");
    }
    if before.creation_timestamp != after.creation_timestamp {
        findings.add(
            &path.field("creationTimestamp"),
            "the time of creation cannot change",
            "leave the field out",
        );
    }
    if before.deletion_timestamp.is_some() && before.deletion_timestamp != after.deletion_timestamp
    {
        findings.add(
            &path.field("deletionTimestamp"),
            "a deletion cannot be taken back",
            "wait until it is gone, then make it again",
        );
    }
    if before.deletion_timestamp.is_some()
        && after
            .finalizers
            .iter()
            .any(|name| !before.finalizers.contains(name))
    {
        findings.add_as(
            Cause::Forbidden,
            &path.field("finalizers"),
            "an object that is being deleted takes no new finalizers",
            "leave the field out",
        );
    }
    let spec = FieldPath::new("spec");
    match (old, new) {
        (Object::Host(_), Object::Host(_)) | (Object::Image(_), Object::Image(_)) => {}
        (Object::Network(old), Object::Network(new)) => {
            network(&old.spec, &new.spec, &spec, &mut findings)
        }
        (Object::Jail(old), Object::Jail(new)) => jail(old, new, &spec, &mut findings),
        (Object::JailSet(old), Object::JailSet(new)) => {
            if old.spec.names != new.spec.names {
                findings.add(
                    &spec.field("names"),
                    "how the jails are named cannot change: they would all be others",
                    "make a new JailSet",
                );
            }
        }
        (
            Object::Host(_)
            | Object::Network(_)
            | Object::Image(_)
            | Object::Jail(_)
            | Object::JailSet(_),
            _,
        ) => {
            findings.add(
                &FieldPath::new("kind"),
                "the kind cannot change",
                "make a new object",
            );
        }
    }
    findings.0
}

fn network(old: &NetworkSpec, new: &NetworkSpec, path: &FieldPath, findings: &mut Findings) {
    if let (Some(before), Some(after)) = (old.mode(), new.mode()) {
        if before.name() != after.name() {
            let message = format!(
                "the mode is {} and cannot become {}: jails are attached by it",
                before.name(),
                after.name()
            );
            findings.add(
                &path.field(after.name()),
                message,
                "make a new Network and attach the jails to it",
            );
        } else if before.uplink().is_some() != after.uplink().is_some() {
            let message = "a network cannot gain or lose its uplink: addresses are unique per host without one, in the fleet with one";
            findings.add(
                &path.field(after.name()),
                message,
                "make a new Network and attach the jails to it",
            );
        }
    }
    if let (Some(before), Some(after)) = (&old.routed, &new.routed)
        && before.link != after.link
    {
        findings.add(
            &path.field("routed").field("link"),
            "the kind of link cannot change: jails have addresses by it",
            "make a new Network and attach the jails to it",
        );
    }
    if old.mtu != new.mtu {
        findings.add(
            &path.field("mtu"),
            "the MTU cannot change: a member's MTU cannot be set while it is in its bridge",
            "make a new network with it, and move the jails",
        );
    }
    if old.effective_scope() != new.effective_scope() {
        let message = "the scope cannot change: addresses are recorded by it";
        findings.add(
            &path.field("scope"),
            message,
            "make a new Network and attach the jails to it",
        );
    }
    let kept = |cidr| old.subnets.iter().any(|subnet| subnet.cidr == cidr);
    for (index, subnet) in new
        .subnets
        .iter()
        .enumerate()
        .filter(|(_, subnet)| !kept(subnet.cidr))
    {
        let net = subnet.cidr.net();
        let gone = old
            .subnets
            .iter()
            .filter(|before| new.subnets.iter().all(|after| after.cidr != before.cidr))
            .map(|before| before.cidr.net())
            .find(|before| before.contains(&net) || net.contains(before));
        if let Some(before) = gone {
            let message = format!(
                "the subnet {before} cannot become {net}: jails have addresses with its prefix length"
            );
            findings.add(
                &path.field("subnets").index(index).field("cidr"),
                message,
                "make a new Network, or add a subnet of its own",
            );
        }
    }
}

fn jail(old: &Jail, new: &Jail, path: &FieldPath, findings: &mut Findings) {
    if old.jail_name() != new.jail_name() {
        let message = format!(
            "the name in jls(8) is `{}` and cannot change",
            old.jail_name()
        );
        findings.add(&path.field("jailName"), message, "make a new Jail");
    }
    if old.binding().is_some() && old.spec.image != new.spec.image {
        findings.add(
            &path.field("image"),
            "the jail has its root, and what that is made of cannot change",
            "make a new Jail of the other image, or delete this one and make it again",
        );
    }
    if let (Some(binding), Some(host)) = (old.binding(), &new.spec.host)
        && binding.host != *host
    {
        let message = format!(
            "the jail is on {} and moving one is not yet realised by this release",
            binding.host
        );
        findings.add(
            &path.field("host"),
            message,
            "delete it and make it again on the other host",
        );
    }
}
