//! jail(8)'s parameters: one table that says of each whether it is free, owned by a field, or reserved, and what it takes.
//!
//! The names are those of usr.sbin/jail/jail.8, usr.sbin/jail/config.c and sys/kern/kern_jail.c of FreeBSD 15.1. A kernel
//! module or a later release may know more: a well-formed name that the table lacks passes here with a warning, and the host
//! decides, by asking its kernel.

use crate::jail::{JailSpec, ParameterValue};
use crate::path::FieldPath;
use crate::structural::cut;
use crate::violation::{Cause, Findings, Refusal};

#[cfg(test)]
mod tests;

/// Octets of one value. A line of jail.conf(5) longer than this is a script that belongs into a file.
const VALUE_BYTES_MAX: usize = 4096;

/// Octets of all `env.…` of a jail, with their names: `jm_maxbufsize_hard`, sys/kern/kern_jailmeta.c.
const ENVIRONMENT_BYTES_MAX: usize = 4096;

/// What a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// True or false.
    Boolean,
    /// A whole number within bounds, both included.
    Integer(i64, i64),
    /// One of some words, such as `new` and `inherit`.
    Word(&'static [&'static str]),
    /// Text.
    Text,
    /// Text of so many octets at most.
    Short(usize),
    /// Text, or a list of texts that act in order.
    List,
}

