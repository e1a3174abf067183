//! A cluster in memory for this crate's tests: a store that compares and writes as the real ones do, and the index over it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use cellblock_schemas::host::HostNetwork;
use cellblock_schemas::jail::Binding;
use cellblock_schemas::report::JailReport;
use cellblock_schemas::view::NetworkView;
use cellblock_schemas::{ClusterUid, Condition, ConditionStatus, HostReport, Jail, Kind, Uid};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::admit::{Admitted, Now, Rejection, Request, Through, admit};
use crate::index::{Event, Index, Session};
use crate::reconcile;
use crate::sets::Waiting;
use crate::write::{Change, Expect, Write};
use crate::{fold_report, host_view};

/// How many rounds of reconciliation a test may need at most.
const ROUNDS_MAX: usize = 1_000;

pub(crate) struct World {
    pub(crate) index: Index,
    store: BTreeMap<String, (Bytes, u64)>,
    revision: u64,
    seconds: i64,
    uids: u64,
    waiting: Waiting,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            index: Index::new(ClusterUid("c1".to_owned())),
            store: BTreeMap::new(),
            revision: 0,
            seconds: 1_700_000_000,
            uids: 0,
            waiting: Waiting::default(),
        }
    }

    /// A cluster with hosts that have an uplink `external` with one public address, and agents.
    pub(crate) fn with_hosts(names: &[&str]) -> Self {
        let mut world = Self::new();
        for name in names {
            world.apply(host(name)).expect("the host is right");
            world.hear(name);
        }
        world
    }

    /// The agent of a host connects.
    pub(crate) fn hear(&mut self, host: &str) {
        let session = Session {
            key_fingerprint: format!("key of {host}"),
            address: "192.0.2.1:1".to_owned(),
            controller: "one".to_owned(),
            process: "first".to_owned(),
            former: Vec::new(),
        };
        let mut write = Write::default();
        let session = serde_json::to_vec(&session).expect("string keys only");
        write.put(self.index.keys().session(host), session);
        self.commit(&write);
        self.note_heard(host);
    }

    /// The agent of a host is lost.
    pub(crate) fn lose(&mut self, host: &str) {
        let mut write = Write::default();
        write.delete(self.index.keys().session(host));
        self.commit(&write);
        self.note_heard(host);
    }

    fn note_heard(&mut self, host: &str) {
        let now = self.now();
        let item = reconcile::Item::Heard(host.to_owned());
        if let Some(write) = reconcile::step(&self.index, &item, &now) {
            self.commit(&write);
        }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn now(&mut self) -> Now {
        self.seconds += 1;
        self.uids += 1;
        Now {
            timestamp: Timestamp::from_second(self.seconds).expect("a second of this century"),
            new_uid: Uid(format!("uid-{}", self.uids)),
        }
    }

    /// Time goes by.
    pub(crate) fn pass(&mut self, hours: i64) {
        self.seconds += hours * 3600;
    }

    /// Commits a write as a store would; false if a comparison does not hold.
    pub(crate) fn commit(&mut self, write: &Write) -> bool {
        let holds = write.compares.iter().all(|(key, expect)| {
            let present = self.store.get(key).map(|(_, revision)| *revision);
            match expect {
                Expect::Absent => present.is_none(),
                Expect::At(revision) => present == Some(*revision),
            }
        });
        assert_takeable(write);
        if !holds {
            return false;
        }
        self.revision += 1;
        let mut events = Vec::new();
        for change in &write.changes {
            match change {
                Change::Put(key, value) => {
                    self.store
                        .insert(key.clone(), (value.clone(), self.revision));
                    events.push(Event::Put {
                        key: key.clone(),
                        value: value.clone(),
                        modified: self.revision,
                    });
                }
                Change::Delete(key) => {
                    self.store.remove(key);
                    events.push(Event::Delete { key: key.clone() });
                }
            }
        }
        let applied = self.index.apply(self.revision, events);
        assert_eq!(applied.unreadable, []);
        true
    }

    /// The controller starts anew: the index is read from the store.
    pub(crate) fn restart(&mut self) {
        let items = self
            .store
            .iter()
            .map(|(key, (value, revision))| (key.clone(), value.clone(), *revision));
        let mut index = Index::new(self.index.cluster().clone());
        index.replace(self.revision, items.collect::<Vec<_>>());
        self.index = index;
        self.waiting = Waiting::default();
    }

    /// Everything in the store.
    pub(crate) fn contents(&self) -> BTreeMap<String, (Bytes, u64)> {
        self.store.clone()
    }

    pub(crate) fn request(&mut self, request: Request) -> Result<Admitted, Rejection> {
        let now = self.now();
        let admitted = admit(&self.index, request, &now)?;
        if let Some(write) = &admitted.write {
            assert!(self.commit(write), "nobody else writes: {write:?}");
        }
        Ok(admitted)
    }

    pub(crate) fn apply(&mut self, document: Value) -> Result<Admitted, Rejection> {
        self.apply_as("jailctl", document, false)
    }

    pub(crate) fn apply_as(
        &mut self,
        manager: &str,
        document: Value,
        force: bool,
    ) -> Result<Admitted, Rejection> {
        let kind = document["kind"]
            .as_str()
            .and_then(Kind::from_name)
            .expect("a kind");
        self.request(Request::Apply {
            kind,
            document,
            through: Through::Object,
            manager: manager.to_owned(),
            force,
            together: Arc::default(),
        })
    }

    pub(crate) fn delete(&mut self, kind: Kind, name: &str) -> Result<Admitted, Rejection> {
        self.request(Request::Delete {
            kind,
            name: name.to_owned(),
            uid: None,
            revision: None,
            propagation: None,
        })
    }

    /// The controller of another release gives an object a finalizer.
    pub(crate) fn put_finalizer(&mut self, kind: Kind, name: &str, finalizer: &str) {
        let mut object = self
            .index
            .get(kind, name)
            .expect("it is there")
            .object
            .clone();
        object.metadata_mut().finalizers.push(finalizer.to_owned());
        let mut write = Write::default();
        let key = self.index.keys().object(kind, name);
        write.put(key, crate::document::stored(&object.to_value()));
        self.commit(&write);
    }

    /// Takes steps until none is left.
    pub(crate) fn reconcile(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut wrote = false;
            let now = self.now().timestamp;
            let running = std::time::Duration::from_secs(self.seconds.unsigned_abs());
            let late = self.waiting.look(&self.index, running);
            for item in reconcile::due(&self.index, now).into_iter().chain(late) {
                let now = self.now();
                if let Some(write) = reconcile::step(&self.index, &item, &now) {
                    wrote |= self.commit(&write);
                }
            }
            if !wrote {
                return;
            }
        }
        panic!(
            "reconciliation does not end: {:?}",
            reconcile::due(&self.index, Timestamp::UNIX_EPOCH)
        );
    }

    /// A host's agent reports that everything in its view is realised.
    pub(crate) fn report(&mut self, host: &str) {
        let Some(view) = host_view(&self.index, host) else {
            return;
        };
        let jails = view.jails.values().map(|jail| JailReport {
            uid: jail.uid.clone(),
            observed_generation: jail.generation,
            phase: if jail.deleting { "Dying" } else { "Running" }.to_owned(),
            jid: (!jail.deleting).then_some(7),
            interfaces: Vec::new(),
            conditions: vec![Condition {
                kind: "Ready".to_owned(),
                status: if jail.deleting {
                    ConditionStatus::False
                } else {
                    ConditionStatus::True
                },
                reason: "Verified".to_owned(),
                message: String::new(),
                observed_generation: jail.generation,
                last_transition_time: None,
            }],
            gone: jail.deleting,
        });
        let report = HostReport {
            view: view.mark,
            host_generation: view.host_generation,
            full: true,
            jails: jails.collect(),
            networks: view.networks.values().map(realised).collect(),
            ..HostReport::default()
        };
        let now = self.now().timestamp;
        for write in fold_report(&self.index, host, &report, now) {
            assert!(self.commit(&write));
        }
    }

    pub(crate) fn jail(&self, name: &str) -> &Jail {
        self.index.jail(name).expect("the jail exists")
    }

    pub(crate) fn binding(&self, name: &str) -> Option<&Binding> {
        self.index.jail(name)?.binding()
    }

    /// The first address of a jail.
    pub(crate) fn address(&self, name: &str) -> Option<String> {
        let attachment = self.binding(name)?.attachments.first()?;
        Some(attachment.addresses.first()?.address.to_string())
    }

    /// Reason and message of a jail's `Scheduled`.
    pub(crate) fn scheduled(&self, name: &str) -> (ConditionStatus, String, String) {
        let status = self.jail(name).status.as_ref().expect("it was admitted");
        let condition = crate::conditions::find(&status.conditions, crate::conditions::SCHEDULED);
        let condition = condition.expect("admission says whether it is scheduled");
        (
            condition.status,
            condition.reason.clone(),
            condition.message.clone(),
        )
    }
}

