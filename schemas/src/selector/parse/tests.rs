use std::collections::BTreeMap;

use crate::selector::LabelSelector;

fn parse(text: &str) -> LabelSelector {
    text.parse().expect(text)
}

fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
    let labels: BTreeMap<String, String> = labels
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    parse(selector).matches(&labels)
}

#[test]
fn every_form_means_what_kubernetes_means() {
    let labels = [("zone", "a"), ("app.kubernetes.io/name", "web")];
    for selector in [
        "",
        "  ",
        "zone=a",
        "zone==a",
        "zone = a",
        "zone!=b",
        "other!=b",
        "zone in (a,b)",
        "zone in ( a , b )",
        "zone notin (b)",
        "zone",
        "!other",
        "other notin (x)",
        "zone=a,app.kubernetes.io/name=web,!other",
    ] {
        assert!(matches(selector, &labels), "{selector}");
    }
    for selector in [
        "zone=b",
        "zone!=a",
        "other",
        "!zone",
        "zone in (b)",
        "zone notin (a)",
        "zone=a,other",
        "zone=a,zone=b",
        "zone=",
    ] {
        assert!(!matches(selector, &labels), "{selector}");
    }
    assert!(matches("empty=", &[("empty", "")]));
}

#[test]
fn what_does_not_parse_is_explained() {
    for (text, reason) in [
        ("zone=a,", "a label's key was expected at `the end`"),
        ("=a", "a label's key was expected at `=a`"),
        ("zone in a", "`(` was expected at `a`"),
        ("zone in (a", "`,` or `)` was expected at `the end`"),
        ("zone is a", "=, ==, !=, in or notin was expected at `is a`"),
        ("zone=a b", "a comma was expected at `b`"),
        ("zone=a/b", "a label's value was expected at `a/b`"),
        ("zone>5", "=, ==, !=, in or notin was expected at `>5`"),
        ("ü", "a label's key was expected at `ü`"),
        ("!", "a label's key was expected at `the end`"),
    ] {
        let error = text.parse::<LabelSelector>().expect_err(text).to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn a_selector_reads_back_as_it_prints() {
    for text in ["", "a=b,c in (d,e),f notin (g),h,!i"] {
        assert_eq!(parse(text).to_string(), text);
    }
    let twice = parse("a=b,a=c");
    assert_eq!(parse(&twice.to_string()), twice);
}
