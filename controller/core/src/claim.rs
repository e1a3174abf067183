//! Claims: who holds an address, a slice of a subnet, a MAC number, a host port, a jail name, a NIC, a range of user ids or a routing table. Each is one key that is created only if absent,
//! in the transaction of the object it is for, so that no crash and no second controller can give it away twice.
//!
//! Only the values and their text forms live here; choosing them is `allocate`'s part.

use std::net::IpAddr;

use cellblock_schemas::jail::UserIds;
use cellblock_schemas::net::{Mac, PortRange, Protocol};
use cellblock_schemas::{Generation, Uid};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A part of shared ports: one jail's, and on which terms. Those of other jails on the same terms are not in its way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    /// The pool's name.
    pub pool: String,
    /// The port inside.
    pub to: Option<u16>,
    /// Whether a client stays with its jail.
    pub sticky: bool,
    /// Whose part it is.
    pub jail: Uid,
}

impl Share {
    /// Behind all others: no pool has such a name.
    pub(crate) fn last() -> Self {
        Self {
            pool: "~".to_owned(),
            to: None,
            sticky: false,
            jail: Uid(String::new()),
        }
    }

    /// Whether two parts are of one pool and on the same terms.
    #[must_use]
    pub fn goes_with(&self, other: &Self) -> bool {
        self.pool == other.pool && self.to == other.to && self.sticky == other.sticky
    }

    /// Its part of a key: `web,8443,sticky,UID`.
    fn value(&self) -> String {
        let to = self.to.map(|to| to.to_string()).unwrap_or_default();
        let sticky = if self.sticky { "sticky" } else { "" };
        format!("{},{to},{sticky},{}", self.pool, self.jail)
    }

    fn parse(value: &str) -> Option<Self> {
        let mut parts = value.splitn(4, ',');
        Some(Self {
            pool: parts.next()?.to_owned(),
            to: match parts.next()? {
                "" => None,
                to => Some(to.parse().ok()?),
            },
            sticky: parts.next()? == "sticky",
            jail: Uid(parts.next()?.to_owned()),
        })
    }
}

/// Something of which there is only one. The order groups what is searched together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// An address of a network, unique in its scope.
    Address {
        /// The Network's name.
        network: String,
        /// The Host's name where the network's scope is the host; none: the fleet.
        host: Option<String>,
        /// The address.
        address: IpAddr,
    },
    /// The lower four octets that the MAC addresses of one link share (`02:cb:…` or a given one, `06:cb:…`, `0a:cb:…`).
    MacNumber(u32),
    /// Ports of one of a host's public addresses.
    Port {
        /// The Host's name.
        host: String,
        /// The public address.
        address: IpAddr,
        /// The protocol.
        protocol: Protocol,
        /// The ports.
        ports: PortRange,
        /// With whom they may be shared; none: with nobody.
        share: Option<Share>,
    },
    /// A whole public address of a host (1:1 NAT of all ports).
    PublicAddress {
        /// The Host's name.
        host: String,
        /// The address.
        address: IpAddr,
    },
    /// A name in a host's jls(8).
    JailName {
        /// The Host's name.
        host: String,
        /// The name.
        name: String,
    },
    /// A NIC of a host that a jail has for itself.
    Nic {
        /// The Host's name.
        host: String,
        /// The NIC's name on the host.
        interface: String,
    },
    /// A directory of a host as the root of a jail: two jails would write each other's files.
    Root {
        /// The Host's name.
        host: String,
        /// The directory, absolute and in its shortest form.
        path: String,
    },
    /// A part of a network's subnets whose addresses are those of one host's jails.
    Slice {
        /// The Network's name.
        network: String,
        /// The prefix.
        net: IpNet,
    },
    /// The user ids of a jail: [`UserIds::COUNT_MAX`] of them, by the first. All such ranges have one length and begin at multiples of it, so that two are the same or do not overlap.
    UserIds(u32),
    /// A routing table that is one network's own.
    Fib(u16),
}

impl Resource {
    /// The claim behind the MAC address of a jail's end of a link, be it ours or given by an operator: the host's end has the same lower
    /// four octets, so these are what nobody else may have.
    #[must_use]
    pub fn of_mac(mac: Mac) -> Self {
        let [_, _, a, b, c, d] = mac.0;
        Self::MacNumber(u32::from_be_bytes([a, b, c, d]))
    }

    /// The key's part that says among what the value is unique.
    #[must_use]
    pub fn scope(&self) -> String {
        match self {
            Self::Address {
                network,
                host: None,
                ..
            } => format!("net/{network}"),
            Self::Address {
                network,
                host: Some(host),
                ..
            } => format!("net/{network}/{host}"),
            Self::MacNumber(_) => "mac".to_owned(),
            Self::Port { host, .. } => format!("port/{host}"),
            Self::PublicAddress { host, .. } => format!("public/{host}"),
            Self::JailName { host, .. } => format!("name/{host}"),
            Self::Root { host, .. } => format!("root/{host}"),
            Self::Nic { host, .. } => format!("nic/{host}"),
            Self::Slice { network, .. } => format!("slice/{network}"),
            Self::UserIds(_) => "user-ids".to_owned(),
            Self::Fib(_) => "fib".to_owned(),
        }
    }

