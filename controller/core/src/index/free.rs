//! The used addresses of one scope as disjoint intervals, so that the next free address is found without visiting the used
//! ones.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cellblock_schemas::net::{AddressRange, Family};

/// A set of addresses, kept as intervals that neither overlap nor touch.
///
/// Adding, removing and [`Self::next_free`] take O(log n) in the number of intervals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// First to last, both included.
    intervals: BTreeMap<(Family, u128), u128>,
}

impl Used {
    /// Adds one address.
    pub fn insert(&mut self, address: IpAddr) {
        let (family, number) = to_number(address);
        if self.covering(family, number).is_some() {
            return;
        }
        let mut first = number;
        let mut last = number;
        if let Some(below) = number.checked_sub(1)
            && let Some((start, _)) = self.covering(family, below)
        {
            first = start;
        }
        if let Some(above) = number.checked_add(1)
            && let Some(end) = self.intervals.remove(&(family, above))
        {
            last = end;
        }
        self.intervals.insert((family, first), last);
    }

    /// Removes one address.
    pub fn remove(&mut self, address: IpAddr) {
        let (family, number) = to_number(address);
        let Some((first, last)) = self.covering(family, number) else {
            return;
        };
        self.intervals.remove(&(family, first));
        if first < number {
            self.intervals.insert((family, first), number - 1);
        }
        if number < last {
            self.intervals.insert((family, number + 1), last);
        }
    }

    /// Whether nothing is used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    /// Whether an address of `range` is used.
    #[must_use]
    pub fn any_in(&self, range: &AddressRange) -> bool {
        let (family, first) = to_number(range.first);
        let (_, last) = to_number(range.last);
        let nearest = self.intervals.range(..=(family, last)).next_back();
        nearest.is_some_and(|((found, _), end)| *found == family && *end >= first)
    }

    /// The lowest address of `range` that is neither used nor in one of `holes`.
    #[must_use]
    pub fn next_free(&self, range: &AddressRange, holes: &[AddressRange]) -> Option<IpAddr> {
        self.search(range, holes, &mut 0)
    }

    /// The same, and how many intervals and holes were passed over until it was found.
    #[must_use]
    pub fn next_free_counted(
        &self,
        range: &AddressRange,
        holes: &[AddressRange],
    ) -> (Option<IpAddr>, usize) {
        let mut passed = 0;
        (self.search(range, holes, &mut passed), passed)
    }

    fn search(
        &self,
        range: &AddressRange,
        holes: &[AddressRange],
        count: &mut usize,
    ) -> Option<IpAddr> {
        let (family, mut candidate) = to_number(range.first);
        let (_, end) = to_number(range.last);
        // Each round passes over one interval or one hole for good, so there are at most as many rounds as intervals met
        // one after the other with holes between them: intervals do not touch, so behind one there is a hole or freedom.
        while candidate <= end {
            let hole = holes
                .iter()
                .filter(|hole| Family::of(hole.first) == family)
                .map(|hole| (to_number(hole.first).1, to_number(hole.last).1))
                .find(|(first, last)| *first <= candidate && candidate <= *last);
            let passed = match self.covering(family, candidate) {
                Some((_, last)) => last,
                None => match hole {
                    Some((_, last)) => last,
                    None => return Some(to_address(family, candidate)),
                },
            };
            *count += 1;
            candidate = passed.checked_add(1)?;
        }
        None
    }

    /// The upper address of the lowest pair in `range` whose two addresses, an even one and the one behind it, are neither used
    /// nor in one of `holes`: the two ends of a /31 or /127.
    #[must_use]
    pub fn next_free_pair(&self, range: &AddressRange, holes: &[AddressRange]) -> Option<IpAddr> {
        let mut rest = *range;
        let (family, end) = to_number(range.last);
        loop {
            let (_, lower) = to_number(self.next_free(&rest, holes)?);
            // An odd address that is free alone has no partner to be had.
            let upper = lower.checked_add(1).filter(|upper| *upper <= end)?;
            let address = to_address(family, upper);
            let alone = AddressRange {
                first: address,
                last: address,
            };
            if lower % 2 == 0 && self.next_free(&alone, holes).is_some() {
                return Some(address);
            }
            rest.first = address;
        }
    }

    fn covering(&self, family: Family, number: u128) -> Option<(u128, u128)> {
        let ((found, first), last) = self.intervals.range(..=(family, number)).next_back()?;
        (*found == family && number <= *last).then_some((*first, *last))
    }
}

/// An address as a number within its family.
#[must_use]
pub fn to_number(address: IpAddr) -> (Family, u128) {
    match address {
        IpAddr::V4(address) => (Family::Ipv4, u128::from(address.to_bits())),
        IpAddr::V6(address) => (Family::Ipv6, address.to_bits()),
    }
}

/// The inverse of [`to_number`]. Numbers beyond the family's last address are cut to it.
#[must_use]
pub fn to_address(family: Family, number: u128) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into(),
        Family::Ipv6 => Ipv6Addr::from_bits(number).into(),
    }
}

#[cfg(test)]
mod tests;
