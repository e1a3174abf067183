//! The agent's laws on emulated hosts: the real core and the real adapter over `agent/fakebsd`, with a crash at any command, strangers, drift and virtual time.
//!
//! ```text
//! views::view (proptest) ──► World::converge ──► core::pass ──► FreeBsd (adapter) ──► Crashing ──► Emulated
//!                                  │                                                    │
//!                                  └── advances virtual time while something waits      └── dies at the n-th command or ledger write, or is refused it
//! ```
//!
//! Here are the worlds and the generators; the laws themselves are in `tests/laws.rs`.

pub mod crash;
pub mod drift;
pub mod fleet;
pub mod lifeline;
pub mod platter;
pub mod scenario;
pub mod trouble;
pub mod views;
pub mod world;
pub mod wrongs;

pub use world::World;
