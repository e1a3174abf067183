//! Feeding the index: one transaction of the store at a time, or a whole snapshot in its place.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use cellblock_schemas::network::Fib;
use cellblock_schemas::{Host, Image, Jail, Kind, Network, Object, Uid};
use serde_json::Value;

use super::Index;
use super::entry::{Applied, Entry, ObjectEvent, RecordEvent, What};
use crate::claim::{Claim, Owner, Resource};
use crate::document;
use crate::events::Record;
use crate::fibs;
use crate::kept::Kept;
use crate::keys::Place;
use crate::write::{Change, Write};

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was written.
    Put {
        /// The key.
        key: String,
        /// Its bytes.
        value: Bytes,
        /// The revision of the write.
        modified: u64,
    },
    /// It was removed.
    Delete {
        /// The key.
        key: String,
    },
}

impl Event {
    /// The key that it is about.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// What a transaction has touched so far.
#[derive(Default)]
struct Touched {
    applied: Applied,
    jails: BTreeSet<String>,
    owners: BTreeSet<Uid>,
}

impl Index {
    /// Takes in everything that the transaction of `revision` did. Keys that are not ours are passed over.
    pub fn apply(&mut self, revision: u64, events: impl IntoIterator<Item = Event>) -> Applied {
        self.revision = revision;
        let mut touched = Touched::default();
        touched.applied.revision = revision;
        for event in events {
            let (Event::Put { key, .. } | Event::Delete { key }) = &event;
            let Some(place) = self.keys.parse(key) else {
                continue;
            };
            self.unreadable.remove(key);
            match event {
                Event::Put {
                    key,
                    value,
                    modified,
                } => {
                    if let Err(reason) = self.put(&mut touched, place, &value, modified) {
                        self.unreadable.insert(key.clone());
                        touched.applied.unreadable.push((key, reason));
                    }
                }
                Event::Delete { .. } => self.delete(&mut touched, place),
            }
        }
        for jail in &touched.jails {
            self.settle(jail);
        }
        for owner in touched.owners {
            if self.by_uid.contains_key(&owner) || self.claims.of(&owner).next().is_none() {
                self.orphans.remove(&owner);
            } else {
                self.orphans.insert(owner);
            }
        }
        self.peers.prune();
        for host in &touched.applied.hosts {
            self.view_revisions.insert(host.clone(), revision);
        }
        touched.applied
    }

    /// Takes in a write as if the store had committed it next. For a copy of the index on which several requests are tried one
    /// after the other before any of them is written.
    pub fn rehearse(&mut self, write: Write) -> Applied {
        let revision = self.revision + 1;
        let events = write.changes.into_iter().map(|change| match change {
            Change::Put(key, value) => Event::Put {
                key,
                value,
                modified: revision,
            },
            Change::Delete(key) => Event::Delete { key },
        });
        self.apply(revision, events)
    }

    /// Takes in a whole snapshot in the place of everything known before, as if one transaction had led there.
    pub fn replace(
        &mut self,
        revision: u64,
        items: impl IntoIterator<Item = (String, Bytes, u64)>,
    ) -> Applied {
        let mut gone = self.present_keys();
        let mut events = Vec::new();
        for (key, value, modified) in items {
            gone.remove(&key);
            if self.modified(&key) != Some(modified) {
                events.push(Event::Put {
                    key,
                    value,
                    modified,
                });
            }
        }
        events.extend(gone.into_iter().map(|key| Event::Delete { key }));
        self.apply(revision, events)
    }

    fn present_keys(&self) -> BTreeSet<String> {
        let objects = self
            .objects
            .iter()
            .flat_map(|(kind, objects)| objects.keys().map(|name| self.keys.object(*kind, name)));
        let claims = self
            .claims
            .iter()
            .map(|(resource, _)| self.keys.claim(resource));
        let kept = self.kept.names().map(|name| self.keys.kept(name));
        let guards = self.guards.keys().map(|name| self.keys.guard(name));
        let sessions = self.sessions.keys().map(|host| self.keys.session(host));
        let records = self.records.names().map(|name| self.keys.record(name));
        objects
            .chain(records)
            .chain(claims)
            .chain(kept)
            .chain(guards)
            .chain(sessions)
            .chain(self.unreadable.iter().cloned())
            .collect()
    }

