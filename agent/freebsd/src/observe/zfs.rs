//! The dataset that the storage is, what stands below it, and its pool: two commands, however many there are.

use std::collections::{BTreeMap, BTreeSet};

use cellblock_agent_core::host::HostError;
use cellblock_agent_core::image::OWNER;
use cellblock_agent_core::observed::{Dataset, Pool, Zfs};

use crate::command::{Command, Program, words};
use crate::error::Failure;
use crate::system::System;

/// What zfs(8) writes for a property that a dataset does not have.
const NONE: &str = "-";

/// The columns that are asked for; [`parse`] knows their order.
const COLUMNS: &str = "name,guid,type,mounted,mountpoint,origin,clones";

/// What is known of the dataset `name`. That it cannot be told is the trouble of the jails that are made there.
pub(crate) fn look(system: &dyn System, name: &str) -> Zfs {
    let mut zfs = Zfs::default();
    if let Err(failure) = fill(system, name, &mut zfs) {
        zfs = Zfs {
            unread: Some(HostError::from(failure).message),
            ..Zfs::default()
        };
    }
    zfs
}

/// Where a file system is mounted, if it is.
pub(crate) fn mounted_at<'z>(zfs: &'z Zfs, name: &str) -> Option<&'z str> {
    let found = zfs.datasets.get(name)?;
    let is_mounted = found.mounted && found.mountpoint.starts_with('/');
    is_mounted.then_some(found.mountpoint.as_str())
}

fn fill(system: &dyn System, name: &str, zfs: &mut Zfs) -> Result<(), Failure> {
    let pool = name.split('/').next().unwrap_or(name);
    let command = Command::new(
        Program::Zpool,
        words!["list", "-H", "-p", "-o", "name,health,readonly", pool],
    );
    let output = system.run(&command)?;
    if !output.is_success() {
        // `zpool_open`, lib/libzfs/libzfs_pool.c; recording `10`.
        if output.stderr.contains("no such pool") {
            return Ok(());
        }
        return Err(Failure::refused(&command, &output));
    }
    zfs.pool = Some(parse_pool(&output.stdout)?);
    let command = list(name);
    let output = system.run(&command)?;
    if !output.is_success() {
        if is_absent(&output.stderr) {
            return Ok(());
        }
        return Err(Failure::refused(&command, &output));
    }
    zfs.datasets = parse(&output.stdout)?;
    Ok(())
}

/// Whether zfs(8) says that there is none of that name (`zfs_standard_error`, lib/libzfs/libzfs_util.c; recording `10`).
fn is_absent(stderr: &str) -> bool {
    stderr.contains("dataset does not exist")
}

fn list(name: &str) -> Command {
    let columns = format!("{COLUMNS},{OWNER}");
    let types = "filesystem,snapshot,volume";
    Command::new(
        Program::Zfs,
        words!["list", "-H", "-p", "-r", "-t", types, "-o", columns, name],
    )
}

/// A dataset and everything below it, by name; nothing where it is not there.
pub(crate) fn below(system: &dyn System, name: &str) -> Result<BTreeMap<String, Dataset>, Failure> {
    let command = list(name);
    let output = system.run(&command)?;
    if !output.is_success() && is_absent(&output.stderr) {
        return Ok(BTreeMap::new());
    }
    if !output.is_success() {
        return Err(Failure::refused(&command, &output));
    }
    parse(&output.stdout)
}

fn parse_pool(text: &str) -> Result<Pool, Failure> {
    let mut columns = text.trim_end().split('\t').skip(1);
    let (Some(health), Some(read_only)) = (columns.next(), columns.next()) else {
        return Err(Failure::Unreadable {
            program: "zpool",
            what: text.to_owned(),
        });
    };
    Ok(Pool {
        health: health.to_owned(),
        read_only: read_only == "on",
    })
}

fn parse(text: &str) -> Result<BTreeMap<String, Dataset>, Failure> {
    let lines = text.lines().map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [name, guid, kind, mounted, mountpoint, origin, clones, owner] = columns[..] else {
            return Err(Failure::Unreadable {
                program: "zfs",
                what: line.to_owned(),
            });
        };
        let present = |text: &str| (text != NONE && !text.is_empty()).then(|| text.to_owned());
        let clones = present(clones);
        let clones: BTreeSet<String> = clones
            .iter()
            .flat_map(|clones| clones.split(','))
            .map(str::to_owned)
            .collect();
        let dataset = Dataset {
            guid: guid.to_owned(),
            kind: kind.to_owned(),
            mounted: mounted == "yes",
            mountpoint: present(mountpoint).unwrap_or_default(),
            origin: present(origin),
            clones,
            owner: present(owner),
        };
        Ok((name.to_owned(), dataset))
    });
    lines.collect()
}

#[cfg(test)]
mod tests;
