//! Listing datasets and reading properties: which there are, their defaults, and how values are written.

use std::sync::Arc;

use super::properties::{NOT_INHERITED, PROPERTIES, SIZES, date_text, nice};
use super::{Words, absent, content, verdict};
use crate::cmd::Context;
use crate::emulator::Emulator;
use crate::kernel::zfs::{Dataset, Zfs};
use crate::output::Output;

fn used(host: &Emulator, name: &str) -> u64 {
    if name.contains('@') {
        return 0;
    }
    let below = host.kernel.zfs.below(name);
    below
        .iter()
        .filter(|at| !at.contains('@'))
        .map(|at| own_bytes(host, at))
        .sum()
}

/// What a file system holds beyond its origin.
fn own_bytes(host: &Emulator, name: &str) -> u64 {
    let cloned = host
        .kernel
        .zfs
        .get(name)
        .and_then(|dataset| dataset.origin.as_deref())
        .map_or(0, |origin| Zfs::bytes_of(&content(host, origin)));
    Zfs::bytes_of(&content(host, name)).saturating_sub(cloned)
}

fn available(host: &Emulator, name: &str) -> u64 {
    let mut at = name.split('@').next().unwrap_or(name);
    let mut least = u64::MAX;
    loop {
        let limit = match at.contains('/') {
            false => host
                .kernel
                .zfs
                .pools
                .get(at)
                .map(|pool| pool.size_bytes / 2),
            true => host
                .kernel
                .zfs
                .get(at)
                .and_then(|dataset| dataset.local.get("quota"))
                .and_then(|quota| quota.parse().ok())
                .filter(|quota| *quota > 0),
        };
        if let Some(limit) = limit {
            least = least.min(limit.saturating_sub(used(host, at)));
        }
        match at.rfind('/') {
            Some(end) => at = &at[..end],
            None => return least,
        }
    }
}

/// A property's raw value and source; `None` if the dataset has no such property.
fn property(host: &Emulator, dataset: &Dataset, name: &str) -> Option<(String, String)> {
    let zfs = &host.kernel.zfs;
    let computed = |value: String| Some((value, "-".to_owned()));
    let name = match name {
        "avail" => "available",
        "refer" => "referenced",
        "recsize" => "recordsize",
        "compress" => "compression",
        other => other,
    };
    if dataset.is_snapshot() && matches!(name, "mountpoint" | "mounted" | "available" | "origin") {
        return None;
    }
    match name {
        "name" => computed(dataset.name.clone()),
        "type" => computed(
            if dataset.is_snapshot() {
                "snapshot"
            } else {
                "filesystem"
            }
            .to_owned(),
        ),
        "creation" => computed(dataset.created_s.to_string()),
        "used" => computed(used(host, &dataset.name).to_string()),
        "available" => computed(available(host, &dataset.name).to_string()),
        "referenced" | "usedbydataset" | "written" => {
            computed(Zfs::bytes_of(&content(host, &dataset.name)).to_string())
        }
        "logicalused" | "logicalreferenced" => {
            computed((Zfs::bytes_of(&content(host, &dataset.name)) / 2).to_string())
        }
        "usedbysnapshots" | "usedbychildren" | "usedbyrefreservation" => computed("0".to_owned()),
        "compressratio" | "refcompressratio" => computed("1.00".to_owned()),
        "mounted" => computed(if dataset.mounted { "yes" } else { "no" }.to_owned()),
        "origin" => dataset
            .origin
            .clone()
            .map(|origin| (origin, "-".to_owned())),
        // Of a snapshot without any there is none (`get_clones_string`, lib/libzfs/libzfs_dataset.c).
        "clones" => {
            let clones = zfs.clones(&dataset.name);
            (!clones.is_empty()).then(|| (clones.join(","), "-".to_owned()))
        }
        "guid" => computed(dataset.guid.to_string()),
        "createtxg" => computed(dataset.txg.to_string()),
        "objsetid" => computed((dataset.txg + 64).to_string()),
        "version" => computed("5".to_owned()),
        "utf8only" => computed("off".to_owned()),
        "normalization" => computed("none".to_owned()),
        "casesensitivity" => computed("sensitive".to_owned()),
        _ if name.starts_with("default") && name.ends_with("quota") => computed("0".to_owned()),
        "mountpoint" => Some(zfs.mountpoint(&dataset.name)),
        _ if NOT_INHERITED.contains(&name) => match dataset.local.get(name) {
            Some(value) => Some((value.clone(), "local".to_owned())),
            None => default(name),
        },
        _ => match zfs.inherited(&dataset.name, name) {
            Some((value, source)) => Some((value.to_owned(), source)),
            None => default(name),
        },
    }
}