    /// The revision at which the index has a key, where it keeps one.
    fn modified(&self, key: &str) -> Option<u64> {
        match self.keys.parse(key)? {
            Place::Object { kind, name } => Some(self.get(kind, &name)?.revision),
            Place::Guard(name) => self.guards.get(&name).copied(),
            Place::Session { host } => Some(self.sessions.get(&host)?.1),
            Place::Record(name) => Some(self.records.get(&name)?.1),
            Place::Kept(name) => self.kept_revision(&name),
            Place::Claim(_) | Place::Epoch => None,
        }
    }

    fn put(
        &mut self,
        touched: &mut Touched,
        place: Place,
        value: &Bytes,
        modified: u64,
    ) -> Result<(), String> {
        match place {
            Place::Object { kind, name } => {
                self.put_object(touched, kind, &name, value, modified)?
            }
            Place::Claim(resource) => {
                let claim: Claim = from_json(value)?;
                touch_owner(touched, &claim);
                if let Some(previous) = self.claims.get(&resource) {
                    touch_owner(touched, previous);
                }
                if let (Owner::Bridge { host, .. }, Resource::MacNumber(_)) =
                    (&claim.owner, &resource)
                {
                    touched.applied.hosts.insert(host.clone());
                }
                self.touch_slice(touched, &resource);
                self.claims.insert(resource, claim);
            }
            Place::Kept(name) => {
                self.remove_kept(&name);
                let kept = Kept::read(value).map_err(|error| error.to_string())?;
                self.put_kept(name, kept, modified);
            }
            Place::Record(name) => {
                let record = Record {
                    name,
                    ..from_json(value)?
                };
                let (shown, before) = self.records.insert(record, modified);
                let event = RecordEvent::put(shown, before);
                touched.applied.records.push(event);
            }
            Place::Guard(name) => {
                self.guards.insert(name, modified);
            }
            Place::Session { host } => {
                let session = from_json(value)?;
                self.sessions.insert(host.clone(), (session, modified));
                touched.applied.sessions.insert(host);
            }
            Place::Epoch => {
                let text = std::str::from_utf8(value).map_err(|error| error.to_string())?;
                self.epoch = text
                    .trim()
                    .parse()
                    .map_err(|_| format!("`{text}` is no number"))?;
                let hosts = self
                    .list(Kind::Host, None)
                    .map(|host| host.name().to_owned());
                let hosts: Vec<_> = hosts.collect();
                touched.applied.hosts.extend(hosts);
            }
        }
        Ok(())
    }

    fn delete(&mut self, touched: &mut Touched, place: Place) {
        match place {
            Place::Object { kind, name } => self.delete_object(touched, kind, &name),
            Place::Claim(resource) => {
                if let Some(claim) = self.claims.remove(&resource) {
                    touch_owner(touched, &claim);
                }
                self.touch_slice(touched, &resource);
            }
            Place::Record(name) => {
                if let Some(last) = self.records.remove(&name) {
                    let event = RecordEvent::deleted(last, self.revision);
                    touched.applied.records.push(event);
                }
            }
            Place::Kept(name) => self.remove_kept(&name),
            Place::Guard(name) => {
                self.guards.remove(&name);
            }
            Place::Session { host } => {
                self.sessions.remove(&host);
                touched.applied.sessions.insert(host);
            }
            // Without its key the epoch stays what it was: an agent must never be taken back.
            Place::Epoch => {}
        }
    }

