//! Allocation: which addresses, MAC addresses and NICs a jail gets on a host. Chooses only; the caller writes the claims in the
//! jail's own transaction, each created only if absent.
//!
//! Deterministic: the lowest free address of each subnet, the first free NIC of a pool, and the first free MAC number from a starting point that is a hash
//! of the jail's uid and the interface. What the jail had before it keeps while that is still right; one that is new gets what is kept for its name, and nobody gets
//! what is kept for another while there is something else.

use std::collections::BTreeSet;
use std::net::IpAddr;

use cellblock_schemas::jail::{Addressing, Attachment, Binding, BoundAttachment, UserIdRange};
use cellblock_schemas::net::{AddressRange, Family, HostAddress, Mac};
use cellblock_schemas::network::{
    Mode, Network, NetworkSpec, Passthrough, RoutedLink, Scope, Subnet,
};
use cellblock_schemas::{Host, Jail, Uid};
use ipnet::IpNet;
use sha2::{Digest, Sha256};

use crate::claim::Resource;
use crate::index::Index;
use crate::index::claims::{first_at, place_of};
use crate::index::free::{to_address, to_number};
use crate::slices::{self, Holder};
use crate::waiting::Waiting;

/// The first two octets of the MAC address of a jail's end of a link.
const JAIL_END: [u8; 2] = [0x02, 0xcb];

/// The first two octets of the MAC address of the host's end of a link.
pub(crate) const HOST_END: [u8; 2] = [0x06, 0xcb];

/// The first two octets of a bridge's MAC address.
const BRIDGE: [u8; 2] = [0x0a, 0xcb];

/// What a jail gets on one host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Allocation {
    /// One per attachment of the spec, in the same order.
    pub attachments: Vec<BoundAttachment>,
    /// Everything that must be claimed for the jail.
    pub resources: BTreeSet<Resource>,
    /// Bridges that do not have a MAC number yet: the network's name, its uid, the number.
    pub bridges: Vec<(String, Uid, u32)>,
    /// Slices that the host does not have yet, with the network's name.
    pub slices: BTreeSet<(String, IpNet)>,
    /// The user ids, if it asks for some.
    pub user_ids: Option<UserIdRange>,
}

/// The first user id that is given out: above those of the base system and of ports (UIDs in the ports tree), of pw(8) (1000 to 32000, usr.sbin/pw/pw_conf.c), and nobody's. A multiple of
/// [`cellblock_schemas::jail::UserIds::COUNT_MAX`].
const USER_IDS_FIRST: u32 = 1_000_000;

/// The last: ids are unsigned (`UID_MAX`, sys/sys/limits.h, which pfctl(8) goes by, too), but not everybody who reads one knows.
const USER_IDS_LAST: u32 = 2_147_479_999;

/// Chooses everything for `jail` on `host`. `networks` are the jail's, one per attachment.
///
/// # Errors
/// A subnet has no address left, or a network cannot give addresses at all.
pub fn allocate(
    index: &Index,
    jail: &Jail,
    host: &str,
    networks: &[&Network],
    previous: Option<&Binding>,
) -> Result<Allocation, Waiting> {
    let mut allocation = Allocation::default();
    // What is given to one attachment is chosen for no other.
    let given = jail.spec.networks.iter().filter_map(|one| one.mac);
    allocation.resources.extend(given.map(Resource::of_mac));
    let kept = index.kept(&jail.metadata.name);
    let had = kept.filter(|_| previous.is_none());
    let former = previous.or(had.map(|had| &had.binding));
    for (attachment, network) in jail.spec.networks.iter().zip(networks) {
        let before = former.and_then(|binding| {
            binding.attachments.iter().find(|bound| {
                bound.interface == attachment.interface && bound.network == attachment.network
            })
        });
        let mut choice = Choice {
            index,
            owner: &jail.metadata.uid,
            name: &jail.metadata.name,
            host,
            network,
            attachment,
            before,
            is_back: had.is_some(),
            allocation: &mut allocation,
        };
        let bound = choice.attachment()?;
        choice.bridge();
        allocation.attachments.push(bound);
    }
    if let Some(wanted) = jail.spec.user_ids {
        let before = former.and_then(|binding| binding.user_ids);
        let first = user_ids(index, jail, before.map(|range| range.first))?;
        allocation.resources.insert(Resource::UserIds(first));
        allocation.user_ids = Some(UserIdRange {
            first,
            last: first + (wanted.count - 1),
        });
    }
    Ok(allocation)
}

