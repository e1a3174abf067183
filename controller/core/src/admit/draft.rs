//! A change in the making: the object as stored, as it shall be, and the write that leads there.

use std::sync::Arc;

use cellblock_schemas::{Generation, Kind, Object, Warning};
use serde_json::Value;

use super::{Admitted, DOCUMENT_BYTES_MAX, Outcome, Reason, Rejection};
use crate::bind;
use crate::document;
use crate::index::{Entry, Index};
use crate::sets;
use crate::write::{Expect, Guard, Write};

/// An object between what it was and what it shall be.
pub(crate) struct Draft<'a> {
    pub(crate) index: &'a Index,
    pub(crate) before: Option<&'a Arc<Entry>>,
    pub(crate) object: Object,
    pub(crate) write: Write,
}

impl<'a> Draft<'a> {
    /// The change of a stored object.
    pub(crate) fn of(index: &'a Index, entry: &'a Arc<Entry>) -> Self {
        Self {
            index,
            before: Some(entry),
            object: entry.object.clone(),
            write: Write::default(),
        }
    }

    /// Counts the generation up if the spec, or the wish to delete, is another than before.
    pub(crate) fn count_generation(&mut self) {
        let Some(before) = self.before else {
            self.object.metadata_mut().generation = Generation(1);
            return;
        };
        let was = before.object.metadata();
        let now = self.object.metadata();
        let changed = spec_of(&before.object) != spec_of(&self.object)
            || was.deletion_timestamp.is_some() != now.deletion_timestamp.is_some();
        let generation = was.generation.0 + u64::from(changed);
        self.object.metadata_mut().generation = Generation(generation);
        // Its set counts on it: whoever decides from what was before decides again.
        if changed
            && let Object::Jail(jail) = &before.object
            && let Some(set) = sets::of(self.index, jail)
        {
            let guard = Guard::Set(set.clone());
            self.index.expect_guard(&mut self.write, &guard, set);
        }
    }

    /// The result: a removal if nothing holds the object any more, otherwise its new document, if it is different.
    pub(crate) fn finish(mut self, warnings: Vec<Warning>) -> Result<Admitted, Rejection> {
        let kind = self.object.kind();
        let metadata = self.object.metadata();
        let name = metadata.name.clone();
        let key = self.index.keys().object(kind, &name);
        let deleting = metadata.deletion_timestamp.is_some();
        if deleting && metadata.finalizers.is_empty() {
            return Ok(self.remove(&key));
        }
        let document = self.document();
        let stored = document::stored(&document);
        if stored.len() > DOCUMENT_BYTES_MAX {
            return Err(too_large(kind, &name, stored.len()));
        }
        let revision = self.before.map(|entry| entry.revision);
        let same = self
            .before
            .is_some_and(|before| document::stored(&before.document()) == stored);
        if !same {
            self.write.put(key.clone(), stored);
        }
        let outcome = match (revision, same && self.write.changes.is_empty()) {
            (Some(_), true) => Outcome::Unchanged,
            (Some(_), false) if deleting => Outcome::Deleting,
            (Some(_), false) => Outcome::Configured,
            (None, _) => Outcome::Created,
        };
        self.write
            .expect(key, revision.map_or(Expect::Absent, Expect::At));
        self.write.about.push((kind, name.clone()));
        let write = (outcome != Outcome::Unchanged).then_some(self.write);
        Ok(Admitted {
            write,
            kind,
            name,
            document,
            revision,
            warnings,
            outcome,
        })
    }

    /// The stored document, changed where the object is, with everything that this release does not know.
    fn document(&self) -> Value {
        let after = self.object.to_value();
        let Some(before) = self.before else {
            return after;
        };
        let mut document = before.document();
        if let Some(metadata) = document.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.shift_remove("resourceVersion");
        }
        document::patch(&mut document, &before.object.to_value(), &after);
        document
    }

    fn remove(mut self, key: &str) -> Admitted {
        let kind = self.object.kind();
        let name = self.object.metadata().name.clone();
        if let Some(before) = self.before {
            self.write
                .expect(key.to_owned(), Expect::At(before.revision));
        }
        self.write.delete(key.to_owned());
        if let Object::Jail(jail) = &self.object {
            bind::release(self.index, jail, &mut self.write);
        }
        if let Object::JailSet(set) = &self.object {
            let guard = Guard::Set(set.metadata.uid.clone());
            self.write.delete(self.index.keys().guard(&guard.name()));
        }
        self.write.about.push((kind, name.clone()));
        Admitted {
            document: self.document(),
            revision: self.before.map(|entry| entry.revision),
            write: Some(self.write),
            kind,
            name,
            warnings: Vec::new(),
            outcome: Outcome::Gone,
        }
    }
}

/// The refusal of a document of that many bytes.
pub(crate) fn too_large(kind: Kind, name: &str, bytes: usize) -> Rejection {
    let message =
        format!("the document has {bytes} bytes, at most {DOCUMENT_BYTES_MAX} are stored");
    Rejection::new(
        Reason::TooLarge,
        kind,
        name,
        "",
        message,
        "make it smaller, or split it into several objects",
    )
}

fn spec_of(object: &Object) -> Value {
    match object {
        Object::Host(host) => serde_json::to_value(&host.spec),
        Object::Network(network) => serde_json::to_value(&network.spec),
        Object::Image(image) => serde_json::to_value(&image.spec),
        Object::Jail(jail) => serde_json::to_value(&jail.spec),
        Object::JailSet(set) => serde_json::to_value(&set.spec),
    }
    .expect("a spec has string keys only")
}
