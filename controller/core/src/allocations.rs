//! The list of what is given out: every claim in the words of an operator, and who has it, and what is kept for names of jails that are gone. Reads only; choosing is
//! [`crate::allocate`]'s part.

use cellblock_schemas::jail::UserIds;
use cellblock_schemas::{Kind, Uid};
use jiff::Timestamp;

use crate::claim::{Claim, Owner, Resource};
use crate::index::Index;

/// Which allocations are asked for; what is none does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Of this sort.
    pub sort: Option<Sort>,
    /// On this host.
    pub host: Option<String>,
    /// Of this jail.
    pub jail: Option<String>,
    /// Behind this one.
    pub after: Option<Resource>,
    /// At most so many.
    pub limit: usize,
}

/// A sort of things of which there is only one each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// An address of a network.
    Address,
    /// The octets of a MAC address that the two ends of a link share.
    Mac,
    /// Ports of a public address.
    Port,
    /// A whole public address.
    PublicAddress,
    /// A name in jls(8).
    JailName,
    /// A NIC that is passed through.
    Nic,
    /// A directory.
    Root,
    /// A part of a network's subnets.
    Slice,
    /// User ids of a jail.
    UserIds,
    /// A routing table of a network.
    Fib,
}

impl Sort {
    /// Every sort.
    pub const ALL: [Self; 10] = [
        Self::Address,
        Self::Mac,
        Self::Port,
        Self::PublicAddress,
        Self::JailName,
        Self::Nic,
        Self::Root,
        Self::Slice,
        Self::UserIds,
        Self::Fib,
    ];

    /// As on the command line and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Mac => "mac",
            Self::Port => "port",
            Self::PublicAddress => "public-address",
            Self::JailName => "jail-name",
            Self::Nic => "nic",
            Self::Root => "root",
            Self::Slice => "slice",
            Self::UserIds => "user-ids",
            Self::Fib => "fib",
        }
    }

    /// The sort of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sort| sort.as_str() == name)
    }

    fn of(resource: &Resource) -> Self {
        match resource {
            Resource::Address { .. } => Self::Address,
            Resource::MacNumber(_) => Self::Mac,
            Resource::Port { .. } => Self::Port,
            Resource::PublicAddress { .. } => Self::PublicAddress,
            Resource::JailName { .. } => Self::JailName,
            Resource::Nic { .. } => Self::Nic,
            Resource::Root { .. } => Self::Root,
            Resource::Slice { .. } => Self::Slice,
            Resource::UserIds(_) => Self::UserIds,
            Resource::Fib(_) => Self::Fib,
        }
    }
}

/// One allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// What it is.
    pub resource: Resource,
    /// Its sort.
    pub sort: Sort,
    /// The thing itself, as an operator writes it.
    pub value: String,
    /// The Network that it is of, if it is of one.
    pub network: String,
    /// Among what it is unique: a host's name, or nothing where it is the fleet.
    pub scope: String,
    /// The host that has it, if one does.
    pub host: String,
    /// The kind of the object that it is for.
    pub kind: Kind,
    /// The name of the object that it is for.
    pub owner: String,
    /// The uid of the object that it is for.
    pub uid: Uid,
    /// The generation that gave it up, while its host has not confirmed that.
    pub retired: Option<u64>,
    /// Since when it is kept for the next jail of the owner's name, which is gone: nobody has it.
    pub kept: Option<Timestamp>,
}

/// Whose a resource is.
#[derive(Clone, Copy)]
enum Whose<'a> {
    /// Somebody has it.
    Held(&'a Claim),
    /// It is kept for a name.
    Kept(Timestamp, &'a str),
}

/// The allocations that are asked for, in the order of what they are, and whether there may be more behind the last.
///
/// Of one jail, or of one resource behind another, nothing else is looked at.
#[must_use]
pub fn list(index: &Index, query: &Query) -> (Vec<Allocation>, bool) {
    let found: Box<dyn Iterator<Item = (&Resource, Whose<'_>)>> =
        match &query.jail {
            Some(name) => Box::new(of_jail(index, name).into_iter().filter(|(resource, _)| {
                query.after.as_ref().is_none_or(|after| *resource > after)
            })),
            None => Box::new(all(index, query.after.as_ref())),
        };
    let found =
        found.filter(|(resource, _)| query.sort.is_none_or(|sort| Sort::of(resource) == sort));
    let found = found.filter(|(resource, whose)| {
        let host = query.host.as_deref();
        host.is_none_or(|host| host_of(index, resource, *whose) == Some(host))
    });
    let mut found = found.filter_map(|(resource, whose)| allocation(index, resource, whose));
    let listed: Vec<_> = found.by_ref().take(query.limit).collect();
    let is_more = found.next().is_some();
    (listed, is_more)
}

/// What a jail has, and what is kept for one of its name.
fn of_jail<'a>(index: &'a Index, name: &str) -> Vec<(&'a Resource, Whose<'a>)> {
    let claims = index.claims();
    let jail = index.jail(name);
    let held = jail
        .into_iter()
        .flat_map(|jail| claims.of(&jail.metadata.uid));
    let held = held.map(|(resource, claim)| (resource, Whose::Held(claim)));
    let kept = index.kept(name);
    let kept = kept.into_iter().flat_map(|kept| kept.resources());
    let kept = kept.filter_map(|resource| claims.spared(&resource));
    let kept = kept.filter(|(_, _, of)| *of == name);
    let kept = kept.map(|(resource, since, of)| (resource, Whose::Kept(since, of)));
    let mut found: Vec<_> = held.chain(kept).collect();
    found.sort_unstable_by_key(|(resource, _)| *resource);
    found
}

/// Everything behind one resource, what is held and what is kept, in the order of resources.
fn all<'a>(
    index: &'a Index,
    after: Option<&Resource>,
) -> impl Iterator<Item = (&'a Resource, Whose<'a>)> {
    let held = index.claims().behind(after);
    let held = held.map(|(resource, claim)| (resource, Whose::Held(claim)));
    let kept = index.claims().kept_behind(after);
    let kept = kept.map(|(resource, since, name)| (resource, Whose::Kept(since, name)));
    let (mut held, mut kept) = (held.peekable(), kept.peekable());
    std::iter::from_fn(move || match (held.peek(), kept.peek()) {
        (Some((one, _)), Some((other, _))) if other < one => kept.next(),
        (Some(_), _) => held.next(),
        (None, _) => kept.next(),
    })
}

