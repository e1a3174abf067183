//! pf(4) and pfctl(8) of one network stack: the pf.conf language, the kernel's rulesets, tables and states, and the
//! evaluation of a packet.
//!
//! ```text
//! argv, stdin ─► pfctl ─► parse ─► rules ─► optimize ─► kernel (anchors, tables, options) ─► print ─► stdout, stderr
//!                                                          ▲
//!                                packet ─► filter ─────────┘ (states, counters)
//! ```
//!
//! Deliberately not here: interfaces, addresses, routes and files. They are read through [`NetFacts`], so that this
//! module depends on nothing else of the crate. Each stack (the host's and every VNET jail's) owns one [`Pf`].
//!
//! What it prints is held to recordings `05`, `09`, `12` and `14` of a FreeBSD 15.1; where they are silent it follows
//! that release's source (`sbin/pfctl`, `sys/netpfil/pf`), which the comments name.

pub mod facts;
pub mod rule;

pub mod filter;
pub mod kernel;
pub mod parse;
pub mod pfctl;
pub mod print;

mod address;
mod names;
mod optimize;

#[cfg(test)]
mod tests;

pub use facts::{Interface, InterfaceAddress, NetFacts, Release};
pub use filter::{Packet, Verdict, VerdictAction};
pub use kernel::Pf;
pub use pfctl::{Output, pfctl};
