//! The ledger over restarts, beside another agent, damaged, of the past and of the future, on a full disk. What becomes of it when calls fail in between and the power does is in `sim/tests/journal.rs`.

use std::fmt::Write as _;

use cellblock_agent_core::ledger::{Contents, OwnedJail};
use cellblock_schemas::ids::Uid;

use super::*;

fn jail(name: &str) -> Change {
    Change::KnowJail(Uid(name.to_owned()), OwnedJail::default())
}

/// A folder, the path of the ledger in it, and a ledger with one change.
fn begun() -> (tempfile::TempDir, PathBuf, File, Ledger) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.json");
    let mut file = File::open(folder.path()).expect("an empty folder opens");
    let mut ledger = file.load().expect("an absent ledger is an empty one");
    assert_eq!(ledger, Ledger::new());
    ledger
        .commit(vec![Change::Approve], &mut file)
        .expect("written");
    (folder, path, file, ledger)
}

fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).expect("there");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn it_is_read_back_as_it_was_written() {
    let (folder, path, mut file, mut ledger) = begun();
    for name in ["a", "b"] {
        ledger
            .commit(vec![jail(name)], &mut file)
            .expect("appended");
    }
    assert_eq!(lines(&path).len(), 4, "a snapshot, and one line for each");
    drop(file);
    let mut file = File::open(folder.path()).expect("free again");
    let mut read = file.load().expect("readable");
    assert_eq!(read, ledger);
    let before = std::fs::read(&path).expect("there");
    let is_new = read
        .commit(vec![jail("a")], &mut file)
        .expect("nothing new");
    assert!(!is_new);
    assert_eq!(std::fs::read(&path).expect("there"), before);
    read.commit(vec![jail("c")], &mut file).expect("appended");
    assert_eq!(lines(&path).len(), 5, "it goes on where it ended");
}

#[test]
fn a_second_agent_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let _first = File::open(folder.path()).expect("the first");
    let error = File::open(folder.path())
        .expect_err("the second")
        .to_string();
    assert!(error.contains("another agent runs"), "{error}");
}

#[test]
fn a_damaged_ledger_and_one_of_the_future_are_refused_and_kept() {
    let (_folder, path, mut file, mut ledger) = begun();
    ledger.commit(vec![jail("a")], &mut file).expect("appended");
    let [snapshot, first, second] = &lines(&path)[..] else {
        panic!("three lines");
    };
    let altered = first.replace("approve", "Approve");
    let later = snapshot.replace("\"version\":3", "\"version\":4");
    for (content, expected) in [
        ("{".to_owned(), "is damaged; pause the host"),
        (String::new(), "is damaged"),
        ("{\"version\": 99}".to_owned(), "run the newer agent"),
        (format!("{later}\n"), "of form 4"),
        (snapshot.clone(), "line 1"),
        (
            format!("{snapshot}\n{altered}\n{second}\n"),
            "line 2: its checksum",
        ),
        (format!("{snapshot}\n{altered}\n"), "line 2: its checksum"),
        (format!("{snapshot}\n{second}\n"), "line 2: its checksum"),
        (
            format!("{snapshot}\n{first}\n\n{second}\n"),
            "line 3: it is not a whole",
        ),
    ] {
        std::fs::write(&path, &content).expect("written");
        let error = format!("{:#}", file.load().expect_err("refused"));
        assert!(error.contains(expected), "{content}: {error}");
        assert!(error.contains(&*path.to_string_lossy()), "{error}");
        assert_eq!(std::fs::read_to_string(&path).expect("kept"), content);
    }
}

