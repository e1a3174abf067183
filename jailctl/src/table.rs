//! Objects as tables that fit a terminal, one shape per kind.

use cellblock_schemas::Kind;
use cellblock_schemas::condition::{Condition, ConditionStatus};
use cellblock_schemas::host::Host;
use cellblock_schemas::jail::Jail;
use cellblock_schemas::network::Network;
use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;

use crate::client::Stored;

/// Renders objects, a table per kind. `heading`: with column names.
#[must_use]
pub fn render(objects: &[Stored], wide: bool, heading: bool) -> String {
    let mut text = String::new();
    for kind in Kind::ALL {
        let rows: Vec<&Stored> = objects
            .iter()
            .filter(|object| object.kind == kind)
            .collect();
        if rows.is_empty() {
            continue;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
        let columns = columns(kind, wide);
        if heading {
            table.set_header(columns.iter().copied());
        }
        for object in rows {
            let mut cells = cells(object, wide);
            cells.truncate(columns.len());
            table.add_row(cells);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 3));
        }
        for line in table.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text
}

fn columns(kind: Kind, wide: bool) -> &'static [&'static str] {
    match (kind, wide) {
        (Kind::Jail, false) => &["NAME", "HOST", "PHASE", "READY", "ADDRESSES", "AGE"],
        (Kind::Jail, true) => &[
            "NAME",
            "HOST",
            "PHASE",
            "READY",
            "ADDRESSES",
            "AGE",
            "JID",
            "NETWORKS",
            "ROOT",
            "REASON",
        ],
        (Kind::Network, false) => &["NAME", "MODE", "UPLINK", "SUBNETS", "AGE"],
        (Kind::Network, true) => &[
            "NAME",
            "MODE",
            "UPLINK",
            "SUBNETS",
            "AGE",
            "SCOPE",
            "NAT",
            "ISOLATION",
        ],
        (Kind::Host, false) => &["NAME", "READY", "JAILS", "RELEASE", "AGE"],
        (Kind::Host, true) => &[
            "NAME", "READY", "JAILS", "RELEASE", "AGE", "PF", "UPLINKS", "REASON",
        ],
    }
}

fn cells(object: &Stored, wide: bool) -> Vec<String> {
    let cells = match object.kind {
        Kind::Jail => {
            serde_json::from_value(object.value.clone()).map(|jail| jail_cells(&jail, wide))
        }
        Kind::Network => {
            serde_json::from_value(object.value.clone()).map(|network| network_cells(&network))
        }
        Kind::Host => serde_json::from_value(object.value.clone()).map(|host| host_cells(&host)),
    };
    // A document of a newer controller that these types do not hold still has its name.
    cells.unwrap_or_else(|_| vec![object.name.clone()])
}

fn jail_cells(jail: &Jail, wide: bool) -> Vec<String> {
    let status = jail.status.clone().unwrap_or_default();
    let attachments = status
        .binding
        .as_ref()
        .map(|binding| binding.attachments.as_slice())
        .unwrap_or_default();
    let mut addresses: Vec<String> = attachments
        .iter()
        .flat_map(|attachment| &attachment.addresses)
        .map(|bound| bound.address.to_string())
        .collect();
    if !wide && addresses.len() > 2 {
        let more = addresses.len() - 2;
        addresses.truncate(2);
        addresses.push(format!("+{more}"));
    }
    let (ready, reason) = ready(&status.conditions);
    let phase = if status.phase.is_empty() {
        "Pending".to_owned()
    } else {
        status.phase
    };
    let host = status
        .binding
        .as_ref()
        .map(|binding| binding.host.clone())
        .or_else(|| jail.spec.host.clone());
    vec![
        jail.metadata.name.clone(),
        host.unwrap_or_default(),
        if jail.metadata.deletion_timestamp.is_some() {
            format!("{phase} (deleting)")
        } else {
            phase
        },
        ready,
        addresses.join(","),
        age(jail.metadata.creation_timestamp),
        status.jid.map(|jid| jid.to_string()).unwrap_or_default(),
        jail.spec
            .networks
            .iter()
            .map(|attachment| attachment.network.clone())
            .collect::<Vec<_>>()
            .join(","),
        jail.spec
            .root
            .as_ref()
            .map(|root| root.path.clone())
            .unwrap_or_default(),
        reason,
    ]
}

fn network_cells(network: &Network) -> Vec<String> {
    let spec = &network.spec;
    let mode = spec.mode();
    let scope = match spec.effective_scope() {
        cellblock_schemas::network::Scope::Host => "host",
        cellblock_schemas::network::Scope::Fleet => "fleet",
    };
    let isolation = match spec.isolation {
        cellblock_schemas::network::Isolation::None => "none",
        cellblock_schemas::network::Isolation::Jails => "jails",
        cellblock_schemas::network::Isolation::Spoof => "spoof",
    };
    let nat = spec.egress.as_ref().and_then(|egress| egress.nat.as_ref());
    vec![
        network.metadata.name.clone(),
        mode.map(|mode| mode.name()).unwrap_or_default().to_owned(),
        mode.and_then(|mode| mode.uplink().map(str::to_owned))
            .unwrap_or_default(),
        spec.subnets
            .iter()
            .map(|subnet| subnet.cidr.to_string())
            .collect::<Vec<_>>()
            .join(","),
        age(network.metadata.creation_timestamp),
        scope.to_owned(),
        nat.map(|nat| nat.uplink.clone()).unwrap_or_default(),
        isolation.to_owned(),
    ]
}

fn host_cells(host: &Host) -> Vec<String> {
    let status = host.status.clone().unwrap_or_default();
    let (ready, reason) = ready(&status.conditions);
    let pf = status
        .conditions
        .iter()
        .find(|condition| condition.kind == "PfEffective");
    vec![
        host.metadata.name.clone(),
        if host.spec.paused {
            format!("{ready} (paused)")
        } else {
            ready
        },
        format!("{}/{}", status.jails.ready, status.jails.bound),
        status.facts.map(|facts| facts.release).unwrap_or_default(),
        age(host.metadata.creation_timestamp),
        pf.map(|condition| condition.status.as_str().to_owned())
            .unwrap_or_default(),
        host.spec
            .uplinks
            .keys()
            .cloned()
            .collect::<Vec<_>>()
            .join(","),
        reason,
    ]
}

/// The `Ready` condition's status and, unless it is true, its reason.
fn ready(conditions: &[Condition]) -> (String, String) {
    let Some(ready) = conditions
        .iter()
        .find(|condition| condition.kind == "Ready")
    else {
        let scheduled = conditions
            .iter()
            .find(|condition| condition.kind == "Scheduled");
        return (
            "Unknown".to_owned(),
            scheduled
                .map(|condition| condition.reason.clone())
                .unwrap_or_default(),
        );
    };
    let reason = if ready.status == ConditionStatus::True {
        String::new()
    } else {
        ready.reason.clone()
    };
    (ready.status.as_str().to_owned(), reason)
}

/// How long ago, in the largest whole unit: `42s`, `7m`, `3h`, `12d`.
fn age(created: Option<Timestamp>) -> String {
    let Some(created) = created else {
        return String::new();
    };
    let seconds = Timestamp::now()
        .as_second()
        .saturating_sub(created.as_second())
        .max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}
