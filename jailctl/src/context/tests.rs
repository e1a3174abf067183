//! Contexts that come and go.

use super::*;

fn entry(port: u16) -> ContextEntry {
    ContextEntry {
        server: format!("http://127.0.0.1:{port}"),
        ..ContextEntry::default()
    }
}

#[test]
fn a_context_is_taken_out_by_whoever_wrote_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let connection = Connection {
        config: Some(folder.path().join("new/jailctl.toml")),
        ..Connection::default()
    };
    let path = connection.store("sandbox", &entry(1)).expect("written");
    connection.store("sandbox", &entry(2)).expect("written");
    connection.forget("sandbox", &entry(1)).expect("read");
    let contexts = read(&path).expect("read").contexts;
    assert_eq!(
        contexts.get("sandbox"),
        Some(&entry(2)),
        "another sandbox's"
    );
    connection.forget("sandbox", &entry(2)).expect("written");
    assert!(read(&path).expect("read").contexts.is_empty());
}