/// Who decides a parameter's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The operator, in `spec.parameters`.
    Free(Takes),
    /// Another field of the Jail, named here.
    Field(&'static str),
    /// Nobody: the reason why not.
    Reserved(&'static str),
}

const SYSV: Takes = Takes::Word(&["new", "inherit", "disable"]);
/// MAXHOSTNAMELEN and HOSTUUIDLEN with the octet that ends a text (`kern_jail_set`, sys/kern/kern_jail.c).
const HOST_NAME_MAX: usize = 255;
const HOST_UUID_MAX: usize = 63;
/// OSRELEASELEN, of which the kernel leaves two octets unused: it refuses 31, and says "1-31".
const OSRELEASE_MAX: usize = 30;
const ID_MAX: i64 = i32::MAX as i64;
const READ_ONLY: &str = "it can only be read";

/// Every parameter of jail(8), in the man page's order.
pub const TABLE: &[(&str, Owner)] = &[
    (
        "jid",
        Owner::Reserved("the kernel assigns it, and other objects never refer to it"),
    ),
    ("name", Owner::Field("spec.jailName")),
    ("path", Owner::Field("spec.root.path")),
    ("ip4.addr", Owner::Field("spec.networks[].addresses")),
    ("ip4.saddrsel", Owner::Free(Takes::Boolean)),
    ("ip4", Owner::Free(SYSV)),
    ("ip6.addr", Owner::Field("spec.networks[].addresses")),
    ("ip6.saddrsel", Owner::Free(Takes::Boolean)),
    ("ip6", Owner::Free(SYSV)),
    (
        "vnet",
        Owner::Field("spec.networks: the network's mode decides it"),
    ),
    ("host.hostname", Owner::Free(Takes::Short(HOST_NAME_MAX))),
    ("host.domainname", Owner::Free(Takes::Short(HOST_NAME_MAX))),
    ("host.hostuuid", Owner::Free(Takes::Short(HOST_UUID_MAX))),
    (
        "host.hostid",
        Owner::Free(Takes::Integer(0, u32::MAX as i64)),
    ),
    ("host", Owner::Free(Takes::Word(&["new", "inherit"]))),
    ("securelevel", Owner::Free(Takes::Integer(-1, 3))),
    ("devfs_ruleset", Owner::Free(Takes::Integer(0, 65535))),
    // Less than the host's own, which is JAIL_MAX (`kern_jail_set`, sys/kern/kern_jail.c; recording `08`).
    ("children.max", Owner::Free(Takes::Integer(0, 999_998))),
    ("children.cur", Owner::Reserved(READ_ONLY)),
    ("enforce_statfs", Owner::Free(Takes::Integer(0, 2))),
    (
        "persist",
        Owner::Reserved(
            "every jail persists, so that it can be looked at when its last process is gone",
        ),
    ),
    ("cpuset.id", Owner::Reserved(READ_ONLY)),
    ("dying", Owner::Reserved(READ_ONLY)),
    ("parent", Owner::Reserved(READ_ONLY)),
    ("osrelease", Owner::Free(Takes::Short(OSRELEASE_MAX))),
    ("osreldate", Owner::Free(Takes::Integer(1, ID_MAX))),
    (
        "meta",
        Owner::Reserved("the mark by which the agent knows its jails stands there"),
    ),
    ("env", Owner::Free(Takes::Text)),
    ("allow.set_hostname", Owner::Free(Takes::Boolean)),
    ("allow.sysvipc", Owner::Free(Takes::Boolean)),
    ("allow.raw_sockets", Owner::Free(Takes::Boolean)),
    ("allow.chflags", Owner::Free(Takes::Boolean)),
    ("allow.mount", Owner::Free(Takes::Boolean)),
    ("allow.mount.devfs", Owner::Free(Takes::Boolean)),
    ("allow.quotas", Owner::Free(Takes::Boolean)),
    ("allow.read_msgbuf", Owner::Free(Takes::Boolean)),
    ("allow.socket_af", Owner::Free(Takes::Boolean)),
    ("allow.mlock", Owner::Free(Takes::Boolean)),
    ("allow.nfsd", Owner::Free(Takes::Boolean)),
    ("allow.reserved_ports", Owner::Free(Takes::Boolean)),
    (
        "allow.unprivileged_parent_tampering",
        Owner::Free(Takes::Boolean),
    ),
    ("allow.unprivileged_proc_debug", Owner::Free(Takes::Boolean)),
    ("allow.suser", Owner::Free(Takes::Boolean)),
    ("allow.extattr", Owner::Free(Takes::Boolean)),
    ("allow.adjtime", Owner::Free(Takes::Boolean)),
    ("allow.settime", Owner::Free(Takes::Boolean)),
    ("allow.routing", Owner::Free(Takes::Boolean)),
    ("allow.setaudit", Owner::Free(Takes::Boolean)),
    ("allow.mount.fdescfs", Owner::Free(Takes::Boolean)),
    ("allow.mount.fusefs", Owner::Free(Takes::Boolean)),
    ("allow.mount.nullfs", Owner::Free(Takes::Boolean)),
    ("allow.mount.procfs", Owner::Free(Takes::Boolean)),
    ("allow.mount.linprocfs", Owner::Free(Takes::Boolean)),
    ("allow.mount.linsysfs", Owner::Free(Takes::Boolean)),
    ("allow.mount.tmpfs", Owner::Free(Takes::Boolean)),
    ("allow.mount.zfs", Owner::Free(Takes::Boolean)),
    ("allow.vmm", Owner::Free(Takes::Boolean)),
    ("allow.vmm_ppt", Owner::Free(Takes::Boolean)),
    ("linux", Owner::Free(Takes::Word(&["new", "inherit"]))),
    ("linux.osname", Owner::Free(Takes::Text)),
    ("linux.osrelease", Owner::Free(Takes::Text)),
    ("linux.oss_version", Owner::Free(Takes::Integer(0, ID_MAX))),
    ("mac.do", Owner::Free(SYSV)),
    ("mac.do.rules", Owner::Free(Takes::Text)),
    ("sysvmsg", Owner::Free(SYSV)),
    ("sysvsem", Owner::Free(SYSV)),
    ("sysvshm", Owner::Free(SYSV)),
    ("zfs", Owner::Free(Takes::Word(&["new", "inherit"]))),
    ("zfs.mount_snapshot", Owner::Free(Takes::Integer(0, 1))),
    ("exec.prepare", Owner::Free(Takes::List)),
    ("exec.prestart", Owner::Free(Takes::List)),
    ("exec.created", Owner::Free(Takes::List)),
    ("exec.start", Owner::Free(Takes::List)),
    (
        "command",
        Owner::Reserved("in a file it is another word for exec.start: use that"),
    ),
    ("exec.poststart", Owner::Free(Takes::List)),
    ("exec.prestop", Owner::Free(Takes::List)),
    ("exec.stop", Owner::Free(Takes::List)),
    ("exec.poststop", Owner::Free(Takes::List)),
    ("exec.release", Owner::Free(Takes::List)),
    ("exec.clean", Owner::Free(Takes::Boolean)),
    ("exec.jail_user", Owner::Free(Takes::Text)),
    ("exec.system_jail_user", Owner::Free(Takes::Boolean)),
    ("exec.system_user", Owner::Free(Takes::Text)),
    ("exec.timeout", Owner::Free(Takes::Integer(0, ID_MAX))),
    ("exec.consolelog", Owner::Free(Takes::Text)),
    ("exec.fib", Owner::Free(Takes::Integer(0, 65535))),
    ("stop.timeout", Owner::Free(Takes::Integer(0, ID_MAX))),
    (
        "interface",
        Owner::Field("spec.networks: the network's uplink decides it"),
    ),
    ("vnet.interface", Owner::Field("spec.networks")),
    ("zfs.dataset", Owner::Free(Takes::List)),
    ("ip_hostname", Owner::Field("spec.networks[].addresses")),
    ("mount", Owner::Field("spec.mounts")),
    ("mount.fstab", Owner::Field("spec.mounts")),
    ("mount.devfs", Owner::Free(Takes::Boolean)),
    ("mount.fdescfs", Owner::Free(Takes::Boolean)),
    ("mount.procfs", Owner::Free(Takes::Boolean)),
    (
        "allow.dying",
        Owner::Reserved("it is deprecated and has no effect (jail(8))"),
    ),
    ("depend", Owner::Field("spec.dependsOn")),
];

/// What the table says of a parameter. `env.KEY` and `meta.KEY` are parts of `env` and `meta`.
#[must_use]
pub fn owner(name: &str) -> Option<Owner> {
    if name.starts_with("env.") {
        return Some(Owner::Free(Takes::Text));
    }
    let name = if name.starts_with("meta.") {
        "meta"
    } else {
        name
    };
    TABLE
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, owner)| *owner)
}

