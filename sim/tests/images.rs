//! Roots made of images: `examples/jails/j03-thick` and `j04-thin` brought up by the real controller core and the real agent, changed, taken away, and killed at every effect; and tarballs that nothing is made of.

use std::path::Path;
use std::time::Duration;

use cellblock_fakebsd::Release;
use cellblock_fakebsd::archive::{self, HEAD, OWNER, Served, TAIL, sha256_of};
use cellblock_fakebsd::files::{Entry, FileError, FileTree};
use cellblock_schemas::Kind;
use cellblock_schemas::condition::{Condition, ConditionStatus};
use cellblock_schemas::report::HostReport;
use cellblock_sim::World;
use cellblock_sim::crash::Moment;
use cellblock_sim::fleet::Fleet;

const ROUNDS_MAX: usize = 200;
const HOST: &str = "fbsd-01";
const STORAGE: &str = "/usr/local/cellblock";
const THICK: &str = "j03-thick/thick.yaml";
const THIN: &str = "j04-thin/thin.yaml";
const DIGEST: &str = "5eb10a3f9c47d2068be1f0937a26c4d85e913b07f6c2a84d1e5709b3c8f6a2d4";
const URL: &str = "https://download.example.org/releases/amd64/15.1-RELEASE/base.txz";

struct Row {
    fleet: Fleet,
    world: World,
}

impl Row {
    /// The manifest, given to a host with a storage and the tarballs that the manifest names.
    fn new(manifest: &str) -> Self {
        let mut fleet = Fleet::default();
        fleet.apply(manifest).expect("it is admitted");
        let mut world = World::new(Release::V15_1);
        {
            let mut emulator = world.host.emulator();
            let made = emulator.files.create_directories(STORAGE);
            made.expect("an empty file tree takes directories");
            for entry in fleet.index.list(Kind::Image, None) {
                let release = &entry.image().expect("it is one").spec.release;
                let made = emulator.add_base(&release.tarball, &release.sha256);
                made.expect("an empty file tree takes a file");
            }
        }
        world.take(fleet.view(HOST).expect("the example has its host"));
        Self { fleet, world }
    }

