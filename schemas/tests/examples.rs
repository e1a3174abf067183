//! The manifests in `examples/` pass everything that is decided without a second object or a host, with no warning but those that belong to the arrangement.

#![expect(clippy::disallowed_methods, reason = "the examples are files")]

use std::path::{Path, PathBuf};

use cellblock_schemas::manifest::{File, check, parse_files};
use cellblock_schemas::{NetworkSpec, Object, default_object, unsupported, warnings_with};

/// The arrangements of which apply warns, each with the beginnings of what it says.
const WARNED: &[(&str, &[&str])] = &[
    (
        "n00-no-network",
        &["ip4: inherit gives the jail", "ip6: inherit gives the jail"],
    ),
    (
        "n12-routing-tables",
        &["a routing table steers", "a routing table steers"],
    ),
    (
        "n13-source-address",
        &["ip4.saddrsel acts on this jail alone"],
    ),
    ("n14-users", &["the range binds only those who keep to it"]),
];

fn manifests() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("examples are committed")
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
        .collect();
    paths.sort();
    paths
}

/// The manifests of one networking arrangement each: a fleet of its own, so they are not taken together.
fn arrangements() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/networking");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("examples are committed")
        .flat_map(|row| {
            let row = row.expect("it can be listed").path();
            assert!(
                row.join("README.md").exists(),
                "{} has a page",
                row.display()
            );
            std::fs::read_dir(row).expect("a folder for each row")
        })
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
        .collect();
    paths.sort();
    paths
}

#[test]
fn every_example_is_accepted_alone_and_all_together() {
    accepted(manifests());
}

#[test]
fn every_networking_arrangement_is_accepted() {
    for path in arrangements() {
        accepted(vec![path]);
    }
}

fn accepted(paths: Vec<PathBuf>) {
    let least = if paths.len() == 1 { 1 } else { 5 };
    let warned = WARNED.iter().filter(|(row, _)| {
        let mut paths = paths.iter();
        paths.any(|path| path.parent().is_some_and(|folder| folder.ends_with(row)))
    });
    let mut warned: Vec<&str> = warned.flat_map(|(_, said)| said.iter().copied()).collect();
    let files: Vec<(String, Vec<u8>)> = paths
        .into_iter()
        .map(|path| {
            (
                path.display().to_string(),
                std::fs::read(&path).expect("it can be read"),
            )
        })
        .collect();
    assert!(files.len() >= least, "the examples are there");
    let files: Vec<File<'_>> = files
        .iter()
        .map(|(name, bytes)| File { name, bytes })
        .collect();
    let documents = match parse_files(&files) {
        Ok(documents) => documents,
        Err(found) => panic!(
            "{}",
            found
                .iter()
                .map(|one| one.render(false))
                .collect::<Vec<_>>()
                .join("\n\n")
        ),
    };
    let mut found: Vec<String> = check(&documents)
        .iter()
        .map(|one| one.render(false))
        .collect();
    let objects: Vec<Object> = documents
        .iter()
        .map(|document| {
            let mut object = document.object.clone();
            default_object(&mut object);
            object
        })
        .collect();
    let network = |name: &str| -> Option<&NetworkSpec> {
        objects.iter().find_map(|object| match object {
            Object::Network(network) if network.metadata.name == name => Some(&network.spec),
            Object::Host(_)
            | Object::Network(_)
            | Object::Image(_)
            | Object::Jail(_)
            | Object::JailSet(_) => None,
        })
    };
    for (document, object) in documents.iter().zip(&objects) {
        found.extend(
            unsupported(object)
                .iter()
                .map(|violation| document.diagnostic(violation).render(false)),
        );
        for warning in warnings_with(object, &network) {
            let said = warned
                .iter()
                .position(|said| warning.message.starts_with(said));
            match said {
                Some(said) => drop(warned.remove(said)),
                None => found.push(document.warning(&warning).render(false)),
            }
        }
    }
    assert!(warned.is_empty(), "not warned of: {warned:?}");
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}
