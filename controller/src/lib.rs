//! The controller's shell: connects `cellblock-controller-core`, which decides, with the store, the clients and the agents.
//!
//! ```text
//!  clients ─► objects (gRPC) ─┐
//!          ─► rest (HTTP) ─────┤
//!                      ┌─ verbs┘          ┌─ follow ◄── store watch
//!                      ├─► writer ─► store┘     │
//!  reconciler ─────────┤     ▲                  ▼
//!  agents ─ session ───┘     └──── reads ──── cache (index, recent past) ──► verbs: get, list, watch
//!                                                                        └──► agents: views
//!  operators ─► visits ◄──────────── agents, a connection for each
//! ```
//!
//! There is one way to write (`writer`: decide from the index, commit, wait until the index has it), one way in for what the
//! store says (`follow`), one function that says who may do what (`authorise`), one place for errors of each wire (`status`, `rest::failure`) and one for messages (`wire`). No rule about objects is in here.

mod agents;
mod authorise;
mod cache;
mod cluster;
pub mod config;
mod connection;
mod controller;
mod follow;
mod identity;
mod in_flight;
mod metrics_server;
mod newest;
mod objects;
mod opening;
mod patience;
mod reading;
mod reconciler;
mod recorder;
mod rest;
mod running;
mod serve;
mod status;
mod telemetry;
mod tls;
mod tokens;
mod verbs;
mod visits;
mod wire;
mod writer;

pub use config::{AgentTiming, Config, ConfigError, Flags, Settings, TlsConfig};
pub use controller::{Controller, StartError};
pub use serve::MESSAGE_BYTES_MAX;
pub use telemetry::init_logs;
pub use tokens::TokenError;
