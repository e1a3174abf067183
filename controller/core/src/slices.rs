//! Slices: which part of the subnets of a network that spans hosts has its addresses on which host. The others have one route to it.
//!
//! A slice is claimed with the first address of it, in the transaction of that jail, and stays its host's though its jails go: a router outside may lead there by that host. It is given up with
//! the host, and to another host that finds no other left while nobody has an address of it. Both are guarded by the network's addresses, which every new address advances.

use cellblock_schemas::net::AddressRange;
use cellblock_schemas::network::Network;
use cellblock_schemas::view::SliceView;
use ipnet::IpNet;

use crate::claim::{Claim, Owner, Resource};
use crate::index::Index;
use crate::write::{Guard, Write};

/// Whose a slice is, as one host sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// Nobody's.
    Nobody,
    /// The host's.
    Own,
    /// Another host's, and nobody has an address of it.
    Idle,
    /// Another host's.
    Other(String),
}

/// The claim of a slice.
pub(crate) fn slice_claim(network: &Network, net: IpNet) -> Resource {
    Resource::Slice {
        network: network.metadata.name.clone(),
        net,
    }
}

/// Whose a slice is.
pub(crate) fn holder(index: &Index, network: &Network, host: &str, net: IpNet) -> Holder {
    let Some(claim) = index.claims().get(&slice_claim(network, net)) else {
        return Holder::Nobody;
    };
    let is_ours = *claim.owner.uid() == network.metadata.uid;
    match claim.owner.slice_host() {
        Some(holder) if is_ours && holder == host => Holder::Own,
        Some(_) if is_ours && is_idle(index, &network.metadata.name, net) => Holder::Idle,
        Some(holder) => Holder::Other(holder.to_owned()),
        None => Holder::Other(String::new()),
    }
}

/// Whether nobody has an address of a slice, nor has given up one that a host may still use.
pub(crate) fn is_idle(index: &Index, network: &str, net: IpNet) -> bool {
    let used = index.claims().used(network, None);
    used.is_none_or(|used| !used.any_in(&range(net)))
}

/// A prefix from its first address to its last.
pub(crate) fn range(net: IpNet) -> AddressRange {
    AddressRange {
        first: net.network(),
        last: net.broadcast(),
    }
}

/// Slices of another size than the network's are now: what is left of a former one.
pub(crate) fn misfits(index: &Index, network: &Network) -> Vec<IpNet> {
    let name = &network.metadata.name;
    let slices = index.claims().slices(name).map(|(net, _)| net);
    slices
        .filter(|net| network.spec.slice_of(net.addr()) != Some(*net))
        .collect()
}

/// Gives a host its slices.
pub(crate) fn claim(index: &Index, network: &Network, host: &str, net: IpNet, write: &mut Write) {
    let resource = slice_claim(network, net);
    let owner = Owner::Slice {
        network: network.metadata.name.clone(),
        uid: network.metadata.uid.clone(),
        host: host.to_owned(),
    };
    let key = index.keys().claim(&resource);
    let value = Claim::held_by(owner).encode();
    match index.claims().get(&resource) {
        None => write.create(key, value),
        // An idle one: the guard of the network's addresses says that it still is.
        Some(_) => write.put(key, value),
    }
}

/// The slices that their hosts do not need: the host or the network is gone or given up, or the network has slices of another size now. Only idle ones.
pub(crate) fn needless(index: &Index) -> impl Iterator<Item = (&str, IpNet)> {
    let slices = index.claims().all_slices();
    let needless = slices.filter(|(name, net, claim)| is_needless(index, name, *net, claim));
    needless.map(|(name, net, _)| (name, net))
}

fn is_needless(index: &Index, name: &str, net: IpNet, claim: &Claim) -> bool {
    let host = claim.owner.slice_host().and_then(|host| index.host(host));
    let network = index.network(name);
    let fits = network.is_some_and(|network| {
        network.metadata.uid == *claim.owner.uid() && network.spec.slice_of(net.addr()) == Some(net)
    });
    let stands = host.is_some_and(|host| !host.spec.forgotten);
    !(fits && stands) && is_idle(index, name, net)
}

/// Gives a slice back that its host does not need any more.
pub(crate) fn release(index: &Index, name: &str, net: IpNet) -> Option<Write> {
    let resource = Resource::Slice {
        network: name.to_owned(),
        net,
    };
    let claim = index.claims().get(&resource)?;
    if !is_needless(index, name, net, claim) {
        return None;
    }
    let mut write = Write::default();
    write.delete(index.keys().claim(&resource));
    let guard = Guard::Addresses(name.to_owned());
    index.expect_guard(&mut write, &guard, claim.owner.uid());
    Some(write)
}

/// What other hosts have of a network's subnets, and by which address they are reached.
pub(crate) fn of_others(index: &Index, network: &Network, host: &str) -> Vec<SliceView> {
    let slices = index.claims().slices(&network.metadata.name);
    let views = slices.filter_map(|(net, claim)| {
        let other = claim.owner.slice_host().filter(|other| *other != host)?;
        let cidr = cellblock_schemas::net::Cidr(net);
        let next_hop = index.host(other)?.spec.node(cidr.family())?;
        (*claim.owner.uid() == network.metadata.uid).then(|| SliceView {
            cidr,
            host: other.to_owned(),
            next_hop,
        })
    });
    views.collect()
}

#[cfg(test)]
mod tests;
