//! Manifests as a controller would take them: admitted by its core into an index, bound, with everything allocated, and nobody asked.
//!
//! What a controller gives at random is made of names here, so that the same manifests always give the same: uids, and with them the names of interfaces and anchors and MAC addresses.

use std::sync::Arc;

use anyhow::bail;
use cellblock_controller_core::admit::Through;
use cellblock_controller_core::index::Session;
use cellblock_controller_core::rules::Together;
use cellblock_controller_core::{Index, Now, Request, Write, admit, reconcile};
use cellblock_schemas::ids::{ClusterUid, Uid};
use cellblock_schemas::manifest::Document;
use cellblock_schemas::violation::Violation;
use cellblock_schemas::{Kind, Object};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::args::Terms;
use crate::input;
use crate::printer::Printer;
use crate::target::label;

/// The cluster, as it stands in every mark.
const CLUSTER: &str = "offline";

/// How many rounds the reconcilers may take for one change: one for each object that waits for another.
const ROUNDS_MAX: usize = 100;

/// What became of manifests.
pub(crate) struct Admitted {
    /// Everything that was admitted, bound as far as possible.
    pub(crate) index: Index,
    /// What is worth knowing of an object, by its label.
    pub(crate) warnings: Vec<(String, String)>,
    /// Why the others were not, by their place among the documents.
    pub(crate) refused: Vec<(usize, Vec<Violation>)>,
}

/// Reads manifests into an index; prints every mistake and every warning as `apply` does.
///
/// # Errors
/// There is a mistake, or a controller would refuse an object.
pub(super) fn index(mut documents: Vec<Document>, printer: &Printer) -> anyhow::Result<Index> {
    documents.sort_by_key(|document| document.object.kind());
    let admitted = admitted(&documents)?;
    for (label, warning) in &admitted.warnings {
        printer.warning(&format!("{label}: {warning}"));
    }
    for (place, violations) in &admitted.refused {
        if let Some(document) = documents.get(*place) {
            input::refusal(document, violations, printer);
        }
    }
    match admitted.refused.len() {
        0 => Ok(admitted.index),
        refused => bail!(
            "a controller would refuse {refused} of {} objects; nothing was rendered",
            documents.len()
        ),
    }
}

/// Admits documents in their order, each as if those before it were stored. Every host is heard as soon as it is there: who asks what would be rendered does not ask which agents run.
///
/// # Errors
/// The reconcilers come to no end.
pub(crate) fn admitted(documents: &[Document]) -> anyhow::Result<Admitted> {
    let pairs = documents
        .iter()
        .map(|document| (document.object.kind(), &document.value));
    let together = Arc::new(Together::of(pairs));
    let mut admitted = Admitted {
        index: Index::new(ClusterUid(CLUSTER.to_owned())),
        warnings: Vec::new(),
        refused: Vec::new(),
    };
    let index = &mut admitted.index;
    for (place, document) in documents.iter().enumerate() {
        let (kind, name) = identity(&document.object);
        let request = Request::Apply {
            kind,
            document: document.value.clone(),
            through: Through::Object,
            manager: Terms::default().field_manager,
            together: together.clone(),
            force: false,
        };
        let now = Now {
            timestamp: Timestamp::UNIX_EPOCH,
            new_uid: uid(kind, name),
        };
        match admit(index, request, &now) {
            Ok(done) => {
                let label = label(kind, name);
                let warnings = done.warnings.iter();
                let warnings = warnings.map(|warning| (label.clone(), warning.to_string()));
                admitted.warnings.extend(warnings);
                if let Some(write) = done.write {
                    index.rehearse(write);
                }
            }
            Err(rejection) => admitted.refused.push((place, rejection.violations)),
        }
        if kind == Kind::Host && index.host(name).is_some() {
            hear(index, name)?;
        }
        settle(index)?;
    }
    Ok(admitted)
}

fn identity(object: &Object) -> (Kind, &str) {
    (object.kind(), &object.metadata().name)
}

/// A uid in the form in which controllers give them, of 36 characters, so that nothing is shorter or longer than it would be.
fn uid(kind: Kind, name: &str) -> Uid {
    let mut digest = Sha256::new();
    digest.update(kind.as_str());
    digest.update("/");
    digest.update(name);
    let digest = digest.finalize();
    let mut text = String::new();
    for (place, byte) in digest.iter().take(16).enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    Uid(text)
}

/// The agent of a host connects.
fn hear(index: &mut Index, host: &str) -> anyhow::Result<()> {
    let session = Session {
        key_fingerprint: String::new(),
        address: String::new(),
        controller: String::new(),
        process: String::new(),
        former: Vec::new(),
    };
    let mut write = Write::default();
    write.put(index.keys().session(host), serde_json::to_vec(&session)?);
    index.rehearse(write);
    Ok(())
}

/// Does what a controller does without being asked, until nothing is left.
fn settle(index: &mut Index) -> anyhow::Result<()> {
    for _ in 0..ROUNDS_MAX {
        let mut wrote = false;
        for item in reconcile::due(index, Timestamp::UNIX_EPOCH) {
            let now = Now {
                timestamp: Timestamp::UNIX_EPOCH,
                new_uid: Uid(format!("{}", index.revision() + 1)),
            };
            if let Some(write) = reconcile::step(index, &item, &now) {
                index.rehearse(write);
                wrote = true;
            }
        }
        if !wrote {
            return Ok(());
        }
    }
    bail!("the reconcilers came to no end in {ROUNDS_MAX} rounds")
}
