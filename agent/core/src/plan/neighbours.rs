//! Jails behind netgraph switches that the host tries to reach: over a failover lagg it was found not to (FreeBSD 13.0), and is not (15.1, recording `14`). What is tried of them is the adapter's
//! matter, what is told `verify`'s.

use cellblock_schemas::host::Uplink;
use cellblock_schemas::jail::RunPolicy;
use cellblock_schemas::view::{HostView, NetworkView};

use crate::host::{NeighbourWanted, NeighboursWanted, Wanted};
use crate::names;

/// The interface at which the network's switch stands, by its name on this host; none without an uplink.
pub(super) fn switch_uplink(view: &HostView, network: &NetworkView) -> Option<String> {
    let name = network.spec.netgraph.as_ref()?.uplink.as_deref()?;
    match view.host.uplinks.get(name)? {
        Uplink { lagg: Some(_), .. } => Some(names::lagg(&view.host_uid, name)),
        Uplink { vlan: Some(_), .. } => Some(names::vlan(&view.host_uid, name)),
        Uplink { interface, .. } => interface.clone(),
    }
}

/// Adds the jails whose addresses are known. What else has to be so for a try is asked of what is observed.
pub(super) fn add_wanted(view: &HostView, wanted: &mut Wanted) {
    for network in view.networks.values() {
        let Some(interface) = switch_uplink(view, network) else {
            continue;
        };
        let jails = view.jails.values();
        let jails =
            jails.filter(|jail| !jail.deleting && jail.spec.run_policy != RunPolicy::Stopped);
        let jails = jails.map(|jail| {
            let attachments = jail.binding.attachments.iter();
            let attached = attachments.filter(|bound| bound.network == network.name);
            let bound = attached.flat_map(|bound| &bound.addresses);
            NeighbourWanted {
                uid: jail.uid.clone(),
                name: jail.jail_name().to_owned(),
                addresses: bound.map(|bound| bound.address).collect(),
            }
        });
        let jails: Vec<_> = jails.filter(|jail| !jail.addresses.is_empty()).collect();
        if !jails.is_empty() {
            let neighbours = NeighboursWanted { interface, jails };
            wanted.neighbours.insert(network.uid.clone(), neighbours);
        }
    }
}
