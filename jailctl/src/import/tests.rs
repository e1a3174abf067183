//! Imports as a whole: files of `tests/import/round`, each about one part of jail.conf(5), to manifests as committed and back to a configuration that jail(8) takes for the same.
//!
//! `UPDATE_GOLDEN=1 cargo test -p jailctl --lib import` writes the manifests anew; read the difference before committing it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use cellblock_fakebsd::hardware::HardwareProfile;
use cellblock_fakebsd::{Emulator, Release};
use cellblock_schemas::validate::parameters::{self, Owner, Takes};
use proptest::prelude::*;

use super::*;
use crate::render::tests::jail_confs;

/// Between the parameters that `jail -e` prints; in no value.
const SEPARATOR: &str = "\u{1}";

/// What is rendered beside what was imported: the mark, and what a jail of ours always has.
const OURS: [&str; 4] = ["meta", "persist", "exec.consolelog", "host.hostname"];

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/import")
        .join(path)
}

fn sorted(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut entries: Vec<PathBuf> = entries.collect::<Result<_, _>>()?;
    entries.sort();
    Ok(entries)
}

fn emulator() -> Emulator {
    Emulator::new(Release::V15_1, HardwareProfile::recorded())
}

/// Puts the files below a folder onto a host.
fn copy(host: &mut Emulator, root: &Path, folder: &Path) -> anyhow::Result<()> {
    for path in sorted(folder)? {
        if path.is_dir() {
            copy(host, root, &path)?;
            continue;
        }
        let name = format!("/{}", path.strip_prefix(root)?.display());
        let parent = name.rsplit_once('/').context("a folder")?.0.to_owned();
        let made = host.files.create_directories(&parent);
        made.map_err(|error| anyhow::anyhow!("{parent}: {error}"))?;
        let written = host.files.write(&name, std::fs::read(&path)?);
        written.map_err(|error| anyhow::anyhow!("{name}: {error}"))?;
    }
    Ok(())
}

/// The parameters of each jail as `jail -e` prints them.
type Printed = BTreeMap<String, BTreeMap<String, Vec<String>>>;

fn printed(host: &mut Emulator, file: &str) -> anyhow::Result<Printed> {
    let argv = ["jail", "-f", file, "-e", SEPARATOR].map(str::to_owned);
    let output = host.run(&argv, "");
    ensure!(output.status == 0, "{}", output.stderr);
    ensure!(output.stderr.is_empty(), "{}", output.stderr);
    let lines = output.stdout.lines().map(|line| {
        let words = line.split(SEPARATOR).map(|word| {
            let (name, values) = word.split_once('=').unwrap_or((word, ""));
            (name.to_owned(), split(values))
        });
        let words: BTreeMap<String, Vec<String>> = words.collect();
        let name = words.get("name").and_then(|names| names.first()).cloned();
        (name.unwrap_or_default(), words)
    });
    Ok(lines.collect())
}

/// Values separated by commas, some in quotes (`quoted_print`, usr.sbin/jail/jail.c).
fn split(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    let mut values = vec![String::new()];
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        let last = values.last_mut().expect("there is one from the beginning");
        match (c, quote) {
            ('\\', _) => last.extend(characters.next()),
            ('"' | '\'', None) if last.is_empty() => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (',', None) => values.push(String::new()),
            (c, _) => last.push(c),
        }
    }
    values
}

/// What jail(8) takes a jail's parameters for, whichever way they were written.
fn meaning(
    host: &Emulator,
    words: &BTreeMap<String, Vec<String>>,
) -> BTreeMap<String, Vec<String>> {
    let mut meant: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, values) in words {
        let negated = parameters::negated(name);
        let positive = negated.clone().unwrap_or_else(|| name.clone());
        let last = values.last().cloned();
        let values = match parameters::owner(&positive) {
            Some(Owner::Free(Takes::Boolean)) => {
                let is_on = !matches!(last.as_deref(), Some("false" | "0"));
                vec![(is_on != negated.is_some()).to_string()]
            }
            Some(Owner::Free(Takes::Word(_))) => vec![last.unwrap_or("new".to_owned())],
            Some(Owner::Free(Takes::Integer(..) | Takes::Text | Takes::Short(_))) => {
                last.into_iter().collect()
            }
            Some(Owner::Free(Takes::List)) => {
                let kept = values.iter().filter(|value| !value.is_empty());
                kept.cloned().collect()
            }
            _ => match name.as_str() {
                "ip4.addr" | "ip6.addr" => values.iter().map(|value| bare(value)).collect(),
                "mount" => values.iter().map(|line| mount(line)).collect(),
                "mount.fstab" => {
                    let text = host.files.read_text(&values[0]).unwrap_or_default();
                    let lines = text
                        .lines()
                        .map(|line| line.split('#').next().unwrap_or(""));
                    let lines = lines.map(mount).filter(|line| !line.is_empty());
                    meant.entry("mount".to_owned()).or_default().extend(lines);
                    continue;
                }
                // Ours are moved, and aliases made, without jail(8).
                "interface" | "vnet.interface" => continue,
                // The order is the agent's: jail(8) knows only the jails of one file. The manifests say it.
                "depend" => continue,
                "vnet" => vec![last.unwrap_or("new".to_owned())],
                _ => values.clone(),
            },
        };
        let is_empty =
            parameters::owner(&positive) == Some(Owner::Free(Takes::List)) && values.is_empty();
        if !is_empty {
            meant.insert(positive, values);
        }
    }
    meant
}

