//! Small numbers handed out lowest first: interface units, CPU set identifiers.

use std::collections::BTreeSet;

/// The numbers in use from some first one on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Units {
    used: BTreeSet<u32>,
    /// No free number is below this one, so that a search need not begin at the start.
    lowest: u32,
}

impl Units {
    /// Numbers from `first` on.
    pub(crate) fn starting_at(first: u32) -> Self {
        Self {
            used: BTreeSet::new(),
            lowest: first,
        }
    }

    pub(crate) fn is_used(&self, unit: u32) -> bool {
        self.used.contains(&unit)
    }

    /// Takes a certain number; it must be free.
    pub(crate) fn take(&mut self, unit: u32) {
        self.used.insert(unit);
    }

    /// The lowest free number that `also` allows; it is not taken yet.
    pub(crate) fn lowest_free(&mut self, also: impl Fn(u32) -> bool) -> u32 {
        while self.used.contains(&self.lowest) {
            self.lowest += 1;
        }
        (self.lowest..)
            .find(|unit| !self.used.contains(unit) && also(*unit))
            .expect("u32 has more numbers than there are things to number")
    }

    pub(crate) fn release(&mut self, unit: u32) {
        self.used.remove(&unit);
        self.lowest = self.lowest.min(unit);
    }
}