    fn up(manifest: &str) -> Self {
        let mut row = Self::new(manifest);
        let report = row.rest();
        for condition in report.jails.iter().flat_map(|jail| &jail.conditions) {
            assert_eq!(condition.status, ConditionStatus::True, "{condition:?}");
        }
        row
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

    /// Deletes every jail, and waits until the controller has let them go.
    fn delete_jails(&mut self) {
        let jails = self.fleet.index.jails_of_host(HOST);
        let jails: Vec<String> = jails.map(|jail| jail.metadata.name.clone()).collect();
        for jail in &jails {
            self.fleet.delete(Kind::Jail, jail).expect("it may go");
        }
        self.take();
        self.take();
        assert_eq!(self.fleet.index.jails_of_host(HOST).count(), 0);
    }

    /// What stands below the storage, but for the two folders of everything.
    fn stored(&self) -> Vec<String> {
        let emulator = self.world.host.emulator();
        let below = format!("{STORAGE}/");
        let paths = emulator.files.iter().map(|(path, _)| path);
        let paths = paths.filter(|path| {
            let name = path.strip_prefix(&below);
            name.is_some_and(|name| !matches!(name, "cellblock" | "images" | "roots"))
        });
        paths.map(str::to_owned).collect()
    }

    fn root(&self, jail: &str) -> String {
        let jail = self.fleet.index.jail(jail).expect("it is there");
        format!("{STORAGE}/roots/{}/root", jail.metadata.uid)
    }

    fn change_files(&self, change: impl FnOnce(&mut FileTree) -> Result<(), FileError>) {
        change(&mut self.world.host.emulator().files).expect("the file tree takes it");
    }

    fn entry(&self, path: &str) -> Option<Entry> {
        self.world.host.emulator().files.entry(path).cloned()
    }

    fn condition(&self, report: &HostReport, jail: &str, kind: &str) -> Condition {
        let uid = &self
            .fleet
            .index
            .jail(jail)
            .expect("it is there")
            .metadata
            .uid;
        let mut jails = report.jails.iter();
        let jail = jails.find(|jail| jail.uid == *uid).expect("it is reported");
        let mut conditions = jail.conditions.iter();
        let found = conditions.find(|condition| condition.kind == kind);
        found.expect("it has the condition").clone()
    }
}

fn manifest(path: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/jails");
    std::fs::read_to_string(folder.join(path)).expect("examples are committed")
}

#[test]
fn j03_thick_jails_have_a_base_each() {
    let mut row = Row::up(&manifest(THICK));
    for jail in ["bsd-test01", "bsd-test02"] {
        let root = row.root(jail);
        assert_eq!(
            row.entry(&format!("{root}/bin/sh")),
            Some(Entry::File(b"the shell".to_vec()))
        );
        assert!(row.world.run("jls -h name path").contains(&root));
    }
    let report = row.rest();
    let made = row.condition(&report, "bsd-test01", "RootMade");
    assert_eq!(made.message, "thick, of image `base-15-1` (5eb10a3f9c47)");
    assert!(row.fleet.delete(Kind::Image, "base-15-1").is_ok());
    let image = row.fleet.index.image("base-15-1").expect("it is in use");
    let status = image.status.as_ref().expect("it says by whom");
    let mut said = status.conditions.iter();
    let in_use = said.find(|condition| condition.kind == "InUse");
    let users = "bsd-test01, bsd-test02";
    assert!(in_use.is_some_and(|in_use| in_use.message.contains(users)));
    row.delete_jails();
    assert_eq!(row.stored(), [""; 0]);
    assert!(row.fleet.index.image("base-15-1").is_none());
}

#[test]
fn j04_thin_jails_share_one_base() {
    let mut row = Row::up(&manifest(THIN));
    let base = format!("{STORAGE}/images/{DIGEST}/base");
    for jail in ["www", "db"] {
        let root = row.root(jail);
        let mounts = row.world.run("mount -p");
        let found = mounts
            .lines()
            .find(|line| line.contains(&format!("{root}/basejail")));
        let found = found.expect("the base is mounted");
        assert!(
            found.starts_with(&base) && found.contains("nullfs") && found.contains("ro"),
            "{found}"
        );
        for (path, target) in [
            ("bin", "basejail/bin"),
            ("sbin", "basejail/sbin"),
            ("usr/bin", "../basejail/usr/bin"),
        ] {
            let found = row.entry(&format!("{root}/{path}"));
            assert_eq!(found, Some(Entry::Symlink(target.to_owned())));
        }
        for own in ["etc", "root", "var/empty", "usr/local", "dev"] {
            let found = row.entry(&format!("{root}/{own}"));
            assert_eq!(found, Some(Entry::Directory), "{own}");
        }
        assert_eq!(row.entry(&format!("{root}/dev/dev")), None);
        assert_eq!(
            row.entry(&format!("{root}/etc/passwd")),
            Some(Entry::File(b"root".to_vec()))
        );
    }
    // Nothing is left to do, and an agent with nothing in memory finds the same.
    row.world.start(None);
    let changing = row.world.changing_commands();
    row.rest();
    assert_eq!(row.world.changing_commands(), changing);
    row.fleet.delete(Kind::Jail, "db").expect("it may go");
    row.take();
    row.take();
    assert_eq!(row.entry(&base), Some(Entry::Directory));
    row.delete_jails();
    assert_eq!(row.stored(), [""; 0]);
}

#[test]
fn roots_stay_what_they_were_made_of() {
    for (example, first, layout) in [(THICK, "bsd-test01", "thick"), (THIN, "www", "thin")] {
        let text = manifest(example);
        let mut row = Row::up(&text);
        let other = "0".repeat(64);
        let changed = text.replace(DIGEST, &other);
        let third = format!(
            "{changed}---\napiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata:\n  name: third\nspec:\n  host: {HOST}\n  image: {{name: base-15-1, layout: {layout}}}\n"
        );
        row.fleet.apply(&third).expect("it is admitted");
        let release = row.fleet.index.image("base-15-1").expect("it is there");
        let tarball = release.spec.release.tarball.clone();
        let added = row.world.host.emulator().add_base(&tarball, &other);
        added.expect("the file tree takes it");
        let before = row.world.run("jls jid name");
        let report = row.take();
        assert!(row.world.run("jls jid name").contains(before.trim_end()));
        let old = row.condition(&report, first, "RootMade");
        assert_eq!(
            (old.status, old.reason.as_str()),
            (ConditionStatus::True, "ImageChanged")
        );
        let new = row.condition(&report, "third", "RootMade");
        assert_eq!(new.reason, "Made", "{}", new.message);
        // What nothing stands on any more is gone, what thin jails share is not.
        let old = format!("{STORAGE}/images/{DIGEST}");
        assert_eq!(row.entry(&old).is_some(), layout == "thin");
        row.delete_jails();
        assert_eq!(row.stored(), [""; 0]);
    }
}

#[test]
fn the_agent_dies_at_every_effect() {
    for example in [THICK, THIN] {
        let text = manifest(example);
        // One jail is enough: what several share is one image.
        let (text, _) = text.rsplit_once("---").expect("several documents");
        let whole = Row::up(text);
        let effects = whole.world.effects();
        for moment in
            (0..effects).flat_map(|n| [Moment::Before(n), Moment::Within(n), Moment::After(n)])
        {
            let mut row = Row::new(text);
            row.world.start(Some(moment));
            let _ = row.world.converge(ROUNDS_MAX);
            row.world.start(None);
            let report = row.rest();
            for condition in report.jails.iter().flat_map(|jail| &jail.conditions) {
                let fine = condition.status == ConditionStatus::True;
                assert!(fine, "{example} {moment:?} {condition:?}");
            }
            assert_eq!(row.stored(), whole.stored(), "{example} {moment:?}");
        }
        let jails = whole.fleet.index.jails_of_host(HOST);
        let jail = jails.map(|jail| jail.metadata.name.clone()).next();
        let jail = jail.expect("a jail");
        let mut dying = Row::up(text);
        let made = dying.world.effects();
        dying.delete_jails();
        let effects = dying.world.effects() - made;
        for moment in (0..effects).flat_map(|n| [Moment::Before(n), Moment::After(n)]) {
            let mut row = Row::up(text);
            row.fleet.delete(Kind::Jail, &jail).expect("it may go");
            let view = row.fleet.view(HOST).expect("the host is there");
            row.world.take(view);
            row.world.start(Some(moment));
            let _ = row.world.converge(ROUNDS_MAX);
            row.world.start(None);
            row.rest();
            row.take();
            assert_eq!(row.stored(), [""; 0], "{example} {moment:?}");
        }
    }
}

#[test]
fn a_slow_tarball_holds_up_nobody_else() {
    let other = format!(
        "---\napiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata:\n  name: other\nspec:\n  host: {HOST}\n  root: {{path: /jails/a}}\n"
    );
    let mut row = Row::new(&(manifest(THIN) + &other));
    {
        let mut emulator = row.world.host.emulator();
        for program in ["fetch", "tar"] {
            emulator
                .slow
                .insert(program.to_owned(), Duration::from_secs(60));
        }
    }
    row.world.take_time();
    let mut said = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let passed = row.world.pass().expect("it goes on");
        row.world.sleep(passed.again_ms.unwrap_or(1_000).max(1_000));
        let ready = row.condition(&passed.report, "www", "Ready");
        if ready.reason == "ImagePreparing" {
            let other = row.condition(&passed.report, "other", "Ready");
            said.push((ready.message, other.reason));
        }
    }
    assert!(
        said.iter()
            .any(|(message, other)| message.contains("fetching") && other == "Running"),
        "{said:#?}"
    );
    assert!(
        said.iter()
            .any(|(message, _)| message.contains("unpacking")),
        "{said:#?}"
    );
    let report = row.rest();
    assert_eq!(
        row.condition(&report, "www", "Ready").status,
        ConditionStatus::True
    );
}

