use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{BEGIN, BEGIN_JOINED, Damaged, END, has_block, own, reference, with_block};
use crate::observed::AnchorReference;

fn all() -> BTreeSet<AnchorReference> {
    AnchorReference::ALL.into_iter().collect()
}

fn block() -> String {
    let lines = AnchorReference::ALL.map(reference).join("\n");
    format!("{BEGIN}\n{lines}\n{END}\n")
}

#[test]
fn it_stands_behind_what_translates_and_before_what_filters() {
    let head = "ext = \"em0\"\ntable <bad> persist\nset skip on lo0\nscrub in all\nnat on $ext from 10.0.0.0/8 to any -> ($ext)\n\n# rules\n";
    let tail = "block in quick from <bad>\npass\n";
    let text = format!("{head}{tail}");
    assert_eq!(
        with_block(&text, &all()),
        format!("{head}{}{tail}", block())
    );
}

#[test]
fn only_what_is_missing_stands_in_it() {
    let missing = BTreeSet::from([AnchorReference::Binat]);
    let text = with_block("pass\n", &missing);
    assert_eq!(
        text,
        format!("{BEGIN}\nbinat-anchor \"cellblock/*\"\n{END}\npass\n")
    );
    assert_eq!(with_block("pass\n", &BTreeSet::new()), "pass\n");
    assert_eq!(with_block("", &all()), block());
}

#[test]
fn a_statement_goes_on_behind_a_backslash_in_quotes_and_in_braces() {
    for head in [
        "nat on em0 \\\n  pass from any to any -> (em0)\n",
        "# a comment \\\npass\n",
        "# a comment \\\n\n",
        "ports = \"{ 22,\npass }\"\n",
        "table <a> {\nblock\n}\n",
        "rdr-anchor \"x/*\"\nnat-anchor \"pass\"\n",
        "label = 'it\\'s\npass'\n",
        "load anchor foo from \"/etc/anchor\"\n",
    ] {
        let text = format!("{head}  pass in all\n");
        let expected = format!("{head}{}  pass in all\n", block());
        assert_eq!(with_block(&text, &all()), expected, "{head}");
    }
    for first in [
        "anchor \"x\" {\n pass\n}\n",
        "antispoof for em0\n",
        "match in all scrub (no-df)\n",
        "$rules\n",
        "\\\n pass\n",
    ] {
        let text = with_block(first, &all());
        assert_eq!(text, format!("{}{first}", block()), "{first}");
    }
}

#[test]
fn a_text_without_a_line_end_has_none_again() {
    let text = with_block("set skip on lo0", &all());
    assert!(
        text.starts_with(&format!("set skip on lo0\n{BEGIN_JOINED}\n")),
        "{text}"
    );
    assert_eq!(own(&text).as_deref(), Ok("set skip on lo0"));
    assert_eq!(
        own(&format!("{text}pass\n")).as_deref(),
        Ok("set skip on lo0\npass\n")
    );
}

#[test]
fn half_a_block_is_told() {
    let whole = with_block("pass\n", &all());
    for text in [
        whole.replace(END, ""),
        whole.replace(BEGIN, "#"),
        format!("{whole}{whole}"),
        whole.replace(BEGIN, "# cellblock begin"),
    ] {
        assert_eq!(own(&text), Err(Damaged), "{text}");
        assert!(!has_block(&text));
    }
}

proptest! {
    #[test]
    fn taken_out_the_text_is_what_it_was(
        text in "([a-z#\"'{}\\\\\n $]|pass|\\\\\n|block in quick\n|nat on em0\n){0,40}", lines in any::<[bool; 4]>(),
    ) {
        let lines: BTreeSet<_> = AnchorReference::ALL.into_iter().zip(lines).filter_map(|(line, is)| is.then_some(line)).collect();
        let with = with_block(&text, &lines);
        prop_assert_eq!(has_block(&with), !lines.is_empty());
        prop_assert_eq!(own(&with), Ok(text));
    }
}