fn bare(address: &str) -> String {
    let address = address
        .split_once('|')
        .map_or(address, |(_, address)| address);
    address
        .split(['/', ' '])
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// A line of fstab(5) without what means nothing to jail(8).
fn mount(line: &str) -> String {
    let words: Vec<&str> = line.split_ascii_whitespace().take(4).collect();
    let Some([source, target, kind, options]) = words.first_chunk() else {
        return words.join(" ");
    };
    let options: Vec<&str> = options
        .split(',')
        .filter(|option| *option != "rw")
        .collect();
    format!("{source} {target} {kind} {}", options.join(","))
}

fn imported(root: &Path) -> anyhow::Result<(conf::Read, Imported)> {
    let disk = Disk::new(Some(root.to_owned()));
    let bytes = disk.read("/etc/jail.conf");
    let bytes = bytes.map_err(|Missing(why)| anyhow::anyhow!("{why}"))?;
    let read = conf::read("/etc/jail.conf", bytes, &disk);
    let options = Options {
        host: "fbsd-01".to_owned(),
        interface: None,
    };
    let mut imported = convert::convert(&read.jails, &disk, &options);
    judge::judge(&mut imported)?;
    Ok((read, imported))
}

#[test]
fn imports_are_as_committed_and_render_back_to_the_same() -> anyhow::Result<()> {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for root in sorted(&folder("round"))? {
        let name = root.file_name().context("a name")?.display().to_string();
        let (read, imported) = imported(&root).with_context(|| name.clone())?;
        ensure!(read.mistakes.is_empty(), "{name}: {:?}", read.mistakes);
        let text = yaml(&imported)?;
        let golden = root.join("manifests.yaml");
        if update {
            std::fs::write(&golden, &text)?;
        } else if std::fs::read_to_string(&golden).unwrap_or_default() != text {
            wrong.push(format!("{name} is not\n{text}"));
        }
        same(&root, &read, &imported, &text).with_context(|| name.clone())?;
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn the_example_is_what_its_file_comes_to() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/jails/j09-import");
    let disk = Disk::new(None);
    let read = conf::read("jail.conf", std::fs::read(root.join("jail.conf"))?, &disk);
    ensure!(read.mistakes.is_empty(), "{:?}", read.mistakes);
    let options = Options {
        host: "fbsd-01".to_owned(),
        interface: None,
    };
    let mut imported = convert::convert(&read.jails, &disk, &options);
    judge::judge(&mut imported)?;
    let (text, golden) = (yaml(&imported)?, root.join("import.yaml"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &text)?;
    }
    ensure!(
        std::fs::read_to_string(&golden)? == text,
        "it comes to\n{text}"
    );
    Ok(())
}

/// Whether every jail is rendered back to what it was, but for what the notes say and what is [`OURS`].
fn same(root: &Path, read: &conf::Read, imported: &Imported, text: &str) -> anyhow::Result<()> {
    let mut host = emulator();
    copy(&mut host, root, root)?;
    let before = printed(&mut host, "/etc/jail.conf")?;
    let rendered = jail_confs(text)?;
    for jail in &read.jails {
        let notes: Vec<&Note> = imported
            .notes
            .iter()
            .filter(|note| note.about == jail.name)
            .collect();
        if notes.iter().any(|note| note.verdict == Verdict::NoManifest) {
            continue;
        }
        let given = jail.parameters.iter().find(|one| one.name == "name");
        let given = given.and_then(|one| one.values.last());
        let name = given.map_or(&jail.name, |value| &value.text);
        let file = rendered
            .get(name)
            .with_context(|| format!("{name} is not rendered: {:?}", rendered.keys()))?;
        let written = host.files.write("/rendered.conf", file);
        written.map_err(|error| anyhow::anyhow!("{error}"))?;
        let after = printed(&mut host, "/rendered.conf")?;
        let after = after.get(name).with_context(|| file.clone())?;
        let noted: BTreeSet<String> = notes
            .iter()
            .filter(|note| note.verdict != Verdict::ToDo)
            .map(|note| {
                let what = note.what.trim_start_matches("spec.");
                let what = what
                    .strip_prefix("parameters[")
                    .and_then(|what| what.strip_suffix(']'))
                    .unwrap_or(what);
                if what.starts_with("mount") && !what.starts_with("mount.") {
                    "mount"
                } else {
                    what
                }
                .to_owned()
            })
            .map(|what| match what.as_str() {
                "mount.fstab" => "mount".to_owned(),
                "dependsOn" => "depend".to_owned(),
                "command" => "exec.start".to_owned(),
                _ => what,
            })
            .collect();
        let before = before
            .get(name)
            .with_context(|| format!("{name} in {before:?}"))?;
        let before = meaning(&host, before);
        let mut after = meaning(&host, after);
        for ours in OURS.iter().filter(|ours| !before.contains_key(**ours)) {
            after.remove(*ours);
        }
        // What of the rest is told of need not be as it was, and nothing else may be otherwise.
        let is_told = |name: &String| {
            let word = name.as_str();
            noted.contains(word)
                || OURS.contains(&word) && word != "host.hostname" && word != "exec.consolelog"
        };
        let vnet = after.contains_key("vnet");
        if vnet && let Some(created) = after.get_mut("exec.created") {
            created.retain(|command| !command.starts_with("/sbin/ifconfig"));
        }
        if after.get("exec.created").is_some_and(Vec::is_empty) {
            after.remove("exec.created");
        }
        let judged = |words: BTreeMap<String, Vec<String>>| -> BTreeMap<String, Vec<String>> {
            words
                .into_iter()
                .filter(|(name, _)| !is_told(name) && name != "command")
                .collect()
        };
        let (before, after) = (judged(before), judged(after));
        ensure!(
            before == after,
            "jail {name}:\n{before:#?}\nis rendered as\n{after:#?}\n{file}\ntold: {noted:?}"
        );
    }
    Ok(())
}

#[test]
fn every_jail_has_a_manifest_or_a_reason() -> anyhow::Result<()> {
    for root in sorted(&folder("round"))? {
        let (read, imported) = imported(&root)?;
        for jail in &read.jails {
            let has = imported.documents.iter().any(|one| one.origin == jail.name);
            let mut notes = imported.notes.iter();
            let told =
                notes.any(|note| note.about == jail.name && note.verdict == Verdict::NoManifest);
            ensure!(has != told, "{}: {}", root.display(), jail.name);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// No value ends its quotes, begins a variable, or is read as something else, neither by ours nor by the emulator's reader.
    #[test]
    fn values_survive_quoting(
        first in "[ -~]{1,40}",
        second in "[^\\p{C}\\p{Z}]{1,20}",
        third in prop::sample::select(vec!["$name", "${x}", "\"; persist; x=\"", "\\", "'", "//", "/*", "#", "a\tb", "$", "\\\"", "}", "\\$x\\"]),
    ) {
        prop_assume!(!first.trim().is_empty());
        let commands = [first, second, third.to_owned()];
        let spec = json!({
            "host": "h",
            "root": { "path": "/j" },
            "parameters": { "exec.start": commands, "env.X": commands[0].trim() },
        });
        let jail = json!({ "apiVersion": "cellblock.dev/v1alpha1", "kind": "Jail", "metadata": { "name": "a" }, "spec": spec });
        let host = json!({ "apiVersion": "cellblock.dev/v1alpha1", "kind": "Host", "metadata": { "name": "h" }, "spec": {} });
        let text = format!("{host}\n---\n{jail}\n");
        let file = jail_confs(&text).expect("it is rendered").remove("a").expect("its jail.conf");
        let read = conf::read("a.conf", file.clone().into_bytes(), &Disk::new(None));
        prop_assert!(read.mistakes.is_empty(), "{:?}", read.mistakes);
        let start = read.jails[0].parameters.iter().find(|one| one.name == "exec.start").expect("it stands there");
        let texts: Vec<&String> = start.values.iter().map(|value| &value.text).collect();
        prop_assert_eq!(texts, commands.iter().collect::<Vec<_>>());
        let mut host = emulator();
        host.files.write("/a.conf", &file).expect("an empty file tree takes a file");
        let argv = ["jail", "-f", "/a.conf", "-e", SEPARATOR].map(str::to_owned);
        let output = host.run(&argv, "");
        prop_assert_eq!(output.status, 0, "{}", output.stderr);
        let word = format!("exec.start={}", conf::tests::print(&commands.iter().map(String::as_str).collect::<Vec<_>>()));
        prop_assert!(output.stdout.contains(&word), "{} in {}", word, output.stdout);
    }
}
