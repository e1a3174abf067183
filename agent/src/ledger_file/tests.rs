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
