//! What a jail is started with, as a list of the manifest's own fields, and a digest of that list. Most of it only a restart can change; `schemas::change::parameters` says which of its parameters the
//! kernel changes in a running jail, whose mark then gets the new digest.
//!
//! The digest is what a running jail carries (`meta` on 15, the ledger on 14). It is of what the fields *mean*, never of the text that is rendered from them: a release that renders
//! the same meaning in other words must restart nothing. So its form is versioned, stands in `tests/digest.rs` to the letter, and only grows by fields that say nothing where they
//! are not used. What can be changed in a running jail (prefix lengths, rules, mounts' ownership) is not in it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cellblock_schemas::change::{Started, parameters};
use cellblock_schemas::jail::ParameterValue;
use cellblock_schemas::view::JailView;
use sha2::{Digest as _, Sha256};

use crate::plan::desired::Networking;
use crate::render::jailconf::asker;

/// The version of the digest's form, at its beginning. A later form must be able to compute the ones before, or every jail of every host would restart with the agent.
const FORM: &str = "1";

/// The fields that say with which routing table a jail was started.
pub const FIB_FIELDS: [&str; 2] = ["exec.fib", "spec.parameters.exec.fib"];

/// The operator's word that the jail be started again.
pub const RESTART_FIELD: &str = "spec.restart";

/// What stands before a parameter's name in its field.
pub const PARAMETERS: &str = "spec.parameters.";

/// How much of a value is remembered and told, in characters; the rest is a digest of the whole.
const TOLD_CHARS_MAX: usize = 60;

/// How many changed fields are told one by one.
const TOLD_FIELDS_MAX: usize = 5;

/// The fields of a jail that only a restart changes, by their path in the manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meaning(BTreeMap<String, Vec<String>>);

impl Meaning {
    /// Of `jail` with its root at `path` on the host.
    #[must_use]
    pub fn of(jail: &JailView, path: &str, networking: &Networking) -> Self {
        // Admission warns of changes of these; nothing else of the spec may have a part in the digest, or a jail would restart without a warning.
        let started = Started::of(&jail.spec);
        let mut fields = BTreeMap::new();
        let name = jail.jail_name();
        let mut put = |field: &str, values: Vec<String>| {
            fields.insert(field.to_owned(), values);
        };
        put("spec.jailName", vec![name.to_owned()]);
        put("spec.root.path", vec![path.to_owned()]);
        put("spec.parameters.host.hostname", vec![name.to_owned()]);
        for (parameter, value) in started.parameters {
            put(&format!("{PARAMETERS}{parameter}"), words(value));
        }
        if !started.mounts.is_empty() {
            let mounts = started.mounts.iter().map(|mount| {
                let source = mount.source.as_deref().unwrap_or(&mount.fs_type);
                let options = if mount.options.is_empty() {
                    "rw".to_owned()
                } else {
                    mount.options.join(",")
                };
                format!("{source} {} {} {options}", mount.target, mount.fs_type)
            });
            put("spec.mounts", mounts.collect());
        }
        if let Some(word) = started.restart {
            put(RESTART_FIELD, vec![word.to_owned()]);
        }
        if started.is_filtered_inside {
            put("spec.firewall.enforcedBy", vec!["jail".to_owned()]);
        }
        let texts = |addresses: &[IpAddr]| addresses.iter().map(IpAddr::to_string).collect();
        match networking {
            Networking::None => {}
            // Without the numbers of interfaces, which change with every boot.
            Networking::Shared { ip4, ip6, fib, .. } => {
                for (field, addresses) in [("ip4.addr", ip4), ("ip6.addr", ip6)] {
                    if !addresses.is_empty() {
                        put(field, texts(addresses));
                    }
                }
                if let Some(fib) = fib {
                    put("exec.fib", vec![fib.to_string()]);
                }
            }
            Networking::Vnet { links } => {
                for link in links {
                    let field = format!("spec.networks[{}]", link.interface);
                    // Without prefix lengths, which are changed in the running jail.
                    let addresses: Vec<IpAddr> =
                        link.addresses.iter().map(|(address, _)| *address).collect();
                    put(&format!("{field}.addresses"), texts(&addresses));
                    if let Some(program) = asker(link.addressing) {
                        put(&format!("{field}.addressing"), vec![program.to_owned()]);
                    }
                    // The manifest's own; one that was allocated stays with the jail.
                    let stated = jail.spec.networks.iter();
                    let stated = stated.filter(|stated| stated.interface == link.interface);
                    let macs: Vec<String> = stated
                        .filter_map(|stated| stated.mac)
                        .map(|mac| mac.to_string())
                        .collect();
                    if !macs.is_empty() {
                        put(&format!("{field}.mac"), macs);
                    }
                    if !link.gateways.is_empty() {
                        put(&format!("{field}.defaultGateway"), texts(&link.gateways));
                    }
                }
            }
        }
        Self(fields)
    }

