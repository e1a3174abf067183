//! Manifests: text that an operator wrote, to documents with a source place for every field, all errors at once.
//!
//! ```text
//! bytes ──► yaml (events ──► tree with places) ──► document (kind, structural check) ──► set (same object twice) ──► check
//!              │ syntax, duplicate keys, traps         │ unknown fields, types                │                        │ validate
//!              └──────────────────────────────────────┴──────────────────────────────────────┴────────► Vec<Diagnostic>
//! ```
//!
//! YAML 1.2 (and so JSON), several documents in a file, `kind: List`. What is read is what was written: defaulting happens on
//! a copy ([`check`]) and on the server, because an apply must own exactly the fields that stand in the manifest.
//!
//! Reading files and printing is `jailctl`'s; nothing here does either. No input makes these functions panic or use memory
//! out of proportion: sizes, depth and the growth by aliases are bounded by the constants below.

use crate::default::default_object;
use crate::validate::validate;

mod diagnostic;
mod document;
mod scalar;
mod set;
mod source;
mod tree;
mod yaml;

#[cfg(test)]
mod tests;

use diagnostic::Found;
pub use diagnostic::{Diagnostic, Severity, too_large};
pub use document::Document;
pub use source::Span;

/// Octets of one manifest file. A generated manifest of ten thousand jails has a few; reading more in one piece would only
/// cost memory before some later bound refuses it, and a file of that size is nearly always the wrong file.
pub const MANIFEST_BYTES_MAX: usize = 10 * 1024 * 1024;

/// Values of one file once its aliases are written out: lets every honest manifest of [`MANIFEST_BYTES_MAX`] through, and
/// stops a "billion laughs".
pub const MANIFEST_VALUES_MAX: u64 = 1_000_000;

/// Nesting of a document. The deepest field of any kind lies at a quarter of it.
pub const MANIFEST_DEPTH_MAX: u32 = 64;

/// Diagnostics of one file. Whoever has more has one mistake repeated, or not a manifest.
pub const DIAGNOSTICS_MAX: usize = 100;

/// One file to be read.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// The name that diagnostics show: a path, or `-` for standard input.
    pub name: &'a str,
    /// What it holds.
    pub bytes: &'a [u8],
}

/// Reads one manifest: syntax and structure, not yet the rules of [`check`].
///
/// # Errors
/// Every mistake of every document.
pub fn parse(name: &str, text: &str) -> Result<Vec<Document>, Vec<Diagnostic>> {
    parse_files(&[File {
        name,
        bytes: text.as_bytes(),
    }])
}

/// Reads the manifests of one apply, in which no object may stand twice.
///
/// # Errors
/// Every mistake of every document of every file, in the order of the files.
pub fn parse_files(files: &[File<'_>]) -> Result<Vec<Document>, Vec<Diagnostic>> {
    let (documents, diagnostics) = read_files(files);
    if diagnostics.is_empty() {
        Ok(documents)
    } else {
        Err(diagnostics)
    }
}

/// Reads the manifests of one apply: the documents that can be read, whole or in part, and every mistake as [`parse_files`] finds
/// them. Whoever has to correct one mistake wants to hear of all, so the rules of [`check`], and the controller's, are worth asking
/// of the readable ones too. Where there is a mistake, no document may be applied.
#[must_use]
pub fn read_files(files: &[File<'_>]) -> (Vec<Document>, Vec<Diagnostic>) {
    let mut documents = Vec::new();
    let mut diagnostics = Vec::new();
    for file in files {
        match source::Source::new(file.name, file.bytes) {
            Ok(source) => {
                let mut found = Found::default();
                for root in yaml::read(&source, &mut found) {
                    document::read(root, &mut documents, &mut found);
                }
                diagnostics.extend(found.finish(&source));
            }
            Err(diagnostic) => diagnostics.push(*diagnostic),
        }
    }
    diagnostics.extend(set::twice(&documents));
    (documents, diagnostics)
}

/// Applies the rules of [`crate::validate()`] to documents that were read, on defaulted copies.
#[must_use]
pub fn check(documents: &[Document]) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    for document in documents {
        let mut object = document.object.clone();
        default_object(&mut object);
        diagnostics.extend(
            document
                .judge(validate(&object))
                .iter()
                .map(|violation| document.diagnostic(violation)),
        );
    }
    diagnostics
}
