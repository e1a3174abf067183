//! All mistakes of all manifests at once.

use super::*;

#[test]
fn one_unreadable_document_does_not_hide_the_mistakes_of_the_others() {
    let head = "apiVersion: cellblock.dev/v1alpha1\n";
    let first = format!(
        "{head}kind: Network\nmetadata: {{name: a}}\nspec: {{}}\n---\n{head}kind: Jail\nmetadata: {{name: b}}\nspec: {{hsot: x}}\n"
    );
    let second =
        format!("{head}kind: Jail\nmetadata: {{name: c}}\nspec: {{root: {{path: relative}}}}\n");
    let (documents, found) = judge(&[
        File {
            name: "z.yaml",
            bytes: first.as_bytes(),
        },
        File {
            name: "a.yaml",
            bytes: second.as_bytes(),
        },
    ]);
    // The one with the unknown field is read but for that field.
    assert_eq!(documents.len(), 3);
    let found: Vec<String> = found
        .iter()
        .map(|one| format!("{} {}", one.place(), one.field))
        .collect();
    assert_eq!(
        found,
        [
            "z.yaml:4:1 spec",
            "z.yaml:9:8 spec.hsot",
            "a.yaml:4:15 spec.root.path",
        ]
    );
}

#[test]
fn what_was_looked_through_is_named() {
    let folder = std::env::temp_dir();
    let text = names(&["-".into(), folder.clone(), "x.yaml".into()]);
    let expected = format!(
        "standard input, {} (*.yaml, *.yml, *.json), x.yaml",
        folder.display()
    );
    assert_eq!(text, expected);
}

#[test]
fn that_folders_are_not_descended_into_is_told_where_nothing_was_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let named = [folder.path().to_path_buf()];
    assert_eq!(below(&named), "", "there are none");
    let inner = folder.path().join("networking");
    std::fs::create_dir(&inner).expect("made");
    let error = read(&named, &Printer::default()).expect_err("nothing is there");
    let expected = format!(
        "; folders in a directory are not descended into, name each that is meant, such as {}",
        inner.display()
    );
    assert!(error.to_string().ends_with(&expected), "{error}");
}