/// The parameter that `noX`, or `a.noX`, is the negation of.
#[must_use]
pub fn negated(name: &str) -> Option<String> {
    let (head, last) = match name.rsplit_once('.') {
        Some((head, last)) => (format!("{head}."), last),
        None => (String::new(), name),
    };
    let positive = format!("{head}{}", last.strip_prefix("no")?);
    match owner(&positive)? {
        Owner::Free(Takes::Boolean) => Some(positive),
        Owner::Free(_) | Owner::Field(_) => None,
        Owner::Reserved(_) => (positive == "persist").then_some(positive),
    }
}

/// Whether a name could be that of a parameter, and the table has none by it: then the host's kernel decides.
#[must_use]
pub fn is_unknown(name: &str) -> bool {
    is_well_formed(name) && owner(name).is_none() && negated(name).is_none()
}

/// Whether a boolean parameter is given and true.
#[must_use]
pub fn is_on(spec: &JailSpec, name: &str) -> bool {
    spec.parameters.get(name).and_then(as_bool) == Some(true)
}

/// A whole number given as such or as text.
#[must_use]
pub fn number(spec: &JailSpec, name: &str) -> Option<i64> {
    spec.parameters.get(name).and_then(as_number)
}

/// The truth value that a boolean parameter was given.
#[must_use]
pub fn as_bool(value: &ParameterValue) -> Option<bool> {
    match value {
        ParameterValue::Flag(flag) => Some(*flag),
        ParameterValue::Number(0) => Some(false),
        ParameterValue::Number(1) => Some(true),
        ParameterValue::Text(text) if text == "true" || text == "1" => Some(true),
        ParameterValue::Text(text) if text == "false" || text == "0" => Some(false),
        ParameterValue::Number(_) | ParameterValue::Text(_) | ParameterValue::List(_) => None,
    }
}

/// The whole number that a parameter was given.
#[must_use]
pub fn as_number(value: &ParameterValue) -> Option<i64> {
    match value {
        ParameterValue::Number(number) => Some(*number),
        ParameterValue::Text(text) => text.parse().ok(),
        ParameterValue::Flag(_) | ParameterValue::List(_) => None,
    }
}

