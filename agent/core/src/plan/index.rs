//! What a look found, by what planning asks for: a host twice as large shall take twice as long to plan, not four times.
//!
//! Made once per plan; it answers and decides nothing. Where several things have one key they come in the kernel's order, as a scan of the look would find them.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::iter::Peekable;
use std::net::IpAddr;

use cellblock_schemas::ids::Uid;
use cellblock_schemas::view::HostView;
use ipnet::IpNet;

use crate::ledger::{Ledger, OwnedJail};
use crate::mark::{Mark, Role};
use crate::nic::NicState;
use crate::observed::{Address, Interface, Node, Observed, ObservedJail, Route};

/// How many octets of a text stand in its key: all of an interface's name, and as much of a uid as tells random ones apart.
const KEY_BYTES: usize = 16;

/// A text to look up by. Its beginning stands in the key itself, so that sorting ten thousand of them does not read ten thousand places of memory over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key<'a> {
    beginning: [u8; KEY_BYTES],
    text: &'a str,
}

impl<'a> Key<'a> {
    fn new(text: &'a str) -> Self {
        let mut beginning = [0; KEY_BYTES];
        let length = text.len().min(KEY_BYTES);
        beginning[..length].copy_from_slice(&text.as_bytes()[..length]);
        Self { beginning, text }
    }
}

/// Values by key, several for one key in the order in which they were given.
struct Multimap<K, V>(Vec<(K, V)>);

impl<K: Copy + Ord, V: Copy> Multimap<K, V> {
    fn new(entries: impl Iterator<Item = (K, V)>) -> Self {
        let mut entries: Vec<(K, V)> = entries.collect();
        // Stable, and quick on what is sorted already.
        entries.sort_by_key(|(key, _)| *key);
        Self(entries)
    }

    fn get<'m>(&'m self, key: K) -> impl Iterator<Item = V> + use<'m, K, V> {
        let first = self.0.partition_point(|(found, _)| *found < key);
        self.0[first..]
            .iter()
            .take_while(move |(found, _)| *found == key)
            .map(|(_, value)| *value)
    }
}

/// Looks uids up that come in ascending order, by walking along the map with them: a search for each would read all over a large host's memory.
pub(crate) struct Cursor<'a, V> {
    rest: Peekable<btree_map::Iter<'a, Uid, V>>,
}

impl<'a, V> Cursor<'a, V> {
    pub(crate) fn new(map: &'a BTreeMap<Uid, V>) -> Self {
        Self {
            rest: map.iter().peekable(),
        }
    }

    /// The value of `uid`, which is not below any that was asked for before.
    pub(crate) fn get(&mut self, uid: &str) -> Option<&'a V> {
        while self
            .rest
            .next_if(|(found, _)| found.as_str() < uid)
            .is_some()
        {}
        let (found, value) = self.rest.peek()?;
        (found.as_str() == uid).then_some(*value)
    }
}

/// Values by text.
type ByText<'a, V> = OnceCell<Multimap<Key<'a>, V>>;

/// One look, by what planning asks for. Each part is made when it is asked for first: learning needs few of them, a host at rest leaves out others.
pub(crate) struct Index<'a> {
    interfaces: ByText<'a, &'a Interface>,
    bridges: ByText<'a, &'a Interface>,
    holders: OnceCell<Multimap<IpAddr, (&'a Interface, &'a Address)>>,
    host_routes: OnceCell<Multimap<IpAddr, &'a Route>>,
    by_gateway: OnceCell<Multimap<IpAddr, &'a Route>>,
    table_routes: OnceCell<Multimap<(u16, IpNet), &'a Route>>,
    mounted: OnceCell<BTreeSet<&'a str>>,
    lent: OnceCell<Vec<&'a NicState>>,
    living: ByText<'a, &'a ObservedJail>,
    tenants: OnceCell<Multimap<IpAddr, &'a ObservedJail>>,
    incarnations: ByText<'a, &'a ObservedJail>,
    nodes: OnceCell<BTreeMap<&'a str, &'a Node>>,
    owners: Owners<'a>,
    observed: &'a Observed,
    /// Where in the look the marked interfaces are that have another name; made when something is missing.
    marked: OnceCell<BTreeMap<Mark, usize>>,
}

