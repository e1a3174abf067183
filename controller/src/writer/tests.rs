//! How independent writes are joined into transactions.

use super::*;

fn write(number: usize, bytes: usize) -> Write {
    let mut write = Write::default();
    write.expect(format!("k{number}"), Expect::At(1));
    write.put(format!("k{number}"), vec![0; bytes]);
    write
}

#[test]
fn neighbours_are_joined_up_to_the_bounds_in_order() {
    let writes: Vec<_> = (0..250).map(|number| write(number, 10)).collect();
    let joined = join(&writes);
    let sizes: Vec<_> = joined.iter().map(|joined| joined.parts.len()).collect();
    assert_eq!(sizes, [100, 100, 50]);
    assert!(
        joined
            .iter()
            .all(|joined| transaction(&joined.write).check().is_ok())
    );
    let large: Vec<_> = (0..3).map(|number| write(number, 600 << 10)).collect();
    assert_eq!(join(&large).len(), 3);
}

#[test]
fn a_write_beyond_the_bounds_goes_alone() {
    let mut whole = write(0, 10);
    for number in 1..120 {
        whole.put(format!("c{number}"), vec![0]);
    }
    let writes = [write(1, 10), whole, write(2, 10)];
    let sizes: Vec<_> = join(&writes)
        .iter()
        .map(|joined| joined.parts.len())
        .collect();
    assert_eq!(sizes, [1, 1, 1]);
}
