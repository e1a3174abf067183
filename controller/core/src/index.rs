//! Everything that is in the store, in memory, in the orders in which it is asked for. Fed with store events, one whole
//! transaction at a time, by one task; read by everybody else. Decides nothing.
//!
//! What can be derived (which jails a host has, which network is used by whom, who holds an address) lives here only and is
//! kept up to date by each event in O(log n).

mod apply;
pub mod claims;
pub mod entry;
pub mod free;
mod kept;
mod peers;
mod realised;
mod settled;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cellblock_schemas::meta::OwnerReference;
use cellblock_schemas::{API_VERSION, ClusterUid, Host, Image, Jail, JailSet, Kind, Network, Uid};

pub use apply::Event;
pub use claims::Claims;
pub use entry::{Applied, Entry, ObjectEvent, RecordEvent, Session, What};
pub(crate) use settled::public_addresses;
pub use settled::{root_of, wanted_ports};

use self::kept::KeptNames;
use self::peers::Peers;
use self::realised::Realised;
use crate::events::Records;
use crate::keys::Keys;
use crate::write::{Change, Expect, Guard, Write};

/// The state of the cluster at one revision.
#[derive(Clone, Debug)]
pub struct Index {
    keys: Keys,
    cluster: ClusterUid,
    epoch: u64,
    revision: u64,
    objects: BTreeMap<Kind, BTreeMap<String, Arc<Entry>>>,
    kind_revisions: BTreeMap<Kind, u64>,
    by_uid: BTreeMap<Uid, (Kind, String)>,
    owned: BTreeMap<Uid, BTreeSet<(Kind, String)>>,
    unreadable: BTreeSet<String>,
    claims: Claims,
    kept: KeptNames,
    guards: BTreeMap<String, u64>,
    sessions: BTreeMap<String, (Session, u64)>,
    jails_by_host: BTreeMap<String, BTreeSet<String>>,
    jails_by_network: BTreeMap<String, BTreeSet<String>>,
    jails_by_image: BTreeMap<String, BTreeSet<String>>,
    dependents: BTreeMap<String, BTreeSet<String>>,
    /// Who names a routing table by its number.
    fib_names: BTreeSet<(u16, Kind, String)>,
    hosts_by_load: BTreeSet<(usize, String)>,
    unsettled: BTreeSet<String>,
    deleting: BTreeSet<(Kind, String)>,
    orphans: BTreeSet<Uid>,
    view_revisions: BTreeMap<String, u64>,
    realised: BTreeMap<String, Realised>,
    peers: Peers,
    records: Records,
}

impl Index {
    /// The index of an empty cluster at revision 0.
    #[must_use]
    pub fn new(cluster: ClusterUid) -> Self {
        Self {
            keys: Keys::new(&cluster),
            cluster,
            epoch: 0,
            revision: 0,
            objects: Kind::ALL
                .iter()
                .map(|kind| (*kind, BTreeMap::new()))
                .collect(),
            kind_revisions: BTreeMap::new(),
            by_uid: BTreeMap::new(),
            owned: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            claims: Claims::default(),
            kept: KeptNames::default(),
            guards: BTreeMap::new(),
            sessions: BTreeMap::new(),
            jails_by_host: BTreeMap::new(),
            jails_by_network: BTreeMap::new(),
            jails_by_image: BTreeMap::new(),
            dependents: BTreeMap::new(),
            fib_names: BTreeSet::new(),
            hosts_by_load: BTreeSet::new(),
            unsettled: BTreeSet::new(),
            deleting: BTreeSet::new(),
            orphans: BTreeSet::new(),
            view_revisions: BTreeMap::new(),
            realised: BTreeMap::new(),
            peers: Peers::default(),
            records: Records::default(),
        }
    }