fn default(name: &str) -> Option<(String, String)> {
    let (_, default) = PROPERTIES.iter().find(|(known, _)| *known == name)?;
    default.map(|value| (value.to_owned(), "default".to_owned()))
}

/// The value as printed: with `-p` as it is stored, else for people.
fn shown(name: &str, value: &str, parsable: bool) -> String {
    if parsable {
        return value.to_owned();
    }
    match (name, value.parse::<u64>()) {
        ("creation", Ok(epoch_s)) => date_text(epoch_s),
        ("quota" | "reservation" | "refquota" | "refreservation", Ok(0)) => "none".to_owned(),
        ("compressratio" | "refcompressratio", _) => format!("{value}x"),
        ("used" | "avail" | "refer", Ok(bytes)) => nice(bytes),
        (name, Ok(bytes)) if SIZES.contains(&name) => nice(bytes),
        _ => value.to_owned(),
    }
}

/// The datasets that operands and `-r`, `-d`, `-t` mean.
fn targets(
    host: &Emulator,
    words: &Words<'_>,
    filesystems_only_by_default: bool,
) -> Result<Vec<String>, String> {
    let types: Vec<&str> = words
        .value('t')
        .map_or_else(Vec::new, |types| types.split(',').collect());
    let wanted = |name: &str, asked: bool| {
        let kind = if name.contains('@') {
            "snapshot"
        } else {
            "filesystem"
        };
        match types.is_empty() {
            true => asked || !filesystems_only_by_default || kind == "filesystem",
            false => types.iter().any(|wanted| {
                *wanted == kind
                    || *wanted == "all"
                    || (*wanted == "snap" && kind == "snapshot")
                    || (*wanted == "fs" && kind == "filesystem")
            }),
        }
    };
    let mut found: Vec<String> = Vec::new();
    if words.operands.is_empty() {
        found.extend(
            host.kernel
                .zfs
                .sorted()
                .iter()
                .map(|dataset| dataset.name.clone())
                .filter(|name| wanted(name, false)),
        );
    }
    for operand in &words.operands {
        if host.kernel.zfs.get(operand).is_none() {
            return Err(absent(operand));
        }
        let depth = words
            .value('d')
            .and_then(|depth| depth.parse::<usize>().ok());
        let below = match (words.has('r'), depth) {
            (false, None) => vec![(*operand).to_owned()],
            (_, depth) => host
                .kernel
                .zfs
                .below(operand)
                .into_iter()
                .filter(|name| {
                    depth.is_none_or(|depth| {
                        name[operand.len()..].matches(['/', '@']).count() <= depth
                    })
                })
                .collect(),
        };
        found.extend(
            below
                .into_iter()
                .filter(|name| wanted(name, name == operand)),
        );
    }
    Ok(found)
}

/// In a jail: what is delegated to it, and the way there.
fn seen_by(host: &Emulator, context: &Context, name: &str) -> bool {
    context.jid == 0
        || host.kernel.zfs.sorted().iter().any(|dataset| {
            let below = dataset.name.starts_with(&format!("{name}/"))
                || name == dataset.name
                || name.starts_with(&format!("{}/", dataset.name))
                || name.starts_with(&format!("{}@", dataset.name));
            dataset.jailed_to == Some(context.jid) && below
        })
}

