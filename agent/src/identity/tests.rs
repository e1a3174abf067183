//! The key is made once, whole, and found again.

use super::Identity;

#[test]
fn the_key_survives_a_restart_and_a_crash_while_it_was_made() {
    let folder = tempfile::tempdir().expect("a folder");
    // What an agent leaves that was killed while it wrote its key.
    std::fs::write(folder.path().join("host.key.new"), "-----BEGIN").expect("written");
    let first = Identity::load_or_make(folder.path()).expect("a key");
    let again = Identity::load_or_make(folder.path()).expect("the same key");
    assert_eq!(first.fingerprint, again.fingerprint);
    assert!(!folder.path().join("host.key.new").exists());
}