pub(super) fn validate(spec: &JailSpec, path: &FieldPath, findings: &mut Findings) {
    for (name, value) in &spec.parameters {
        let at = path.key(name);
        findings.check(&at, texts(value));
        if !is_well_formed(name) {
            let message = format!("`{}` is not the name of a parameter", cut(name));
            findings.add(
                &at,
                message,
                "letters, digits and `_` in parts separated by dots, as in allow.raw_sockets",
            );
            continue;
        }
        if let Some(positive) = negated(name) {
            findings.add(
                &at,
                format!("`{name}` is the negation of {positive}"),
                format!("write `{positive}: false`"),
            );
            continue;
        }
        match owner(name) {
            Some(Owner::Field(field)) => {
                findings.add_as(
                    Cause::Forbidden,
                    &at,
                    format!("`{name}` is derived from another field"),
                    format!("use {field}"),
                );
            }
            Some(Owner::Reserved(reason)) => findings.add_as(
                Cause::Forbidden,
                &at,
                format!("`{name}` cannot be set: {reason}"),
                "remove it",
            ),
            Some(Owner::Free(takes)) => findings.check(&at, fits(takes, value)),
            None => {}
        }
    }
    together(spec, path, findings);
}

/// Rules between parameters, and between parameters and fields.
fn together(spec: &JailSpec, path: &FieldPath, findings: &mut Findings) {
    for name in ["ip4", "ip6"] {
        if spec.parameters.contains_key(name) && !spec.networks.is_empty() {
            let message = format!(
                "`{name}` is derived from spec.networks once the jail is attached to a network"
            );
            findings.add(
                &path.key(name),
                message,
                "remove it, or remove the attachments",
            );
        }
    }
    if is_on(spec, "allow.nfsd") && number(spec, "enforce_statfs") == Some(0) {
        let message = "allow.nfsd needs an enforce_statfs other than 0 (jail(8))";
        findings.add(
            &path.key("enforce_statfs"),
            message,
            "1, or 2 if only the jail's own file system is exported",
        );
    }
    if spec.parameters.contains_key("zfs.dataset") && !is_on(spec, "allow.mount.zfs") {
        findings.add(
            &path.key("zfs.dataset"),
            "datasets can only be given to a jail that may mount them",
            "add `allow.mount.zfs: true`",
        );
    }
    let inherits = matches!(spec.parameters.get("host"), Some(ParameterValue::Text(host)) if host == "inherit");
    for name in spec
        .parameters
        .keys()
        .filter(|name| name.starts_with("host."))
    {
        if inherits {
            // `PR_HOST`, kern_jail_set, sys/kern/kern_jail.c.
            findings.add(
                &path.key(name),
                format!("with `host: inherit` the jail has the host's, and a `{name}` of its own would end that"),
                "remove one of the two",
            );
        }
    }
    let mounts = ["mount.devfs", "mount.fdescfs", "mount.procfs"];
    let has_mounts = !spec.mounts.is_empty() || mounts.iter().any(|name| is_on(spec, name));
    if spec.parameters.contains_key("exec.system_user") && has_mounts {
        // `run_command`, usr.sbin/jail/command.c: mount(8) and umount(8) are run as that user, too.
        findings.add(
            &path.key("exec.system_user"),
            "jail(8) would mount for the jail as that user, who may not",
            "remove it, and let hooks on the host change their user by themselves (su -m USER -c …), or remove the mounts",
        );
    }
    environment(spec, path, findings);
    for name in ["host.hostname", "host.domainname", "host.hostuuid"] {
        // jls(8) does not show where it ends.
        if let Some(ParameterValue::Text(text)) = spec.parameters.get(name)
            && text.trim() != text
        {
            let message = format!("`{}` begins or ends with a blank", cut(text));
            findings.add(&path.key(name), message, "remove it");
        }
    }
    if let Some(ParameterValue::Text(log)) = spec.parameters.get("exec.consolelog") {
        findings.check(
            &path.key("exec.consolelog"),
            crate::validate::paths::absolute(log),
        );
    }
}