/// The first of the user ids of a jail: those that it has, or had; else the lowest that are neither taken nor kept; else those that are kept longest.
fn user_ids(index: &Index, jail: &Jail, before: Option<u32>) -> Result<u32, Waiting> {
    let claims = index.claims();
    let may_have = |first: &u32| {
        let wanted = Resource::UserIds(*first);
        let kept = claims.kept_for(&wanted);
        let is_own = claims.get(&wanted).is_some();
        claims.in_the_way(&wanted, &jail.metadata.uid).is_none()
            && (is_own || kept.is_none_or(|(_, name)| name == jail.metadata.name))
    };
    let none = Default::default();
    let busy = claims.busy_user_ids().unwrap_or(&none);
    let all = AddressRange {
        first: place_of(USER_IDS_FIRST),
        last: place_of(USER_IDS_LAST),
    };
    let place = || {
        let free = busy.next_free(&all, &[]);
        free.or_else(|| claims.spare_user_ids().next())
    };
    let before = before.filter(may_have);
    before.or_else(|| first_at(place()?)).ok_or_else(|| {
        let message = "every range of user ids is taken; delete a jail that asks for one, or let it ask no more";
        Waiting::new("UserIdsExhausted", message)
    })
}

/// The claim of one address of a network for a jail on a host.
#[must_use]
pub fn address_claim(network: &Network, host: &str, address: IpAddr) -> Resource {
    Resource::Address {
        network: network.metadata.name.clone(),
        host: scope_host(&network.spec, host).map(str::to_owned),
        address,
    }
}

/// An address, and that of the host's end of its link where the network gives both.
pub(crate) fn with_partner(
    spec: &NetworkSpec,
    address: IpAddr,
) -> impl Iterator<Item = IpAddr> + use<> {
    std::iter::once(address).chain(spec.partner(address))
}

/// The prefix length that an address of a routed network has on its link; none in other modes, where the subnet has one.
#[must_use]
pub(crate) fn routed_prefix_length(spec: &NetworkSpec, address: IpAddr) -> Option<u8> {
    let Some(Mode::Routed(routed)) = spec.mode() else {
        return None;
    };
    Some(on_link(routed.link, address))
}

fn on_link(link: RoutedLink, address: IpAddr) -> u8 {
    let single = Family::of(address).host_prefix_length();
    match link {
        RoutedLink::Unnumbered => single,
        RoutedLink::PointToPoint => single - 1,
    }
}

/// The host's part of an address's scope.
#[must_use]
pub fn scope_host<'a>(spec: &NetworkSpec, host: &'a str) -> Option<&'a str> {
    match spec.effective_scope() {
        Scope::Host => Some(host),
        Scope::Fleet => None,
    }
}

/// The MAC address of a bridge with that number.
#[must_use]
pub fn bridge_mac(number: u32) -> Mac {
    mac(BRIDGE, number)
}

