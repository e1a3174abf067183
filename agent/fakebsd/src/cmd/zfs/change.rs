//! Creating, destroying, renaming, mounting, delegating file systems; setting properties.

use std::sync::Arc;

use super::{
    Verdict, Words, absent, mount_at, mount_dataset, properties, record, unmount_dataset,
    unwritable,
};
use crate::cmd::Context;
use crate::emulator::Emulator;
use crate::output::Output;

/// Why a name cannot be a file system's (zfs_validate_name).
fn name_fault(name: &str) -> Option<&'static str> {
    if name.contains('@') {
        return Some("snapshot delimiter '@' is not expected here");
    }
    if name.contains('#') {
        return Some("bookmark delimiter '#' is not expected here");
    }
    if name.split('/').any(str::is_empty) {
        return Some("empty component or misplaced '@' or '#' delimiter in name");
    }
    if name
        .chars()
        .any(|c| !(c.is_ascii_alphanumeric() || "-_.: /".contains(c)))
    {
        return Some("invalid character in name");
    }
    if name.len() > 255 {
        return Some("name is too long");
    }
    None
}

/// `property=value` words, checked.
pub(super) fn assignments<'a>(
    words: impl Iterator<Item = &'a str>,
) -> Result<Vec<(String, String)>, String> {
    words
        .map(|word| {
            let (name, value) = word
                .split_once('=')
                .ok_or_else(|| format!("missing '=' for property=value argument '{word}'"))?;
            properties::check(name, value)?;
            Ok((name.to_owned(), properties::normalize_value(name, value)))
        })
        .collect()
}

/// `zfs create [-p] [-u] [-o property=value]... filesystem`
pub(super) fn create(host: &mut Emulator, arguments: &[String]) -> Verdict {
    let words = Words::cut(arguments, "oV");
    let [name] = words.operands[..] else {
        return Err("missing filesystem argument".into());
    };
    if let Some(fault) = name_fault(name) {
        return Err(format!("cannot create '{name}': {fault}"));
    }
    let properties = assignments(words.all('o'))?;
    if host.kernel.zfs.get(name).is_some() {
        return if words.has('p') {
            Ok(())
        } else {
            Err(format!("cannot create '{name}': dataset already exists"))
        };
    }
    let Some((parent, _)) = name.rsplit_once('/') else {
        return Err(format!("cannot create '{name}': missing dataset name"));
    };
    if host.kernel.zfs.get(parent).is_none() {
        if !words.has('p') {
            return Err(format!("cannot create '{name}': parent does not exist"));
        }
        create(host, &["-p".to_owned(), parent.to_owned()])?;
    }
    unwritable(host, "create", name, true)?;
    let mut dataset = record(host, name, Arc::default());
    dataset.local.extend(properties);
    host.kernel.zfs.insert(dataset);
    if !words.has('u') {
        mount_made(host, name)?;
    }
    Ok(())
}

/// Mounts what was just made (`zfs_mount_and_share`, cmd/zfs/zfs_main.c).
pub(super) fn mount_made(host: &mut Emulator, name: &str) -> Verdict {
    if host.kernel.zfs.dies_halfway {
        return Err("filesystem successfully created, but not mounted".to_owned());
    }
    mount_dataset(host, name);
    Ok(())
}

fn refusal(what: &str, name: &str, reason: &str, flag: &str, list: &[String]) -> String {
    let lines = list.join("\n");
    format!(
        "cannot destroy '{name}': {what} {reason}\nuse '{flag}' to destroy the following datasets:\n{lines}"
    )
}

