//! What a change of a spec does to a jail that runs: the one table of it.
//!
//! The agent takes the digest of what a jail was started with from [`Started`], and starts the jail again when it is another one, so that nothing
//! that stands outside of [`Started`] can restart a jail; admission compares [`Started`] before and after, so that whoever applies is told before anything
//! happens. What a restart does is the agent's to know.

use std::collections::{BTreeMap, BTreeSet};

use crate::jail::{Attachment, Binding, JailSpec, Mount, ParameterValue, Root};
use crate::network::NetworkSpec;
use crate::path::FieldPath;

pub mod parameters;

#[cfg(test)]
mod tests;

/// What a change of one field does to a jail that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// It is changed in the running jail.
    Live,
    /// The jail is stopped and started again.
    Restart,
}

/// What a running jail was started with, of its spec: a change of it is a restart, but for parameters that the kernel changes in a running jail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Started<'a> {
    /// Its root.
    pub root: Option<&'a Root>,
    /// Its attachments.
    pub networks: &'a [Attachment],
    /// Its parameters.
    pub parameters: &'a BTreeMap<String, ParameterValue>,
    /// Its mounts.
    pub mounts: &'a [Mount],
    /// Whether a firewall stands in its own pf, which is made with it; the rules are loaded while it runs.
    pub is_filtered_inside: bool,
    /// The operator's word that it be started again.
    pub restart: Option<&'a str>,
}

impl<'a> Started<'a> {
    /// What a jail with that spec is started with.
    #[must_use]
    pub fn of(spec: &'a JailSpec) -> Self {
        // Every field is named, so that a new one has to be thought of here.
        let JailSpec {
            // A restart.
            root,
            networks,
            parameters,
            mounts,
            restart,
            // Where and whether it runs, and what cannot change.
            host: _,
            host_selector: _,
            tolerations: _,
            jail_name: _,
            run_policy: _,
            restart_policy: _,
            // Rules in pf and rctl, loaded while it runs.
            publish: _,
            public_addresses: _,
            firewall: _, // But for whose pf it is, see below.
            user_ids: _,
            limits: _,
            // What is looked at from outside.
            probes: _,
            depends_on: _,
            // Cannot change once the jail has its root.
            image: _,
        } = spec;
        Self {
            root: root.as_ref(),
            networks,
            parameters,
            mounts,
            is_filtered_inside: spec.firewall_inside().is_some(),
            restart: restart.as_deref(),
        }
    }

    /// The fields that differ in `other`, which comes after, parameters one by one, and what that means.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<(FieldPath, Means)> {
        let spec = FieldPath::new("spec");
        let mut fields = Vec::new();
        let mut restarts = |field: FieldPath| fields.push((field, Means::Restart));
        if self.root != other.root {
            restarts(spec.field("root").field("path"));
        }
        if self.networks.len() != other.networks.len() {
            restarts(spec.field("networks"));
        } else {
            let pairs = self.networks.iter().zip(other.networks).enumerate();
            for (index, _) in pairs.filter(|(_, (one, other))| bare(one) != bare(other)) {
                restarts(spec.field("networks").index(index));
            }
        }
        let names: BTreeSet<&String> = self
            .parameters
            .keys()
            .chain(other.parameters.keys())
            .collect();
        for name in names {
            let after = other.parameters.get(name);
            if self.parameters.get(name) != after {
                let means = if parameters::is_live(name, after.is_none()) {
                    Means::Live
                } else {
                    Means::Restart
                };
                fields.push((spec.field("parameters").key(name), means));
            }
        }
        let mut restarts = |field: FieldPath| fields.push((field, Means::Restart));
        if self.mounts != other.mounts {
            restarts(spec.field("mounts"));
        }
        if self.is_filtered_inside != other.is_filtered_inside {
            restarts(spec.field("firewall").field("enforcedBy"));
        }
        if other.restart.is_some() && self.restart != other.restart {
            restarts(spec.field("restart"));
        }
        fields
    }
}

/// An attachment without the prefix lengths of its addresses, which change in the running jail.
fn bare(attachment: &Attachment) -> Attachment {
    let mut bare = attachment.clone();
    for address in &mut bare.addresses {
        address.prefix_length = None;
    }
    bare
}

/// Whether a change of a network restarts a jail that is attached to it: its gateway is a VNET jail's default gateway, and how the ends of a routed
/// link are addressed is set when the jail starts. Prefix lengths change in the running jail. `name` is the network's.
#[must_use]
pub fn network_restarts(
    name: &str,
    before: &NetworkSpec,
    after: &NetworkSpec,
    binding: &Binding,
) -> bool {
    if !before.mode().is_some_and(|mode| mode.is_vnet()) {
        return false;
    }
    let attachments = binding
        .attachments
        .iter()
        .filter(|attachment| attachment.network == name);
    let mut addresses = attachments.flat_map(|attachment| &attachment.addresses);
    addresses.any(|bound| {
        let seen = |spec: &NetworkSpec| {
            (
                spec.jail_gateway(bound.address),
                spec.partner(bound.address),
            )
        };
        seen(before) != seen(after)
    })
}

/// Whether a change of a network's routing table restarts a jail that is attached to it: its processes have theirs from when it starts.
#[must_use]
pub fn fib_restarts(before: &NetworkSpec, after: &NetworkSpec, jail: &JailSpec) -> bool {
    before.fib != after.fib && before.shared_ip.is_some() && jail.own_fib().is_none()
}
