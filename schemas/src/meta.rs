//! The metadata that every object carries, after the Kubernetes API conventions.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{Generation, Uid};

/// The finalizer of an object that goes after what belongs to it, where `blockOwnerDeletion` says so.
pub const FOREGROUND: &str = "foregroundDeletion";

/// The finalizer of an object that leaves behind what belongs to it.
pub const ORPHAN: &str = "orphan";

/// What finalizers begin with that only the controller puts on and takes away.
pub const OWN_FINALIZERS: &str = "cellblock.dev/";

/// The only form that `managedFields` has, by its name.
pub const FIELDS_V1: &str = "FieldsV1";

/// What every object says of itself. An operator writes `name`, `labels` and `annotations`; the rest is the system's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectMeta {
    /// A DNS label (RFC 1123), unique within its kind.
    pub name: String,
    /// How the name of a new object without one begins; the controller adds five characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub generate_name: String,
    /// Given at creation; never reused.
    #[serde(default, skip_serializing_if = "uid_is_empty")]
    pub uid: Uid,
    /// The store's revision of this object's last write, as text; opaque to clients.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "unless_empty"
    )]
    #[schemars(with = "Option<String>")]
    pub resource_version: Option<String>,
    /// Grows with every change of `spec`.
    #[serde(default, skip_serializing_if = "generation_is_zero")]
    pub generation: Generation,
    /// When the object was created (RFC 3339, UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub creation_timestamp: Option<Timestamp>,
    /// When deletion was asked for; the object stays until `finalizers` is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub deletion_timestamp: Option<Timestamp>,
    /// Selectable key/value pairs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Free key/value pairs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Who must finish work before the object may go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub finalizers: Vec<String>,
    /// Objects that this one belongs to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["uid"]))]
    pub owner_references: Vec<OwnerReference>,
    /// Who manages which fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub managed_fields: Vec<ManagedFieldsEntry>,
}

/// A reference to the object that owns this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwnerReference {
    /// The owner's apiVersion.
    pub api_version: String,
    /// The owner's kind.
    pub kind: String,
    /// The owner's name.
    pub name: String,
    /// The owner's uid.
    pub uid: Uid,
    /// True for the one owner that controls this object.
    #[serde(default)]
    pub controller: bool,
    /// True if the owner cannot be removed before this object.
    #[serde(default)]
    pub block_owner_deletion: bool,
}

/// The fields that one manager applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManagedFieldsEntry {
    /// The manager's name, as the client gave it.
    pub manager: String,
    /// `Apply` or `Update`.
    pub operation: String,
    /// The apiVersion that the fields are in.
    pub api_version: String,
    /// When these fields last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub time: Option<Timestamp>,
    /// The form of the set of fields; always `FieldsV1`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fields_type: String,
    /// The set of fields, in Kubernetes' `FieldsV1` form.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub fields_v1: serde_json::Value,
    /// `status` when these fields were written through the status subresource.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subresource: String,
}

fn uid_is_empty(uid: &Uid) -> bool {
    uid.0.is_empty()
}

fn generation_is_zero(generation: &Generation) -> bool {
    generation.0 == 0
}

/// An empty resourceVersion is none (kubernetes/apiserver, `pkg/storage/api_object_versioner.go`, `ObjectResourceVersion`).
fn unless_empty<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    let said = Option::<String>::deserialize(deserializer)?;
    Ok(said.filter(|said| !said.is_empty()))
}