/// `zfs destroy [-r] [-R] [-f] dataset`
pub(super) fn destroy(host: &mut Emulator, arguments: &[String]) -> Verdict {
    let words = Words::cut(arguments, "");
    let [name] = words.operands[..] else {
        return Err("missing dataset argument".into());
    };
    let Some(target) = host.kernel.zfs.get(name) else {
        // `zfs_do_destroy`, cmd/zfs/zfs_main.c.
        return Err(if name.contains('@') {
            "could not find any snapshots to destroy; check snapshot names.".to_owned()
        } else {
            absent(name)
        });
    };
    let (recursive, clones_too, force) = (
        words.has('r') || words.has('R'),
        words.has('R'),
        words.has('f'),
    );
    if !target.is_snapshot() && !name.contains('/') {
        return Err(format!(
            "cannot destroy '{name}': operation does not apply to pools\nuse 'zfs destroy -r {name}' to destroy all datasets in the pool\nuse 'zpool destroy {name}' to destroy the pool itself"
        ));
    }
    let mut doomed = if target.is_snapshot() {
        vec![name.to_owned()]
    } else {
        host.kernel.zfs.below(name)
    };
    let what = if target.is_snapshot() {
        "snapshot"
    } else {
        "filesystem"
    };
    if doomed.len() > 1 && !recursive {
        return Err(refusal(what, name, "has children", "-r", &doomed[1..]));
    }
    let mut at = 0;
    while at < doomed.len() {
        let clones = host.kernel.zfs.clones(&doomed[at]);
        let outside: Vec<String> = clones
            .into_iter()
            .filter(|clone| !doomed.contains(clone))
            .collect();
        if !outside.is_empty() && !clones_too {
            return Err(refusal(what, name, "has dependent clones", "-R", &outside));
        }
        for clone in outside {
            doomed.extend(host.kernel.zfs.below(&clone));
        }
        at += 1;
    }
    if let Some(held) = doomed.iter().find(|name| {
        host.kernel
            .zfs
            .get(name)
            .is_some_and(|dataset| !dataset.holds.is_empty())
    }) {
        // `zfs_destroy_snaps_nvl`, lib/libzfs/libzfs_dataset.c.
        return Err(format!(
            "cannot destroy snapshot {held}: it's being held. Run 'zfs holds -r {held}' to see holders."
        ));
    }
    for name in doomed.iter().rev() {
        unmount_dataset(host, name, force)?;
        unwritable(host, "destroy", name, false)?;
        if host.kernel.zfs.dies_halfway && !name.contains('@') {
            return Err("Killed".to_owned());
        }
        if host
            .kernel
            .zfs
            .get(name)
            .is_some_and(|dataset| dataset.mounted)
        {
            return Err(format!("cannot destroy '{name}': dataset is busy"));
        }
        let (node, source) = host.kernel.zfs.mountpoint(name);
        host.kernel.zfs.remove(name);
        // A mount point that nobody set goes too, if it is empty (`remove_mountpoint`, lib/libzfs/libzfs_mount.c).
        if !name.contains('@') && source != "local" && node.starts_with('/') {
            let _ = host.files.remove(&node);
        }
    }
    Ok(())
}

/// `zfs set property=value... dataset...`
pub(super) fn set(host: &mut Emulator, arguments: &[String]) -> Verdict {
    let stays = arguments.iter().any(|word| word == "-u");
    let (assigned, names): (Vec<&String>, Vec<&String>) = arguments
        .iter()
        .filter(|word| *word != "-u")
        .partition(|word| word.contains('='));
    let properties = assignments(assigned.iter().map(|word| word.as_str()))?;
    for name in names {
        if host.kernel.zfs.get(name).is_none() {
            return Err(absent(name));
        }
        if host.kernel.zfs.is_read_only(name) {
            return Err(format!(
                "cannot set property for '{name}': pool is read-only"
            ));
        }
        for (property, value) in &properties {
            if stays {
                if let Some(dataset) = host.kernel.zfs.get_mut(name) {
                    dataset.local.insert(property.clone(), value.clone());
                }
                continue;
            }
            set_one(host, name, property, Some(value))?;
        }
    }
    Ok(())
}

