//! Objects as `Table`s (kubernetes/apimachinery, `pkg/apis/meta/v1/types.go`), which `kubectl get` prints, with the columns of
//! `jailctl get`; and as their metadata alone.

use cellblock_schemas::column::{self, ready};
use cellblock_schemas::{Kind, Object};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::events;
use super::shown::Sort;

/// What of an object goes along with its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Include {
    Nothing,
    Metadata,
    Everything,
}

impl Include {
    /// The option `includeObject`; unless it is said, the metadata.
    pub(super) fn read(said: &str) -> Self {
        match said {
            "None" => Self::Nothing,
            "Object" => Self::Everything,
            _ => Self::Metadata,
        }
    }
}

/// A column: its name, and whether it is shown only where there is room (`-o wide`).
pub(super) type Column = (&'static str, bool);

/// The columns whose cells are numbers, or nothing.
const NUMBERS: [&str; 3] = ["JID", "Updated", "Available"];

fn columns(sort: Sort) -> &'static [Column] {
    let kind = match sort {
        Sort::Object(kind) => kind,
        Sort::Event => return &events::COLUMNS,
    };
    match kind {
        Kind::Jail => &[
            ("Name", false),
            ("Host", false),
            ("Phase", false),
            ("Ready", false),
            ("Addresses", false),
            ("Age", false),
            ("JID", true),
            ("Networks", true),
            ("Root", true),
            ("Reason", true),
        ],
        Kind::JailSet => &[
            ("Name", false),
            ("Ready", false),
            ("Jails", false),
            ("Updated", false),
            ("Available", false),
            ("Age", false),
            ("Revision", true),
            ("Reason", true),
        ],
        Kind::Network => &[
            ("Name", false),
            ("Mode", false),
            ("Ready", false),
            ("Uplink", false),
            ("Subnets", false),
            ("Age", false),
            ("Reason", true),
        ],
        Kind::Image => &[
            ("Name", false),
            ("Version", false),
            ("SHA256", false),
            ("Age", false),
            ("Tarball", true),
        ],
        Kind::Host => &[
            ("Name", false),
            ("Ready", false),
            ("Jails", false),
            ("Release", false),
            ("Age", false),
            ("Uplinks", true),
            ("Reason", true),
        ],
    }
}

/// A table; `heading`: with its columns.
pub(super) fn table(
    sort: Sort,
    version: &str,
    metadata: &Value,
    documents: &[Value],
    include: Include,
    heading: bool,
) -> Value {
    let columns = columns(sort).iter().map(|(name, wide)| {
        json!({
            "name": name,
            "type": if NUMBERS.contains(name) { "integer" } else { "string" },
            "format": if *name == "Name" { "name" } else { "" },
            "description": "",
            "priority": i32::from(*wide),
        })
    });
    let rows = documents.iter().map(|document| {
        let mut row = json!({"cells": cells(sort, document)});
        match include {
            Include::Nothing => {}
            Include::Metadata => row["object"] = metadata_of(document, version),
            Include::Everything => row["object"] = document.clone(),
        }
        row
    });
    let rows: Vec<Value> = rows.collect();
    json!({
        "kind": "Table",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": metadata,
        "columnDefinitions": if heading { Value::Array(columns.collect()) } else { Value::Null },
        "rows": rows,
    })
}

/// An object's metadata alone.
pub(super) fn metadata_of(document: &Value, version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": document.get("metadata"),
    })
}

fn cells(sort: Sort, document: &Value) -> Vec<Value> {
    let texts = texts(sort, document).into_iter();
    texts
        .zip(columns(sort))
        .map(|(text, (name, _))| match text.parse::<i64>() {
            Ok(number) if NUMBERS.contains(name) => number.into(),
            Err(_) if NUMBERS.contains(name) => Value::Null,
            Ok(_) | Err(_) => text.into(),
        })
        .collect()
}

