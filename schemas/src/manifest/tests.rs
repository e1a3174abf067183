use std::fmt::Write;

use super::{
    Diagnostic, File, MANIFEST_BYTES_MAX, MANIFEST_VALUES_MAX, check, parse, parse_files,
    read_files,
};
use crate::object::{Kind, Object};

const HEAD: &str = "apiVersion: cellblock.dev/v1alpha1\n";

fn errors(text: &str) -> Vec<String> {
    match parse("t.yaml", text) {
        Ok(_) => Vec::new(),
        Err(found) => found
            .iter()
            .map(|one| format!("{} {}: {}", one.place(), one.field, one.message))
            .collect(),
    }
}

#[test]
fn several_documents_empty_ones_lists_and_json() {
    let text = format!(
        "---\n# nothing\n---\n{HEAD}kind: Host\nmetadata: {{name: a}}\n---\n---\n{{\n\t\"apiVersion\": \"cellblock.dev/v1alpha1\",\n\t\"kind\": \"Jail\",\n\t\"metadata\": {{\"name\": \"b\"}}\n}}\n---\nkind: List\napiVersion: v1\nitems:\n- {HEAD}  kind: Network\n  metadata: {{name: c}}\n...\n"
    );
    let documents = parse("t.yaml", &text).expect("all documents are right");
    let kinds: Vec<_> = documents
        .iter()
        .map(|one| (one.object.kind(), one.span().line))
        .collect();
    assert_eq!(
        kinds,
        [(Kind::Host, 4), (Kind::Jail, 10), (Kind::Network, 18)]
    );
    assert_eq!(documents[2].locate("metadata.name").line, 20);
    assert_eq!(
        documents[0].value.get("spec"),
        None,
        "what is not written is not there"
    );
}

#[test]
fn a_byte_order_mark_and_foreign_line_breaks_are_read() {
    let text = format!("\u{feff}{HEAD}kind: Host\nmetadata: {{name: a}}\n").replace('\n', "\r\n");
    let documents = parse("t.yaml", &text).expect("it is the same text");
    assert_eq!(documents[0].locate("metadata.name").line, 3);
}

#[test]
fn anchors_and_merge_keys_write_out() {
    let text = format!(
        "{HEAD}kind: Jail\nmetadata: {{name: a}}\nspec:\n  parameters: &common\n    exec.clean: true\n    securelevel: 3\n---\n{HEAD}kind: Jail\nmetadata: {{name: b}}\nspec:\n  parameters:\n    <<: [&x {{exec.clean: true, securelevel: 3}}, {{stop.timeout: 5}}]\n    securelevel: 2\n  dependsOn: [&n c, *n]\n"
    );
    let found = errors(&text);
    assert_eq!(
        found,
        ["t.yaml:16:21 spec.dependsOn[1]: has the same entry as spec.dependsOn[0]"]
    );
    let text = text.replace(", *n]", "]");
    let documents = parse("t.yaml", &text).expect("merged");
    let Object::Jail(jail) = &documents[1].object else {
        panic!("a Jail")
    };
    assert_eq!(jail.spec.parameters.len(), 3);
    assert_eq!(
        serde_json::to_value(&jail.spec.parameters["securelevel"]).expect("a value"),
        2
    );
}

#[test]
fn aliases_cannot_grow_out_of_proportion() {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let _ = writeln!(
            laughs,
            "a{level}: &a{level} [{}]",
            vec![format!("*a{}", level - 1); 10].join(", ")
        );
    }
    let found = errors(&laughs);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("once its aliases are written out"),
        "{found:?}"
    );

    let mut long = format!("a: &a {}\nb:\n", "x".repeat(1_000_000));
    long += &"- *a\n".repeat(1000);
    assert!(errors(&long)[0].contains("once its aliases are written out"));

    let mut deep = String::from("- &a0 [x]\n");
    for level in 1..200 {
        let _ = writeln!(deep, "- &a{level} [*a{}]", level - 1);
    }
    assert!(errors(&deep)[0].contains("nested deeper"));
    assert!(errors(&"[".repeat(200))[0].contains("nested deeper"));
    assert!(errors("a: &a [*a]\n")[0].contains("refers to itself"));
}

