//! What arp(8) and ndp(8) show.

use super::is_resolved;

#[test]
fn an_entry_with_a_mac_address_on_the_interface_is_an_answer() {
    let arp =
        |mac: &str| format!("? (10.51.0.2) at {mac} on lagg0 expires in 1192 seconds [ethernet]\n");
    assert!(is_resolved(&arp("02:cb:00:00:00:21"), "lagg0"));
    assert!(!is_resolved(&arp("02:cb:00:00:00:21"), "lagg1"));
    assert!(!is_resolved(&arp("(incomplete)"), "lagg0"));
    assert!(!is_resolved("10.51.0.2 (10.51.0.2) -- no entry\n", "lagg0"));
    let ndp = |mac: &str| {
        format!(
            "Neighbor                             Linklayer Address  Netif Expire    S Flags\n2001:db8:51::2                       {mac:<17}  lagg0 23h59m58s R \n"
        )
    };
    assert!(is_resolved(&ndp("02:cb:00:00:00:21"), "lagg0"));
    assert!(!is_resolved(&ndp("(incomplete)"), "lagg0"));
    assert!(!is_resolved("", "lagg0"));
}