    fn put_object(
        &mut self,
        touched: &mut Touched,
        kind: Kind,
        name: &str,
        value: &Bytes,
        modified: u64,
    ) -> Result<(), String> {
        let document: Value = from_json(value)?;
        let json = document::served(&document, modified);
        let object = Object::from_value(kind, document).map_err(|error| error.to_string())?;
        if object.metadata().name != name {
            let found = &object.metadata().name;
            return Err(format!("the document under this key is named `{found}`"));
        }
        let entry = Arc::new(Entry {
            object,
            json,
            revision: modified,
        });
        let before = self.get(kind, name).cloned();
        if let Some(before) = &before {
            self.forget(before);
        }
        self.remember(&entry);
        self.touch(touched, before.as_deref(), Some(&entry));
        self.judge(before.as_deref(), &entry);
        self.kind_revisions.insert(kind, self.revision);
        let what = if before.is_some() {
            What::Modified
        } else {
            What::Added
        };
        let event = ObjectEvent::new(what, kind, entry, before);
        touched.applied.events.push(event);
        Ok(())
    }

    fn delete_object(&mut self, touched: &mut Touched, kind: Kind, name: &str) {
        let Some(before) = self.get(kind, name).cloned() else {
            return;
        };
        self.forget(&before);
        self.touch(touched, Some(&before), None);
        self.judge(None, &before);
        self.kind_revisions.insert(kind, self.revision);
        let entry = Arc::new(Entry {
            object: before.object.clone(),
            json: document::served(&before.document(), self.revision),
            revision: self.revision,
        });
        let event = ObjectEvent::new(What::Deleted, kind, entry, Some(before));
        touched.applied.events.push(event);
    }

    /// Takes everything that is derived from `entry` out.
    fn forget(&mut self, entry: &Entry) {
        let kind = entry.object.kind();
        let name = entry.name().to_owned();
        self.by_uid.remove(&entry.object.metadata().uid);
        for owner in &entry.object.metadata().owner_references {
            if let Some(owned) = self.owned.get_mut(&owner.uid) {
                owned.remove(&(kind, name.clone()));
                if owned.is_empty() {
                    self.owned.remove(&owner.uid);
                }
            }
        }
        self.deleting.remove(&(kind, name.clone()));
        if let Some(number) = named_fib(&entry.object) {
            self.fib_names.remove(&(number, kind, name.clone()));
        }
        match &entry.object {
            Object::Jail(jail) => {
                for network in networks_of(jail) {
                    if let Some(jails) = self.jails_by_network.get_mut(network) {
                        jails.remove(&name);
                        if jails.is_empty() {
                            self.jails_by_network.remove(network);
                        }
                    }
                }
                if let Some(image) = &jail.spec.image
                    && let Some(jails) = self.jails_by_image.get_mut(&image.name)
                {
                    jails.remove(&name);
                    if jails.is_empty() {
                        self.jails_by_image.remove(&image.name);
                    }
                }
                for dependency in &jail.spec.depends_on {
                    if let Some(jails) = self.dependents.get_mut(dependency) {
                        jails.remove(&name);
                        if jails.is_empty() {
                            self.dependents.remove(dependency);
                        }
                    }
                }
                if let Some(host) = host_of(jail) {
                    self.move_load(host, |jails| jails.remove(&name));
                }
                self.count_realised(jail, false);
                self.forget_peer(jail);
                self.unsettled.remove(&name);
            }
            Object::Host(_) => {
                self.hosts_by_load.remove(&(self.load(&name), name.clone()));
            }
            Object::Network(_) | Object::Image(_) | Object::JailSet(_) => {}
        }
        if let Some(objects) = self.objects.get_mut(&kind) {
            objects.remove(&name);
        }
    }

