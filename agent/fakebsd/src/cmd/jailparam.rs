//! Jail parameters as text: libjail's view of which there are, of what type, and how values are read and written (lib/libjail/jail.c).

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::kernel::Kernel;
use crate::kernel::jail::{Addresses, Jail, JailSys, Value};

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Flag,
    Number,
    Text,
    Sys,
    Inet,
    Inet6,
    /// One key of `meta` or `env`.
    Key,
}

/// A known parameter: its real name, its type, and whether it was asked for as `noNAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) name: String,
    pub(crate) kind: Type,
    pub(crate) negated: bool,
}

/// The value of a parameter as read from a jail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Exported {
    Flag(bool),
    Text(String),
    Inet(Vec<Ipv4Addr>),
    Inet6(Vec<Ipv6Addr>),
    /// A key that `meta` or `env` does not have.
    MissingKey,
}

impl Exported {
    /// jailparam_export.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Flag(value) => value.to_string(),
            Self::Text(text) => text.clone(),
            Self::Inet(list) => list
                .iter()
                .map(Ipv4Addr::to_string)
                .collect::<Vec<_>>()
                .join(","),
            Self::Inet6(list) => list
                .iter()
                .map(Ipv6Addr::to_string)
                .collect::<Vec<_>>()
                .join(","),
            Self::MissingKey => String::new(),
        }
    }
}

fn base_type(kernel: &Kernel, name: &str) -> Option<Type> {
    let group = format!("{name}.");
    let has_group = kernel.jail_parameter_exists(&group);
    match name {
        "ip4.addr" => return Some(Type::Inet),
        "ip6.addr" => return Some(Type::Inet6),
        "vnet" => return Some(Type::Sys),
        _ if has_group && name.starts_with("allow.") => return Some(Type::Flag),
        _ if has_group => return Some(Type::Sys),
        _ => {}
    }
    if !kernel.jail_parameter_exists(name) {
        return None;
    }
    match name {
        "allow" | "allow.mount" | "cpuset" | "children" | "mac" => None,
        "persist" | "dying" | "ip4.saddrsel" | "ip6.saddrsel" => Some(Type::Flag),
        _ if name.starts_with("allow.") => Some(Type::Flag),
        "name" | "path" | "osrelease" | "host.hostname" | "host.domainname" | "host.hostuuid"
        | "meta" | "env" => Some(Type::Text),
        _ => Some(Type::Number),
    }
}

/// `allow.nochflags` → `allow.chflags`.
fn without_no(name: &str) -> Option<String> {
    let (head, last) = name
        .rsplit_once('.')
        .map_or(("", name), |(head, last)| (&name[..=head.len()], last));
    last.strip_prefix("no").map(|rest| format!("{head}{rest}"))
}

/// `allow.chflags` → `allow.nochflags`.
pub(crate) fn with_no(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((head, last)) => format!("{head}.no{last}"),
        None => format!("no{name}"),
    }
}

/// jailparam_init: looks a parameter up; asking for a file system's or Linux' loads its module.
pub(crate) fn lookup(kernel: &mut Kernel, name: &str) -> Option<Known> {
    let known = |name: &str, kind, negated| {
        Some(Known {
            name: name.to_owned(),
            kind,
            negated,
        })
    };
    if let Some(kind) = base_type(kernel, name) {
        return known(name, kind, false);
    }
    let module = name
        .strip_prefix("allow.mount.")
        .map(|file_system| file_system.strip_prefix("no").unwrap_or(file_system));
    if let Some(module) = module
        && kernel.kldload(module).is_ok()
        && let Some(kind) = base_type(kernel, name)
    {
        return known(name, kind, false);
    }
    if let Some(positive) = without_no(name)
        && base_type(kernel, &positive) == Some(Type::Flag)
    {
        return known(&positive, Type::Flag, true);
    }
    let (block, key) = name.split_once('.')?;
    if matches!(block, "meta" | "env")
        && !key.is_empty()
        && base_type(kernel, block) == Some(Type::Text)
    {
        return known(name, Type::Key, false);
    }
    None
}

fn flag_value(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        other => other.parse::<i64>().ok().map(|number| number != 0),
    }
}

/// jailparam_import: the typed value of a text, or libjail's message.
pub(crate) fn import(
    kernel: &mut Kernel,
    name: &str,
    text: Option<&str>,
) -> Result<(String, Value), String> {
    let Some(known) = lookup(kernel, name) else {
        return Err(format!("unknown parameter: {name}"));
    };
    let value = match known.kind {
        Type::Flag => {
            let given = match text {
                None => true,
                Some(text) => flag_value(text)
                    .ok_or_else(|| format!("{name}: unknown boolean value \"{text}\""))?,
            };
            Value::Flag(given != known.negated)
        }
        Type::Number => {
            let text = text.unwrap_or("");
            Value::Number(
                text.parse()
                    .map_err(|_| format!("{name}: non-integer value \"{text}\""))?,
            )
        }
        Type::Text | Type::Key => Value::Text(text.unwrap_or("").to_owned()),
        Type::Sys => Value::Sys(match text.unwrap_or("") {
            "" | "new" => JailSys::New,
            "disable" => JailSys::Disable,
            "inherit" => JailSys::Inherit,
            other => return Err(format!("{name}: unknown jailsys value \"{other}\"")),
        }),
        Type::Inet => Value::Inet(addresses(name, "IPv4", text)?),
        Type::Inet6 => Value::Inet6(addresses(name, "IPv6", text)?),
    };
    Ok((known.name, value))
}

