//! What pf must know of the stack it lives in: interfaces, groups, addresses, files, users, time.
//!
//! The rest of the emulator implements [`NetFacts`] over its kernel model; nothing here changes that model.

use std::net::IpAddr;
use std::time::Duration;

/// The FreeBSD whose pfctl and kernel are imitated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Release {
    /// 14.x, after its source; never recorded.
    V14,
    /// 15.1, as recorded.
    V15,
}

/// One address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The address, without its scope.
    pub address: IpAddr,
    /// Its prefix length in bits.
    pub prefix: u8,
    /// The broadcast address, IPv4 only.
    pub broadcast: Option<IpAddr>,
    /// The other end of a point-to-point interface.
    pub peer: Option<IpAddr>,
}

/// One interface as ifconfig(8) would show it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interface {
    /// Its name, at most 15 characters.
    pub name: String,
    /// Its index; scopes of link-local addresses refer to it.
    pub index: u32,
    /// The groups it is a member of, without `all`.
    pub groups: Vec<String>,
    /// `IFF_LOOPBACK`.
    pub loopback: bool,
    /// `IFF_BROADCAST`.
    pub broadcast: bool,
    /// `IFF_POINTOPOINT`.
    pub point_to_point: bool,
    /// Its addresses in the order the kernel keeps them.
    pub addresses: Vec<InterfaceAddress>,
}

/// The stack that a [`Pf`](super::Pf) belongs to, as it is now.
///
/// # Guarantees
/// Implementations answer from one moment: two calls during one command see the same stack.
pub trait NetFacts {
    /// The release whose behaviour is wanted.
    fn release(&self) -> Release;
    /// Whether pf.ko is loaded.
    fn pf_loaded(&self) -> bool;
    /// Virtual time since boot.
    fn now(&self) -> Duration;
    /// Seconds of the Unix epoch at boot, for the dates that pfctl prints.
    fn boot_epoch_s(&self) -> i64 {
        0
    }
    /// `net.fibs`.
    fn fibs(&self) -> u32 {
        1
    }
    /// Names of all interfaces, in the order of their indices.
    fn interface_names(&self) -> Vec<String>;
    /// One interface.
    fn interface(&self, name: &str) -> Option<Interface>;
    /// Members of an interface group; empty if there is no such group.
    fn group_members(&self, group: &str) -> Vec<String>;
    /// The text of a file, for `-f`, `include`, `table … file` and `load anchor`.
    fn read_file(&self, path: &str) -> Option<String>;
    /// The uid of a user name.
    fn user_id(&self, name: &str) -> Option<u32>;
    /// The gid of a group name.
    fn group_id(&self, name: &str) -> Option<u32>;
    /// Whether the grammar of this release's pfctl has no place for what stands in a line.
    fn lacks(&self, _line: &str) -> bool {
        false
    }
    /// Addresses of a host name; an emulated host has no resolver unless it is given one.
    fn resolve(&self, _name: &str) -> Vec<IpAddr> {
        Vec::new()
    }
}

/// The stack with no interfaces at all, for parsing text that names none.
#[derive(Debug, Clone, Copy)]
pub struct NoFacts(
    /// The release to imitate.
    pub Release,
);

impl NetFacts for NoFacts {
    fn release(&self) -> Release {
        self.0
    }
    fn pf_loaded(&self) -> bool {
        true
    }
    fn now(&self) -> Duration {
        Duration::ZERO
    }
    fn interface_names(&self) -> Vec<String> {
        Vec::new()
    }
    fn interface(&self, _name: &str) -> Option<Interface> {
        None
    }
    fn group_members(&self, _group: &str) -> Vec<String> {
        Vec::new()
    }
    fn read_file(&self, _path: &str) -> Option<String> {
        None
    }
    fn user_id(&self, _name: &str) -> Option<u32> {
        None
    }
    fn group_id(&self, _name: &str) -> Option<u32> {
        None
    }
}
