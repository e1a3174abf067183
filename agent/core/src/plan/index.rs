//! What a look found, by what planning asks for: a host twice as large shall take twice as long to plan, not four times.
//!
//! Made once per plan; it answers and decides nothing. Where several things have one key they come in the kernel's order, as a scan of the look would find them.

use std::borrow::Borrow;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::net::IpAddr;

use cellblock_schemas::ids::Uid;
use cellblock_schemas::view::HostView;

use crate::ledger::{Ledger, OwnedJail};
use crate::mark::{Mark, Role};
use crate::observed::{Address, Interface, Observed, ObservedJail};

/// Values by key, several for one key in the order in which they were given.
struct Multimap<K, V>(Vec<(K, V)>);

impl<K: Ord, V: Copy> Multimap<K, V> {
    fn new(entries: impl Iterator<Item = (K, V)>) -> Self {
        let mut entries: Vec<(K, V)> = entries.collect();
        // Stable, and quick on what is sorted already.
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self(entries)
    }

    fn get<'m, Q>(&'m self, key: &'m Q) -> impl Iterator<Item = V> + 'm
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let first = self.0.partition_point(|(found, _)| found.borrow() < key);
        self.0[first..]
            .iter()
            .take_while(move |(found, _)| found.borrow() == key)
            .map(|(_, value)| *value)
    }
}

/// One look, by what planning asks for.
pub(crate) struct Index<'a> {
    interfaces: Multimap<&'a str, &'a Interface>,
    bridges: Multimap<&'a str, &'a Interface>,
    holders: Multimap<IpAddr, (&'a Interface, &'a Address)>,
    living: Multimap<&'a str, &'a ObservedJail>,
    tenants: Multimap<IpAddr, &'a ObservedJail>,
    incarnations: Multimap<&'a str, &'a ObservedJail>,
    owners: Owners<'a>,
    observed: &'a Observed,
    /// Where in the look the marked interfaces are that have another name; made when something is missing.
    marked: OnceCell<BTreeMap<Mark, usize>>,
}

impl<'a> Index<'a> {
    pub(crate) fn new(view: &'a HostView, observed: &'a Observed, ledger: &'a Ledger) -> Self {
        let owners = Owners::new(view, observed, ledger);
        let interfaces = || observed.interfaces.iter();
        let living = || observed.jails.iter().filter(|jail| !jail.dying);
        Self {
            interfaces: Multimap::new(interfaces().map(|found| (found.name.as_str(), found))),
            bridges: Multimap::new(interfaces().flat_map(|found| {
                let members = found.members.keys();
                members.map(move |member| (member.as_str(), found))
            })),
            holders: Multimap::new(interfaces().flat_map(|found| {
                let addresses = found.addresses.iter();
                addresses.map(move |entry| (entry.address, (found, entry)))
            })),
            living: Multimap::new(living().map(|jail| (jail.name.as_str(), jail))),
            tenants: Multimap::new(living().flat_map(|jail| {
                let addresses = jail.ip4.iter().chain(&jail.ip6);
                addresses.map(move |address| (*address, jail))
            })),
            incarnations: Multimap::new(
                observed
                    .jails
                    .iter()
                    .filter_map(|jail| Some((owners.of(jail)?, jail))),
            ),
            owners,
            observed,
            marked: OnceCell::new(),
        }
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
        self.interfaces.get(name)
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
        self.bridges.get(member).next()
    }

    /// The interfaces that have the address, with their entry of it.
    pub(crate) fn holders<'m>(
        &'m self,
        address: &'m IpAddr,
    ) -> impl Iterator<Item = (&'a Interface, &'a Address)> + 'm {
        self.holders.get(address)
    }

    /// The living jail of that name.
    pub(crate) fn living(&self, name: &str) -> Option<&'a ObservedJail> {
        self.living.get(name).next()
    }

    /// The living jails that have the address among theirs.
    pub(crate) fn tenants<'m>(
        &'m self,
        address: &'m IpAddr,
    ) -> impl Iterator<Item = &'a ObservedJail> + 'm {
        self.tenants.get(address)
    }

    /// The jails of ours that are incarnations of that Jail, dying ones too.
    pub(crate) fn incarnations<'m>(
        &'m self,
        uid: &'m Uid,
    ) -> impl Iterator<Item = &'a ObservedJail> + 'm {
        self.incarnations.get(uid.as_str())
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
        Role::HostEnd(_) | Role::JailEnd(_) => "epair",
    }
}

/// Whose a jail is.
pub(crate) struct Owners<'a> {
    cluster: &'a str,
    has_meta: bool,
    by_jid: BTreeMap<(u32, &'a str), &'a str>,
    by_place: Multimap<(&'a str, &'a str), (&'a Uid, &'a OwnedJail)>,
}

impl<'a> Owners<'a> {
    pub(crate) fn new(view: &'a HostView, observed: &'a Observed, ledger: &'a Ledger) -> Self {
        let mut by_jid = BTreeMap::new();
        for (uid, ours) in &ledger.jails {
            let key = (ours.jid, ours.name.as_str());
            by_jid.entry(key).or_insert(uid.as_str());
        }
        let places = ledger.jails.iter().map(|(uid, ours)| {
            let place = (ours.name.as_str(), ours.path.as_str());
            (place, (uid, ours))
        });
        Self {
            cluster: view.cluster.as_str(),
            has_meta: observed.jail_parameters.contains("meta"),
            by_jid,
            by_place: Multimap::new(places),
        }
    }

    /// The uid of the jail of ours that `jail` is; none for a stranger.
    ///
    /// Where jails have `meta` (15) only it counts. Elsewhere the ledger must have the jid, or have announced a start under that name and root;
    /// a dying jail of that name and root is taken for a former self, which only makes us wait.
    pub(crate) fn of(&self, jail: &'a ObservedJail) -> Option<&'a str> {
        // A jail in a jail: its parent's root made it and gave it whatever `meta` it likes. No name of ours has a dot.
        if jail.name.contains('.') {
            return None;
        }
        if let Some(meta) = &jail.meta {
            return (meta.cluster == self.cluster).then_some(meta.uid.as_str());
        }
        if let Some(uid) = self.by_jid.get(&(jail.jid, jail.name.as_str())) {
            return Some(uid);
        }
        if self.has_meta {
            return None;
        }
        self.by_place
            .get(&(jail.name.as_str(), jail.path.as_str()))
            .find(|(_, ours)| ours.jid == 0 || jail.dying)
            .map(|(uid, _)| uid.as_str())
    }
}
