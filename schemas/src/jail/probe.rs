//! Probes: how a jail is known to be well.
//!
//! What they say unless said otherwise stands here too, so that admission and the agent read the same numbers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How often a probe is made unless said, in seconds.
const EVERY_S: u64 = 10;

/// How long a probe may take unless said, in seconds.
const TIMEOUT_S: u64 = 5;

/// How many failures in a row count unless said.
const FAILURES: u32 = 3;

/// How a jail is known to be well.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Probes {
    /// It has come up: until it has, the others are not made. One that keeps failing counts as one of `live`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Probe>,
    /// It can take work: without, its `Ready` is false, and jails that depend on it wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<Probe>,
    /// It is alive: without, it is restarted, as far as `restartPolicy` lets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Probe>,
}

impl Probes {
    /// The probes that are asked for, with the names of their fields, in the order of a jail's life.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &Probe)> {
        let fields = [
            ("started", &self.started),
            ("ready", &self.ready),
            ("live", &self.live),
        ];
        let fields = fields.into_iter();
        fields.filter_map(|(name, probe)| Some((name, probe.as_ref()?)))
    }
}

/// One probe. Exactly one of `tcp`, `http`, `exec`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// A TCP connection, made inside the jail to the jail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpProbe>,
    /// An HTTP request, made inside the jail to the jail: an answer of 200 to 399 is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpProbe>,
    /// A command in the jail: exit status 0 is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecProbe>,
    /// How long after the jail's start the first one is made, as in `30s`; at once unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<String>,
    /// How often, as in `5s`; 10s unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<String>,
    /// After how long it is killed, and has failed, as in `2s`; 5s unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// How many failures in a row count; 3 unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<u32>,
    /// How many successes in a row count after a failure; 1 unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successes: Option<u32>,
}

impl Probe {
    /// How long after the jail's start the first one is made, in milliseconds.
    #[must_use]
    pub fn delay_ms(&self) -> u64 {
        ms(self.delay.as_deref(), 0)
    }

    /// How often, in milliseconds.
    #[must_use]
    pub fn every_ms(&self) -> u64 {
        ms(self.every.as_deref(), EVERY_S)
    }

    /// After how long it is killed, in seconds.
    #[must_use]
    pub fn timeout_s(&self) -> u64 {
        ms(self.timeout.as_deref(), TIMEOUT_S) / 1_000
    }

    /// How many failures in a row count.
    #[must_use]
    pub fn failures_to_count(&self) -> u32 {
        self.failures.unwrap_or(FAILURES)
    }

    /// How many successes in a row count after a failure.
    #[must_use]
    pub fn successes_to_count(&self) -> u32 {
        self.successes.unwrap_or(1)
    }
}

fn ms(text: Option<&str>, otherwise_s: u64) -> u64 {
    let said = text.and_then(seconds);
    said.unwrap_or(otherwise_s).saturating_mul(1_000)
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
    if number.starts_with('+') {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// A TCP connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TcpProbe {
    /// The port inside.
    pub port: u16,
}

/// An HTTP request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HttpProbe {
    /// The port inside.
    pub port: u16,
    /// The path, `/` unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// A command in the jail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecProbe {
    /// The command and its arguments; no shell reads them.
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub command: Vec<String>,
    /// A user of the jail; root unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}
