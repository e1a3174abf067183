//! `JailSet`: a number of jails made from one template, and how they are brought from one revision of it to the next.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::ids::Generation;
use crate::jail::{Jail, JailSpec};
use crate::meta::ObjectMeta;

/// On a Jail of a set: the revision of the template that it was last written from.
pub const REVISION_LABEL: &str = "cellblock.dev/revision";

/// On a Jail of a set: the set's name.
pub const SET_LABEL: &str = "cellblock.dev/jailset";

/// How many jails a set may have.
pub const REPLICAS_MAX: u32 = 1000;

/// How many characters the name of a revision has.
pub const REVISION_CHARS: usize = 8;

/// How many earlier revisions are kept, unless the set says.
const HISTORY: u32 = 10;

/// How long a jail is ready before it counts, unless the set says.
const MIN_READY_SECONDS: u64 = 0;

/// How long an update may go without progress, unless the set says.
const PROGRESS_SECONDS: u64 = 600;

/// A number of jails made from one template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JailSet {
    /// Always `cellblock.dev/v1alpha1`.
    #[serde(default)]
    pub api_version: String,
    /// Always `JailSet`.
    #[serde(default)]
    pub kind: String,
    /// Name, labels, and what the system adds.
    pub metadata: ObjectMeta,
    /// What the operator wants.
    #[serde(default)]
    pub spec: JailSetSpec,
    /// What was decided and observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<JailSetStatus>,
}

/// What the operator wants of a set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JailSetSpec {
    /// How many jails; 1 unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// How the jails are named, and with it whether an update changes them or puts others in their place; immutable.
    #[serde(default, skip_serializing_if = "Names::is_default")]
    pub names: Names,
    /// What each jail is.
    #[serde(default)]
    pub template: JailTemplate,
    /// How an update goes about.
    #[serde(default, skip_serializing_if = "UpdateStrategy::is_default")]
    pub update_strategy: UpdateStrategy,
    /// True: no jail is brought to another revision. Missing ones are made all the same, of the revision that was last complete (`jailctl rollout pause`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// How long a jail is `Ready` before it counts as available, as in `10s`; unless said it counts at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_ready: Option<String>,
    /// How long an update may go without progress before it has failed, as in `10m`, which it is unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline: Option<String>,
    /// Whether the jails of an update that has failed are brought back to the revision before it; true unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo_on_failure: Option<bool>,
    /// How many earlier revisions are kept to be gone back to; 10 unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision_history_limit: Option<u32>,
}

/// How the jails of a set are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Names {
    /// `web-0`, `web-1` …: an update changes the jails themselves, which keep host, root and addresses.
    #[default]
    Ordinal,
    /// `web-k3x7q2ab-0` …, by the revision: an update makes new jails, and takes the old ones away when those are available.
    Hash,
}

impl Names {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What each jail of a set is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JailTemplate {
    /// Labels and annotations of the jails.
    #[serde(default, skip_serializing_if = "TemplateMeta::is_default")]
    pub metadata: TemplateMeta,
    /// The jails' spec.
    #[serde(default)]
    pub spec: JailSpec,
}

/// The metadata that a template gives to jails.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateMeta {
    /// Selectable key/value pairs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Free key/value pairs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl TemplateMeta {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl JailTemplate {
    /// A jail of that name as the template has it.
    #[must_use]
    pub fn jail(&self, name: &str) -> Jail {
        Jail {
            api_version: crate::API_VERSION.to_owned(),
            kind: "Jail".to_owned(),
            metadata: ObjectMeta {
                name: name.to_owned(),
                labels: self.metadata.labels.clone(),
                annotations: self.metadata.annotations.clone(),
                ..ObjectMeta::default()
            },
            spec: self.spec.clone(),
            status: None,
        }
    }
}

/// How far an update may go at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpdateStrategy {
    /// How many jails, or how many percent of them, may be unavailable because of an update. Unless said 1 with `ordinal` names, 0 with `hash`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<Amount>,
    /// How many jails, or how many percent, may be there beyond `replicas` while others take their place; with `hash` names only, where it is 1 unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_surge: Option<Amount>,
}

impl UpdateStrategy {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A number, or text such as `25%`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Amount {
    /// So many.
    Number(u32),
    /// So many of a hundred.
    Percent(String),
}

impl JsonSchema for Amount {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A number, or a percentage such as `25%`.",
            "anyOf": [
                { "type": "integer", "minimum": 0, "maximum": REPLICAS_MAX },
                { "type": "string" },
            ],
            "x-kubernetes-int-or-string": true,
        })
    }
}