/// The ranges that addresses of a subnet are given out from, and the addresses in them that are not.
///
/// Without ranges of its own a subnet gives all its addresses. The first and, for IPv4, the last are never given: the network's and
/// the broadcast address, or IPv6's subnet-router anycast address. Prefixes of one or two addresses give all of them.
#[must_use]
pub fn allocatable(subnet: &Subnet) -> (Vec<AddressRange>, Vec<AddressRange>) {
    let mut holes = subnet.reserve.clone();
    if let Some(gateway) = &subnet.gateway {
        holes.push(AddressRange {
            first: gateway.address,
            last: gateway.address,
        });
    }
    holes.extend(subnet.edges().map(|edge| AddressRange {
        first: edge,
        last: edge,
    }));
    if subnet.allocate.is_empty() {
        let net = subnet.cidr.net();
        let whole = AddressRange {
            first: net.network(),
            last: net.broadcast(),
        };
        (vec![whole], holes)
    } else {
        (subnet.allocate.clone(), holes)
    }
}

/// What of a subnet is given out at all.
struct GivenOut {
    ranges: Vec<AddressRange>,
    holes: Vec<AddressRange>,
    /// Slices of a former size, whose addresses nobody gets.
    former: Vec<IpNet>,
}

impl GivenOut {
    fn of(index: &Index, network: &Network, subnet: &Subnet) -> Self {
        let (ranges, holes) = allocatable(subnet);
        let is_sliced = network.spec.slice_length(subnet.cidr.family()).is_some();
        let former = is_sliced.then(|| slices::misfits(index, network));
        Self {
            ranges,
            holes,
            former: former.unwrap_or_default(),
        }
    }

    fn contains(&self, address: IpAddr) -> bool {
        let is_in = |ranges: &[AddressRange]| ranges.iter().any(|range| range.contains(address));
        is_in(&self.ranges) && !is_in(&self.holes)
    }

    fn fits(&self, slice: IpNet) -> bool {
        let mut former = self.former.iter();
        former.all(|other| !other.contains(&slice) && !slice.contains(other))
    }
}

/// The NICs of a host that a pass-through network may give away, in the order of the manifests.
#[must_use]
pub fn nics<'a>(host: &'a Host, mode: &Passthrough) -> Vec<&'a str> {
    let uplinks = mode.uplinks.iter();
    let uplinks = uplinks.filter_map(|name| host.spec.uplinks.get(name));
    let mut nics: Vec<&str> = Vec::new();
    for nic in uplinks.flat_map(|uplink| uplink.interface.iter().chain(&uplink.interfaces)) {
        if !nics.contains(&nic.as_str()) {
            nics.push(nic);
        }
    }
    nics
}

struct Choice<'a> {
    index: &'a Index,
    owner: &'a Uid,
    /// The jail's name.
    name: &'a str,
    host: &'a str,
    network: &'a Network,
    attachment: &'a Attachment,
    before: Option<&'a BoundAttachment>,
    /// Whether that is what a former jail of the name had.
    is_back: bool,
    allocation: &'a mut Allocation,
}

