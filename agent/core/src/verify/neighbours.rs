//! Whether the host and jails reach each other over failover laggs under netgraph switches, where both have addresses there.

use cellblock_schemas::view::HostView;

use crate::observed::{Neighbour, Observed};
use crate::plan::reason;

/// The first of them that do not, with the way out.
pub(super) fn problem(view: &HostView, observed: &Observed) -> Option<(&'static str, String)> {
    let mut neighbours = observed.neighbours.iter();
    let Neighbour {
        network,
        interface,
        own,
        jail,
        address,
        reached: _,
    } = neighbours.find(|neighbour| !neighbour.reached)?;
    let mut networks = view.networks.values();
    let network = networks.find(|known| known.uid == *network)?;
    let jail = view.jails.get(jail)?;
    let (network, jail) = (&network.name, &jail.name);
    let message = format!(
        "network `{network}`: the host by its {own} on `{interface}` and jail `{jail}` by {address} do not reach each other; a failover lagg discards what comes in by another port than the one in use, and a netgraph switch at it was found to run into that (FreeBSD 13.0): keep the host's own addresses off `{interface}`, or give the jails a second lagg"
    );
    Some((reason::JAILS_NOT_REACHED, message))
}