fn tarball_of(entries: &str) -> (Vec<u8>, String) {
    tarball(entries, true)
}

/// A tarball of these entries, with the digest that it really has.
fn tarball(entries: &str, is_whole: bool) -> (Vec<u8>, String) {
    let tail = if is_whole { TAIL } else { "" };
    let bytes = format!("{HEAD}\n{entries}{tail}").into_bytes();
    let digest = sha256_of(&bytes);
    (bytes, digest)
}

#[test]
fn nothing_is_unpacked_that_is_no_release() {
    let text = manifest(THIN);
    for (entries, is_whole, words) in [
        ("f /etc/passwd x\n", true, "an absolute path"),
        ("f ./../etc/passwd x\n", true, "`..` in it"),
        ("l ./etc ../../etc\n", true, "leaves the root"),
        ("h ./a /etc/passwd\n", true, "is outside"),
        ("c ./dev/mem\n", true, "a device"),
        ("f ./bin/sh x\n", false, "Truncated"),
        ("l ./usr /\n", true, "no directory"),
        (
            &format!("{OWNER}a b c d e f g\nf /etc/passwd x\n"),
            true,
            "an absolute path",
        ),
        ("", true, "nothing in it"),
    ] {
        let (bytes, digest) = tarball(entries, is_whole);
        let mut row = Row::new(&text.replace(DIGEST, &digest));
        let served = Served { bytes, cut: None };
        row.world.host.emulator().web.insert(URL.to_owned(), served);
        let report = row.rest();
        let ready = row.condition(&report, "www", "Ready");
        assert_eq!(ready.reason, "ImageRefused", "{ready:?}");
        assert!(ready.message.contains(words), "{ready:?}");
        assert!(
            !row.stored()
                .iter()
                .any(|path| path.ends_with("/base") || path.contains("/root"))
        );
        row.delete_jails();
        assert_eq!(row.stored(), [""; 0]);
    }
}

