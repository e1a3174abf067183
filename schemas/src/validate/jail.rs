//! Rules for a Jail: its names, its root, how it is attached, its mounts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::jail::{Addressing, Attachment, Jail, JailSpec, Mount, UserIds};
use crate::net::{Family, HostAddress};
use crate::path::FieldPath;
use crate::structural::cut;
use crate::suggest;
use crate::validate::{
    exactly_one, firewall, limits, names, parameters, paths, probes, publish, reserved, selector,
};
use crate::violation::{Cause, Findings, Refusal};

/// Attachments of one jail. Each is an interface or an alias on the host; a jail with more is a mistake in a template.
pub const JAIL_NETWORKS_MAX: usize = 64;

/// Jails that one depends on. Those without a host are compared one by one in the transaction that gives it one.
const JAIL_DEPENDENCIES_MAX: usize = 64;

/// Octets of `spec.restart`.
const RESTART_BYTES_MAX: usize = 64;

/// The file systems that can be mounted for a jail. What each needs as a source stands in `mount`.
const FILE_SYSTEMS: [&str; 7] = [
    "nullfs",
    "tmpfs",
    "devfs",
    "fdescfs",
    "procfs",
    "linprocfs",
    "linsysfs",
];

pub(super) fn validate(jail: &Jail, path: &FieldPath, findings: &mut Findings) {
    let spec = &jail.spec;
    jail_name(jail, path, findings);
    placement(spec, path, findings);
    exactly_one(
        path,
        &[
            ("root", spec.root.is_some()),
            ("image", spec.image.is_some()),
        ],
        findings,
    );
    if let Some(root) = &spec.root {
        findings.check(
            &path.field("root").field("path"),
            paths::absolute(&root.path),
        );
    }
    if let Some(image) = &spec.image {
        findings.check(
            &path.field("image").field("name"),
            names::qualified(&image.name),
        );
    }
    networks(spec, &path.field("networks"), findings);
    if let Some(ids) = spec.user_ids
        && !(1..=UserIds::COUNT_MAX).contains(&ids.count)
    {
        findings.add(
            &path.field("userIds").field("count"),
            format!("{} user ids cannot be had", ids.count),
            format!("1 to {}", UserIds::COUNT_MAX),
        );
    }
    publish::validate(spec, path, findings);
    parameters::validate(spec, &path.field("parameters"), findings);
    mounts(spec, &path.field("mounts"), findings);
    if let Some(rules) = &spec.firewall {
        firewall::validate(spec, rules, &path.field("firewall"), findings);
    }
    limits::validate(&spec.limits, &path.field("limits"), findings);
    probes::validate(spec, &path.field("probes"), findings);
    if let Some(word) = &spec.restart {
        findings.check(&path.field("restart"), restart(word));
    }
    let dependencies = spec.depends_on.len();
    if dependencies > JAIL_DEPENDENCIES_MAX {
        let message =
            format!("{dependencies} jails, but one waits for at most {JAIL_DEPENDENCIES_MAX}");
        let help = "name those alone that the others wait for in turn";
        findings.add(&path.field("dependsOn"), message, help);
    }
    for (index, name) in spec.depends_on.iter().enumerate() {
        let at = path.field("dependsOn").index(index);
        findings.check(&at, names::dns_label(name));
        if *name == jail.metadata.name {
            findings.add(&at, "a jail cannot wait for itself", "remove it");
        }
    }
}

/// It is told again in plans and conditions.
fn restart(word: &str) -> Result<(), Refusal> {
    if !word.is_empty() && word.len() <= RESTART_BYTES_MAX && !word.contains(char::is_control) {
        return Ok(());
    }
    Err(Refusal::new(
        "is no text that can be told again",
        format!("1 to {RESTART_BYTES_MAX} octets on one line, such as the time"),
    ))
}

fn jail_name(jail: &Jail, path: &FieldPath, findings: &mut Findings) {
    match &jail.spec.jail_name {
        Some(name) => findings.check(&path.field("jailName"), names::jail_name(name)),
        // The object's name is the jail's name then; a DNS label breaks no other rule than that about numbers.
        None if names::dns_label(&jail.metadata.name).is_ok() => {
            if let Err(refusal) = names::jail_name(&jail.metadata.name) {
                let help = "give spec.jailName another name for jls(8), or begin the object's name with a letter";
                findings.add(
                    &FieldPath::new("metadata").field("name"),
                    refusal.message,
                    help,
                );
            }
        }
        None => {}
    }
}

fn placement(spec: &JailSpec, path: &FieldPath, findings: &mut Findings) {
    if let Some(host) = &spec.host {
        findings.check(&path.field("host"), names::dns_label(host));
        if spec.host_selector.is_some() {
            let message = "selects nothing, because spec.host names the host";
            findings.add_as(
                Cause::Forbidden,
                &path.field("hostSelector"),
                message,
                "keep one of the two",
            );
        }
    }
    if let Some(hosts) = &spec.host_selector {
        selector(hosts, &path.field("hostSelector"), findings);
    }
    for (index, toleration) in spec.tolerations.iter().enumerate() {
        let at = path.field("tolerations").index(index);
        if let Some(key) = &toleration.key {
            findings.check(&at.field("key"), names::qualified(key));
        }
        if let Some(value) = &toleration.value {
            findings.check(&at.field("value"), names::label_value(value));
        }
    }
}

