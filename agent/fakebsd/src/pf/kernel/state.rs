//! States: the connections pf knows, found by the addresses and ports on either side of a translation.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::pf::rule::{Direction, ScrubActions};

use super::RuleId;

/// A state's id, unique for good.
pub type StateId = u64;

/// Addresses and ports of a connection on one side of a translation. For a state made by an incoming packet the
/// packet's source is place 0, for an outgoing one place 1, as in `struct pf_state_key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateKey {
    /// Protocol number.
    pub protocol: u8,
    /// The two ends.
    pub ends: [(IpAddr, u16); 2],
}

/// Which address of a sticky pool a source has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceNode {
    /// Where the first packet came from.
    pub source: IpAddr,
    /// The address out of the pool.
    pub address: IpAddr,
}

/// One connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Its id.
    pub id: StateId,
    /// The way of the packet that made it.
    pub direction: Direction,
    /// The interface it is bound to; `None` if it floats.
    pub interface: Option<String>,
    /// The interface that the first packet went through.
    pub original_interface: String,
    /// The key on the wire.
    pub wire: StateKey,
    /// The key towards the stack.
    pub stack: StateKey,
    /// Progress of the end that began, and of the other: for TCP its states 0 (CLOSED) to 10 (TIME_WAIT), else 0 to 2.
    pub progress: [u8; 2],
    /// The filter or translation rule that made it, and its anchor's rule number.
    pub rule: Option<RuleId>,
    /// Place of that rule in its list.
    pub rule_number: u32,
    /// The translation rule.
    pub translation: Option<RuleId>,
    /// What `sticky-address` remembers as long as there is the state.
    pub source_node: Option<SourceNode>,
    /// Rules of `match` that it passed.
    pub matches: Vec<RuleId>,
    /// Labels of its rule, kept beyond the rule's life.
    pub labels: Vec<String>,
    /// What its packets are scrubbed of.
    pub scrub: ScrubActions,
    /// Address of `route-to` or `reply-to`.
    pub route: Option<IpAddr>,
    /// `no-sync`, `sloppy`, `pflow`, `allow-opts`.
    pub flags: [bool; 4],
    /// Virtual time it was made.
    pub created: Duration,
    /// Virtual time it goes unless a packet comes.
    pub expires: Duration,
    /// Packets from the beginner, and back.
    pub packets: [u64; 2],
    /// Their bytes.
    pub bytes: [u64; 2],
}

impl State {
    /// The rules whose counters it moves.
    pub(in crate::pf) fn rules(&self) -> Vec<RuleId> {
        self.rule
            .iter()
            .chain(&self.translation)
            .chain(&self.matches)
            .cloned()
            .collect()
    }

    /// Source and destination as `-k` compares them (`pf_killstates_row`): of the wire, or of the stack for `-k nat`.
    pub(in crate::pf) fn ends(&self, stack: bool) -> ((IpAddr, u16), (IpAddr, u16)) {
        let key = if stack { &self.stack } else { &self.wire };
        match self.direction {
            Direction::Out => (key.ends[1], key.ends[0]),
            Direction::In => (key.ends[0], key.ends[1]),
        }
    }
}

/// All states, with an index by key for each direction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StateTable {
    states: BTreeMap<StateId, State>,
    wire: BTreeMap<StateKey, Vec<StateId>>,
    stack: BTreeMap<StateKey, Vec<StateId>>,
    last: StateId,
    /// No state expires before.
    next_expiry: Option<Duration>,
}

impl StateTable {
    pub(in crate::pf) fn iter(&self) -> impl Iterator<Item = &State> {
        self.states.values()
    }

    pub(in crate::pf) fn len(&self) -> usize {
        self.states.len()
    }

    pub(in crate::pf) fn next_id(&mut self) -> StateId {
        self.last += 1;
        // A kernel begins at the time of boot in the upper half.
        (1 << 32) | self.last
    }

    pub(in crate::pf) fn insert(&mut self, state: State) {
        self.wire.entry(state.wire).or_default().push(state.id);
        self.stack.entry(state.stack).or_default().push(state.id);
        self.next_expiry = Some(
            self.next_expiry
                .map_or(state.expires, |next| next.min(state.expires)),
        );
        self.states.insert(state.id, state);
    }

    pub(in crate::pf) fn remove(&mut self, id: StateId) -> Option<State> {
        let state = self.states.remove(&id)?;
        for (index, key) in [(&mut self.wire, state.wire), (&mut self.stack, state.stack)] {
            if let Some(ids) = index.get_mut(&key) {
                ids.retain(|known| *known != id);
                if ids.is_empty() {
                    index.remove(&key);
                }
            }
        }
        Some(state)
    }

    pub(in crate::pf) fn get_mut(&mut self, id: StateId) -> Option<&mut State> {
        self.states.get_mut(&id)
    }

    /// The state a packet belongs to: incoming packets are compared with the wire, outgoing ones with the stack.
    pub(in crate::pf) fn find(
        &self,
        key: &StateKey,
        direction: Direction,
        interface: &str,
    ) -> Option<StateId> {
        let index = if direction == Direction::In {
            &self.wire
        } else {
            &self.stack
        };
        let fits = |id: &&StateId| {
            self.states.get(id).is_some_and(|state| {
                state
                    .interface
                    .as_deref()
                    .is_none_or(|bound| bound == interface)
            })
        };
        index.get(key)?.iter().find(fits).copied()
    }

    /// Whether a key is taken on the wire by any state.
    pub(in crate::pf) fn is_taken(&self, key: &StateKey) -> bool {
        self.wire.contains_key(key)
    }

    /// Removes and returns what has expired.
    pub(in crate::pf) fn expire(&mut self, now: Duration) -> Vec<State> {
        if self.next_expiry.is_none_or(|next| next > now) {
            return Vec::new();
        }
        let ids: Vec<StateId> = self
            .iter()
            .filter(|state| state.expires <= now)
            .map(|state| state.id)
            .collect();
        let gone = ids.into_iter().filter_map(|id| self.remove(id)).collect();
        self.next_expiry = self.iter().map(|state| state.expires).min();
        gone
    }
}