    /// Puts everything that is derived from `entry` in.
    fn remember(&mut self, entry: &Arc<Entry>) {
        let kind = entry.object.kind();
        let name = entry.name().to_owned();
        let metadata = entry.object.metadata();
        self.by_uid
            .insert(metadata.uid.clone(), (kind, name.clone()));
        for owner in &metadata.owner_references {
            let owned = self.owned.entry(owner.uid.clone()).or_default();
            owned.insert((kind, name.clone()));
        }
        if metadata.deletion_timestamp.is_some() {
            self.deleting.insert((kind, name.clone()));
        }
        if let Some(number) = named_fib(&entry.object) {
            self.fib_names.insert((number, kind, name.clone()));
        }
        let objects = self.objects.entry(kind).or_default();
        objects.insert(name.clone(), entry.clone());
        match &entry.object {
            Object::Jail(jail) => {
                for network in networks_of(jail) {
                    let jails = self.jails_by_network.entry(network.to_owned()).or_default();
                    jails.insert(name.clone());
                }
                if let Some(image) = &jail.spec.image {
                    let jails = self.jails_by_image.entry(image.name.clone()).or_default();
                    jails.insert(name.clone());
                }
                for dependency in &jail.spec.depends_on {
                    let jails = self.dependents.entry(dependency.clone()).or_default();
                    jails.insert(name.clone());
                }
                if let Some(host) = host_of(jail) {
                    self.move_load(host, |jails| jails.insert(name.clone()));
                }
                self.count_realised(jail, true);
                self.remember_peer(jail);
            }
            Object::Host(_) => {
                self.hosts_by_load.insert((self.load(&name), name.clone()));
            }
            Object::Network(_) | Object::Image(_) | Object::JailSet(_) => {}
        }
    }

    fn move_load(&mut self, host: &str, change: impl FnOnce(&mut BTreeSet<String>) -> bool) {
        let listed = self
            .hosts_by_load
            .remove(&(self.load(host), host.to_owned()));
        let jails = self.jails_by_host.entry(host.to_owned()).or_default();
        change(jails);
        if jails.is_empty() {
            self.jails_by_host.remove(host);
        }
        if listed {
            self.hosts_by_load
                .insert((self.load(host), host.to_owned()));
        }
    }

    /// A host with jails of a network has routes to the slices of the others.
    fn touch_slice(&self, touched: &mut Touched, resource: &Resource) {
        if let Resource::Slice { network, .. } = resource {
            let hosts = self.hosts_of_network(network).map(str::to_owned);
            touched.applied.hosts.extend(hosts);
        }
    }

    /// Notes whose view and whose settledness a change may have changed.
    fn touch(&self, touched: &mut Touched, before: Option<&Entry>, after: Option<&Entry>) {
        let Some(some) = after.or(before) else {
            return;
        };
        touched.owners.insert(some.object.metadata().uid.clone());
        let hosts = &mut touched.applied.hosts;
        match &some.object {
            Object::Jail(jail) => {
                touched.jails.insert(jail.metadata.name.clone());
                let (before, after) = (before.and_then(Entry::jail), after.and_then(Entry::jail));
                if before.map(jail_in_view) != after.map(jail_in_view) {
                    let bound = before.into_iter().chain(after).filter_map(Jail::binding);
                    hosts.extend(bound.map(|binding| binding.host.clone()));
                }
                hosts.extend(self.hosts_of_peer(before, after));
            }
            Object::Host(host) => {
                let (before, after) = (before.and_then(Entry::host), after.and_then(Entry::host));
                let name = &host.metadata.name;
                let seen = before.map(host_in_view) != after.map(host_in_view);
                if seen {
                    hosts.insert(name.clone());
                }
                let addresses = |host: &'_ Host| host.spec.addresses.clone();
                if before.map(addresses) != after.map(addresses) {
                    let networks = self.claims.networks_sliced_for(name);
                    let others = networks.flat_map(|network| self.hosts_of_network(network));
                    hosts.extend(others.map(str::to_owned));
                }
                let labels = |host: &'_ Host| host.metadata.labels.clone();
                if seen || before.map(labels) != after.map(labels) {
                    let jails = self
                        .jails_of_host(name)
                        .map(|jail| jail.metadata.name.clone());
                    touched.jails.extend(jails);
                }
            }
            Object::JailSet(_) => {}
            Object::Image(image) => {
                let (before, after) = (before.and_then(Entry::image), after.and_then(Entry::image));
                if before.map(image_in_view) != after.map(image_in_view) {
                    let jails = self.jails_of_image(&image.metadata.name);
                    let bound = jails.filter_map(Jail::binding);
                    hosts.extend(bound.map(|binding| binding.host.clone()));
                }
            }
            Object::Network(network) => {
                let (before, after) = (
                    before.and_then(Entry::network),
                    after.and_then(Entry::network),
                );
                if before.map(network_in_view) != after.map(network_in_view) {
                    let name = &network.metadata.name;
                    let bound = self.jails_of_network(name).filter_map(Jail::binding);
                    hosts.extend(bound.map(|binding| binding.host.clone()));
                    let scope = |network: &'_ Network| network.spec.effective_scope();
                    if before.map(scope) != after.map(scope) {
                        hosts.extend(self.peers.hosts().cloned());
                    }
                    let selector = |network: &'_ Network| network.spec.host_selector.clone();
                    if before.map(selector) != after.map(selector) {
                        let jails = self.jails_of_network(name);
                        touched
                            .jails
                            .extend(jails.map(|jail| jail.metadata.name.clone()));
                    }
                }
            }
        }
    }

