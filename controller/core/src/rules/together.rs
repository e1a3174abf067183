//! The other objects of one apply, as far as they bear on why one of them is refused: what somebody holds may be given up in the
//! very same apply, and still cannot be taken at once.

use std::collections::BTreeMap;

use cellblock_schemas::jail::PublicAddress;
use cellblock_schemas::net::Family;
use cellblock_schemas::{Jail, Kind, Object, default, structural};
use serde_json::Value;

use crate::claim::{Owner, Resource};

/// The jails of one apply, as they shall be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Together {
    jails: BTreeMap<String, Jail>,
}

impl Together {
    /// The jails among documents that can be read.
    pub fn of<'a>(documents: impl IntoIterator<Item = (Kind, &'a Value)>) -> Self {
        let jails = documents
            .into_iter()
            .filter(|(kind, _)| *kind == Kind::Jail)
            .filter_map(|(kind, document)| {
                let mut object = structural::read(kind, document.clone()).ok()?;
                default::default_object(&mut object);
                match object {
                    Object::Jail(jail) => Some((jail.metadata.name.clone(), jail)),
                    Object::Host(_)
                    | Object::Network(_)
                    | Object::Image(_)
                    | Object::JailSet(_) => None,
                }
            });
        Self {
            jails: jails.collect(),
        }
    }

    /// A jail of this apply, as it shall be.
    pub(crate) fn jail(&self, name: &str) -> Option<&Jail> {
        self.jails.get(name)
    }

    /// Whether the owner of a resource would give it up in this apply.
    pub(crate) fn gives_up(&self, owner: &Owner, held: &Resource) -> bool {
        let Owner::Jail { name, .. } = owner else {
            return false;
        };
        let Some(jail) = self.jails.get(name) else {
            return false;
        };
        match held {
            Resource::Address {
                network, address, ..
            } => !jail
                .spec
                .networks
                .iter()
                .filter(|attachment| attachment.network == *network)
                .any(|attachment| {
                    let given = &attachment.addresses;
                    // What was allocated is kept.
                    let is_kept = given.is_empty() && !attachment.is_dynamic(Family::of(*address));
                    is_kept || given.iter().any(|given| given.address == *address)
                }),
            // Without a given address an attachment may keep the number.
            Resource::MacNumber(_) => jail.spec.networks.iter().all(|attachment| {
                let given = attachment.mac.map(Resource::of_mac);
                given.is_some_and(|given| given != *held)
            }),
            Resource::Root { path, .. } => jail
                .spec
                .root
                .as_ref()
                .is_none_or(|root| root.path != *path),
            Resource::Port { ports, .. } => {
                let published = jail.spec.publish.iter().map(|publish| &publish.ports);
                let public = jail.spec.public_addresses.iter();
                let mut lists = published.chain(public.map(|public| &public.ports));
                !lists.any(|list| list.contains(ports))
            }
            Resource::PublicAddress { .. } => !jail
                .spec
                .public_addresses
                .iter()
                .any(PublicAddress::is_whole),
            Resource::JailName { .. }
            | Resource::Nic { .. }
            | Resource::Slice { .. }
            | Resource::UserIds(_)
            | Resource::Fib(_) => false,
        }
    }
}