#[test]
fn another_file_than_was_meant_is_refused_until_it_is_put_right() {
    let mut row = Row::new(&manifest(THIN));
    row.world.take_time();
    let served = Served {
        bytes: archive::base(None),
        cut: None,
    };
    row.world.host.emulator().web.insert(URL.to_owned(), served);
    let report = row.rest();
    let ready = row.condition(&report, "www", "Ready");
    assert_eq!(ready.reason, "ImageRefused");
    assert!(
        ready.message.contains("is not spec.release.sha256"),
        "{ready:?}"
    );
    let added = row.world.host.emulator().add_base(URL, DIGEST);
    added.expect("the server takes it");
    // It is asked for again by itself, and not before the hour is over.
    let report = row.rest();
    assert_eq!(
        row.condition(&report, "www", "Ready").reason,
        "ImageRefused"
    );
    row.world.sleep(3_600_000);
    let report = row.rest();
    assert_eq!(
        row.condition(&report, "www", "Ready").status,
        ConditionStatus::True
    );
}

#[test]
fn a_broken_connection_goes_on_where_it_was() {
    let mut row = Row::new(&manifest(THIN));
    let bytes = archive::base(Some(DIGEST));
    let half = Served {
        cut: Some(bytes.len() / 2),
        bytes: bytes.clone(),
    };
    row.world.host.emulator().web.insert(URL.to_owned(), half);
    row.world.pass().expect("it goes on");
    let passed = row.world.pass().expect("it goes on");
    let ready = row.condition(&passed.report, "www", "Ready");
    assert!(
        ready.message.contains("appears to be truncated"),
        "{ready:?}"
    );
    let part = format!("{STORAGE}/images/{DIGEST}/tarball.part");
    let come = row.entry(&part).expect("what has come is kept");
    assert!(matches!(come, Entry::File(come) if come.len() == bytes.len() / 2));
    let left = format!("{STORAGE}/images/{DIGEST}/.fetch.a1b2c3.tarball.part");
    let written = row.world.host.emulator().files.write(&left, "half of it");
    written.expect("the file tree takes it");
    let served = Served { bytes, cut: None };
    row.world.host.emulator().web.insert(URL.to_owned(), served);
    let report = row.rest();
    assert_eq!(
        row.condition(&report, "www", "Ready").status,
        ConditionStatus::True
    );
    assert_eq!(row.entry(&left), None);
}

