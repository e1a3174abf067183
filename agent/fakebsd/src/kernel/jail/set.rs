//! jail_set(2): the checks in the kernel's order, creating, updating (kern_jail_set of sys/kern/kern_jail.c).

use std::collections::{BTreeMap, BTreeSet};

use super::{Addresses, DEFAULT_ALLOW, JID_MAX, Jail, JailError, JailSys, Settings, Value};
use crate::kernel::Kernel;
use crate::kernel::errno::Errno;
use crate::kernel::timer::Timer;
use crate::kernel::vnet::{HOST, VnetId};

fn message<T>(text: impl Into<String>) -> Result<T, JailError> {
    Err(JailError::Message(text.into()))
}

fn flag(settings: &Settings, name: &str) -> Option<bool> {
    match settings.get(name) {
        Some(Value::Flag(value)) => Some(*value),
        Some(Value::Number(value)) => Some(*value != 0),
        Some(Value::Text(_) | Value::Sys(_) | Value::Inet(_) | Value::Inet6(_)) | None => None,
    }
}

fn number(settings: &Settings, name: &str) -> Option<i64> {
    match settings.get(name) {
        Some(Value::Number(value)) => Some(*value),
        Some(Value::Flag(value)) => Some(i64::from(*value)),
        Some(Value::Text(_) | Value::Sys(_) | Value::Inet(_) | Value::Inet6(_)) | None => None,
    }
}

fn text<'a>(settings: &'a Settings, name: &str) -> Option<&'a str> {
    match settings.get(name) {
        Some(Value::Text(value)) => Some(value),
        Some(
            Value::Flag(_) | Value::Number(_) | Value::Sys(_) | Value::Inet(_) | Value::Inet6(_),
        )
        | None => None,
    }
}

fn sys(settings: &Settings, name: &str) -> Option<JailSys> {
    match settings.get(name) {
        Some(Value::Sys(value)) => Some(*value),
        Some(
            Value::Flag(_) | Value::Number(_) | Value::Text(_) | Value::Inet(_) | Value::Inet6(_),
        )
        | None => None,
    }
}

fn forget<A: Ord>(index: &mut BTreeMap<A, BTreeSet<i32>>, list: &[A], jid: i32) {
    for address in list {
        if let Some(holders) = index.get_mut(address) {
            holders.remove(&jid);
            if holders.is_empty() {
                index.remove(address);
            }
        }
    }
}

impl Kernel {
    /// jail_set(2) with JAIL_CREATE (`create`) or JAIL_UPDATE. Returns the jid.
    pub(crate) fn jail_set(
        &mut self,
        viewer: i32,
        settings: &Settings,
        create: bool,
    ) -> Result<i32, JailError> {
        self.check_settings(settings, create)?;
        if create {
            self.jail_create(viewer, settings)
        } else {
            self.jail_update(viewer, settings)
        }
    }

    /// The checks that need no jail, in kern_jail_set's order.
    fn check_settings(&self, settings: &Settings, create: bool) -> Result<(), JailError> {
        if number(settings, "enforce_statfs").is_some_and(|level| !(0..=2).contains(&level)) {
            return Err(Errno::EINVAL.into());
        }
        let attaches = flag(settings, "attach") == Some(true);
        if create && !attaches && flag(settings, "persist") != Some(true) {
            return message("new jail must persist or attach");
        }
        let names_ip4 = settings.contains("ip4") || settings.contains("ip4.addr");
        let names_ip6 = settings.contains("ip6") || settings.contains("ip6.addr");
        if !create {
            for (given, name) in [
                (settings.contains("vnet"), "vnet"),
                (settings.contains("ip4"), "ip4"),
                (settings.contains("ip6"), "ip6"),
            ] {
                if given {
                    return message(format!("{name} cannot be changed after creation"));
                }
            }
        }
        for (name, longest) in [
            ("host.hostname", 255),
            ("host.domainname", 255),
            ("host.hostuuid", 63),
        ] {
            if text(settings, name).is_some_and(|value| value.len() > longest) {
                return Err(Errno::ENAMETOOLONG.into());
            }
        }
        if text(settings, "name").is_some_and(|name| name.len() > 256) {
            return Err(Errno::ENAMETOOLONG.into());
        }
        if matches!(settings.get("ip4.addr"), Some(Value::Inet(list)) if list.len() > 255) {
            return message("too many IPv4 addresses");
        }
        if matches!(settings.get("ip6.addr"), Some(Value::Inet6(list)) if list.len() > 255) {
            return message("too many IPv6 addresses");
        }
        if settings.contains("vnet") && (names_ip4 || names_ip6) {
            return message("vnet jails cannot have IP address restrictions");
        }
        if !create {
            for name in ["osrelease", "osreldate", "path"] {
                if settings.contains(name) {
                    return message(format!("{name} cannot be changed after creation"));
                }
            }
        }
        // With the octet that ends it the text must be shorter than OSRELEASELEN, so that 31 are too many as well.
        if text(settings, "osrelease").is_some_and(|release| release.len() > 30) {
            return message("osrelease string must be 1-31 bytes long");
        }
        Ok(())
    }

