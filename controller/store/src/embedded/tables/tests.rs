//! The bytes of a record, written out: a later version must read these.

use super::*;

#[test]
fn a_record_has_these_bytes() {
    let record = encode(Revision(3), Some(LeaseId(4)), b"value");
    assert_eq!(record, b"\x01\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x04value");
    let item = decode(b"key", 9, &record)
        .expect("well-formed")
        .expect("live");
    assert_eq!(
        (item.created, item.modified, item.lease),
        (Revision(3), Revision(9), Some(LeaseId(4)))
    );
    assert_eq!(item.value, "value");
    let empty = decode(b"key", 9, &encode(Revision(3), None, b""))
        .expect("well-formed")
        .expect("live");
    assert_eq!((empty.lease, empty.value.len()), (None, 0));
}

#[test]
fn a_tombstone_is_nothing_and_anything_else_is_refused() {
    assert_eq!(decode(b"key", 9, TOMBSTONE), Ok(None));
    for record in [
        &b""[..],
        b"\x01short",
        b"\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x04value",
    ] {
        assert!(decode(b"key", 9, record).is_err(), "{record:?}");
    }
}