#[test]
fn nothing_is_removed_over_a_mount_or_without_a_mark() {
    let mut row = Row::up(&manifest(THICK));
    let root = row.root("bsd-test01");
    let folder = root.trim_end_matches("/root").to_owned();
    row.world.run(&format!("mount -t tmpfs tmpfs {root}/mnt"));
    row.fleet
        .delete(Kind::Jail, "bsd-test01")
        .expect("it may go");
    let report = row.take();
    let ready = row.condition(&report, "bsd-test01", "Ready");
    assert_eq!(ready.reason, "RootBusy", "{ready:?}");
    assert!(ready.message.contains(&format!("{root}/mnt")));
    assert!(row.entry(&format!("{root}/bin/sh")).is_some());
    row.world.run(&format!("umount {root}/mnt"));
    let mark = format!("{folder}/image");
    let text = row.entry(&mark).expect("it has a mark");
    let written = row
        .world
        .host
        .emulator()
        .files
        .write(&mark, "cellblock:c2:x:thick\n");
    written.expect("the file tree takes it");
    let report = row.rest();
    let ready = row.condition(&report, "bsd-test01", "Ready");
    assert_eq!(ready.reason, "RootRefused", "{ready:?}");
    assert!(row.entry(&format!("{root}/bin/sh")).is_some());
    let Entry::File(text) = text else {
        panic!("a file");
    };
    let written = row.world.host.emulator().files.write(&mark, text);
    written.expect("the file tree takes it");
    row.rest();
    row.take();
    assert_eq!(row.entry(&folder), None);
    assert!(row.entry(&row.root("bsd-test02")).is_some());
}

#[test]
fn a_storage_that_is_not_there_is_told() {
    let text = manifest(THICK).replace(STORAGE, "/nowhere/at/all");
    let mut row = Row::new(&text);
    let report = row.rest();
    let ready = row.condition(&report, "bsd-test01", "Ready");
    assert_eq!(ready.reason, "StorageMissing", "{ready:?}");
    let missing = text.replace("  storage: {path: /nowhere/at/all}", "  paused: false");
    let refused = Fleet::default().apply(&missing).expect_err("no place");
    assert!(format!("{refused:#}").contains("spec.image"), "{refused:#}");
    let moved = text.replace("/nowhere/at/all", "/elsewhere");
    let refused = row.fleet.apply(&moved).expect_err("roots are there");
    assert!(
        format!("{refused:#}").contains("spec.storage"),
        "{refused:#}"
    );
}

const AWAY: &str = "/usr/local/away";

#[test]
fn an_unmounted_disk_is_no_empty_storage() {
    for (example, jail) in [(THICK, "bsd-test01"), (THIN, "www")] {
        let mut row = Row::up(&manifest(example));
        row.change_files(|files| {
            files.rename(STORAGE, AWAY)?;
            files.create_directories(STORAGE)
        });
        row.world.reboot();
        let report = row.rest();
        let ready = row.condition(&report, jail, "Ready");
        assert_eq!(ready.reason, "StorageMissing", "{ready:?}");
        assert!(ready.message.contains("is not what it was"), "{ready:?}");
        assert_eq!(row.stored(), [""; 0]);
        // A deletion does not count as done.
        row.fleet.delete(Kind::Jail, jail).expect("it may go");
        row.take();
        row.take();
        assert!(row.fleet.index.jail(jail).is_some());
        assert_eq!(row.entry(&format!("{STORAGE}/cellblock")), None);
        row.change_files(|files| {
            files.remove(STORAGE)?;
            files.rename(AWAY, STORAGE)
        });
        row.take();
        row.take();
        assert!(row.fleet.index.jail(jail).is_none());
        row.delete_jails();
        assert_eq!(row.stored(), [""; 0]);
    }
}