impl<'a> Index<'a> {
    pub(crate) fn new(view: &'a HostView, observed: &'a Observed, ledger: &'a Ledger) -> Self {
        Self {
            interfaces: OnceCell::new(),
            bridges: OnceCell::new(),
            holders: OnceCell::new(),
            host_routes: OnceCell::new(),
            by_gateway: OnceCell::new(),
            table_routes: OnceCell::new(),
            mounted: OnceCell::new(),
            lent: OnceCell::new(),
            living: OnceCell::new(),
            tenants: OnceCell::new(),
            incarnations: OnceCell::new(),
            nodes: OnceCell::new(),
            owners: Owners::new(view, observed, ledger),
            observed,
            marked: OnceCell::new(),
        }
    }

    fn living_jails(&self) -> impl Iterator<Item = &'a ObservedJail> {
        self.observed.jails.iter().filter(|jail| !jail.dying)
    }

    /// The interface that carries the mark of `description` under a name which is neither ours nor the driver's: somebody renamed it. One of the driver's names is a half-made one's.
    ///
    /// Only the driver's own group counts: it is what the kernel gives back to an interface that a jail's root held, whatever else he put on it.
    pub(crate) fn renamed(&self, description: &str) -> Option<&'a Interface> {
        let mark = Mark::parse(description)?;
        let marked = self.marked.get_or_init(|| {
            let interfaces = self.observed.interfaces.iter();
            interfaces
                .enumerate()
                .filter_map(|(position, found)| {
                    let mark = Mark::parse(found.description.as_deref()?)?;
                    Some((mark, position, found))
                })
                .filter(|(mark, _, found)| {
                    let rest = found.name.strip_prefix(driver(&mark.role));
                    let by_driver =
                        rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
                    !by_driver && found.groups.contains(driver(&mark.role))
                })
                .map(|(mark, position, _)| (mark, position))
                .collect()
        });
        self.observed.interfaces.get(*marked.get(&mark)?)
    }

    /// The interfaces of that name: none, one, or after a jail's death two.
    pub(crate) fn interfaces_named<'m>(
        &'m self,
        name: &'m str,
    ) -> impl Iterator<Item = &'a Interface> + 'm {
        let interfaces = self.interfaces.get_or_init(|| {
            let interfaces = self.observed.interfaces.iter();
            Multimap::new(interfaces.map(|found| (Key::new(&found.name), found)))
        });
        interfaces.get(Key::new(name))
    }

    /// The one interface of that name; none if there is none, or if the name is ambiguous.
    pub(crate) fn interface(&self, name: &str) -> Option<&'a Interface> {
        let mut named = self.interfaces_named(name);
        named.next().filter(|_| named.next().is_none())
    }

    /// Whether two interfaces have that name.
    pub(crate) fn is_ambiguous(&self, name: &str) -> bool {
        self.interfaces_named(name).nth(1).is_some()
    }

    /// The bridge that has `member`.
    pub(crate) fn bridge_of(&self, member: &str) -> Option<&'a Interface> {
        let bridges = self.bridges.get_or_init(|| {
            let interfaces = self.observed.interfaces.iter();
            Multimap::new(interfaces.flat_map(|found| {
                let members = found.members.keys();
                members.map(move |member| (Key::new(member), found))
            }))
        });
        bridges.get(Key::new(member)).next()
    }

    /// The interfaces that have the address, with their entry of it.
    pub(crate) fn holders<'m>(
        &'m self,
        address: &'m IpAddr,
    ) -> impl Iterator<Item = (&'a Interface, &'a Address)> + 'm {
        let holders = self.holders.get_or_init(|| {
            let interfaces = self.observed.interfaces.iter();
            Multimap::new(interfaces.flat_map(|found| {
                let addresses = found.addresses.iter();
                addresses.map(move |entry| (entry.address, (found, entry)))
            }))
        });
        holders.get(*address)
    }

    /// The host's routes to exactly that address, in the first routing table.
    pub(crate) fn routes_to<'m>(
        &'m self,
        address: &'m IpAddr,
    ) -> impl Iterator<Item = &'a Route> + 'm {
        let routes = self.host_routes.get_or_init(|| {
            let routes = self.observed.routes.get(&0).into_iter().flatten();
            Multimap::new(routes.filter_map(|route| Some((route.destination.parse().ok()?, route))))
        });
        routes.get(*address)
    }

    /// The host's routes that send to that next hop, in any routing table.
    pub(crate) fn routes_by<'m>(
        &'m self,
        gateway: &'m IpAddr,
    ) -> impl Iterator<Item = &'a Route> + 'm {
        let routes = self.by_gateway.get_or_init(|| {
            let routes = self.observed.routes.values().flatten();
            Multimap::new(routes.filter_map(|route| Some((route.next_hop()?, route))))
        });
        routes.get(*gateway)
    }

    /// The host's routes to exactly that prefix, in a routing table: several by several gateways (`net.route.multipath`, sys/net/route/route_ctl.c).
    pub(crate) fn table_routes<'m>(
        &'m self,
        fib: u16,
        to: IpNet,
    ) -> impl Iterator<Item = &'a Route> + use<'m, 'a> {
        let routes = self.table_routes.get_or_init(|| {
            let tables = self.observed.routes.iter();
            let routes = tables.flat_map(|(fib, routes)| routes.iter().map(move |r| (*fib, r)));
            Multimap::new(routes.filter_map(|(fib, route)| Some(((fib, route.prefix()?), route))))
        });
        routes.get((fib, to))
    }

    /// Whether something is mounted there.
    pub(crate) fn is_mounted(&self, target: &str) -> bool {
        let mounted = self.mounted.get_or_init(|| {
            let targets = self.observed.mounts.iter();
            targets.map(|mount| mount.target.as_str()).collect()
        });
        mounted.contains(target)
    }

    /// The NICs that the ledger says are given to jails.
    pub(crate) fn lent(&self) -> impl Iterator<Item = &'a NicState> {
        let lent = self
            .lent
            .get_or_init(|| self.owners.ledger.nics().collect());
        lent.iter().copied()
    }

    /// The netgraph node of that name.
    pub(crate) fn node(&self, name: &str) -> Option<&'a Node> {
        let nodes = self.nodes.get_or_init(|| {
            let nodes = self.observed.netgraph.nodes.iter();
            nodes.map(|node| (node.name.as_str(), node)).collect()
        });
        nodes.get(name).copied()
    }

    /// The living jail of that name.
    pub(crate) fn living(&self, name: &str) -> Option<&'a ObservedJail> {
        let living = self.living.get_or_init(|| {
            let jails = self.living_jails();
            Multimap::new(jails.map(|jail| (Key::new(&jail.name), jail)))
        });
        living.get(Key::new(name)).next()
    }

    /// The living jails that have the address among theirs.
    pub(crate) fn tenants<'m>(
        &'m self,
        address: &'m IpAddr,
    ) -> impl Iterator<Item = &'a ObservedJail> + 'm {
        let tenants = self.tenants.get_or_init(|| {
            Multimap::new(self.living_jails().flat_map(|jail| {
                let addresses = jail.ip4.iter().chain(&jail.ip6);
                addresses.map(move |address| (*address, jail))
            }))
        });
        tenants.get(*address)
    }

    /// The jails of ours that are incarnations of that Jail, dying ones too.
    pub(crate) fn incarnations<'m>(
        &'m self,
        uid: &'m Uid,
    ) -> impl Iterator<Item = &'a ObservedJail> + 'm {
        self.owned_jails().get(Key::new(uid.as_str()))
    }

    /// The jails of ours, dying ones too, in the order of their uids.
    pub(crate) fn jails_by_uid(&self) -> impl Iterator<Item = (&'a str, &'a ObservedJail)> {
        let jails = self.owned_jails().0.iter();
        jails.map(|(uid, jail)| (uid.text, *jail))
    }

    fn owned_jails(&self) -> &Multimap<Key<'a>, &'a ObservedJail> {
        self.incarnations.get_or_init(|| {
            let jails = self.observed.jails.iter();
            let owned = jails.filter_map(|jail| Some((Key::new(self.owners.of(jail)?), jail)));
            Multimap::new(owned)
        })
    }

    /// The uid of the jail of ours that `jail` is; none for a stranger.
    pub(crate) fn owner_of(&self, jail: &'a ObservedJail) -> Option<&'a str> {
        self.owners.of(jail)
    }
}

