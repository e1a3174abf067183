//! Field selectors as kubernetes/apimachinery reads them.

use super::{Field, Requirement, fields};

#[test]
fn requirements_are_read() {
    let one = |field, is, value: &str| Requirement {
        field,
        is,
        value: value.to_owned(),
    };
    assert_eq!(fields("").expect("nothing"), []);
    assert_eq!(
        fields("metadata.name=www,metadata.name!=db,metadata.namespace==").expect("three"),
        [
            one(Field::Name, true, "www"),
            one(Field::Name, false, "db"),
            one(Field::Namespace, true, ""),
        ]
    );
    assert_eq!(
        fields(r"metadata.name=a\,b\=c\\").expect("one"),
        [one(Field::Name, true, r"a,b=c\")]
    );
}

#[test]
fn what_cannot_be_read_is_refused() {
    for text in [
        "metadata.name",
        "spec.host=a",
        "=x",
        r"metadata.name=a\b",
        "metadata.name=a=b",
    ] {
        assert!(fields(text).is_err(), "{text}");
    }
}