impl Choice<'_> {
    fn attachment(&mut self) -> Result<BoundAttachment, Waiting> {
        let addresses = if self.attachment.addresses.is_empty() {
            self.allocated()?
        } else {
            self.given()
        };
        let nic = match &self.network.spec.passthrough {
            Some(mode) => Some(self.nic(mode)?),
            None => None,
        };
        let is_vnet = self.network.spec.mode().is_some_and(|mode| mode.is_vnet());
        Ok(BoundAttachment {
            network: self.attachment.network.clone(),
            interface: self.attachment.interface.clone(),
            addresses,
            // A NIC keeps its own.
            mac: (is_vnet && nic.is_none()).then(|| self.mac()),
            nic,
        })
    }

    /// The addresses of the spec, each with its prefix length.
    fn given(&mut self) -> Vec<HostAddress> {
        let given = self.attachment.addresses.iter();
        let addresses = given.map(|given| HostAddress {
            prefix_length: given.prefix_length.or_else(|| {
                let subnet = self.network.spec.subnet_of(given.address);
                Some(self.prefix_length(subnet, given.address))
            }),
            ..*given
        });
        let addresses: Vec<_> = addresses.collect();
        for given in &addresses {
            self.claim(given.address);
        }
        addresses
    }

    /// Claims an address, and that of the host's end of its link where that is one of the network's too; and for the host the slice that they are of.
    fn claim(&mut self, address: IpAddr) {
        if let Some(slice) = self.network.spec.slice_of(address)
            && slices::holder(self.index, self.network, self.host, slice) != Holder::Own
        {
            let name = self.network.metadata.name.clone();
            self.allocation.slices.insert((name, slice));
        }
        for address in with_partner(&self.network.spec, address) {
            let claim = address_claim(self.network, self.host, address);
            self.allocation.resources.insert(claim);
        }
    }

    /// One address of each subnet whose family is not the wire's or the jail's to give.
    fn allocated(&mut self) -> Result<Vec<HostAddress>, Waiting> {
        let name = &self.network.metadata.name;
        let is_allocated = self.attachment.effective_addressing() == Addressing::Allocate;
        if self.network.spec.subnets.is_empty() && is_allocated {
            return Err(Waiting::new(
                "NoSubnets",
                format!("network {name} has no subnets to allocate an address from"),
            ));
        }
        let mut addresses = Vec::new();
        let attachment = self.attachment;
        let subnets = self.network.spec.subnets.iter();
        for subnet in subnets.filter(|subnet| !attachment.is_dynamic(subnet.cidr.family())) {
            let address = self
                .kept(subnet)
                .or_else(|| self.free(subnet))
                .ok_or_else(|| {
                    let message = match self.network.spec.slice_length(subnet.cidr.family()) {
                        None => format!(
                            "no free address is left in {} of network {name}",
                            subnet.cidr
                        ),
                        Some(length) => format!(
                            "no free address is left in the slices of {} that host {} has of network {name}, and no other /{length} of it is free; add a subnet",
                            subnet.cidr, self.host
                        ),
                    };
                    Waiting::new("AddressesExhausted", message)
                })?;
            self.claim(address);
            addresses.push(HostAddress {
                address,
                prefix_length: Some(self.prefix_length(Some(subnet), address)),
            });
        }
        Ok(addresses)
    }

    /// The address that the jail has in a subnet, if it may still have it, or that a former jail of its name had. The ranges that addresses are given out from do
    /// not count for the first: narrowing them must not move a running jail.
    fn kept(&self, subnet: &Subnet) -> Option<IpAddr> {
        let gateway = subnet.gateway.as_ref().map(|gateway| gateway.address);
        let out = GivenOut::of(self.index, self.network, subnet);
        let before = self.before?.addresses.iter();
        before
            .map(|address| address.address)
            .filter(|address| subnet.cidr.net().contains(address))
            .filter(|address| Some(*address) != gateway)
            .filter(|address| self.may_be_here(*address))
            .filter(|address| !self.is_back || self.may_be_given(&out, *address, Some(self.name)))
            .find(|address| {
                with_partner(&self.network.spec, *address).all(|address| {
                    let claim = address_claim(self.network, self.host, address);
                    !self.allocation.resources.contains(&claim)
                        && self.index.claims().in_the_way(&claim, self.owner).is_none()
                })
            })
    }

    /// Whether no other host has the slice that an address is of.
    fn may_be_here(&self, address: IpAddr) -> bool {
        let slice = self.network.spec.slice_of(address);
        slice.is_none_or(
            |slice| match slices::holder(self.index, self.network, self.host, slice) {
                Holder::Nobody | Holder::Own | Holder::Idle => true,
                Holder::Other(_) => false,
            },
        )
    }

    /// Whether an address that nobody has may be given out here although it is kept: none for which something is kept later than for `name`.
    fn may_be_given(&self, out: &GivenOut, address: IpAddr, name: Option<&str>) -> bool {
        let claims = self.index.claims();
        let is_others = |address: IpAddr| {
            let kept = claims.kept_for(&address_claim(self.network, self.host, address));
            kept.zip(name)
                .is_some_and(|((_, other), name)| other != name)
        };
        let slice = self.network.spec.slice_of(address);
        self.may_be_here(address)
            && slice.is_none_or(|slice| out.fits(slice))
            && with_partner(&self.network.spec, address)
                .all(|address| out.contains(address) && !is_others(address))
    }

    /// An address of the network that nobody has, the longest kept first.
    fn spare(&self, subnet: &Subnet) -> Option<IpAddr> {
        let host = scope_host(&self.network.spec, self.host);
        let claims = self.index.claims();
        self.spare_of(subnet, claims.spare(&self.network.metadata.name, host))
    }

    /// One of some slices. What is kept in those of other hosts, which may be much, is not looked at.
    fn spare_in(&self, subnet: &Subnet, slices: &BTreeSet<IpNet>) -> Option<IpAddr> {
        let host = scope_host(&self.network.spec, self.host);
        let (name, claims) = (&self.network.metadata.name, self.index.claims());
        let ranges = slices.iter().map(|slice| slices::range(*slice));
        let spare: BTreeSet<_> = ranges
            .flat_map(|range| claims.spare_within(name, host, &range))
            .collect();
        if spare.is_empty() {
            return None;
        }
        self.spare_of(subnet, spare.into_iter().map(|(_, address)| address))
    }

    /// The first of those that may be given out here.
    fn spare_of(&self, subnet: &Subnet, mut spare: impl Iterator<Item = IpAddr>) -> Option<IpAddr> {
        let claims = self.index.claims();
        // Once for all that is kept, which may be much.
        let out = GivenOut::of(self.index, self.network, subnet);
        spare.find(|address| {
            // Of a pair the jail has the upper one.
            let partner = self.network.spec.partner(*address);
            subnet.cidr.net().contains(address)
                && self.may_be_here(*address)
                && partner.is_none_or(|partner| partner < *address)
                && self.may_be_given(&out, *address, None)
                && with_partner(&self.network.spec, *address).all(|address| {
                    let claim = address_claim(self.network, self.host, address);
                    !self.allocation.resources.contains(&claim) && claims.get(&claim).is_none()
                })
        })
    }

    /// The first address that is neither taken nor kept; when there is none, one that is kept for a jail that is gone. Before a host takes one more slice it takes what is kept in its own: its
    /// slices stay its own, so that jails of ever new names would bring it all there are.
    fn free(&self, subnet: &Subnet) -> Option<IpAddr> {
        let (ranges, mut holes) = allocatable(subnet);
        // A second attachment of the same jail to the same network must not get the first one's address.
        let own = self
            .allocation
            .resources
            .iter()
            .filter_map(|resource| match resource {
                Resource::Address {
                    network, address, ..
                } if *network == self.network.metadata.name => Some(AddressRange {
                    first: *address,
                    last: *address,
                }),
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
            });
        holes.extend(own);
        let host = scope_host(&self.network.spec, self.host);
        let used = self.index.claims().busy(&self.network.metadata.name, host);
        let none = Default::default();
        let used = used.unwrap_or(&none);
        let paired = self
            .network
            .spec
            .partner(subnet.cidr.net().addr())
            .is_some();
        let next = |range: &AddressRange| {
            if paired {
                used.next_free_pair(range, &holes)
            } else {
                used.next_free(range, &holes)
            }
        };
        if self
            .network
            .spec
            .slice_length(subnet.cidr.family())
            .is_none()
        {
            let unkept = ranges.iter().find_map(next);
            return unkept.or_else(|| self.spare(subnet));
        }
        let own = self.own_slices(subnet);
        let within = ranges.iter().flat_map(|range| {
            let own = own.iter().map(|slice| slices::range(*slice));
            own.filter_map(|slice| common(&slice, range))
        });
        let new = |wanted: Holder| {
            let former = slices::misfits(self.index, self.network);
            let is_wanted = |slice: IpNet| {
                let fits = |other: &IpNet| !other.contains(&slice) && !slice.contains(other);
                former.iter().all(fits)
                    && slices::holder(self.index, self.network, self.host, slice) == wanted
            };
            ranges
                .iter()
                .find_map(|range| self.beginning(range, &next, &is_wanted))
        };
        let mut within = within;
        within
            .find_map(|range| next(&range))
            .or_else(|| self.spare_in(subnet, &own))
            .or_else(|| new(Holder::Nobody))
            .or_else(|| new(Holder::Idle))
            .or_else(|| self.spare(subnet))
    }

    /// The slices of a subnet that the host has, or gets with this jail, ascending.
    fn own_slices(&self, subnet: &Subnet) -> BTreeSet<IpNet> {
        let name = &self.network.metadata.name;
        let held = self.index.claims().slices_of_host(name, self.host);
        let held = held
            .filter(|net| slices::holder(self.index, self.network, self.host, *net) == Holder::Own);
        let new = self.allocation.slices.iter();
        let new = new.filter(|(of, _)| of == name).map(|(_, net)| *net);
        let is_fit = |net: &IpNet| self.network.spec.slice_of(net.addr()) == Some(*net);
        held.chain(new)
            .filter(|net| subnet.cidr.net().contains(net) && is_fit(net))
            .collect()
    }

    /// The first free address of the first slice in a range that is wanted. Each round leaves a slice behind that somebody has.
    fn beginning(
        &self,
        range: &AddressRange,
        next: &impl Fn(&AddressRange) -> Option<IpAddr>,
        is_wanted: &impl Fn(IpNet) -> bool,
    ) -> Option<IpAddr> {
        let mut rest = *range;
        loop {
            let address = next(&rest)?;
            let slice = self.network.spec.slice_of(address)?;
            if is_wanted(slice) {
                return Some(address);
            }
            if slice.broadcast() >= rest.last {
                return None;
            }
            let (family, last) = to_number(slice.broadcast());
            rest.first = to_address(family, last.checked_add(1)?);
        }
    }

    /// The prefix length that an address gets on its interface: that of a single address where the address is an alias of
    /// the host (shared IP) or a route leads to it alone, and the subnet's where the interface is on that subnet.
    fn prefix_length(&self, subnet: Option<&Subnet>, address: IpAddr) -> u8 {
        let single = Family::of(address).host_prefix_length();
        let of_subnet = subnet.map_or(single, |subnet| subnet.cidr.net().prefix_len());
        match self.network.spec.mode() {
            Some(Mode::Routed(routed)) => on_link(routed.link, address),
            Some(Mode::Bridge(_) | Mode::Netgraph(_) | Mode::Passthrough(_)) => of_subnet,
            Some(Mode::SharedIp(_)) | None => single,
        }
    }

    /// The NIC that the jail has, if it may keep it, or the first free one of the pool.
    fn nic(&mut self, mode: &Passthrough) -> Result<String, Waiting> {
        let host = self.index.host(self.host);
        let pool = host.map_or_else(Vec::new, |host| nics(host, mode));
        if pool.is_empty() {
            let message = format!(
                "host {} has no NIC to pass through: none of its uplinks is one of {} of network {}, with `interface` or `interfaces`",
                self.host,
                mode.uplinks.join(", "),
                self.network.metadata.name
            );
            return Err(Waiting::new("UplinkMissing", message));
        }
        let before = self.before.and_then(|before| before.nic.as_deref());
        let kept = before.filter(|before| pool.contains(before)).into_iter();
        let claim = |nic: &str| Resource::Nic {
            host: self.host.to_owned(),
            interface: nic.to_owned(),
        };
        let free = kept.chain(pool.iter().copied()).map(claim);
        let claims = self.index.claims();
        let chosen = free.into_iter().find(|claim| {
            !self.allocation.resources.contains(claim)
                && claims.in_the_way(claim, self.owner).is_none()
        });
        if let Some(Resource::Nic { interface, .. }) = &chosen {
            let nic = interface.clone();
            self.allocation.resources.extend(chosen);
            return Ok(nic);
        }
        let holders = pool
            .iter()
            .map(|nic| match claims.in_the_way(&claim(nic), self.owner) {
                Some((_, held)) if held.retired.is_some() => format!(
                    "{nic} by {}, which has given it up, but its host has not confirmed that yet",
                    held.owner
                ),
                Some((_, held)) => format!("{nic} by {}", held.owner),
                None => format!("{nic} by another interface of this jail"),
            });
        let holders: Vec<String> = holders.collect();
        let message = format!(
            "every NIC that network {} has on host {} is taken: {}; a NIC goes to one jail: add one to the Host's uplinks, or delete a jail that has one",
            self.network.metadata.name,
            self.host,
            holders.join(", ")
        );
        Err(Waiting::new("NicsExhausted", message))
    }

    fn mac(&mut self) -> Mac {
        if let Some(given) = self.attachment.mac {
            return given;
        }
        let kept = self.before.and_then(|before| before.mac).filter(|mac| {
            let number = Resource::of_mac(*mac);
            let claims = self.index.claims();
            let is_others = || {
                let kept = claims.kept_for(&number);
                kept.is_some_and(|(_, other)| other != self.name)
            };
            mac.0[..2] == JAIL_END
                && !(self.is_back && is_others())
                && !self.allocation.resources.contains(&number)
                && claims.in_the_way(&number, self.owner).is_none()
        });
        if let Some(kept) = kept {
            self.allocation.resources.insert(Resource::of_mac(kept));
            return kept;
        }
        let seed = [self.owner.as_str(), &self.attachment.interface];
        let number = self.number(&seed, Some(self.name));
        self.allocation
            .resources
            .insert(Resource::MacNumber(number));
        mac(JAIL_END, number)
    }

    /// Sees to it that the network's bridge on this host, or the host's own interface at its netgraph switch, has a MAC number.
    fn bridge(&mut self) {
        let uid = &self.network.metadata.uid;
        let is_bridge = matches!(
            self.network.spec.mode(),
            Some(Mode::Bridge(_) | Mode::Netgraph(_))
        );
        let known = self.index.claims().bridge(uid, self.host).is_some()
            || self
                .allocation
                .bridges
                .iter()
                .any(|(_, bridged, _)| bridged == uid);
        if is_bridge && !known {
            let number = self.number(&[uid.as_str(), self.host], None);
            let name = self.network.metadata.name.clone();
            self.allocation.bridges.push((name, uid.clone(), number));
        }
    }

    /// The first free number from a starting point that depends on `seed` alone. The space has 2^32 numbers, so a collision
    /// is rare and a row of taken numbers short. None that is kept for another jail than `name`: there are enough.
    fn number(&self, seed: &[&str], name: Option<&str>) -> u32 {
        let mut hash = Sha256::new();
        for part in seed {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        let hash = hash.finalize();
        let mut number = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
        loop {
            let resource = Resource::MacNumber(number);
            let claim = self.index.claims().get(&resource);
            let kept = self.index.claims().kept_for(&resource);
            // What this very object gave up it may take again.
            let taken = claim
                .is_some_and(|claim| claim.owner.uid() != self.owner || claim.retired.is_none())
                || kept.is_some_and(|(_, other)| name != Some(other))
                || self.allocation.resources.contains(&resource)
                || self
                    .allocation
                    .bridges
                    .iter()
                    .any(|(_, _, taken)| *taken == number);
            if !taken {
                return number;
            }
            number = number.wrapping_add(1);
        }
    }
}

/// The addresses that two ranges have in common.
fn common(one: &AddressRange, other: &AddressRange) -> Option<AddressRange> {
    one.overlaps(other).then(|| AddressRange {
        first: one.first.max(other.first),
        last: one.last.min(other.last),
    })
}

fn mac(prefix: [u8; 2], number: u32) -> Mac {
    let [a, b, c, d] = number.to_be_bytes();
    Mac([prefix[0], prefix[1], a, b, c, d])
}

#[cfg(test)]
mod tests;