fn texts(sort: Sort, document: &Value) -> Vec<String> {
    let kind = match sort {
        Sort::Object(kind) => kind,
        Sort::Event => return events::cells(document).into(),
    };
    let name = document.pointer("/metadata/name").and_then(Value::as_str);
    let Ok(object) = Object::from_value(kind, document.clone()) else {
        // What a newer controller wrote still has its name.
        return vec![name.unwrap_or_default().to_owned()];
    };
    let metadata = object.metadata();
    let name = metadata.name.clone();
    let age = age(metadata.creation_timestamp);
    let going = |text: String| match metadata.deletion_timestamp {
        Some(_) => format!("{text} (deleting)"),
        None => text,
    };
    match &object {
        Object::Jail(jail) => {
            let status = jail.status.clone().unwrap_or_default();
            let binding = status.binding.as_ref();
            let bound = binding.into_iter().flat_map(|binding| &binding.attachments);
            let bound = bound.flat_map(|one| &one.addresses);
            let observed = status.interfaces.iter().flat_map(|one| &one.addresses);
            let addresses = bound.chain(observed).map(|one| one.address.to_string());
            let host = binding.map(|binding| binding.host.clone());
            let image = jail.spec.image.as_ref();
            let root = jail.spec.root.as_ref().map(|root| root.path.clone());
            let root = root.or_else(|| image.map(|image| format!("image {}", image.name)));
            let (ready, reason) = ready(&status.conditions);
            let phase = match status.phase.as_str() {
                "" => "Pending",
                phase => phase,
            };
            vec![
                name,
                host.or_else(|| jail.spec.host.clone()).unwrap_or_default(),
                going(phase.to_owned()),
                ready,
                addresses.collect::<Vec<_>>().join(","),
                age,
                status.jid.map(|jid| jid.to_string()).unwrap_or_default(),
                listed(jail.spec.networks.iter().map(|one| one.network.clone())),
                root.unwrap_or_default(),
                reason,
            ]
        }
        Object::JailSet(set) => {
            let status = set.status.clone().unwrap_or_default();
            let (ready, reason) = ready(&status.conditions);
            vec![
                name,
                if set.spec.paused {
                    format!("{ready} (paused)")
                } else {
                    going(ready)
                },
                format!("{}/{}", status.ready, set.spec.replicas()),
                status.updated.to_string(),
                status.available.to_string(),
                age,
                status.update_revision.clone(),
                reason,
            ]
        }
        Object::Network(network) => {
            let spec = &network.spec;
            let mode = spec.mode();
            let status = network.status.clone().unwrap_or_default();
            let (ready, reason) = ready(&status.conditions);
            let uplink = mode.and_then(|mode| mode.uplink().map(str::to_owned));
            vec![
                name,
                mode.map(|mode| mode.name()).unwrap_or_default().to_owned(),
                going(ready),
                uplink.unwrap_or_default(),
                listed(spec.subnets.iter().map(|subnet| subnet.cidr.to_string())),
                age,
                reason,
            ]
        }
        Object::Image(image) => {
            let release = &image.spec.release;
            vec![
                name,
                going(release.version.clone().unwrap_or_default()),
                release.sha256.chars().take(12).collect(),
                age,
                release.tarball.clone(),
            ]
        }
        Object::Host(host) => {
            let status = host.status.clone().unwrap_or_default();
            let (ready, reason) = ready(&status.conditions);
            vec![
                name,
                if host.spec.paused {
                    format!("{ready} (paused)")
                } else {
                    ready
                },
                format!("{}/{}", status.jails.ready, status.jails.bound),
                status.facts.map(|facts| facts.release).unwrap_or_default(),
                age,
                listed(host.spec.uplinks.keys().cloned()),
                reason,
            ]
        }
    }
}

fn listed(names: impl Iterator<Item = String>) -> String {
    names.collect::<Vec<_>>().join(",")
}

/// How long ago that was, as `jailctl` says it.
pub(super) fn age(since: Option<Timestamp>) -> String {
    column::age(since, Timestamp::now())
}
