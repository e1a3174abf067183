//! Names of kernel objects: pure functions of uids, short enough for IFNAMSIZ, without dots, never derived from an operator's name.
//!
//! An interface name has at most 15 characters (`IFNAMSIZ` is 16 with its NUL, sys/net/if.h). 50 bits of a hash in base32 are ten of them.

mod node;

use cellblock_schemas::ids::Uid;
use sha2::{Digest, Sha256};

/// How many base32 characters of the hash stand in a name: 50 bits, so that two among 10,000 on one host meet with a chance of 1 in 20 million; `plan` blocks the second if they do.
const HASH_CHARS: usize = 10;

pub use node::{ETHER, LOWER, LOWER_LINK, Node, UPPER, UPPER_LINK, ether_node};

/// The host end of a jail's epair(4).
#[must_use]
pub fn epair_host_end(jail: &Uid, interface: &str) -> String {
    format!("cb{}a", hash(&[jail.as_str(), interface]))
}

/// The jail's end of an epair(4) before it is renamed inside the jail.
#[must_use]
pub fn epair_jail_end(jail: &Uid, interface: &str) -> String {
    format!("cb{}b", hash(&[jail.as_str(), interface]))
}

/// Both ends of an epair(4): the host's, and the jail's before it is renamed.
#[must_use]
pub fn epair_ends(jail: &Uid, interface: &str) -> (String, String) {
    let hash = hash(&[jail.as_str(), interface]);
    (format!("cb{hash}a"), format!("cb{hash}b"))
}

/// The if_bridge(4) of a network.
#[must_use]
pub fn bridge(network: &Uid) -> String {
    format!("cb{}br", hash(&[network.as_str()]))
}

/// The cloned lo(4) of a network.
#[must_use]
pub fn loopback(network: &Uid) -> String {
    format!("cb{}lo", hash(&[network.as_str()]))
}

/// Whether an interface has the name of a cloned lo(4) of some network.
#[must_use]
pub fn is_loopback(name: &str) -> bool {
    let hash = name
        .strip_prefix("cb")
        .and_then(|rest| rest.strip_suffix("lo"));
    hash.is_some_and(|hash| hash.len() == HASH_CHARS)
}

/// The lagg(4) of an uplink of a Host.
#[must_use]
pub fn lagg(host: &Uid, uplink: &str) -> String {
    format!("cb{}lg", hash(&[host.as_str(), uplink]))
}

/// The vlan(4) of an uplink of a Host.
#[must_use]
pub fn vlan(host: &Uid, uplink: &str) -> String {
    format!("cb{}vl", hash(&[host.as_str(), uplink]))
}

/// The host's own interface at the netgraph switch of a network, which carries its gateways.
#[must_use]
pub fn switch_port(network: &Uid) -> String {
    format!("cb{}sw", hash(&[network.as_str()]))
}

/// A jail's ng_eiface(4) before it is renamed inside the jail.
#[must_use]
pub fn eiface(jail: &Uid, interface: &str) -> String {
    format!("cb{}n", hash(&[jail.as_str(), interface]))
}

/// What a NIC that comes back from a jail is called where its own name is taken.
#[must_use]
pub fn returned_nic(nic: &str) -> String {
    format!("cb{}p", hash(&[nic]))
}

/// The prefix that every pf anchor of ours lives under.
pub const ANCHOR_ROOT: &str = "cellblock";

/// How many anchors per-jail rules are spread over: few enough for any limit on anchors, many enough that one jail's change reloads few others' rules.
pub const ANCHOR_BUCKETS: u8 = 64;

/// The pf anchor of what the Host itself declares. pf looks into anchors in the order of their names, and what only drops comes before what lets through: this one and those of isolation and of what
/// jails may not send before those of jails.
pub const HOST_ANCHOR: &str = "cellblock/host";

/// The pf anchor of a network.
#[must_use]
pub fn network_anchor(network: &Uid) -> String {
    format!("{ANCHOR_ROOT}/n{}", hash(&[network.as_str()]))
}

/// The pf anchor of the isolation of a network.
#[must_use]
pub fn isolation_anchor(network: &Uid) -> String {
    format!("{ANCHOR_ROOT}/hn{}", hash(&[network.as_str()]))
}

/// The pf anchor that a jail's own rules stand in.
#[must_use]
pub fn jail_anchor(jail: &Uid) -> String {
    format!("{ANCHOR_ROOT}/j{:02}", bucket(jail))
}

/// The pf anchor that the ports of a pool stand in.
#[must_use]
pub fn pool_anchor(pool: &str) -> String {
    jail_anchor(&Uid(format!("pool {pool}")))
}

/// The pf anchor of what a jail may not send.
#[must_use]
pub fn egress_anchor(jail: &Uid) -> String {
    format!("{ANCHOR_ROOT}/i{:02}", bucket(jail))
}

/// The pf anchor of a jail's firewall in the pf of its own stack.
pub const ANCHOR_INSIDE: &str = "cellblock/firewall";

fn bucket(jail: &Uid) -> u8 {
    Sha256::digest(jail.as_str().as_bytes())[0] % ANCHOR_BUCKETS
}

/// What tells one folder of images and roots from others of the same host: where and in which boot it was made.
#[must_use]
pub fn storage(path: &str, boot: &str) -> String {
    hash(&["storage", path, boot])
}

fn hash(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.len().to_be_bytes());
        digest.update(part.as_bytes());
    }
    let mut text = data_encoding::BASE32_NOPAD
        .encode(&digest.finalize())
        .to_ascii_lowercase();
    text.truncate(HASH_CHARS);
    text
}
