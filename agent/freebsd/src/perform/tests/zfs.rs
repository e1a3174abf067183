//! What is mounted over a dataset between the look and the act.

use cellblock_agent_core::op::Op;

use super::Bench;

#[test]
fn nothing_is_written_into_what_is_mounted_over_a_dataset() {
    let bench = Bench::new();
    let digest = "0".repeat(64);
    let dataset = format!("zroot/cb/images/{digest}");
    for line in [
        "zpool create zroot ada0".to_owned(),
        format!("zfs create -p {dataset}"),
        format!("zfs create -o mountpoint=/{dataset} zroot/over"),
    ] {
        bench.sh(&line);
    }
    let written = bench
        .emulated
        .emulator()
        .files
        .write("/zroot/cb/cellblock", b"mark");
    written.expect("the file tree takes it");
    let op = Op::FetchImage {
        folder: format!("/{dataset}"),
        mark: "mark".to_owned(),
        tarball: "/var/cache/base.txz".to_owned(),
        digest,
        dataset: Some(dataset.clone()),
    };
    let error = bench.perform(&op).expect_err("it is not there");
    assert!(error.message.contains("any more"), "{error:?}");
    bench.sh("zfs unmount zroot/over");
    bench.sh(&format!("zfs unmount {dataset}"));
    let error = bench.perform(&op).expect_err("it is not mounted");
    assert!(error.message.contains("any more"), "{error:?}");
    let emulator = bench.emulated.emulator();
    let names = emulator.files.list(&format!("/{dataset}"));
    assert_eq!(names.expect("a directory").count(), 0);
}
