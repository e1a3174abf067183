//! How much of a netgraph ngctl(8) can be told: an answer that does not fit its socket's buffer is dropped, and then nothing on it can be managed any more.

use cellblock_schemas::ids::Uid;
use cellblock_schemas::view::HostView;

use crate::names::{LOWER_LINK, UPPER_LINK};
use crate::observed::Observed;
use crate::op::Subject;
use crate::plan::{Planner, reason};

/// How large that buffer is (`ng_attach_common`, sys/netgraph/ng_socket.c).
pub(in crate::plan) const RECVSPACE: &str = "net.graph.recvspace";

/// What it is unless set (`ngpdg_recvspace`).
const RECVSPACE_DEFAULT: usize = 20 * 1024;

/// `struct sockaddr_ng` and `struct ng_mesg` (sys/netgraph/ng_socket.h, ng_message.h), in octets.
const ENVELOPE: usize = 16 + 56;

/// `struct nodeinfo`.
const NODE: usize = 72;

/// `struct linkinfo`.
const LINK: usize = 136;

/// `numnames` of `struct namelist`.
const COUNT: usize = 4;

/// Room that is left for nodes of others: sockets of running programs, and with ng_ether(4) one for each Ethernet interface that comes.
const NODES_SPARE: usize = 16;

/// Whether a jail may have an interface at a switch, as far as that is known without a look at the nodes.
pub(crate) fn may_be_switched(view: &HostView, uid: &Uid) -> bool {
    view.jails.get(uid).is_none_or(|jail| {
        let mut attachments = jail.binding.attachments.iter();
        attachments.any(|attachment| {
            let network = view.networks.get(&attachment.network);
            network.is_none_or(|network| network.spec.netgraph.is_some())
        })
    })
}

fn receive_space(observed: &Observed) -> usize {
    let value = observed.sysctls.get(RECVSPACE).and_then(Option::as_deref);
    value
        .and_then(|value| value.parse().ok())
        .unwrap_or(RECVSPACE_DEFAULT)
}

impl Planner<'_> {
    /// Whether a switch, and the host's netgraph, can take one more interface; else a block is noted.
    pub(super) fn has_room(&mut self, subject: &Subject, switch: &str) -> bool {
        let space = receive_space(self.observed).saturating_sub(ENVELOPE);
        let hooks_max = space.saturating_sub(NODE) / LINK;
        let nodes_max = (space.saturating_sub(COUNT) / NODE).saturating_sub(NODES_SPARE);
        let (what, max) = if self.hooks_of(switch) >= hooks_max {
            ("hooks of a switch", hooks_max)
        } else if self.nodes >= nodes_max {
            ("nodes of a host", nodes_max)
        } else {
            return true;
        };
        let message = format!(
            "more than {max} {what} could not be listed any more, and nothing at a switch be managed, because ngctl's answers have room in {RECVSPACE} only; raise that in spec.sysctls of the Host (136 octets for each hook, 72 for each node), or put the jails on several networks and hosts"
        );
        self.block(subject, reason::NETGRAPH_FULL, message);
        false
    }

    /// How many hooks a switch has after the steps so far, those for its uplink counted.
    fn hooks_of(&self, switch: &str) -> usize {
        let present = self.index.node(switch).map(|node| &node.hooks);
        let staying = present.into_iter().flatten();
        let staying = staying.filter(|(_, peer)| !self.going.contains(&peer.node));
        let desired = self.desired.switches.get(switch);
        let has_uplink = desired.is_some_and(|switch| switch.uplink.is_some());
        let missing = [LOWER_LINK, UPPER_LINK].into_iter();
        let missing = missing
            .filter(|link| has_uplink && present.is_none_or(|hooks| !hooks.contains_key(*link)));
        let first = (switch.to_owned(), 0);
        let last = (switch.to_owned(), u32::MAX);
        staying.count() + missing.count() + self.hooks.range(first..=last).count()
    }
}
