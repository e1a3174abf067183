//! What zfs(8) and zpool(8) refuse, and what they leave behind, beyond the recordings.

use super::*;

fn with_pool() -> Emulator {
    let mut host = host();
    for line in [
        "zpool create tank ada0",
        "zfs create -p tank/cb/images/a",
        "zfs snapshot tank/cb/images/a@whole",
    ] {
        assert_eq!(host.sh(line).status, 0, "{line}");
    }
    host
}

fn refused(host: &mut Emulator, line: &str, text: &str) {
    let output = host.sh(line);
    assert_ne!(output.status, 0, "{line}");
    assert_eq!(output.stderr.trim_end(), text, "{line}");
}

#[test]
fn a_host_without_the_module() {
    let mut host = host();
    host.kernel.modules_missing.insert("zfs".to_owned());
    let text = "Failed to load zfs module: No such file or directory";
    refused(&mut host, "zfs list", text);
    refused(&mut host, "zpool list", text);
    let text = "kldload: can't load zfs: No such file or directory";
    refused(&mut host, "kldload -n zfs", text);
}

#[test]
fn a_pool_for_reading_alone_and_one_that_is_full() {
    let mut host = with_pool();
    host.files.set_full(true);
    refused(
        &mut host,
        "zfs create tank/x",
        "cannot create 'tank/x': out of space",
    );
    host.files.set_full(false);
    host.sh("zpool export tank");
    host.sh("zpool import -o readonly=on tank");
    let listed = host.sh("zpool list -H -p -o name,health,readonly tank");
    assert_eq!(listed.stdout, "tank\tONLINE\ton\n");
    let text = "cannot create 'tank/x': pool is read-only";
    refused(&mut host, "zfs create tank/x", text);
}

#[test]
fn clones_are_told_and_parents_made() {
    let mut host = with_pool();
    let line = "zfs clone -p tank/cb/images/a@whole tank/cb/roots/r";
    assert_eq!(host.sh(line).status, 0);
    let listed =
        host.sh("zfs list -H -p -r -t filesystem,snapshot,volume -o name,type,clones tank/cb");
    let expected = "tank/cb\tfilesystem\t-\ntank/cb/images\tfilesystem\t-\ntank/cb/images/a\tfilesystem\t-\n\
        tank/cb/images/a@whole\tsnapshot\ttank/cb/roots/r\ntank/cb/roots\tfilesystem\t-\ntank/cb/roots/r\tfilesystem\t-\n";
    assert_eq!(listed.stdout, expected);
}

#[test]
fn a_nullfs_holds_what_it_shows_and_a_mount_point_goes_with_its_dataset() {
    let mut host = with_pool();
    host.sh("zfs create tank/cb/b");
    host.sh("mkdir -p /tank/cb/b/base /mnt");
    assert_eq!(host.sh("mount -t nullfs /tank/cb/b/base /mnt").status, 0);
    let text = "cannot unmount '/tank/cb/b': pool or dataset is busy";
    refused(&mut host, "zfs destroy tank/cb/b", text);
    host.sh("umount /mnt");
    assert!(host.files.is_directory("/tank/cb/b"));
    assert_eq!(host.sh("zfs destroy tank/cb/b").status, 0);
    assert!(!host.files.exists("/tank/cb/b"));
}

#[test]
fn flags_stay_with_their_files() {
    let mut host = with_pool();
    for line in [
        "touch /tank/cb/images/a/init",
        "chflags schg /tank/cb/images/a/init",
        "zfs snapshot tank/cb/images/a@flags",
        "zfs clone tank/cb/images/a@flags tank/clone",
    ] {
        assert_eq!(host.sh(line).status, 0, "{line}");
    }
    assert!(host.files.has_immutable("/tank/clone/init"));
    assert_eq!(host.sh("zfs destroy tank/clone").status, 0);
    assert!(!host.files.exists("/tank/clone"));
}
