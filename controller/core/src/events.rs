//! Events: what happened to objects, for people who ask later. A record is made of what the index tells, so nobody who writes an
//! object waits for one; it may be lost, and it decides nothing.
//!
//! ```text
//!  ObjectEvent ─► observe ─► Happening ─► Recorder (limits, aggregates, bounds) ─► Write ─► store ─► Records (in the index)
//! ```

mod observe;
mod recorder;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use cellblock_schemas::{API_VERSION, Uid};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use observe::observe;
pub use recorder::{Flush, Recorder};

/// Who tells, as events name it.
const COMPONENT: &str = "cellblockd";

/// The namespace that events of objects without one are in, as in Kubernetes (client-go, `tools/record/event.go`, `makeEvent`).
pub const NAMESPACE: &str = "default";

/// The object that an event is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct About {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: Uid,
}

/// Whether somebody should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// All is as it should be.
    Normal,
    /// Something does not work.
    Warning,
}

impl Severity {
    /// As Kubernetes names it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Happening {
    /// To which object.
    pub about: About,
    /// Whether somebody should look.
    pub severity: Severity,
    /// A code of the documented list.
    pub reason: String,
    /// In words.
    pub message: String,
    /// How often.
    pub count: u64,
}

/// An event as it is stored: everything of one object that reads the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its name, which follows from what it says, so that the same again is found without looking.
    pub name: String,
    /// The object.
    pub about: About,
    /// Whether somebody should look.
    pub severity: Severity,
    /// The code.
    pub reason: String,
    /// In words; of what was put together, the newest.
    pub message: String,
    /// How often it happened.
    pub count: u64,
    /// The first time.
    pub first: Timestamp,
    /// The last time.
    pub last: Timestamp,
    /// The store's revision through which all that happened is counted.
    #[serde(default)]
    pub through: u64,
}

impl Record {
    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        serde_json::to_vec(self)
            .expect("a record has string keys only")
            .into()
    }

    /// What its document has where a field selector points.
    #[must_use]
    pub fn field(&self, name: &str) -> &str {
        match name {
            "metadata.name" => &self.name,
            "metadata.namespace" => NAMESPACE,
            "involvedObject.kind" => &self.about.kind,
            "involvedObject.name" => &self.about.name,
            "involvedObject.uid" => self.about.uid.as_str(),
            "involvedObject.apiVersion" => API_VERSION,
            "reason" => &self.reason,
            "reportingComponent" | "source" => COMPONENT,
            "type" => self.severity.as_str(),
            _ => "",
        }
    }

    /// The `Event` of Kubernetes' core group (kubernetes/api, `core/v1/types.go`), which `kubectl describe` looks for.
    #[must_use]
    pub fn document(&self, revision: u64) -> Value {
        json!({
            "kind": "Event",
            "apiVersion": "v1",
            "metadata": {
                "name": self.name,
                "namespace": NAMESPACE,
                // Names are made of what is told, so that one is as good as a uid.
                "uid": self.name,
                "resourceVersion": revision.to_string(),
                "creationTimestamp": self.first,
            },
            "involvedObject": {
                "kind": self.about.kind,
                "name": self.about.name,
                "uid": self.about.uid,
                "apiVersion": API_VERSION,
            },
            "reason": self.reason,
            "message": self.message,
            "source": {"component": COMPONENT},
            "firstTimestamp": self.first,
            "lastTimestamp": self.last,
            "count": self.count,
            "type": self.severity.as_str(),
            "eventTime": null,
            "reportingComponent": COMPONENT,
            "reportingInstance": "",
        })
    }
}

/// A record as everybody is shown it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The record.
    pub record: Arc<Record>,
    /// The revision of its last write.
    pub revision: u64,
    /// Its document, encoded once for all who read it.
    pub json: Bytes,
}

/// The records of the whole cluster, in the orders in which they are asked for.
#[derive(Clone, Debug, Default)]
pub struct Records {
    by_name: BTreeMap<String, Shown>,
    by_object: BTreeMap<Uid, BTreeSet<(Timestamp, String)>>,
    by_time: BTreeSet<(Timestamp, String)>,
    by_weight: BTreeSet<(Severity, Timestamp, String)>,
}

impl Records {
    /// One record, and the revision of its last write.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<(&Arc<Record>, u64)> {
        let shown = self.by_name.get(name)?;
        Some((&shown.record, shown.revision))
    }

    /// Every record with its document, by name.
    pub fn shown(&self) -> impl Iterator<Item = &Shown> {
        self.by_name.values()
    }

    /// Every record, by name, beginning behind `after`.
    pub fn list<'a>(
        &'a self,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&'a Arc<Record>, u64)> + use<'a> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, |name| Excluded(name.to_owned()));
        let records = self.by_name.range((from, Unbounded));
        records.map(|(_, shown)| (&shown.record, shown.revision))
    }

    /// Those of one object, the oldest first.
    pub fn of<'a>(
        &'a self,
        uid: &Uid,
    ) -> impl DoubleEndedIterator<Item = (&'a Arc<Record>, u64)> + use<'a> {
        let names = self.by_object.get(uid).into_iter().flatten();
        names.filter_map(|(_, name)| self.get(name))
    }

    /// All of them, the oldest first.
    pub fn oldest(&self) -> impl Iterator<Item = &Arc<Record>> {
        let names = self.by_time.iter();
        names.filter_map(|(_, name)| Some(self.get(name)?.0))
    }

    /// All of them, the newest first.
    pub fn newest(&self) -> impl Iterator<Item = &Arc<Record>> {
        let names = self.by_time.iter().rev();
        names.filter_map(|(_, name)| Some(self.get(name)?.0))
    }

    /// All of them, those first that go first where there are too many: warnings last, and the oldest before others.
    pub fn least(&self) -> impl Iterator<Item = &Arc<Record>> {
        let names = self.by_weight.iter();
        names.filter_map(|(.., name)| Some(self.get(name)?.0))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Takes in a record; how it is shown, and what was there of its name.
    pub(crate) fn insert(&mut self, record: Record, revision: u64) -> (Shown, Option<Arc<Record>>) {
        let before = self.remove(&record.name);
        let place = (record.last, record.name.clone());
        let of_object = self.by_object.entry(record.about.uid.clone()).or_default();
        of_object.insert(place.clone());
        self.by_time.insert(place);
        let weight = (record.severity, record.last, record.name.clone());
        self.by_weight.insert(weight);
        let name = record.name.clone();
        let shown = Shown {
            json: record.document(revision).to_string().into(),
            record: Arc::new(record),
            revision,
        };
        self.by_name.insert(name, shown.clone());
        (shown, before)
    }

    /// Takes a record out.
    pub(crate) fn remove(&mut self, name: &str) -> Option<Arc<Record>> {
        let record = self.by_name.remove(name)?.record;
        let place = (record.last, record.name.clone());
        self.by_time.remove(&place);
        let weight = (record.severity, record.last, record.name.clone());
        self.by_weight.remove(&weight);
        if let Some(of_object) = self.by_object.get_mut(&record.about.uid) {
            of_object.remove(&place);
            if of_object.is_empty() {
                self.by_object.remove(&record.about.uid);
            }
        }
        Some(record)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.by_name.keys()
    }
}

#[cfg(test)]
mod tests;
