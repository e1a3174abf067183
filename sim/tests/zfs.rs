//! Roots on ZFS: `examples/jails/j03-zfs` brought up by the real controller core and the real agent, taken away, killed at every effect; and what people and pools do to datasets meanwhile.

use std::path::Path;
use std::time::Duration;

use cellblock_fakebsd::Release;
use cellblock_fakebsd::files::Entry;
use cellblock_schemas::Kind;
use cellblock_schemas::condition::{Condition, ConditionStatus};
use cellblock_schemas::report::HostReport;
use cellblock_sim::World;
use cellblock_sim::crash::Moment;
use cellblock_sim::fleet::Fleet;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

#[path = "zfs/kept.rs"]
mod kept;

const ROUNDS_MAX: usize = 200;
const HOST: &str = "fbsd-01";
const TOP: &str = "zroot/cellblock";
const STORAGE: &str = "/zroot/cellblock";
const DIGEST: &str = "5eb10a3f9c47d2068be1f0937a26c4d85e913b07f6c2a84d1e5709b3c8f6a2d4";

/// What is left of the storage when nothing is in it.
const BARE: [&str; 3] = [TOP, "zroot/cellblock/images", "zroot/cellblock/roots"];

struct Row {
    fleet: Fleet,
    world: World,
}

impl Row {
    /// The manifest, given to a host with a pool and the tarballs that the manifest names.
    fn new(manifest: &str) -> Self {
        let mut fleet = Fleet::default();
        fleet.apply(manifest).expect("it is admitted");
        let mut world = World::new(Release::V15_1);
        world.run("zpool create zroot ada0");
        world.run(&format!("zfs create -p {TOP}"));
        for entry in fleet.index.list(Kind::Image, None) {
            let release = &entry.image().expect("it is one").spec.release;
            let mut emulator = world.host.emulator();
            let made = emulator.add_base(&release.tarball, &release.sha256);
            made.expect("an empty file tree takes a file");
        }
        world.take(fleet.view(HOST).expect("the example has its host"));
        Self { fleet, world }
    }

    fn up(manifest: &str) -> Self {
        let mut row = Self::new(manifest);
        row.all_true();
        row
    }

    fn all_true(&mut self) {
        let report = self.rest();
        for condition in report.jails.iter().flat_map(|jail| &jail.conditions) {
            assert_eq!(condition.status, ConditionStatus::True, "{condition:?}");
        }
    }

    fn rest(&mut self) -> HostReport {
        let rest = self.world.converge(ROUNDS_MAX);
        let report = rest.expect("it comes to rest").last.report;
        self.fleet.hear(HOST, &report).expect("it is folded");
        report
    }

    fn take(&mut self) -> HostReport {
        let view = self.fleet.view(HOST).expect("the host is there");
        self.world.take(view);
        self.rest()
    }

    fn delete(&mut self, jail: &str) -> HostReport {
        self.fleet.delete(Kind::Jail, jail).expect("it may go");
        self.take();
        self.take()
    }

    fn uid(&self, jail: &str) -> String {
        let jail = self.fleet.index.jail(jail).expect("it is there");
        jail.metadata.uid.to_string()
    }

    /// The dataset of a jail's root.
    fn dataset(&self, jail: &str) -> String {
        format!("{TOP}/roots/{}", self.uid(jail))
    }

    /// Everything below the storage, and itself.
    fn datasets(&self) -> Vec<String> {
        let listed = self
            .world
            .run(&format!("zfs list -H -r -t all -o name {TOP}"));
        listed.lines().map(str::to_owned).collect()
    }

    fn entry(&self, path: &str) -> Option<Entry> {
        self.world.host.emulator().files.entry(path).cloned()
    }

    fn condition(&self, report: &HostReport, jail: &str, kind: &str) -> Condition {
        let uid = self.uid(jail);
        let mut jails = report.jails.iter();
        let jail = jails
            .find(|jail| jail.uid.as_str() == uid)
            .expect("it is reported");
        let mut conditions = jail.conditions.iter();
        let found = conditions.find(|condition| condition.kind == kind);
        found.expect("it has the condition").clone()
    }

