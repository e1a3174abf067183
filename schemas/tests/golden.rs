//! Golden cases: `cases/<intent>/*.yaml` read as one apply, and `errors.txt`, exactly what an operator is shown.
//!
//! With `UPDATE_GOLDEN=1` the files are written instead of compared; the difference is then for a person to judge.

#![expect(clippy::disallowed_methods, reason = "the cases are files")]

use std::path::{Path, PathBuf};

use cellblock_schemas::default_object;
use cellblock_schemas::manifest::{Document, File, check, parse_files};
use cellblock_schemas::{unsupported, warnings};

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder is committed")
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    paths.sort();
    paths
}

/// What `jailctl apply --dry-run` says of a document before any server is asked, and what admission adds.
fn judge(documents: &[Document]) -> Vec<String> {
    let mut lines: Vec<String> = check(documents)
        .iter()
        .map(|one| one.render(false))
        .collect();
    for document in documents {
        let mut object = document.object.clone();
        default_object(&mut object);
        lines.extend(
            unsupported(&object)
                .iter()
                .map(|violation| document.diagnostic(violation).render(false)),
        );
        lines.extend(
            warnings(&object)
                .iter()
                .map(|warning| document.warning(warning).render(false)),
        );
    }
    lines
}

fn run(case: &Path) -> String {
    let files: Vec<(String, Vec<u8>)> = sorted(case)
        .into_iter()
        .filter(|path| {
            path.extension()
                .is_some_and(|ending| ending == "yaml" || ending == "json")
        })
        .map(|path| {
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            (name, std::fs::read(&path).expect("the case can be read"))
        })
        .collect();
    let files: Vec<File<'_>> = files
        .iter()
        .map(|(name, bytes)| File { name, bytes })
        .collect();
    let lines = match parse_files(&files) {
        Ok(documents) => judge(&documents),
        Err(found) => found.iter().map(|one| one.render(false)).collect(),
    };
    lines.join("\n\n") + "\n"
}

#[test]
fn every_case_is_told_as_written_down() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut different = Vec::new();
    let cases = sorted(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases"));
    assert!(cases.len() > 15, "the cases are there");
    for case in cases {
        let shown = run(&case);
        let expected = case.join("errors.txt");
        if update {
            std::fs::write(&expected, &shown).expect("the folder can be written");
        } else if std::fs::read_to_string(&expected).ok().as_ref() != Some(&shown) {
            different.push(format!("{}:\n{shown}", case.display()));
        }
    }
    assert!(
        different.is_empty(),
        "{}\nlook, and run again with UPDATE_GOLDEN=1",
        different.join("\n")
    );
}
