//! Tests of the reading of `cargo tree`, on planted dependencies.

use super::forbidden;

/// What cargo prints for a pure crate, cut short.
const PURE: &str = "\
0 cellblock-agent-core v0.1.0 (/src/agent/core)
1 cellblock-schemas v0.1.0 (/src/schemas)
2 serde v1.0.229
3 serde_core v1.0.229
2 sha2 v0.11.1
3 cpufeatures v0.3.1
4 libc v0.2.191
1 thiserror v2.0.21
";

#[test]
fn a_pure_crate_passes() {
    assert!(forbidden(PURE).is_empty());
}

#[test]
fn a_planted_dependency_is_found_with_its_chain() {
    let tree = format!("{PURE}1 innocent v1.0.0\n2 tokio v1.54.0\n3 libc v0.2.191\n");
    assert_eq!(
        forbidden(&tree),
        [
            "cellblock-agent-core → innocent → tokio (decisions do not wait)",
            "cellblock-agent-core → innocent → tokio → libc (the system belongs to the adapters)",
        ]
    );
}

#[test]
fn a_direct_dependency_is_found() {
    let tree = format!("{PURE}1 getrandom v0.4.1\n");
    assert_eq!(
        forbidden(&tree),
        ["cellblock-agent-core → getrandom (seeds are arguments)"]
    );
}

#[test]
fn tolerance_is_for_one_edge_only() {
    let tree = format!("{PURE}1 libc v0.2.191\n");
    assert_eq!(
        forbidden(&tree),
        ["cellblock-agent-core → libc (the system belongs to the adapters)"]
    );
}

#[test]
fn the_same_chain_is_reported_once() {
    let tree = format!("{PURE}1 rand v0.9.0\n1 rand v0.9.0\n");
    assert_eq!(forbidden(&tree).len(), 1);
}
