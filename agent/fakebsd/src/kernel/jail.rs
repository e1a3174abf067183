//! Jails as the kernel keeps them: jail_set(2), jail_remove(2), dying, names and jids (sys/kern/kern_jail.c).
//!
//! Parameters arrive as libjail would hand them over, already known and typed ([`Settings`]); the text forms are `cmd::jailparam`'s.

mod apply;
mod set;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::Kernel;
use super::errno::Errno;
use super::timer::Timer;
use super::units::Units;
use super::vnet::VnetId;

/// What a jail may have of an IP family: the stack's, or a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Addresses<A> {
    Inherit,
    Restricted(Vec<A>),
}

impl<A> Addresses<A> {
    pub(crate) fn list(&self) -> &[A] {
        match self {
            Self::Inherit => &[],
            Self::Restricted(list) => list,
        }
    }
}

/// The values of a jailsys parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JailSys {
    Disable,
    New,
    Inherit,
}

impl JailSys {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::New => "new",
            Self::Inherit => "inherit",
        }
    }
}

/// The `allow.*` flags a new jail has (JAIL_DEFAULT_ALLOW).
pub(crate) const DEFAULT_ALLOW: &[&str] = &[
    "allow.reserved_ports",
    "allow.set_hostname",
    "allow.suser",
    "allow.unprivileged_proc_debug",
];

/// A parameter's typed value as jail_set(2) takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Flag(bool),
    Number(i64),
    Text(String),
    Sys(JailSys),
    Inet(Vec<Ipv4Addr>),
    Inet6(Vec<Ipv6Addr>),
}

/// The parameters of one jail_set(2) call, in order; a later one replaces an earlier in its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings(pub(crate) Vec<(String, Value)>);

impl Settings {
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0
            .iter()
            .find(|(at, _)| at == name)
            .map(|(_, value)| value)
    }

    fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(crate) fn set(&mut self, name: &str, value: Value) {
        match self.0.iter_mut().find(|(at, _)| at == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }
}

/// Why jail_set(2) failed: a sentence of its own, or an errno.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JailError {
    Message(String),
    Errno(Errno),
}

impl From<Errno> for JailError {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

/// One jail.
#[derive(Clone, Debug)]
pub(crate) struct Jail {
    pub(crate) jid: i32,
    /// Full name with the parents' names before dots.
    pub(crate) name: String,
    pub(crate) parent: i32,
    pub(crate) path: String,
    pub(crate) persist: bool,
    pub(crate) dying: bool,
    /// The stack its processes use; its own if `owns_stack`.
    pub(crate) stack: VnetId,
    pub(crate) owns_stack: bool,
    pub(crate) hostname: String,
    pub(crate) domainname: String,
    pub(crate) hostuuid: String,
    pub(crate) hostid: i64,
    pub(crate) host: JailSys,
    pub(crate) securelevel: i64,
    pub(crate) devfs_ruleset: i64,
    pub(crate) enforce_statfs: i64,
    pub(crate) osrelease: String,
    pub(crate) osreldate: i64,
    pub(crate) ip4: Addresses<Ipv4Addr>,
    pub(crate) ip6: Addresses<Ipv6Addr>,
    pub(crate) ip4_saddrsel: bool,
    pub(crate) ip6_saddrsel: bool,
    pub(crate) allow: BTreeSet<String>,
    /// sysvmsg, sysvsem, sysvshm, and zfs or linux when their modules are loaded.
    pub(crate) subsystems: BTreeMap<String, JailSys>,
    pub(crate) children_max: i64,
    pub(crate) children: BTreeSet<i32>,
    pub(crate) cpuset: u32,
    pub(crate) meta: String,
    pub(crate) env: String,
    pub(crate) processes: BTreeSet<u32>,
    /// The routing table of the processes that `exec.start` left, as `exec.fib` says.
    pub(crate) fib: u32,
}

/// All jails with the ways to find them. The host itself is not among them; its jid is 0.
#[derive(Clone, Debug)]
pub(crate) struct JailTable {
    pub(crate) all: BTreeMap<i32, Jail>,
    pub(crate) by_name: BTreeMap<String, i32>,
    /// Single addresses and who has them, to check clashes without walking all jails.
    inet: BTreeMap<Ipv4Addr, BTreeSet<i32>>,
    inet6: BTreeMap<Ipv6Addr, BTreeSet<i32>>,
    last_jid: i32,
    cpusets: Units,
    /// How many jails have their root at a path.
    roots: BTreeMap<String, u32>,
}

/// JAIL_MAX of sys/sys/jail.h.
const JID_MAX: i32 = 999_999;

/// How long the destruction of a stack without connections takes; it runs in a task of its own after jail_remove(2) returned.
const STACK_DESTRUCTION_TIME: Duration = Duration::from_millis(100);

impl Default for JailTable {
    fn default() -> Self {
        Self {
            all: BTreeMap::new(),
            by_name: BTreeMap::new(),
            inet: BTreeMap::new(),
            inet6: BTreeMap::new(),
            last_jid: 0,
            // 0 to 2 belong to the host (recording `02`).
            cpusets: Units::starting_at(3),
            roots: BTreeMap::new(),
        }
    }
}

impl JailTable {
    fn next_jid(&mut self) -> i32 {
        let mut jid = self.last_jid % JID_MAX + 1;
        while self.all.contains_key(&jid) {
            jid = jid % JID_MAX + 1;
        }
        self.last_jid = jid;
        jid
    }