fn addresses<A: std::str::FromStr>(
    name: &str,
    family: &str,
    text: Option<&str>,
) -> Result<Vec<A>, String> {
    let text = text.unwrap_or("");
    if text.is_empty() || text == "-" {
        return Ok(Vec::new());
    }
    text.split(',')
        .map(|part| {
            part.parse()
                .map_err(|_| format!("{name}: not an {family} address: {part}"))
        })
        .collect()
}

fn key(block: &str, name: &str) -> Exported {
    let prefix = format!("{name}=");
    match block.lines().find_map(|line| line.strip_prefix(&prefix)) {
        Some(value) => Exported::Text(value.to_owned()),
        None => Exported::MissingKey,
    }
}

fn restriction<A>(addresses: &Addresses<A>) -> JailSys {
    match addresses {
        Addresses::Inherit => JailSys::Inherit,
        Addresses::Restricted(_) => JailSys::Disable,
    }
}

/// The value a jail has of a known parameter (jail_get(2)).
pub(crate) fn export(kernel: &Kernel, viewer: i32, jail: &Jail, known: &Known) -> Exported {
    let number = |value: i64| Exported::Text(value.to_string());
    let text = |value: &str| Exported::Text(value.to_owned());
    let sys = |value: JailSys| text(value.text());
    match known.name.as_str() {
        "jid" => number(jail.jid.into()),
        "parent" => number(if jail.parent == viewer {
            0
        } else {
            jail.parent.into()
        }),
        "name" => text(
            kernel
                .jail(viewer)
                .and_then(|viewer| jail.name.strip_prefix(&format!("{}.", viewer.name)))
                .unwrap_or(&jail.name),
        ),
        "path" => text(&jail.path),
        "persist" => Exported::Flag(jail.persist),
        "dying" => Exported::Flag(jail.dying),
        "vnet" => sys(if jail.owns_stack {
            JailSys::New
        } else {
            JailSys::Inherit
        }),
        "host" => sys(jail.host),
        "ip4" => sys(if jail.owns_stack {
            JailSys::Inherit
        } else {
            restriction(&jail.ip4)
        }),
        "ip6" => sys(if jail.owns_stack {
            JailSys::Inherit
        } else {
            restriction(&jail.ip6)
        }),
        "ip4.addr" => Exported::Inet(jail.ip4.list().to_vec()),
        "ip6.addr" => Exported::Inet6(jail.ip6.list().to_vec()),
        "ip4.saddrsel" => Exported::Flag(jail.ip4_saddrsel),
        "ip6.saddrsel" => Exported::Flag(jail.ip6_saddrsel),
        "securelevel" => number(jail.securelevel),
        "devfs_ruleset" => number(jail.devfs_ruleset),
        "enforce_statfs" => number(jail.enforce_statfs),
        "osrelease" => text(&jail.osrelease),
        "osreldate" => number(jail.osreldate),
        "children.max" => number(jail.children_max),
        "children.cur" => number(jail.children.len() as i64),
        "cpuset.id" => number(jail.cpuset.into()),
        "host.hostname" => text(&jail.hostname),
        "host.domainname" => text(&jail.domainname),
        "host.hostuuid" => text(&jail.hostuuid),
        "host.hostid" => number(jail.hostid),
        "meta" => text(&jail.meta),
        "env" => text(&jail.env),
        "zfs.mount_snapshot" => number(0),
        name if name.starts_with("sysv") => sys(jail.sysv(name)),
        name if name.starts_with("meta.") => key(&jail.meta, &name[5..]),
        name if name.starts_with("env.") => key(&jail.env, &name[4..]),
        name if known.kind == Type::Sys => sys(jail
            .subsystems
            .get(name)
            .copied()
            .unwrap_or(JailSys::Disable)),
        name => Exported::Flag(jail.allow.contains(name)),
    }
}

/// Every parameter in jls order: those without a dot first, each part by name.
pub(crate) fn all(kernel: &mut Kernel) -> Vec<Known> {
    let names: Vec<String> = kernel
        .oids_below("security.jail.param")
        .iter()
        .filter_map(|oid| oid.name.strip_prefix("security.jail.param."))
        .map(|name| name.trim_end_matches('.').to_owned())
        .collect();
    let mut known: Vec<Known> = names
        .iter()
        .filter_map(|name| {
            base_type(kernel, name).map(|kind| Known {
                name: name.clone(),
                kind,
                negated: false,
            })
        })
        .collect();
    known.sort_by(|a, b| (a.name.contains('.'), &a.name).cmp(&(b.name.contains('.'), &b.name)));
    known.dedup();
    known
}
