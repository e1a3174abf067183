//! `Image`: what roots of jails are made of, as a FreeBSD release ships it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::ids::Generation;
use crate::meta::ObjectMeta;

/// What roots of jails are made of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Always `cellblock.dev/v1alpha1`.
    #[serde(default)]
    pub api_version: String,
    /// Always `Image`.
    #[serde(default)]
    pub kind: String,
    /// Name, labels, and what the system adds.
    pub metadata: ObjectMeta,
    /// Where it comes from.
    #[serde(default)]
    pub spec: ImageSpec,
    /// What was observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ImageStatus>,
}

/// Where an image comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageSpec {
    /// A release of FreeBSD. A change is for roots that are made from then on: those that are there stay what they are.
    #[serde(default)]
    pub release: Release,
}

/// A release of FreeBSD, as a tarball.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// Its `base.txz`: an absolute path on every host that needs it, or an http or https URL that they reach.
    #[serde(default)]
    pub tarball: String,
    /// The SHA-256 of that file, as the release's MANIFEST has it: 64 hexadecimal digits in lower case.
    #[serde(default)]
    pub sha256: String,
    /// Which release it is, such as `15.1-RELEASE`; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// What was observed of an image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageStatus {
    /// The generation of the spec that the observation answers.
    #[serde(default)]
    pub observed_generation: Generation,
    /// `Ready`, and `InUse` while its deletion waits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
