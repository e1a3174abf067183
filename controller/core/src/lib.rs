//! The decisions of the controller.
//!
//! ```text
//!  store events ──► Index ◄──────────────────── read by everything below, written by nothing else
//!                     │
//!  request ─► admit ──┼─► Write ──► (shell: one store transaction) ──► store events …
//!                     ├─► reconcile: due ─► step ─► Write      bind ─► place, allocate, rules
//!                     ├─► host_view ─► Parts, Delta ──► (shell: the agent's stream)
//!  HostReport ────────┴─► fold_report ─► Write …
//! ```
//!
//! This crate is pure: no task, no clock, no random number, no store, no wire. Time and new uids are arguments. Given the same
//! index and the same arguments every decision is the same, byte for byte.
//!
//! # Guarantees
//!
//! Every [`write::Write`] compares whatever it was decided from and what nobody else may change meanwhile, so committing it
//! when the cluster has moved on does nothing. That, and claims that are created only if absent, is what keeps an address, a
//! MAC number or a host port from being given away twice, by any number of controllers.

pub mod admit;
pub mod allocate;
pub mod allocations;
pub mod bind;
pub mod claim;
pub mod conditions;
pub mod document;
pub mod enrol;
pub mod events;
pub mod features;
mod fibs;
pub mod fields;
pub mod fold;
pub mod index;
pub mod kept;
pub mod keys;
#[cfg(test)]
mod laws;
pub mod place;
pub mod reconcile;
pub mod rules;
pub mod sets;
mod slices;
#[cfg(test)]
mod testing;
pub mod view;
pub mod waiting;
pub mod write;

pub use admit::{Admitted, Now, Outcome, Reason, Rejection, Request, admit};
pub use fold::fold_report;
pub use index::{Event, Index};
pub use view::host_view;
pub use write::{Change, Expect, Write};
