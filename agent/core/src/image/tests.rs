use cellblock_schemas::ids::{ClusterUid, Uid};
use cellblock_schemas::jail::Layout;

use super::RootMark;

#[test]
fn a_mark_is_read_as_it_was_written() {
    for layout in [Layout::Thick, Layout::Thin] {
        let mark = RootMark {
            cluster: ClusterUid("c1".to_owned()),
            jail: Uid("j1".to_owned()),
            layout,
            digest: "0a".repeat(32),
        };
        assert_eq!(RootMark::parse(&mark.to_string()), Some(mark));
    }
    for text in [
        "",
        "cellblock:c1:j1:thick:0a",
        "other:c1:j1:thick:",
        "cellblock:c1",
    ] {
        assert_eq!(RootMark::parse(text), None, "{text}");
    }
}
