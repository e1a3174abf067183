//! What rules do to a packet beside passing and translating it.

use super::{Packet, SYN};
use crate::pf::rule::ScrubActions;

const TCP: u8 = 6;

impl ScrubActions {
    /// Adds what another rule asks for (`pf_rule_to_actions`).
    pub(super) fn add(&mut self, other: &Self) {
        self.no_df |= other.no_df;
        self.random_id |= other.random_id;
        self.reassemble_tcp |= other.reassemble_tcp;
        if other.min_ttl != 0 {
            self.min_ttl = other.min_ttl;
        }
        if other.max_mss != 0 {
            self.max_mss = other.max_mss;
        }
        self.set_tos = other.set_tos.or(self.set_tos);
        self.set_prio = other.set_prio.or(self.set_prio);
    }

    /// What happens to a packet, in the words of pf.conf(5) (`pf_scrub`, `pf_normalize_mss`); none for one that it does not concern.
    pub(super) fn words(&self, packet: &Packet) -> Option<String> {
        let is_ipv4 = packet.source.is_ipv4();
        let has_mss = packet.protocol == TCP && packet.flags & SYN != 0;
        let words: Vec<String> = [
            (is_ipv4 && self.no_df).then(|| "no-df".to_owned()),
            (is_ipv4 && self.random_id).then(|| "random-id".to_owned()),
            (self.min_ttl != 0).then(|| format!("min-ttl {}", self.min_ttl)),
            (has_mss && self.max_mss != 0).then(|| format!("max-mss {}", self.max_mss)),
            self.set_tos.map(|tos| format!("set-tos {tos:#04x}")),
        ]
        .into_iter()
        .flatten()
        .collect();
        (!words.is_empty()).then(|| format!("scrub: {}", words.join(" ")))
    }
}
