//! The parser against the recordings, and against long paths and paths with blanks.

use proptest::prelude::*;

use super::parse;
use crate::observe::recording::stdout;

fn triples(text: &str) -> Vec<(String, String, String)> {
    parse(text)
        .into_iter()
        .map(|mount| (mount.source, mount.target, mount.fs_type))
        .collect()
}

fn triple(source: &str, target: &str, fs_type: &str) -> (String, String, String) {
    (source.to_owned(), target.to_owned(), fs_type.to_owned())
}

#[test]
fn the_mounts_of_a_jail() {
    let mounts = triples(&stdout("08-mounts-rctl-jailconf", "mount -p", 1));
    assert_eq!(mounts.len(), 6);
    assert_eq!(mounts[0], triple("/dev/vtbd0", "/", "ufs"));
    assert_eq!(mounts[4], triple("/", "/jails/thin/basejail", "nullfs"));
    assert_eq!(mounts[5], triple("devfs", "/jails/thin/dev", "devfs"));
}

#[test]
fn long_paths_and_blanks() {
    let text = "zroot/cellblock/jails/with-a-long-name /usr/local/cellblock/jails/with-a-long-name zfs\trw,noatime \t0 0\n/mnt/with blank\t\t/jails/a b\t\tnullfs\tro\t\t0 0\n";
    assert_eq!(
        triples(text),
        [
            triple(
                "zroot/cellblock/jails/with-a-long-name",
                "/usr/local/cellblock/jails/with-a-long-name",
                "zfs"
            ),
            triple("/mnt/with blank", "/jails/a b", "nullfs"),
        ]
    );
}

proptest! {
    #[test]
    fn hostile_text_never_panics(text in "\\PC*|[ \\t/a0-9\\n\u{3000}é]*") {
        let _ = parse(&text);
    }
}
