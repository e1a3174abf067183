//! Field selectors as kubernetes/apimachinery reads them.

use cellblock_schemas::Kind;

use super::{Field, Requirement, fields};

#[test]
fn requirements_are_read() {
    let one = |field, is, value: &str| Requirement {
        field,
        is,
        value: value.to_owned(),
    };
    assert_eq!(fields(Kind::Host, "").expect("nothing"), []);
    assert_eq!(
        fields(
            Kind::Host,
            "metadata.name=www,metadata.name!=db,metadata.namespace=="
        )
        .expect("three"),
        [
            one(Field::Name, true, "www"),
            one(Field::Name, false, "db"),
            one(Field::Namespace, true, ""),
        ]
    );
    assert_eq!(
        fields(Kind::Host, r"metadata.name=a\,b\=c\\").expect("one"),
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
        assert!(fields(Kind::Host, text).is_err(), "{text}");
    }
}

#[test]
fn jails_are_selected_by_where_they_are() {
    let read = fields(Kind::Jail, "spec.host=a,status.binding.host!=b").expect("two");
    assert_eq!(read.len(), 2);
    assert_eq!(read[0].field, Field::WantedHost);
    assert_eq!(read[1].field, Field::BoundHost);
    assert!(fields(Kind::Jail, "spec.root=a").is_err());
}
