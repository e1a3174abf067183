//! The limits that hold for every backend.

use super::*;

#[test]
fn a_transaction_at_its_limits_is_accepted() {
    let mut transaction = Transaction::new();
    for n in 0..OPS_MAX {
        transaction = transaction.create(format!("k{n}"), "v");
    }
    assert_eq!(transaction.check(), Ok(()));
    assert_eq!(Transaction::new().check(), Ok(()));
}

#[test]
fn one_compare_or_write_too_many_is_refused_by_name() {
    let mut transaction = Transaction::new();
    for n in 0..=OPS_MAX {
        transaction = transaction.put(format!("k{n}"), "v");
    }
    let error = transaction.check().expect_err("129 writes");
    assert_eq!(
        error.to_string(),
        "the number of writes in one transaction is 129, more than the 128 allowed; make it smaller or split it"
    );
}

#[test]
fn a_value_too_large_names_its_key() {
    let error = Transaction::new()
        .put("/big", vec![0; TRANSACTION_BYTES_MAX])
        .check()
        .expect_err("too large");
    assert!(
        matches!(&error, Error::TooLarge { what, .. } if what.contains("/big")),
        "{error}"
    );
}

#[test]
fn an_empty_key_and_a_key_written_twice_are_refused() {
    assert!(matches!(
        Transaction::new().put("", "v").check(),
        Err(Error::Invalid(_))
    ));
    assert!(matches!(
        Transaction::new().expect("", Expect::Absent).check(),
        Err(Error::Invalid(_))
    ));
    assert!(matches!(
        Transaction::new().put("a", "v").delete("a").check(),
        Err(Error::Invalid(_))
    ));
    let long = vec![b'k'; KEY_BYTES_MAX + 1];
    assert!(matches!(
        Transaction::new().put(long, "v").check(),
        Err(Error::TooLarge { .. })
    ));
}