/// `zfs list [-Hp] [-r | -d depth] [-t type] [-o properties] [dataset...]`
pub(super) fn list(host: &Emulator, context: &Context, arguments: &[String]) -> Output {
    let words = Words::cut(arguments, "otdsS");
    let columns: Vec<&str> = words
        .value('o')
        .unwrap_or("name,used,avail,refer,mountpoint")
        .split(',')
        .collect();
    let names = match targets(host, &words, true) {
        Ok(names) => names,
        Err(text) => return verdict(Err(text)),
    };
    let mut rows: Vec<Vec<String>> = Vec::new();
    for dataset in names
        .iter()
        .filter(|name| seen_by(host, context, name))
        .filter_map(|name| host.kernel.zfs.get(name))
    {
        let cell = |column: &&str| {
            property(host, dataset, column).map_or_else(
                || "-".to_owned(),
                |(value, _)| shown(column, &value, words.has('p')),
            )
        };
        rows.push(columns.iter().map(cell).collect());
    }
    if rows.is_empty() && words.operands.is_empty() {
        return Output {
            stderr: "no datasets available\n".into(),
            ..Output::default()
        };
    }
    let titles: Vec<String> = columns
        .iter()
        .map(|column| column.to_ascii_uppercase())
        .collect();
    table(&titles, &rows, words.has('H'))
}

/// Rows as tab-separated lines, or padded under their titles.
pub(in crate::cmd) fn table(titles: &[String], rows: &[Vec<String>], scripted: bool) -> Output {
    let mut output = Output::success();
    if scripted {
        rows.iter().for_each(|row| output.line(row.join("\t")));
        return output;
    }
    let width = |at: usize| {
        rows.iter()
            .map(|row| row[at].len())
            .chain([titles[at].len()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    for row in std::iter::once(&titles.to_vec()).chain(rows) {
        let line: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        output.line(line.join("  ").trim_end());
    }
    output
}

/// `zfs get [-Hp] [-r] [-t type] [-o columns] properties [dataset...]`
pub(super) fn get(host: &Emulator, arguments: &[String]) -> Output {
    let mut words = Words::cut(arguments, "otds");
    if words.operands.is_empty() {
        return Output::failure(2, "missing property argument");
    }
    let asked: Vec<&str> = words.operands.remove(0).split(',').collect();
    let columns: Vec<&str> = words
        .value('o')
        .unwrap_or("name,property,value,source")
        .split(',')
        .collect();
    let names = match targets(host, &words, false) {
        Ok(names) => names,
        Err(text) => return verdict(Err(text)),
    };
    let mut rows = Vec::new();
    for dataset in names.iter().filter_map(|name| host.kernel.zfs.get(name)) {
        let wanted: Vec<String> = if asked == ["all"] {
            all_names(host, dataset)
        } else {
            asked.iter().map(|name| (*name).to_owned()).collect()
        };
        for name in wanted {
            let (value, source) = match property(host, dataset, &name) {
                Some((value, source)) => (shown(&name, &value, words.has('p')), source),
                None if name.contains(':')
                    || PROPERTIES.iter().any(|(known, _)| *known == name) =>
                {
                    ("-".to_owned(), "-".to_owned())
                }
                None => {
                    return Output::failure(
                        2,
                        format!("bad property list: invalid property '{name}'"),
                    );
                }
            };
            let cell = |column: &&str| match *column {
                "name" => dataset.name.clone(),
                "property" => name.clone(),
                "value" => value.clone(),
                _ => source.clone(),
            };
            rows.push(columns.iter().map(cell).collect());
        }
    }
    let titles: Vec<String> = columns
        .iter()
        .map(|column| column.to_ascii_uppercase())
        .collect();
    table(&titles, &rows, words.has('H'))
}

/// What `all` stands for: the native properties a dataset has, then the users' own.
fn all_names(host: &Emulator, dataset: &Dataset) -> Vec<String> {
    let native = PROPERTIES
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .filter(|name| property(host, dataset, name).is_some());
    let mut at = Some(dataset.filesystem());
    let mut own: std::collections::BTreeSet<String> = std::collections::BTreeSet::new();
    while let Some(name) = at {
        let local = host
            .kernel
            .zfs
            .get(name)
            .map(|dataset| Arc::new(dataset.local.clone()))
            .unwrap_or_default();
        own.extend(local.keys().filter(|name| name.contains(':')).cloned());
        at = name.rfind('/').map(|end| &name[..end]);
    }
    native.chain(own).collect()
}