    /// The key's last part; never holds a slash.
    #[must_use]
    pub fn value(&self) -> String {
        match self {
            Self::Address { address, .. } | Self::PublicAddress { address, .. } => {
                address.to_string()
            }
            Self::MacNumber(number) => format!("{number:08x}"),
            Self::Port {
                address,
                protocol,
                ports,
                share,
                ..
            } => {
                let share = share.as_ref().map(|share| format!(",{}", share.value()));
                let share = share.unwrap_or_default();
                format!("{address},{},{ports}{share}", protocol.as_str())
            }
            Self::JailName { name, .. } => name.clone(),
            Self::Nic { interface, .. } => interface.clone(),
            Self::Root { path, .. } => path.replace('%', "%25").replace('/', "%2F"),
            Self::Slice { net, .. } => net.to_string().replace('/', ","),
            Self::UserIds(first) => first.to_string(),
            Self::Fib(number) => number.to_string(),
        }
    }

    /// The inverse of [`Self::scope`] and [`Self::value`].
    #[must_use]
    pub fn parse(scope: &str, value: &str) -> Option<Self> {
        let mut parts = scope.splitn(3, '/');
        let family = parts.next()?;
        let (first, second) = (parts.next(), parts.next().map(str::to_owned));
        match (family, first) {
            ("net", Some(network)) => Some(Self::Address {
                network: network.to_owned(),
                host: second,
                address: value.parse().ok()?,
            }),
            ("mac", None) => u32::from_str_radix(value, 16).ok().map(Self::MacNumber),
            ("user-ids", None) => value.parse().ok().map(Self::UserIds),
            ("fib", None) => value.parse().ok().map(Self::Fib),
            ("port", Some(host)) => {
                let mut parts = value.splitn(4, ',');
                Some(Self::Port {
                    host: host.to_owned(),
                    address: parts.next()?.parse().ok()?,
                    protocol: match parts.next()? {
                        "tcp" => Protocol::Tcp,
                        "udp" => Protocol::Udp,
                        _ => return None,
                    },
                    ports: parts.next()?.parse().ok()?,
                    share: match parts.next() {
                        Some(share) => Some(Share::parse(share)?),
                        None => None,
                    },
                })
            }
            ("public", Some(host)) => Some(Self::PublicAddress {
                host: host.to_owned(),
                address: value.parse().ok()?,
            }),
            ("root", Some(host)) => Some(Self::Root {
                host: host.to_owned(),
                path: value.replace("%2F", "/").replace("%25", "%"),
            }),
            ("nic", Some(host)) => Some(Self::Nic {
                host: host.to_owned(),
                interface: value.to_owned(),
            }),
            ("slice", Some(network)) => Some(Self::Slice {
                network: network.to_owned(),
                net: value.replace(',', "/").parse().ok()?,
            }),
            ("name", Some(host)) => Some(Self::JailName {
                host: host.to_owned(),
                name: value.to_owned(),
            }),
            _ => None,
        }
    }
}

impl std::fmt::Display for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address {
                network, address, ..
            } => write!(f, "address {address} of network {network}"),
            Self::MacNumber(number) => {
                let [a, b, c, d] = number.to_be_bytes();
                write!(f, "MAC number {a:02x}:{b:02x}:{c:02x}:{d:02x}")
            }
            Self::Port {
                address,
                protocol,
                ports,
                ..
            } => write!(f, "{} port {ports} of {address}", protocol.as_str()),
            Self::PublicAddress { address, .. } => write!(f, "public address {address}"),
            Self::JailName { name, .. } => write!(f, "jail name {name}"),
            Self::Root { path, .. } => write!(f, "root {path}"),
            Self::Nic { host, interface } => write!(f, "NIC {interface} of host {host}"),
            Self::Slice { network, net } => write!(f, "slice {net} of network {network}"),
            Self::UserIds(first) => {
                write!(f, "user ids {first}-{}", first + (UserIds::COUNT_MAX - 1))
            }
            Self::Fib(number) => write!(f, "routing table {number}"),
        }
    }
}

/// Who holds a resource, as it stands in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// The holder.
    pub owner: Owner,
    /// Set when the object no longer wants the resource but its host may still use it: the generation of the spec that
    /// gave it up. The claim goes when the host has reported that generation as realised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired: Option<Generation>,
}

/// Who holds a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Owner {
    /// A jail.
    Jail {
        /// Its name.
        name: String,
        /// Its uid.
        uid: Uid,
    },
    /// The bridge of a network on one host.
    Bridge {
        /// The Network's name.
        network: String,
        /// The Network's uid.
        uid: Uid,
        /// The Host's name.
        host: String,
    },
    /// A network, wherever it is.
    Network {
        /// Its name.
        network: String,
        /// Its uid.
        uid: Uid,
    },
    /// The jails of a network on one host.
    Slice {
        /// The Network's name.
        network: String,
        /// The Network's uid.
        uid: Uid,
        /// The Host's name.
        host: String,
    },
}

impl Owner {
    /// The uid of the owning object.
    #[must_use]
    pub fn uid(&self) -> &Uid {
        match self {
            Self::Jail { uid, .. }
            | Self::Bridge { uid, .. }
            | Self::Network { uid, .. }
            | Self::Slice { uid, .. } => uid,
        }
    }
}

impl Owner {
    /// The host that a slice is for.
    #[must_use]
    pub fn slice_host(&self) -> Option<&str> {
        match self {
            Self::Slice { host, .. } => Some(host),
            Self::Jail { .. } | Self::Bridge { .. } | Self::Network { .. } => None,
        }
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Jail { name, .. } => write!(f, "jail {name}"),
            Self::Network { network, .. } => write!(f, "network {network}"),
            Self::Bridge { network, host, .. } => {
                write!(f, "the bridge of network {network} on {host}")
            }
            Self::Slice { network, host, .. } => {
                write!(f, "the jails of network {network} on {host}")
            }
        }
    }
}

impl Claim {
    /// A claim in force.
    #[must_use]
    pub fn held_by(owner: Owner) -> Self {
        Self {
            owner,
            retired: None,
        }
    }

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a claim has string keys only")
    }
}
