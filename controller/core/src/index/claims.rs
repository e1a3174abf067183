//! The claims of the whole cluster, in the orders in which they are asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use cellblock_schemas::Uid;
use cellblock_schemas::jail::UserIds;
use cellblock_schemas::net::{AddressRange, Family, PortRange, Protocol};
use ipnet::{IpNet, Ipv4Net};
use jiff::Timestamp;

use super::free::{Used, to_address, to_number};
use crate::claim::{Claim, Owner, Resource, Share};

/// Of what one of many is: its place among them is an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    /// An address of a network, or of a network on a host.
    Addresses(String, Option<String>),
    /// The user ids of a jail, whose place stands in an IPv6 address: [`place_of`].
    UserIds,
}

impl Scope {
    fn addresses(network: &str, host: Option<&str>) -> Self {
        Self::Addresses(network.to_owned(), host.map(str::to_owned))
    }
}

/// The place of a range of user ids among all ranges. What is free among addresses is searched as what is free among them.
pub(crate) fn place_of(first: u32) -> IpAddr {
    to_address(Family::Ipv6, u128::from(first / UserIds::COUNT_MAX))
}

/// The inverse of [`place_of`].
pub(crate) fn first_at(place: IpAddr) -> Option<u32> {
    let (_, number) = to_number(place);
    u32::try_from(number).ok()?.checked_mul(UserIds::COUNT_MAX)
}

/// Every claim. Asking about one resource, one owner or one scope takes O(log n).
#[derive(Clone, Debug, Default)]
pub struct Claims {
    by_resource: BTreeMap<Resource, Claim>,
    by_owner: BTreeMap<Uid, BTreeSet<Resource>>,
    used: BTreeMap<Scope, Used>,
    /// What is used, and what is kept.
    busy: BTreeMap<Scope, Used>,
    /// What is kept and not used, the oldest first.
    spare: BTreeMap<Scope, BTreeSet<(Timestamp, IpAddr)>>,
    /// For whom something is kept, and since when; for several names, if it was given out between.
    kept: BTreeMap<Resource, BTreeSet<(Timestamp, String)>>,
    bridges: BTreeMap<(Uid, String), u32>,
    slices_by_host: BTreeMap<(String, String), BTreeSet<IpNet>>,
}

impl Claims {
    /// Who holds exactly `resource`.
    #[must_use]
    pub fn get(&self, resource: &Resource) -> Option<&Claim> {
        self.by_resource.get(resource)
    }