/// `zfs inherit property dataset...`
pub(super) fn inherit(host: &mut Emulator, arguments: &[String]) -> Verdict {
    let words = Words::cut(arguments, "");
    let [property, names @ ..] = &words.operands[..] else {
        return Err("missing property argument".into());
    };
    for name in names {
        if host.kernel.zfs.get(name).is_none() {
            return Err(absent(name));
        }
        set_one(host, name, property, None)?;
    }
    Ok(())
}

/// Sets or clears one property; a new mount point moves what is mounted.
fn set_one(host: &mut Emulator, name: &str, property: &str, value: Option<&str>) -> Verdict {
    let moves = matches!(property, "mountpoint" | "canmount" | "jailed");
    let below: Vec<String> = host
        .kernel
        .zfs
        .below(name)
        .into_iter()
        .filter(|at| !at.contains('@'))
        .collect();
    let mounted: Vec<String> = below
        .into_iter()
        .filter(|at| {
            host.kernel
                .zfs
                .get(at)
                .is_some_and(|dataset| dataset.mounted)
        })
        .collect();
    if moves {
        for at in mounted.iter().rev() {
            unmount_dataset(host, at, false)?;
        }
    }
    if let Some(dataset) = host.kernel.zfs.get_mut(name) {
        match value {
            Some(value) => dataset.local.insert(property.to_owned(), value.to_owned()),
            None => dataset.local.remove(property),
        };
    }
    if moves {
        let targets = if mounted.is_empty() {
            vec![name.to_owned()]
        } else {
            mounted
        };
        for at in targets {
            mount_dataset(host, &at);
        }
    }
    Ok(())
}

/// `zfs rename from to`
pub(super) fn rename(host: &mut Emulator, arguments: &[String]) -> Verdict {
    let words = Words::cut(arguments, "");
    let [from, to] = words.operands[..] else {
        return Err("missing source dataset argument".into());
    };
    if host.kernel.zfs.get(from).is_none() {
        return Err(absent(from));
    }
    if host.kernel.zfs.get(to).is_some() {
        return Err(format!("cannot rename '{from}': dataset already exists"));
    }
    let parent = to
        .split('@')
        .next()
        .unwrap_or(to)
        .rsplit_once('/')
        .map(|(parent, _)| parent);
    match parent {
        Some(parent) if host.kernel.zfs.get(parent).is_none() && words.has('p') => {
            create(host, &["-p".to_owned(), parent.to_owned()])?
        }
        Some(parent) if host.kernel.zfs.get(parent).is_none() => {
            return Err(format!("cannot rename '{from}': parent does not exist"));
        }
        Some(_) | None => {}
    }
    let mounted: Vec<String> = host
        .kernel
        .zfs
        .below(from)
        .into_iter()
        .filter(|at| {
            host.kernel
                .zfs
                .get(at)
                .is_some_and(|dataset| dataset.mounted)
        })
        .collect();
    // What stays mounted where it is shows its new name there (`zfsvfs_update_fromname`, module/os/freebsd/zfs/zfs_vfsops.c).
    if words.has('u') {
        host.kernel.zfs.rename(from, to);
        for mount in host.kernel.mounts.iter_mut() {
            if mount.fstype == "zfs" && mounted.contains(&mount.special) {
                mount.special = format!("{to}{}", &mount.special[from.len()..]);
            }
        }
        return Ok(());
    }
    for at in mounted.iter().rev() {
        unmount_dataset(host, at, words.has('f'))?;
    }
    host.kernel.zfs.rename(from, to);
    for at in mounted {
        mount_dataset(host, &format!("{to}{}", &at[from.len()..]));
    }
    Ok(())
}

/// `zfs mount [-a | filesystem]`; without words the table of what is mounted.
pub(super) fn mount(host: &mut Emulator, context: &Context, arguments: &[String]) -> Output {
    let words = Words::cut(arguments, "o");
    if words.has('a') {
        super::mount_all(host);
        return Output::success();
    }
    let Some(name) = words.operands.first() else {
        let mut output = Output::success();
        host.kernel
            .mounts
            .iter()
            .filter(|mount| mount.fstype == "zfs")
            .for_each(|mount| output.line(format!("{:<30}  {}", mount.special, mount.node)));
        return output;
    };
    super::verdict(mount_one(host, context, name))
}

