//! Snapshots, clones, holds, and streams between datasets.
//!
//! A stream is text that names what it carries; only `receive` of the same host reads it.

use std::sync::Arc;

use super::change::assignments;
use super::{
    Verdict, Words, absent, content, mount_dataset, put_files, record, unmount_dataset, unwritable,
    verdict,
};
use crate::emulator::Emulator;
use crate::output::Output;

/// What zfs prints behind a usage error of `snapshot` (recording `10`).
const SNAPSHOT_USAGE: &str = "usage:
\tsnapshot [-r] [-o property=value] ... <filesystem|volume>@<snap> ...

For the property list, run: zfs set|get

For the delegated permission list, run: zfs allow|unallow

For further help on a command or topic, run: zfs help [<topic>]";

/// `zfs snapshot [-r] [-o property=value] filesystem@name...`
pub(super) fn snapshot(host: &mut Emulator, arguments: &[String]) -> Output {
    let words = Words::cut(arguments, "o");
    let mut targets = Vec::new();
    for given in &words.operands {
        let Some((filesystem, name)) = given.split_once('@') else {
            return Output::failure(
                2,
                format!("cannot create snapshot '{given}': missing '@' delimiter in snapshot name"),
            );
        };
        if host.kernel.zfs.get(filesystem).is_none() {
            return Output::failure(2, format!("{}\n{SNAPSHOT_USAGE}", absent(filesystem)));
        }
        let filesystems = if words.has('r') {
            host.kernel.zfs.below(filesystem)
        } else {
            vec![filesystem.to_owned()]
        };
        targets.extend(
            filesystems
                .into_iter()
                .filter(|at| !at.contains('@'))
                .map(|at| (at.clone(), format!("{at}@{name}"))),
        );
    }
    if let Some((_, taken)) = targets
        .iter()
        .find(|(_, name)| host.kernel.zfs.get(name).is_some())
    {
        return Output::failure(
            1,
            format!("cannot create snapshot '{taken}': dataset already exists"),
        );
    }
    let properties = match assignments(words.all('o')) {
        Ok(properties) => properties,
        Err(text) => return Output::failure(1, text),
    };
    for (filesystem, name) in targets {
        if let Err(text) = unwritable(host, "create snapshot", &name, true) {
            return Output::failure(1, text);
        }
        let held = content(host, &filesystem);
        let mut dataset = record(host, &name, held);
        dataset.local.extend(properties.iter().cloned());
        host.kernel.zfs.insert(dataset);
    }
    Output::success()
}

/// `zfs clone [-p] [-o property=value]... snapshot filesystem`
pub(super) fn clone(host: &mut Emulator, arguments: &[String]) -> Verdict {
    let words = Words::cut(arguments, "o");
    let [origin, name] = words.operands[..] else {
        return Err("missing source dataset argument".into());
    };
    let Some(source) = host.kernel.zfs.get(origin) else {
        return Err(absent(origin));
    };
    let held = Arc::clone(&source.content);
    if host.kernel.zfs.get(name).is_some() {
        return Err(format!("cannot create '{name}': dataset already exists"));
    }
    let parent = name.rsplit_once('/').map(|(parent, _)| parent);
    match parent {
        Some(parent) if host.kernel.zfs.get(parent).is_some() => {}
        // As `create` does it (`zfs_do_clone`, cmd/zfs/zfs_main.c).
        Some(parent) if words.has('p') => {
            super::change::create(host, &["-p".to_owned(), parent.to_owned()])?;
        }
        Some(_) | None => {
            return Err(format!("cannot create '{name}': parent does not exist"));
        }
    }
    unwritable(host, "create", name, true)?;
    let mut dataset = record(host, name, held);
    dataset.local.extend(assignments(words.all('o'))?);
    dataset.origin = Some(origin.to_owned());
    host.kernel.zfs.insert(dataset);
    super::change::mount_made(host, name)
}

