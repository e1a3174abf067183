use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{
    BEGIN, BEGIN_JOINED, Damaged, END, MainRuleset, has_block, loaded, own, reference, with_block,
};
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

#[test]
fn a_remark_of_the_operators_is_no_mark() {
    let text = "# cellblock endpoints\npass\n";
    assert_eq!(own(text).as_deref(), Ok(text));
}

#[test]
fn two_backslashes_before_a_line_end_join_nothing() {
    let text = "# C:\\\\\nblock in quick all\n";
    let written = with_block(text, &all());
    assert!(
        written.starts_with("# C:\\\\\n# cellblock begin"),
        "{written}"
    );
}

#[test]
fn references_are_added_to_what_is_in_force_and_taken_out() {
    let nat = "nat on em0 inet all -> (em0) round-robin\nbinat on em0 inet from 10.5.5.5 to any -> 10.6.6.6\n";
    let rules = "scrub in all fragment reassemble\nblock drop in quick from <__automatic_5c_0> to any\nanchor on em1 all {\n  anchor \"cellblock/*\" all\n}\n";
    let main = MainRuleset::read(nat, rules);
    assert_eq!(main.references(), BTreeSet::new());
    let with = main.with(&all());
    assert_eq!(
        with.text(),
        "set require-order no\nscrub in all fragment reassemble\nnat on em0 inet all -> (em0) round-robin\nnat-anchor \"cellblock/*\" all\nrdr-anchor \"cellblock/*\" all\nbinat on em0 inet from 10.5.5.5 to any -> 10.6.6.6\nbinat-anchor \"cellblock/*\" all\nanchor \"cellblock/*\" all\nblock drop in quick from <__automatic_5c_0> to any\nanchor on em1 all {\n  anchor \"cellblock/*\" all\n}\n"
    );
    assert_eq!(with.digest(), main.digest());
    assert_eq!(with.with(&BTreeSet::new()), main);
}

/// Tables that pfctl makes have another name with each load.
#[test]
fn the_same_rules_are_known_whoever_loads_them() {
    let shown = "ext = \"em0\"\ntable <bad> persist\nset skip on { lo0 }\npass in from <__automatic_0> to any\n";
    let rules = "anchor \"cellblock/*\" all\npass in from <__automatic_5c4fa543_0> to any\n";
    assert_eq!(loaded(shown), loaded(rules));
    let main = MainRuleset::read("", rules);
    let other = MainRuleset::read("", &rules.replace("5c4fa543", "aa"));
    assert_eq!(main.digest(), other.digest());
    assert_ne!(loaded(shown), loaded("pass in from <bad> to any\n"));
    assert_ne!(loaded(shown), loaded("ether block\n"));
}
