//! The intervals against a plain set.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn v4(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

fn range(first: u8, last: u8) -> AddressRange {
    AddressRange {
        first: v4(first),
        last: v4(last),
    }
}

proptest! {
    #[test]
    fn agrees_with_a_plain_set(
        steps in prop::collection::vec((any::<bool>(), 0_u8..40), 0..120),
        (first, length) in (0_u8..40, 0_u8..40),
        (hole, hole_length) in (0_u8..40, 0_u8..8),
    ) {
        let mut used = Used::default();
        let mut set = BTreeSet::new();
        for (add, number) in steps {
            if add {
                used.insert(v4(number));
                set.insert(number);
            } else {
                used.remove(v4(number));
                set.remove(&number);
            }
        }
        let wanted = range(first, first.saturating_add(length));
        let holes = [range(hole, hole.saturating_add(hole_length))];
        let expected = (first..=first.saturating_add(length))
            .find(|number| !set.contains(number) && !holes[0].contains(v4(*number)))
            .map(v4);
        prop_assert_eq!(used.next_free(&wanted, &holes), expected);
        prop_assert_eq!(used.is_empty(), set.is_empty());
    }
}

#[test]
fn families_do_not_meet() {
    let mut used = Used::default();
    used.insert("255.255.255.255".parse().expect("an address"));
    used.insert("::".parse().expect("an address"));
    let range: AddressRange = "::-::2".parse().expect("a range");
    assert_eq!(
        used.next_free(&range, &[]),
        Some("::1".parse().expect("an address"))
    );
    let last: AddressRange = "255.255.255.255".parse().expect("a range");
    assert_eq!(used.next_free(&last, &[]), None);
}

#[test]
fn a_pair_needs_both_of_its_addresses() {
    let mut used = Used::default();
    let subnet = range(1, 9);
    // 192.0.2.0 lies outside.
    assert_eq!(used.next_free_pair(&subnet, &[]), Some(v4(3)));
    used.insert(v4(3));
    let gateway = [range(4, 4)];
    assert_eq!(used.next_free_pair(&subnet, &gateway), Some(v4(7)));
    used.insert(v4(6));
    assert_eq!(used.next_free_pair(&subnet, &gateway), Some(v4(9)));
    used.insert(v4(8));
    assert_eq!(used.next_free_pair(&subnet, &gateway), None);
    let top = Ipv4Addr::BROADCAST.into();
    let top = AddressRange {
        first: top,
        last: top,
    };
    assert_eq!(used.next_free_pair(&top, &[]), None);
}
