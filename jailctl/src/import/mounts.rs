//! `mount` and `mount.fstab`: lines of fstab(5), as `run_command` of usr.sbin/jail/command.c reads them.

use serde_json::{Map, Value as Json, json};

use super::conf::{Files, Missing, Parameter};
use super::convert::{Draft, Verdict};

/// What a Jail's mounts may be.
const FILE_SYSTEMS: [&str; 6] = [
    "nullfs",
    "tmpfs",
    "fdescfs",
    "procfs",
    "linprocfs",
    "linsysfs",
];

/// The mounts of a jail, in the order in which jail(8) makes them.
pub(super) fn mounts(draft: &mut Draft<'_>, root: &str, files: &dyn Files) -> Vec<Json> {
    let mut mounts: Vec<Map<String, Json>> = Vec::new();
    let parameters = &draft.jail.parameters;
    if let Some(parameter) = parameters.iter().find(|one| one.name == "mount") {
        for value in &parameter.values {
            line(draft, parameter, &value.text, root, &mut mounts);
        }
    }
    if let Some(parameter) = parameters.iter().find(|one| one.name == "mount.fstab") {
        for value in parameter
            .values
            .iter()
            .filter(|value| !value.text.is_empty())
        {
            match files.read(&value.text) {
                Ok(bytes) => {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    let lines = text
                        .lines()
                        .map(|line| line.split('#').next().unwrap_or(""));
                    for text in lines {
                        line(draft, parameter, text, root, &mut mounts);
                    }
                }
                Err(Missing(why)) => {
                    let why = format!("{}: {why}", value.text);
                    let help = "import on the host, or with --root and a copy of its files";
                    draft.note(parameter, Verdict::LeftOut, why, help);
                }
            }
        }
    }
    mounts.into_iter().map(Json::from).collect()
}

fn line(
    draft: &mut Draft<'_>,
    parameter: &Parameter,
    text: &str,
    root: &str,
    mounts: &mut Vec<Map<String, Json>>,
) {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let refuse = |draft: &mut Draft<'_>, why: String, help: &str| {
        draft.note(
            parameter,
            Verdict::LeftOut,
            format!("`{}`: {why}", text.trim()),
            help,
        );
    };
    let [source, target, kind, rest @ ..] = words.as_slice() else {
        if !words.is_empty() {
            let why = "a line has what is mounted, where, and its type".to_owned();
            refuse(draft, why, "jail(8) refuses it too: mend the file");
        }
        return;
    };
    if source.contains('\\') || target.contains('\\') {
        let why = "a path with an escaped character".to_owned();
        return refuse(draft, why, "give it a path without blanks");
    }
    let below = target
        .strip_prefix(root)
        .filter(|below| below.starts_with('/'));
    let Some(below) = below else {
        let why = format!("{target} is not below the jail's root {root}");
        return refuse(draft, why, "mount it by the host's own /etc/fstab");
    };
    if *kind == "devfs" {
        let why = "a devfs without the jail's ruleset would show every device".to_owned();
        return refuse(
            draft,
            why,
            "set the parameters mount.devfs and devfs_ruleset",
        );
    }
    if !FILE_SYSTEMS.contains(kind) {
        let why = format!("a Jail has no mounts of type {kind}");
        let help =
            "mount it by the host's own /etc/fstab or zfs(8), and give the jail a nullfs of it";
        return refuse(draft, why, help);
    }
    let below = below.trim_end_matches('/');
    if mounts
        .iter()
        .any(|mount| mount.get("target").is_some_and(|one| one == below))
    {
        let why = format!("{below} is mounted on already, and a Jail has one mount for each place");
        return refuse(draft, why, "keep the one that shall be seen");
    }
    let mut mount = Map::new();
    mount.insert("type".to_owned(), (*kind).into());
    if *kind == "nullfs" {
        mount.insert("source".to_owned(), (*source).into());
    }
    mount.insert("target".to_owned(), below.into());
    let options: Vec<&str> = rest.first().map_or(Vec::new(), |options| {
        options
            .split(',')
            .filter(|option| !option.is_empty() && *option != "rw")
            .collect()
    });
    if !options.is_empty() {
        mount.insert("options".to_owned(), json!(options));
    }
    mounts.push(mount);
}
