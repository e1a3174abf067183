use super::*;

#[test]
fn what_zfs_list_prints() {
    let text = "tank/cb\t11\tfilesystem\tyes\toff\t-\t-\t/tank/cb\t-\t-\n\
        tank/cb/images/d\t12\tfilesystem\tno\toff\t-\t-\t/tank/cb/images/d\t-\tcellblock:c:image:d\n\
        tank/cb/images/d@cellblock\t13\tsnapshot\t-\t-\t-\ttank/cb/roots/a,tank/b\t-\t-\tcellblock:c:image:d\n\
        tank/cb/roots/a\t14\tfilesystem\tyes\ton\ttank/cb/images/d@cellblock\t-\tnone\t-\t-\n\
        tank/cb/v\t15\tvolume\t-\toff\t-\t-\t-\t-\t-\n";
    let found = parse(text).expect("it can be read");
    assert_eq!(found.len(), 5);
    let snapshot = &found["tank/cb/images/d@cellblock"];
    let clones: Vec<&str> = snapshot.clones.iter().map(String::as_str).collect();
    assert_eq!(clones, ["tank/b", "tank/cb/roots/a"]);
    assert!(!found["tank/cb/images/d"].mounted);
    let clone = &found["tank/cb/roots/a"];
    assert_eq!(clone.origin.as_deref(), Some("tank/cb/images/d@cellblock"));
    assert_eq!(clone.mountpoint, "none");
    assert_eq!(clone.owner, None);
    assert!(clone.read_only && !found["tank/cb"].read_only);
    assert!(parse("tank\t1\n").is_err());
}

#[test]
fn what_somebody_set_spoils_nothing_but_itself() {
    let text = "tank/cb\t11\tfilesystem\tyes\toff\t-\t-\t/tank/cb\t-\t-\n\
        tank/cb/a\t12\tfilesystem\tyes\toff\t-\t-\t/tank/cb/a\t-\tcellblock:\tof tabs\n\
        tank/cb/b\t13\tfilesystem\tyes\toff\t-\t-\t/tank/cb/b\t-\tcellblock:c:image:\nof lines\n\
        tank/cb/c\t14\tfilesystem\tyes\toff\t-\t-\t/tank/cb/c\t-\tcellblock:c:image:d\n";
    let found = parse(text).expect("it can be read");
    assert_eq!(found.len(), 4);
    assert_eq!(found["tank/cb/a"].owner, None);
    assert_eq!(found["tank/cb/b"].owner, None);
    assert_eq!(
        found["tank/cb/c"].owner.as_deref(),
        Some("cellblock:c:image:d")
    );
}

#[test]
fn only_what_was_asked_for_is_absent() {
    let text = "cannot open 'tank/cb/a': dataset does not exist\n";
    assert!(is_absent(text, "tank/cb/a"));
    assert!(!is_absent(text, "tank/cb"));
}

#[test]
fn what_zpool_list_prints() {
    let pool = parse_pool("tank\tDEGRADED\ton\n").expect("it can be read");
    assert!(pool.is_usable());
    assert!(pool.read_only);
    assert!(
        !parse_pool("tank\tSUSPENDED\toff\n")
            .expect("read")
            .is_usable()
    );
    assert!(parse_pool("").is_err());
}