    /// The digest: the form's version and 64 bits.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut digest = Sha256::new();
        let mut feed = |text: &str| {
            digest.update((text.len() as u64).to_be_bytes());
            digest.update(text.as_bytes());
        };
        for (field, values) in &self.0 {
            feed(field);
            feed(&values.len().to_string());
            for value in values {
                feed(value);
            }
        }
        let mut text = data_encoding::HEXLOWER.encode(&digest.finalize());
        text.truncate(16);
        format!("{FORM}-{text}")
    }

    /// The fields as they are remembered, to tell what has changed: short values whole, long ones by their beginning and a digest.
    #[must_use]
    pub fn fields(&self) -> BTreeMap<String, String> {
        let fields = self.0.iter();
        fields
            .map(|(field, values)| (field.clone(), short(&values.join(", "))))
            .collect()
    }
}

/// One parameter's value, however it was written: `1`, `"1"` and a list of one `1` mean the same to jail.conf(5).
fn words(value: &ParameterValue) -> Vec<String> {
    match value {
        ParameterValue::Flag(flag) => vec![flag.to_string()],
        ParameterValue::Number(number) => vec![number.to_string()],
        ParameterValue::Text(text) => vec![text.clone()],
        ParameterValue::List(list) => list.clone(),
    }
}

/// The parameters that differ between the fields `before` and `after`, if nothing else does and each can be changed in a running jail.
#[must_use]
pub fn live_changes<'a>(
    before: &'a BTreeMap<String, String>,
    after: &'a BTreeMap<String, String>,
) -> Option<BTreeSet<&'a str>> {
    let fields = before.keys().chain(after.keys());
    let changed = fields.filter(|field| before.get(*field) != after.get(*field));
    // That no restart is asked for any more asks for none.
    let changed = changed.filter(|field| *field != RESTART_FIELD || after.contains_key(*field));
    changed
        .map(|field| {
            let name = field.strip_prefix(PARAMETERS)?;
            parameters::is_live(name, !after.contains_key(field)).then_some(name)
        })
        .collect()
}

fn short(value: &str) -> String {
    if value.chars().count() <= TOLD_CHARS_MAX {
        return value.to_owned();
    }
    let beginning: String = value.chars().take(TOLD_CHARS_MAX).collect();
    let mut digest = data_encoding::HEXLOWER.encode(&Sha256::digest(value.as_bytes()));
    digest.truncate(8);
    format!("{beginning}… (#{digest})")
}

/// Why a jail with the fields `before` must be started again to have those of `after`, in words.
#[must_use]
pub fn cause(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> String {
    if before.is_empty() {
        return "it runs with other settings than the manifest has now; which ones is not known, because this agent did not start it".to_owned();
    }
    let mut told = Vec::new();
    for (field, now) in after {
        match before.get(field) {
            Some(was) if was == now => {}
            Some(was) => told.push(format!("{field} changed from `{was}` to `{now}`")),
            None => told.push(format!("{field} is new: `{now}`")),
        }
    }
    let gone = before
        .iter()
        .filter(|(field, _)| !after.contains_key(*field));
    told.extend(gone.map(|(field, was)| format!("{field} was taken away: `{was}`")));
    let more = told.len().saturating_sub(TOLD_FIELDS_MAX);
    told.truncate(TOLD_FIELDS_MAX);
    if more > 0 {
        told.push(format!("{more} more"));
    }
    if told.is_empty() {
        return "it runs with other settings than it was started with".to_owned();
    }
    told.join("; ")
}

#[cfg(test)]
mod tests;