    /// The layout of the store for this cluster.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> &ClusterUid {
        &self.cluster
    }

    /// The cluster's epoch.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The revision that everything in here is true for.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The revision of the newest change to any object of a kind.
    #[must_use]
    pub fn kind_revision(&self, kind: Kind) -> u64 {
        self.kind_revisions.get(&kind).copied().unwrap_or(0)
    }

    /// One object.
    #[must_use]
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Arc<Entry>> {
        self.objects.get(&kind)?.get(name)
    }

    /// One object by its uid.
    #[must_use]
    pub fn by_uid(&self, uid: &Uid) -> Option<&Arc<Entry>> {
        let (kind, name) = self.by_uid.get(uid)?;
        self.get(*kind, name)
    }

    /// The objects of a kind by name, beginning behind `after`.
    pub fn list<'a>(
        &'a self,
        kind: Kind,
        after: Option<&str>,
    ) -> impl Iterator<Item = &'a Arc<Entry>> + use<'a> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, |name| Excluded(name.to_owned()));
        let objects = self.objects.get(&kind).into_iter();
        objects
            .flat_map(move |objects| objects.range((from.clone(), Unbounded)))
            .map(|(_, entry)| entry)
    }

    /// How many objects of a kind there are.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        self.objects.get(&kind).map_or(0, BTreeMap::len)
    }

    /// A Host by name.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.get(Kind::Host, name)?.host()
    }

    /// A Network by name.
    #[must_use]
    pub fn network(&self, name: &str) -> Option<&Network> {
        self.get(Kind::Network, name)?.network()
    }

    /// An Image by name.
    #[must_use]
    pub fn image(&self, name: &str) -> Option<&Image> {
        self.get(Kind::Image, name)?.image()
    }

    /// A Jail by name.
    #[must_use]
    pub fn jail(&self, name: &str) -> Option<&Jail> {
        self.get(Kind::Jail, name)?.jail()
    }

    /// Every JailSet, by name.
    pub fn jail_sets(&self) -> impl Iterator<Item = &JailSet> {
        self.list(Kind::JailSet, None)
            .filter_map(|entry| entry.jail_set())
    }

    /// A JailSet by name.
    #[must_use]
    pub fn jail_set(&self, name: &str) -> Option<&JailSet> {
        self.get(Kind::JailSet, name)?.jail_set()
    }

    /// The objects that name an object in their owner references.
    pub fn dependents<'a>(&'a self, owner: &Uid) -> impl Iterator<Item = &'a Arc<Entry>> + use<'a> {
        let names = self.owned.get(owner).into_iter().flatten();
        names.filter_map(|(kind, name)| self.get(*kind, name))
    }

    /// Whether there is certainly no object any more that a reference names: one of a kind that this release does not know, or whose document it
    /// cannot read, may be there all the same.
    #[must_use]
    pub fn is_gone(&self, owner: &OwnerReference) -> bool {
        let Some(kind) = own_kind(owner) else {
            return false;
        };
        !owner.uid.as_str().is_empty()
            && self.by_uid(&owner.uid).is_none()
            && !self
                .unreadable
                .contains(&self.keys.object(kind, &owner.name))
    }

    /// The owners that objects name, whether they are there or not.
    pub fn owners(&self) -> impl Iterator<Item = &Uid> {
        self.owned.keys()
    }

    /// Every Network, by name.
    pub fn networks(&self) -> impl Iterator<Item = &Network> {
        self.list(Kind::Network, None)
            .filter_map(|entry| entry.network())
    }

    /// The jails bound to a host, and those that name it and wait, by name.
    pub fn jails_of_host<'a>(&'a self, host: &str) -> impl Iterator<Item = &'a Jail> + use<'a> {
        let names = self.jails_by_host.get(host).into_iter().flatten();
        names.filter_map(|name| self.jail(name))
    }

    /// The revision of the last write of a Host or of a jail that is bound to it; 0 if there are none.
    #[must_use]
    pub fn revision_of_host(&self, host: &str) -> u64 {
        let names = self.jails_by_host.get(host).into_iter().flatten();
        let jails = names.filter_map(|name| self.get(Kind::Jail, name));
        let entries = jails.chain(self.get(Kind::Host, host));
        entries.map(|entry| entry.revision).max().unwrap_or(0)
    }

    /// The jails that name a network in their spec or hold addresses of it, by name.
    pub fn jails_of_network<'a>(
        &'a self,
        network: &str,
    ) -> impl Iterator<Item = &'a Jail> + use<'a> {
        let names = self.jails_by_network.get(network).into_iter().flatten();
        names.filter_map(|name| self.jail(name))
    }

    /// The jails whose roots are made of an image, by name.
    pub fn jails_of_image<'a>(&'a self, image: &str) -> impl Iterator<Item = &'a Jail> + use<'a> {
        let names = self.jails_by_image.get(image).into_iter().flatten();
        names.filter_map(|name| self.jail(name))
    }

    /// The jails that depend on one, by name.
    pub fn depending<'a>(&'a self, jail: &str) -> impl Iterator<Item = &'a Jail> + use<'a> {
        let names = self.dependents.get(jail).into_iter().flatten();
        names.filter_map(|name| self.jail(name))
    }

    /// Whether somebody else than a network of that name names a routing table by its number.
    #[must_use]
    pub fn is_fib_named(&self, number: u16, except: &str) -> bool {
        let names = self.fib_names.iter();
        let mut names = names.filter(|(named, _, _)| *named == number);
        names.any(|(_, kind, name)| *kind != Kind::Network || name != except)
    }

    /// How many jails a host has, those that wait for it counted.
    #[must_use]
    pub fn load(&self, host: &str) -> usize {
        self.jails_by_host.get(host).map_or(0, BTreeSet::len)
    }

    /// The hosts, those with the fewest jails first, ties by name.
    pub fn hosts_by_load(&self) -> impl Iterator<Item = &Host> {
        let names = self.hosts_by_load.iter();
        names.filter_map(|(_, name)| self.host(name))
    }

    /// Who holds what.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// What happened lately.
    #[must_use]
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// The agent session of a host, and the revision of its key.
    #[must_use]
    pub fn session(&self, host: &str) -> Option<(&Session, u64)> {
        let (session, revision) = self.sessions.get(host)?;
        Some((session, *revision))
    }

    /// The jails whose binding is not what their spec asks for, by name.
    pub fn unsettled(&self) -> impl Iterator<Item = &str> {
        self.unsettled.iter().map(String::as_str)
    }

    /// The objects whose deletion was asked for.
    pub fn deleting(&self) -> impl Iterator<Item = (Kind, &str)> {
        self.deleting
            .iter()
            .map(|(kind, name)| (*kind, name.as_str()))
    }

    /// The uids of objects that are gone and still hold claims.
    pub fn orphans(&self) -> impl Iterator<Item = &Uid> {
        self.orphans.iter()
    }

    /// How many jails name a network in their spec or hold addresses of it.
    #[must_use]
    pub fn attached(&self, network: &str) -> usize {
        self.jails_by_network.get(network).map_or(0, BTreeSet::len)
    }

    /// The revision of the newest change to a host's view, as far as this index has seen it happen; the revision of the
    /// first snapshot for what was there before.
    #[must_use]
    pub fn view_revision(&self, host: &str) -> u64 {
        self.view_revisions.get(host).copied().unwrap_or(0)
    }

    /// Makes `write` depend on an object being what it is in here.
    pub fn expect_object(&self, write: &mut Write, kind: Kind, name: &str) {
        let expect = self
            .get(kind, name)
            .map_or(Expect::Absent, |entry| Expect::At(entry.revision));
        write.expect(self.keys.object(kind, name), expect);
    }

    /// Makes `write` depend on a rule over several objects not having been relied on since.
    pub fn expect_guard(&self, write: &mut Write, guard: &Guard, writer: &Uid) {
        self.compare_guard(write, guard);
        let key = self.keys.guard(&guard.name());
        let is_put = |change: &Change| matches!(change, Change::Put(put, _) if *put == key);
        if !write.changes.iter().any(is_put) {
            write.put(key, writer.as_str().as_bytes().to_vec());
        }
    }

    /// The same for a write that nobody else's is to depend on.
    pub fn compare_guard(&self, write: &mut Write, guard: &Guard) {
        let name = guard.name();
        let expect = self
            .guards
            .get(&name)
            .map_or(Expect::Absent, |revision| Expect::At(*revision));
        write.expect(self.keys.guard(&name), expect);
    }
}

/// The kind that a reference names, if it is one of Cellblock's.
pub(crate) fn own_kind(owner: &OwnerReference) -> Option<Kind> {
    let is_own = owner.api_version == API_VERSION;
    is_own.then(|| Kind::from_name(&owner.kind)).flatten()
}

#[cfg(test)]
mod tests;