    /// What a jail is not ready for, with the words that go with it.
    #[track_caller]
    fn not_ready(&mut self, jail: &str, reason: &str, words: &str) {
        let report = self.rest();
        let ready = self.condition(&report, jail, "Ready");
        assert_eq!(ready.reason, reason, "{ready:?}");
        assert!(ready.message.contains(words), "{ready:?}");
    }
}

fn manifest() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/jails/j03-zfs/zfs.yaml");
    std::fs::read_to_string(path).expect("examples are committed")
}

/// The manifest with one of its two jails.
fn only(jail: &str) -> String {
    let text = manifest();
    let documents = text.split("---\n");
    let documents: Vec<&str> = documents
        .filter(|document| {
            !document.contains("kind: Jail") || document.contains(&format!("name: {jail}\n"))
        })
        .collect();
    documents.join("---\n")
}

#[test]
fn j03_thick_jails_are_clones_and_thin_ones_have_a_dataset() {
    let mut row = Row::up(&manifest());
    let (thick, thin) = (row.dataset("thick"), row.dataset("thin"));
    let image = format!("{TOP}/images/{DIGEST}");
    let columns = "name,origin,mountpoint,mounted";
    let found = row
        .world
        .run(&format!("zfs list -H -o {columns} {thick} {thin}"));
    let expected = format!("{thick}\t{image}@cellblock\t/{thick}\tyes\n{thin}\t-\t/{thin}\tyes\n");
    assert_eq!(found, expected);
    for (path, content) in [("thick/bin/sh", true), ("thin/etc/passwd", true)] {
        let (jail, path) = path.split_once('/').expect("a jail and a path");
        let found = row.entry(&format!("/{}/root/{path}", row.dataset(jail)));
        assert_eq!(matches!(found, Some(Entry::File(_))), content, "{path}");
    }
    let left = row.entry(&format!("/{thick}/tarball"));
    assert_eq!(left, None, "a clone keeps nothing but its root");
    let mounts = row.world.run("mount -p");
    let base = format!("/{image}/base");
    assert!(
        mounts
            .lines()
            .any(|line| line.starts_with(&base) && line.contains("nullfs") && line.contains("ro"))
    );
    // An agent with nothing in memory finds the same, and nothing to do.
    row.world.start(None);
    let changing = row.world.changing_commands();
    row.rest();
    assert_eq!(row.world.changing_commands(), changing);
    row.world.reboot();
    row.all_true();
    // The image stays as long as a clone stands on it.
    row.delete("thin");
    assert!(row.datasets().contains(&image));
    row.delete("thick");
    assert_eq!(row.datasets(), BARE);
    let left = row.entry(&format!("{STORAGE}/roots"));
    assert_eq!(left, Some(Entry::Directory));
    let emulator = row.world.host.emulator();
    let below = emulator.files.iter().map(|(path, _)| path.to_owned());
    let below: Vec<String> = below
        .filter(|path| path.starts_with(&format!("{STORAGE}/")))
        .collect();
    let expected = ["cellblock", "images", "roots"].map(|name| format!("{STORAGE}/{name}"));
    assert_eq!(below, expected);
}

#[test]
fn a_look_asks_zfs_as_often_for_many_jails_as_for_one() {
    let asked = |jails: usize| {
        let mut text = only("thick");
        for number in 1..jails {
            text.push_str(&format!(
                "---\napiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata:\n  name: more-{number}\nspec:\n  host: {HOST}\n  image: {{name: base-15-1}}\n"
            ));
        }
        let mut row = Row::up(&text);
        row.world.start(None);
        let before = row.world.host.emulator().log.len();
        row.world.pass().expect("it is looked at");
        let emulator = row.world.host.emulator();
        let commands = emulator.log[before..].iter();
        let programs = commands.filter_map(|logged| logged.argv.first());
        programs
            .filter(|program| ["zfs", "zpool"].contains(&program.rsplit('/').next().unwrap_or("")))
            .count()
    };
    assert_eq!(asked(1), 2);
    assert_eq!(asked(12), 2);
}

