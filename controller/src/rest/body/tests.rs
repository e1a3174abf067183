//! What a body may cost to read.

use std::time::{Duration, Instant};

use super::*;

fn read(media: Media, text: &str) -> Result<(Value, Vec<String>), Failure> {
    document(media, text.as_bytes(), Validation::Warn)
}

#[test]
fn what_stands_twice_is_told_by_its_place() {
    let text = r#"{"a": {"b": [{"c": 1}, {"c": 1, "c": 2}]}, "d": 1, "d": 2}"#;
    let (document, told) = read(Media::Json, text).expect("it is read");
    let expected = [r#"duplicate field "a.b[1].c""#, r#"duplicate field "d""#];
    assert_eq!(told, expected);
    assert_eq!(document["a"]["b"][1]["c"], 2);
}

#[test]
fn long_names_with_much_in_them_are_read_at_once() {
    let name = "x".repeat(1 << 20);
    let items = vec!["0"; 900_000].join(",");
    let began = Instant::now();
    read(Media::Json, &format!("{{\"{name}\":[{items}]}}")).expect("it is read");
    // With each place put into words it would be a terabyte of them.
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn what_is_too_deep_is_refused() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for media in [Media::Json, Media::Yaml] {
        read(media, &format!("{{\"a\": {}}}", nested(100))).expect("deep enough for anything");
        for depth in [129, 10_000, 1_000_000] {
            let refused = read(media, &format!("{{\"a\": {}}}", nested(depth)));
            assert!(refused.is_err(), "{media:?} {depth}");
        }
    }
    let lines: String = (0..200).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
    assert!(read(Media::Yaml, &lines).is_err());
}
