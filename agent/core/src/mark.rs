//! Ownership marks: what we write on a kernel object so that it is known to be ours, whatever became of the ledger.
//!
//! An interface carries `cellblock:<cluster>:<uid>:<role> <readable name>` as its description; it survives a move into a VNET jail and back (recording `02`).
//! A jail's root can forge the description of its own interfaces, so a mark read inside a jail, or on an interface that came back from one, never authorises a destructive act (recording `12`).

use cellblock_schemas::ids::{ClusterUid, Uid};

/// What a marked interface is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A network's bridge.
    Bridge,
    /// A network's cloned loopback.
    Loopback,
    /// The host's own interface at a network's netgraph switch.
    Port,
    /// The lagg of a Host's uplink, with the uplink's name.
    Lagg(String),
    /// The vlan of a Host's uplink, with the uplink's name.
    Vlan(String),
    /// The host end of a jail's epair, with the attachment's interface name.
    HostEnd(String),
    /// The jail's interface: its end of an epair, or its ng_eiface, with the attachment's interface name.
    JailEnd(String),
}

/// A parsed description.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// The cluster that the object belongs to.
    pub cluster: ClusterUid,
    /// The Network, Jail or Host that the object belongs to.
    pub uid: Uid,
    /// What it is for.
    pub role: Role,
}

/// A mark as it stands in a description, without a copy of it: a host of a thousand jails has four thousand, and each look reads all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written<'a> {
    cluster: &'a str,
    uid: &'a str,
    role: WrittenRole<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WrittenRole<'a> {
    Bridge,
    Loopback,
    Port,
    Lagg(&'a str),
    Vlan(&'a str),
    HostEnd(&'a str),
    JailEnd(&'a str),
}

impl<'a> Written<'a> {
    /// Reads a description; none if it is not one of our marks, whole and well formed.
    pub(crate) fn read(description: &'a str) -> Option<Self> {
        let mark = description.split(' ').next()?;
        let mut parts = mark.split(':');
        if parts.next()? != "cellblock" {
            return None;
        }
        let cluster = parts.next().filter(|part| !part.is_empty())?;
        let uid = parts.next().filter(|part| !part.is_empty())?;
        let role = match (parts.next()?, parts.next()) {
            ("bridge", None) => WrittenRole::Bridge,
            ("loopback", None) => WrittenRole::Loopback,
            ("port", None) => WrittenRole::Port,
            ("lagg", Some(uplink)) => WrittenRole::Lagg(uplink),
            ("vlan", Some(uplink)) => WrittenRole::Vlan(uplink),
            ("host", Some(interface)) => WrittenRole::HostEnd(interface),
            ("jail", Some(interface)) => WrittenRole::JailEnd(interface),
            _ => return None,
        };
        parts
            .next()
            .is_none()
            .then_some(Self { cluster, uid, role })
    }

    /// Whether it is a jail's end of an epair.
    pub(crate) fn is_jail_end(&self) -> bool {
        matches!(self.role, WrittenRole::JailEnd(_))
    }

    /// Whether it is of a network: a bridge or a loopback.
    pub(crate) fn is_switch(&self) -> bool {
        matches!(self.role, WrittenRole::Bridge | WrittenRole::Loopback)
    }

    fn to_mark(self) -> Mark {
        Mark {
            cluster: ClusterUid(self.cluster.to_owned()),
            uid: Uid(self.uid.to_owned()),
            role: match self.role {
                WrittenRole::Bridge => Role::Bridge,
                WrittenRole::Loopback => Role::Loopback,
                WrittenRole::Port => Role::Port,
                WrittenRole::Lagg(uplink) => Role::Lagg(uplink.to_owned()),
                WrittenRole::Vlan(uplink) => Role::Vlan(uplink.to_owned()),
                WrittenRole::HostEnd(interface) => Role::HostEnd(interface.to_owned()),
                WrittenRole::JailEnd(interface) => Role::JailEnd(interface.to_owned()),
            },
        }
    }
}

impl Mark {
    /// Reads a description; none if it is not one of our marks, whole and well formed.
    #[must_use]
    pub fn parse(description: &str) -> Option<Self> {
        Written::read(description).map(Written::to_mark)
    }

    /// The description, with a readable name behind the mark.
    #[must_use]
    pub fn description(&self, readable: &str) -> String {
        let (cluster, uid) = (&self.cluster, &self.uid);
        match &self.role {
            Role::Bridge => format!("cellblock:{cluster}:{uid}:bridge {readable}"),
            Role::Loopback => format!("cellblock:{cluster}:{uid}:loopback {readable}"),
            Role::Port => format!("cellblock:{cluster}:{uid}:port {readable}"),
            Role::Lagg(uplink) => format!("cellblock:{cluster}:{uid}:lagg:{uplink} {readable}"),
            Role::Vlan(uplink) => format!("cellblock:{cluster}:{uid}:vlan:{uplink} {readable}"),
            Role::HostEnd(interface) => {
                format!("cellblock:{cluster}:{uid}:host:{interface} {readable}")
            }
            Role::JailEnd(interface) => {
                format!("cellblock:{cluster}:{uid}:jail:{interface} {readable}")
            }
        }
    }
}