#[test]
fn a_storage_that_leads_elsewhere_is_not_the_same() {
    let mut row = Row::new(&manifest(THICK));
    row.change_files(|files| {
        files.remove(STORAGE)?;
        files.create_directories(AWAY)?;
        files.symlink(AWAY, STORAGE)
    });
    let report = row.rest();
    let ready = row.condition(&report, "bsd-test01", "Ready");
    assert_eq!(ready.status, ConditionStatus::True, "{ready:?}");
    let jails = row.world.run("jls jid path");
    let mark = row.entry(&format!("{AWAY}/cellblock"));
    let Some(Entry::File(mark)) = mark else {
        panic!("it is marked");
    };
    let elsewhere = "/usr/local/elsewhere";
    row.change_files(|files| {
        files.create_directories(elsewhere)?;
        files.remove(STORAGE)?;
        files.symlink(elsewhere, STORAGE)
    });
    let report = row.rest();
    let ready = row.condition(&report, "bsd-test01", "Ready");
    assert_eq!(ready.reason, "StorageMissing", "{ready:?}");
    // Nor where somebody says that it is.
    row.change_files(|files| files.write(&format!("{elsewhere}/cellblock"), mark));
    let report = row.rest();
    let ready = row.condition(&report, "bsd-test01", "Ready");
    assert_eq!(ready.reason, "RootChanged", "{ready:?}");
    assert_eq!(row.world.run("jls jid path"), jails);
    row.world.reboot();
    let report = row.rest();
    let ready = row.condition(&report, "bsd-test01", "Ready");
    assert_eq!(ready.reason, "RootLost", "{ready:?}");
    row.change_files(|files| {
        files.remove(STORAGE)?;
        files.symlink(AWAY, STORAGE)
    });
    let report = row.rest();
    let ready = row.condition(&report, "bsd-test01", "Ready");
    assert_eq!(ready.status, ConditionStatus::True, "{ready:?}");
}

#[test]
fn a_lost_root_is_not_made_anew() {
    let mut row = Row::up(&manifest(THICK));
    let root = row.root("bsd-test01");
    let folder = root.trim_end_matches("/root").to_owned();
    row.world.run(&format!("chflags -R 0 {folder}"));
    row.world.host.emulator().files.remove_tree(&folder);
    row.world.reboot();
    let report = row.rest();
    let ready = row.condition(&report, "bsd-test01", "Ready");
    assert_eq!(ready.reason, "RootLost", "{ready:?}");
    assert_eq!(row.entry(&folder), None);
    let other = row.condition(&report, "bsd-test02", "Ready");
    assert_eq!(other.status, ConditionStatus::True, "{other:?}");
    row.delete_jails();
    assert_eq!(row.stored(), [""; 0]);
}

#[test]
fn what_cannot_be_read_is_unknown_and_nothing_but_itself() {
    let mut row = Row::up(&manifest(THICK));
    let folder = row.root("bsd-test01").trim_end_matches("/root").to_owned();
    let mut emulator = row.world.host.emulator();
    emulator.files.set_unreadable(&folder, true);
    drop(emulator);
    row.world.reboot();
    let report = row.rest();
    let ready = row.condition(&report, "bsd-test01", "Ready");
    assert_eq!(ready.reason, "RootRefused", "{ready:?}");
    assert!(ready.message.contains("Input/output error"), "{ready:?}");
    let other = row.condition(&report, "bsd-test02", "Ready");
    assert_eq!(other.status, ConditionStatus::True, "{other:?}");
    row.fleet
        .delete(Kind::Jail, "bsd-test01")
        .expect("it may go");
    row.take();
    row.take();
    assert!(row.fleet.index.jail("bsd-test01").is_some());
    let mut emulator = row.world.host.emulator();
    emulator.files.set_unreadable(&folder, false);
    drop(emulator);
    row.delete_jails();
    assert_eq!(row.stored(), [""; 0]);
}

#[test]
fn no_link_in_a_base_is_followed_on_the_host() {
    let text = manifest(THIN);
    let mut row = Row::up(&text);
    let usr = format!("{STORAGE}/images/{DIGEST}/base/usr");
    row.world.run(&format!("chflags -R 0 {usr}"));
    row.change_files(|files| {
        files.remove_tree(&usr);
        files.symlink("/", &usr)?;
        files.write("/etc/master.passwd", "the host's")
    });
    let third = format!(
        "{text}---\napiVersion: cellblock.dev/v1alpha1\nkind: Jail\nmetadata:\n  name: third\nspec:\n  host: {HOST}\n  image: {{name: base-15-1, layout: thin}}\n"
    );
    row.fleet.apply(&third).expect("it is admitted");
    let view = row.fleet.view(HOST).expect("the host is there");
    row.world.take(view);
    let mut said = String::new();
    for _ in 0..10 {
        let passed = row.world.pass().expect("it goes on");
        said += &row.condition(&passed.report, "third", "Ready").message;
    }
    assert!(said.contains("is a symbolic link"), "{said}");
    let stored = row.stored();
    assert!(!stored.iter().any(|path| path.contains("master.passwd")));
}

