//! Words of networking that several kinds share: addresses with and without prefix, ranges, ports, MAC addresses.
//!
//! All of them are strings in JSON, parsed and printed here and nowhere else.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An address family. IPv4 and IPv6 are peers everywhere.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// `inet`
    Ipv4,
    /// `inet6`
    Ipv6,
}

impl Family {
    /// The family of `address`.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }

    /// `inet` or `inet6`, as ifconfig(8), route(8) and pf.conf(5) say it.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Ipv4 => "inet",
            Self::Ipv6 => "inet6",
        }
    }

    /// The prefix length of a single address: 32 or 128.
    #[must_use]
    pub fn host_prefix_length(self) -> u8 {
        match self {
            Self::Ipv4 => 32,
            Self::Ipv6 => 128,
        }
    }
}

/// The address that the kernel gives to every loopback that comes up (recording `03`).
pub const LOOPBACK_LINK_LOCAL: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));

/// Whether an IPv6 address means something on its own link only.
#[must_use]
pub fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// A transport protocol that has ports.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP
    #[default]
    Tcp,
    /// UDP
    Udp,
}

impl Protocol {
    /// `tcp` or `udp`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// Why a word of networking could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not an address, or not a prefix.
    #[error("`{0}` is not an IPv4 or IPv6 address")]
    Address(String),
    /// The part behind the slash is no prefix length of that family.
    #[error("`{0}` has no valid prefix length")]
    Prefix(String),
    /// Not six octets.
    #[error("`{0}` is not a MAC address (six hexadecimal octets, as in 02:00:5e:10:00:07)")]
    Mac(String),
    /// Not a port number or range.
    #[error("`{0}` is not a port or a range of ports (1 to 65535, as in 443 or 8000-8099)")]
    Port(String),
    /// A range whose ends do not fit.
    #[error("`{0}` is not a range of addresses (first-last, one family, first not above last)")]
    Range(String),
}

/// An address, with a prefix length if one was written: `10.0.0.7` or `198.51.100.7/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostAddress {
    /// The address.
    pub address: IpAddr,
    /// The prefix length as written; none means that of the subnet it lies in.
    pub prefix_length: Option<u8>,
}

impl FromStr for HostAddress {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address
            .parse()
            .map_err(|_| ParseError::Address(text.to_owned()))?;
        let prefix_length = match prefix {
            None => None,
            Some(prefix) => Some(
                prefix
                    .parse::<u8>()
                    .ok()
                    .filter(|length| *length <= Family::of(address).host_prefix_length())
                    .ok_or_else(|| ParseError::Prefix(text.to_owned()))?,
            ),
        };
        Ok(Self {
            address,
            prefix_length,
        })
    }
}

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix_length {
            Some(length) => write!(f, "{}/{length}", self.address),
            None => self.address.fmt(f),
        }
    }
}

/// An inclusive range of addresses of one family: `192.0.2.3-192.0.2.14`, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    /// The first address.
    pub first: IpAddr,
    /// The last address, not below the first.
    pub last: IpAddr,
}

impl AddressRange {
    /// Whether `address` lies in the range.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.first <= address
            && address <= self.last
            && Family::of(self.first) == Family::of(address)
    }

    /// Whether the two ranges share an address.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        Family::of(self.first) == Family::of(other.first)
            && self.first <= other.last
            && other.first <= self.last
    }
}

impl FromStr for AddressRange {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let first: IpAddr = first
            .trim()
            .parse()
            .map_err(|_| ParseError::Address(text.to_owned()))?;
        let last: IpAddr = last
            .trim()
            .parse()
            .map_err(|_| ParseError::Address(text.to_owned()))?;
        if Family::of(first) != Family::of(last) || first > last {
            return Err(ParseError::Range(text.to_owned()));
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            self.first.fmt(f)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// A 48-bit Ethernet address, printed as FreeBSD prints it: `02:cb:00:00:00:01`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl FromStr for Mac {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::Mac(text.to_owned());
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts
                .next()
                .filter(|part| (1..=2).contains(&part.len()))
                .ok_or_else(error)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| error())?;
        }
        if parts.next().is_some() {
            Err(error())
        } else {
            Ok(Self(octets))
        }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A port or an inclusive range of ports. In JSON a number, or a string such as `8000-8099`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    /// The first port, at least 1.
    pub first: u16,
    /// The last port, not below the first.
    pub last: u16,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum PortText {
    Number(u16),
    Text(String),
}

impl PortRange {
    /// Whether the two ranges share a port.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// How many ports the range holds.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::from(self.last) - u32::from(self.first) + 1
    }
}

impl FromStr for PortRange {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::Port(text.to_owned());
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let first: u16 = first.trim().parse().map_err(|_| error())?;
        let last: u16 = last.trim().parse().map_err(|_| error())?;
        if first == 0 || first > last {
            Err(error())
        } else {
            Ok(Self { first, last })
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            self.first.fmt(f)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl Serialize for PortRange {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.first == self.last {
            serializer.serialize_u16(self.first)
        } else {
            serializer.collect_str(self)
        }
    }
}

impl<'de> Deserialize<'de> for PortRange {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match PortText::deserialize(deserializer)? {
            PortText::Number(number) => number.to_string().parse(),
            PortText::Text(text) => text.parse(),
        }
        .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for PortRange {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PortRange".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A port or an inclusive range of ports: a number, or text such as `8000-8099`.",
            "anyOf": [
                { "type": "integer", "minimum": 1, "maximum": u16::MAX },
                { "type": "string", "format": "port-range" },
            ],
            "x-kubernetes-int-or-string": true,
        })
    }
}

macro_rules! string_in_json {
    ($type:ty, $description:literal, $format:literal) => {
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "format": $format, "description": $description })
            }
        }
    };
}

string_in_json!(
    HostAddress,
    "An IPv4 or IPv6 address, with a prefix length or without.",
    "address"
);
string_in_json!(
    AddressRange,
    "An inclusive range of addresses, first-last, or one address.",
    "address-range"
);
string_in_json!(Mac, "Six hexadecimal octets separated by colons.", "mac");
string_in_json!(Cidr, "An IPv4 or IPv6 prefix, as in 192.0.2.0/28.", "cidr");

/// A prefix as written, host bits included, so that validation can name them. Use [`Cidr::net`] for the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr(pub IpNet);

impl Cidr {
    /// The network, host bits cleared.
    #[must_use]
    pub fn net(&self) -> IpNet {
        self.0.trunc()
    }

    /// Whether bits behind the prefix are set.
    #[must_use]
    pub fn has_host_bits(&self) -> bool {
        self.0.trunc() != self.0
    }

    /// The family of the prefix.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.0.addr())
    }
}

impl FromStr for Cidr {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.parse()
            .map(Self)
            .map_err(|_| ParseError::Prefix(text.to_owned()))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