    /// Everything that the object of that uid holds.
    pub fn of<'a>(
        &'a self,
        owner: &Uid,
    ) -> impl Iterator<Item = (&'a Resource, &'a Claim)> + use<'a> {
        let resources = self.by_owner.get(owner).into_iter().flatten();
        resources.filter_map(|resource| Some((resource, self.by_resource.get(resource)?)))
    }

    /// The uids that hold anything.
    pub fn owners(&self) -> impl Iterator<Item = &Uid> {
        self.by_owner.keys()
    }

    /// Every claim, in the order of resources.
    pub fn iter(&self) -> impl Iterator<Item = (&Resource, &Claim)> {
        self.by_resource.iter()
    }

    /// Every claim behind one, in the order of resources; without one, every claim.
    pub fn behind(&self, after: Option<&Resource>) -> impl Iterator<Item = (&Resource, &Claim)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.by_resource.range((from, Unbounded))
    }

    /// The addresses taken in one scope.
    #[must_use]
    pub fn used(&self, network: &str, host: Option<&str>) -> Option<&Used> {
        self.used.get(&Scope::addresses(network, host))
    }

    /// The addresses taken in one scope, and those kept for jails that are gone.
    #[must_use]
    pub fn busy(&self, network: &str, host: Option<&str>) -> Option<&Used> {
        self.busy.get(&Scope::addresses(network, host))
    }

    /// The places of ranges of user ids that are taken, or kept for jails that are gone.
    pub(crate) fn busy_user_ids(&self) -> Option<&Used> {
        self.busy.get(&Scope::UserIds)
    }

    /// The places of ranges of user ids that are kept and that nobody has, the oldest first.
    pub(crate) fn spare_user_ids(&self) -> impl Iterator<Item = IpAddr> {
        let spare = self.spare.get(&Scope::UserIds).into_iter().flatten();
        spare.map(|(_, place)| *place)
    }

    /// The routing table that is a network's own, if it has not given it up.
    #[must_use]
    pub fn fib(&self, network: &Uid) -> Option<u16> {
        self.fibs_of(network)
            .find(|(_, claim)| claim.retired.is_none())
            .map(|(number, _)| number)
    }

    /// The routing tables that are a network's own, those given up included.
    pub(crate) fn fibs_of(&self, network: &Uid) -> impl Iterator<Item = (u16, &Claim)> {
        self.of(network)
            .filter_map(|(resource, claim)| match resource {
                Resource::Fib(number) => Some((*number, claim)),
                Resource::Address { .. }
                | Resource::MacNumber(_)
                | Resource::Port { .. }
                | Resource::PublicAddress { .. }
                | Resource::JailName { .. }
                | Resource::Nic { .. }
                | Resource::Root { .. }
                | Resource::Slice { .. }
                | Resource::UserIds(_) => None,
            })
    }

    /// Every routing table that is a network's own.
    pub(crate) fn fibs(&self) -> impl Iterator<Item = (u16, &Claim)> {
        let fibs = self.by_resource.range(Resource::Fib(0)..);
        fibs.map_while(|(resource, claim)| match resource {
            Resource::Fib(number) => Some((*number, claim)),
            Resource::Address { .. }
            | Resource::MacNumber(_)
            | Resource::Port { .. }
            | Resource::PublicAddress { .. }
            | Resource::JailName { .. }
            | Resource::Nic { .. }
            | Resource::Root { .. }
            | Resource::Slice { .. }
            | Resource::UserIds(_) => None,
        })
    }

    /// The addresses of one scope that are kept for jails that are gone and that nobody has, the oldest first.
    pub fn spare(&self, network: &str, host: Option<&str>) -> impl Iterator<Item = IpAddr> {
        let scope = Scope::addresses(network, host);
        let spare = self.spare.get(&scope).into_iter().flatten();
        spare.map(|(_, address)| *address)
    }

    /// Those of them in one range, each with the time since when, in the order of addresses: nothing outside of the range is looked at.
    pub fn spare_within(
        &self,
        network: &str,
        host: Option<&str>,
        range: &AddressRange,
    ) -> impl Iterator<Item = (Timestamp, IpAddr)> + use<'_> {
        let at = |address| Resource::Address {
            network: network.to_owned(),
            host: host.map(str::to_owned),
            address,
        };
        let kept = self.kept.range(at(range.first)..=at(range.last));
        kept.filter_map(|(resource, _)| {
            let (resource, since, _) = self.spared(resource)?;
            let Resource::Address { address, .. } = resource else {
                return None;
            };
            Some((since, *address))
        })
    }

    /// The name that something is kept for, and since when: that of the jail that had it last.
    #[must_use]
    pub fn kept_for(&self, resource: &Resource) -> Option<(Timestamp, &str)> {
        let (since, name) = self.kept.get(resource)?.last()?;
        Some((*since, name))
    }

    /// Everything that is kept and that nobody has, behind one resource, in the order of resources.
    pub fn kept_behind(
        &self,
        after: Option<&Resource>,
    ) -> impl Iterator<Item = (&Resource, Timestamp, &str)> + use<'_> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let kept = self.kept.range((from, Unbounded));
        kept.filter_map(|(resource, _)| self.spared(resource))
    }

    /// For whom a resource is kept that nobody has.
    #[must_use]
    pub fn spared(&self, resource: &Resource) -> Option<(&Resource, Timestamp, &str)> {
        let (resource, names) = self.kept.get_key_value(resource)?;
        let (since, name) = names.last()?;
        let is_held = self.by_resource.contains_key(resource);
        (!is_held).then_some((resource, *since, name.as_str()))
    }

    /// Every claim of an address of a network, on whatever host, those given up included.
    pub fn addresses<'a>(
        &'a self,
        network: &'a str,
    ) -> impl Iterator<Item = (IpAddr, &'a Claim)> + use<'a> {
        let first = Resource::Address {
            network: network.to_owned(),
            host: None,
            address: Ipv4Addr::UNSPECIFIED.into(),
        };
        let rest = self.by_resource.range(first..);
        rest.map_while(move |(resource, claim)| match resource {
            Resource::Address {
                network: of,
                address,
                ..
            } if of == network => Some((*address, claim)),
            Resource::Address { .. }
            | Resource::MacNumber(_)
            | Resource::Port { .. }
            | Resource::PublicAddress { .. }
            | Resource::JailName { .. }
            | Resource::Nic { .. }
            | Resource::Root { .. }
            | Resource::Slice { .. }
            | Resource::UserIds(_)
            | Resource::Fib(_) => None,
        })
    }

    /// The slices of a network's subnets, with who has them, ascending.
    pub fn slices<'a>(
        &'a self,
        network: &'a str,
    ) -> impl Iterator<Item = (IpNet, &'a Claim)> + use<'a> {
        let slices = self.slices_from(network);
        slices.map_while(move |(of, net, claim)| (of == network).then_some((net, claim)))
    }

    /// The slices of a network's subnets that one host has, ascending.
    pub fn slices_of_host(
        &self,
        network: &str,
        host: &str,
    ) -> impl Iterator<Item = IpNet> + use<'_> {
        let of = (network.to_owned(), host.to_owned());
        self.slices_by_host.get(&of).into_iter().flatten().copied()
    }

    /// The slices of all networks, with the network's name and who has them.
    pub fn all_slices(&self) -> impl Iterator<Item = (&str, IpNet, &Claim)> {
        self.slices_from("")
    }

    /// The networks of whose subnets a host has slices; one with several comes as often.
    pub(super) fn networks_sliced_for<'a>(
        &'a self,
        host: &'a str,
    ) -> impl Iterator<Item = &'a str> + use<'a> {
        let slices = self.slices_from("");
        slices.filter_map(move |(network, _, claim)| {
            (claim.owner.slice_host() == Some(host)).then_some(network)
        })
    }

    fn slices_from(&self, network: &str) -> impl Iterator<Item = (&str, IpNet, &Claim)> + use<'_> {
        let each = self.within_slices(network);
        each.filter_map(|(resource, claim)| match resource {
            Resource::Slice { network, net } => Some((network.as_str(), *net, claim)),
            Resource::Address { .. }
            | Resource::MacNumber(_)
            | Resource::Port { .. }
            | Resource::PublicAddress { .. }
            | Resource::JailName { .. }
            | Resource::Nic { .. }
            | Resource::Root { .. }
            | Resource::UserIds(_)
            | Resource::Fib(_) => None,
        })
    }

    /// The claims of slices from those of a network on, and no others: what stands behind them may be much.
    pub(super) fn within_slices(
        &self,
        network: &str,
    ) -> std::collections::btree_map::Range<'_, Resource, Claim> {
        let first = Resource::Slice {
            network: network.to_owned(),
            net: Ipv4Net::default().into(),
        };
        self.by_resource.range(first..Resource::UserIds(0))
    }

    /// The MAC number of a network's bridge on a host.
    #[must_use]
    pub fn bridge(&self, network: &Uid, host: &str) -> Option<u32> {
        self.bridges
            .get(&(network.clone(), host.to_owned()))
            .copied()
    }

    /// How many claims there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_resource.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_resource.is_empty()
    }

    /// A claim of somebody else than `except` that leaves no room for `resource`: the same resource, overlapping ports, or
    /// ports of an address that is given away whole.
    #[must_use]
    pub fn in_the_way<'a>(
        &'a self,
        resource: &Resource,
        except: &Uid,
    ) -> Option<(&'a Resource, &'a Claim)> {
        let exact = self.by_resource.get_key_value(resource).into_iter();
        exact
            .chain(self.ports_in_the_way(resource))
            .find(|(other, claim)| claim.owner.uid() != except && !are_shared(resource, other))
    }

    fn ports_in_the_way<'a>(&'a self, resource: &Resource) -> Vec<(&'a Resource, &'a Claim)> {
        match resource {
            Resource::Port {
                host,
                address,
                protocol,
                ports,
                share: _,
            } => {
                let whole = Resource::PublicAddress {
                    host: host.clone(),
                    address: *address,
                };
                let whole = self.by_resource.get_key_value(&whole);
                let port = |ports, share| Resource::Port {
                    host: host.clone(),
                    address: *address,
                    protocol: *protocol,
                    ports,
                    share,
                };
                let highest = PortRange {
                    first: ports.last,
                    last: u16::MAX,
                };
                let lowest = PortRange { first: 0, last: 0 };
                // Ranges of one jail may overlap, so that one which ends below ours does not end the search. Those of two do not, or are the same: a range that reaches ours from
                // below the second's would overlap both.
                let mut below = None;
                let claims = self
                    .by_resource
                    .range(port(lowest, None)..=port(highest, Some(Share::last())));
                let claims = claims.rev();
                let near = claims.take_while(|(other, claim)| {
                    let owner = claim.owner.uid();
                    is_overlapping(other, *ports) || *below.get_or_insert(owner) == owner
                });
                let overlapping = near.filter(|(other, _)| is_overlapping(other, *ports));
                whole.into_iter().chain(overlapping).collect()
            }
            Resource::PublicAddress { host, address } => {
                let port = |protocol, ports, share| Resource::Port {
                    host: host.clone(),
                    address: *address,
                    protocol,
                    ports,
                    share,
                };
                let lowest = port(Protocol::Tcp, PortRange { first: 0, last: 0 }, None);
                let highest = PortRange {
                    first: u16::MAX,
                    last: u16::MAX,
                };
                let highest = port(Protocol::Udp, highest, Some(Share::last()));
                self.by_resource.range(lowest..=highest).collect()
            }
            Resource::Address { .. }
            | Resource::MacNumber(_)
            | Resource::JailName { .. }
            | Resource::Nic { .. }
            | Resource::Root { .. }
            | Resource::Slice { .. }
            | Resource::UserIds(_)
            | Resource::Fib(_) => Vec::new(),
        }
    }

    pub(super) fn keep(&mut self, resource: Resource, since: Timestamp, name: &str) {
        self.unspare(&resource);
        let names = self.kept.entry(resource.clone()).or_default();
        names.insert((since, name.to_owned()));
        self.spare_again(&resource);
    }

    pub(super) fn forget(&mut self, resource: &Resource, since: Timestamp, name: &str) {
        self.unspare(resource);
        if let Some(names) = self.kept.get_mut(resource) {
            names.remove(&(since, name.to_owned()));
            if names.is_empty() {
                self.kept.remove(resource);
            }
        }
        self.spare_again(resource);
    }

    /// Takes an address out of those that are busy or spare, before whose or for whom it is changes.
    fn unspare(&mut self, resource: &Resource) {
        let Some((scope, address)) = scope_of(resource) else {
            return;
        };
        if let Some((since, _)) = self.kept_for(resource)
            && let Some(spare) = self.spare.get_mut(&scope)
        {
            spare.remove(&(since, address));
            if spare.is_empty() {
                self.spare.remove(&scope);
            }
        }
        take_out(&mut self.busy, &scope, address);
    }

    /// Puts it in again as it is now.
    fn spare_again(&mut self, resource: &Resource) {
        let Some((scope, address)) = scope_of(resource) else {
            return;
        };
        let since = self.kept_for(resource).map(|(since, _)| since);
        let is_used = self.by_resource.contains_key(resource);
        if let Some(since) = since.filter(|_| !is_used) {
            let spare = self.spare.entry(scope.clone()).or_default();
            spare.insert((since, address));
        }
        if is_used || since.is_some() {
            self.busy.entry(scope).or_default().insert(address);
        }
    }

    pub(super) fn insert(&mut self, resource: Resource, claim: Claim) {
        self.remove(&resource);
        self.unspare(&resource);
        if let Some((scope, address)) = scope_of(&resource) {
            self.used.entry(scope).or_default().insert(address);
        }
        if let (Owner::Bridge { uid, host, .. }, Resource::MacNumber(number)) =
            (&claim.owner, &resource)
        {
            self.bridges.insert((uid.clone(), host.clone()), *number);
        }
        if let (Owner::Slice { host, .. }, Resource::Slice { network, net }) =
            (&claim.owner, &resource)
        {
            let of = (network.clone(), host.clone());
            self.slices_by_host.entry(of).or_default().insert(*net);
        }
        let owned = self.by_owner.entry(claim.owner.uid().clone()).or_default();
        owned.insert(resource.clone());
        self.by_resource.insert(resource.clone(), claim);
        self.spare_again(&resource);
    }

    pub(super) fn remove(&mut self, resource: &Resource) -> Option<Claim> {
        self.unspare(resource);
        let claim = self.by_resource.remove(resource);
        self.spare_again(resource);
        let claim = claim?;
        if let Some((scope, address)) = scope_of(resource) {
            take_out(&mut self.used, &scope, address);
        }
        if let Owner::Bridge { uid, host, .. } = &claim.owner {
            self.bridges.remove(&(uid.clone(), host.clone()));
        }
        if let (Owner::Slice { host, .. }, Resource::Slice { network, net }) =
            (&claim.owner, resource)
        {
            let of = (network.clone(), host.clone());
            if let Some(slices) = self.slices_by_host.get_mut(&of) {
                slices.remove(net);
                if slices.is_empty() {
                    self.slices_by_host.remove(&of);
                }
            }
        }
        if let Some(owned) = self.by_owner.get_mut(claim.owner.uid()) {
            owned.remove(resource);
            if owned.is_empty() {
                self.by_owner.remove(claim.owner.uid());
            }
        }
        Some(claim)
    }
}

