//! zpool(8).

use std::sync::Arc;

use super::zfs::{Words, mount_dataset, record, show_table, unmount_all, verdict};
use crate::emulator::Emulator;
use crate::kernel::zfs::Pool;
use crate::output::Output;

/// Size of a pool whose disk's size is unknown.
const DISK_BYTES: u64 = 64 << 30;

/// Runs zpool with the words after its name.
pub(crate) fn run(host: &mut Emulator, arguments: &[String]) -> Output {
    if let Err(failure) = super::zfs::open(host) {
        return failure;
    }
    let Some((verb, rest)) = arguments.split_first() else {
        return Output::failure(2, "missing command");
    };
    match verb.as_str() {
        "create" => create(host, rest),
        "destroy" | "export" => give_up(host, verb, rest),
        "import" => import(host, rest),
        "list" => list(host, rest),
        "status" => status(host, rest),
        other => Output::failure(2, format!("unrecognized command '{other}'")),
    }
}

fn create(host: &mut Emulator, arguments: &[String]) -> Output {
    let words = Words::cut(arguments, "omOR");
    let [name, vdevs @ ..] = &words.operands[..] else {
        return Output::failure(2, "missing pool name argument");
    };
    let Some(vdev) = vdevs.last() else {
        return Output::failure(2, "missing vdev specification");
    };
    if host.kernel.zfs.pools.contains_key(*name) {
        return Output::failure(1, format!("cannot create '{name}': pool already exists"));
    }
    let vdev = vdev.trim_start_matches("/dev/");
    let unit = vdev
        .strip_prefix("md")
        .and_then(|unit| unit.parse::<u32>().ok());
    let bytes = unit.and_then(|unit| host.kernel.zfs.memory_disks.get(&unit).copied());
    if unit.is_some() && bytes.is_none() {
        return Output::failure(
            1,
            format!(
                "cannot open '/dev/{vdev}': no such device in /dev\nmust be a full path or shorthand device name"
            ),
        );
    }
    let guid = host.kernel.random();
    // Labels and the slop of a small pool take a sixteenth (recording `10`: 240 of 256 MB).
    let size_bytes = bytes.unwrap_or(DISK_BYTES) / 16 * 15;
    host.kernel.zfs.pools.insert(
        (*name).to_owned(),
        Pool {
            vdev: vdev.to_owned(),
            size_bytes,
            guid,
            exported: false,
            read_only: false,
        },
    );
    let mut root = record(host, name, Arc::default());
    if let Some(mountpoint) = words.value('m') {
        root.local
            .insert("mountpoint".to_owned(), mountpoint.to_owned());
    }
    host.kernel.zfs.insert(root);
    mount_dataset(host, name);
    Output::success()
}

fn absent(name: &str) -> Output {
    Output::failure(1, format!("cannot open '{name}': no such pool"))
}

fn exists(host: &Emulator, name: &str) -> bool {
    host.kernel
        .zfs
        .pools
        .get(name)
        .is_some_and(|pool| !pool.exported)
}

fn give_up(host: &mut Emulator, verb: &str, arguments: &[String]) -> Output {
    let words = Words::cut(arguments, "");
    let Some(name) = words.operands.first() else {
        return Output::failure(2, "missing pool argument");
    };
    if !exists(host, name) {
        return absent(name);
    }
    if let Err(text) = unmount_all(host, name, words.has('f')) {
        return verdict(Err(text));
    }
    if verb == "export" {
        if let Some(pool) = host.kernel.zfs.pools.get_mut(*name) {
            pool.exported = true;
        }
        return Output::success();
    }
    for dataset in host.kernel.zfs.below(name) {
        host.kernel.zfs.remove(&dataset);
    }
    host.kernel.zfs.pools.remove(*name);
    Output::success()
}

fn import(host: &mut Emulator, arguments: &[String]) -> Output {
    let words = Words::cut(arguments, "oRd");
    let Some(name) = words.operands.first() else {
        let mut output = Output::success();
        for (name, pool) in host
            .kernel
            .zfs
            .pools
            .iter()
            .filter(|(_, pool)| pool.exported)
        {
            output.line(format!("  pool: {name}\n    id: {}\n state: ONLINE\naction: The pool can be imported using its name or numeric identifier.\nconfig:\n", pool.guid));
            output.line(format!(
                "\t{name:<10}  ONLINE\n\t  {:<8}  ONLINE",
                pool.vdev
            ));
        }
        if output.stdout.is_empty() {
            return Output::failure(1, "no pools available to import");
        }
        return output;
    };
    match host.kernel.zfs.pools.get_mut(*name) {
        Some(pool) if pool.exported => {
            pool.exported = false;
            pool.read_only = words.all('o').any(|option| option == "readonly=on");
        }
        Some(_) => {
            return Output::failure(
                1,
                format!("cannot import '{name}': a pool with that name already exists"),
            );
        }
        None => {
            return Output::failure(1, format!("cannot import '{name}': no such pool available"));
        }
    }
    for dataset in host
        .kernel
        .zfs
        .below(name)
        .into_iter()
        .filter(|dataset| !dataset.contains('@'))
    {
        mount_dataset(host, &dataset);
    }
    Output::success()
}

fn list(host: &Emulator, arguments: &[String]) -> Output {
    let words = Words::cut(arguments, "oT");
    if let Some(name) = words.operands.iter().find(|name| !exists(host, name)) {
        return absent(name);
    }
    let columns: Vec<&str> = words
        .value('o')
        .unwrap_or("name,size,alloc,free,health")
        .split(',')
        .collect();
    let mut rows = Vec::new();
    for (name, pool) in host.kernel.zfs.pools.iter().filter(|(name, pool)| {
        !pool.exported && (words.operands.is_empty() || words.operands.contains(&name.as_str()))
    }) {
        let allocated =
            crate::kernel::zfs::EMPTY_BYTES * (host.kernel.zfs.below(name).len() as u64 + 4);
        let size = |bytes: u64| {
            if words.has('p') {
                bytes.to_string()
            } else {
                super::zfs::nice(bytes)
            }
        };
        let cell = |column: &&str| match *column {
            "name" => name.clone(),
            "size" => size(pool.size_bytes),
            "alloc" | "allocated" => size(allocated),
            "free" => size(pool.size_bytes - allocated),
            "health" => "ONLINE".to_owned(),
            "readonly" => if pool.read_only { "on" } else { "off" }.to_owned(),
            "guid" => pool.guid.to_string(),
            _ => "-".to_owned(),
        };
        rows.push(columns.iter().map(cell).collect());
    }
    let titles: Vec<String> = columns
        .iter()
        .map(|column| column.to_ascii_uppercase())
        .collect();
    show_table(&titles, &rows, words.has('H'))
}

fn status(host: &Emulator, arguments: &[String]) -> Output {
    let words = Words::cut(arguments, "");
    let mut output = Output::success();
    if host.kernel.zfs.pools.values().all(|pool| pool.exported) {
        output.line("no pools available");
    } else if words.has('x') {
        output.line("all pools are healthy");
    } else {
        for (name, pool) in host
            .kernel
            .zfs
            .pools
            .iter()
            .filter(|(_, pool)| !pool.exported)
        {
            output.line(format!("  pool: {name}\n state: ONLINE\nconfig:\n"));
            output.line("\tNAME        STATE     READ WRITE CKSUM");
            output.line(format!(
                "\t{name:<10}  ONLINE       0     0     0\n\t  {:<8}  ONLINE       0     0     0",
                pool.vdev
            ));
            output.line("\nerrors: No known data errors");
        }
    }
    output
}
