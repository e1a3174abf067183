//! Objects as tables that fit a terminal, one shape per kind.
//!
//! A table that has not room enough first shows fewer of a list's entries, then fewer blanks between columns, and at last cuts the longest
//! cells; names, lists and the last column only where a person looks at them, never in what a script may read.

use cellblock_schemas::Kind;
use cellblock_schemas::column::{self, ready};
use cellblock_schemas::host::Host;
use cellblock_schemas::image::Image;
use cellblock_schemas::jail::Jail;
use cellblock_schemas::jail_set::JailSet;
use cellblock_schemas::network::Network;
use jiff::Timestamp;

use self::fit::Cell;
use crate::client::Stored;

mod fit;
#[cfg(test)]
mod tests;

pub use fit::Room;

/// How much of a digest tells it from others, for people.
const DIGEST_CHARS: usize = 12;

/// Renders objects, a table per kind. `heading`: with column names.
#[must_use]
pub fn render(objects: &[Stored], room: Room, heading: bool) -> String {
    let wide = matches!(room, Room::Wide);
    let mut tables = Vec::new();
    for kind in Kind::ALL {
        let of_kind = objects.iter().filter(|object| object.kind == kind);
        let mut rows: Vec<Vec<Cell>> = of_kind.map(cells).collect();
        if rows.is_empty() {
            continue;
        }
        let columns = columns(kind, wide);
        for row in &mut rows {
            row.truncate(columns.len());
        }
        tables.push(fit::table(heading.then_some(columns), rows, room));
    }
    tables.join("\n")
}

/// Lays out rows of what is no object; the columns `names` are of names.
pub(crate) fn plain(
    heading: &[&str],
    names: &[usize],
    rows: Vec<Vec<String>>,
    room: Room,
) -> String {
    let cell = |(place, text): (usize, String)| {
        if names.contains(&place) {
            Cell::Name(text)
        } else {
            Cell::Text(text)
        }
    };
    let cells = |row: Vec<String>| row.into_iter().enumerate().map(cell).collect();
    fit::table(Some(heading), rows.into_iter().map(cells).collect(), room)
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
        (Kind::JailSet, false) => &["NAME", "READY", "JAILS", "UPDATED", "AVAILABLE", "AGE"],
        (Kind::JailSet, true) => &[
            "NAME",
            "READY",
            "JAILS",
            "UPDATED",
            "AVAILABLE",
            "AGE",
            "REVISION",
            "REASON",
        ],
        (Kind::Network, false) => &["NAME", "MODE", "READY", "UPLINK", "SUBNETS", "AGE"],
        (Kind::Network, true) => &[
            "NAME",
            "MODE",
            "READY",
            "UPLINK",
            "SUBNETS",
            "AGE",
            "SCOPE",
            "NAT",
            "ISOLATION",
            "REASON",
        ],
        (Kind::Image, false) => &["NAME", "VERSION", "SHA256", "AGE"],
        (Kind::Image, true) => &["NAME", "VERSION", "SHA256", "AGE", "TARBALL"],
        (Kind::Host, false) => &["NAME", "READY", "JAILS", "RELEASE", "AGE"],
        (Kind::Host, true) => &[
            "NAME", "READY", "JAILS", "RELEASE", "AGE", "PF", "UPLINKS", "REASON",
        ],
    }
}

fn cells(object: &Stored) -> Vec<Cell> {
    let cells = match object.kind {
        Kind::Jail => serde_json::from_value(object.value.clone()).map(|jail| jail_cells(&jail)),
        Kind::JailSet => {
            serde_json::from_value(object.value.clone()).map(|set| jail_set_cells(&set))
        }
        Kind::Network => {
            serde_json::from_value(object.value.clone()).map(|network| network_cells(&network))
        }
        Kind::Image => {
            serde_json::from_value(object.value.clone()).map(|image| image_cells(&image))
        }
        Kind::Host => serde_json::from_value(object.value.clone()).map(|host| host_cells(&host)),
    };
    // A document of a newer controller that these types do not hold still has its name.
    cells.unwrap_or_else(|_| vec![Cell::name(&object.name)])
}

