//! Keys are ordered as their texts are, and walking along a map finds what looking up finds.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn keys_are_ordered_as_their_texts(a in "[\u{0}-c]{0,20}", b in "[\u{0}-c]{0,20}") {
        prop_assert_eq!(Key::new(&a).cmp(&Key::new(&b)), a.cmp(&b));
    }

    #[test]
    fn a_walk_finds_what_a_search_finds(
        map in prop::collection::btree_map("[a-c]{0,3}".prop_map(Uid), any::<u8>(), 0..20),
        mut asked in prop::collection::vec("[a-c]{0,3}", 0..20),
    ) {
        asked.sort();
        let mut walk = Cursor::new(&map);
        for uid in &asked {
            prop_assert_eq!(walk.get(uid), map.get(&Uid(uid.clone())));
        }
    }
}
