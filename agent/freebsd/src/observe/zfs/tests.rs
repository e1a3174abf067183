use super::*;

#[test]
fn what_zfs_list_prints() {
    let text = "tank/cb\t11\tfilesystem\tyes\t/tank/cb\t-\t-\t-\n\
        tank/cb/images/d\t12\tfilesystem\tno\t/tank/cb/images/d\t-\t-\tcellblock:c:image:d\n\
        tank/cb/images/d@whole\t13\tsnapshot\t-\t-\t-\ttank/cb/roots/a,tank/b\tcellblock:c:image:d\n\
        tank/cb/roots/a\t14\tfilesystem\tyes\tnone\ttank/cb/images/d@whole\t-\t-\n\
        tank/cb/v\t15\tvolume\t-\t-\t-\t-\t-\n";
    let found = parse(text).expect("it can be read");
    assert_eq!(found.len(), 5);
    let snapshot = &found["tank/cb/images/d@whole"];
    let clones: Vec<&str> = snapshot.clones.iter().map(String::as_str).collect();
    assert_eq!(clones, ["tank/b", "tank/cb/roots/a"]);
    assert!(!found["tank/cb/images/d"].mounted);
    let clone = &found["tank/cb/roots/a"];
    assert_eq!(clone.origin.as_deref(), Some("tank/cb/images/d@whole"));
    assert_eq!(clone.mountpoint, "none");
    assert_eq!(clone.owner, None);
    assert!(parse("tank\t1\n").is_err());
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