fn mount_one(host: &mut Emulator, context: &Context, name: &str) -> Verdict {
    let Some(dataset) = host.kernel.zfs.get(name) else {
        return Err(absent(name));
    };
    let jailed = host
        .kernel
        .zfs
        .inherited(name, "jailed")
        .is_some_and(|(value, _)| value == "on");
    let (node, _) = host.kernel.zfs.mountpoint(name);
    if jailed && context.jid == 0 {
        return Err(format!(
            "cannot mount '{name}': dataset is exported to a local zone"
        ));
    }
    if dataset.mounted {
        return Err(format!("cannot mount '{name}': filesystem already mounted"));
    }
    match node.as_str() {
        "none" => return Err(format!("cannot mount '{name}': no mountpoint set")),
        "legacy" => {
            return Err(format!(
                "cannot mount '{name}': legacy mountpoint\nuse mount(8) to mount this filesystem"
            ));
        }
        _ => {}
    }
    let root = host
        .kernel
        .jail(context.jid)
        .map_or("", |jail| jail.path.trim_end_matches('/'))
        .to_owned();
    mount_at(host, name, &format!("{root}{node}"));
    Ok(())
}

/// `zfs unmount [-f] [-a] filesystem | mountpoint`
pub(super) fn unmount(host: &mut Emulator, arguments: &[String]) -> Verdict {
    let words = Words::cut(arguments, "");
    let Some(given) = words.operands.first() else {
        return Err("missing filesystem argument".into());
    };
    let name = match given.starts_with('/') {
        true => host
            .kernel
            .mounted_at(given)
            .filter(|mount| mount.fstype == "zfs")
            .map(|mount| mount.special.clone()),
        false => host
            .kernel
            .zfs
            .get(given)
            .map(|dataset| dataset.name.clone()),
    };
    let Some(name) = name else {
        return Err(absent(given));
    };
    if !host
        .kernel
        .zfs
        .get(&name)
        .is_some_and(|dataset| dataset.mounted)
    {
        return Err(format!("cannot unmount '{given}': not currently mounted"));
    }
    unmount_dataset(host, &name, words.has('f'))
}

/// `zfs jail jid|name filesystem`
pub(super) fn jail(host: &mut Emulator, context: &Context, arguments: &[String]) -> Verdict {
    let [which, name] = arguments else {
        return Err("missing argument(s)".into());
    };
    let Some(jid) = host
        .kernel
        .find_jail(context.jid, which)
        .map(|jail| jail.jid)
    else {
        return Err(format!("invalid jail id or name '{which}'"));
    };
    if host.kernel.zfs.get(name).is_none() {
        return Err(absent(name));
    }
    let jailed = host.kernel.zfs.inherited(name, "jailed");
    if jailed.is_none_or(|(value, _)| value != "on") {
        return Err(format!("cannot jail '{name}': jailed property not set"));
    }
    if let Some(dataset) = host.kernel.zfs.get_mut(name) {
        dataset.jailed_to = Some(jid);
    }
    Ok(())
}

/// `zfs unjail jid|name filesystem`
pub(super) fn unjail(host: &mut Emulator, context: &Context, arguments: &[String]) -> Verdict {
    let [which, name] = arguments else {
        return Err("missing argument(s)".into());
    };
    let jid = host
        .kernel
        .find_jail(context.jid, which)
        .map(|jail| jail.jid);
    let Some(dataset) = host.kernel.zfs.get_mut(name) else {
        return Err(absent(name));
    };
    if jid.is_none() || dataset.jailed_to != jid {
        return Err(format!("cannot unjail '{name}': dataset does not exist"));
    }
    dataset.jailed_to = None;
    Ok(())
}
