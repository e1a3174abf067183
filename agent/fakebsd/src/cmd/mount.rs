//! mount(8), mount_nullfs(8), umount(8).

use super::Context;
use crate::emulator::Emulator;
use crate::files::normalize;
use crate::kernel::errno::Errno;
use crate::kernel::mount::Mount;
use crate::output::Output;

/// sysexits(3), which mount_nullfs(8) ends with when it finds no such source.
const EX_USAGE: i32 = 64;

/// Lists, or mounts one file system.
pub(crate) fn mount(host: &mut Emulator, context: &Context, arguments: &[String]) -> Output {
    let (mut fstype, mut read_only, mut fstab, mut json) = ("ufs".to_owned(), false, false, false);
    let (mut listing_type, mut ruleset) = (None, 0);
    let mut operands = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if let Some(style) = word.strip_prefix("--libxo") {
            let style = if style.is_empty() {
                words.next().map_or("", String::as_str)
            } else {
                style.trim_start_matches(['=', ':'])
            };
            json = style.contains("json");
            continue;
        }
        match word.as_str() {
            "-p" => fstab = true,
            "-t" => {
                fstype = words.next().cloned().unwrap_or_default();
                listing_type = Some(fstype.clone());
            }
            "-r" => read_only = true,
            "-v" | "-f" | "-w" => {}
            option if option.starts_with("-o") => {
                let options = match &option[2..] {
                    "" => words.next().map_or("", String::as_str),
                    options => options,
                };
                for option in options.split(',') {
                    read_only |= option == "ro";
                    if let Some(number) = option.strip_prefix("ruleset=") {
                        ruleset = number.parse().unwrap_or(0);
                    }
                }
            }
            operand => operands.push(operand.to_owned()),
        }
    }
    match operands.as_slice() {
        [] => list(host, context, listing_type.as_deref(), fstab, json),
        [special, node] => {
            let output = attach(host, &fstype, special, node, read_only);
            if output.status == 0
                && let Some(mount) = host.kernel.mounts.last_mut()
            {
                mount.ruleset = ruleset;
                host.kernel.use_ruleset(ruleset);
            }
            output
        }
        [node] => Output::failure(
            1,
            format!("mount: {node}: unknown special file or file system"),
        ),
        _ => Output::failure(
            1,
            "usage: mount [-adflpruvw] [-F fstab] [-o options] [-t ufs | external_type]",
        ),
    }
}

/// `mount_nullfs [-o options] target mount-point`
pub(crate) fn mount_nullfs(host: &mut Emulator, arguments: &[String]) -> Output {
    let mut read_only = false;
    let mut operands = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-o" => {
                read_only |= words
                    .next()
                    .is_some_and(|options| options.split(',').any(|option| option == "ro"))
            }
            operand => operands.push(operand.to_owned()),
        }
    }
    match operands.as_slice() {
        [special, node] => attach(host, "nullfs", special, node, read_only),
        _ => Output::failure(
            EX_USAGE,
            "usage: mount_nullfs [-o options] target mount-point",
        ),
    }
}

fn attach(host: &mut Emulator, fstype: &str, special: &str, node: &str, read_only: bool) -> Output {
    let program = if matches!(fstype, "nullfs" | "unionfs") {
        format!("mount_{fstype}")
    } else {
        "mount".to_owned()
    };
    if !host.files.is_directory(node) {
        return Output::failure(1, format!("{program}: {node}: {}", Errno::ENOENT.text()));
    }
    let special = match fstype {
        "nullfs" if !host.files.is_directory(special) && host.files.read(special).is_err() => {
            return Output::failure(
                EX_USAGE,
                format!("{program}: {special}: {}", Errno::ENOENT.text()),
            );
        }
        "nullfs" => {
            host.kernel.load_module("nullfs");
            normalize(special)
        }
        "devfs" | "tmpfs" | "fdescfs" | "procfs" | "linprocfs" | "linsysfs" => {
            // PROCFS and TMPFS are in the kernel: sys/amd64/conf/GENERIC.
            if !matches!(fstype, "devfs" | "tmpfs" | "procfs") {
                host.kernel.load_module(fstype);
            }
            fstype.to_owned()
        }
        _ => special.to_owned(),
    };
    match host
        .kernel
        .mount(Mount::new(&special, node, fstype, read_only))
    {
        Ok(()) => Output::success(),
        Err(error) => Output::failure(1, format!("{program}: {node}: {}", error.text())),
    }
}

