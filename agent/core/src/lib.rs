//! Every decision of the agent, without a clock, a file, a command or a thread.
//!
//! ```text
//! HostView ─┐
//! Observed ─┼─► plan ──► Plan { steps, waiting, blocked } ──► (shell executes, observes again) ──► verify ──► HostReport
//! Ledger  ──┘                         │
//!                                     └─ render: jail.conf, pf rules: text that an operator could have written
//! ```
//!
//! What must not live here: running a command (that is `agent/freebsd`), the stream to the controller, the system calls under the ledger's journal (both are `agent`).

pub mod execute;
pub mod firewall;
pub mod guard;
pub mod host;
pub mod image;
pub mod isolation;
pub mod ledger;
pub mod mark;
pub mod names;
pub mod nic;
pub mod observed;
pub mod op;
pub mod pass;
pub mod pf_conf;
pub mod plan;
pub mod probe;
pub mod render;
pub mod residue;
pub mod shared;
pub mod verify;
pub mod words;

pub use ledger::Ledger;
pub use observed::Observed;
pub use op::{Op, Plan, Step};
