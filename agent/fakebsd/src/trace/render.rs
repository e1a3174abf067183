//! Traces as text for a person.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use super::{Cause, Hop, Listener, Place, Through, Trace, Verdict};

/// `192.0.2.4:80`, `[fd00::1]:80`, or the address alone for port 0.
pub(super) fn end(address: IpAddr, port: u16) -> String {
    match (address, port) {
        (address, 0) => address.to_string(),
        (IpAddr::V4(address), port) => format!("{address}:{port}"),
        (IpAddr::V6(address), port) => format!("[{address}]:{port}"),
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Jail(name) => write!(f, "jail {name}"),
            Self::Outside(interface) => write!(f, "outside via {interface}"),
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.place, end(self.address, self.port))
    }
}

impl fmt::Display for Through {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nat => f.write_str("NAT"),
            Self::Redirect => f.write_str("redirect"),
            Self::Switch(name) => write!(f, "switch {name}"),
            Self::Loopback(name) => f.write_str(name),
            Self::Router(name) => write!(f, "routed by {name}"),
            Self::Wire(name) => write!(f, "wire {name}"),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchPlace => "no such place",
            Self::NoAddress => "no address",
            Self::NoRoute => "no route",
            Self::NotForwarded => "not forwarded",
            Self::NobodyThere => "nobody there",
            Self::Dropped => "dropped",
            Self::NobodyListens => "nobody listens",
            Self::WrongWayBack => "answer astray",
            Self::Loop => "loop",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reached { by, source } => write!(f, "reached {by}, which sees {source}"),
            Self::Blocked { by } => write!(f, "blocked by {by}"),
            Self::Lost { why, .. } => write!(f, "lost: {why}"),
        }
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

impl Trace {
    /// How the packet travelled, in a few words: `lo1`, `switch bridge0`, `NAT, lo0`, or why it did not.
    pub fn summary(&self) -> String {
        match &self.verdict {
            Verdict::Reached { .. } => {
                let mut seen = BTreeSet::new();
                let words = self.through.iter().filter(|one| seen.insert(*one));
                let words: Vec<String> = words.map(Through::to_string).collect();
                if words.is_empty() {
                    "direct link".to_owned()
                } else {
                    words.join(", ")
                }
            }
            Verdict::Blocked { .. } => "blocked".to_owned(),
            Verdict::Lost { cause, .. } => cause.to_string(),
        }
    }
}

/// One line per hop, then the verdict. The way back is told only if something went wrong on it.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let back: &[Hop] = if self.reached() { &[] } else { &self.back };
        let width = self
            .hops
            .iter()
            .chain(back)
            .map(|hop| hop.at.chars().count())
            .max()
            .unwrap_or(0);
        for (arrow, hops) in [("->", self.hops.as_slice()), ("<-", back)] {
            for hop in hops {
                writeln!(f, "{arrow} {:width$}  {}", hop.at, hop.what)?;
            }
        }
        writeln!(f, "=> {}", self.verdict)
    }
}
