//! One object of any kind, and the kinds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::condition::Condition;
use crate::host::Host;
use crate::image::Image;
use crate::jail::Jail;
use crate::jail_set::JailSet;
use crate::meta::ObjectMeta;
use crate::network::Network;

/// A kind of object. The order is the order of application: what others refer to comes first.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Kind {
    /// One FreeBSD machine.
    Host,
    /// How jails are attached.
    Network,
    /// What roots of jails are made of.
    Image,
    /// One jail.
    Jail,
    /// A number of jails made from one template.
    JailSet,
}

impl Kind {
    /// Every kind, in order of application.
    pub const ALL: [Self; 5] = [
        Self::Host,
        Self::Network,
        Self::Image,
        Self::Jail,
        Self::JailSet,
    ];

    /// `Host`, `Network`, `Image`, `Jail` or `JailSet`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "Host",
            Self::Network => "Network",
            Self::Image => "Image",
            Self::Jail => "Jail",
            Self::JailSet => "JailSet",
        }
    }

    /// The plural in lower case, as in paths and on the command line: `jails`.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::Host => "hosts",
            Self::Network => "networks",
            Self::Image => "images",
            Self::Jail => "jails",
            Self::JailSet => "jailsets",
        }
    }

    /// What it is called for short on the command line, `jailctl`'s and, by discovery, kubectl's: `net`.
    #[must_use]
    pub fn short_name(self) -> &'static str {
        match self {
            Self::Host => "h",
            Self::Network => "net",
            Self::Image => "img",
            Self::Jail => "j",
            Self::JailSet => "js",
        }
    }

    /// The kind of that exact name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One object of any kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// A `Host`.
    Host(Host),
    /// A `Network`.
    Network(Network),
    /// An `Image`.
    Image(Image),
    /// A `Jail`.
    Jail(Jail),
    /// A `JailSet`.
    JailSet(JailSet),
}

impl Object {
    /// The object's kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Host(_) => Kind::Host,
            Self::Network(_) => Kind::Network,
            Self::Image(_) => Kind::Image,
            Self::Jail(_) => Kind::Jail,
            Self::JailSet(_) => Kind::JailSet,
        }
    }

    /// The object's metadata.
    #[must_use]
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Host(object) => &object.metadata,
            Self::Network(object) => &object.metadata,
            Self::Image(object) => &object.metadata,
            Self::Jail(object) => &object.metadata,
            Self::JailSet(object) => &object.metadata,
        }
    }

    /// The object's metadata, to be changed.
    pub fn metadata_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Host(object) => &mut object.metadata,
            Self::Network(object) => &mut object.metadata,
            Self::Image(object) => &mut object.metadata,
            Self::Jail(object) => &mut object.metadata,
            Self::JailSet(object) => &mut object.metadata,
        }
    }

    /// What is observed of the object.
    #[must_use]
    pub fn conditions(&self) -> &[Condition] {
        let conditions = match self {
            Self::Host(object) => object.status.as_ref().map(|status| &status.conditions),
            Self::Network(object) => object.status.as_ref().map(|status| &status.conditions),
            Self::Image(object) => object.status.as_ref().map(|status| &status.conditions),
            Self::Jail(object) => object.status.as_ref().map(|status| &status.conditions),
            Self::JailSet(object) => object.status.as_ref().map(|status| &status.conditions),
        };
        conditions.map_or(&[], Vec::as_slice)
    }

    /// Reads a JSON document of a known kind. Unknown fields are passed over here: refusing them is the manifest's and admission's part.
    ///
    /// # Errors
    /// A field is missing or has the wrong type.
    pub fn from_value(kind: Kind, value: Value) -> Result<Self, serde_json::Error> {
        Ok(match kind {
            Kind::Host => Self::Host(serde_json::from_value(value)?),
            Kind::Network => Self::Network(serde_json::from_value(value)?),
            Kind::Image => Self::Image(serde_json::from_value(value)?),
            Kind::Jail => Self::Jail(serde_json::from_value(value)?),
            Kind::JailSet => Self::JailSet(serde_json::from_value(value)?),
        })
    }

    /// The JSON document.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Self::Host(object) => serde_json::to_value(object),
            Self::Network(object) => serde_json::to_value(object),
            Self::Image(object) => serde_json::to_value(object),
            Self::Jail(object) => serde_json::to_value(object),
            Self::JailSet(object) => serde_json::to_value(object),
        }
        .expect("the types of this crate have string keys only, so they always have a JSON form")
    }
}