/// `zfs promote clone`: the origin's snapshots up to the one cloned go over to the clone.
pub(super) fn promote(host: &mut Emulator, arguments: &[String]) -> Verdict {
    let [name] = arguments else {
        return Err("missing clone filesystem argument".into());
    };
    let Some(dataset) = host.kernel.zfs.get(name) else {
        return Err(absent(name));
    };
    let Some(origin) = dataset.origin.clone() else {
        return Err(format!("cannot promote '{name}': not a cloned filesystem"));
    };
    let filesystem = origin.split('@').next().unwrap_or(&origin).to_owned();
    let cut = host
        .kernel
        .zfs
        .get(&origin)
        .map_or(0, |snapshot| snapshot.txg);
    let moving: Vec<String> = host
        .kernel
        .zfs
        .snapshots(&filesystem)
        .iter()
        .filter(|snapshot| snapshot.txg <= cut)
        .map(|snapshot| snapshot.name.clone())
        .collect();
    // `zfs_promote`, lib/libzfs/libzfs_dataset.c.
    if let Some(both) = moving
        .iter()
        .map(|old| format!("{name}{}", &old[filesystem.len()..]))
        .find(|new| host.kernel.zfs.get(new).is_some())
    {
        return Err(format!(
            "cannot promote '{name}': conflicting snapshot '{both}' from parent '{origin}'"
        ));
    }
    let further = host
        .kernel
        .zfs
        .get(&filesystem)
        .and_then(|dataset| dataset.origin.clone());
    for old in &moving {
        let new = format!("{name}{}", &old[filesystem.len()..]);
        let clones = host.kernel.zfs.clones(old);
        if let Some(mut snapshot) = host.kernel.zfs.remove(old) {
            snapshot.name = new.clone();
            host.kernel.zfs.insert(snapshot);
        }
        for clone in clones {
            if let Some(dataset) = host.kernel.zfs.get_mut(&clone) {
                dataset.origin = Some(new.clone());
            }
        }
    }
    if let Some(dataset) = host.kernel.zfs.get_mut(&filesystem) {
        dataset.origin = Some(format!("{name}{}", &origin[filesystem.len()..]));
    }
    if let Some(dataset) = host.kernel.zfs.get_mut(name) {
        dataset.origin = further;
    }
    Ok(())
}

/// `zfs rollback [-r] snapshot`
pub(super) fn rollback(host: &mut Emulator, arguments: &[String]) -> Verdict {
    let words = Words::cut(arguments, "");
    let [name] = words.operands[..] else {
        return Err("missing dataset argument".into());
    };
    let Some(snapshot) = host.kernel.zfs.get(name) else {
        return Err(absent(name));
    };
    let (txg, held, filesystem) = (
        snapshot.txg,
        Arc::clone(&snapshot.content),
        snapshot.filesystem().to_owned(),
    );
    let newer: Vec<String> = host
        .kernel
        .zfs
        .snapshots(&filesystem)
        .iter()
        .filter(|other| other.txg > txg)
        .map(|other| other.name.clone())
        .collect();
    if !newer.is_empty() && !words.has('r') && !words.has('R') {
        return Err(format!(
            "cannot rollback to '{name}': more recent snapshots or bookmarks exist\nuse '-r' to force deletion of the following snapshots and bookmarks:\n{}",
            newer.join("\n")
        ));
    }
    for old in newer {
        host.kernel.zfs.remove(&old);
    }
    replace_content(host, &filesystem, held);
    Ok(())
}

fn replace_content(host: &mut Emulator, filesystem: &str, files: Arc<crate::kernel::zfs::Files>) {
    let mounted = host
        .kernel
        .zfs
        .get(filesystem)
        .is_some_and(|dataset| dataset.mounted);
    if !mounted {
        if let Some(dataset) = host.kernel.zfs.get_mut(filesystem) {
            dataset.content = files;
        }
        return;
    }
    let Some(at) = super::mount_index(host, filesystem) else {
        return;
    };
    let node = host.kernel.mounts[at].node.clone();
    let present = super::files_of(host, at);
    super::take_files(host, &node, &present);
    put_files(host, &node, &files);
}

/// `zfs hold tag snapshot...`
pub(super) fn hold(host: &mut Emulator, arguments: &[String]) -> Verdict {
    let words = Words::cut(arguments, "");
    let [tag, names @ ..] = &words.operands[..] else {
        return Err("missing tag argument".into());
    };
    let now = host.kernel.epoch_s();
    for name in names {
        let Some(dataset) = host.kernel.zfs.get_mut(name) else {
            return Err(absent(name));
        };
        if dataset.holds.insert((*tag).to_owned(), now).is_some() {
            return Err(format!(
                "cannot hold snapshot '{name}': tag already exists on this dataset"
            ));
        }
    }
    Ok(())
}

/// `zfs release tag snapshot...`
pub(super) fn release(host: &mut Emulator, arguments: &[String]) -> Verdict {
    let words = Words::cut(arguments, "");
    let [tag, names @ ..] = &words.operands[..] else {
        return Err("missing tag argument".into());
    };
    for name in names {
        let Some(dataset) = host.kernel.zfs.get_mut(name) else {
            return Err(absent(name));
        };
        if dataset.holds.remove(*tag).is_none() {
            return Err(format!(
                "cannot release hold from snapshot '{name}': no such tag on this dataset"
            ));
        }
    }
    Ok(())
}

