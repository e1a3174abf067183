//! The dataset that the storage is, what stands below it, and its pool: two commands, however many there are.

use std::collections::{BTreeMap, BTreeSet};

use cellblock_agent_core::host::HostError;
use cellblock_agent_core::image::{ADOPT, OWNER};
use cellblock_agent_core::observed::{Dataset, Pool, Zfs};

use crate::command::{Command, Program, words};
use crate::error::Failure;
use crate::system::System;

/// What zfs(8) writes for a property that a dataset does not have.
const NONE: &str = "-";

/// The columns that are asked for; [`parse`] knows their order.
const COLUMNS: &str = "name,guid,type,mounted,readonly,origin,clones,mountpoint";

/// What is known of the dataset `name`. That it cannot be told is the trouble of the jails that are made there.
pub(crate) fn look(system: &dyn System, name: &str) -> Zfs {
    let mut zfs = Zfs::default();
    if let Err(failure) = fill(system, name, &mut zfs) {
        zfs.unread = Some(HostError::from(failure).message);
        zfs.datasets.clear();
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
    zfs.datasets = below(system, name)?;
    Ok(())
}

/// Whether zfs(8) says that there is none of that name (`zfs_standard_error`, lib/libzfs/libzfs_util.c; recording `10`).
fn is_absent(stderr: &str, name: &str) -> bool {
    let line = format!("cannot open '{name}': dataset does not exist");
    stderr.lines().any(|found| found.ends_with(&line))
}

/// A dataset and everything below it, by name; nothing where it is not there.
pub(crate) fn below(system: &dyn System, name: &str) -> Result<BTreeMap<String, Dataset>, Failure> {
    let columns = format!("{COLUMNS},{ADOPT},{OWNER}");
    let types = "filesystem,snapshot,volume";
    let command = Command::new(
        Program::Zfs,
        words!["list", "-H", "-p", "-r", "-t", types, "-o", columns, name],
    );
    let output = system.run(&command)?;
    if !output.is_success() && is_absent(&output.stderr, name) {
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

/// The last columns are whatever somebody set, tabs and ends of lines among it: what goes on after a line of ours is no dataset, and one that cannot be read has no purpose that is known.
fn parse(text: &str) -> Result<BTreeMap<String, Dataset>, Failure> {
    let mut datasets = BTreeMap::new();
    let mut last: Option<String> = None;
    for line in text.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let [
            name,
            guid,
            kind,
            mounted,
            read_only,
            origin,
            clones,
            ref rest @ ..,
        ] = columns[..]
        else {
            poison(&mut datasets, last.as_deref(), line)?;
            continue;
        };
        if guid.is_empty() || guid.chars().any(|c| !c.is_ascii_digit()) || rest.is_empty() {
            poison(&mut datasets, last.as_deref(), line)?;
            continue;
        }
        let present = |text: &str| (text != NONE && !text.is_empty()).then(|| text.to_owned());
        let clones = present(clones);
        let clones: BTreeSet<String> = clones
            .iter()
            .flat_map(|clones| clones.split(','))
            .map(str::to_owned)
            .collect();
        let (mountpoint, adopt, owner) = match rest {
            [mountpoint, adopt, owner] => (present(mountpoint), present(adopt), present(owner)),
            _ => (None, None, None),
        };
        let dataset = Dataset {
            guid: guid.to_owned(),
            kind: kind.to_owned(),
            mounted: mounted == "yes",
            read_only: read_only == "on",
            mountpoint: mountpoint.unwrap_or_default(),
            origin: present(origin),
            clones,
            adopt,
            owner,
        };
        datasets.insert(name.to_owned(), dataset);
        last = Some(name.to_owned());
    }
    Ok(datasets)
}

/// What goes on in a further line was set by somebody: of that dataset nothing is known but that it is there.
fn poison(
    datasets: &mut BTreeMap<String, Dataset>,
    last: Option<&str>,
    line: &str,
) -> Result<(), Failure> {
    let Some(dataset) = last.and_then(|name| datasets.get_mut(name)) else {
        return Err(Failure::Unreadable {
            program: "zfs",
            what: line.to_owned(),
        });
    };
    dataset.owner = None;
    dataset.mountpoint.clear();
    Ok(())
}

#[cfg(test)]
mod tests;
