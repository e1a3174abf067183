//! zfs(8), and mdconfig(8) for the disks that pools are made on.
//!
//! Properties and listing stand in `show`, what changes datasets in `change`, snapshots and streams in `snapshot`.

mod change;
mod properties;
mod show;
mod snapshot;

use std::sync::Arc;

pub(super) use properties::nice;
pub(super) use show::table as show_table;
pub(super) use snapshot::unmount_all;

use super::Context;
use crate::emulator::Emulator;
use crate::files::normalize;
use crate::kernel::mount::Mount;
use crate::kernel::zfs::{Dataset, Files};
use crate::output::Output;

/// A subcommand's words, sorted: options with and without values, operands.
pub(super) struct Words<'a> {
    pub(super) flags: String,
    values: Vec<(char, &'a str)>,
    pub(super) operands: Vec<&'a str>,
}

impl<'a> Words<'a> {
    /// Cuts the words as getopt(3) would; `with_value` lists the options that take one.
    pub(super) fn cut(arguments: &'a [String], with_value: &str) -> Self {
        let mut words = Self {
            flags: String::new(),
            values: Vec::new(),
            operands: Vec::new(),
        };
        let mut rest = arguments.iter();
        while let Some(word) = rest.next() {
            let Some(letters) = word
                .strip_prefix('-')
                .filter(|letters| !letters.is_empty() && words.operands.is_empty())
            else {
                words.operands.push(word);
                continue;
            };
            for (at, letter) in letters.char_indices() {
                if !with_value.contains(letter) {
                    words.flags.push(letter);
                    continue;
                }
                let attached = &letters[at + letter.len_utf8()..];
                let value = if attached.is_empty() {
                    rest.next().map_or("", String::as_str)
                } else {
                    attached
                };
                words.values.push((letter, value));
                break;
            }
        }
        words
    }

    pub(super) fn has(&self, letter: char) -> bool {
        self.flags.contains(letter)
    }

    pub(super) fn value(&self, letter: char) -> Option<&'a str> {
        self.all(letter).last()
    }

    pub(super) fn all(&self, letter: char) -> impl Iterator<Item = &'a str> {
        self.values
            .iter()
            .filter(move |(at, _)| *at == letter)
            .map(|(_, value)| *value)
    }
}

/// The lines of a refused operation.
pub(super) type Verdict = Result<(), String>;

pub(super) fn verdict(result: Verdict) -> Output {
    match result {
        Ok(()) => Output::success(),
        Err(text) => Output::failure(1, text),
    }
}

pub(super) fn absent(name: &str) -> String {
    format!("cannot open '{name}': dataset does not exist")
}

/// Runs zfs with the words after its name.
pub(crate) fn run(
    host: &mut Emulator,
    context: &Context,
    arguments: &[String],
    stdin: &str,
) -> Output {
    if let Err(failure) = open(host) {
        return failure;
    }
    let Some((verb, rest)) = arguments.split_first() else {
        return Output::failure(2, "missing command");
    };
    match verb.as_str() {
        "list" => show::list(host, context, rest),
        "get" => show::get(host, rest),
        "create" => verdict(change::create(host, rest)),
        "destroy" => verdict(change::destroy(host, rest)),
        "set" => verdict(change::set(host, rest)),
        "inherit" => verdict(change::inherit(host, rest)),
        "rename" => verdict(change::rename(host, rest)),
        "mount" => change::mount(host, context, rest),
        "unmount" | "umount" => verdict(change::unmount(host, rest)),
        "jail" => verdict(change::jail(host, context, rest)),
        "unjail" => verdict(change::unjail(host, context, rest)),
        "snapshot" | "snap" => snapshot::snapshot(host, rest),
        "clone" => verdict(snapshot::clone(host, rest)),
        "promote" => verdict(snapshot::promote(host, rest)),
        "rollback" => verdict(snapshot::rollback(host, rest)),
        "hold" => verdict(snapshot::hold(host, rest)),
        "release" => verdict(snapshot::release(host, rest)),
        "holds" => snapshot::holds(host, rest),
        "send" => snapshot::send(host, rest),
        "receive" | "recv" => verdict(snapshot::receive(host, rest, stdin)),
        other => Output::failure(2, format!("unrecognized command '{other}'")),
    }
}

