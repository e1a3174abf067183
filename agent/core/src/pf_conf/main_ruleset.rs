//! pf's main ruleset as pfctl(8) shows it: references to our anchors are added to it and taken out of it as lines. Everything else stays as it is in force, whatever pf.conf says.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use super::reference;
use crate::observed::AnchorReference;

/// What pfctl calls tables that it makes of lists (`PF_OPTIMIZER_TABLE_PFX`, sbin/pfctl/pfctl_parser.h), with a number of chance in it.
const AUTOMATIC: &str = "__automatic_";

/// Scrub rules are a list of their own that `pfctl -sr` shows first, and pf.conf wants before what translates; here the order is of no account.
const ANY_ORDER: &str = "set require-order no\n";

/// The main ruleset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MainRuleset {
    scrubs: Vec<String>,
    translations: Vec<String>,
    filters: Vec<String>,
}

impl MainRuleset {
    /// Reads `pfctl -sn` and `pfctl -sr`.
    #[must_use]
    pub fn read(translations: &str, rules: &str) -> Self {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<String>>();
        let (scrubs, filters) = lines(rules)
            .into_iter()
            .partition(|line| line.starts_with("scrub ") || line.starts_with("no scrub "));
        Self {
            scrubs,
            translations: lines(translations),
            filters,
        }
    }

    /// Which references to our anchors it has that let everything through.
    #[must_use]
    pub fn references(&self) -> BTreeSet<AnchorReference> {
        self.lines().filter_map(refers_at_all).collect()
    }

    /// The same with exactly these references: what is missing comes behind everything of its list that translates, and before everything that filters.
    #[must_use]
    pub fn with(&self, wanted: &BTreeSet<AnchorReference>) -> Self {
        let has = self.references();
        let mut edited = self.clone();
        let is_kept = |line: &String| refers(line).is_none_or(|one| wanted.contains(&one));
        edited.translations.retain(is_kept);
        edited.filters.retain(is_kept);
        for one in wanted.difference(&has) {
            let line = format!("{} all", reference(*one));
            match one {
                AnchorReference::Filter => edited.filters.insert(0, line),
                AnchorReference::Nat | AnchorReference::Rdr | AnchorReference::Binat => {
                    let later = edited
                        .translations
                        .iter()
                        .position(|line| list(line) > list_of(*one));
                    let place = later.unwrap_or(edited.translations.len());
                    edited.translations.insert(place, line);
                }
            }
        }
        edited
    }

    /// As pf.conf(5) has it. Tables and settings are not in it, and stay.
    #[must_use]
    pub fn text(&self) -> String {
        let lines = self.lines().map(|line| format!("{line}\n"));
        std::iter::once(ANY_ORDER.to_owned()).chain(lines).collect()
    }

    /// What the rest of it is known by, whoever loads it, in this boot or another.
    #[must_use]
    pub fn digest(&self) -> String {
        let text = meaning(self.lines()).join("\n");
        data_encoding::HEXLOWER.encode(&Sha256::digest(text)[..16])
    }

    fn lines(&self) -> impl Iterator<Item = &str> {
        let lines = self.scrubs.iter().chain(&self.translations);
        lines.chain(&self.filters).map(String::as_str)
    }
}

/// Reads what `pfctl -nv` shows of a text: its rules but for references to our anchors, comparable with those of another text.
#[must_use]
pub fn loaded(shown: &str) -> Vec<String> {
    let is_rule = |line: &&str| {
        let word = line.split_whitespace().next().unwrap_or_default();
        let is_macro = line.split_once(" = \"").is_some_and(|(name, _)| {
            let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
            !name.is_empty() && name.chars().all(part)
        });
        !line.is_empty() && !matches!(word, "set" | "table") && !is_macro
    };
    meaning(shown.lines().filter(is_rule))
}

/// Reads what `pfctl -nv` shows of a text, or `pfctl -sr` and `-sn`: a reference within the braces of another anchor leads elsewhere (`pf_kanchor_setup`, sys/netpfil/pf/pf_ruleset.c), and stands indented.
#[must_use]
pub fn references(shown: &str) -> BTreeSet<AnchorReference> {
    shown.lines().filter_map(refers_at_all).collect()
}

fn meaning<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    lines
        .filter(|line| refers_at_all(line).is_none())
        .map(|line| {
            let mut parts = line.trim_end().split(AUTOMATIC);
            let mut text = parts.next().unwrap_or_default().to_owned();
            for part in parts {
                let end = part.find('>').unwrap_or(part.len());
                let (name, rest) = part.split_at(end);
                let place = names.iter().position(|known| known == name);
                let place = place.unwrap_or_else(|| {
                    names.push(name.to_owned());
                    names.len() - 1
                });
                text.push_str(&format!("{AUTOMATIC}{place}{rest}"));
            }
            text
        })
        .collect()
}

/// Which of the three lists of translations a line is of, in the order in which pfctl shows them (`pfctl_show_nat`, sbin/pfctl/pfctl.c); the first for what stands within braces.
fn list(line: &str) -> usize {
    let line = line.strip_prefix("no ").unwrap_or(line);
    let word = line.split([' ', '-']).next().unwrap_or_default();
    match word {
        "rdr" => 1,
        "binat" => 2,
        _ => 0,
    }
}

fn list_of(reference: AnchorReference) -> usize {
    list(reference.keyword())
}

/// A line of ours as pfctl shows it.
fn refers(line: &str) -> Option<AnchorReference> {
    let mut all = AnchorReference::ALL.into_iter();
    all.find(|one| line.strip_prefix(reference(*one).as_str()) == Some(" all"))
}

/// The same, the operator's own in any form that lets everything through: `on em0` or `proto tcp` behind it would let only a part of the traffic through our rules.
fn refers_at_all(line: &str) -> Option<AnchorReference> {
    let mut all = AnchorReference::ALL.into_iter();
    all.find(|one| {
        let rest = line.strip_prefix(reference(*one).as_str());
        rest.is_some_and(|rest| matches!(rest.trim(), "" | "all" | "quick" | "quick all"))
    })
}
