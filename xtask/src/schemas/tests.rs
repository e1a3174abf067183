//! Tests of the comparison of two folders of schemas.

use super::{Files, differences};

fn files(contents: &[(&str, &str)]) -> Files {
    contents
        .iter()
        .map(|(name, text)| ((*name).into(), text.as_bytes().to_vec()))
        .collect()
}

#[test]
fn equal_folders_have_no_differences() {
    let both = files(&[("Host.json", "{}"), ("Jail.json", "{}")]);
    assert!(differences(&both, &both).is_empty());
}

#[test]
fn every_kind_of_difference_is_named() {
    let committed = files(&[
        ("Gone.json", "{}"),
        ("Host.json", "{}"),
        ("Jail.json", "{}"),
    ]);
    let fresh = files(&[
        ("Host.json", "{}"),
        ("Jail.json", "{ }"),
        ("New.json", "{}"),
    ]);
    assert_eq!(
        differences(&committed, &fresh),
        [
            "Gone.json: no type makes it any more",
            "Jail.json: differs",
            "New.json: not committed"
        ]
    );
}