#[test]
fn the_agent_dies_at_every_effect() {
    for jail in ["thick", "thin"] {
        let text = only(jail);
        let whole = Row::up(&text);
        let effects = whole.world.effects();
        for moment in
            (0..effects).flat_map(|n| [Moment::Before(n), Moment::Within(n), Moment::After(n)])
        {
            let mut row = Row::new(&text);
            row.world.start(Some(moment));
            let _ = row.world.converge(ROUNDS_MAX);
            row.world.start(None);
            let report = row.rest();
            for condition in report.jails.iter().flat_map(|jail| &jail.conditions) {
                let fine = condition.status == ConditionStatus::True;
                assert!(fine, "{jail} {moment:?} {condition:?}");
            }
            assert_eq!(row.datasets(), whole.datasets(), "{jail} {moment:?}");
        }
        let mut dying = Row::up(&text);
        let made = dying.world.effects();
        dying.delete(jail);
        let effects = dying.world.effects() - made;
        for moment in
            (0..effects).flat_map(|n| [Moment::Before(n), Moment::Within(n), Moment::After(n)])
        {
            let mut row = Row::up(&text);
            row.fleet.delete(Kind::Jail, jail).expect("it may go");
            let view = row.fleet.view(HOST).expect("the host is there");
            row.world.take(view);
            row.world.start(Some(moment));
            let _ = row.world.converge(ROUNDS_MAX);
            row.world.start(None);
            row.rest();
            row.take();
            assert_eq!(row.datasets(), BARE, "{jail} {moment:?}");
        }
    }
}

#[test]
fn a_host_without_zfs_or_its_pool_is_told() {
    let mut row = Row::new(&only("thick"));
    let missing = |row: &Row, is: bool| {
        let mut emulator = row.world.host.emulator();
        let missing = &mut emulator.kernel.modules_missing;
        if is {
            missing.insert("zfs".to_owned());
        } else {
            missing.clear();
        }
    };
    missing(&row, true);
    row.not_ready("thick", "StorageMissing", "Failed to load zfs module");
    missing(&row, false);
    // Roots stay where they were made.
    for other in ["dataset: zroot/other", "path: /usr/local/cellblock"] {
        let moved = only("thick").replace("dataset: zroot/cellblock", other);
        let refused = row.fleet.apply(&moved).expect_err("a root is there");
        assert!(
            format!("{refused:#}").contains("spec.storage"),
            "{refused:#}"
        );
    }
    let pool = only("thick").replace("zroot/cellblock", "zroot");
    let refused = Fleet::default().apply(&pool).expect_err("a whole pool");
    let refused = format!("{refused:#}");
    assert!(refused.contains("below a pool"), "{refused}");
    row.world.run("zpool export zroot");
    row.not_ready("thick", "StorageMissing", "zpool import zroot");
    row.world.run("zpool import -o readonly=on zroot");
    row.not_ready("thick", "StorageMissing", "for reading alone");
    row.world.run("zpool export zroot");
    row.world.run("zpool import zroot");
    row.world.run(&format!("zfs destroy {TOP}"));
    row.not_ready("thick", "StorageMissing", "zfs create -p zroot/cellblock");
    row.world.run(&format!("zfs create {TOP}"));
    row.world.run(&format!("zfs unmount {TOP}"));
    row.not_ready("thick", "StorageMissing", "zfs mount zroot/cellblock");
    row.world.run(&format!("zfs mount {TOP}"));
    row.world.run(&format!("zfs set mountpoint=none {TOP}"));
    row.not_ready("thick", "StorageMissing", "mountpoint");
    row.world.run(&format!("zfs inherit mountpoint {TOP}"));
    row.all_true();
}

#[test]
fn a_pool_that_is_full_is_told_and_goes_on_when_it_is_not() {
    let mut row = Row::new(&only("thick"));
    row.world.pass().expect("the storage is marked");
    row.world.host.emulator().files.set_full(true);
    for _ in 0..3 {
        let _ = row.world.pass();
    }
    let report = row.world.pass().expect("it is looked at").report;
    let ready = row.condition(&report, "thick", "Ready");
    assert_ne!(ready.status, ConditionStatus::True);
    row.world.host.emulator().files.set_full(false);
    row.all_true();
}