/// What zfs(8) and zpool(8) do first (`libzfs_load_module`, `libzfs_error_init`, lib/libzfs/os/freebsd/libzfs_compat.c).
pub(super) fn open(host: &mut Emulator) -> Result<(), Output> {
    if host.kernel.modules_missing.contains("zfs") {
        let line = "Failed to load zfs module: No such file or directory";
        return Err(Output::failure(1, line));
    }
    host.kernel.load_module("zfs");
    Ok(())
}

/// Why nothing is written to the pool of a dataset (`zfs_standard_error`, lib/libzfs/libzfs_util.c: EROFS, ENOSPC).
pub(super) fn unwritable(host: &Emulator, doing: &str, name: &str, grows: bool) -> Verdict {
    if host.kernel.zfs.is_read_only(name) {
        return Err(format!("cannot {doing} '{name}': pool is read-only"));
    }
    if grows && host.files.is_full() {
        return Err(format!("cannot {doing} '{name}': out of space"));
    }
    Ok(())
}

/// A new dataset's record.
pub(super) fn record(host: &mut Emulator, name: &str, content: Arc<Files>) -> Dataset {
    let guid = host.kernel.random();
    let created_s = host.kernel.epoch_s();
    host.kernel.zfs.txg += 1;
    Dataset {
        name: name.to_owned(),
        local: Default::default(),
        mounted: false,
        origin: None,
        holds: Default::default(),
        guid,
        txg: host.kernel.zfs.txg,
        created_s,
        jailed_to: None,
        content,
    }
}

/// Everything below a directory.
fn files_below(host: &Emulator, node: &str) -> Files {
    let root = normalize(node);
    let below = format!("{}/", root.trim_end_matches('/'));
    let found = host
        .files
        .iter()
        .filter(|(path, _)| path.starts_with(&below));
    found
        .map(|(path, entry)| {
            let is_immutable = host.files.is_immutable(path);
            (path[below.len()..].to_owned(), entry.clone(), is_immutable)
        })
        .collect()
}

/// The files of the n-th mount, hidden or not by what was mounted over it since, without those of file systems mounted further down, whose mount points are its own.
fn files_of(host: &Emulator, at: usize) -> Files {
    let mounts = &host.kernel.mounts;
    let node = &mounts[at].node;
    let later = &mounts[at + 1..];
    let over = later.iter().position(|mount| is_over(mount, node));
    let below = format!("{}/", node.trim_end_matches('/'));
    let nested: Vec<String> = later[..over.unwrap_or(later.len())]
        .iter()
        .filter_map(|mount| Some(format!("{}/", mount.node.strip_prefix(&below)?)))
        .collect();
    let mut found = match over.map(|over| &later[over]) {
        None => files_below(host, node),
        Some(over) => {
            let prefix = node[over.node.trim_end_matches('/').len()..].trim_start_matches('/');
            let inside = |path: &str| {
                if prefix.is_empty() {
                    return Some(path.to_owned());
                }
                let rest = path.strip_prefix(prefix)?.strip_prefix('/')?;
                Some(rest.to_owned())
            };
            let hidden = over.hidden.iter();
            hidden
                .filter_map(|(path, entry, flag)| Some((inside(path)?, entry.clone(), *flag)))
                .collect()
        }
    };
    found.retain(|(path, _, _)| !nested.iter().any(|nested| path.starts_with(nested)));
    found
}

/// Whether a mount hides what is mounted at `node`.
fn is_over(mount: &Mount, node: &str) -> bool {
    mount.fstype == "zfs" && mount.covers(node)
}