    /// Judges anew which networks are realised where, after a change of a network or of what a host says.
    fn judge(&mut self, before: Option<&Entry>, entry: &Entry) {
        match &entry.object {
            Object::Jail(_) | Object::Image(_) | Object::JailSet(_) => {}
            Object::Network(network) => self.judge_network(&network.metadata.name),
            Object::Host(host) => {
                let said = |host: &Host| host.status.as_ref().map(|status| status.networks.clone());
                let (was, is) = (before.and_then(Entry::host).and_then(said), said(host));
                if was == is && self.host(&host.metadata.name).is_some() {
                    return;
                }
                let networks = was.into_iter().chain(is).flatten();
                for network in networks {
                    self.judge_realised(&host.metadata.name, &network.name);
                }
            }
        }
    }

    fn settle(&mut self, name: &str) {
        let unsettled = self.jail(name).is_some_and(|jail| !self.is_settled(jail));
        if unsettled {
            self.unsettled.insert(name.to_owned());
        } else {
            self.unsettled.remove(name);
        }
    }
}

/// The routing table that an object names by its number.
fn named_fib(object: &Object) -> Option<u16> {
    let number = match object {
        Object::Network(network) => network.spec.fib?.number(),
        Object::Jail(jail) => jail.spec.own_fib(),
        Object::JailSet(set) => set.spec.template.spec.own_fib(),
        Object::Host(_) | Object::Image(_) => None,
    };
    number.filter(|number| Fib::NUMBERS.contains(number))
}

/// The host that a jail counts for: the one that it is bound to, or the one that it names and waits for.
fn host_of(jail: &Jail) -> Option<&str> {
    jail.binding()
        .map(|binding| binding.host.as_str())
        .or(jail.spec.host.as_deref())
}

/// The networks that a jail names or holds addresses of.
fn networks_of(jail: &Jail) -> BTreeSet<&str> {
    let bound = jail
        .binding()
        .into_iter()
        .flat_map(|binding| &binding.attachments);
    let named = jail.spec.networks.iter();
    named
        .map(|attachment| attachment.network.as_str())
        .chain(bound.map(|attachment| attachment.network.as_str()))
        .collect()
}

fn jail_in_view(jail: &Jail) -> impl PartialEq {
    (
        &jail.metadata.uid,
        jail.metadata.generation,
        jail.metadata.deletion_timestamp.is_some(),
        &jail.spec,
        jail.binding(),
    )
}

fn host_in_view(host: &Host) -> impl PartialEq {
    (&host.metadata.uid, host.metadata.generation, &host.spec)
}

fn image_in_view(image: &Image) -> impl PartialEq {
    (&image.metadata.uid, &image.spec)
}

fn network_in_view(network: &Network) -> impl PartialEq {
    (
        &network.metadata.uid,
        network.metadata.generation,
        &network.spec,
        fibs::of(network),
    )
}

fn touch_owner(touched: &mut Touched, claim: &Claim) {
    touched.owners.insert(claim.owner.uid().clone());
    match &claim.owner {
        Owner::Jail { name, .. } => {
            touched.jails.insert(name.clone());
        }
        Owner::Bridge { .. } | Owner::Network { .. } | Owner::Slice { .. } => {}
    }
}

fn from_json<T: serde::de::DeserializeOwned>(value: &Bytes) -> Result<T, String> {
    serde_json::from_slice(value).map_err(|error| error.to_string())
}
