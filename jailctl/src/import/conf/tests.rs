//! The reader held against jail(8): what a FreeBSD 15.1 printed for the files of `tests/import/grammar`, and the emulator for any text.

use std::path::Path;

use anyhow::{Context as _, ensure};
use cellblock_fakebsd::hardware::HardwareProfile;
use cellblock_fakebsd::output::Output;
use cellblock_fakebsd::{Emulator, Release};
use proptest::prelude::*;

use super::*;

/// No files beside the one that is read.
struct Nothing;

impl Files for Nothing {
    fn read(&self, _: &str) -> Result<Vec<u8>, Missing> {
        Err(Missing("No such file or directory".to_owned()))
    }

    fn list(&self, _: &str) -> Vec<String> {
        Vec::new()
    }
}

fn emulated(text: &str, separator: &str) -> Output {
    let mut host = Emulator::new(Release::V15_1, HardwareProfile::recorded());
    let written = host.files.write("/jail.conf", text);
    written.expect("an empty file tree takes a file");
    let argv = ["jail", "-f", "/jail.conf", "-e", separator].map(str::to_owned);
    host.run(&argv, "")
}

/// `quoted_print` of usr.sbin/jail/jail.c, values separated by commas.
pub(crate) fn print(values: &[&str]) -> String {
    let printed = values.iter().map(|value| {
        let quote = match value {
            value if value.is_empty() || value.contains('\'') => "\"",
            value if value.contains('"') => "'",
            value if value.contains([' ', '\t']) => "\"",
            _ => "",
        };
        let mut text = value.replace('\\', "\\\\");
        if !quote.is_empty() {
            text = text.replace(quote, &format!("\\{quote}"));
        }
        format!("{quote}{text}{quote}")
    });
    printed.collect::<Vec<_>>().join(",")
}

/// A jail's line of `jail -e`, its parameters sorted.
fn line(jail: &Configured) -> Vec<String> {
    let is_number = jail.name.parse::<i64>().is_ok_and(|number| number != 0);
    let has_name = jail.parameters.iter().any(|one| one.name == "name");
    let mut words: Vec<String> = jail
        .parameters
        .iter()
        .filter(|one| one.name != "jid")
        .map(|one| {
            let values: Vec<&str> = one.values.iter().map(|value| value.text.as_str()).collect();
            if values.is_empty() {
                one.name.clone()
            } else {
                format!("{}={}", one.name, print(&values))
            }
        })
        .collect();
    if !(is_number && has_name) {
        words.push(format!("name={}", print(&[jail.name.as_str()])));
    }
    words.sort();
    words
}

/// The two readers say the same of a text, and neither is alone in refusing it.
fn agree(text: &str) -> Result<(), String> {
    let output = emulated(text, "\u{1}");
    let read = read("/jail.conf", text.as_bytes().to_vec(), &Nothing);
    let differ = |what: &str| {
        Err(format!(
            "{what}\n{text}\n{}{}{}\n{read:#?}",
            output.status, output.stdout, output.stderr
        ))
    };
    match output.status {
        0 if read.is_refused => differ("only ours refuses"),
        0 => {
            let lines: Vec<Vec<String>> = output
                .stdout
                .lines()
                .map(|line| {
                    let mut words: Vec<String> = line.split('\u{1}').map(str::to_owned).collect();
                    words.sort();
                    words
                })
                .collect();
            let ours: Vec<Vec<String>> = read.jails.iter().map(line).collect();
            if ours.iter().any(|one| !lines.contains(one)) {
                return differ("a jail is another");
            }
            // Ours has mistakes where jail(8) says something, and for a jail that is defined twice.
            let is_twice = read
                .mistakes
                .iter()
                .any(|one| one.message.contains("already"));
            if ours.len() != lines.len() && output.stderr.is_empty() && !is_twice {
                return differ("a jail is missing");
            }
            if !output.stderr.is_empty() && read.mistakes.is_empty() {
                return differ("only jail(8) complains");
            }
            Ok(())
        }
        139 if read.mistakes.is_empty() => differ("jail(8) dies"),
        139 => Ok(()),
        _ if read.is_refused => Ok(()),
        _ => differ("only jail(8) refuses"),
    }
}

