//! How a connection proceeds, and how long its state lives: `pf_tcp_track_full` and its kin.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{ACK, FIN, Packet, RST, SYN};
use crate::pf::kernel::State;
use crate::pf::names::TIMEOUTS;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP6: u8 = 58;

const SYN_SENT: u8 = 2;
const ESTABLISHED: u8 = 4;
const CLOSING: u8 = 7;
const FIN_WAIT_2: u8 = 9;
const TIME_WAIT: u8 = 10;

/// The type of the request that an ICMP type belongs to, and whether it is the request itself.
pub(super) fn echo(protocol: u8, icmp_type: u8) -> Option<(u8, bool)> {
    match (protocol, icmp_type) {
        (ICMP, 8) => Some((8, true)),
        (ICMP, 0) => Some((8, false)),
        (ICMP6, 128) => Some((128, true)),
        (ICMP6, 129) => Some((128, false)),
        _ => None,
    }
}

/// An ICMP error has no state of its own.
pub(super) fn makes_state(packet: &Packet) -> bool {
    !packet.fragment
        && packet
            .icmp
            .is_none_or(|icmp| echo(packet.protocol, icmp.icmp_type).is_some())
}

pub(super) fn first_progress(protocol: u8) -> [u8; 2] {
    match protocol {
        TCP => [SYN_SENT, 0],
        ICMP | ICMP6 => [0, 0],
        _ => [1, 0],
    }
}

/// Moves both ends on for a packet from the beginner (`forward`) or back.
pub(super) fn advance(state: &mut State, packet: &Packet, forward: bool) {
    let [mut sender, mut receiver] = state.progress;
    if !forward {
        std::mem::swap(&mut sender, &mut receiver);
    }
    match packet.protocol {
        TCP => {
            if packet.flags & SYN != 0 {
                sender = sender.max(SYN_SENT);
            }
            if packet.flags & FIN != 0 {
                sender = sender.max(CLOSING);
            }
            if packet.flags & ACK != 0 {
                receiver = match receiver {
                    SYN_SENT => ESTABLISHED,
                    CLOSING => FIN_WAIT_2,
                    other => other,
                };
            }
            if packet.flags & RST != 0 {
                (sender, receiver) = (TIME_WAIT, TIME_WAIT);
            }
        }
        ICMP | ICMP6 => {}
        _ => {
            sender = sender.max(1);
            if receiver == 1 {
                receiver = 2;
            }
        }
    }
    if !forward {
        std::mem::swap(&mut sender, &mut receiver);
    }
    state.progress = [sender, receiver];
}

/// How long the state lives without a further packet; a rule's own timeouts come before the general ones.
pub(super) fn lifetime(
    state: &State,
    general: &[u32],
    own: &BTreeMap<u8, u32>,
    fresh: bool,
) -> Duration {
    let [begin, end] = state.progress;
    let name = match state.wire.protocol {
        TCP if fresh => "tcp.first",
        TCP if begin >= FIN_WAIT_2 && end >= FIN_WAIT_2 => "tcp.closed",
        TCP if begin >= CLOSING && end >= CLOSING => "tcp.finwait",
        TCP if begin < ESTABLISHED || end < ESTABLISHED => "tcp.opening",
        TCP if begin >= CLOSING || end >= CLOSING => "tcp.closing",
        TCP => "tcp.established",
        ICMP | ICMP6 if fresh => "icmp.first",
        ICMP | ICMP6 => "icmp.error",
        UDP if fresh => "udp.first",
        UDP if begin == 2 && end == 2 => "udp.multiple",
        UDP => "udp.single",
        _ if fresh => "other.first",
        _ if begin == 2 && end == 2 => "other.multiple",
        _ => "other.single",
    };
    let seconds = TIMEOUTS
        .iter()
        .position(|(known, _)| *known == name)
        .and_then(|place| {
            let index = u8::try_from(place).ok()?;
            own.get(&index).or_else(|| general.get(place)).copied()
        });
    Duration::from_secs(u64::from(seconds.unwrap_or(0)))
}
