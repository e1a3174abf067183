//! What a machine without etcd is told, and what a server that cannot run leaves to read.

use super::*;

#[test]
fn a_machine_without_etcd_is_told_what_to_install() {
    assert!(
        StartError::Missing
            .to_string()
            .contains("apt-get install etcd-server")
    );
    let found = find_etcd(None).map(|program| program.is_file());
    assert!(
        matches!(found, Ok(true) | Err(StartError::Missing)),
        "{found:?}"
    );
}

#[test]
fn path_comes_before_the_usual_places() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = folder.path().join("etcd");
    File::create(&program).expect("a file in it");
    assert_eq!(
        find_etcd(Some(folder.path().as_os_str())).expect("found"),
        program
    );
}

#[tokio::test]
async fn a_server_that_cannot_run_shows_its_log() {
    let options = EtcdServerOptions {
        arguments: vec!["--heartbeat-interval=9999".to_owned()],
        ..EtcdServerOptions::default()
    };
    let error = EtcdServer::start_with(options)
        .await
        .expect_err("longer than an election");
    assert!(error.to_string().contains("election-timeout"), "{error}");
}