#[test]
fn what_was_moved_away_is_not_made_anew() {
    let mut row = Row::up(&manifest());
    let dataset = row.dataset("thick");
    let guid = row
        .world
        .run(&format!("zfs get -H -p -o value guid {dataset}"));
    row.world.run(&format!("zfs unmount -f {dataset}"));
    row.not_ready("thick", "DatasetMoved", &format!("zfs mount {dataset}"));
    row.world.run(&format!("zfs mount {dataset}"));
    row.all_true();
    for (away, back, words) in [
        (
            format!("zfs set mountpoint=/elsewhere {dataset}"),
            format!("zfs inherit mountpoint {dataset}"),
            "zfs inherit mountpoint",
        ),
        (
            format!("zfs rename {dataset} {TOP}/kept"),
            format!("zfs rename {TOP}/kept {dataset}"),
            "zfs rename zroot/cellblock/kept",
        ),
    ] {
        stop(&row, "thick");
        row.world.run(&away);
        row.not_ready("thick", "DatasetMoved", words);
        let report = row.rest();
        let thin = row.condition(&report, "thin", "Ready");
        assert_eq!(thin.status, ConditionStatus::True, "{thin:?}");
        row.world.run(&back);
        row.all_true();
    }
    let now = row
        .world
        .run(&format!("zfs get -H -p -o value guid {dataset}"));
    assert_eq!(now, guid);
    stop(&row, "thick");
    row.world.run(&format!("zfs rename {dataset} zroot/kept"));
    row.not_ready("thick", "RootLost", "put it back");
    assert!(!row.datasets().contains(&dataset));
    // Another one under the name is not it, and is not touched.
    row.world.run(&format!("zfs create {dataset}"));
    row.not_ready("thick", "DatasetTaken", "is not the one");
    row.fleet.delete(Kind::Jail, "thick").expect("it may go");
    row.take();
    row.not_ready("thick", "DatasetTaken", "is not the one");
    assert!(row.datasets().contains(&dataset));
    row.world.run(&format!("zfs destroy {dataset}"));
    row.take();
    row.take();
    assert!(row.fleet.index.jail("thick").is_none());
    assert!(row.world.run("zfs list -H -o name").contains("zroot/kept"));
}

/// Ends the jail as somebody on the host would who is about to do something to its root, and keeps the agent from seeing it before.
fn stop(row: &Row, jail: &str) {
    row.world.run(&format!("jail -r {jail}"));
    row.world
        .run(&format!("umount /{}/root/dev", row.dataset(jail)));
}

#[test]
fn datasets_of_others_are_neither_used_nor_touched() {
    let mut row = Row::new(&manifest());
    row.world.run(&format!("zfs create {TOP}/other"));
    let image = format!("{TOP}/images/{DIGEST}");
    row.world.run(&format!("zfs create -p {image}"));
    row.not_ready("thick", "DatasetTaken", "was not made by us");
    row.world.run(&format!("zfs destroy {image}"));
    let dataset = row.dataset("thick");
    row.world.run(&format!("zfs create -p {dataset}"));
    row.not_ready("thick", "DatasetTaken", "was not made by us");
    row.world
        .run(&format!("zfs rename {dataset} {TOP}/roots/mine"));
    row.all_true();
    // What was put below ours keeps it.
    row.world.run(&format!("zfs snapshot {dataset}@mine"));
    row.fleet.delete(Kind::Jail, "thick").expect("it may go");
    row.take();
    row.not_ready("thick", "DatasetBusy", "@mine");
    row.world.run(&format!("zfs destroy {dataset}@mine"));
    row.take();
    row.take();
    assert!(row.fleet.index.jail("thick").is_none());
    // A clone that somebody made of the image keeps that.
    row.world
        .run(&format!("zfs clone {image}@cellblock zroot/clone"));
    row.delete("thin");
    assert!(row.datasets().contains(&image));
    row.world.run("zfs destroy zroot/clone");
    row.take();
    let mut left: Vec<String> = BARE.map(str::to_owned).to_vec();
    left.insert(2, format!("{TOP}/other"));
    left.push(format!("{TOP}/roots/mine"));
    assert_eq!(row.datasets(), left);
}

