//! The product as an operator runs it, for tests: real processes of etcd, `cellblockd`, `cellblock-agent` and `jailctl`, or kubectl,
//! on loopback.
//!
//! ```text
//! tests/*.rs ──► Fleet ──► etcd | one file ◄── cellblockd ◄── cellblock-agent × 3 ──► emulated host × 3 (processes of their own)
//!                  │                               ▲                                        ▲
//!                  ├── jailctl (a process per command)                                      │
//!                  └── Watchman (a thread): no address twice ───────────────────────────────┘
//! ```
//!
//! Nothing in here is used in production. Every process that is started is killed when its owner is dropped, panics included.
//! Nothing sleeps and hopes: [`eventually`] looks until a condition holds or a deadline passes.

mod binaries;
mod condition;
mod dice;
mod fleet;
mod kubectl;
mod machine;
mod printer;
mod process;
mod said;
mod watchman;

pub use binaries::Binaries;
pub use condition::{CONVERGE, eventually, holds};
pub use dice::Dice;
pub use fleet::{Fleet, Options, StoreKind, examples, free_port};
pub use kubectl::Kubectl;
pub use machine::{Machine, difference};
pub use printer::note;
pub use process::Process;
pub use said::{Running, Said};
pub use watchman::Watchman;
