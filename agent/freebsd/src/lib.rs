//! The only code that runs a command or touches a file of the host: FreeBSD's own tools, argv out, text in.
//!
//! ```text
//!  agent/core ── Wanted ──► observe ── argv ──► System::run ──► ifconfig, jls, netstat, mount, pfctl, sysctl …
//!             ◄─ Observed ──   │  ◄── text ──       │
//!                              └ one file per tool: pure parsers, held to the recordings
//!             ── Op ───────► perform ── argv ──►    │
//!             ◄─ Ok ────────   │  ◄── read back ──  │
//!                              └ one file per primitive; exit status alone proves nothing
//!                                                   ▼
//!                                   Real (the only process spawner) or Emulated (agent/fakebsd)
//! ```
//!
//! Nothing is decided here: what to do, and in which order, is `agent/core`'s. What is decided is how: create and mark in one command, check that a
//! name is ours before it is touched, and look whether the effect is there. Every fact about FreeBSD names its source, a recording
//! (`agent/fakebsd/transcripts`, by its number) or a file of FreeBSD's source tree.
//!
//! What a jail's root can write (names, descriptions and MAC addresses of interfaces in a VNET, host names) is hostile: no parser trusts it, none panics on it.

pub mod command;
pub mod emulated;
pub mod error;
pub mod host;
pub mod inside;
pub mod observe;
pub mod probe;
pub mod real;
pub mod system;
pub mod visit;

mod perform;

pub use command::{Command, Output, Program};
pub use emulated::Emulated;
pub use error::Failure;
pub use host::FreeBsd;
pub use real::Real;
pub use system::{Process, System, SystemError};
