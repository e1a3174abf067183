//! A controller in memory: manifests admitted by the real core into an index, and the view that it would send to a host. What an example says is so given to an emulated host as it would be given to a real one.

use anyhow::{Context as _, bail};
use cellblock_controller_core::admit::Through;
use cellblock_controller_core::index::Session;
use cellblock_controller_core::{
    Index, Now, Request, Write, admit, fold_report, host_view, reconcile,
};
use cellblock_schemas::ids::{ClusterUid, Uid};
use cellblock_schemas::manifest::parse;
use cellblock_schemas::report::HostReport;
use cellblock_schemas::view::HostView;
use cellblock_schemas::{Kind, Object};
use jiff::Timestamp;

/// How many rounds the reconcilers may take for one change: one for each object that waits for another.
const ROUNDS_MAX: usize = 100;

/// A cluster without hosts that answer.
pub struct Fleet {
    /// Everything that is stored.
    pub index: Index,
    seconds: i64,
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            index: Index::new(ClusterUid("c1".to_owned())),
            seconds: 1_700_000_000,
        }
    }
}

impl Fleet {
    fn now(&mut self) -> Now {
        self.seconds += 1;
        Now {
            timestamp: Timestamp::from_second(self.seconds).expect("a second of this century"),
            new_uid: Uid(format!("uid-{}", self.seconds)),
        }
    }

    /// Applies every document of a manifest, as `jailctl apply -f` does.
    ///
    /// # Errors
    /// The manifest cannot be read, or admission refuses one of its objects.
    pub fn apply(&mut self, manifest: &str) -> anyhow::Result<()> {
        let documents = parse("manifest", manifest).map_err(|found| {
            let found: Vec<String> = found.iter().map(|one| one.render(false)).collect();
            anyhow::anyhow!(found.join("\n"))
        })?;
        for document in documents {
            self.apply_object(&document.object)?;
        }
        Ok(())
    }

    /// Applies one object.
    ///
    /// # Errors
    /// Admission refuses it.
    pub fn apply_object(&mut self, object: &Object) -> anyhow::Result<()> {
        let (kind, name) = (object.kind(), object.metadata().name.clone());
        self.request(Request::Apply {
            kind,
            document: object.to_value(),
            through: Through::Object,
            manager: "jailctl".to_owned(),
            force: false,
            together: std::sync::Arc::default(),
        })
        .with_context(|| format!("{kind} {name}"))
    }

    /// Asks for the deletion of an object.
    ///
    /// # Errors
    /// There is none, or it may not go.
    pub fn delete(&mut self, kind: Kind, name: &str) -> anyhow::Result<()> {
        self.request(Request::Delete {
            kind,
            name: name.to_owned(),
            uid: None,
            revision: None,
            propagation: None,
        })
    }

    fn request(&mut self, request: Request) -> anyhow::Result<()> {
        let now = self.now();
        let admitted = admit(&self.index, request, &now)
            .map_err(|rejection| anyhow::anyhow!("{rejection:?}"))?;
        if let Some(write) = admitted.write {
            self.index.rehearse(write);
        }
        self.reconcile()
    }

    /// The agent of a host connects.
    ///
    /// # Errors
    /// The reconcilers come to no end.
    pub fn connect(&mut self, host: &str) -> anyhow::Result<()> {
        let session = Session {
            key_fingerprint: format!("key of {host}"),
            address: "192.0.2.1:1".to_owned(),
            controller: "one".to_owned(),
            process: "first".to_owned(),
            former: Vec::new(),
        };
        let mut write = Write::default();
        write.put(
            self.index.keys().session(host),
            serde_json::to_vec(&session)?,
        );
        self.index.rehearse(write);
        self.reconcile()
    }

    /// Folds what a host reported, and does what follows from it.
    ///
    /// # Errors
    /// The reconcilers come to no end.
    pub fn hear(&mut self, host: &str, report: &HostReport) -> anyhow::Result<()> {
        let now = self.now().timestamp;
        for write in fold_report(&self.index, host, report, now) {
            self.index.rehearse(write);
        }
        self.reconcile()
    }

    fn reconcile(&mut self) -> anyhow::Result<()> {
        for _ in 0..ROUNDS_MAX {
            let mut wrote = false;
            let now = self.now().timestamp;
            for item in reconcile::due(&self.index, now) {
                let now = self.now();
                if let Some(write) = reconcile::step(&self.index, &item, &now) {
                    self.index.rehearse(write);
                    wrote = true;
                }
            }
            if !wrote {
                return Ok(());
            }
        }
        bail!("the reconcilers came to no end in {ROUNDS_MAX} rounds")
    }

    /// What the host's agent would be sent.
    ///
    /// # Errors
    /// There is no such Host.
    pub fn view(&self, host: &str) -> anyhow::Result<HostView> {
        host_view(&self.index, host).with_context(|| format!("there is no host {host}"))
    }
}
