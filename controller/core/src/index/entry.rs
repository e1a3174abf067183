//! What the index holds of one object, and what it tells when it changes.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use cellblock_schemas::{Host, Image, Jail, JailSet, Kind, Network, Object};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::document;
use crate::events::{Record, Shown};

/// One object at one revision.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The object as this release understands it.
    pub object: Object,
    /// Its document with `metadata.resourceVersion`, encoded once for every reader and watcher.
    pub json: Bytes,
    /// The revision of its last write; for a removed object that of its removal.
    pub revision: u64,
}

impl Entry {
    /// The object's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.object.metadata().name
    }

    /// The whole document, with what this release does not know.
    #[must_use]
    pub fn document(&self) -> Value {
        serde_json::from_slice(&self.json).expect("the index encoded this document itself")
    }

    /// The Jail, if it is one.
    #[must_use]
    pub fn jail(&self) -> Option<&Jail> {
        match &self.object {
            Object::Jail(jail) => Some(jail),
            Object::Host(_) | Object::Network(_) | Object::Image(_) | Object::JailSet(_) => None,
        }
    }

    /// The Network, if it is one.
    #[must_use]
    pub fn network(&self) -> Option<&Network> {
        match &self.object {
            Object::Network(network) => Some(network),
            Object::Host(_) | Object::Image(_) | Object::Jail(_) | Object::JailSet(_) => None,
        }
    }

    /// The Image, if it is one.
    #[must_use]
    pub fn image(&self) -> Option<&Image> {
        match &self.object {
            Object::Image(image) => Some(image),
            Object::Host(_) | Object::Network(_) | Object::Jail(_) | Object::JailSet(_) => None,
        }
    }

    /// The JailSet, if it is one.
    #[must_use]
    pub fn jail_set(&self) -> Option<&JailSet> {
        match &self.object {
            Object::JailSet(set) => Some(set),
            Object::Host(_) | Object::Network(_) | Object::Image(_) | Object::Jail(_) => None,
        }
    }

    /// The Host, if it is one.
    #[must_use]
    pub fn host(&self) -> Option<&Host> {
        match &self.object {
            Object::Host(host) => Some(host),
            Object::Network(_) | Object::Image(_) | Object::Jail(_) | Object::JailSet(_) => None,
        }
    }
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It is new.
    Added,
    /// It was written.
    Modified,
    /// It is gone.
    Deleted,
}

/// One change to one object.
#[derive(Clone, Debug)]
pub struct ObjectEvent {
    /// What happened.
    pub what: What,
    /// The object's kind.
    pub kind: Kind,
    /// The object after the change; for [`What::Deleted`] its last state at the revision of its removal.
    pub entry: Arc<Entry>,
    /// The object before the change.
    pub before: Option<Arc<Entry>>,
    left: Arc<OnceLock<Arc<Entry>>>,
}

impl ObjectEvent {
    pub(crate) fn new(
        what: What,
        kind: Kind,
        entry: Arc<Entry>,
        before: Option<Arc<Entry>>,
    ) -> Self {
        Self {
            what,
            kind,
            entry,
            before,
            left: Arc::default(),
        }
    }

    /// What there was before the change, at the revision at which it ceased to be so: what who selected it is shown. Encoded once for all of them, when
    /// the first asks.
    #[must_use]
    pub fn left(&self) -> Option<Arc<Entry>> {
        let before = self.before.as_ref()?;
        let left = self.left.get_or_init(|| {
            let revision = self.entry.revision;
            Arc::new(Entry {
                object: before.object.clone(),
                json: document::served(&before.document(), revision),
                revision,
            })
        });
        Some(left.clone())
    }
}

/// One change to the record of an event.
#[derive(Clone, Debug)]
pub struct RecordEvent {
    /// What happened.
    pub what: What,
    /// The record after the change; for [`What::Deleted`] as it was last.
    pub record: Arc<Record>,
    /// The record before the change.
    pub before: Option<Arc<Record>>,
    /// The revision of the change.
    pub revision: u64,
    /// Its document, encoded once for every watcher.
    pub json: Bytes,
}

impl RecordEvent {
    /// A record that came or changed.
    pub(crate) fn put(shown: Shown, before: Option<Arc<Record>>) -> Self {
        let what = match before {
            Some(_) => What::Modified,
            None => What::Added,
        };
        Self {
            what,
            record: shown.record,
            before,
            revision: shown.revision,
            json: shown.json,
        }
    }

    /// A record that went.
    pub(crate) fn deleted(record: Arc<Record>, revision: u64) -> Self {
        Self {
            what: What::Deleted,
            json: record.document(revision).to_string().into(),
            before: Some(record.clone()),
            record,
            revision,
        }
    }
}

/// The agent session of a host, as it stands in the store under the lease of the controller that holds the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// The fingerprint of the agent's key.
    pub key_fingerprint: String,
    /// The address that the agent connected from.
    pub address: String,
    /// Which controller it is connected to.
    pub controller: String,
    /// Which process of an agent it is; another one after each start of the agent.
    #[serde(default)]
    pub process: String,
    /// Processes with this key that it took over from, the latest last.
    #[serde(default)]
    pub former: Vec<String>,
}

/// What one transaction changed.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// The transaction's revision.
    pub revision: u64,
    /// The objects that changed, in the order of their keys.
    pub events: Vec<ObjectEvent>,
    /// The records of events that changed, likewise.
    pub records: Vec<RecordEvent>,
    /// The hosts whose view is different now.
    pub hosts: BTreeSet<String>,
    /// The hosts whose agent session began, changed or ended.
    pub sessions: BTreeSet<String>,
    /// Keys of ours whose value could not be read, with the reason. They are passed over; nothing else depends on them.
    pub unreadable: Vec<(String, String)>,
}
