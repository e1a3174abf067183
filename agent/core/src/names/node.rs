//! Names of netgraph nodes and hooks.

use cellblock_schemas::ids::{ClusterUid, Uid};

use super::{HASH_CHARS, hash};

/// The hook of ng_ether(4) that frames from the wire come out of, and that frames for the wire go into.
pub const LOWER: &str = "lower";

/// The hook of ng_ether(4) for frames of the host's own stack.
pub const UPPER: &str = "upper";

/// The hook of ng_eiface(4).
pub const ETHER: &str = "ether";

/// A switch's hook for its uplink's `lower`.
pub const LOWER_LINK: &str = "link0";

/// A switch's hook for its uplink's `upper`.
pub const UPPER_LINK: &str = "link1";

/// A netgraph node of ours, as its name says. Nodes have no description, so the name is the mark.
///
/// It is longer than any interface's name (15 characters), and ng_ether(4) names its nodes after interfaces (`ng_ether_attach`, sys/netgraph/ng_ether.c): no jail's root can
/// bring a node of such a name to the host. A node's name has at most 31 characters (`NG_NODESIZ`, sys/netgraph/ng_message.h) and neither `.` nor `:`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// The ng_bridge(4) of a network, by the hash of its uid.
    Switch(String),
    /// The ng_eiface(4) that is the host's own interface at the switch of a network, by the hash of its uid.
    Port(String),
    /// The ng_eiface(4) of a jail, by the hash of its uid and that of the attachment's interface.
    Link(String, String),
}

/// How many characters of hashes stand in a node's name for the cluster and for an attachment's interface: what is left of 31. Both only tell apart what one host has.
const CLUSTER_CHARS: usize = 8;
const INTERFACE_CHARS: usize = 5;

impl Node {
    /// The switch of a network.
    #[must_use]
    pub fn switch(network: &Uid) -> Self {
        Self::Switch(hash(&[network.as_str()]))
    }

    /// The host's own interface at the switch of a network.
    #[must_use]
    pub fn port(network: &Uid) -> Self {
        Self::Port(hash(&[network.as_str()]))
    }

    /// The interface of a jail.
    #[must_use]
    pub fn link(jail: &Uid, interface: &str) -> Self {
        let mut interface = hash(&[interface]);
        interface.truncate(INTERFACE_CHARS);
        Self::Link(hash(&[jail.as_str()]), interface)
    }

    /// The node's name.
    #[must_use]
    pub fn name(&self, cluster: &ClusterUid) -> String {
        let cluster = cluster_hash(cluster);
        match self {
            Self::Switch(network) => format!("cbsw_{cluster}_{network}"),
            Self::Port(network) => format!("cbhp_{cluster}_{network}"),
            Self::Link(jail, interface) => format!("cbif_{cluster}_{jail}_{interface}"),
        }
    }

    /// Reads a node's name; none if it is not one that this cluster gives.
    #[must_use]
    pub fn parse(name: &str, cluster: &ClusterUid) -> Option<Self> {
        let (role, rest) = name.split_once('_')?;
        let (of, rest) = rest.split_once('_')?;
        if of != cluster_hash(cluster) {
            return None;
        }
        let is_hash = |text: &str, length: usize| {
            let plain = |byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7');
            text.len() == length && text.bytes().all(plain)
        };
        match (role, rest.split_once('_')) {
            ("cbsw", None) if is_hash(rest, HASH_CHARS) => Some(Self::Switch(rest.to_owned())),
            ("cbhp", None) if is_hash(rest, HASH_CHARS) => Some(Self::Port(rest.to_owned())),
            ("cbif", Some((jail, interface)))
                if is_hash(jail, HASH_CHARS) && is_hash(interface, INTERFACE_CHARS) =>
            {
                Some(Self::Link(jail.to_owned(), interface.to_owned()))
            }
            _ => None,
        }
    }

    /// Whether the node is a jail's.
    #[must_use]
    pub fn is_of_jail(&self, uid: &Uid) -> bool {
        matches!(self, Self::Link(jail, _) if *jail == hash(&[uid.as_str()]))
    }

    /// What stands of a jail or a network in the names of its nodes.
    #[must_use]
    pub fn hash_of(uid: &Uid) -> String {
        hash(&[uid.as_str()])
    }
}

/// The name of the ng_ether(4) node of an interface (`ng_ether_sanitize_ifname`, sys/netgraph/ng_ether.c).
#[must_use]
pub fn ether_node(interface: &str) -> String {
    interface.replace(['.', ':'], "_")
}

fn cluster_hash(cluster: &ClusterUid) -> String {
    let mut text = hash(&[cluster.as_str()]);
    text.truncate(CLUSTER_CHARS);
    text
}
