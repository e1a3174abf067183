//! The names of objects that state only how theirs begin (`metadata.generateName`), as kube-apiserver gives them
//! (`apiserver/pkg/storage/names/generate.go`). For what is created; who applies has to know the name.

use cellblock_schemas::{Kind, Uid};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Now;
use crate::index::Index;

/// How many characters of the beginning are kept: with the others the name is a DNS label.
const BEGINNING_CHARS_MAX: usize = 58;

/// How many characters are added.
const ADDED_CHARS: usize = 5;

/// What is added: no vowels, so that no words come of it, and nothing that looks like something else.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// How many names are tried, as by kube-apiserver (`registry/generic/registry/store.go`, `maxNameGenerationCreateAttempts`).
const ATTEMPTS_MAX: u8 = 8;

/// Gives a document a name that no object has, if it states the beginning of one and none. If all that are tried are taken, the
/// object is there already.
pub(super) fn name(index: &Index, kind: Kind, document: &mut Value, now: &Now) {
    let Some(metadata) = document.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    let stated = |member: &str| {
        metadata
            .get(member)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let beginning = stated("generateName");
    if beginning.is_empty() || !stated("name").is_empty() {
        return;
    }
    let beginning: String = beginning.chars().take(BEGINNING_CHARS_MAX).collect();
    let tried = |attempt| format!("{beginning}{}", added(&now.new_uid, attempt));
    let mut names = (0..ATTEMPTS_MAX).map(tried);
    let free = names.find(|name| index.get(kind, name).is_none());
    metadata.insert("name".to_owned(), free.unwrap_or_else(|| tried(0)).into());
}

/// Characters that are as random as the uid.
fn added(uid: &Uid, attempt: u8) -> String {
    let digest = Sha256::new()
        .chain_update(uid.as_str())
        .chain_update([attempt])
        .finalize();
    let chars = digest.iter().take(ADDED_CHARS);
    chars
        .map(|octet| char::from(ALPHABET[usize::from(*octet) % ALPHABET.len()]))
        .collect()
}

#[cfg(test)]
mod tests;