#[test]
fn what_was_never_written_to_its_end_is_left_out() {
    let (folder, path, mut file, mut ledger) = begun();
    let expected = ledger.clone();
    let whole = std::fs::read(&path).expect("there").len();
    ledger.commit(vec![jail("a")], &mut file).expect("appended");
    let octets = std::fs::read(&path).expect("there");
    drop(file);
    for length in whole..octets.len() {
        let mut holed = octets.clone();
        holed[length..].fill(0);
        for left in [&octets[..length], &holed] {
            std::fs::write(&path, left).expect("written");
            let mut file = File::open(folder.path()).expect("opens");
            let mut read = file.load().expect("the whole lines");
            assert_eq!(read, expected);
            read.commit(vec![jail("b")], &mut file).expect("written");
            assert_eq!(file.load().expect("readable"), read);
        }
    }
}

#[test]
fn a_ledger_that_cannot_be_written_leaves_the_old_one() {
    let (folder, path, mut file, mut ledger) = begun();
    let first = ledger.clone();
    // Gone, it is begun anew; a folder in the place of the file beside it makes every user fail, root too.
    let kept = path.with_extension("kept");
    std::fs::rename(&path, &kept).expect("moved");
    let obstacle = folder.path().join("ledger.json.new");
    std::fs::create_dir(&obstacle).expect("made");
    let error = ledger
        .commit(vec![jail("a")], &mut file)
        .expect_err("refused");
    assert_eq!(error.reason, "LedgerNotWritten");
    assert_eq!(ledger, first);
    std::fs::rename(&kept, &path).expect("moved");
    assert_eq!(file.load().expect("the old one"), first);
    std::fs::remove_dir(&obstacle).expect("removed");
    ledger.commit(vec![jail("a")], &mut file).expect("written");
    assert_eq!(file.load().expect("the new one"), ledger);
}

#[test]
fn a_full_disk_is_named() {
    let (folder, path, mut file, mut ledger) = begun();
    let first = ledger.clone();
    std::fs::remove_file(&path).expect("removed");
    let beside = folder.path().join("ledger.json.new");
    std::os::unix::fs::symlink("/dev/full", &beside).expect("linked");
    let error = ledger
        .commit(vec![jail("a")], &mut file)
        .expect_err("no room");
    assert_eq!(error.reason, "DiskFull", "{error}");
    assert!(error.message.contains("make room"), "{error}");
    assert_eq!(ledger, first);
    std::fs::remove_file(&beside).expect("removed");
    ledger
        .commit(vec![jail("a")], &mut file)
        .expect("there is room again");
    assert_eq!(file.load().expect("the new one"), ledger);
}

#[test]
fn a_file_that_was_moved_away_or_written_into_is_begun_anew() {
    let (_folder, path, mut file, mut ledger) = begun();
    let mut text = std::fs::read_to_string(&path).expect("there");
    text.write_str("{}\n").expect("a String takes all");
    let somebody: [&dyn Fn(); 3] = [
        &|| std::fs::remove_file(&path).expect("removed"),
        &|| std::fs::write(&path, &text).expect("written"),
        &|| {
            std::fs::remove_file(&path).expect("removed");
            std::fs::write(&path, "").expect("written");
        },
    ];
    for (number, act) in somebody.into_iter().enumerate() {
        act();
        let boot = Change::EnterBoot(number.to_string());
        ledger.commit(vec![boot], &mut file).expect("written");
        assert_eq!(file.load().expect("whole again"), ledger, "{number}");
    }
}

#[test]
fn the_form_before_is_turned_over_with_the_first_change() {
    let (_folder, path, mut file, _) = begun();
    let older = "{\"version\":2,\"approved\":true,\"bootId\":\"1\"}";
    std::fs::write(&path, older).expect("written");
    let mut ledger = file.load().expect("the older form");
    let expected = Contents {
        approved: true,
        boot_id: "1".to_owned(),
        ..Contents::default()
    };
    assert_eq!(ledger, expected.into());
    assert_eq!(std::fs::read_to_string(&path).expect("there"), older);
    ledger.commit(vec![jail("a")], &mut file).expect("written");
    assert!(lines(&path)[0].starts_with("{\"version\":3,"));
    assert_eq!(file.load().expect("the new form"), ledger);
}