#[test]
fn sizes_are_bounded() {
    let text = " ".repeat(MANIFEST_BYTES_MAX + 1);
    let found = parse("big.yaml", &text).expect_err("it is too large");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].place(), "big.yaml");

    let commas = format!(
        "[{}]",
        "x,".repeat(usize::try_from(MANIFEST_VALUES_MAX).expect("it fits") + 1)
    );
    let found = errors(&commas);
    assert_eq!(found.len(), 1, "{found:?}");

    let mut many = String::new();
    for _ in 0..500 {
        many += "---\nkind: Jial\n";
    }
    let found = errors(&many);
    assert_eq!(found.len(), 101);
    assert!(found[100].contains("400 more mistakes"), "{}", found[100]);
}

#[test]
fn one_line_of_many_mistakes_is_no_burden() {
    let one = r#"{"apiVersion":"x","kind":"Host","metadata":{"name":"A B"},"extra":1},"#;
    let text = format!(r#"{{"kind":"List","items":[{}]}}"#, one.repeat(50_000));
    let found = parse("t.json", &text).expect_err("nothing in it is right");
    assert_eq!(found.len(), 101);
    let shown: usize = found.iter().map(|one| one.render(false).len()).sum();
    assert!(shown < 100_000, "{shown} octets");
    assert!(
        found[99].render(false).contains("^^^"),
        "{}",
        found[99].render(false)
    );
}

#[test]
fn octets_that_are_no_text_are_refused() {
    let found = parse_files(&[File {
        name: "-",
        bytes: b"a: b\n\xff\xfe",
    }])
    .expect_err("it is not UTF-8");
    assert_eq!(
        found[0].message,
        "line 2 is not UTF-8 text (octet 0xff at offset 5)"
    );
}

#[test]
fn mistakes_in_other_documents_are_told_beside_a_syntax_error() {
    let text = format!(
        "{HEAD}kind: Host\nmetadata: {{name: \"a}}\n---\n{HEAD}kind: Jial\n---\n{HEAD}kind: Host\nmetadata: {{name: b\n---\nkind: Jail\n"
    );
    let found = errors(&text);
    let places: Vec<&str> = found
        .iter()
        .filter_map(|one| one.split(' ').next())
        .collect();
    assert!(found[0].contains("not YAML"), "{found:?}");
    assert!(
        found.iter().any(|one| one.contains("unknown kind `Jial`")),
        "{found:?}"
    );
    assert!(
        found
            .iter()
            .any(|one| one.contains("`apiVersion` is required")),
        "{found:?}"
    );
    assert!(
        places.is_sorted_by_key(|place| place
            .split(':')
            .nth(1)
            .and_then(|line| line.parse::<usize>().ok())),
        "{places:?}"
    );
}

#[test]
fn the_same_object_twice_names_both_places() {
    let one = format!("{HEAD}kind: Host\nmetadata:\n  name: a\n");
    let two = format!("{HEAD}kind: Network\nmetadata: {{name: a}}\n---\n{one}");
    let files = [
        File {
            name: "one.yaml",
            bytes: one.as_bytes(),
        },
        File {
            name: "two.yaml",
            bytes: two.as_bytes(),
        },
    ];
    let found = parse_files(&files).expect_err("Host a is there twice");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].place(), "two.yaml:8:3");
    assert_eq!(
        found[0].message,
        "Host `a` is given twice, first at one.yaml:4:3"
    );
}

#[test]
fn rules_are_told_with_their_line() {
    let text = format!(
        "{HEAD}kind: Network\nmetadata: {{name: lan}}\nspec:\n  bridge: {{}}\n  subnets:\n  - cidr: 10.0.0.1/24\n    gateway:\n      address: 10.0.1.1\n"
    );
    let documents = parse("t.yaml", &text).expect("the shape is right");
    let found: Vec<_> = check(&documents)
        .iter()
        .map(|one| format!("{} {}", one.place(), one.message))
        .collect();
    assert_eq!(
        found,
        [
            "t.yaml:7:5 10.0.0.1/24 has bits set behind its prefix",
            "t.yaml:9:7 10.0.1.1 is not inside 10.0.0.0/24"
        ]
    );
}

#[test]
fn rules_are_told_beside_mistakes_of_form_in_the_same_document() {
    let text = "apiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata: {name: www}\nspec: {hots: a, jailName: \"12\", root: {path: /jails/www}}\n";
    let file = File {
        name: "t.yaml",
        bytes: text.as_bytes(),
    };
    let (documents, found) = read_files(&[file]);
    let fields = |found: &[Diagnostic]| -> Vec<String> {
        found.iter().map(|one| one.field.clone()).collect()
    };
    assert_eq!(fields(&found), ["spec.hots"]);
    assert_eq!(fields(&check(&documents)), ["spec.jailName"]);
    assert!(!documents[0].is_whole());
}