/// What every store refuses (`cellblock-store`, `Transaction::validate`).
fn assert_takeable(write: &Write) {
    assert!(write.has_room_for(0));
    let compared: BTreeSet<&String> = write.compares.iter().map(|(key, _)| key).collect();
    assert_eq!(
        compared.len(),
        write.compares.len(),
        "a key twice: {write:?}"
    );
    let mut changed = BTreeSet::new();
    let mut bytes: usize = compared.iter().map(|key| key.len()).sum();
    for change in &write.changes {
        let (key, size) = match change {
            Change::Put(key, value) => (key, value.len()),
            Change::Delete(key) => (key, 0),
        };
        assert!(changed.insert(key), "{key} is changed twice: {write:?}");
        bytes += key.len() + size;
    }
    assert!(bytes <= 1_500_000, "{bytes} octets: {:?}", write.about);
}

/// What the agent says of a network that is as it shall be.
pub(crate) fn realised(network: &NetworkView) -> HostNetwork {
    HostNetwork {
        name: network.name.clone(),
        uid: network.uid.clone(),
        observed_generation: network.generation,
        ready: ConditionStatus::True,
        reason: "Realised".to_owned(),
        message: String::new(),
    }
}

pub(crate) fn host(name: &str) -> Value {
    json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "Host",
        "metadata": {"name": name, "labels": {"host": name}},
        "spec": {"uplinks": {"external": {"interface": "igb0", "publicAddresses": {"main": "203.0.113.1"}}}},
    })
}