#[test]
fn a_dying_jail_is_waited_for() {
    let text = only("thick").replace(
        "metadata:\n  name: thick\nspec:\n",
        "metadata:\n  name: thick\nspec:\n  networks: [{network: lan}]\n",
    );
    let network = "---\napiVersion: cellblock.dev/v1alpha1\nkind: Network\nmetadata:\n  name: lan\nspec:\n  bridge: {}\n  subnets:\n  - {cidr: 10.30.0.0/24}\n";
    let mut row = Row::up(&(text + network));
    let dataset = row.dataset("thick");
    row.world
        .host
        .emulator()
        .open_tcp("thick", Duration::from_secs(40));
    row.fleet.delete(Kind::Jail, "thick").expect("it may go");
    let view = row.fleet.view(HOST).expect("the host is there");
    row.world.take(view);
    let mut waited = false;
    for _ in 0..4 {
        let passed = row.world.pass().expect("it goes on");
        let mut waiting = passed.plan.waiting.iter();
        waited |= waiting.any(|waiting| waiting.message.contains(&dataset));
        assert!(row.datasets().contains(&dataset));
    }
    assert!(waited);
    // Its interface went with it, so the kernel gives the connection up (`finwait2_timeout`).
    row.world.sleep(700_000);
    row.rest();
    row.take();
    assert_eq!(row.datasets(), BARE);
}

#[test]
fn a_directory_with_something_in_it_is_not_mounted_over() {
    let mut row = Row::new(&only("thin"));
    let file = format!("{STORAGE}/images/old/file");
    {
        let mut emulator = row.world.host.emulator();
        let folder = emulator
            .files
            .create_directories(&format!("{STORAGE}/images/old"));
        folder.expect("the file tree takes it");
        let written = emulator.files.write(&file, b"kept");
        written.expect("the file tree takes it");
    }
    row.not_ready("thin", "DatasetTaken", "a directory with something in it");
    assert!(row.entry(&file).is_some());
    row.world
        .host
        .emulator()
        .files
        .remove_tree(&format!("{STORAGE}/images"));
    row.all_true();
}

#[test]
fn a_root_that_was_begun_for_another_image_is_begun_anew() {
    let text = only("thick");
    for rounds in 0..12 {
        let mut row = Row::new(&text);
        for _ in 0..rounds {
            let _ = row.world.pass();
        }
        let was_made = row.world.run("jls name").contains("thick");
        let other = "0".repeat(64);
        let changed = text.replace(DIGEST, &other);
        row.fleet.apply(&changed).expect("it is admitted");
        let added = {
            let mut emulator = row.world.host.emulator();
            emulator.add_base("/var/cache/base-15.1-amd64.txz", &other)
        };
        added.expect("the file tree takes it");
        row.take();
        row.all_true();
        if !was_made {
            let origin = row.world.run(&format!(
                "zfs get -H -o value origin {}",
                row.dataset("thick")
            ));
            assert!(
                origin.contains(&other) || origin.contains(DIGEST),
                "{origin}"
            );
        }
        row.delete("thick");
        assert_eq!(row.datasets(), BARE, "after {rounds} rounds");
    }
}

/// What somebody does to the datasets of a host, and the agent does not like.
#[derive(Clone, Copy, Debug)]
enum Hand {
    UnmountUnderJail,
    Unmount,
    Rename,
    RenameUnderJail,
    MountOver,
    Remount,
    Snapshot,
    FillDisk,
    Reboot,
    KillJail,
}

fn hand() -> impl Strategy<Value = Hand> {
    prop_oneof![
        Just(Hand::UnmountUnderJail),
        Just(Hand::Unmount),
        Just(Hand::Rename),
        Just(Hand::RenameUnderJail),
        Just(Hand::MountOver),
        Just(Hand::Remount),
        Just(Hand::Snapshot),
        Just(Hand::FillDisk),
        Just(Hand::Reboot),
        Just(Hand::KillJail),
    ]
}

