//! The committed JSON Schemas are what the types say. `cargo xtask schemas` writes them.

#![expect(
    clippy::disallowed_methods,
    reason = "the test compares files that are committed"
)]

use std::collections::BTreeMap;
use std::path::Path;

use cellblock_schemas::{Kind, schema_file};

#[test]
fn the_committed_schemas_are_what_the_types_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("json");
    let committed: BTreeMap<String, String> = std::fs::read_dir(&folder)
        .expect("schemas/json is committed")
        .map(|entry| entry.expect("it can be listed"))
        .map(|entry| {
            let text = std::fs::read_to_string(entry.path()).expect("it can be read");
            (entry.file_name().to_string_lossy().into_owned(), text)
        })
        .collect();
    let fresh: BTreeMap<String, String> = Kind::ALL.into_iter().map(schema_file).collect();
    for (name, text) in &fresh {
        assert!(
            committed.get(name) == Some(text),
            "schemas/json/{name} differs: run `cargo xtask schemas` and commit the result"
        );
    }
    assert_eq!(
        committed.len(),
        fresh.len(),
        "schemas/json holds a file that no kind makes"
    );
}
