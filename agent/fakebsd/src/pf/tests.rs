//! Tests of the emulated pf: the recordings, FreeBSD's expansions and messages, and where packets go.

mod errors;
mod expansion;
mod host;
mod optimizing;
mod packets;
mod property;
mod recordings;
mod states;
mod tables;
