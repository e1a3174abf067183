//! What is kept: file systems that were renamed, mounted over, not mounted or snapshotted by somebody, and what they stand on.

use super::*;

fn keep(row: &Row, path: &str) {
    let written = row.world.host.emulator().files.write(path, b"kept");
    written.expect("the file tree takes it");
}

#[track_caller]
fn is_kept(row: &Row, path: &str) {
    assert_eq!(
        row.entry(path),
        Some(Entry::File(b"kept".to_vec())),
        "{path}"
    );
}

/// Gives the Image of the manifest another digest.
fn change_image(row: &mut Row, text: &str) {
    let other = "0".repeat(64);
    let changed = text.replace(DIGEST, &other);
    row.fleet.apply(&changed).expect("it is admitted");
    let added = {
        let mut emulator = row.world.host.emulator();
        emulator.add_base("/var/cache/base-15.1-amd64.txz", &other)
    };
    added.expect("the file tree takes it");
}

#[test]
fn a_root_renamed_under_its_jail_is_not_emptied_where_it_is_mounted() {
    for jail in ["thick", "thin"] {
        let mut row = Row::up(&only(jail));
        let dataset = row.dataset(jail);
        let file = format!("/{dataset}/root/var/kept");
        keep(&row, &file);
        row.world
            .run(&format!("zfs rename -u {dataset} zroot/kept"));
        row.rest();
        row.fleet.delete(Kind::Jail, jail).expect("it may go");
        row.take();
        row.not_ready(jail, "RootBusy", "`zroot/kept` is mounted on it");
        is_kept(&row, &file);
        row.world.run("zfs unmount zroot/kept");
        row.take();
        row.take();
        assert!(row.fleet.index.jail(jail).is_none());
        row.world.run("zfs mount zroot/kept");
        is_kept(&row, "/zroot/kept/root/var/kept");
    }
}

#[test]
fn what_is_mounted_over_ours_is_not_taken_for_it() {
    let mut row = Row::up(&only("thick"));
    let dataset = row.dataset("thick");
    let file = format!("/{dataset}/root/var/kept");
    keep(&row, &file);
    for (at, reason) in [
        (dataset.as_str(), "DatasetMoved"),
        ("zroot/cellblock/roots", "StorageMissing"),
        (TOP, "StorageMissing"),
    ] {
        row.world
            .run(&format!("zfs create -o mountpoint=/{at} zroot/over"));
        // As in a copy of the storage.
        let mark = format!("/{at}/cellblock");
        keep(&row, &mark);
        row.not_ready("thick", reason, "`zroot/over`, mounted on");
        row.fleet.apply(&only("thick")).expect("it is admitted");
        row.take();
        let emulator = row.world.host.emulator();
        let seen = emulator.files.iter();
        let seen: Vec<String> = seen
            .map(|(path, _)| path.to_owned())
            .filter(|path| path.starts_with(&format!("/{at}/")))
            .collect();
        drop(emulator);
        assert_eq!(seen, [mark], "nothing was written over it");
        row.world.run("zfs unmount -f zroot/over");
        row.world.run("zfs destroy zroot/over");
        is_kept(&row, &file);
        row.all_true();
    }
    row.world
        .run(&format!("zfs create -o mountpoint=/{dataset} zroot/over"));
    row.fleet.delete(Kind::Jail, "thick").expect("it may go");
    row.take();
    row.not_ready("thick", "DatasetMoved", "`zroot/over`, mounted on");
    row.world.run("zfs unmount -f zroot/over");
    is_kept(&row, &file);
}

#[test]
fn the_base_of_a_root_that_cannot_be_seen_stays() {
    let text = only("thin");
    let mut row = Row::up(&text);
    change_image(&mut row, &text);
    row.take();
    row.all_true();
    let dataset = row.dataset("thin");
    let image = format!("{TOP}/images/{DIGEST}");
    let leave = |row: &Row| {
        row.world.run("jail -r thin");
        for at in ["dev", "basejail"] {
            row.world.run(&format!("umount /{dataset}/root/{at}"));
        }
    };
    for (away, back) in [
        (
            format!("zfs unmount {dataset}"),
            format!("zfs mount {dataset}"),
        ),
        (
            format!("zfs rename {dataset} {TOP}/kept"),
            format!("zfs rename {TOP}/kept {dataset}"),
        ),
        (
            format!("zfs rename {dataset} zroot/kept"),
            format!("zfs rename zroot/kept {dataset}"),
        ),
    ] {
        leave(&row);
        row.world.run(&away);
        row.rest();
        assert!(row.datasets().contains(&image), "{away}");
        row.world.run(&back);
        row.all_true();
    }
    row.delete("thin");
    assert_eq!(row.datasets(), BARE);
}