/// Where an address is one of many.
fn scope_of(resource: &Resource) -> Option<(Scope, IpAddr)> {
    match resource {
        Resource::Address {
            network,
            host,
            address,
        } => Some((Scope::addresses(network, host.as_deref()), *address)),
        Resource::UserIds(first) => Some((Scope::UserIds, place_of(*first))),
        Resource::MacNumber(_)
        | Resource::Port { .. }
        | Resource::PublicAddress { .. }
        | Resource::JailName { .. }
        | Resource::Nic { .. }
        | Resource::Root { .. }
        | Resource::Slice { .. }
        | Resource::Fib(_) => None,
    }
}

fn take_out(scopes: &mut BTreeMap<Scope, Used>, scope: &Scope, address: IpAddr) {
    if let Some(used) = scopes.get_mut(scope) {
        used.remove(address);
        if used.is_empty() {
            scopes.remove(scope);
        }
    }
}

fn is_overlapping(resource: &Resource, ports: PortRange) -> bool {
    matches!(resource, Resource::Port { ports: other, .. } if other.overlaps(&ports))
}

/// Whether both are parts of the same shared ports, on the same terms.
fn are_shared(one: &Resource, other: &Resource) -> bool {
    match (one, other) {
        (
            Resource::Port {
                ports,
                share: Some(share),
                ..
            },
            Resource::Port {
                ports: others,
                share: Some(other),
                ..
            },
        ) => ports == others && share.goes_with(other),
        _ => false,
    }
}
