use super::is_id_match;

#[test]
fn users_are_matched_as_pf_writes_them() {
    for text in [
        "root",
        "> 1000",
        ">=1000",
        "!= www",
        "1000:1999",
        "1000 >< 2000",
        "1000<>2000",
        " 80 ",
    ] {
        assert!(is_id_match(text), "{text}");
    }
    for text in [
        "",
        ">",
        "root }",
        "{ a b }",
        "a\nb",
        "1000:",
        "> 1000 keep state",
        "a;b",
        "-1",
        "\"x\"",
    ] {
        assert!(!is_id_match(text), "{text:?}");
    }
}