fn networks(spec: &JailSpec, path: &FieldPath, findings: &mut Findings) {
    if spec.networks.len() > JAIL_NETWORKS_MAX {
        let message = format!(
            "{} attachments, but a jail has at most {JAIL_NETWORKS_MAX}",
            spec.networks.len()
        );
        findings.add(path, message, "");
        return;
    }
    let mut interfaces: BTreeMap<&str, usize> = BTreeMap::new();
    let mut addresses: BTreeMap<IpAddr, FieldPath> = BTreeMap::new();
    let mut default_route: Option<usize> = None;
    for (index, attachment) in spec.networks.iter().enumerate() {
        let at = path.index(index);
        findings.check(&at.field("network"), names::dns_label(&attachment.network));
        if !attachment.interface.is_empty() {
            findings.check(
                &at.field("interface"),
                names::interface(&attachment.interface),
            );
            if let Some(first) = interfaces.get(attachment.interface.as_str()) {
                let message = format!(
                    "`{}` is the interface of {} already",
                    attachment.interface,
                    path.index(*first)
                );
                findings.add(
                    &at.field("interface"),
                    message,
                    "give each attachment an interface of its own",
                );
            } else {
                interfaces.insert(&attachment.interface, index);
            }
        }
        attached_addresses(attachment, &at, &mut addresses, findings);
        asks_the_wire(spec, attachment, &at, findings);
        if let Some(mac) = attachment.mac {
            let [first, ..] = mac.0;
            if first & 1 == 1 || mac.0 == [0; 6] {
                let help = "an even first octet, such as 02";
                findings.add(
                    &at.field("mac"),
                    format!("{mac} is not the address of one interface"),
                    help,
                );
            }
        }
        if attachment.default_route == Some(true) {
            if let Some(first) = default_route {
                let message = format!("{} is the default route already", path.index(first));
                findings.add(
                    &at.field("defaultRoute"),
                    message,
                    "a jail has one default route: remove one of the two",
                );
            } else {
                default_route = Some(index);
            }
        }
    }
}

/// What rtsol(8) and dhclient(8) need to run in the jail: both /dev/null (`stdnull` of lib/libcasper/libcasper/service.c), the latter bpf(4) too, which is in none of the rulesets 1 to 5 that
/// FreeBSD brings; the rights of root; and the router's default route, which comes with the address.
fn asks_the_wire(
    spec: &JailSpec,
    attachment: &Attachment,
    at: &FieldPath,
    findings: &mut Findings,
) {
    let program = match attachment.effective_addressing() {
        Addressing::Dhcp => "dhclient(8)",
        Addressing::Slaac => "rtsol(8)",
        Addressing::Allocate | Addressing::Static | Addressing::Jail => return,
    };
    let field = at.field("addressing");
    let ruleset = parameters::number(spec, "devfs_ruleset");
    let hides_bpf = ruleset.is_none_or(|ruleset| (1..=5).contains(&ruleset));
    if !parameters::is_on(spec, "mount.devfs") {
        let message = format!("{program} needs a /dev in the jail");
        findings.add(&field, message, "set the parameter mount.devfs");
    } else if attachment.effective_addressing() == Addressing::Dhcp && hides_bpf {
        let message = format!(
            "{program} reads /dev/bpf, which no ruleset of /etc/defaults/devfs.rules shows to a jail"
        );
        let help = "set the parameter devfs_ruleset to a ruleset of your own that has: add path 'bpf*' unhide";
        findings.add(&field, message, help);
    }
    if spec.parameters.contains_key("exec.jail_user") {
        let message =
            format!("{program} runs as the jail's root, but exec.jail_user names another");
        findings.add(
            &field,
            message,
            "remove exec.jail_user, or let the jail's exec.start change the user",
        );
    }
    if attachment.default_route == Some(false) {
        let message = format!("{program} brings the router's default route along");
        let help = "leave it out, or use allocate, static or jail";
        findings.add(&at.field("defaultRoute"), message, help);
    }
}