#[test]
fn flags_of_the_jails_own_do_not_keep_its_root() {
    for (example, jail) in [(THICK, "bsd-test01"), (THIN, "www")] {
        let mut row = Row::up(&manifest(example));
        let root = row.root(jail);
        row.world.run(&format!("chflags uchg {root}/etc"));
        row.world.run(&format!("chflags uchg {root}"));
        row.delete_jails();
        assert_eq!(row.stored(), [""; 0]);
    }
}

#[test]
fn no_root_is_removed_that_somebody_uses() {
    let mut row = Row::up(&manifest(THICK));
    let root = row.root("bsd-test01");
    let shell = format!("{root}/bin/sh");
    let stranger = format!("jail -c name=stranger path={root}/mnt persist");
    row.world.run(&stranger);
    row.world.run(&format!("mount -t nullfs {root}/etc /mnt"));
    let deleted = row.fleet.delete(Kind::Jail, "bsd-test01");
    deleted.expect("it may go");
    for (who, end) in [("stranger", "jail -r stranger"), ("/mnt", "umount /mnt")] {
        let report = row.take();
        let ready = row.condition(&report, "bsd-test01", "Ready");
        assert_eq!(ready.reason, "RootBusy", "{ready:?}");
        assert!(ready.message.contains(who), "{ready:?}");
        assert!(row.entry(&shell).is_some());
        row.world.run(end);
    }
    row.delete_jails();
    assert_eq!(row.stored(), [""; 0]);
}

#[test]
fn what_cannot_be_unpacked_is_tried_again_after_longer_and_longer() {
    for (example, jail) in [(THICK, "bsd-test01"), (THIN, "www")] {
        let mut row = Row::new(&manifest(example));
        row.world.take_time();
        let tarball = format!("{STORAGE}/images/{DIGEST}/tarball");
        for _ in 0..ROUNDS_MAX {
            row.world.pass().expect("it goes on");
            if row.entry(&tarball).is_some() {
                break;
            }
        }
        let (bytes, _) = tarball_of("f ./bin/sh x\nh ./a ./nowhere\n");
        row.change_files(|files| files.write(&tarball, bytes));
        let mut message = String::new();
        for _ in 0..30 {
            let passed = row.world.pass().expect("it goes on");
            message = row.condition(&passed.report, jail, "Ready").message;
            row.world.sleep(60_000);
        }
        assert!(message.contains("tried again after"), "{message}");
        let emulator = row.world.host.emulator();
        let unpacked = emulator.log.iter().filter(|logged| {
            let line = logged.argv.join(" ");
            line.contains("tar -x")
        });
        let times: Vec<Duration> = unpacked.map(|logged| logged.at).collect();
        let tries = times.len();
        drop(emulator);
        assert!((2..=20).contains(&tries), "{tries} {times:?}");
        let stored = row.stored();
        assert!(
            !stored.iter().any(|path| path.contains(".new")),
            "{stored:?}"
        );
        row.change_files(|files| files.write(&tarball, archive::base(None)));
        row.world.sleep(3_600_000);
        let report = row.rest();
        let ready = row.condition(&report, jail, "Ready");
        assert_eq!(ready.status, ConditionStatus::True, "{ready:?}");
    }
}

#[test]
fn a_full_disk_is_told() {
    let mut row = Row::new(&manifest(THIN));
    let tarball = format!("{STORAGE}/images/{DIGEST}/tarball");
    for _ in 0..ROUNDS_MAX {
        row.world.pass().expect("it goes on");
        if row.entry(&tarball).is_some() {
            break;
        }
    }
    row.world.host.emulator().files.set_full(true);
    let passed = row.world.pass().expect("it goes on");
    let ready = row.condition(&passed.report, "www", "Ready");
    assert!(
        ready.message.contains("the file system of") && ready.message.contains("is full"),
        "{ready:?}"
    );
}