fn jail_cells(jail: &Jail) -> Vec<Cell> {
    let status = jail.status.clone().unwrap_or_default();
    let attachments = status
        .binding
        .as_ref()
        .map(|binding| binding.attachments.as_slice())
        .unwrap_or_default();
    let bound = attachments.iter().flat_map(|bound| &bound.addresses);
    let observed = status.interfaces.iter().flat_map(|one| &one.addresses);
    let addresses = bound
        .chain(observed)
        .map(|bound| bound.address.to_string())
        .collect();
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
    let networks = jail.spec.networks.iter();
    let image = jail.spec.image.as_ref();
    let root = jail.spec.root.as_ref().map(|root| root.path.clone());
    let root = root.or_else(|| image.map(|image| format!("image {}", image.name)));
    vec![
        Cell::name(&jail.metadata.name),
        Cell::name(&host.unwrap_or_default()),
        Cell::text(if jail.metadata.deletion_timestamp.is_some() {
            format!("{phase} (deleting)")
        } else {
            phase
        }),
        Cell::text(ready),
        Cell::List(addresses),
        Cell::text(age(jail.metadata.creation_timestamp)),
        Cell::text(status.jid.map(|jid| jid.to_string()).unwrap_or_default()),
        Cell::List(networks.map(|one| one.network.clone()).collect()),
        Cell::text(root.unwrap_or_default()),
        Cell::text(reason),
    ]
}

fn network_cells(network: &Network) -> Vec<Cell> {
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
    let subnets = spec.subnets.iter();
    let status = network.status.clone().unwrap_or_default();
    let (ready, reason) = ready(&status.conditions);
    vec![
        Cell::name(&network.metadata.name),
        Cell::text(mode.map(|mode| mode.name()).unwrap_or_default().to_owned()),
        Cell::text(if network.metadata.deletion_timestamp.is_some() {
            format!("{ready} (deleting)")
        } else {
            ready
        }),
        Cell::name(
            mode.as_ref()
                .and_then(|mode| mode.uplink())
                .unwrap_or_default(),
        ),
        Cell::List(subnets.map(|subnet| subnet.cidr.to_string()).collect()),
        Cell::text(age(network.metadata.creation_timestamp)),
        Cell::text(scope.to_owned()),
        Cell::text(nat.map(|nat| nat.uplink.clone()).unwrap_or_default()),
        Cell::text(isolation.to_owned()),
        Cell::text(reason),
    ]
}

fn jail_set_cells(set: &JailSet) -> Vec<Cell> {
    let status = set.status.clone().unwrap_or_default();
    let (ready, reason) = ready(&status.conditions);
    let mut notes = ready;
    if set.metadata.deletion_timestamp.is_some() {
        notes += " (deleting)";
    } else if set.spec.paused {
        notes += " (paused)";
    }
    vec![
        Cell::name(&set.metadata.name),
        Cell::text(notes),
        Cell::text(format!("{}/{}", status.ready, set.spec.replicas())),
        Cell::text(status.updated.to_string()),
        Cell::text(status.available.to_string()),
        Cell::text(age(set.metadata.creation_timestamp)),
        Cell::text(status.update_revision),
        Cell::text(reason),
    ]
}

fn image_cells(image: &Image) -> Vec<Cell> {
    let release = &image.spec.release;
    let version = release.version.clone().unwrap_or_default();
    let digest: String = release.sha256.chars().take(DIGEST_CHARS).collect();
    vec![
        Cell::name(&image.metadata.name),
        Cell::text(if image.metadata.deletion_timestamp.is_some() {
            format!("{version} (deleting)")
        } else {
            version
        }),
        Cell::text(digest),
        Cell::text(age(image.metadata.creation_timestamp)),
        Cell::text(release.tarball.clone()),
    ]
}

fn host_cells(host: &Host) -> Vec<Cell> {
    let status = host.status.clone().unwrap_or_default();
    let (ready, reason) = ready(&status.conditions);
    let pf = status
        .conditions
        .iter()
        .find(|condition| condition.kind == "PfEffective");
    vec![
        Cell::name(&host.metadata.name),
        Cell::text(if host.spec.paused {
            format!("{ready} (paused)")
        } else {
            ready
        }),
        Cell::text(format!("{}/{}", status.jails.ready, status.jails.bound)),
        Cell::text(status.facts.map(|facts| facts.release).unwrap_or_default()),
        Cell::text(age(host.metadata.creation_timestamp)),
        Cell::text(
            pf.map(|condition| condition.status.as_str().to_owned())
                .unwrap_or_default(),
        ),
        Cell::List(host.spec.uplinks.keys().cloned().collect()),
        Cell::text(reason),
    ]
}

/// How long ago that was.
pub(crate) fn age(since: Option<Timestamp>) -> String {
    column::age(since, Timestamp::now())
}
