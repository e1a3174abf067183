//! Why a jail has no host or no addresses yet: the reason and message of `Scheduled=False`. A jail that waits is looked at
//! again whenever the cluster changes.

/// What a jail waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// A CamelCase code.
    pub reason: String,
    /// For people: what, and what to do.
    pub message: String,
}

impl Waiting {
    /// A reason and its sentence.
    #[must_use]
    pub fn new(reason: &str, message: impl Into<String>) -> Self {
        Self {
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    pub(crate) fn host_missing(host: &str) -> Self {
        Self::new(
            "HostMissing",
            format!(
                "host {host} does not exist; it joins when its agent first connects, or apply it"
            ),
        )
    }

    pub(crate) fn host_unusable(host: &str, reason: &str) -> Self {
        Self::new("HostUnusable", format!("host {host}: {reason}"))
    }

    pub(crate) fn network_missing(network: &str) -> Self {
        Self::new(
            "NetworkMissing",
            format!("network {network} does not exist; apply it"),
        )
    }

    pub(crate) fn image_missing(image: &str) -> Self {
        Self::new(
            "ImageMissing",
            format!("image {image} does not exist; apply it"),
        )
    }

    pub(crate) fn dependency_unplaced(jail: &str, exists: bool) -> Self {
        let what = if exists {
            "has no host yet"
        } else {
            "does not exist; apply it"
        };
        Self::new(
            "DependencyNotScheduled",
            format!("it goes where jail {jail} is, which it depends on and which {what}"),
        )
    }

    pub(crate) fn network_deleting(network: &str) -> Self {
        Self::new(
            "NetworkMissing",
            format!("network {network} is being deleted"),
        )
    }
}
