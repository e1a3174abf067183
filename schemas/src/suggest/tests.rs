use super::{help, nearest};

#[test]
fn slips_are_recognised_and_far_words_are_not() {
    let fields = ["networks", "parameters", "publish", "root"];
    assert_eq!(nearest("netwroks", fields), Some("networks"));
    assert_eq!(nearest("Networks", fields), Some("networks"));
    assert_eq!(nearest("network", fields), Some("networks"));
    assert_eq!(nearest("colour", fields), None);
    assert_eq!(nearest("", fields), None);
}

#[test]
fn without_a_near_name_all_are_listed() {
    assert_eq!(help("x", &["tcp", "udp"], "allowed"), "allowed: tcp, udp");
    assert_eq!(
        help("tpc", &["tcp", "udp"], "allowed"),
        "did you mean `tcp`?"
    );
}
