//! Defaulting: what can be derived need not be written. A pure function of one object, and idempotent.
//!
//! Only what depends on the object alone is filled in here. What depends on other objects (an address, a MAC address, the
//! default route's attachment) is the controller's to decide. Called by admission before validation, and by `jailctl` on a
//! copy, so that both judge the same object.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

use crate::jail::{Attachment, JailSpec};
use crate::network::NetworkSpec;
use crate::object::Object;
use crate::validate::names::{self, INTERFACE_CHARS_MAX};

#[cfg(test)]
mod tests;

/// Fills in everything that an operator may leave out.
pub fn default_object(object: &mut Object) {
    let kind = object.kind().as_str();
    let (api_version, kind_field) = match object {
        Object::Host(host) => (&mut host.api_version, &mut host.kind),
        Object::Network(network) => (&mut network.api_version, &mut network.kind),
        Object::Jail(jail) => (&mut jail.api_version, &mut jail.kind),
    };
    if api_version.is_empty() {
        crate::API_VERSION.clone_into(api_version);
    }
    if kind_field.is_empty() {
        kind.clone_into(kind_field);
    }
    match object {
        Object::Host(_) => {}
        Object::Network(network) => default_network(&mut network.spec),
        Object::Jail(jail) => default_jail(&mut jail.spec),
    }
}

fn default_network(spec: &mut NetworkSpec) {
    if spec.mode().is_none() {
        // Nothing can be derived from a mode that validation is about to refuse.
        return;
    }
    spec.scope = Some(spec.effective_scope());
    let owners: Vec<_> = spec
        .subnets
        .iter()
        .map(|subnet| {
            subnet
                .gateway
                .as_ref()
                .map(|gateway| spec.gateway_owner(gateway))
        })
        .collect();
    for (subnet, owner) in spec.subnets.iter_mut().zip(owners) {
        if let Some(gateway) = &mut subnet.gateway {
            gateway.owner = owner;
        }
    }
}

fn default_jail(spec: &mut JailSpec) {
    name_interfaces(&mut spec.networks);
    for attachment in &mut spec.networks {
        attachment.addressing = Some(attachment.effective_addressing());
    }
}

/// Names the interfaces of attachments that have no name, after their network. Names that the operator gave always win, and
/// no two attachments of a jail get the same name.
fn name_interfaces(attachments: &mut [Attachment]) {
    let mut taken: BTreeSet<String> = attachments
        .iter()
        .map(|attachment| attachment.interface.clone())
        .collect();
    // Where the search for a free ordinal goes on, so that many attachments to one network take no quadratic time.
    let mut next: BTreeMap<String, u32> = BTreeMap::new();
    for attachment in attachments
        .iter_mut()
        .filter(|attachment| attachment.interface.is_empty())
    {
        let base = interface_base(&attachment.network);
        let ordinal = next.entry(base.clone()).or_insert(1);
        let name = loop {
            let name = if *ordinal == 1 {
                base.clone()
            } else {
                with_ordinal(&base, *ordinal)
            };
            *ordinal += 1;
            if !taken.contains(&name) {
                break name;
            }
        };
        taken.insert(name.clone());
        attachment.interface = name;
    }
}

/// The network's name if an interface may be called that; else the start of it and a hash of all of it, because names that
/// are only cut off collide (`production-internal-a`, `production-internal-b`).
fn interface_base(network: &str) -> String {
    if names::interface(network).is_ok() {
        return network.to_owned();
    }
    let digest = BASE32_NOPAD
        .encode(&Sha256::digest(network.as_bytes()))
        .to_lowercase();
    let start: String = network
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .skip_while(|c| !c.is_ascii_alphabetic())
        .take(INTERFACE_CHARS_MAX - 5)
        .collect();
    let start = if start.is_empty() { "net" } else { &start };
    format!("{start}-{}", &digest[..4])
}

/// `base-N`, cut so that it still fits.
fn with_ordinal(base: &str, ordinal: u32) -> String {
    let ending = format!("-{ordinal}");
    let start: String = base
        .chars()
        .take(INTERFACE_CHARS_MAX - ending.len())
        .collect();
    start + &ending
}