/// The mount of a file system.
fn mount_index(host: &Emulator, name: &str) -> Option<usize> {
    let mut mounts = host.kernel.mounts.iter();
    mounts.rposition(|mount| mount.special == name && mount.fstype == "zfs")
}

/// What a file system or snapshot holds now.
pub(super) fn content(host: &Emulator, name: &str) -> Arc<Files> {
    match host.kernel.zfs.get(name) {
        Some(dataset) if dataset.mounted => {
            Arc::new(mount_index(host, name).map_or_else(Files::new, |at| files_of(host, at)))
        }
        Some(dataset) => Arc::clone(&dataset.content),
        None => Arc::default(),
    }
}

/// Mounts a file system where its property says; nothing for `none`, `legacy`, `canmount=off` and delegated ones.
pub(super) fn mount_dataset(host: &mut Emulator, name: &str) {
    let zfs = &host.kernel.zfs;
    let (node, _) = zfs.mountpoint(name);
    let is = |property: &str, value: &str| {
        zfs.inherited(name, property)
            .is_some_and(|(at, _)| at == value)
    };
    let canmount = zfs
        .get(name)
        .and_then(|dataset| dataset.local.get("canmount"))
        .map(String::as_str);
    if matches!(node.as_str(), "none" | "legacy")
        || is("jailed", "on")
        || matches!(canmount, Some("off" | "noauto"))
    {
        return;
    }
    mount_at(host, name, &node);
}

pub(super) fn mount_at(host: &mut Emulator, name: &str, node: &str) {
    let read_only = host
        .kernel
        .zfs
        .inherited(name, "readonly")
        .is_some_and(|(value, _)| value == "on")
        || host.kernel.zfs.is_read_only(name);
    // A full disk loses the files: the emulated tree is the pool's only store.
    let _ = host.files.create_directories(node);
    let hidden = files_below(host, node);
    take_files(host, node, &hidden);
    let content = host
        .kernel
        .zfs
        .get(name)
        .map(|dataset| Arc::clone(&dataset.content))
        .unwrap_or_default();
    put_files(host, node, &content);
    let mount = Mount {
        options: vec!["nfsv4acls"],
        hidden,
        ..Mount::new(name, node, "zfs", read_only)
    };
    if host.kernel.mount(mount).is_ok()
        && let Some(dataset) = host.kernel.zfs.get_mut(name)
    {
        dataset.mounted = true;
        dataset.content = Arc::default();
    }
}

pub(super) fn put_files(host: &mut Emulator, node: &str, files: &Files) {
    use crate::files::Entry;
    // What was on the disk is there, however full that is.
    let is_full = host.files.is_full();
    host.files.set_full(false);
    for (path, entry, _) in files {
        let path = format!("{}/{path}", node.trim_end_matches('/'));
        // As above.
        let _ = match entry {
            Entry::Directory => host.files.create_directories(&path),
            Entry::File(bytes) => host.files.write(&path, bytes),
            Entry::Symlink(target) => host.files.symlink(target, &path),
        };
    }
    for (path, _, is_immutable) in files {
        if *is_immutable {
            let path = format!("{}/{path}", node.trim_end_matches('/'));
            host.files.set_immutable(&path, true);
        }
    }
    host.files.set_full(is_full);
}

/// The files are seen no more at the mount point; a flag keeps none of them there.
pub(super) fn take_files(host: &mut Emulator, node: &str, files: &Files) {
    let at = |path: &str| format!("{}/{path}", node.trim_end_matches('/'));
    for (path, _, _) in files {
        host.files.set_immutable(&at(path), false);
    }
    // A directory that another file system is mounted on is not empty, and stays with that.
    for (path, _, _) in files.iter().rev() {
        let _ = host.files.remove(&at(path));
    }
}

