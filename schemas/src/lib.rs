//! The API of Cellblock: the types of every kind, their defaults, their validation, the parsing of manifests and the JSON Schemas made from them.
//!
//! ```text
//! manifest.yaml ── manifest::parse ──► Object ── default ──► validate ──► unsupported ──► admitted object ──► stored JSON
//!                                                                             │
//!                                          controller/core: host_view ────────┘──► HostView ──► agent/core: plan
//!                                          controller/core: fold_report ◄── HostReport ◄── agent/core: verify
//! ```
//!
//! This crate is pure: no clock, no environment, no file, no hash map. It knows neither the store nor the wire nor FreeBSD's commands.

pub mod condition;
pub mod feature;
pub mod host;
pub mod ids;
pub mod image;
pub mod jail;
pub mod jail_set;
pub mod meta;
pub mod net;
pub mod network;
pub mod object;
pub mod owner;
pub mod report;
pub mod selector;
pub mod view;

pub mod change;
pub mod column;
pub mod default;
pub mod enforcement;
pub mod json_schema;
pub mod manifest;
pub mod part;
pub mod path;
pub mod structural;
pub mod suggest;
pub mod unsupported;
pub mod validate;
pub mod violation;
pub mod warnings;

pub use condition::{Condition, ConditionStatus};
pub use default::default_object;
pub use host::{Host, HostSpec, HostStatus};
pub use ids::{ClusterUid, Generation, Uid};
pub use image::{Image, ImageSpec, ImageStatus};
pub use jail::{Jail, JailSpec, JailStatus};
pub use jail_set::{JailSet, JailSetSpec, JailSetStatus};
pub use json_schema::{json_schema, schema_file};
pub use meta::ObjectMeta;
pub use network::{Network, NetworkSpec, NetworkStatus};
pub use object::{Kind, Object};
pub use path::FieldPath;
pub use report::HostReport;
pub use unsupported::unsupported;
pub use validate::{validate, validate_update};
pub use view::HostView;
pub use violation::{Cause, Violation, Warning};
pub use warnings::{warnings, warnings_with};

/// The group and version of every kind.
pub const API_VERSION: &str = "cellblock.dev/v1alpha1";
