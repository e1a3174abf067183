//! The objects of a cluster as its controller has them, in an index of its own core: from it comes the view that the agent of a host is given.
//!
//! What an operator may not list are claims. Of all that is claimed only the number of a network's MAC address on a host stands nowhere else; it is chosen again, as the controller chose it.

use cellblock_controller_core::allocate::allocate;
use cellblock_controller_core::claim::{Claim, Owner, Resource};
use cellblock_controller_core::{Event, Index, Write};
use cellblock_schemas::ids::ClusterUid;
use cellblock_schemas::network::Network;
use cellblock_schemas::{Jail, Kind};

use crate::client::Client;

/// Reads everything into an index.
///
/// # Errors
/// The controller did not answer.
pub(super) async fn index(client: &mut Client) -> anyhow::Result<Index> {
    let cluster = client.version().await?.cluster;
    let mut index = Index::new(ClusterUid(cluster));
    let mut events = Vec::new();
    let mut newest = 0;
    for kind in Kind::ALL {
        let (objects, revision) = client.list(kind, "").await?;
        newest = newest.max(revision);
        events.extend(objects.into_iter().map(|object| Event::Put {
            key: index.keys().object(kind, &object.name),
            value: object.value.to_string().into_bytes().into(),
            modified: object.revision,
        }));
    }
    index.apply(newest, events);
    claim(&mut index);
    Ok(index)
}

/// Puts the MAC numbers of links into the index, and then those of bridges, which are chosen beside them.
fn claim(index: &mut Index) {
    let jails: Vec<Jail> = index
        .list(Kind::Jail, None)
        .filter_map(|entry| entry.jail().cloned())
        .collect();
    let mut write = Write::default();
    for jail in &jails {
        let owner = Owner::Jail {
            name: jail.metadata.name.clone(),
            uid: jail.metadata.uid.clone(),
        };
        let claim = Claim::held_by(owner).encode();
        let bound = jail.binding().into_iter().flat_map(|one| &one.attachments);
        for mac in bound.filter_map(|bound| bound.mac) {
            let key = index.keys().claim(&Resource::of_mac(mac));
            write.put(key, claim.clone());
        }
    }
    index.rehearse(write);
    for jail in &jails {
        let write = bridges(index, jail);
        index.rehearse(write);
    }
}

/// The numbers of the bridges that a jail's networks have on its host.
fn bridges(index: &Index, jail: &Jail) -> Write {
    let mut write = Write::default();
    let Some(binding) = jail.binding() else {
        return write;
    };
    let attached = jail.spec.networks.iter();
    let networks: Option<Vec<&Network>> = attached
        .map(|attachment| index.network(&attachment.network))
        .collect();
    let Some(networks) = networks else {
        return write;
    };
    // A jail that gets no address any more keeps those that it has; its bridges are then its neighbours' to name.
    let Ok(chosen) = allocate(index, jail, &binding.host, &networks, Some(binding)) else {
        return write;
    };
    for (network, uid, number) in chosen.bridges {
        let owner = Owner::Bridge {
            network,
            uid,
            host: binding.host.clone(),
        };
        let key = index.keys().claim(&Resource::MacNumber(number));
        write.create(key, Claim::held_by(owner).encode());
    }
    write
}