/// Takes a mounted file system away, with its words when it is busy.
pub(super) fn unmount_dataset(host: &mut Emulator, name: &str, force: bool) -> Verdict {
    if !host
        .kernel
        .zfs
        .get(name)
        .is_some_and(|dataset| dataset.mounted)
    {
        return Ok(());
    }
    let Some(at) = mount_index(host, name) else {
        return Ok(());
    };
    let node = host.kernel.mounts[at].node.clone();
    unmount_node(host, &node, force)
        .map_err(|_| format!("cannot unmount '{node}': pool or dataset is busy"))
}

/// Takes away what is mounted last at a path, whatever that is (`kern_unmount`, sys/kern/vfs_mount.c, goes by the path).
pub(super) fn unmount_node(
    host: &mut Emulator,
    node: &str,
    force: bool,
) -> Result<(), crate::kernel::errno::Errno> {
    let node = normalize(node);
    let mut mounts = host.kernel.mounts.iter();
    let Some(at) = mounts.rposition(|mount| mount.node == node && mount.fstype == "zfs") else {
        return host.kernel.unmount(&node, force).map(|_| ());
    };
    let later = &host.kernel.mounts[at + 1..];
    if later.iter().any(|mount| mount.node == node) {
        return host.kernel.unmount(&node, force).map(|_| ());
    }
    if later.iter().any(|mount| is_over(mount, &node)) {
        return Err(crate::kernel::errno::Errno::EBUSY);
    }
    let kept = files_of(host, at);
    let gone = host.kernel.unmount(&node, force)?;
    leave(host, gone, kept);
    Ok(())
}

/// A mount is gone: the file system has its files, and what was hidden is seen.
fn leave(host: &mut Emulator, gone: Mount, kept: Files) {
    take_files(host, &gone.node, &kept);
    put_files(host, &gone.node, &gone.hidden);
    if let Some(dataset) = host.kernel.zfs.get_mut(&gone.special) {
        dataset.mounted = false;
        dataset.content = Arc::new(kept);
    }
}

/// The plug is pulled: nothing is mounted any more.
pub(crate) fn leave_all(host: &mut Emulator) {
    for at in (0..host.kernel.mounts.len()).rev() {
        if host.kernel.mounts[at].fstype == "zfs" {
            let kept = files_of(host, at);
            let gone = host.kernel.mounts.remove(at);
            leave(host, gone, kept);
        }
    }
}

/// `zfs mount -a`, as rc.d/zfs does it.
pub(crate) fn mount_all(host: &mut Emulator) {
    let names: Vec<String> = host
        .kernel
        .zfs
        .sorted()
        .iter()
        .filter(|dataset| !dataset.is_snapshot() && !dataset.mounted)
        .map(|dataset| dataset.name.clone())
        .collect();
    if !names.is_empty() {
        host.kernel.load_module("zfs");
    }
    names.iter().for_each(|name| mount_dataset(host, name));
}

/// `mdconfig -a -t swap -s size`, `mdconfig -d -u unit`
pub(crate) fn mdconfig(host: &mut Emulator, arguments: &[String]) -> Output {
    let words = Words::cut(arguments, "tsufo");
    let disks = &mut host.kernel.zfs.memory_disks;
    if words.has('d') {
        let unit = words
            .value('u')
            .and_then(|unit| unit.trim_start_matches("md").parse().ok());
        return match unit.and_then(|unit| disks.remove(&unit)) {
            Some(_) => Output::success(),
            None => Output::failure(1, "mdconfig: ioctl(/dev/mdctl): No such file or directory"),
        };
    }
    let Some(size) = words.value('s').and_then(properties::parse_size) else {
        return Output::failure(1, "usage: mdconfig -a -t type [-s size]");
    };
    let unit = (0..)
        .find(|unit| !disks.contains_key(unit))
        .expect("u32 has more units than disks");
    disks.insert(unit, size);
    Output {
        stdout: format!("md{unit}\n"),
        ..Output::default()
    }
}