    /// The parent that a dotted name asks for, and the last component.
    fn split_name<'a>(&self, viewer: i32, name: &'a str) -> Result<(i32, &'a str), JailError> {
        let Some((parent, last)) = name.rsplit_once('.') else {
            return Ok((viewer, name));
        };
        match self.find_jail(viewer, parent) {
            Some(jail) => Ok((jail.jid, last)),
            None => message(format!("jail \"{parent}\" not found")),
        }
    }

    fn jail_create(&mut self, viewer: i32, settings: &Settings) -> Result<i32, JailError> {
        let name = text(settings, "name").unwrap_or_default();
        let wanted = number(settings, "jid")
            .filter(|jid| *jid != 0)
            .or_else(|| name.rsplit('.').next().and_then(|last| last.parse().ok()));
        if wanted.is_some_and(|jid| jid < 0) {
            return message("negative jid");
        }
        let wanted = wanted
            .and_then(|jid| i32::try_from(jid).ok())
            .filter(|jid| *jid > 0);
        if let Some(jid) = wanted
            && self.jail(jid).is_some_and(|jail| !jail.dying)
        {
            return message(format!("jail {jid} already exists"));
        }
        let (parent, last) = self.split_name(viewer, name)?;
        if !last.is_empty()
            && self
                .jails
                .by_name
                .contains_key(&self.full_name(parent, last))
        {
            return message(format!("jail \"{name}\" already exists"));
        }
        let mut at = viewer;
        while let Some(jail) = self.jail(at) {
            if self.child_count(at) >= jail.children_max {
                return message("prison limit exceeded");
            }
            at = jail.parent;
        }
        let jid = match wanted {
            Some(jid) => jid,
            None => self.jails.next_jid(),
        };
        self.check_against_parent(parent, None, settings)?;
        let numeric = last.parse::<i64>();
        if !last.is_empty()
            && numeric.is_ok_and(|number| number != i64::from(jid) || last.starts_with('0'))
        {
            return message("name cannot be numeric (unless it is the jid)");
        }
        if wanted.is_some() && self.jail(jid).is_some_and(|jail| jail.dying) {
            self.renumber_dying(jid);
        }
        let component = if last.is_empty() {
            jid.to_string()
        } else {
            last.to_owned()
        };
        self.insert_jail(jid, parent, &component, settings);
        Ok(jid)
    }

    fn child_count(&self, jid: i32) -> i64 {
        self.jail(jid).map_or(0, |jail| {
            jail.children
                .iter()
                .map(|child| 1 + self.child_count(*child))
                .sum()
        })
    }

    /// A dying jail gives up its number to a new one that asks for it and goes to the end of the range (get_next_deadid).
    fn renumber_dying(&mut self, jid: i32) {
        let Some(mut jail) = self.jails.all.remove(&jid) else {
            return;
        };
        let free = (1..=JID_MAX)
            .rev()
            .find(|id| !self.jails.all.contains_key(id))
            .expect("fewer jails than numbers");
        jail.jid = free;
        for timer in self.timers.values_mut() {
            if let Timer::JailGone { jid: at } = timer
                && *at == jid
            {
                *at = free;
            }
        }
        self.jails.all.insert(free, jail);
    }

    /// The final checks: limits of the parent and addresses of others. `updating` is the jail being changed.
    fn check_against_parent(
        &self,
        parent: i32,
        updating: Option<i32>,
        settings: &Settings,
    ) -> Result<(), JailError> {
        let (parent_level, parent_max, parent_statfs) = match self.jail(parent) {
            Some(jail) => (jail.securelevel, jail.children_max, jail.enforce_statfs),
            None => (self.securelevel_of(0), 999_999, 0),
        };
        let too_low = number(settings, "securelevel").is_some_and(|level| level < parent_level);
        let too_many = number(settings, "children.max").is_some_and(|max| max >= parent_max);
        let too_open =
            number(settings, "enforce_statfs").is_some_and(|level| level < parent_statfs);
        if too_low || too_many || too_open {
            return Err(Errno::EPERM.into());
        }
        if number(settings, "devfs_ruleset").is_some_and(|ruleset| !(0..=65535).contains(&ruleset))
        {
            return Err(Errno::EINVAL.into());
        }
        let stack = self.jail(parent).map_or(HOST, |jail| jail.stack);
        if let Some(Value::Inet(list)) = settings.get("ip4.addr")
            && self.clashes(
                &self.jails.inet,
                list,
                |jail| jail.ip4.list().len(),
                stack,
                updating,
            )
        {
            return message("IPv4 addresses clash");
        }
        if let Some(Value::Inet6(list)) = settings.get("ip6.addr")
            && self.clashes(
                &self.jails.inet6,
                list,
                |jail| jail.ip6.list().len(),
                stack,
                updating,
            )
        {
            return message("IPv6 addresses clash");
        }
        for (name, value) in &settings.0 {
            let newly = *value == Value::Flag(true) && name.starts_with("allow.");
            if newly
                && self
                    .jail(parent)
                    .is_some_and(|jail| !jail.allow.contains(name))
            {
                return Err(Errno::EPERM.into());
            }
        }
        Ok(())
    }

    /// prison_ip_conflict_check: two jails may share an address only if it is the only one of both (recordings `03`, `12`).
    fn clashes<A: Ord>(
        &self,
        index: &BTreeMap<A, BTreeSet<i32>>,
        list: &[A],
        count: impl Fn(&Jail) -> usize,
        stack: VnetId,
        updating: Option<i32>,
    ) -> bool {
        list.iter()
            .flat_map(|address| index.get(address).into_iter().flatten())
            .any(|holder| {
                Some(*holder) != updating
                    && self.jail(*holder).is_some_and(|jail| {
                        let ancestor = updating.is_some_and(|jid| self.is_descendant(jid, *holder));
                        !jail.dying
                            && jail.stack == stack
                            && !ancestor
                            && (list.len() > 1 || count(jail) > 1)
                    })
            })
    }

    fn insert_jail(&mut self, jid: i32, parent: i32, component: &str, settings: &Settings) {
        let name = self.full_name(parent, component);
        let vnet =
            flag(settings, "vnet") == Some(true) || sys(settings, "vnet") == Some(JailSys::New);
        let mut jail = self.fresh_jail(jid, parent, &name);
        let path = text(settings, "path").unwrap_or("/");
        jail.path = match self.jail(parent) {
            Some(jail) if jail.path != "/" => {
                crate::files::normalize(&format!("{}/{path}", jail.path))
            }
            Some(_) | None => crate::files::normalize(path),
        };
        if vnet {
            jail.stack = self.allocate_vnet();
            jail.owns_stack = true;
            jail.ip4 = Addresses::Inherit;
            jail.ip6 = Addresses::Inherit;
        }
        let stack = jail.stack;
        self.jails.add_root(&jail.path);
        self.jails.all.insert(jid, jail);
        self.jails.by_name.insert(name, jid);
        if let Some(jail) = self.jails.all.get_mut(&parent) {
            jail.children.insert(jid);
        }
        if vnet {
            let loopback = self.attach_loopback(stack, 0);
            self.vnet_mut(stack).loopback = loopback;
        }
        self.apply_settings(jid, settings);
    }

    /// A jail with the defaults, and what it takes from its parent.
    fn fresh_jail(&mut self, jid: i32, parent: i32, name: &str) -> Jail {
        let cpuset = self.jails.take_cpuset();
        let above = self.jail(parent);
        let (securelevel, devfs_ruleset, enforce_statfs) = above
            .map_or((self.securelevel_of(0), 0, 2), |jail| {
                (jail.securelevel, jail.devfs_ruleset, jail.enforce_statfs)
            });
        let allowed = |name: &&&str| above.is_none_or(|jail| jail.allow.contains::<str>(name));
        let release = above.map_or(self.release.name(), |jail| jail.osrelease.as_str());
        let date = above.map_or(i64::from(self.release.osreldate()), |jail| jail.osreldate);
        Jail {
            jid,
            name: name.to_owned(),
            parent,
            path: "/".to_owned(),
            persist: false,
            dying: false,
            stack: above.map_or(HOST, |jail| jail.stack),
            owns_stack: false,
            hostname: String::new(),
            domainname: String::new(),
            hostuuid: "00000000-0000-0000-0000-000000000000".into(),
            hostid: 0,
            host: JailSys::New,
            securelevel,
            devfs_ruleset,
            enforce_statfs,
            osrelease: release.to_owned(),
            osreldate: date,
            ip4: Addresses::Restricted(Vec::new()),
            ip6: Addresses::Restricted(Vec::new()),
            ip4_saddrsel: true,
            ip6_saddrsel: true,
            allow: DEFAULT_ALLOW
                .iter()
                .filter(allowed)
                .map(|name| (*name).to_owned())
                .collect(),
            subsystems: BTreeMap::new(),
            children_max: 0,
            children: BTreeSet::new(),
            cpuset,
            meta: String::new(),
            env: String::new(),
            fib: 0,
            processes: BTreeSet::new(),
        }
    }

    fn jail_update(&mut self, viewer: i32, settings: &Settings) -> Result<i32, JailError> {
        let jid = match (
            number(settings, "jid").filter(|jid| *jid != 0),
            text(settings, "name"),
        ) {
            (Some(jid), _) => match i32::try_from(jid)
                .ok()
                .and_then(|jid| self.jail(jid))
                .filter(|jail| !jail.dying)
            {
                Some(jail) => jail.jid,
                None => return message(format!("jail {jid} not found")),
            },
            (None, Some(name)) => match self.find_jail(viewer, name) {
                Some(jail) => jail.jid,
                None => return message(format!("jail \"{name}\" not found")),
            },
            (None, None) => return message("update specified no jail"),
        };
        let (parent, owns_stack) = self
            .jail(jid)
            .map_or((0, false), |jail| (jail.parent, jail.owns_stack));
        if owns_stack && (settings.contains("ip4.addr") || settings.contains("ip6.addr")) {
            return message("vnet jails cannot have IP address restrictions");
        }
        let inherits4 = self
            .jail(jid)
            .is_some_and(|jail| jail.ip4 == Addresses::Inherit);
        let inherits6 = self
            .jail(jid)
            .is_some_and(|jail| jail.ip6 == Addresses::Inherit);
        for (given, inherits, name) in [
            ("ip4.addr", inherits4, "ip4"),
            ("ip6.addr", inherits6, "ip6"),
        ] {
            if settings.contains(given) && inherits {
                return message(format!("{name} cannot be changed after creation"));
            }
        }
        self.check_against_parent(parent, Some(jid), settings)?;
        self.apply_settings(jid, settings);
        Ok(jid)
    }

    /// Everything has been checked: sets the values.
    fn apply_settings(&mut self, jid: i32, settings: &Settings) {
        self.unindex_addresses(jid);
        let Some(jail) = self.jails.all.get_mut(&jid) else {
            return;
        };
        for (name, value) in &settings.0 {
            jail.apply(name, value);
        }
        let empty = !jail.persist && jail.processes.is_empty();
        self.index_addresses(jid);
        if empty && flag(settings, "attach") != Some(true) {
            self.jail_remove(jid);
        }
    }

    fn index_addresses(&mut self, jid: i32) {
        let Some(jail) = self.jails.all.get(&jid) else {
            return;
        };
        for address in jail.ip4.list() {
            self.jails.inet.entry(*address).or_default().insert(jid);
        }
        for address in jail.ip6.list() {
            self.jails.inet6.entry(*address).or_default().insert(jid);
        }
    }

    pub(super) fn unindex_addresses(&mut self, jid: i32) {
        let Some(jail) = self.jails.all.get(&jid) else {
            return;
        };
        forget(&mut self.jails.inet, jail.ip4.list(), jid);
        forget(&mut self.jails.inet6, jail.ip6.list(), jid);
    }
}