impl Amount {
    /// The percentage, if it is one.
    #[must_use]
    pub fn percent(&self) -> Option<u32> {
        let Self::Percent(text) = self else {
            return None;
        };
        let number = text.strip_suffix('%')?;
        let digits = (1..=3).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
        number
            .parse()
            .ok()
            .filter(|percent| digits && *percent <= 100)
    }

    /// How many of `all` are meant; a part of one counts as a whole one or as none.
    fn of(&self, all: u32, up: bool) -> u32 {
        match self {
            Self::Number(number) => *number,
            Self::Percent(_) => {
                let share = u64::from(all) * u64::from(self.percent().unwrap_or(0));
                let share = if up { share.div_ceil(100) } else { share / 100 };
                u32::try_from(share).unwrap_or(u32::MAX)
            }
        }
    }
}

impl JailSetSpec {
    /// How many jails there shall be.
    #[must_use]
    pub fn replicas(&self) -> u32 {
        self.replicas.unwrap_or(1)
    }

    /// How many may be there beyond that.
    #[must_use]
    pub fn surge(&self) -> u32 {
        match (self.names, &self.update_strategy.max_surge) {
            (Names::Ordinal, _) => 0,
            (Names::Hash, None) => 1,
            (Names::Hash, Some(amount)) => amount.of(self.replicas(), true),
        }
    }

    /// How many may be unavailable; at least one where nothing else would ever let an update go on.
    #[must_use]
    pub fn unavailable(&self) -> u32 {
        let said = match (self.names, &self.update_strategy.max_unavailable) {
            (Names::Ordinal, None) => 1,
            (Names::Hash, None) => 0,
            (_, Some(amount)) => amount.of(self.replicas(), false),
        };
        said.max(u32::from(self.surge() == 0))
    }

    /// `minReady` in seconds.
    #[must_use]
    pub fn min_ready_seconds(&self) -> u64 {
        let said = self.min_ready.as_deref().and_then(seconds);
        said.unwrap_or(MIN_READY_SECONDS)
    }

    /// `progressDeadline` in seconds.
    #[must_use]
    pub fn progress_deadline_seconds(&self) -> u64 {
        let said = self.progress_deadline.as_deref().and_then(seconds);
        said.unwrap_or(PROGRESS_SECONDS)
    }

    /// Whether an update that has failed is undone.
    #[must_use]
    pub fn undoes(&self) -> bool {
        self.undo_on_failure.unwrap_or(true)
    }

    /// How many earlier revisions are kept.
    #[must_use]
    pub fn history(&self) -> usize {
        self.revision_history_limit.unwrap_or(HISTORY) as usize
    }
}

/// The seconds of `5s`, `2m` or `1h`.
#[must_use]
pub fn seconds(text: &str) -> Option<u64> {
    let unit = match text.chars().next_back()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return None,
    };
    let number = &text[..text.len() - 1];
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// What was decided for a set, and what was observed of its jails.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JailSetStatus {
    /// The generation of the spec that the rest answers.
    #[serde(default)]
    pub observed_generation: Generation,
    /// `Available`, `Progressing`, `Ready`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// How many jails there are, those that are being deleted not counted.
    #[serde(default)]
    pub replicas: u32,
    /// Of these, ready with the spec that they have now, on hosts that are heard.
    #[serde(default)]
    pub ready: u32,
    /// Of these, of the revision that they are being brought to.
    #[serde(default)]
    pub updated: u32,
    /// Of these, ready for `minReady`.
    #[serde(default)]
    pub available: u32,
    /// The last revision that all jails had, and were available with.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub current_revision: String,
    /// The revision of the template as it is now.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub update_revision: String,
    /// The revision that was undone because its jails did not become available.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub failed_revision: String,
    /// Why its jails did not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub failed_message: String,
    /// When an update last came a step further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub progressed: Option<jiff::Timestamp>,
    /// The most jails of the revision that they are being brought to that were available at once, since the spec was last changed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub furthest: u32,
    /// The revisions that jails have, and earlier ones, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub history: Vec<Revision>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A template as it was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// A digest of the template.
    pub name: String,
    /// Which it was, counted from 1; one that is gone back to is counted anew.
    pub number: u64,
    /// When it became the set's template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub since: Option<jiff::Timestamp>,
    /// The template.
    pub template: JailTemplate,
}