/// One allocation, if somebody has it or it is kept.
#[must_use]
pub fn single(index: &Index, resource: &Resource) -> Option<Allocation> {
    let claims = index.claims();
    let held = claims.get(resource).map(Whose::Held);
    let kept = || {
        let (_, since, name) = claims.spared(resource)?;
        Some(Whose::Kept(since, name))
    };
    allocation(index, resource, held.or_else(kept)?)
}

/// None only for what is kept for a name that meanwhile nothing is kept for.
fn allocation(index: &Index, resource: &Resource, whose: Whose<'_>) -> Option<Allocation> {
    let (network, scope, value) = match resource {
        Resource::Address {
            network,
            host,
            address,
        } => (network.as_str(), host.as_deref(), address.to_string()),
        Resource::MacNumber(number) => {
            let [a, b, c, d] = number.to_be_bytes();
            ("", None, format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}"))
        }
        Resource::Port {
            host,
            address,
            protocol,
            ports,
            share,
        } => {
            let address = if address.is_ipv6() {
                format!("[{address}]")
            } else {
                address.to_string()
            };
            let pool = share.as_ref().map(|share| format!(" ({})", share.pool));
            let value = format!(
                "{address}:{ports}/{}{}",
                protocol.as_str(),
                pool.unwrap_or_default()
            );
            ("", Some(host.as_str()), value)
        }
        Resource::PublicAddress { host, address } => ("", Some(host.as_str()), address.to_string()),
        Resource::JailName { host, name } => ("", Some(host.as_str()), name.clone()),
        Resource::Nic { host, interface } => ("", Some(host.as_str()), interface.clone()),
        Resource::Root { host, path } => ("", Some(host.as_str()), path.clone()),
        Resource::Slice { network, net } => (network.as_str(), None, net.to_string()),
        Resource::UserIds(first) => {
            let last = first + (UserIds::COUNT_MAX - 1);
            ("", None, format!("{first}-{last}"))
        }
        Resource::Fib(number) => ("", None, number.to_string()),
    };
    let (kind, owner, uid) = match whose {
        Whose::Held(claim) => match &claim.owner {
            Owner::Jail { name, uid } => (Kind::Jail, name.as_str(), uid),
            Owner::Bridge { network, uid, .. }
            | Owner::Network { network, uid }
            | Owner::Slice { network, uid, .. } => (Kind::Network, network.as_str(), uid),
        },
        Whose::Kept(_, name) => (Kind::Jail, name, &index.kept(name)?.uid),
    };
    let (retired, kept) = match whose {
        Whose::Held(claim) => (claim.retired.map(|generation| generation.0), None),
        Whose::Kept(since, _) => (None, Some(since)),
    };
    let host = host_of(index, resource, whose);
    Some(Allocation {
        resource: resource.clone(),
        sort: Sort::of(resource),
        value,
        network: network.to_owned(),
        scope: scope.unwrap_or_default().to_owned(),
        host: host.unwrap_or_default().to_owned(),
        kind,
        owner: owner.to_owned(),
        uid: uid.clone(),
        retired,
        kept,
    })
}

/// The host that has it, or had it: the one among whose it is unique, or that of its owner.
fn host_of<'a>(index: &'a Index, resource: &'a Resource, whose: Whose<'a>) -> Option<&'a str> {
    let scope = match resource {
        Resource::Address { host, .. } => host.as_deref(),
        Resource::Port { host, .. }
        | Resource::PublicAddress { host, .. }
        | Resource::JailName { host, .. }
        | Resource::Nic { host, .. }
        | Resource::Root { host, .. } => Some(host.as_str()),
        Resource::MacNumber(_)
        | Resource::Slice { .. }
        | Resource::UserIds(_)
        | Resource::Fib(_) => None,
    };
    let claim = match whose {
        Whose::Held(claim) => claim,
        Whose::Kept(_, name) => {
            return scope.or_else(|| Some(&*index.kept(name)?.binding.host));
        }
    };
    scope.or_else(|| match &claim.owner {
        Owner::Jail { uid, .. } => {
            let jail = index.by_uid(uid).and_then(|entry| entry.jail());
            jail.and_then(|jail| jail.binding())
                .map(|binding| &*binding.host)
        }
        Owner::Network { .. } => None,
        Owner::Bridge { host, .. } | Owner::Slice { host, .. } => Some(host.as_str()),
    })
}

#[cfg(test)]
mod tests;