    fn take_cpuset(&mut self) -> u32 {
        let cpuset = self.cpusets.lowest_free(|_| true);
        self.cpusets.take(cpuset);
        cpuset
    }

    /// Whether a jail, living or dying, has its root at or below `node`.
    pub(crate) fn roots_below(&self, node: &str) -> bool {
        let below = format!("{}/", node.trim_end_matches('/'));
        let next = self.roots.range(below.clone()..).next();
        self.roots.contains_key(node) || next.is_some_and(|(path, _)| path.starts_with(&below))
    }

    fn add_root(&mut self, path: &str) {
        *self.roots.entry(path.to_owned()).or_default() += 1;
    }

    fn drop_root(&mut self, path: &str) {
        if let Some(count) = self.roots.get_mut(path) {
            *count -= 1;
            if *count == 0 {
                self.roots.remove(path);
            }
        }
    }
}

impl Kernel {
    pub(crate) fn jail(&self, jid: i32) -> Option<&Jail> {
        self.jails.all.get(&jid)
    }

    /// A living jail by jid or by full name as seen from `viewer`.
    pub(crate) fn find_jail(&self, viewer: i32, which: &str) -> Option<&Jail> {
        let jail = match which.parse::<i32>() {
            Ok(jid) if jid > 0 => self.jail(jid),
            Ok(_) | Err(_) => self
                .jails
                .by_name
                .get(&self.full_name(viewer, which))
                .and_then(|jid| self.jail(*jid)),
        };
        jail.filter(|jail| !jail.dying && self.is_descendant(jail.jid, viewer))
    }

    /// What the kernel says where [`Self::find_jail`] finds nothing: a dying jail is not one that was never there (kern_jail_get, sys/kern/kern_jail.c).
    pub(crate) fn no_jail(&self, viewer: i32, which: &str) -> String {
        let jid = which.parse::<i32>().ok().filter(|jid| *jid > 0);
        let full_name = self.full_name(viewer, which);
        let dying = self.jails.all.values().any(|jail| {
            jail.dying
                && self.is_descendant(jail.jid, viewer)
                && jid.map_or(jail.name == full_name, |jid| jail.jid == jid)
        });
        let word = jid.map_or_else(|| format!("\"{which}\""), |jid| jid.to_string());
        let what = if dying { "is dying" } else { "not found" };
        format!("jail {word} {what}")
    }

    pub(crate) fn full_name(&self, viewer: i32, name: &str) -> String {
        match self.jail(viewer) {
            Some(jail) => format!("{}.{name}", jail.name),
            None => name.to_owned(),
        }
    }

    pub(crate) fn is_descendant(&self, jid: i32, of: i32) -> bool {
        let mut at = jid;
        while let Some(jail) = self.jail(at) {
            if jail.parent == of {
                return true;
            }
            at = jail.parent;
        }
        false
    }

    /// jail_remove(2): the jail and its children die; their name is free at once.
    pub(crate) fn jail_remove(&mut self, jid: i32) {
        let Some(jail) = self.jails.all.get_mut(&jid).filter(|jail| !jail.dying) else {
            return;
        };
        jail.dying = true;
        jail.persist = false;
        let children: Vec<i32> = jail.children.iter().copied().collect();
        let processes: Vec<u32> = std::mem::take(&mut jail.processes).into_iter().collect();
        let (name, owns_stack, stack) = (jail.name.clone(), jail.owns_stack, jail.stack);
        for child in children {
            self.jail_remove(child);
        }
        self.unindex_addresses(jid);
        if self.jails.by_name.get(&name) == Some(&jid) {
            self.jails.by_name.remove(&name);
        }
        for pid in processes {
            self.processes.remove(&pid);
        }
        if !owns_stack {
            self.jail_gone(jid);
            return;
        }
        let wait = self.connections_linger(stack).max(STACK_DESTRUCTION_TIME);
        self.schedule(wait, Timer::JailGone { jid });
    }

    /// The last reference to a dying jail is gone.
    pub(crate) fn jail_gone(&mut self, jid: i32) {
        let Some(jail) = self.jails.all.get(&jid) else {
            return;
        };
        if !jail.dying || !jail.children.is_empty() {
            return;
        }
        let (stack, owns_stack, parent, cpuset) =
            (jail.stack, jail.owns_stack, jail.parent, jail.cpuset);
        if owns_stack && self.vnets.contains_key(&stack) {
            self.destroy_vnet(stack);
        }
        if let Some(jail) = self.jails.all.remove(&jid) {
            self.jails.drop_root(&jail.path);
        }
        self.jails.cpusets.release(cpuset);
        if let Some(parent_jail) = self.jails.all.get_mut(&parent) {
            parent_jail.children.remove(&jid);
            if parent_jail.dying && parent_jail.children.is_empty() && !parent_jail.owns_stack {
                self.jail_gone(parent);
            }
        }
    }
}
