//! Whether a jail's binding and claims are what its spec and its host ask for, so that the reconciler looks only at those
//! where they are not.

use std::collections::BTreeSet;
use std::net::IpAddr;

use cellblock_schemas::selector::LabelSelector;
use cellblock_schemas::{ConditionStatus, Host, Jail};

use super::Index;
use crate::allocate::nics;
use crate::claim::{Resource, Share};
use crate::conditions;

/// The host ports and public addresses that a jail takes on a host, and what of them the host does not have.
///
/// A published port without a named address takes the only address of each family that its uplink has.
#[must_use]
pub fn wanted_ports(host: &Host, jail: &Jail) -> (BTreeSet<Resource>, Vec<PortProblem>) {
    let mut wanted = BTreeSet::new();
    let mut problems = Vec::new();
    for (index, publish) in jail.spec.publish.iter().enumerate() {
        let field = format!("spec.publish[{index}]");
        match public_addresses(host, &publish.uplink, publish.address.as_deref()) {
            Ok(addresses) => {
                for address in addresses {
                    wanted.extend(publish.ports.iter().map(|ports| Resource::Port {
                        host: host.metadata.name.clone(),
                        address,
                        protocol: publish.protocol,
                        ports: *ports,
                        share: publish.shared.as_ref().map(|pool| Share {
                            pool: pool.clone(),
                            to: publish.to,
                            sticky: publish.sticky,
                            jail: jail.metadata.uid.clone(),
                        }),
                    }));
                }
            }
            Err((part, message)) => problems.push(PortProblem {
                field: format!("{field}.{part}"),
                message,
            }),
        }
    }
    for (index, public) in jail.spec.public_addresses.iter().enumerate() {
        let field = format!("spec.publicAddresses[{index}]");
        match public_addresses(host, &public.uplink, Some(&public.address)) {
            Ok(addresses) => wanted.extend(addresses.into_iter().flat_map(|address| {
                let host = host.metadata.name.clone();
                if public.is_whole() {
                    return vec![Resource::PublicAddress { host, address }];
                }
                let ports = public.ports.iter().map(|ports| Resource::Port {
                    host: host.clone(),
                    address,
                    protocol: public.protocol.unwrap_or_default(),
                    ports: *ports,
                    share: None,
                });
                ports.collect()
            })),
            Err((part, message)) => problems.push(PortProblem {
                field: format!("{field}.{part}"),
                message,
            }),
        }
    }
    (wanted, problems)
}

/// Something that a jail publishes on and its host does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortProblem {
    /// The jail's field.
    pub field: String,
    /// What the host has instead.
    pub message: String,
}

/// The public addresses that are meant by an uplink and, if any, the name of one; else the field that is wrong, and why.
pub(crate) fn public_addresses(
    host: &Host,
    uplink: &str,
    name: Option<&str>,
) -> Result<Vec<IpAddr>, (&'static str, String)> {
    let host_name = &host.metadata.name;
    let Some(found) = host.spec.uplinks.get(uplink) else {
        let present = listed(host.spec.uplinks.keys());
        let message = format!("host {host_name} has no uplink `{uplink}`; it has {present}");
        return Err(("uplink", message));
    };
    let addresses = &found.public_addresses;
    let present = listed(addresses.keys());
    if let Some(name) = name {
        return addresses.get(name).map(|address| vec![*address]).ok_or_else(|| {
            let message = format!(
                "uplink `{uplink}` of host {host_name} has no public address `{name}`; it has {present}"
            );
            ("address", message)
        });
    }
    let v4 = addresses
        .values()
        .filter(|address| address.is_ipv4())
        .count();
    let v6 = addresses.len() - v4;
    if addresses.is_empty() || v4 > 1 || v6 > 1 {
        let message = format!(
            "uplink `{uplink}` of host {host_name} has not exactly one public address per family (it has {present}); name one"
        );
        return Err(("address", message));
    }
    Ok(addresses.values().copied().collect())
}

fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

/// The root of a jail, of which there is only one on a host.
#[must_use]
pub fn root_of(jail: &Jail, host: &str) -> Option<Resource> {
    let root = jail.spec.root.as_ref()?;
    Some(Resource::Root {
        host: host.to_owned(),
        path: root.path.clone(),
    })
}

impl Index {
    /// What `Scheduled` says of a jail that is bound to a host: reason and message.
    pub(crate) fn bound(&self, jail: &Jail, host: &str) -> (&'static str, String) {
        let labels = self.host(host).map(|host| &host.metadata.labels);
        let excludes = |selector: &Option<LabelSelector>| {
            let matches = selector.as_ref().zip(labels);
            matches.is_some_and(|(selector, labels)| !selector.matches(labels))
        };
        let mut who = Vec::new();
        if jail.spec.host.is_none() && excludes(&jail.spec.host_selector) {
            who.push("its own hostSelector".to_owned());
        }
        for attachment in &jail.spec.networks {
            let network = self.network(&attachment.network);
            if network.is_some_and(|network| excludes(&network.spec.host_selector)) {
                who.push(format!(
                    "the hostSelector of network {}",
                    attachment.network
                ));
            }
        }
        if who.is_empty() {
            return (conditions::REASON_BOUND, format!("bound to {host}"));
        }
        let message = format!(
            "bound to {host}, which {} no longer matches; a jail that has a host stays there: delete it and make it again to have it elsewhere",
            who.join(" and ")
        );
        (conditions::REASON_MISMATCH, message)
    }

    /// Whether nothing is left to decide for a jail: it is on its way out, or it is bound and holds its host ports.
    pub(super) fn is_settled(&self, jail: &Jail) -> bool {
        if jail.metadata.deletion_timestamp.is_some() {
            return true;
        }
        let (Some(status), Some(binding)) = (&jail.status, jail.binding()) else {
            return false;
        };
        let scheduled = conditions::find(&status.conditions, conditions::SCHEDULED);
        let (reason, _) = self.bound(jail, &binding.host);
        let says = |condition: &cellblock_schemas::Condition| {
            condition.status == ConditionStatus::True && condition.reason == reason
        };
        if !scheduled.is_some_and(says) {
            return false;
        }
        let Some(host) = self.host(&binding.host) else {
            return true;
        };
        if host.spec.forgotten {
            return false;
        }
        let (mut wanted, _) = wanted_ports(host, jail);
        wanted.extend(root_of(jail, &binding.host));
        for bound in &binding.attachments {
            let network = self.network(&bound.network);
            let Some(mode) = network.and_then(|network| network.spec.passthrough.as_ref()) else {
                continue;
            };
            // A NIC that left its pool.
            let nic = bound.nic.as_deref();
            let Some(nic) = nic.filter(|nic| nics(host, mode).contains(nic)) else {
                return false;
            };
            wanted.insert(Resource::Nic {
                host: binding.host.clone(),
                interface: nic.to_owned(),
            });
        }
        wanted.iter().all(|resource| {
            let claim = self.claims.get(resource);
            claim.is_some_and(|claim| {
                *claim.owner.uid() == jail.metadata.uid && claim.retired.is_none()
            })
        })
    }
}
