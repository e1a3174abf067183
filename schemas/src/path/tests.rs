use super::{FieldPath, Step, steps};

#[test]
fn a_path_reads_back_as_it_was_built() {
    let path = FieldPath::new("spec")
        .field("networks")
        .index(0)
        .field("addresses")
        .index(1);
    assert_eq!(path.as_str(), "spec.networks[0].addresses[1]");
    assert_eq!(
        steps(path.as_str()),
        [
            Step::Field("spec"),
            Step::Field("networks"),
            Step::Bracket("0"),
            Step::Field("addresses"),
            Step::Bracket("1"),
        ]
    );
}

#[test]
fn keys_may_contain_dots_and_brackets() {
    let path = FieldPath::new("metadata")
        .field("labels")
        .key("a.b/c]d")
        .key("e");
    assert_eq!(path.as_str(), "metadata.labels[a.b/c]d][e]");
    assert_eq!(
        steps(path.as_str()),
        [
            Step::Field("metadata"),
            Step::Field("labels"),
            Step::Bracket("a.b/c]d"),
            Step::Bracket("e")
        ]
    );
}

#[test]
fn text_that_is_no_path_does_no_harm() {
    for text in ["", ".", "..", "[", "]", "a[", "a..b", "[0", "é[ü].ö"] {
        let _ = steps(text);
    }
    assert_eq!(steps("a[0"), [Step::Field("a")]);
}
