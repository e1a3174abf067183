//! The ledger over restarts, beside another agent, damaged, and of the future.

use cellblock_schemas::ids::Uid;

use super::*;

#[test]
fn it_is_read_back_as_it_was_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut file = File::open(folder.path()).expect("an empty folder opens");
    let mut ledger = file.load().expect("an absent ledger is an empty one");
    assert_eq!(ledger, Ledger::new());
    ledger.approved = true;
    ledger.jails.insert(Uid("u".to_owned()), Default::default());
    file.save(&ledger).expect("saved");
    drop(file);
    assert_eq!(
        File::open(folder.path())
            .expect("free again")
            .load()
            .expect("readable"),
        ledger
    );
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
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.json");
    let mut file = File::open(folder.path()).expect("opens");
    for (content, expected) in [
        ("{", "is damaged"),
        ("{\"version\": 99}", "run the newer agent"),
    ] {
        std::fs::write(&path, content).expect("written");
        let error = format!("{:#}", file.load().expect_err("refused"));
        assert!(error.contains(expected), "{error}");
        assert_eq!(std::fs::read_to_string(&path).expect("kept"), content);
    }
}

#[test]
fn a_ledger_that_cannot_be_written_leaves_the_old_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut file = File::open(folder.path()).expect("opens");
    let first = Ledger {
        approved: true,
        ..Ledger::new()
    };
    file.save(&first).expect("saved");
    // A folder in the place of the temporary file makes every user fail, root too.
    std::fs::create_dir(folder.path().join("ledger.json.new")).expect("made");
    let error = file.save(&Ledger::new()).expect_err("no room");
    assert_eq!(error.reason, "LedgerNotWritten");
    assert_eq!(file.load().expect("the old one"), first);
}

#[test]
fn a_full_disk_is_named_and_leaves_the_old_ledger() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut file = File::open(folder.path()).expect("opens");
    let first = Ledger {
        approved: true,
        ..Ledger::new()
    };
    file.save(&first).expect("saved");
    // Whatever is written beside the ledger meets a full disk.
    let beside = folder.path().join("ledger.json.new");
    std::os::unix::fs::symlink("/dev/full", &beside).expect("linked");
    let error = file.save(&Ledger::new()).expect_err("no room");
    assert_eq!(error.reason, "DiskFull", "{error}");
    assert!(error.message.contains("make room"), "{error}");
    assert_eq!(file.load().expect("the old one"), first);
    std::fs::remove_file(&beside).expect("removed");
    file.save(&Ledger::new()).expect("there is room again");
    assert_eq!(file.load().expect("the new one"), Ledger::new());
}

#[test]
fn a_write_that_was_torn_is_never_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut file = File::open(folder.path()).expect("opens");
    let first = Ledger {
        approved: true,
        ..Ledger::new()
    };
    file.save(&first).expect("saved");
    let whole = std::fs::read(folder.path().join("ledger.json")).expect("there");
    drop(file);
    // The agent died, or the power failed, while the next one was written.
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        let beside = folder.path().join("ledger.json.new");
        std::fs::write(beside, &whole[..length]).expect("written");
        let mut file = File::open(folder.path()).expect("opens");
        assert_eq!(file.load().expect("the whole one"), first);
        file.save(&first).expect("nothing new");
        let second = Ledger {
            view_digest: "00".to_owned(),
            ..first.clone()
        };
        file.save(&second).expect("saved over what was torn");
        assert_eq!(file.load().expect("the new one"), second);
        file.save(&first).expect("as before");
    }
}