/// A host-internal bridge with one IPv4 and one IPv6 subnet.
pub(crate) fn bridge(name: &str) -> Value {
    json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "Network",
        "metadata": {"name": name},
        "spec": {"bridge": {}, "scope": "fleet", "subnets": [
            {"cidr": "10.30.0.0/24", "gateway": {"address": "10.30.0.1"}, "allocate": ["10.30.0.10-10.30.0.250"]},
            {"cidr": "fd00:30::/64"},
        ]},
    })
}

/// A shared-IP network whose addresses repeat on every host.
pub(crate) fn shared(name: &str) -> Value {
    json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "Network",
        "metadata": {"name": name},
        "spec": {"sharedIP": {"uplink": "external"}, "scope": "host", "subnets": [{"cidr": "192.0.2.0/28"}]},
    })
}

/// A jail on the networks; further members of the spec in `spec`.
pub(crate) fn jail(name: &str, networks: &[&str], spec: Value) -> Value {
    let networks: Vec<_> = networks
        .iter()
        .map(|network| json!({"network": network}))
        .collect();
    let mut document = json!({
        "apiVersion": "cellblock.dev/v1alpha1", "kind": "Jail",
        "metadata": {"name": name},
        "spec": {"root": {"path": format!("/jails/{name}")}, "networks": networks},
    });
    for (member, value) in spec.as_object().into_iter().flatten() {
        document["spec"][member] = value.clone();
    }
    document
}
