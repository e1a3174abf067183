//! Defaulting: what can be derived need not be written. A pure function of one object, and idempotent.
//!
//! Only what depends on the object alone is filled in here. What depends on other objects (an address, a MAC address, the
//! default route's attachment) is the controller's to decide. Called by admission before validation, and by `jailctl` on a
//! copy, so that both judge the same object.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::BASE32_NOPAD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::jail::JailSpec;
use crate::net::Family;
use crate::network::{Gateway, Mode, NetworkSpec, RoutedLink};
use crate::object::{Kind, Object};
use crate::validate::names::{self, INTERFACE_CHARS_MAX};

#[cfg(test)]
mod tests;

/// Fills in everything that an operator may leave out.
pub fn default_object(object: &mut Object) {
    let kind = object.kind().as_str();
    let (api_version, kind_field) = match object {
        Object::Host(host) => (&mut host.api_version, &mut host.kind),
        Object::Network(network) => (&mut network.api_version, &mut network.kind),
        Object::Image(image) => (&mut image.api_version, &mut image.kind),
        Object::Jail(jail) => (&mut jail.api_version, &mut jail.kind),
        Object::JailSet(set) => (&mut set.api_version, &mut set.kind),
    };
    if api_version.is_empty() {
        crate::API_VERSION.clone_into(api_version);
    }
    if kind_field.is_empty() {
        kind.clone_into(kind_field);
    }
    match object {
        Object::Host(_) | Object::Image(_) => {}
        Object::Network(network) => default_network(&mut network.spec),
        Object::Jail(jail) => default_jail(&mut jail.spec),
        Object::JailSet(set) => default_jail(&mut set.spec.template.spec),
    }
}

fn default_network(spec: &mut NetworkSpec) {
    if spec.mode().is_none() {
        // Nothing can be derived from a mode that validation is about to refuse.
        return;
    }
    spec.scope = Some(spec.effective_scope());
    routed_gateways(spec);
    if let Some(netgraph) = &mut spec.netgraph
        && netgraph.uplink.is_some()
    {
        netgraph.promiscuous.get_or_insert(true);
        netgraph.autosrc.get_or_insert(false);
    }
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

/// The host's ends of unnumbered links share one IPv4 address of each subnet: the first that an interface can have, unless said.
fn routed_gateways(spec: &mut NetworkSpec) {
    if !matches!(spec.mode(), Some(Mode::Routed(routed)) if routed.link == RoutedLink::Unnumbered) {
        return;
    }
    for subnet in &mut spec.subnets {
        let first = subnet.cidr.net().hosts().next();
        if subnet.gateway.is_none()
            && subnet.cidr.family() == Family::Ipv4
            && let Some(address) = first
        {
            subnet.gateway = Some(Gateway {
                address,
                owner: None,
            });
        }
    }
}

fn default_jail(spec: &mut JailSpec) {
    let mut named: Vec<_> = spec
        .networks
        .iter()
        .map(|attachment| (attachment.network.clone(), attachment.interface.clone()))
        .collect();
    name_interfaces(named.iter_mut());
    for (attachment, (_, interface)) in spec.networks.iter_mut().zip(named) {
        attachment.interface = interface;
    }
    for attachment in &mut spec.networks {
        attachment.addressing = Some(attachment.effective_addressing());
    }
}

/// Fills in what tells the entries of lists apart, in a document that may be a part of an object only, and so need not fit
/// the types: the interfaces of a jail's attachments, or of those of a template. Whatever has another form than the schema's is passed over.
pub fn default_keys(kind: Kind, document: &mut Value) {
    let place = match kind {
        Kind::Host | Kind::Network | Kind::Image => return,
        Kind::Jail => "/spec/networks",
        Kind::JailSet => "/spec/template/spec/networks",
    };
    let Some(Value::Array(attachments)) = document.pointer_mut(place) else {
        return;
    };
    let text = |attachment: &Value, name: &str| {
        let text = attachment.get(name).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let mut named: Vec<_> = attachments
        .iter()
        .map(|attachment| (text(attachment, "network"), text(attachment, "interface")))
        .collect();
    name_interfaces(named.iter_mut().filter(|(network, _)| !network.is_empty()));
    for (attachment, (_, interface)) in attachments.iter_mut().zip(named) {
        if let Value::Object(members) = attachment
            && !interface.is_empty()
        {
            members.insert("interface".to_owned(), Value::String(interface));
        }
    }
}

/// Names the interfaces of attachments that have no name, after their network. Names that the operator gave always win, and
/// no two attachments of a jail get the same name. Each item is a network and its interface.
fn name_interfaces<'a>(attachments: impl Iterator<Item = &'a mut (String, String)>) {
    let mut attachments: Vec<_> = attachments.collect();
    let mut taken: BTreeSet<String> = attachments
        .iter()
        .map(|(_, interface)| interface.clone())
        .collect();
    // Where the search for a free ordinal goes on, so that many attachments to one network take no quadratic time.
    let mut next: BTreeMap<String, u32> = BTreeMap::new();
    for (network, interface) in attachments
        .iter_mut()
        .filter(|(_, interface)| interface.is_empty())
        .map(|named| (&named.0, &mut named.1))
    {
        let base = interface_base(network);
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
        *interface = name;
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