fn attached_addresses(
    attachment: &Attachment,
    path: &FieldPath,
    seen: &mut BTreeMap<IpAddr, FieldPath>,
    findings: &mut Findings,
) {
    let given = !attachment.addresses.is_empty();
    match attachment.effective_addressing() {
        Addressing::Static if !given => {
            let help = "give spec.networks[].addresses, or write `addressing: allocate`";
            findings.add_as(
                Cause::Required,
                &path.field("addressing"),
                "`static` needs addresses",
                help,
            );
        }
        addressing @ (Addressing::Dhcp | Addressing::Slaac | Addressing::Jail) => {
            let mut given = attachment.addresses.iter();
            let given = given.find(|given| attachment.is_dynamic(Family::of(given.address)));
            if let Some(given) = given {
                let by = format!("{addressing:?}").to_lowercase();
                let message = format!(
                    "{} is given, but `addressing` says that such addresses come by {by}",
                    given.address
                );
                findings.add_as(
                    Cause::Forbidden,
                    &path.field("addressing"),
                    message,
                    "keep one of the two",
                );
            }
        }
        Addressing::Static | Addressing::Allocate => {}
    }
    for (index, address) in attachment.addresses.iter().enumerate() {
        let at = path.field("addresses").index(index);
        usable(address, &at, findings);
        if let Some(first) = seen.get(&address.address) {
            findings.add_as(
                Cause::Duplicate,
                &at,
                format!("{} is given in {first} already", address.address),
                "remove one of the two",
            );
        } else {
            seen.insert(address.address, at);
        }
    }
}

/// An address that a jail can have.
fn usable(address: &HostAddress, path: &FieldPath, findings: &mut Findings) {
    let ip = address.address;
    if let Some((prefix, why)) = reserved::of_address(ip) {
        findings.add(
            path,
            format!("a jail cannot have {ip}: {prefix} {why}"),
            "give an address of one of the network's subnets",
        );
    }
    if address.prefix_length == Some(0) {
        let most = Family::of(ip).host_prefix_length();
        findings.add(
            path,
            format!("{address} has no network"),
            format!("a prefix length from 1 to {most}"),
        );
    }
}

fn mounts(spec: &JailSpec, path: &FieldPath, findings: &mut Findings) {
    let by_parameter = [
        ("mount.devfs", "/dev"),
        ("mount.fdescfs", "/dev/fd"),
        ("mount.procfs", "/proc"),
    ];
    for (index, mount) in spec.mounts.iter().enumerate() {
        let at = path.index(index);
        validate_mount(spec, mount, &at, findings);
        if let Some(first) = spec.mounts[..index]
            .iter()
            .position(|other| other.target == mount.target)
        {
            let message = format!(
                "{} is the target of {} already",
                cut(&mount.target),
                path.index(first)
            );
            findings.add_as(
                Cause::Duplicate,
                &at.field("target"),
                message,
                "mount one thing on one place",
            );
        }
        for (parameter, target) in by_parameter {
            if mount.target == target && parameters::is_on(spec, parameter) {
                let message = format!("{target} is mounted by the parameter {parameter} already");
                findings.add_as(
                    Cause::Duplicate,
                    &at.field("target"),
                    message,
                    "keep one of the two",
                );
            }
            // jail(8) mounts `mount` first (`startcommands`, usr.sbin/jail/jail.c).
            let below = mount.target.strip_prefix(target);
            if below.is_some_and(|rest| rest.starts_with('/')) && parameters::is_on(spec, parameter)
            {
                let message = format!(
                    "{} would be hidden: the parameter {parameter} mounts over {target} after it",
                    cut(&mount.target)
                );
                findings.add(
                    &at.field("target"),
                    message,
                    format!("mount it elsewhere, or remove {parameter}"),
                );
            }
        }
    }
}

fn validate_mount(spec: &JailSpec, mount: &Mount, path: &FieldPath, findings: &mut Findings) {
    findings.check(&path.field("target"), paths::absolute(&mount.target));
    let kind = mount.fs_type.as_str();
    if !FILE_SYSTEMS.contains(&kind) {
        let help = suggest::help(kind, &FILE_SYSTEMS, "known here");
        findings.add(
            &path.field("type"),
            format!(
                "`{}` is not a file system that a jail can be given",
                cut(kind)
            ),
            help,
        );
    }
    let source = path.field("source");
    match (&mount.source, kind) {
        (Some(from), "nullfs") => {
            findings.check(&source, paths::absolute(from));
            if let Some(root) = &spec.root
                && (paths::is_below(&root.path, from)
                    || paths::is_below(&format!("{}{}", root.path, mount.target), from))
            {
                // mount(8) of nullfs onto itself is "Resource deadlock avoided" (recording `08`).
                let message = format!("{} lies inside what is mounted on it", cut(&mount.target));
                findings.add(
                    &source,
                    message,
                    "mount a directory outside of the jail's root",
                );
            }
        }
        (None, "nullfs") => findings.add_as(
            Cause::Required,
            &source,
            "nullfs needs a directory of the host",
            "give its absolute path",
        ),
        (Some(from), _) if from != kind => {
            findings.add(&source, format!("{} has no source", cut(kind)), "remove it");
        }
        (Some(_) | None, _) => {}
    }
    for (index, option) in mount.options.iter().enumerate() {
        let plain = |c: char| {
            c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '=' | '.' | ':' | '/' | '+')
        };
        if option.is_empty() || option.starts_with('-') || !option.chars().all(plain) {
            let help = "one option of mount(8) each, such as ro or size=64m";
            findings.add(
                &path.field("options").index(index),
                format!("`{}` is not an option", cut(option)),
                help,
            );
        }
    }
}
