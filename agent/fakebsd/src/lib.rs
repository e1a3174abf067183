//! An emulated FreeBSD host: the same argv in, the same text, exit statuses, quirks and failures out.
//!
//! ```text
//!  argv, stdin ──► Emulator::run ──► log, faults ──► cmd::* (one file per program: parse argv, print text)
//!                                                      │
//!                                                      ▼
//!                                   kernel objects (ifnet, route, jail, …): state and the kernel's refusals
//! ```
//!
//! The crate is what the real adapter talks to in tests, in the sandbox and in the simulation. It knows nothing of Cellblock: no names,
//! marks or anchors of ours appear in it. What it prints is held to recordings of a real kernel by the replay test; where no recording speaks,
//! the comment names the file of FreeBSD's source that does.
//!
//! Time is virtual ([`Emulator::advance`]), randomness is a seeded counter, and nothing here touches the machine it runs on.

pub mod emulator;
pub mod fault;
pub mod files;
pub mod hardware;
pub mod kernel;
pub mod log;
pub mod output;
pub mod outside;
pub mod pf;
pub mod release;
pub mod replay;
pub mod trace;

mod cmd;

/// What tests need to make emulated tarballs and servers of them.
pub mod archive {
    pub use crate::cmd::archive::{HEAD, OWNER, Served, TAIL, base, sha256_of};
}

pub use emulator::Emulator;
pub use files::FileTree;
pub use hardware::HardwareProfile;
pub use kernel::Kernel;
pub use log::LoggedCommand;
pub use output::Output;
pub use release::Release;