#[test]
fn both_readers_do_what_jail_8_did() -> anyhow::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import/grammar");
    let mut count = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|end| end != "conf") {
            continue;
        }
        count += 1;
        let text = std::fs::read_to_string(&path)?;
        let expected = std::fs::read_to_string(path.with_extension("out"))?;
        let name = path.file_name().context("a name")?.display().to_string();
        let output = emulated(&text, "|");
        let stderr = output.stderr.replace("/jail.conf", &name);
        let got = format!("{stderr}{}exit status {}\n", output.stdout, output.status);
        ensure!(
            got == expected,
            "{name}: the emulator prints\n{got}and jail(8) printed\n{expected}"
        );
        // A line break in a value, which the lines of `jail -e` do not tell apart.
        if !name.starts_with("10-") {
            agree(&text).map_err(|error| anyhow::anyhow!("{name}: {error}"))?;
        }
    }
    ensure!(count > 30, "{count} files");
    Ok(())
}

fn mistakes(text: &str) -> Vec<String> {
    let read = read("j.conf", text.as_bytes().to_vec(), &Nothing);
    let shown = read.mistakes.iter();
    shown
        .map(|one| format!("{}: {}", one.place(), one.message))
        .collect()
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let text = "a {\n  path = ;\n  persist\n}\nb { = x; }\nc { path == y; host.hostname = ä; }\n";
    assert_eq!(
        mistakes(text),
        [
            "j.conf:2:10: syntax error: `;` cannot stand here",
            "j.conf:4:1: syntax error: `}` cannot stand here",
            "j.conf:5:5: syntax error: `=` cannot stand here",
            "j.conf:6:11: syntax error: `=` cannot stand here",
            "j.conf:6:32: syntax error: this character cannot stand here",
        ]
    );
}

#[test]
fn a_missing_quote_is_told_where_it_is_missing() {
    let read = read(
        "j.conf",
        b"a {\n path = \"/x;\n}\nb { path = \"/y\"; }\n".to_vec(),
        &Nothing,
    );
    let mut mistakes = read.mistakes.iter();
    let found = mistakes.find(|one| one.help.contains("begins at j.conf:2"));
    let shown = found.expect("it is told").render(false);
    assert!(shown.contains("4 | b { path = \"/y\"; }"), "{shown}");
}

#[test]
fn what_concerns_one_jail_leaves_the_others() {
    let read = read(
        "j.conf",
        b"a { path = \"$x\"; }\nb { path = /b; }\n".to_vec(),
        &Nothing,
    );
    assert!(!read.is_refused);
    assert_eq!(read.jails.len(), 1);
    assert_eq!(read.mistakes[0].message, "jail a: variable \"x\" not found");
}

/// Words that mean something, side by side and apart.
fn text() -> impl Strategy<Value = String> {
    let words = vec![
        "a",
        "b",
        "*",
        "\"a.*\"",
        "path",
        "exec.start",
        "persist",
        "nopersist",
        "allow.nomount",
        "allow.mount",
        "name",
        "$v",
        "$w",
        "${v}",
        "\"x$v y\"",
        "\"${name}z\"",
        "'it''s'",
        "'q $v'",
        "\"two\nlines\"",
        "\\n",
        "\\",
        "\"",
        "'",
        "+",
        "+=",
        "=",
        "=",
        "=",
        ";",
        ";",
        ";",
        ";",
        ";",
        ",",
        "{",
        "{",
        "}",
        "}",
        " ",
        " ",
        " ",
        "\n",
        "\t",
        "#c\n",
        "//c\n",
        "/*c*/",
        "/*",
        "/",
        "3",
        "jid",
        "$",
        "${",
        ".include",
        "a b = c;",
        "a { path = /x; }",
        "x = $v;",
        "$v = y;",
        "b { ",
        "exec.start += z;",
        "\"$v\\$q\\\"r\"",
        "~",
        "\u{e4}x\"",
    ];
    let words = prop::collection::vec(prop::sample::select(words), 0..24);
    words.prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_two_readers_agree(text in text()) {
        // An octet beyond ASCII outside of quotes ends the file for jail(8), which ours refuses.
        prop_assume!(!text.contains('\u{e4}') || emulated(&text, "|").status != 0);
        // A line break in a name or a value, which the lines of `jail -e` do not tell apart.
        let read = read("/jail.conf", text.clone().into_bytes(), &Nothing);
        let mut words = read.jails.iter().flat_map(line);
        prop_assume!(!words.any(|word| word.contains('\n')));
        prop_assert_eq!(agree(&text), Ok(()));
    }
}