#[test]
fn a_snapshot_is_ours_by_its_mark_and_not_by_its_name() {
    let mut row = Row::new(&only("thick"));
    let image = format!("{TOP}/images/{DIGEST}");
    while !row.datasets().contains(&image) {
        row.world.pass().expect("it goes on");
    }
    row.world.run(&format!("zfs snapshot {image}@cellblock"));
    row.not_ready("thick", "DatasetTaken", "was not taken by us");
    row.world
        .run(&format!("zfs rename {image}@cellblock {image}@mine"));
    row.all_true();
    let dataset = row.dataset("thick");
    let file = format!("/{dataset}/root/var/kept");
    keep(&row, &file);
    row.world.run(&format!("zfs snapshot {dataset}@cellblock"));
    row.fleet.delete(Kind::Jail, "thick").expect("it may go");
    row.take();
    row.not_ready(
        "thick",
        "DatasetBusy",
        &format!("zfs rename {dataset} zroot/kept"),
    );
    assert!(row.datasets().contains(&format!("{dataset}@cellblock")));
    row.world.run(&format!("zfs rename {dataset} zroot/kept"));
    row.take();
    row.take();
    assert!(row.fleet.index.jail("thick").is_none());
    is_kept(&row, "/zroot/kept/root/var/kept");
    let listed = row
        .world
        .run("zfs list -H -r -t snapshot -o name zroot/kept");
    assert_eq!(listed, "zroot/kept@cellblock\n");
}

#[test]
fn a_root_that_was_whole_is_not_made_anew() {
    let running = only("thick");
    let text = running.replace("spec:\n  host:", "spec:\n  runPolicy: Stopped\n  host:");
    assert!(text.contains("Stopped"));
    let mut row = Row::new(&running);
    let dataset = row.dataset("thick");
    let root = format!("/{dataset}/root");
    while row.entry(&root).is_none() {
        row.world.pass().expect("it goes on");
    }
    assert!(!row.world.run("jls name").contains("thick"));
    row.fleet.apply(&text).expect("it is admitted");
    row.take();
    keep(&row, &format!("{root}/var/kept"));
    row.world.run(&format!("mv {root} {root}.keep"));
    change_image(&mut row, &running);
    row.take();
    row.not_ready("thick", "RootLost", "put back the folder `root`");
    is_kept(&row, &format!("{root}.keep/var/kept"));
}

#[test]
fn a_dataset_that_cannot_hold_roots_is_told() {
    let mut row = Row::new(&only("thick"));
    row.world.run(&format!("zfs set -u mountpoint=/ {TOP}"));
    row.not_ready("thick", "StorageMissing", "the host's root file system");
    row.world
        .run(&format!("zfs set -u mountpoint=/{TOP} {TOP}"));
    row.world.run(&format!("zfs set readonly=on {TOP}"));
    row.not_ready("thick", "StorageMissing", "readonly=off");
    row.world.run(&format!("zfs set readonly=off {TOP}"));
    row.all_true();
}

#[test]
fn a_copy_of_a_lost_root_is_taken_where_the_operator_says_so() {
    let mut row = Row::up(&only("thick"));
    let dataset = row.dataset("thick");
    let file = format!("/{dataset}/root/var/kept");
    keep(&row, &file);
    stop(&row, "thick");
    let get = |row: &Row, property: &str| {
        let found = row
            .world
            .run(&format!("zfs get -H -p -o value {property} {dataset}"));
        found.trim_end().to_owned()
    };
    let owner = get(&row, "cellblock:owner");
    for line in [
        format!("zfs snapshot {dataset}@copy"),
        format!("zfs clone -o cellblock:owner={owner} {dataset}@copy zroot/copy"),
        "zfs promote zroot/copy".to_owned(),
        format!("zfs destroy {dataset}"),
        format!("zfs rename zroot/copy {dataset}"),
    ] {
        row.world.run(&line);
    }
    let words = format!("zfs set cellblock:adopt={} {dataset}", get(&row, "guid"));
    row.not_ready("thick", "DatasetTaken", &words);
    row.world.run(&words);
    row.all_true();
    is_kept(&row, &file);
    row.world.reboot();
    row.all_true();
}

#[test]
fn an_image_whose_snapshot_was_promoted_away_gets_it_back() {
    let mut row = Row::up(&only("thick"));
    let dataset = row.dataset("thick");
    let image = format!("{TOP}/images/{DIGEST}");
    row.world.run(&format!("zfs promote {dataset}"));
    row.all_true();
    row.fleet.delete(Kind::Jail, "thick").expect("it may go");
    row.take();
    row.not_ready("thick", "DatasetBusy", &format!("zfs promote {image}"));
    row.world.run(&format!("zfs promote {image}"));
    row.take();
    row.take();
    assert_eq!(row.datasets(), BARE);
}