/// The driver of what a mark of that role stands on, and its group.
fn driver(role: &Role) -> &'static str {
    match role {
        Role::Bridge => "bridge",
        Role::Loopback => "lo",
        // Its interfaces have no group: an ng_eiface is found by its node.
        Role::Port => "ngeth",
        Role::Lagg(_) => "lagg",
        Role::Vlan(_) => "vlan",
        Role::HostEnd(_) | Role::JailEnd(_) => "epair",
    }
}

/// The jails of the ledger by name and root.
type Places<'a> = Multimap<(&'a str, &'a str), (&'a Uid, &'a OwnedJail)>;

/// Whose a jail is. What only jails without a mark ask for is made when the first one does.
pub(crate) struct Owners<'a> {
    cluster: &'a str,
    has_meta: bool,
    ledger: &'a Ledger,
    by_jid: OnceCell<BTreeMap<(u32, &'a str), &'a str>>,
    by_place: OnceCell<Places<'a>>,
}

impl<'a> Owners<'a> {
    pub(crate) fn new(view: &'a HostView, observed: &'a Observed, ledger: &'a Ledger) -> Self {
        Self {
            cluster: view.cluster.as_str(),
            has_meta: observed.jail_parameters.contains("meta"),
            ledger,
            by_jid: OnceCell::new(),
            by_place: OnceCell::new(),
        }
    }

