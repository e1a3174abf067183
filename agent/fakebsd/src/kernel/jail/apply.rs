//! How a parameter's value becomes part of a jail, and the values that are derived.

use super::{Addresses, Jail, JailSys, Value};

impl Jail {
    pub(super) fn apply(&mut self, name: &str, value: &Value) {
        match (name, value) {
            ("persist", Value::Flag(value)) => self.persist = *value,
            ("ip4.saddrsel", Value::Flag(value)) => self.ip4_saddrsel = *value,
            ("ip6.saddrsel", Value::Flag(value)) => self.ip6_saddrsel = *value,
            ("ip4", Value::Sys(JailSys::Inherit)) => self.ip4 = Addresses::Inherit,
            ("ip6", Value::Sys(JailSys::Inherit)) => self.ip6 = Addresses::Inherit,
            ("host", Value::Sys(value)) => self.host = *value,
            ("ip4.addr", Value::Inet(list)) => self.ip4 = Addresses::Restricted(list.clone()),
            ("ip6.addr", Value::Inet6(list)) => self.ip6 = Addresses::Restricted(list.clone()),
            ("host.hostname", Value::Text(value)) => value.clone_into(&mut self.hostname),
            ("host.domainname", Value::Text(value)) => value.clone_into(&mut self.domainname),
            ("host.hostuuid", Value::Text(value)) => value.clone_into(&mut self.hostuuid),
            ("host.hostid", Value::Number(value)) => self.hostid = *value,
            ("securelevel", Value::Number(value)) => self.securelevel = *value,
            ("devfs_ruleset", Value::Number(value)) => self.devfs_ruleset = *value,
            ("enforce_statfs", Value::Number(value)) => self.enforce_statfs = *value,
            ("children.max", Value::Number(value)) => self.children_max = *value,
            ("osrelease", Value::Text(value)) => value.clone_into(&mut self.osrelease),
            ("osreldate", Value::Number(value)) => self.osreldate = *value,
            ("meta", Value::Text(value)) => value.clone_into(&mut self.meta),
            ("env", Value::Text(value)) => value.clone_into(&mut self.env),
            (name, Value::Text(value)) if name.starts_with("meta.") => {
                set_key(&mut self.meta, &name[5..], value)
            }
            (name, Value::Text(value)) if name.starts_with("env.") => {
                set_key(&mut self.env, &name[4..], value)
            }
            (name, Value::Flag(value)) if name.starts_with("allow.") => {
                if *value {
                    self.allow.insert(name.to_owned());
                } else {
                    self.allow.remove(name);
                }
            }
            (name, Value::Sys(value)) => {
                self.subsystems.insert(name.to_owned(), *value);
            }
            (
                _,
                Value::Flag(_)
                | Value::Number(_)
                | Value::Text(_)
                | Value::Inet(_)
                | Value::Inet6(_),
            ) => {}
        }
    }

    /// The value of a System V subsystem: new, inherited through `allow.sysvipc`, or disabled (recording `08`).
    pub(crate) fn sysv(&self, name: &str) -> JailSys {
        match self.subsystems.get(name) {
            Some(value) => *value,
            None if self.allow.contains("allow.sysvipc") => JailSys::Inherit,
            None => JailSys::Disable,
        }
    }
}

/// `meta.KEY=VALUE` replaces or adds one line, in the order sys/kern/kern_jailmeta.c keeps: the newest key first.
fn set_key(block: &mut String, key: &str, value: &str) {
    let prefix = format!("{key}=");
    let mut lines: Vec<String> = block
        .lines()
        .filter(|line| !line.starts_with(&prefix))
        .map(str::to_owned)
        .collect();
    lines.insert(0, format!("{prefix}{value}"));
    *block = lines.join("\n");
}