/// The kernel keeps what `env.…` sets in one buffer.
fn environment(spec: &JailSpec, path: &FieldPath, findings: &mut Findings) {
    let lengths = spec.parameters.iter().filter_map(|(name, value)| {
        let name = name.strip_prefix("env.")?;
        let value = match value {
            ParameterValue::Text(text) => text.len(),
            ParameterValue::Number(number) => number.to_string().len(),
            ParameterValue::Flag(_) | ParameterValue::List(_) => 0,
        };
        Some(name.len() + "=".len() + value + "\0".len())
    });
    let total: usize = lengths.sum();
    if total > ENVIRONMENT_BYTES_MAX {
        findings.add(
            path,
            format!("the parameters env.… have {total} octets together, and the kernel takes {ENVIRONMENT_BYTES_MAX}"),
            "put what is long into a file of the jail",
        );
    }
}

/// `allow.mount.zfs`, `env.LANG`: never something that jail.conf(5) would read otherwise.
fn is_well_formed(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    name.len() <= 255
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.split('.').all(part)
}

fn fits(takes: Takes, value: &ParameterValue) -> Result<(), Refusal> {
    match takes {
        Takes::Boolean if as_bool(value).is_some() => Ok(()),
        Takes::Boolean => Err(Refusal::new(
            "takes true or false",
            "write true, or false for its `no` form",
        )),
        Takes::Integer(low, high) => match as_number(value) {
            Some(number) if (low..=high).contains(&number) => Ok(()),
            Some(number) => Err(Refusal::new(
                format!("{number} is out of range"),
                format!("{low} to {high}"),
            )),
            None => Err(Refusal::new(
                "takes a whole number",
                format!("{low} to {high}"),
            )),
        },
        Takes::Word(words) => match value {
            ParameterValue::Text(text) if words.contains(&text.as_str()) => Ok(()),
            ParameterValue::Text(_)
            | ParameterValue::Flag(_)
            | ParameterValue::Number(_)
            | ParameterValue::List(_) => {
                Err(Refusal::new("takes one word of a few", words.join(", ")))
            }
        },
        Takes::Text => match value {
            ParameterValue::Text(_) | ParameterValue::Number(_) => Ok(()),
            ParameterValue::Flag(_) => Err(Refusal::new(
                "takes text",
                "put it in quotes if that word is meant",
            )),
            ParameterValue::List(_) => Err(Refusal::new(
                "takes one text, not a list",
                "give a single value",
            )),
        },
        Takes::Short(longest) => {
            fits(Takes::Text, value)?;
            match value {
                ParameterValue::Text(text) if text.len() > longest => Err(Refusal::new(
                    format!("is too long: {} octets", text.len()),
                    format!("{longest} octets at most"),
                )
                .of(Cause::TooLong)),
                ParameterValue::Text(_)
                | ParameterValue::Number(_)
                | ParameterValue::Flag(_)
                | ParameterValue::List(_) => Ok(()),
            }
        }
        Takes::List => match value {
            ParameterValue::Text(text) if !text.trim().is_empty() => Ok(()),
            ParameterValue::List(items)
                if items.iter().all(|item| !item.trim().is_empty()) && !items.is_empty() =>
            {
                Ok(())
            }
            ParameterValue::Text(_) | ParameterValue::List(_) => {
                Err(Refusal::new("is empty", "remove it, or give a value"))
            }
            ParameterValue::Flag(_) | ParameterValue::Number(_) => {
                Err(Refusal::new("takes text or a list of texts", ""))
            }
        },
    }
}

/// Values stand in one line of jail.conf(5) each.
fn texts(value: &ParameterValue) -> Result<(), Refusal> {
    let texts = match value {
        ParameterValue::List(items) => items.as_slice(),
        ParameterValue::Text(text) => std::slice::from_ref(text),
        ParameterValue::Flag(_) | ParameterValue::Number(_) => &[],
    };
    for text in texts {
        if let Some(bad) = text.chars().find(|c| c.is_control() && *c != '\t') {
            return Err(Refusal::new(
                format!("the value has the character {bad:?}"),
                "write it on one line; several commands make a list",
            ));
        }
        if text.len() > VALUE_BYTES_MAX {
            let message = format!(
                "a value of {} octets, but one has at most {VALUE_BYTES_MAX}",
                text.len()
            );
            return Err(Refusal::new(message, "put it into a script and call that"));
        }
    }
    Ok(())
}