/// What a process sees of the mounts: all, or with `enforce_statfs` only those at or below its root, named from there.
fn visible(host: &Emulator, context: &Context) -> Vec<Mount> {
    let Some(jail) = host.kernel.jail(context.jid) else {
        return host.kernel.mounts.clone();
    };
    let root = jail.path.clone();
    let below = if root == "/" {
        "/".to_owned()
    } else {
        format!("{root}/")
    };
    let mut shown = Vec::new();
    if let Some(mount) = host.kernel.mount_of(&root) {
        shown.push(Mount {
            node: "/".into(),
            ..mount.clone()
        });
    }
    if jail.enforce_statfs < 2 {
        for mount in host
            .kernel
            .mounts
            .iter()
            .filter(|mount| mount.node.starts_with(&below) && mount.node != "/")
        {
            let node = format!("/{}", &mount.node[below.len()..]);
            shown.push(Mount {
                node,
                ..mount.clone()
            });
        }
    }
    shown
}

fn list(
    host: &Emulator,
    context: &Context,
    fstype: Option<&str>,
    fstab: bool,
    json: bool,
) -> Output {
    let mounts: Vec<Mount> = visible(host, context)
        .into_iter()
        .filter(|mount| fstype.is_none_or(|wanted| wanted == mount.fstype))
        .collect();
    let mut output = Output::success();
    if fstab {
        for mount in &mounts {
            output.line(fstab_line(mount));
        }
        return output;
    }
    let options = |mount: &Mount| {
        let mut options: Vec<&str> = Vec::new();
        if mount.local {
            options.push("local");
        }
        options.extend(&mount.options);
        if mount.read_only {
            options.push("read-only");
        }
        options
    };
    if json {
        let entries: Vec<String> = mounts
            .iter()
            .map(|mount| {
                let words: Vec<String> = options(mount)
                    .iter()
                    .map(|word| format!("\"{word}\""))
                    .collect();
                let words = if words.is_empty() {
                    String::new()
                } else {
                    format!(", \"opts\": [{}]", words.join(","))
                };
                format!(
                    "{{\"special\":\"{}\",\"node\":\"{}\",\"fstype\":\"{}\"{words}}}",
                    mount.special, mount.node, mount.fstype
                )
            })
            .collect();
        output.line(format!(
            "{{\"mount\": {{\"mounted\": [{}]}}}}",
            entries.join(", ")
        ));
        return output;
    }
    for mount in &mounts {
        let mut words = vec![mount.fstype.as_str()];
        words.extend(options(mount));
        output.line(format!(
            "{} on {} ({})",
            mount.special,
            mount.node,
            words.join(", ")
        ));
    }
    output
}

/// `mount -p`: tabs to the columns of fstab(5) (putfsent in sbin/mount/mount.c).
fn fstab_line(mount: &Mount) -> String {
    let pad = |text: &str| match text.len() {
        0..=7 => "\t\t\t",
        8..=15 => "\t\t",
        16..=23 => "\t",
        _ => " ",
    };
    let mut options = vec![if mount.read_only { "ro" } else { "rw" }];
    options.extend(&mount.options);
    let options = options.join(",");
    let gap = if options.len() < 8 { "\t" } else { " " };
    let passes = match (mount.fstype.as_str(), mount.node.as_str()) {
        ("ufs", "/") => "1 1",
        ("ufs", _) => "2 2",
        _ => "0 0",
    };
    format!(
        "{}{}{}{}{}\t{options}{gap}\t{passes}",
        mount.special,
        pad(&mount.special),
        mount.node,
        pad(&mount.node),
        mount.fstype
    )
}

/// `umount [-f] [-t type] node ...`
pub(crate) fn umount(host: &mut Emulator, arguments: &[String]) -> Output {
    let mut force = false;
    let mut nodes = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-f" => force = true,
            "-t" | "-h" | "-F" => {
                words.next();
            }
            "-v" | "-n" => {}
            node => nodes.push(node.to_owned()),
        }
    }
    let mut output = Output::success();
    for node in nodes {
        let at = host
            .kernel
            .mounts
            .iter()
            .rev()
            .find(|mount| mount.node == normalize(&node) || mount.special == node)
            .map(|mount| mount.node.clone());
        let Some(at) = at else {
            if host.files.exists(&node) {
                output.fail(
                    1,
                    format!("umount: {node}: not a file system root directory"),
                );
            } else {
                output.error(format!("umount: {node}: statfs: {}", Errno::ENOENT.text()));
                output.fail(1, format!("umount: {node}: unknown file system"));
            }
            continue;
        };
        if let Err(error) = super::zfs::unmount_node(host, &at, force) {
            output.fail(
                1,
                format!("umount: unmount of {at} failed: {}", error.text()),
            );
        }
    }
    output
}
