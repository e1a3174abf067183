use super::Words;

#[test]
fn words_stand_once_and_in_order_however_they_came() {
    let words = Words::from(["UP", "RUNNING", "UP", "BROADCAST"]);
    assert_eq!(words, Words::from(["BROADCAST", "RUNNING", "UP"]));
    assert_eq!(
        words.iter().collect::<Vec<_>>(),
        ["BROADCAST", "RUNNING", "UP"]
    );
    assert_eq!(words.len(), 3);
}

#[test]
fn only_a_whole_word_is_among_them() {
    let words = Words::from(["LOWER_UP", "RUNNING"]);
    assert!(words.contains("LOWER_UP"));
    assert!(!words.contains("UP"));
    assert!(!words.contains(""));
    assert!(Words::default().is_empty() && !Words::default().contains(""));
}

#[test]
fn they_are_a_list_in_json() {
    let words = Words::from(["epair", "cbnet"]);
    let text = serde_json::to_string(&words).expect("a list of words");
    assert_eq!(text, r#"["cbnet","epair"]"#);
    let read: Words = serde_json::from_str(&text).expect("the same list");
    assert_eq!(read, words);
}