    /// The uid of the jail of ours that `jail` is; none for a stranger.
    ///
    /// Where jails have `meta` (15) only it counts. Elsewhere the ledger must have the jid, or have announced a start under that name and root;
    /// a dying jail of that name and root is taken for a former self, which harms nobody.
    pub(crate) fn of(&self, jail: &'a ObservedJail) -> Option<&'a str> {
        // A jail in a jail: its parent's root made it and gave it whatever `meta` it likes. No name of ours has a dot.
        if jail.name.contains('.') {
            return None;
        }
        if let Some(meta) = &jail.meta {
            return (meta.cluster == self.cluster).then_some(meta.uid.as_str());
        }
        let by_jid = self.by_jid.get_or_init(|| {
            let mut by_jid = BTreeMap::new();
            for (uid, ours) in &self.ledger.jails {
                let key = (ours.jid, ours.name.as_str());
                by_jid.entry(key).or_insert(uid.as_str());
            }
            by_jid
        });
        if let Some(uid) = by_jid.get(&(jail.jid, jail.name.as_str())) {
            return Some(uid);
        }
        if self.has_meta {
            return None;
        }
        let by_place = self.by_place.get_or_init(|| {
            Multimap::new(self.ledger.jails.iter().map(|(uid, ours)| {
                let place = (ours.name.as_str(), ours.path.as_str());
                (place, (uid, ours))
            }))
        });
        by_place
            .get((jail.name.as_str(), jail.path.as_str()))
            .find(|(_, ours)| ours.jid == 0 || jail.dying)
            .map(|(uid, _)| uid.as_str())
    }
}

#[cfg(test)]
mod tests;
