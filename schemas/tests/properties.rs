//! Properties that hold for every input: nothing panics, defaulting is idempotent, valid objects survive JSON, and what the
//! structural check lets through can be read.

use cellblock_schemas::manifest::{File, parse_files};
use cellblock_schemas::selector::LabelSelector;
use cellblock_schemas::{
    Kind, Object, default_object, json_schema, structural, unsupported, validate, validate_update,
    warnings,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Words that manifests are made of, good and bad.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => proptest::sample::select(vec![
            "web", "lan0", "external", "10.0.0.1", "10.0.0.0/24", "fd00::1", "fd00::/64", "10.0.0.3-10.0.0.9", "02:00:5e:10:00:07", "80", "8000-8099",
            "tcp", "allocate", "static", "Running", "/jails/www", "nullfs", "vmemoryuse:deny=512M", "5s", "zone", "In", "lo0", "fe80::1", "127.0.0.1",
            "exec.start", "allow.mount", "NoSchedule", "host", "none", "",
        ])
        .prop_map(str::to_owned),
        1 => ".{0,20}",
        1 => "[a-z0-9.:/-]{0,70}",
    ]
}

/// A value that fits a schema most of the time.
fn fitting(schema: Value, root: &'static Value, depth: u32) -> BoxedStrategy<Value> {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let target = root
            .pointer(reference.trim_start_matches('#'))
            .expect("references resolve")
            .clone();
        return fitting(target, root, depth);
    }
    if depth == 0 {
        return Just(Value::Null).boxed();
    }
    if let Some(alternatives) = schema.get("anyOf").and_then(Value::as_array) {
        let strategies: Vec<_> = alternatives
            .iter()
            .map(|one| fitting(one.clone(), root, depth))
            .collect();
        return proptest::strategy::Union::new(strategies).boxed();
    }
    if let Some(names) = schema.get("enum").and_then(Value::as_array) {
        return proptest::sample::select(names.clone()).boxed();
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("string") => word().prop_map(Value::from).boxed(),
        Some("integer") => prop_oneof![0..100i64, 0..70_000i64, any::<i64>()]
            .prop_map(Value::from)
            .boxed(),
        Some("boolean") => any::<bool>().prop_map(Value::from).boxed(),
        Some("array") => {
            let item = fitting(schema["items"].clone(), root, depth - 1);
            proptest::collection::vec(item, 0..4)
                .prop_map(Value::from)
                .boxed()
        }
        Some("object") => match schema.get("additionalProperties") {
            Some(values) => {
                let value = fitting(values.clone(), root, depth - 1);
                proptest::collection::vec((word(), value), 0..4)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect::<Map<_, _>>()))
                    .boxed()
            }
            None => object(&schema, root, depth),
        },
        Some(_) | None => Just(json!({})).boxed(),
    }
}

fn object(schema: &Value, root: &'static Value, depth: u32) -> BoxedStrategy<Value> {
    let empty = Map::new();
    let properties = schema
        .get("properties")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    let required: Vec<String> = schema
        .get("required")
        .and_then(Value::as_array)
        .map(|names| {
            names
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        })
        .unwrap_or_default();
    let fields: Vec<_> = properties
        .iter()
        .map(|(name, field)| {
            let chance = if required.contains(name) { 0.98 } else { 0.3 };
            let value = fitting(field.clone(), root, depth - 1);
            (
                Just(name.clone()),
                proptest::option::weighted(chance, value),
            )
        })
        .collect();
    let unknown = proptest::option::weighted(0.02, ("[a-z]{1,8}", Just(json!(1))));
    (fields, unknown)
        .prop_map(|(fields, unknown)| {
            let given = fields
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)));
            Value::Object(given.chain(unknown).collect())
        })
        .boxed()
}

fn document() -> impl Strategy<Value = (Kind, Value)> {
    proptest::sample::select(Kind::ALL.to_vec()).prop_flat_map(|kind| {
        let schema = json_schema(kind);
        (Just(kind), fitting(schema.clone(), schema, 8))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_passes_the_structural_check_can_be_read((kind, document) in document()) {
        let violations = structural::check(kind, &document);
        match structural::read(kind, document) {
            Ok(_) => prop_assert!(violations.is_empty()),
            Err(found) => prop_assert_eq!(found, violations, "the check itself gives every reason"),
        }
    }

    #[test]
    fn defaulting_twice_is_defaulting_once((kind, document) in document()) {
        if let Ok(mut object) = structural::read(kind, document) {
            default_object(&mut object);
            let once = object.clone();
            default_object(&mut object);
            prop_assert_eq!(&object, &once);
            // A defaulted object says the same in JSON and in types, and its JSON is a document again.
            let value = object.to_value();
            prop_assert_eq!(structural::check(kind, &value), vec![]);
            prop_assert_eq!(Object::from_value(kind, value).ok(), Some(once));
        }
    }

    #[test]
    fn judging_an_object_never_panics((kind, left) in document(), (_, right) in document()) {
        if let Ok(mut object) = structural::read(kind, left) {
            default_object(&mut object);
            let _ = (validate(&object), unsupported(&object), warnings(&object));
            prop_assert_eq!(validate_update(&object, &object), vec![]);
            if let Ok(other) = structural::read(kind, right) {
                let _ = validate_update(&object, &other);
            }
        }
    }

    #[test]
    fn a_document_reads_from_a_manifest_as_it_is((kind, mut document) in document()) {
        document["apiVersion"] = json!(cellblock_schemas::API_VERSION);
        document["kind"] = json!(kind.as_str());
        let expected = structural::read(kind, document.clone());
        let text = serde_json::to_string_pretty(&document).expect("a value has a text");
        let read = parse_files(&[File { name: "-", bytes: text.as_bytes() }]);
        match (expected, read) {
            (Ok(object), Ok(documents)) => prop_assert_eq!(&documents[0].object, &object),
            (Err(violations), Err(found)) => prop_assert_eq!(found.len(), violations.len().min(101)),
            (expected, read) => prop_assert!(false, "{:?} but {:?}", expected, read),
        }
    }

    #[test]
    fn reading_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        show(&bytes);
    }

    #[test]
    fn reading_text_never_panics(text in "([a-z&*<\\[\\]{}:,'\"#!|>%@?\t\n\r -]|---\n|: |- |\u{e9}|\u{2028}){0,60}") {
        show(text.as_bytes());
    }

    #[test]
    fn reading_a_damaged_manifest_never_panics(at in 0usize..2000, insert in ".{0,3}", cut in 0usize..20) {
        let mut text: Vec<char> = include_str!("../../examples/nat-tom-dick-harry.yaml").chars().collect();
        let at = at.min(text.len());
        let end = (at + cut).min(text.len());
        text.splice(at..end, insert.chars());
        show(text.into_iter().collect::<String>().as_bytes());
    }

    #[test]
    fn selectors_never_panic_and_read_back(text in "[a-z=!,() in]{0,20}|.{0,20}") {
        if let Ok(selector) = text.parse::<LabelSelector>() {
            prop_assert_eq!(selector.to_string().parse::<LabelSelector>().ok(), Some(selector));
        }
    }
}

/// Reads bytes as a manifest and renders whatever is wrong with them.
fn show(bytes: &[u8]) {
    if let Err(found) = parse_files(&[File {
        name: "x.yaml",
        bytes,
    }]) {
        for diagnostic in found {
            assert!(!diagnostic.render(true).is_empty());
        }
    }
}