/// `zfs holds [-H] snapshot...`
pub(super) fn holds(host: &Emulator, arguments: &[String]) -> Output {
    let words = Words::cut(arguments, "");
    let mut output = Output::success();
    for name in &words.operands {
        let Some(dataset) = host.kernel.zfs.get(name) else {
            return verdict(Err(absent(name)));
        };
        for (tag, since) in &dataset.holds {
            output.line(format!(
                "{name}\t{tag}\t{}",
                super::properties::date_text(*since)
            ));
        }
    }
    output
}

/// First word of an emulated stream.
const STREAM: &str = "zfs-stream";

/// `zfs send [-i from] [-nvP] snapshot`
pub(super) fn send(host: &Emulator, arguments: &[String]) -> Output {
    let words = Words::cut(arguments, "iI");
    let [name] = words.operands[..] else {
        return Output::failure(2, "missing snapshot argument");
    };
    let Some(snapshot) = host.kernel.zfs.get(name) else {
        return verdict(Err(absent(name)));
    };
    let from = words.value('i').or(words.value('I')).map(|from| {
        if from.starts_with('@') {
            format!("{}{from}", snapshot.filesystem())
        } else {
            from.to_owned()
        }
    });
    if let Some(from) = from
        .as_ref()
        .filter(|from| host.kernel.zfs.get(from).is_none())
    {
        return verdict(Err(absent(from)));
    }
    let mut output = Output::success();
    if words.has('n') {
        let bytes = crate::kernel::zfs::Zfs::bytes_of(&snapshot.content);
        match &from {
            Some(from) => output.line(format!("incremental\t{from}\t{name}\t{bytes}")),
            None => output.line(format!("full\t{name}\t{bytes}")),
        }
        output.line(format!("size\t{bytes}"));
        return output;
    }
    output.line(format!(
        "{STREAM} {name} {}",
        from.as_deref().unwrap_or("-")
    ));
    output
}

/// `zfs receive [-F] [-u] filesystem`
pub(super) fn receive(host: &mut Emulator, arguments: &[String], stdin: &str) -> Verdict {
    let words = Words::cut(arguments, "ox");
    let [target] = words.operands[..] else {
        return Err("missing snapshot argument".into());
    };
    let mut parts = stdin.trim().splitn(3, ' ');
    let (Some(STREAM), Some(name), Some(from)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("cannot receive: failed to read from stream".into());
    };
    let Some(source) = host.kernel.zfs.get(name).cloned() else {
        return Err("cannot receive: failed to read from stream".into());
    };
    let tag = name.split_once('@').map_or("", |(_, tag)| tag).to_owned();
    let exists = host.kernel.zfs.get(target).is_some();
    if from == "-" {
        if exists && !words.has('F') {
            return Err(format!(
                "cannot receive new filesystem stream: destination '{target}' exists\nmust specify -F to overwrite it"
            ));
        }
        if !exists {
            let dataset = record(host, target, Arc::clone(&source.content));
            host.kernel.zfs.insert(dataset);
            mount_dataset(host, target);
        }
    } else {
        let base_guid = host.kernel.zfs.get(from).map(|base| base.guid);
        let latest = host
            .kernel
            .zfs
            .snapshots(target)
            .last()
            .map(|snapshot| (snapshot.guid, Arc::clone(&snapshot.content)));
        let Some((guid, base)) = latest else {
            return Err(format!(
                "cannot receive incremental stream: destination '{target}' does not exist"
            ));
        };
        if Some(guid) != base_guid {
            return Err(
                "cannot receive incremental stream: most recent snapshot of ".to_owned()
                    + target
                    + " does not\nmatch incremental source",
            );
        }
        if *content(host, target) != *base && !words.has('F') {
            return Err(format!(
                "cannot receive incremental stream: destination {target} has been modified\nsince most recent snapshot"
            ));
        }
    }
    replace_content(host, target, Arc::clone(&source.content));
    let mut snapshot = record(host, &format!("{target}@{tag}"), source.content);
    snapshot.guid = source.guid;
    host.kernel.zfs.insert(snapshot);
    Ok(())
}

/// Takes every mount of a pool away, deepest first.
pub(in crate::cmd) fn unmount_all(host: &mut Emulator, pool: &str, force: bool) -> Verdict {
    let names: Vec<String> = host.kernel.zfs.below(pool);
    names
        .iter()
        .rev()
        .filter(|name| !name.contains('@'))
        .try_for_each(|name| unmount_dataset(host, name, force))
}
