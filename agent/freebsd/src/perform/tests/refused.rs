//! What is refused before any command is run, and what is somebody else's.

use cellblock_agent_core::host::Retry;
use cellblock_agent_core::op::Op;

use super::{BRIDGE, Bench, FOLDER, bridge, epair};

fn refused(op: &Op) {
    let bench = Bench::new();
    let before = bench.emulated.emulator().log.len();
    let error = bench.perform(op).expect_err("it must be refused");
    assert_eq!(
        (error.reason, error.retry),
        ("BadWord", Retry::Never),
        "{op:?}: {}",
        error.message
    );
    let changing = bench.emulated.emulator().log[before..]
        .iter()
        .filter(|command| command.changing)
        .count();
    assert_eq!(changing, 0, "{op:?} changed something");
}

#[test]
fn words_that_a_program_would_read_as_something_else() {
    for name in ["-a", "", "a b", "x\ny", "-vnet", "sixteencharacter"] {
        refused(&Op::SetUp {
            interface: name.to_owned(),
            up: false,
        });
        refused(&Op::DestroyInterface {
            name: name.to_owned(),
            description: "d".to_owned(),
        });
        refused(&Op::MoveToVnet {
            interface: name.to_owned(),
            jail: "www".to_owned(),
        });
    }
    for name in ["*", "-r", "7", "", "a.b", "a*", "a,b", "www=1", "0"] {
        refused(&Op::StopJail {
            name: name.to_owned(),
            jid: 1,
            conf: None,
            restart: None,
        });
        refused(&Op::StartJail {
            name: name.to_owned(),
            conf: format!("{FOLDER}/jails/x.conf"),
        });
        refused(&Op::UpInVnet {
            jail: name.to_owned(),
            interface: "vnet0".to_owned(),
        });
    }
    for anchor in [
        "*",
        "cellblock",
        "cellblock/",
        "cellblock/*",
        "other/x",
        "cellblock/a b",
        "-F",
        "cellblocks/x",
    ] {
        refused(&Op::ClearAnchor {
            anchor: anchor.to_owned(),
        });
        refused(&Op::LoadAnchor {
            anchor: anchor.to_owned(),
            rules: String::new(),
            parts: std::collections::BTreeMap::new(),
        });
    }
    for path in [
        "/etc/passwd",
        "/var/db/cellblock",
        "/var/db/cellblock/../x",
        "/var/db/cellblockx/y",
        "jails/x",
        "/var/db/cellblock//x",
    ] {
        refused(&Op::WriteFile {
            path: path.to_owned(),
            content: String::new(),
        });
        refused(&Op::RemoveFile {
            path: path.to_owned(),
        });
    }
    refused(&Op::Unmount {
        target: "/".to_owned(),
    });
    refused(&Op::Unmount {
        target: "-A".to_owned(),
    });
    refused(&Op::SetSysctl {
        oid: "-a".to_owned(),
        value: String::new(),
    });
    refused(&Op::LoadModule {
        module: "../evil".to_owned(),
    });
    refused(&Op::KillLabelled {
        label: "a b".to_owned(),
    });
}

#[test]
fn a_name_that_is_somebody_elses_is_left_alone() {
    let bench = Bench::new();
    bench.sh("ifconfig bridge create descr mine name cbbridge00br");
    bench.sh("ifconfig epair create name cbjail000000b");
    let before = bench.emulated.emulator().fingerprint();
    for op in [
        bridge(),
        Op::CreateEpair(epair()),
        Op::CreateLoopback {
            name: BRIDGE.to_owned(),
            description: "cellblock:c1:n:loopback x".to_owned(),
        },
    ] {
        let error = bench.perform(&op).expect_err("the name is taken");
        assert_eq!(
            (error.reason, error.retry),
            ("NameTaken", Retry::OnChange),
            "{}",
            error.message
        );
    }
    assert_eq!(bench.emulated.emulator().fingerprint(), before);
}

#[test]
fn another_clusters_mark_is_not_ours() {
    let bench = Bench::new();
    bench.sh("ifconfig bridge create descr cellblock:c2:net-uid:bridge name cbbridge00br");
    assert_eq!(
        bench
            .perform(&bridge())
            .expect_err("another cluster's")
            .reason,
        "NameTaken"
    );
}

#[test]
fn a_failed_command_leaves_no_half_made_interface() {
    let bench = Bench::new();
    let before = bench.observe().interfaces;
    bench.emulated.emulator().fail_next(
        "ifconfig epair0b descr",
        1,
        "ifconfig: ioctl SIOCSIFDESCR (set descr): Cannot allocate memory",
    );
    let error = bench
        .perform(&Op::CreateEpair(epair()))
        .expect_err("the command fails");
    assert_eq!(error.reason, "CommandFailed");
    assert_eq!(bench.observe().interfaces, before);
}

#[test]
fn an_exit_status_is_not_believed() {
    let bench = Bench::new();
    bench
        .emulated
        .emulator()
        .fail_next("ifconfig vtnet1 up", 0, "");
    let error = bench
        .perform(&Op::SetUp {
            interface: "vtnet1".to_owned(),
            up: true,
        })
        .expect_err("nothing happened");
    assert_eq!(error.reason, "EffectMissing");
}
