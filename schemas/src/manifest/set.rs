//! One apply's documents together: no object may stand twice, because the order of documents must not matter.

use std::collections::BTreeMap;

use crate::manifest::diagnostic::Diagnostic;
use crate::manifest::document::Document;
use crate::object::Kind;
use crate::violation::{Cause, Violation};

/// Every document that says again what another one said, naming both places.
pub(super) fn twice(documents: &[Document]) -> Vec<Diagnostic> {
    let mut first: BTreeMap<(Kind, &str), &Document> = BTreeMap::new();
    let mut found = Vec::new();
    for document in documents.iter().filter(|document| document.is_whole()) {
        let key = (
            document.object.kind(),
            document.object.metadata().name.as_str(),
        );
        let Some(earlier) = first.get(&key) else {
            first.insert(key, document);
            continue;
        };
        let span = earlier.locate("metadata.name");
        let violation = Violation {
            field: "metadata.name".to_owned(),
            message: format!(
                "{} `{}` is given twice, first at {}:{}:{}",
                key.0,
                key.1,
                earlier.file(),
                span.line,
                span.column
            ),
            help: "remove one of the two, or give it another name".to_owned(),
            cause: Cause::Duplicate,
        };
        found.push(document.diagnostic(&violation));
    }
    found
}