/// Does it, as far as zfs(8) lets anybody.
fn act(row: &mut Row, hand: Hand) {
    let dataset = row.dataset("thick");
    let tell = |row: &Row, line: String| {
        row.world.host.emulator().sh(&line);
    };
    if matches!(
        hand,
        Hand::Unmount | Hand::Rename | Hand::Remount | Hand::KillJail
    ) {
        tell(row, "jail -r thick".to_owned());
        tell(row, format!("umount /{dataset}/root/dev"));
    }
    match hand {
        Hand::UnmountUnderJail => tell(row, format!("zfs unmount -f {dataset}")),
        Hand::Unmount => tell(row, format!("zfs unmount {dataset}")),
        Hand::Rename => tell(row, format!("zfs rename {dataset} {TOP}/kept")),
        Hand::RenameUnderJail => tell(row, format!("zfs rename -u {dataset} {TOP}/kept")),
        Hand::MountOver => tell(
            row,
            format!("zfs create -o mountpoint=/{dataset} zroot/over"),
        ),
        Hand::Remount => tell(row, format!("zfs set mountpoint=/elsewhere {dataset}")),
        Hand::Snapshot => tell(row, format!("zfs snapshot {dataset}@mine")),
        Hand::FillDisk => row.world.host.emulator().files.set_full(true),
        Hand::Reboot => row.world.reboot(),
        Hand::KillJail => {}
    }
}

/// What undoes all of it, in an order in which it can be undone.
fn undo(row: &Row) {
    let dataset = row.dataset("thick");
    let mut emulator = row.world.host.emulator();
    emulator.files.set_full(false);
    emulator.sh("zfs unmount -f zroot/over");
    emulator.sh("zfs destroy zroot/over");
    let mounts = emulator.sh("zfs mount").stdout;
    let stays = mounts.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words == [format!("{TOP}/kept"), format!("/{dataset}")]
    });
    let rename = if stays { "rename -u" } else { "rename" };
    for line in [
        format!("zfs {rename} {TOP}/kept {dataset}"),
        format!("zfs inherit mountpoint {dataset}"),
        format!("zfs mount {dataset}"),
        format!("zfs destroy {dataset}@mine"),
    ] {
        emulator.sh(&line);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource(
            "proptest-regressions",
        ))),
        ..ProptestConfig::default()
    })]

    /// Whatever people do to datasets, and wherever the agent dies meanwhile: nothing that a jail has written is lost, no dataset is another one afterwards, strangers' are untouched, and once it is undone all
    /// jails run and nothing is left to do.
    #[test]
    fn nothing_is_lost(hands in prop::collection::vec((hand(), 0_usize..12), 1..5)) {
        let mut row = Row::up(&manifest());
        row.world.run(&format!("zfs create {TOP}/roots/other"));
        let guids = |row: &Row| {
            let listed = format!("zfs list -H -r -t all -o name,guid {TOP}");
            row.world.run(&listed)
        };
        let kept = ["thick", "thin"].map(|jail| format!("/{}/root/var/kept", row.dataset(jail)));
        for path in &kept {
            let written = row.world.host.emulator().files.write(path, b"kept");
            written.expect("the file tree takes it");
        }
        let before = guids(&row);
        for (hand, moment) in hands {
            act(&mut row, hand);
            row.world.start(Some(Moment::Within(moment)));
            let _ = row.world.converge(20);
            row.world.start(None);
            let _ = row.world.converge(20);
            undo(&row);
            row.all_true();
            for path in &kept {
                prop_assert_eq!(row.entry(path), Some(Entry::File(b"kept".to_vec())), "{:?}", hand);
            }
            prop_assert_eq!(guids(&row), before.clone(), "{:?}", hand);
        }
        let changing = row.world.changing_commands();
        row.rest();
        prop_assert_eq!(row.world.changing_commands(), changing);
        row.delete("thick");
        row.delete("thin");
        let mut left: Vec<String> = BARE.map(str::to_owned).to_vec();
        left.push(format!("{TOP}/roots/other"));
        prop_assert_eq!(row.datasets(), left);
    }
}
